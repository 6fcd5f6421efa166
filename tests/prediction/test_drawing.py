"""Overlays and heatmap sheets, checked pixel by pixel where it matters."""

import numpy as np
import pytest
from colour_vision import least_difference

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.drawing import (
    OUTLINE,
    PERSON_COLOURS,
    contact_sheet,
    draw_heatmap,
    draw_poses,
    heatmap_sheet,
    sheet_tile,
)
from keras_hourglass.prediction.picture_poses import PicturePoses
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.skeletons import SIDE_COLOURS as COLOURS
from keras_hourglass.skeletons import Skeleton

SKELETON = Skeleton(
    "arms",
    ("left_hand", "right_hand", "chest"),
    limbs=(("left_hand", "chest"), ("right_hand", "chest"), ("left_hand", "right_hand")),
)
POINTS = [[90, 20], [10, 20], [50, 70]]


def pose(points=POINTS, scores=(1, 1, 1), box=(0, 0, 300, 400), **more):
    return Pose(points, scores, box, SKELETON, **more)


def test_colours_tell_the_sides_apart():
    image = np.full((100, 120, 3), 128, np.uint8)
    painted = draw_poses(image, [pose()])
    assert painted.shape == image.shape and (image == 128).all()
    # Halfway along each limb.
    assert tuple(painted[45, 70]) == COLOURS["left"]
    assert tuple(painted[45, 30]) == COLOURS["right"]
    assert tuple(painted[20, 50]) == COLOURS["centre"]
    # The joints themselves, and the dark rim around them: radius 0.5 + 0.9 * 4 = 4.1 and 1.
    assert tuple(painted[20, 90]) == COLOURS["left"] and tuple(painted[70, 50]) == COLOURS["centre"]
    assert painted[20, 95].max() < 100


def test_absent_joints_are_left_out():
    image = np.full((100, 120, 3), 128, np.uint8)
    painted = draw_poses(image, [pose(scores=(1, 0.1, 1))])
    assert tuple(painted[45, 70]) == COLOURS["left"]
    assert (painted[:, :40] == 128).all() and tuple(painted[20, 50]) == (128, 128, 128)
    nothing = draw_poses(image, [pose(points=np.full((3, 2), np.nan))])
    np.testing.assert_array_equal(nothing, image)


def test_lines_grow_with_the_person():
    image = np.full((100, 120, 3), 128, np.uint8)
    across = [
        # Along the column of the horizontal limb's middle.
        (abs(draw_poses(image, [pose(box=(0, 0, side, 10))])[:40, 50, 0] - 128.0) > 60).sum()
        for side in (50, 400, 1200)
    ]
    # Widths 1, 4 and 12 with a rim of at least one pixel on both sides.
    assert 3 <= across[0] <= 5 and 6 <= across[1] <= 9 and 19 <= across[2] <= 23


def test_near_people_cover_far_ones():
    image = np.zeros((100, 120, 3), np.uint8)
    swapped = [POINTS[1], POINTS[0], POINTS[2]]
    far, near = pose(box=(0, 0, 300, 300)), pose(points=swapped, box=(0, 0, 310, 310))
    for poses in ([far, near], [near, far]):
        assert tuple(draw_poses(image, poses)[45, 70]) == COLOURS["right"]


def test_coordinates_far_outside_are_harmless():
    image = np.zeros((40, 50, 3), np.uint8)
    painted = draw_poses(image, [pose(points=[[-1e12, 5], [1e300, 5], [25, 20]])])
    assert tuple(painted[20, 25]) == COLOURS["centre"]


def test_boxes():
    image = np.full((100, 120, 3), 128, np.uint8)
    painted = draw_poses(image, [pose(scores=(0, 0, 0), box=(20, 30, 40, 50))], boxes=True)
    changed = np.argwhere((painted != 128).any(axis=-1))
    # Pixels 20..59 and 30..79; the frame of six pixels lies on their edge.
    assert abs(changed.min(axis=0) - (30, 20)).max() <= 4
    assert abs(changed.max(axis=0) - (79, 59)).max() <= 4
    assert (painted[40:70, 30:50] == 128).all()


@pytest.mark.parametrize(
    "image", [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((0, 5, 3), np.uint8)]
)
def test_no_picture(image):
    with pytest.raises(UserError, match="uint8 RGB"):
        draw_poses(image, [pose()])


