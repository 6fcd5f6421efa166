"""Targets and decoding: perfect maps must come back as the joints they were drawn from."""

import re

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keras_hourglass.choices import DECODERS
from keras_hourglass.codec import (
    BoxCodec,
    HeatmapCodec,
    codec_of,
    confidences,
    derivatives,
    present_from,
)
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import apply_affine, crop_affine, invert_affine
from keras_hourglass.skeletons import BOXES, SKELETONS, Skeleton

# Promised largest error along an axis, in heatmap pixels, of perfect maps away from the border.
PROMISED = {"max": 0.5, "quarter": 0.25, "dark": 0.1}


def test_a_target_by_hand():
    codec = HeatmapCodec((8, 12), stride=4, sigma=1.0)
    # Input (5.5, 1.5) is heatmap (1, 0) of a map 2 high and 3 wide.
    maps, weights = codec.encode([[[5.5, 1.5]]], [[2]])
    side, down = np.exp(-0.5), np.exp(-0.5)
    expected = [[side, 1, side], [side * down, down, side * down]]
    np.testing.assert_allclose(maps[0, :, :, 0], expected, rtol=1e-6)
    assert maps.dtype == np.float32 and weights.tolist() == [[1]]


def test_peak_is_one_at_the_exact_sub_pixel_position():
    codec = HeatmapCodec((64, 48), sigma=1.5)
    # Heatmap position 5.25, 7: the nearest pixel is a quarter away.
    maps, _ = codec.encode([[[5.25 * 4 + 1.5, 7 * 4 + 1.5]]], [[1]])
    np.testing.assert_allclose(maps[0, 7, 5, 0], np.exp(-(0.25**2) / (2 * 1.5**2)), rtol=1e-6)


def test_every_decoder_is_promised():
    assert set(PROMISED) == set(DECODERS)


@pytest.mark.parametrize("decoder", PROMISED)
def test_every_sub_pixel_offset_comes_back_within_the_promise(decoder):
    codec = HeatmapCodec((64, 96), sigma=1.0, decoder=decoder)
    offsets = np.linspace(-0.5, 0.5, 41)
    x, y = np.meshgrid(11 + offsets, 6 + offsets)
    joints = np.stack([x.ravel(), y.ravel()], axis=-1)[:, None] * 4 + 1.5
    decoded, scores = codec.decode(codec.encode(joints, np.full((len(joints), 1), 2))[0])
    assert np.abs(decoded - joints).max() <= PROMISED[decoder] * 4 + 1e-3
    assert scores.min() > 0.77 and scores.max() <= 1


def test_quarter_moves_towards_the_higher_neighbour():
    maps = np.zeros((1, 5, 7, 2), np.float32)
    maps[0, 2, 3] = 1
    maps[0, 2, 4, 0] = maps[0, 1, 3, 0] = 0.5  # right and up
    maps[0, 2, 2, 1] = maps[0, 3, 3, 1] = 0.5  # left and down
    decoded, scores = HeatmapCodec((20, 28)).decode(maps)
    right_up, left_down = [3.25 * 4 + 1.5, 1.75 * 4 + 1.5], [2.75 * 4 + 1.5, 2.25 * 4 + 1.5]
    assert decoded.tolist() == [[right_up, left_down]]
    assert scores.tolist() == [[1, 1]]


def dark(rows, columns, sigma):
    """What `dark` decodes from the map rows × columns, in heatmap pixels `x, y`."""
    maps = np.outer(rows, columns)[None, :, :, None]
    codec = HeatmapCodec((len(rows) * 4, len(columns) * 4), sigma=sigma, decoder="dark")
    decoded, scores = codec.decode(maps)
    assert scores[0, 0] == np.float32(maps.max())
    return (decoded[0, 0] - 1.5) / 4


def newton(left, middle, right):
    """From the middle of three values to the top of the Gaussian through them."""
    low, top, high = np.log([left, middle, right])
    return (low - high) / (2 * (low - 2 * top + high))


def test_dark_by_hand_with_a_narrow_smoothing():
    # The smoothing has half the sigma and reaches one pixel: exp(-1 / (2 * 0.5**2)) of each
    # neighbour. Its scale falls out. Before the first row stands the first row again.
    e = np.exp(-2)
    step_y = newton(0.3 + e * (0.3 + 1), 1 + e * (0.3 + 0.6), 0.6 + e * (1 + 0.2))
    step_x = newton(0.5 + e * (0.2 + 1), 1 + e * (0.5 + 0.7), 0.7 + e * (1 + 0.1))
    found = dark([0.3, 1, 0.6, 0.2, 0.1, 0.05], [0.2, 0.5, 1, 0.7, 0.1], sigma=1)
    np.testing.assert_allclose(found, [2 + step_x, 1 + step_y], atol=1e-9)
    assert 0.05 < step_x < 0.5 and 0.05 < step_y < 0.5


