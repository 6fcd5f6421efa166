"""Coordinate frames: values by hand, and properties over random input."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keras_hourglass import geometry
from keras_hourglass.errors import UserError

FLOATS = st.floats(-500, 500)
BOXES = st.tuples(FLOATS, FLOATS, st.floats(1, 800))
TURNS = st.floats(-180, 180)
SCALES = st.floats(0.5, 2)
SIZES = st.tuples(st.integers(1, 40), st.integers(1, 40))


def test_box_of_a_whole_picture_is_centred_between_its_pixels():
    # Pixels 0..99 and 0..59: the middle lies between 49 and 50, between 29 and 30.
    assert geometry.boxes_from_xywh([0, 0, 100, 60]).tolist() == [49.5, 29.5, 100]
    assert geometry.boxes_from_xywh([[10, 20, 1, 1]]).tolist() == [[10, 20, 1]]


def test_boxes_keep_leading_axes():
    rectangles = np.arange(24.0).reshape(2, 3, 4) + 1
    boxes = geometry.boxes_from_xywh(rectangles)
    assert boxes.shape == (2, 3, 3)
    # x=1 y=2 w=3 h=4 covers x 1..3 and y 2..5.
    assert boxes[0, 0].tolist() == [2, 3.5, 4]


def test_boxes_to_xywh_by_hand():
    assert geometry.boxes_to_xywh([49.5, 29.5, 100]).tolist() == [0, -20, 100, 100]


@pytest.mark.parametrize(
    "rectangle", [[0, 0, 0, 5], [0, 0, 5, -1], [np.nan, 0, 1, 1], [0, 0, np.inf, 1]]
)
def test_unusable_rectangles_are_refused(rectangle):
    with pytest.raises(UserError, match="positive width and height"):
        geometry.boxes_from_xywh(rectangle)


def test_a_rectangle_has_four_numbers():
    with pytest.raises(UserError, match=r"shape=\(3,\)"):
        geometry.boxes_from_xywh([1, 2, 3])


def test_crop_of_a_wide_input_fits_the_box_into_the_height():
    # Side 10 onto height 20: factor 2; the centre (4, 6) lands in the middle of 20×30.
    matrix = geometry.crop_affine((4, 6, 10), (20, 30))
    assert geometry.apply_affine(matrix, [[4, 6], [5, 6], [4, 8]]).tolist() == [
        [14.5, 9.5],
        [16.5, 9.5],
        [14.5, 13.5],
    ]


def test_crop_of_a_tall_input_fits_the_box_into_the_width():
    matrix = geometry.crop_affine((0, 0, 10), (60, 20))
    assert geometry.apply_affine(matrix, [[5, 0]]).tolist() == [[19.5, 29.5]]


def test_the_edges_of_the_box_are_the_edges_of_the_crop():
    matrix = geometry.crop_affine((49.5, 49.5, 100), (50, 50))
    # The outer corner of pixel 0 lies at -0.5 in both frames.
    assert geometry.apply_affine(matrix, [[-0.5, -0.5]]).tolist() == [[-0.5, -0.5]]
    assert geometry.apply_affine(matrix, [[99.5, 99.5]]).tolist() == [[49.5, 49.5]]


def test_positive_rotation_turns_the_picture_counter_clockwise():
    # A point right of the centre goes up on the screen, where y is smaller.
    matrix = geometry.crop_affine((10, 10, 40), (41, 41), rotation=90)
    np.testing.assert_allclose(
        geometry.apply_affine(matrix, [[20, 10]]), [[20, 20 - 10 * 41 / 40]], atol=1e-9
    )


def test_scale_above_one_makes_the_person_smaller():
    matrix = geometry.crop_affine((0, 0, 10), (20, 20), scale=2)
    assert geometry.apply_affine(matrix, [[1, 0]]).tolist() == [[10.5, 9.5]]


def test_flip_mirrors_the_finished_crop():
    plain = geometry.crop_affine((3, 7, 11), (24, 36), rotation=25, scale=1.2)
    flipped = geometry.crop_affine((3, 7, 11), (24, 36), rotation=25, scale=1.2, flip=True)
    points = np.array([[0.0, 0.0], [5.0, -2.0], [9.0, 12.0]])
    expected = geometry.mirror_points(geometry.apply_affine(plain, points), 36)
    np.testing.assert_allclose(geometry.apply_affine(flipped, points), expected, atol=1e-9)


@pytest.mark.parametrize(
    "box, scale", [((0, 0, 0), 1), ((0, 0, -3), 1), ((np.nan, 0, 3), 1), ((0, 0, 3), 0)]
)
def test_unusable_boxes_are_refused(box, scale):
    with pytest.raises(UserError, match="positive, finite side"):
        geometry.crop_affine(box, (8, 8), scale=scale)


def test_one_matrix_per_person():
    # The second one exchanges x and y, so a transposed matrix would show.
    matrices = np.array([[[1, 0, 2], [0, 1, 3]], [[0, 5, 0], [3, 0, 1]]])
    points = np.array([[[1, 2], [3, 4], [5, 6]], [[1, 2], [3, 4], [5, 6]]])
    assert geometry.apply_affine(matrices, points).tolist() == [
        [[3, 5], [5, 7], [7, 9]],
        [[10, 4], [20, 10], [30, 16]],
    ]


def test_inverses_of_many_matrices_without_negative_zeros():
    inverses = geometry.invert_affine([[[2, 0, 1], [0, 4, 0]], [[0, 1, -3], [1, 0, 5]]])
    assert inverses.tolist() == [[[0.5, 0, -0.5], [0, 0.25, 0]], [[0, 1, -5], [1, 0, 3]]]
    assert not np.signbit(inverses[inverses == 0]).any()


@given(BOXES, SIZES, TURNS, SCALES, st.booleans(), st.tuples(FLOATS, FLOATS))
def test_inverse_brings_points_back(box, size, turn, scale, flip, point):
    matrix = geometry.crop_affine(box, size, turn, flip, scale)
    there = geometry.apply_affine(matrix, [point])
    back = geometry.apply_affine(geometry.invert_affine(matrix), there)
    np.testing.assert_allclose(back, [point], atol=1e-6)


@given(BOXES, SIZES, TURNS, SCALES, st.booleans())
def test_centre_goes_to_the_middle_and_areas_scale(box, size, turn, scale, flip):
    matrix = geometry.crop_affine(box, size, turn, flip, scale)
    middle = [(size[1] - 1) / 2, (size[0] - 1) / 2]
    np.testing.assert_allclose(geometry.apply_affine(matrix, [box[:2]]), [middle], atol=1e-6)
    factor = min(size) / (box[2] * scale)
    determinant = np.linalg.det(matrix[:, :2])
    np.testing.assert_allclose(determinant, (-1 if flip else 1) * factor**2, rtol=1e-6)


@given(BOXES)
def test_squares_survive_the_round_trip(box):
    np.testing.assert_allclose(
        geometry.boxes_from_xywh(geometry.boxes_to_xywh(box)), box, atol=1e-9
    )


def test_heatmap_pixels_are_centred_on_their_input_pixels():
    # Heatmap pixel 0 covers input pixels 0..3, whose middle is 1.5.
    assert geometry.heatmap_to_input(0.0) == 1.5
    assert geometry.heatmap_to_input(2.0, stride=8) == 19.5
    assert geometry.input_to_heatmap(19.5, stride=8) == 2.0


@given(FLOATS, st.sampled_from([2, 4, 8]), st.integers(1, 80))
def test_mirroring_commutes_with_going_to_heatmaps(x, stride, cells):
    mirrored = geometry.mirror_points([[x, 0]], cells * stride)
    through_input = geometry.input_to_heatmap(mirrored, stride)[0, 0]
    through_heatmap = geometry.mirror_points(geometry.input_to_heatmap([[x, 0]], stride), cells)
    np.testing.assert_allclose(through_input, through_heatmap[0, 0], atol=1e-9)


def test_mirroring_leaves_its_input_alone():
    points = np.array([[1.0, 2.0]])
    geometry.mirror_points(points, 5)
    assert points.tolist() == [[1, 2]]


def test_boxes_around_labelled_joints_only():
    joints = [[[10, 20], [30, 60], [999, 999]], [[0, 0], [0, 0], [0, 0]], [[4, 4], [4, 4], [0, 0]]]
    visibility = [[2, 1, 0], [0, 0, 0], [2, 2, 0]]
    boxes = geometry.boxes_from_joints(joints, visibility, padding=1.5)
    # Extent 20×40 around (20, 40); nobody; a single point, which still needs a side.
    assert boxes[0].tolist() == [20, 40, 60]
    assert np.isnan(boxes[1]).all()
    assert boxes[2].tolist() == [4, 4, 1.5]


def test_the_shortest_side_of_a_person():
    """A point, or one pixel, says nothing of a person; two pixels are a box."""
    assert geometry.MIN_SIDE == 2


def test_defaults_are_those_of_the_paper():
    # Four input pixels per heatmap pixel; a quarter more than the joints' extent.
    assert geometry.input_to_heatmap([5.5]).tolist() == [1.0]
    assert geometry.heatmap_to_input([1.0]).tolist() == [5.5]
    assert geometry.boxes_from_joints([[[0, 0], [8, 4]]], [[2, 2]]).tolist() == [[4, 2, 10]]


# Properties over random input, one at least for every function.


@given(FLOATS, FLOATS, st.floats(0.5, 500), st.floats(0.5, 500))
def test_boxes_are_the_smallest_squares_around_their_rectangles(x, y, w, h):
    left, top, width, height = geometry.boxes_to_xywh(geometry.boxes_from_xywh([x, y, w, h]))
    assert width == height == max(w, h)
    # On the longer axis they begin together; on the shorter one what is more is halved.
    np.testing.assert_allclose([left, top], [x - (width - w) / 2, y - (height - h) / 2], atol=1e-9)


@given(BOXES, SIZES, TURNS, SCALES, st.booleans(), st.floats(0, 1))
def test_points_between_stay_between(box, size, turn, scale, flip, share):
    matrix = geometry.crop_affine(box, size, turn, flip, scale)
    one, other = np.array([[3.0, -7.0]]), np.array([[-20.0, 11.0]])
    between = geometry.apply_affine(matrix, share * one + (1 - share) * other)
    ends = geometry.apply_affine(matrix, one), geometry.apply_affine(matrix, other)
    np.testing.assert_allclose(between, share * ends[0] + (1 - share) * ends[1], atol=1e-6)


@given(BOXES, SIZES, TURNS, SCALES, TURNS)
def test_turning_twice_is_turning_by_the_sum(box, size, first, scale, second):
    once = geometry.crop_affine(box, size, first + second, scale=scale)
    turned = geometry.crop_affine(box, size, first, scale=scale)
    # The crop itself, turned about its middle: a box as large as its shorter side.
    middle = ((size[1] - 1) / 2, (size[0] - 1) / 2, min(size))
    again = geometry.crop_affine(middle, size, second)
    points = np.array([[box[0], box[1]], [box[0] + 3, box[1]], [box[0], box[1] - 5]])
    there = geometry.apply_affine(again, geometry.apply_affine(turned, points))
    np.testing.assert_allclose(there, geometry.apply_affine(once, points), atol=1e-6)


def test_unknown_points_stay_unknown():
    mapped = geometry.apply_affine([[2, 0, 1], [0, 2, 0]], [[np.nan, np.nan], [3, 4]])
    assert np.isnan(mapped[0]).all() and mapped[1].tolist() == [7, 8]


@given(FLOATS, FLOATS, st.sampled_from([1, 2, 4, 8, 16]))
def test_heatmap_frame_and_back(x, y, stride):
    there = geometry.input_to_heatmap([x, y], stride)
    np.testing.assert_allclose(geometry.heatmap_to_input(there, stride), [x, y], atol=1e-9)
    # One heatmap pixel further is `stride` input pixels further.
    step = geometry.heatmap_to_input(there + 1, stride) - [x, y]
    np.testing.assert_allclose(step, [stride, stride], atol=1e-9)


@given(FLOATS, FLOATS, st.integers(1, 900))
def test_mirroring_twice_changes_nothing(x, y, width):
    once = geometry.mirror_points([[x, y]], width)
    assert once[0, 1] == y
    np.testing.assert_allclose((once[0, 0] + x) / 2, (width - 1) / 2, atol=1e-9)
    np.testing.assert_allclose(geometry.mirror_points(once, width), [[x, y]], atol=1e-9)


@given(st.lists(st.tuples(FLOATS, FLOATS), min_size=1, max_size=6), FLOATS, st.floats(1, 3))
def test_boxes_from_joints_hold_them_and_move_with_them(points, shift, padding):
    joints = np.array([[*points, (9e9, -9e9)]])  # the last one is not labelled
    visibility = [[1] * len(points) + [0]]
    [box] = geometry.boxes_from_joints(joints, visibility, padding)
    reach = np.abs(joints[0, :-1] - box[:2]).max()
    np.testing.assert_allclose(box[2], max(2 * reach, 1) * padding, rtol=1e-9, atol=1e-9)
    [moved] = geometry.boxes_from_joints(joints + [shift, -shift], visibility, padding)
    np.testing.assert_allclose(moved, box + [shift, -shift, 0], atol=1e-6)


def test_overlaps_by_hand():
    boxes = [[0, 0, 10, 10], [0, 0, 4, 5], [30, 30, 2, 2]]
    others = [[5, 0, 10, 10], [0, 0, 10, 20]]
    expected = [[50 / 150, 100 / 200], [0, 20 / 200], [0, 0]]
    np.testing.assert_allclose(geometry.box_overlaps(boxes, others), expected)
    np.testing.assert_allclose(
        geometry.box_overlaps(boxes, others, of="first"), [[0.5, 1], [0, 1], [0, 0]]
    )
    assert geometry.box_overlaps([], others).shape == (0, 2) and geometry.box_overlaps(
        boxes, []
    ).shape == (3, 0)
    assert geometry.box_overlaps([[1, 1, 0, 0]], [[1, 1, 0, 0]]).tolist() == [[0]]
    # Narrow in one, flat in the other: 3 * 8 of 60 + 160 - 24.
    assert geometry.box_overlaps([[0, 0, 3, 20]], [[0, 0, 20, 8]]).tolist() == [[24 / 196]]
    assert geometry.box_overlaps([[0, 0, 20, 8]], [[0, 0, 3, 20]]).tolist() == [[24 / 196]]


def test_suppression_by_hand():
    boxes = [[0, 0, 10, 10], [2, 0, 10, 10], [4, 0, 10, 10], [50, 0, 10, 10]]
    # 80 / 120 of neighbours, 60 / 140 of the outer two.
    scores = [0.6, 0.9, 0.7, 0.1]
    assert geometry.suppress_overlaps(boxes, scores, 0.5).tolist() == [1, 3]
    assert geometry.suppress_overlaps(boxes, scores, 0.7).tolist() == [1, 2, 0, 3]
    assert geometry.suppress_overlaps(boxes, [0.9, 0.1, 0.9, 0.5], 0.5).tolist() == [0, 2, 3]
    assert geometry.suppress_overlaps(boxes, scores, 0.7, most=2).tolist() == [1, 2]
    assert geometry.suppress_overlaps(boxes, scores).tolist() == [1, 3]
    assert geometry.suppress_overlaps([], []).tolist() == []
    # As much as allowed is allowed: 50 / 100.
    half = [[0, 0, 10, 10], [0, 0, 10, 5]]
    assert geometry.suppress_overlaps(half, [0.9, 0.8], 0.5).tolist() == [0, 1]
    assert geometry.suppress_overlaps(half, [0.9, 0.8], 0.49).tolist() == [0]


def test_rectangles_of_several_looks_are_fused():
    """Worked out by hand: a box in two of three looks, one in all, one in one."""
    first = [[0, 0, 10, 30, 0.6], [100, 40, 20, 50, 0.9]]
    second = [[104, 44, 20, 50, 0.3], [2, 0, 10, 30, 0.3]]
    third = [[100, 40, 20, 50, 0.6], [300, 7, 8, 9, 0.45]]
    fused = geometry.fuse_rectangles([first, second, third])
    expected = [
        # 40 + 4 * 0.3 / 1.8 and so on.
        [100 + 4 / 6, 40 + 4 / 6, 20, 50, 0.6],
        [2 / 3, 0, 10, 30, 0.3],
        [300, 7, 8, 9, 0.15],
    ]
    np.testing.assert_allclose(fused, expected, atol=1e-12)


def test_rectangles_of_one_look_and_of_none():
    boxes = [[0, 0, 10, 30, 0.5], [50, 0, 10, 30, 0.75]]
    np.testing.assert_array_equal(geometry.fuse_rectangles([boxes]), boxes[::-1])
    for nothing in ([], [[]], [[], []]):
        assert geometry.fuse_rectangles(nothing).shape == (0, 5)
    np.testing.assert_allclose(
        geometry.fuse_rectangles([boxes, []]), [[50, 0, 10, 30, 0.375], [0, 0, 10, 30, 0.25]]
    )


def test_rectangles_that_overlap_less_are_two():
    # 7 of 13 columns in common, then 6 of 14: 0.538 and 0.429.
    one, other = [[0, 0, 10, 30, 0.5]], [[3, 0, 10, 30, 0.5]]
    assert len(geometry.fuse_rectangles([one, other])) == 1
    other = [[4, 0, 10, 30, 0.5]]
    assert len(geometry.fuse_rectangles([one, other])) == 2
    assert len(geometry.fuse_rectangles([one, other], same=0.42)) == 1
    assert len(geometry.fuse_rectangles([one, other], overlap=0.42)) == 1


def test_rectangles_that_overlap_just_enough_are_one():
    # 200 of 400 square pixels: exactly the half that is asked for.
    looks = [[[0, 0, 10, 40, 0.6]], [[0, 0, 10, 20, 0.3]]]
    [one] = geometry.fuse_rectangles(looks, same=0.5, overlap=0.4)
    np.testing.assert_allclose(one, [0, 0, 10, 100 / 3, 0.45])  # (0.6 * 40 + 0.3 * 20) / 0.9


def test_of_equal_sums_the_surer_one_leads():
    # The one in the middle meets the right one, and both outer ones meet it: 0.9 three times.
    looks = [[[0, 0, 10, 30, 0.6], [2, 0, 10, 30, 0.6]], [[1.5, 0, 10, 30, 0.3]]]
    [one] = geometry.fuse_rectangles(looks)
    np.testing.assert_allclose(one, [0.5, 0, 10, 30, 0.45])  # (0.6 * 0 + 0.3 * 1.5) / 0.9


def test_suppression_of_more_rectangles_than_are_compared_at_once():
    # A hundred beside each other, each twice; the second of each pair lies where the first does.
    place = np.arange(100.0)
    boxes = np.stack([20 * place, 0 * place, 0 * place + 10, 0 * place + 30], axis=1)
    scores = 1 - place / 1000
    found = geometry.suppress_overlaps(
        np.concatenate([boxes, boxes + [1, 0, 0, 0]]), np.concatenate([scores, scores - 0.5])
    )
    assert found.tolist() == list(range(100))
    # Pairs that follow each other, so that both lie in the second block.
    paired = np.repeat(boxes, 2, axis=0)
    found = geometry.suppress_overlaps(paired, 1 - np.arange(200) / 1000)
    assert found.tolist() == list(range(0, 200, 2))
    found = geometry.suppress_overlaps(paired, 1 - np.arange(200) / 1000, most=70)
    assert found.tolist() == list(range(0, 140, 2))