def test_heatmap_is_brightest_at_its_peak():
    crop = np.full((64, 32, 3), 100, np.uint8)
    heatmap = np.zeros((16, 8), np.float32)
    heatmap[3, 6] = 1
    painted = draw_heatmap(crop, heatmap)
    assert painted.shape == (64, 32, 3)
    # Heatmap pixel (6, 3) covers input pixels 24..27 and 12..15.
    row, column = np.unravel_index(painted.sum(axis=-1).argmax(), (64, 32))
    assert 12 <= row <= 15 and 24 <= column <= 27
    assert (painted[40:] == 50).all()
    assert (draw_heatmap(crop, np.full((16, 8), np.nan)) == 50).all()


def test_sheet_has_a_tile_per_joint():
    crop = np.random.default_rng(0).integers(0, 256, (64, 32, 3), np.uint8)
    heatmaps = np.zeros((16, 8, 4), np.float32)
    sheet = heatmap_sheet(crop, heatmaps, ("a", "b", "c", "d"), tile=40, columns=3)
    # Five tiles in two rows of three: tiles of 40×80, labels of 18, gaps of 4.
    assert sheet.shape == (2 * (80 + 18 + 4) + 4, 3 * (40 + 4) + 4, 3)
    with pytest.raises(UserError, match="one map per name"):
        heatmap_sheet(crop, heatmaps, ("a", "b"))


def test_low_maps_are_seen_and_empty_ones_are_not_blown_up():
    crop = np.full((64, 32, 3), 100, np.uint8)
    heatmaps = np.zeros((16, 8, 2), np.float32)
    heatmaps[4:8, 2:6] = (1.0, 0.5)
    sheets = [
        heatmap_sheet(crop, heatmaps * height, ("a", "b"), tile=40) for height in (1, 0.1, 0.004)
    ]
    # Tiles of 40×80, one after the other with gaps of 4; below a label of 18.
    first, second = sheets[0][22:102, 48:88], sheets[0][22:102, 92:132]
    assert first[30, 20].sum() > second[30, 20].sum() > 150
    for tile in (slice(48, 88), slice(92, 132)):
        found = np.abs(sheets[1][22:102, tile].astype(int) - sheets[0][22:102, tile])
        assert found.max() <= 2  # the same picture at a tenth of the height
        # 0.004 is nothing: a fifth of what is drawn brightest at the least.
        assert sheets[2][52, tile.start + 20].sum() < sheets[1][52, tile.start + 20].sum()
    # The labels differ: they tell the heights, and the first one where the colours end.
    assert (sheets[0][:22] != sheets[1][:22]).any()


def test_palette_survives_colour_blindness():
    assert least_difference(*COLOURS.values(), OUTLINE) > 80


def strength(painted, place):
    """How far a pixel of a grey picture is towards the colour of the middle."""
    return (float(painted[place][0]) - 128) / (COLOURS["centre"][0] - 128)


def test_what_is_less_sure_is_paler():
    image = np.full((100, 120, 3), 128, np.uint8)
    place = (20, 50)  # halfway along the limb from hand to hand
    sure = strength(draw_poses(image, [pose()]), place)
    # A hand below half of the median of 0.8, 0.3 and 0.8, and still present.
    faint = strength(draw_poses(image, [pose(scores=(0.8, 0.3, 0.8))]), place)
    unsure = strength(draw_poses(image, [pose(sure=False)]), place)
    guess = pose(scores=(0.1, 0.1, 0.1), sure=False)
    least = strength(draw_poses(image, [guess]), place)
    assert sure == 1 > faint > unsure > least
    # Over a rim of the same strength the colour is not the grey's any more.
    assert abs(least) > 0.02
    np.testing.assert_array_equal(draw_poses(image, [guess], guess=False), image)
    # Nobody says that somebody sure without a joint is drawn.
    np.testing.assert_array_equal(draw_poses(image, [pose(scores=(0.1, 0.1, 0.1))]), image)