def test_dark_by_hand_with_a_wide_smoothing():
    # Sigma 2.6: it reaches three pixels, and its own sigma is 1.3.
    one, two, three = (np.exp(-(k**2) / (2 * 1.3**2)) for k in (1, 2, 3))
    step_x = newton(
        0.8 + one * (0.6 + 1) + two * (0.5 + 0.9) + three * (0.1 + 0.8),
        1 + one * (0.8 + 0.9) + two * (0.6 + 0.8) + three * (0.5 + 0.4),
        0.9 + one * (1 + 0.8) + two * (0.8 + 0.4) + three * (0.6 + 0.2),
    )
    step_y = newton(
        0.7 + one * (0.5 + 1) + two * (0.2 + 0.4) + three * (0.2 + 0.3),
        1 + one * (0.7 + 0.4) + two * (0.5 + 0.3) + three * (0.2 + 0.2),
        0.4 + one * (1 + 0.3) + two * (0.7 + 0.2) + three * (0.5 + 0.1),
    )
    rows = [0.2, 0.5, 0.7, 1, 0.4, 0.3, 0.2, 0.1]
    columns = [0.1, 0.5, 0.6, 0.8, 1, 0.9, 0.8, 0.4, 0.2]
    found = dark(rows, columns, sigma=2.6)
    np.testing.assert_allclose(found, [4 + step_x, 3 + step_y], atol=1e-9)
    assert step_x > 0.05 and step_y < -0.05


def test_dark_follows_a_slanted_peak():
    # Along the diagonal it is twice as long as across.
    x, y = np.arange(11) - 5.35, (np.arange(9) - 3.8)[:, None]
    maps = np.exp(-((x + y) ** 2) / 32 - (x - y) ** 2 / 8)[None, :, :, None]
    decoded, _ = HeatmapCodec((36, 44), sigma=1, decoder="dark").decode(maps)
    np.testing.assert_allclose((decoded[0, 0] - 1.5) / 4, [5.35, 3.8], atol=0.03)


@pytest.mark.parametrize(("x", "y"), [(0, 3), (8, 3), (4, 0), (4, 6)])
def test_dark_leaves_maxima_on_the_border(x, y):
    peak = np.exp(-((np.arange(9) - x - 0.2) ** 2)), np.exp(-((np.arange(7) - y + 0.2) ** 2))
    assert dark(peak[1], peak[0], sigma=1).tolist() == [x, y]
    # One pixel further inside it moves, along both axes.
    x, y = np.clip([x, y], 1, [7, 5])
    peak = np.exp(-((np.arange(9) - x - 0.2) ** 2)), np.exp(-((np.arange(7) - y + 0.2) ** 2))
    np.testing.assert_allclose(dark(peak[1], peak[0], sigma=1), [x + 0.2, y - 0.2], atol=0.05)


def test_dark_stays_where_the_smoothed_map_has_no_peak():
    ring = np.array([0.99, 0.99, 0.99, 0.1, 0.1, 1, 0.1, 0.1, 0.99, 0.9, 0.8])
    slope = np.exp(-((np.arange(13) - 6.3) ** 2) / 8)
    # A hollow along both axes; along one of them.
    hollow = np.outer(ring, ring)[None, :, :, None]
    decoded, _ = HeatmapCodec((44, 44), sigma=3, decoder="dark").decode(hollow)
    assert ((decoded[0, 0] - 1.5) / 4).tolist() == [5, 5]
    assert dark(ring, slope, sigma=3).tolist() == [6, 5]
    assert dark(slope, ring, sigma=3).tolist() == [5, 6]


def test_dark_moves_by_one_pixel_at_most():
    # Smoothed, the values around the maximum are 2.5, 3.1 and 3.4: the top would be two away.
    columns = [0.3, 0.4, 0.5, 0.6, 1, 0.99, 0.99, 0.99, 0.99]
    rows = np.exp(-((np.arange(11) - 5) ** 2) / 8)
    np.testing.assert_allclose(dark(rows, columns, sigma=3), [5, 5], atol=1e-9)
    np.testing.assert_allclose(dark(columns, rows, sigma=3), [5, 5], atol=1e-9)
    np.testing.assert_allclose(dark(rows, columns[::-1], sigma=3), [3, 5], atol=1e-9)


def test_maxima_on_the_border_stay_there():
    maps = np.zeros((1, 3, 4, 1), np.float32)
    maps[0, 0, 3] = 1
    maps[0, 0, 2] = maps[0, 1, 3] = 0.5
    assert HeatmapCodec((12, 16)).decode(maps)[0].tolist() == [[[13.5, 1.5]]]


