"""The loss against numbers worked out by hand and against plain heatmaps."""

import keras
import numpy as np
import pytest

from keras_hourglass.codec import BoxCodec, HeatmapCodec
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import input_to_heatmap
from keras_hourglass.losses import BoxLoss, HeatmapMSE, draw_heatmaps


def _numpy(value):
    return np.array(keras.ops.convert_to_numpy(value))


def test_by_hand():
    # One joint at x = 1, y = 0 of a map 2 high and 3 wide, sigma such that a neighbour has 1/2.
    sigma = np.sqrt(1 / (2 * np.log(2)))
    target = np.array([[[1.0, 0.0, 1.0, 1.0]]], "float32")
    drawn = _numpy(draw_heatmaps(target, (2, 3), sigma))
    np.testing.assert_allclose(drawn[0, :, :, 0], [[0.5, 1, 0.5], [0.25, 0.5, 0.25]], rtol=1e-5)
    # Against an empty map: (1 + 3 * 1/4 + 2 * 1/16) / 6
    empty = np.zeros((1, 2, 3, 1), "float32")
    assert float(HeatmapMSE((2, 3), sigma)(target, empty)) == pytest.approx(1.875 / 6, rel=1e-5)
    assert float(HeatmapMSE((2, 3), sigma, scale=12)(target, empty)) == pytest.approx(3.75)


def test_equal_to_keras_on_ready_heatmaps():
    rng = np.random.default_rng(1)
    codec = HeatmapCodec((32, 48), sigma=1.2)
    joints, seen = rng.uniform(-4, 40, (5, 3, 2)), rng.integers(0, 3, (5, 3))
    predicted = rng.normal(size=(5, 8, 12, 3)).astype("float32")
    ready, weights = codec.encode(joints, seen)
    assert weights.min() == 1 and 0 < (ready.max(axis=(1, 2)) > 0).sum() < 15
    ours = HeatmapMSE((8, 12), 1.2)(codec.targets(joints, seen), predicted)
    assert float(ours) == pytest.approx(float(np.mean((ready - predicted) ** 2)), rel=1e-5)


def test_weights_leave_joints_out():
    codec = HeatmapCodec((32, 48), sigma=1.2, missing="ignore")
    targets = codec.targets(np.full((1, 2, 2), 16.0), np.array([[2, 0]]))
    predicted = np.zeros((1, 8, 12, 2), "float32")
    before = float(HeatmapMSE((8, 12), 1.2)(targets, predicted))
    predicted[..., 1] = 7.0
    assert float(HeatmapMSE((8, 12), 1.2)(targets, predicted)) == before > 0


def test_reduced_maps_have_the_joint_at_the_same_place():
    # Input pixel 21.5 is 5.0 in stride 4 and 2.25 in stride 8: (21.5 + 0.5) / 8 - 0.5.
    codec = HeatmapCodec((64, 32), sigma=1.0)
    targets = codec.targets([[[21.5, 37.5]]], [[2]])
    np.testing.assert_allclose(targets[0, 0, :2], [5.0, 9.0])
    assert input_to_heatmap(np.array([21.5]), 8)[0] == 2.25
    expected = draw_heatmaps(np.array([[[2.25, 4.25, 1, 1]]], "float32"), (8, 4), 1.0)
    loss = HeatmapMSE((8, 4), 1.0, reduced=2)
    assert float(loss(targets, expected)) < 1e-12
    assert float(HeatmapMSE((8, 4), 1.0)(targets, expected)) > 1e-3


def test_config_survives():
    loss = HeatmapMSE((8, 12), 1.2, 1000.0, 2)
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert again.get_config() == loss.get_config()


@pytest.mark.parametrize("options", [{"sigma": 0.0}, {"scale": -1.0}, {"reduced": 0}])
def test_values_out_of_range(options):
    with pytest.raises(UserError, match="must be positive"):
        HeatmapMSE((8, 12), **options)


def test_box_loss_by_hand():
    # One pixel of a map 1 high and 2 wide; the person is 32×64, heatmap pixels are 4.
    true, said = np.zeros((1, 1, 2, 7), "float32"), np.zeros((1, 1, 2, 5), "float32")
    true[0, 0, 0] = [0.5, np.log(32 / 64), 0, 0.25, -0.5, 10, 1]
    true[0, 0, 1] = [0, 0, 0, 0, 0, 1, 0]
    said[0, 0, 0] = [
        0.25,
        np.log(16 / 64),
        np.log(2),
        0.75,
        -1.5,
    ]
    said[0, 0, 1] = [0.5, 7, 7, 7, 7]
    centre = 10 * 0.25**2 + 0.5**2
    # Sizes: ln 2 each; middles: 2 × (0.5 × 4 / 32 + 1 × 4 / 64).
    size = 2 * np.log(2) + 2 * (0.0625 + 0.0625)
    assert float(BoxLoss(4, 64, 0.1, 0.7)(true, said)) == pytest.approx(
        0.1 * centre + 0.7 * size, rel=1e-5
    )
    assert float(BoxLoss(4, 64, 1, 3, scale=2)(true, said)) == pytest.approx(
        2 * (centre + 3 * size), rel=1e-5
    )


def test_box_loss_is_zero_on_perfect_maps_and_lower_nearer_by():
    maps = BoxCodec((64, 96)).encode([[20, 8, 24, 40], [50, 20, 30, 30]])[None].repeat(2, axis=0)
    assert float(BoxLoss()(maps, maps[..., :5])) == 0
    near, far = maps[..., :5].copy(), maps[..., :5].copy()
    near[..., 1] += 0.1
    far[..., 1] += 0.4
    # Two people a picture, ln-width wrong by 0.1.
    assert float(BoxLoss(size=1)(maps, near)) == pytest.approx(0.2, rel=1e-4)
    assert float(BoxLoss(size=1)(maps, far)) == pytest.approx(0.8, rel=1e-4)
    with pytest.raises(UserError, match="must be positive"):
        BoxLoss(size=0)
    copy = BoxLoss.from_config(BoxLoss(unit=32.0, size=2.0).get_config())
    assert (copy.unit, copy.size, copy.stride) == (32.0, 2.0, 4)