def test_people_in_colours_of_their_own():
    image = np.full((100, 260, 3), 128, np.uint8)
    moved = [[x + 130, y] for x, y in POINTS]
    two = [pose(id=1), pose(points=moved, id=2)]
    painted = draw_poses(image, two, colours="person", ids=False)
    # The right hand's limb has the colour itself, that of the left is lighter.
    assert tuple(painted[45, 30]) == PERSON_COLOURS[1]
    assert tuple(painted[45, 160]) == PERSON_COLOURS[2]
    left = np.array(painted[45, 70], int)
    assert (left >= PERSON_COLOURS[1]).all() and tuple(left) != PERSON_COLOURS[1]
    again = draw_poses(image, two[::-1], colours="person", ids=False)
    np.testing.assert_array_equal(painted, again)
    with pytest.raises(UserError, match="'side' or by 'person'"):
        draw_poses(image, two, colours="rainbow")


@pytest.mark.parametrize("grey", [0, 128, 255])
def test_lines_are_smooth_and_seen_on_dark_and_bright(grey):
    """Edges are gradual, and rim or colour differ from any ground."""
    image = np.full((100, 120, 3), grey, np.uint8)
    painted = draw_poses(image, [pose()]).astype(int)
    across = painted[45, 58:82].mean(axis=1)  # of the limb from (90, 20) to (50, 70)
    assert np.abs(across - grey).max() > 60
    levels = np.unique(painted[30:60, 58:95].reshape(-1, 3), axis=0)
    assert len(levels) > 10  # three without smooth edges


def test_a_line_covers_what_its_width_says():
    """A line of 3 px and a rim of 0.9 on both sides: 0.9 · 0.75 of a pixel's darkness each."""
    image = np.full((60, 200, 3), 255, np.uint8)
    points = [[180, 30], [20, 30], [np.nan, np.nan]]
    painted = draw_poses(image, [pose(points=points, scores=(1, 1, 0))], width=3)
    column = painted[:, 100, 0].astype(float)
    dark = 255 - 0.75 * (255 - OUTLINE[0])
    # From the middle: white 240; at 2 px rim alone, its outer pixel 1.5 + 0.9 + 0.5 - 2 = 0.9.
    assert column[30] == column[29] == column[31] == 240
    assert column[28] == column[32] == pytest.approx(255 - 0.9 * (255 - dark), abs=1)
    assert (column[:28] == 255).all() and (column[33:] == 255).all()


def test_numbers_and_scores():
    image = np.full((300, 300, 3), 128, np.uint8)
    one = pose(points=np.full((3, 2), np.nan), scores=(1, 1, 1), box=(100, 150, 60, 80), id=12)
    assert (draw_poses(image, [one])[:148, 100:140] != 128).any()  # above the box
    np.testing.assert_array_equal(draw_poses(image, [one], ids=False), image)
    wider = draw_poses(image, [one], scores=True)
    assert (wider != draw_poses(image, [one])).any()
    # In a corner it stays within the picture.
    outside = pose(points=np.full((3, 2), np.nan), box=(-50, -50, 60, 80), id=12)
    assert (draw_poses(image, [outside]) != 128).sum() > 100


def test_a_contact_sheet():
    pictures = [
        PicturePoses(f"photos/{name}.jpg", poses, np.full(shape, 90, np.uint8))
        for name, poses, shape in (
            ("wide", [pose(box=(0, 0, 60, 80))], (200, 400, 3)),
            ("tall", [pose(), pose(sure=False)], (300, 100, 3)),
            ("small", [], (20, 30, 3)),
        )
    ]
    sheet = contact_sheet(pictures, tile=100, columns=2)
    # Two rows of tiles of 100 with labels of 18 and gaps of 4.
    assert sheet.shape == (2 * (100 + 18 + 4) + 4, 2 * (100 + 4) + 4, 3)
    # The wide picture fills the middle half of its tile's height.
    assert (sheet[22 + 40, 4:104] != 24).all() and (sheet[22 + 10, 4:104] == 24).all()
    label, tile = sheet_tile(pictures[1], tile=100)
    assert label == "tall.jpg: 1" and tile.shape == (100, 100, 3)
    # The joint at (90, 20) of 300 by 100 pixels lies at a third, in the middle of three tiles.
    assert tuple(tile[round(20.5 / 3 - 0.5), 33 + round(90.5 / 3 - 0.5)]) != (90, 90, 90)
    with pytest.raises(UserError, match="needs pictures"):
        contact_sheet([])


def test_palette_of_people_is_told_apart():
    assert least_difference(*PERSON_COLOURS[:4], OUTLINE) > 40