@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_maximum_agrees_with_a_plain_search(height, width, seed):
    maps = np.random.default_rng(seed).integers(0, 6, (3, height, width, 2)).astype(np.float32)
    codec = HeatmapCodec((height * 4, width * 4), decoder="max")
    decoded, scores = codec.decode(maps)
    for person in range(3):
        for joint in range(2):
            plain = maps[person, :, :, joint]
            row, column = np.unravel_index(plain.argmax(), plain.shape)
            assert decoded[person, joint].tolist() == [column * 4 + 1.5, row * 4 + 1.5]
            assert scores[person, joint] == plain.max()


def test_nan_maps_give_nan():
    maps = np.zeros((2, 4, 5, 3), np.float32)
    maps[1, 2, 3, 1] = np.nan
    decoded, scores = HeatmapCodec((16, 20)).decode(maps)
    assert np.isnan(decoded[1, 1]).all() and np.isnan(scores[1, 1])
    assert np.isfinite(decoded[0]).all() and np.isfinite(decoded[1, [0, 2]]).all()


@pytest.mark.parametrize("decoder", PROMISED)
def test_empty_maps_decode_to_finite_joints_of_score_zero(decoder):
    decoded, scores = HeatmapCodec((16, 20), decoder=decoder).decode(np.zeros((1, 4, 5, 2)))
    assert np.isfinite(decoded).all() and not scores.any()


@given(st.booleans(), st.floats(-60, 60), st.floats(0.7, 1.4), st.integers(0, 10**6))
def test_round_trip_through_crop_rotation_scale_and_mirror(flip, turn, scale, seed):
    codec = HeatmapCodec((128, 192), sigma=1.5)
    box = (150.0, 90.0, 200.0)
    joints = np.random.default_rng(seed).uniform((110, 50), (190, 130), (4, 7, 2))
    matrix = crop_affine(box, codec.input_size, turn, flip, scale)
    decoded, _ = codec.decode(codec.encode(apply_affine(matrix, joints), np.full((4, 7), 2))[0])
    back = apply_affine(invert_affine(matrix), decoded)
    heatmap_pixel = 4 * 200 * scale / 128  # in source pixels
    assert (
        np.linalg.norm(back - joints, axis=-1).max() <= np.hypot(0.25, 0.25) * heatmap_pixel + 0.01
    )


def test_pck_at_a_tenth_of_perfect_maps():
    rng = np.random.default_rng(3)
    joints = rng.uniform(20, 235, (500, 14, 2))
    codec = HeatmapCodec((256, 256))
    decoded, _ = codec.decode(codec.encode(joints, np.full((500, 14), 2))[0])
    torso = 50  # pixels of the crop; people fill most of it
    hits = np.linalg.norm(decoded - joints, axis=-1) <= 0.1 * torso
    assert hits.mean() >= 0.999


def test_mirroring_the_input_mirrors_the_heatmaps_exactly():
    codec = HeatmapCodec((64, 48), sigma=1.0)
    joints = np.array([[[10.0, 20.0], [30.0, 50.0], [22.0, 8.0]]])
    order = (1, 0, 2)
    mirrored = joints.copy()
    mirrored[..., 0] = 47 - mirrored[..., 0]
    maps = codec.encode(joints, [[2, 2, 2]])[0]
    maps_of_mirror = codec.encode(mirrored[:, order], [[2, 2, 2]])[0]
    merged = codec.merge_flipped(maps, maps_of_mirror, order)
    np.testing.assert_allclose(merged, maps, atol=1e-6)


def test_merging_averages():
    maps = np.arange(12, dtype=np.float32).reshape(1, 2, 3, 2)
    merged = HeatmapCodec((8, 12)).merge_flipped(maps, np.zeros_like(maps), (1, 0))
    np.testing.assert_array_equal(merged, maps / 2)
    merged = HeatmapCodec((8, 12)).merge_flipped(np.zeros_like(maps), maps, (1, 0))
    # Joint 0 comes from joint 1, column 0 from column 2.
    assert merged[0, 0, 0, 0] == maps[0, 0, 2, 1] / 2


def test_missing_joints():
    joints = [[[10, 10], [10, 10], [-9, 10], [0, 0]]]
    visibility = [[2, 0, 2, 1]]
    zero = HeatmapCodec((64, 64), missing="zero").targets(joints, visibility)
    ignore = HeatmapCodec((64, 64), missing="ignore").targets(joints, visibility)
    # Labelled; not labelled; labelled outside; labelled in the corner.
    assert zero[0, :, 2].tolist() == [1, 0, 0, 1] and zero[0, :, 3].tolist() == [1, 1, 1, 1]
    assert ignore[0, :, 3].tolist() == [1, 0, 0, 1]
    maps, _ = HeatmapCodec((64, 64)).encode(joints, visibility)
    assert maps[..., 1:3].max() == 0 and maps[..., 0].max() > 0.9


def test_weights_pass_through():
    targets = HeatmapCodec((64, 64)).targets([[[9, 9], [8, 8]]], [[2, 2]], [[0.5, 0]])
    assert targets[0, :, 3].tolist() == [0.5, 0]


