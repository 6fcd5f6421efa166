"""Overlays and heatmap sheets, checked pixel by pixel where it matters."""

import numpy as np
import pytest
from colour_vision import least_difference

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.drawing import (
    OUTLINE,
    draw_heatmap,
    draw_poses,
    heatmap_sheet,
)
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


def test_palette_survives_colour_blindness():
    assert least_difference(*COLOURS.values(), OUTLINE) > 80
