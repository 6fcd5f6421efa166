"""Crops to merged heatmaps: mirror images, scales, batches."""

import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.inference.engines import Engine
from keras_hourglass.inference.runner import HeatmapRunner
from keras_hourglass.network.model import snapshot

SIZE = (32, 16)  # height and width of the crops
ORDER = (1, 0, 2)  # two sided joints and one in the middle


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(3)
    return StackedHourglass(num_keypoints=3, num_features=4, depth=1, input_shape=(*SIZE, 3))


def crops_of(count):
    return np.random.default_rng(count).integers(0, 256, (count, *SIZE, 3), np.uint8)


class Means:
    """An engine whose maps are the means of 4×4 pixels of each channel; remembers its batches."""

    def __init__(self):
        self.batches = []

    def __call__(self, crops):
        self.batches.append(np.array(crops))
        height, width = SIZE
        maps = crops.reshape(-1, height // 4, 4, width // 4, 4, 3).mean(axis=(2, 4), dtype="f4")
        return {"stack_2": maps, "stack_1": -maps}


def test_every_stack_by_default_and_in_order(model):
    heatmaps = HeatmapRunner(model, engine=Means())(crops_of(3))
    assert list(heatmaps) == ["stack_1", "stack_2"]
    np.testing.assert_array_equal(heatmaps["stack_1"], -heatmaps["stack_2"])
    assert heatmaps["stack_2"].shape == (3, 8, 4, 3) and heatmaps["stack_2"].dtype == np.float32


def test_a_crop_and_its_mirror_image_are_run_in_one_batch(model):
    engine, crops = Means(), crops_of(5)
    runner = HeatmapRunner(model, ["stack_2"], ORDER, batch_size=2, engine=engine)
    found = runner(crops)["stack_2"]
    assert [len(batch) for batch in engine.batches] == [4, 4, 2]
    np.testing.assert_array_equal(engine.batches[1][:2], crops[2:4])
    np.testing.assert_array_equal(engine.batches[1][2:], crops[2:4, :, ::-1])
    # Mirroring the mirrored means back leaves only the exchange of the first two channels.
    plain = Means()(crops)["stack_2"]
    np.testing.assert_allclose(found, (plain + plain[..., [1, 0, 2]]) / 2)
    engine.batches.clear()
    np.testing.assert_array_equal(runner(crops, mirrored=False)["stack_2"], plain)
    assert [len(batch) for batch in engine.batches] == [2, 2, 1]


def test_other_maps_than_those_of_joints_are_merged_by_their_own_rule(model):
    engine, crops = Means(), crops_of(3)
    runner = HeatmapRunner(model, ["stack_2"], batch_size=2, engine=engine, merge=np.subtract)
    plain, of_mirror = Means()(crops)["stack_2"], Means()(crops[:, :, ::-1])["stack_2"]
    np.testing.assert_array_equal(runner(crops)["stack_2"], plain - of_mirror)
    assert [len(batch) for batch in engine.batches] == [4, 2] and runner.mirrors


def test_without_an_order_nothing_is_mirrored(model):
    engine = Means()
    HeatmapRunner(model, ["stack_1"], engine=engine)(crops_of(2), mirrored=True)
    assert [len(batch) for batch in engine.batches] == [2]


def test_scales_are_brought_into_the_frame_of_the_plain_crop(model):
    """A crop of twice the box shows the plain one at half the size about its middle."""
    plain = np.zeros((1, *SIZE, 3), np.uint8)
    plain[0, 8:24, 4:12] = 200  # the rows 2 to 5 and columns 1 and 2 of the map
    wide = np.zeros_like(plain)
    wide[0, 12:20, 6:10] = 200  # the rows 3 and 4; half of the columns 1 and 2
    runner = HeatmapRunner(model, ["stack_2"], scales=(2.0,), engine=Means())
    found = runner(wide[:, None])["stack_2"][0, ..., 0]
    # Places -3.5 to 3.5 of the rows are read at half their distance from the middle.
    rows = np.interp(3.5 + (np.arange(8) - 3.5) / 2, np.arange(8), [0, 0, 0, 1, 1, 0, 0, 0])
    columns = np.interp(1.5 + (np.arange(4) - 1.5) / 2, np.arange(4), [0, 1, 1, 0])
    np.testing.assert_allclose(found, 100 * np.outer(rows, columns), rtol=1e-5)
    both = HeatmapRunner(model, ["stack_2"], scales=(1.0, 2.0), engine=Means())
    mean = both(np.stack([plain, wide], axis=1))["stack_2"][0, ..., 0]
    inside = np.outer([0, 0, 1, 1, 1, 1, 0, 0], [0, 1, 1, 0])
    np.testing.assert_allclose(mean, (found + 200 * inside) / 2, rtol=1e-5)


@pytest.mark.parametrize(
    ("count", "mirrored", "sizes"),
    [(7, False, [6, 1]), (10, False, [6, 4]), (9, True, [12, 8]), (8, True, [12, 4])],
)
def test_batches_are_filled_up_where_each_size_is_compiled(model, count, mirrored, sizes):
    means, crops = Means(), crops_of(count)
    engine = Engine("keras", means, live=True, compiles=True)
    runner = HeatmapRunner(model, ["stack_2"], ORDER, batch_size=6, engine=engine)
    found = runner(crops, mirrored)["stack_2"]
    assert [len(batch) for batch in means.batches] == sizes
    expected = HeatmapRunner(model, ["stack_2"], ORDER, engine=Means())(crops, mirrored)
    np.testing.assert_array_equal(found, expected["stack_2"])


def test_nobody(model):
    for source in (model, snapshot(model)):
        found = HeatmapRunner(source, ["stack_1"], engine=Means())(np.zeros((0, *SIZE, 3), "u1"))
        assert found["stack_1"].shape == (0, 8, 4, 3)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_maps_are_float32_in_every_precision(policy):
    model = StackedHourglass(3, 1, 4, depth=1, input_shape=(*SIZE, 3), dtype=policy)
    for engine in ("auto", "fastest"):
        maps = HeatmapRunner(model, flip_order=ORDER, engine=engine)(crops_of(2))["stack_1"]
        assert maps.dtype == np.float32 and np.isfinite(maps).all()


@pytest.mark.parametrize("options", [{"batch_size": 0}, {"scales": ()}, {"scales": (1, -1)}])
def test_arguments_out_of_range(model, options):
    with pytest.raises(UserError, match="must be positive. Received"):
        HeatmapRunner(model, **options)


@pytest.mark.parametrize("shape", [(2, 16, 32, 3), (32, 16, 3), (2, 2, 32, 16, 3), (2, 32, 16, 1)])
def test_crops_of_another_size_are_refused(model, shape):
    with pytest.raises(UserError, match=r"Crops are \(N, 32, 16, 3\)"):
        HeatmapRunner(model, engine=Means())(np.zeros(shape, np.uint8))


def test_another_network_is_refused_as_a_fresh_one(model):
    runner = HeatmapRunner(snapshot(model), engine="fastest")
    other = StackedHourglass(3, 2, 4, depth=1, input_shape=(32, 24, 3))
    with pytest.raises(UserError, match="of the same input and heatmaps. Received: .*24.*16"):
        runner.refresh(snapshot(other))