def test_config_round_trip():
    codec = HeatmapCodec((128, 96), 4, 2.0, "dark", "ignore")
    assert HeatmapCodec.from_config(codec.get_config()).get_config() == codec.get_config()
    assert codec.heatmap_size == (32, 24)


def test_the_papers_values_are_the_defaults():
    assert HeatmapCodec().get_config() == {
        "input_size": [256, 256],
        "stride": 4,
        "sigma": 1.5,
        "decoder": "quarter",
        "missing": "zero",
    }


def test_a_map_of_one_pixel():
    size = HeatmapCodec((1, 3), stride=1).heatmap_size
    assert size == (1, 3) and all(isinstance(edge, int) for edge in size)


def test_joints_count_as_inside_to_the_outer_edge_of_the_crop():
    # A crop 8 high and 12 wide ends half a pixel beyond the centres of its outer pixels.
    inside = [[-0.5, 1], [11.5, 1], [1, -0.5], [1, 7.5]]
    outside = [[-0.6, 1], [11.6, 1], [1, -0.6], [1, 7.6]]
    targets = HeatmapCodec((8, 12)).targets([inside, outside], np.ones((2, 4)))
    assert targets[..., 2].tolist() == [[1] * 4, [0] * 4]


@pytest.mark.parametrize(
    "arguments",
    [
        {"sigma": 0},
        {"input_size": (10, 64)},
        {"input_size": (0, 64)},
        {"input_size": (64,)},
        {"decoder": "soft"},
        {"missing": "guess"},
    ],
)
def test_bad_arguments(arguments):
    [name] = arguments
    with pytest.raises(UserError, match=f"`{name}`.*Received"):
        HeatmapCodec(**arguments)


@pytest.mark.parametrize("shape", [(4, 5, 3), (2, 0, 5, 3), (2, 4, 0, 3), (2, 4, 5, 0)])
def test_heatmaps_need_four_axes(shape):
    codec = HeatmapCodec((16, 20))
    with pytest.raises(UserError, match=re.escape(f"Received: {shape}")):
        codec.decode(np.zeros(shape))
    # Nobody is fine.
    assert codec.decode(np.zeros((0, 4, 5, 3)))[0].shape == (0, 3, 2)


# Properties over random input, one at least for every public function.

INSIDE = st.tuples(st.floats(-0.5, 95.5), st.floats(-0.5, 63.5))
AROUND = st.tuples(st.floats(-300, 300), st.floats(-300, 300))


@given(st.lists(st.one_of(INSIDE, AROUND), min_size=1, max_size=5), st.integers(0, 2))
def test_targets_say_where_and_whether(points, seen):
    codec = HeatmapCodec((64, 96), missing="ignore")
    found = codec.targets([points], np.full((1, len(points)), seen))[0]
    for (x, y), target in zip(points, found, strict=True):
        if seen and -0.5 <= x <= 95.5 and -0.5 <= y <= 63.5:
            expected = [(x - 1.5) / 4, (y - 1.5) / 4, 1, 1]
            np.testing.assert_allclose(target, expected, atol=1e-5)
        else:
            assert target.tolist() == [0, 0, 0, 0]


@given(st.lists(INSIDE, min_size=1, max_size=5), st.floats(0.5, 3))
def test_maps_hold_the_distance_from_the_joint(points, sigma):
    codec = HeatmapCodec((64, 96), sigma=sigma)
    maps, _ = codec.encode([points], np.ones((1, len(points))))
    rows, columns = np.mgrid[:16, :24]
    for joint, (x, y) in enumerate(points):
        distance2 = (columns - (x - 1.5) / 4) ** 2 + (rows - (y - 1.5) / 4) ** 2
        expected = np.exp(-distance2 / (2 * sigma**2))
        np.testing.assert_allclose(maps[0, :, :, joint], expected, atol=1e-4)


@given(INSIDE, st.floats(0, 2))
def test_drawing_follows_the_amplitude(point, amplitude):
    codec = HeatmapCodec((64, 96))
    target = codec.targets([[point]], [[2]])
    whole = codec.draw(target)
    target[..., 2] = amplitude
    np.testing.assert_allclose(codec.draw(target), amplitude * whole, atol=1e-6)


def random_maps(seed, height=7, width=9):
    """Positive maps of three people and two joints without any two equal numbers."""
    numbers = np.random.default_rng(seed).permutation(3 * height * width * 2) + 1.0
    return (numbers / numbers.size).reshape(3, height, width, 2)


@pytest.mark.parametrize("decoder", PROMISED)
@given(seed=st.integers(0, 10**6))
def test_decoding_follows_mirror_turn_and_shift(decoder, seed):
    codec = HeatmapCodec((28, 36), decoder=decoder)
    maps = random_maps(seed)
    joints, scores = codec.decode(maps)

    mirrored, same = codec.decode(maps[:, :, ::-1])
    np.testing.assert_allclose(mirrored, joints * [-1, 1] + [35, 0], atol=1e-6)
    np.testing.assert_array_equal(same, scores)
    # Rows and columns exchanged: x and y are exchanged.
    turned, _ = codec.decode(maps.transpose(0, 2, 1, 3))
    np.testing.assert_allclose(turned, joints[..., ::-1], atol=1e-6)
    # Moved by two columns and one row, away from every border.
    small = np.pad(maps, [(0, 0), (4, 6), (4, 6), (0, 0)])
    moved = np.pad(maps, [(0, 0), (5, 5), (6, 4), (0, 0)])
    step = codec.decode(moved)[0] - codec.decode(small)[0]
    np.testing.assert_allclose(step, np.broadcast_to([8.0, 4.0], step.shape), atol=1e-6)


@given(st.integers(0, 10**6))
def test_merging_twice_mirrored_maps_gives_them_back(seed):
    maps = random_maps(seed)
    codec = HeatmapCodec((28, 36))
    # What a perfectly symmetrical network gives for the mirrored crop.
    mirrored = maps[:, :, ::-1][..., [1, 0]]
    np.testing.assert_array_equal(codec.merge_flipped(maps, mirrored, (1, 0)), maps)
    # The mirror image of the whole: both halves change their places.
    other = random_maps(seed + 1)
    one_way = codec.merge_flipped(maps, other, (1, 0))
    other_way = codec.merge_flipped(other, maps, (1, 0))
    np.testing.assert_allclose(other_way, one_way[:, :, ::-1][..., [1, 0]], atol=1e-12)


@given(st.lists(st.integers(-50, 50), min_size=6, max_size=6))
def test_differences_are_exact_for_parabolas(factors):
    level, slope_x, slope_y, bend_x, bend_y, twist = factors
    y, x = np.mgrid[-1:2, -1:2]
    values = level + slope_x * x + slope_y * y + bend_x * x**2 + bend_y * y**2 + twist * x * y
    expected = [slope_x, slope_y, 2 * bend_x, 2 * bend_y, twist]
    assert [found.tolist() for found in derivatives(values[None])] == [[v] for v in expected]


def test_box_maps_by_hand():
    """A person of 24×40 whose middle is at (31.5, 27.5): heatmap pixel (7.5, 6.5)."""
    codec = BoxCodec((64, 96), spread=0.1, limits=(0.8, 3.5), unit=64.0)
    maps = codec.encode([[20, 8, 24, 40]])
    assert maps.shape == (16, 24, 7) and maps.dtype == np.float32
    # 0.1 × 24 / 4 is less than 0.8; 0.1 × 40 / 4 is 1.
    nearest = np.exp(-(0.5**2) / (2 * 0.8**2)) * np.exp(-(0.5**2) / 2)
    assert maps[..., 0].max() == pytest.approx(nearest)
    assert maps[6, 7, 0] == maps[7, 8, 0] == pytest.approx(nearest)
    two = np.exp(-(1.5**2) / (2 * 0.8**2)) * np.exp(-(0.5**2) / 2)
    assert maps[6, 9, 0] == pytest.approx(two)
    np.testing.assert_allclose(maps[6, 7, 1:5], [np.log(24 / 64), np.log(40 / 64), 0.5, 0.5])
    np.testing.assert_allclose(maps[7, 9, 3:5], [-1.5, -0.5])
    assert maps[6, 7, 5] == pytest.approx(1 + 10 * nearest)
    np.testing.assert_allclose(maps[0, 0], [0, 0, 0, 0, 0, 1, 0], atol=1e-6)
    assert maps[..., 6].sum() == pytest.approx(1)
    assert (maps[..., 6] > 0).sum() == (maps[..., 0] > 0.1).sum()


def test_boxes_come_back():
    codec = BoxCodec((128, 192))
    boxes = [[10, 12, 30, 70], [60.5, 20.25, 40, 44], [100, 100, 14, 20], [140, 5, 50, 120]]
    [found] = codec.decode(codec.encode(boxes)[None, ..., :5])
    assert (np.diff(found[:, 4]) <= 0).all() and found[:, 4].min() > 0.6
    np.testing.assert_allclose(found[np.argsort(found[:, 0]), :4], boxes, atol=1e-3)


def test_what_is_asked_of_people_at_the_edge_in_crowds_and_far_away():
    codec = BoxCodec((64, 96), least=10.0)
    half = codec.encode([[-20, 8, 40, 40]])
    [[[x, y, width, height, _]]] = codec.decode(half[None, ..., :5])
    np.testing.assert_allclose([x, y, width, height], [0, 8, 20, 40], atol=1e-4)
    # Of 40 px 8 are left: nothing is asked there, and nobody is to be found.
    little = codec.encode([[-32, 8, 40, 40]])
    assert little[..., 0].max() == 0 and (little[2:12, :2, 5] == 0).all()
    assert (little[:2, :, 5] == 1).all() and (little[:, 2:, 5] == 1).all()
    far = codec.encode([[40, 16, 4, 9]])
    assert far[..., 0].max() == 0 and far[4:7, 10, 5].tolist() == [0, 0, 0]
    # In a crowd nothing is asked except for somebody with a box of their own.
    crowd = codec.encode([[0, 0, 96, 64], [20, 8, 24, 40]], [True, False])
    assert crowd[0, 0, 5] == 0 and crowd[6, 7, 5] > 1
    beside = codec.encode([[200, 8, 40, 40], [20, 80, 24, 40]])
    assert beside[..., 0].max() == 0 and (beside[..., 5] == 1).all()
    # Left of the picture, above it, or of one pixel that is left: not even a place to be ignored.
    gone = codec.encode([[-50, 8, 20, 40], [20, -80, 24, 40], [-9, 8, 10, 40]])
    assert gone[..., 0].max() == 0 and (gone[..., 5] == 1).all()


def test_two_of_one_size_keep_the_pixels_closer_to_each():
    """40×40 each, middles at heatmap pixels (5, 7) and (7, 7), Gaussians of 1 pixel."""
    maps = BoxCodec((64, 96)).encode([[2, 10, 40, 40], [10, 10, 40, 40]])
    # At a middle the other's map is exp(-2), more than 0.1; between the two both are as high.
    assert maps[7, 5:8, 3].tolist() == [0, -1, 0]
    np.testing.assert_allclose(maps[7, 5:8, 5], [11, 1 + 10 * np.exp(-0.5), 11])
    # The first one keeps the column between, and loses the pixel at the other's middle: of those
    # 0, 1, 1.4 and 2 pixels away there are 1, 4, 4 and 4.
    lost = np.exp(-2) / (1 + 4 * (np.exp(-0.5) + np.exp(-1) + np.exp(-2)))
    by_place = [maps[:, :7, 6].sum(), maps[:, 7:, 6].sum()]
    np.testing.assert_allclose(by_place, [1 - lost, 1], rtol=1e-6)


def test_a_person_of_one_pixel_weighs_one():
    """Of a Gaussian of 0.3 pixels only the nearest pixel, 0.4 away both ways, is above 0.1."""
    codec = BoxCodec((32, 48), limits=(0.3, 0.3))
    # The middle is at heatmap pixel (3.4, 2.4): (3.4 + 0.5) × 4 = 15.6 from the left.
    maps = codec.encode([[5.6, 1.6, 20, 20]])
    assert maps[..., 0].max() == pytest.approx(np.exp(-0.32 / 0.18))
    assert maps[2, 3, 6] == pytest.approx(1) and maps[..., 6].sum() == pytest.approx(1)


def test_no_more_than_300_people_and_no_size_beyond_all_bounds():
    maps = np.zeros((1, 64, 64, 5), np.float32)
    maps[0, ::3, ::3, 0] = 0.9
    maps[..., 1:3] = -4
    assert len(BoxCodec().decode(maps)[0]) == 300
    assert len(BoxCodec().decode(maps, most=301)[0]) == 301
    maps[0, ..., 0] = 0
    maps[0, 5, 7] = [0.9, 8.5, -8.5, 0, 0]
    [[box]] = BoxCodec().decode(maps)
    np.testing.assert_allclose(box[2:4], [64 * np.exp(8), 64 * np.exp(-8)])


def test_limits_of_who_is_asked_for_count():
    codec = BoxCodec((64, 96), least=10.0)
    # Ten pixels long; two pixels wide; 12 of 40 px left, which is 0.3.
    for box in ([40, 16, 4, 10], [20, 8, 2, 40], [-28, 8, 40, 40]):
        assert codec.encode([box])[..., 6].sum() == pytest.approx(1), box


def test_somebody_smaller_is_asked_for_in_whole_before_somebody_larger():
    """Each pixel's weight is of whoever it shows; of the small person, who is in front, all."""
    codec = BoxCodec((128, 128))
    maps = codec.encode([[64, 66, 20, 24], [10, 10, 100, 110]])
    small = np.isclose(maps[..., 1], np.log(20 / 64))
    assert maps[..., 6][small].sum() == pytest.approx(1)
    # The large one loses the pixels that the small one takes.
    assert maps[..., 6].sum() < 1.99


def test_somebody_before_somebody_else_keeps_their_own_size():
    codec = BoxCodec((128, 128))
    maps = codec.encode([[40, 62, 20, 24], [10, 10, 100, 110]])
    [found] = codec.decode(maps[None, ..., :5], least=0.5)
    found = found[np.argsort(found[:, 2])]
    np.testing.assert_allclose(found[:, 2:4], [[20, 24], [100, 110]], atol=1e-3)


def test_maxima_that_overlap_are_one_person():
    codec = BoxCodec((64, 64), overlap=0.5)
    maps = np.zeros((1, 16, 16, 5), np.float32)
    maps[..., 1:3] = np.log(32 / 64)  # everybody is 32×32
    maps[0, 8, 4, 0], maps[0, 8, 6, 0], maps[0, 8, 9, 0] = 0.6, 0.9, 0.5
    # Two heatmap pixels are 8 px: 24 / 40 of the union; three are 12 px: 20 / 44.
    [found] = codec.decode(maps)
    np.testing.assert_allclose(found[:, 4], [0.9, 0.5])
    np.testing.assert_allclose(found[0, :4], [6 * 4 + 2 - 16, 8 * 4 + 2 - 16, 32, 32])
    assert len(codec.decode(maps, least=0.7)[0]) == 1
    assert len(codec.decode(maps, most=1)[0]) == 1


def test_of_many_maxima_the_highest_stay():
    """Also where there are more than are looked at: four times as many as are asked for."""
    maps = np.zeros((1, 4, 40, 5), np.float32)
    maps[0, 2, ::3, 0] = np.linspace(0.2, 0.8, 14)
    maps[..., 1:3] = -4
    [found] = BoxCodec((16, 160)).decode(maps, most=2)
    np.testing.assert_allclose(found[:, 4], [0.8, 0.2 + 0.6 * 12 / 13], rtol=1e-6)


def test_somebody_in_the_corner_is_found():
    maps = np.zeros((1, 8, 12, 5), np.float32)
    maps[0, 0, 0] = maps[0, 7, 11] = [0.9, 0, 0, 0, 0]
    [found] = BoxCodec((32, 48)).decode(maps)
    np.testing.assert_allclose(found[:, :4], [[2 - 32, 2 - 32, 64, 64], [46 - 32, 30 - 32, 64, 64]])


def test_broken_maps_show_nobody():
    codec = BoxCodec((32, 48))
    maps = np.full((2, 8, 12, 5), np.nan, np.float32)
    maps[1] = 0
    maps[1, 2, 3] = [0.9, np.inf, 0, 0, 0]
    maps[1, 5, 8] = [0.8, 500, -500, 0, 0]
    nobody, one = codec.decode(maps)
    assert nobody.shape == (0, 5)
    assert len(one) == 1 and np.isfinite(one).all()
    with pytest.raises(UserError, match=r"\(N, height, width, 5\)"):
        codec.decode(maps[..., :4])


@pytest.mark.parametrize(
    "wrong",
    [
        {"input_size": (30, 32)},
        {"spread": 0},
        {"limits": (2, 1)},
        {"input_size": (0, 32)},
        {"limits": (0, 1)},
        {"unit": -1},
        {"unit": 0},
        {"overlap": 1.5},
        {"overlap": 0},
        {"prior": -1},
    ],
)
def test_box_codecs_that_cannot_be(wrong):
    with pytest.raises(UserError):
        BoxCodec(**wrong)
    assert BoxCodec.from_config(BoxCodec((32, 48)).get_config()).heatmap_size == (8, 12)


def test_the_least_that_box_codecs_take():
    assert BoxCodec((1, 3), stride=1).heatmap_size == (1, 3)
    assert BoxCodec(unit=0.5, limits=(2, 2)).limits == (2, 2)
    assert BoxCodec().input_size == (256, 256)


def test_box_codecs_by_default():
    """Published weights and their targets are made with these."""
    assert BoxCodec((32, 48)).get_config() == {
        "input_size": [32, 48],
        "stride": 4,
        "spread": 0.1,
        "limits": [0.8, 3.5],
        "unit": 64.0,
        "least": 10.0,
        "overlap": 0.5,
        "prior": 0.0,
    }
    # Of two at one place both stay where people may overlap entirely.
    maps = np.zeros((1, 8, 12, 5), np.float32)
    maps[0, 4, [5, 7], 0] = 0.9, 0.8
    maps[0, 4, 7, 3] = -2
    for overlap, count in ((0.99, 1), (1, 2)):
        assert len(BoxCodec((32, 48), overlap=overlap).decode(maps)[0]) == count


def test_a_prior_of_sizes_by_hand():
    maps = np.zeros((1, 16, 24, 5), np.float32)
    maps[0, 8, 4] = [0.6, np.log(32 / 64), np.log(16 / 64), 0, 0]  # an eighth of the unit's area
    maps[0, 8, 16] = [0.5, 0, np.log(32 / 64), 0, 0]  # a half
    plain, by_size = (BoxCodec((64, 96), prior=prior).decode(maps)[0] for prior in (0, 0.5))
    np.testing.assert_allclose(plain[:, 4], [0.6, 0.5], rtol=1e-6)
    np.testing.assert_allclose(by_size[:, 4], [0.5 * 0.5**0.5, 0.6 * 0.125**0.5], rtol=1e-6)
    assert len(BoxCodec((64, 96), prior=0.5).decode(maps, least=0.3)[0]) == 1
    # A score that the prior lifts above the limit: twice 0.04, of a person twice as large.
    maps[0, 8, 16] = [0.04, np.log(2), np.log(2), 0, 0]
    # The least score itself is not enough, whether or not a prior makes the score.
    even = np.zeros((1, 16, 24, 5), np.float32)
    even[0, 4, 4, 0] = 0.5
    for prior in (0, 0.5):
        assert not len(BoxCodec((64, 96), prior=prior).decode(even, least=0.5)[0])
    found = BoxCodec((64, 96), prior=0.5).decode(maps, least=0.05)[0]
    np.testing.assert_allclose(found[:, 4], [0.6 * 0.125**0.5, 0.08], rtol=1e-6)


def test_codec_of_a_model_by_hand():
    class Map:
        shape = (None, 8, 16, 5)

    class Model:
        input_shape, output = (None, 32, 64, 3), {"stack_1": None, "stack_2": Map}
        preprocessing = {"decoder": "dark", "sigma": 1.0}

    plain = {"input_size": [32, 64], "stride": 4, "missing": "zero"}
    codec = codec_of(Model, "stack_2")
    assert codec.get_config() == {**plain, "sigma": 1.0, "decoder": "dark"}
    assert codec_of(Model, "stack_2", "max").decoder == "max"
    Model.preprocessing = {}
    assert codec_of(Model, "stack_2").get_config() == {**plain, "sigma": 1.5, "decoder": "quarter"}
    del Model.preprocessing
    assert codec_of(Model, "stack_2").decoder == "quarter"
    Model.skeleton = SKELETONS["lsp"]
    assert codec_of(Model, "stack_2").sigma == 1.5
    Model.skeleton = BOXES
    with pytest.raises(UserError, match="A network of joints is needed. Received: one that finds"):
        codec_of(Model, "stack_2")


def test_least_scores_of_present_joints_by_hand():
    skeleton = Skeleton("arm", ("wrist", "elbow", "neck"))
    own = {"elbow": 0.4, "neck": 0.6}
    assert present_from(skeleton, {}).tolist() == [0.2, 0.2, 0.2]
    assert present_from(skeleton, own).tolist() == [0.2, 0.4, 0.6]
    assert present_from(skeleton, own, {"elbow": 0.1}).tolist() == [0.2, 0.1, 0.6]
    assert present_from(skeleton, own, 0.3).tolist() == [0.3, 0.3, 0.3]
    assert present_from(skeleton, own, 0).tolist() == [0, 0, 0]
    for wrong in ("high", {"neck": None}, float("nan")):
        with pytest.raises(UserError, match="is a number, or a dict of numbers by joint name"):
            present_from(skeleton, own, wrong)
    with pytest.raises(UserError, match="tail"):
        present_from(skeleton, own, {"tail": 0.3})


@example([2.0, 1.9999999999999998], 0.12376946528384748, 1.0)
@given(
    st.lists(st.floats(-1, 2), min_size=1, max_size=5),
    st.floats(0.001, 1.5),
    st.floats(0.01, 10),
)
def test_confidences_are_the_same_for_maps_of_any_height(scores, threshold, height):
    found = confidences(scores, [threshold])
    scaled = confidences(np.multiply(scores, height), [threshold * height])
    np.testing.assert_allclose(scaled, found)
    assert (found >= 0).all() and (found < 1).all()
    sure, unsure = np.array(scores) >= threshold * 1.001, np.array(scores) <= threshold * 0.999
    assert (found[sure] > 0.5).all() and (found[unsure] < 0.5).all()
    order = np.argsort(scores)
    # Scores that differ in their last bit may be rounded the other way round.
    assert (np.diff(found[order]) >= -1e-15).all()


def test_confidences_by_hand():
    # A quarter, once, three and nine times the threshold.
    found = confidences([[0.05, 0.2, 0.6, 1.8]], [0.2] * 4)
    np.testing.assert_allclose(found, [[0.2, 0.5, 0.75, 0.9]])
    # Where every joint is called present, so it is; a map without a number says nothing.
    assert confidences([0.0, -0.1, 0.3, -0.3], [0.0, 0.0, -0.2, -0.2]).tolist() == [1, 0, 1, 0]
    assert np.isnan(confidences([np.nan, np.nan], [0.2, 0.0])).all()


def test_maps_of_the_mirror_image_come_back():
    codec = BoxCodec((64, 96))
    there = codec.encode([[20, 8, 24, 40]])[None, ..., :5]
    mirrored = codec.encode([[96 - 44, 8, 24, 40]])[None, ..., :5]
    np.testing.assert_allclose(codec.merge_flipped(there, mirrored), there, atol=1e-5)
