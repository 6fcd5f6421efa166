"""Weights by name: files that Keras reads, strict loading, half precision."""

import numpy as np
import pytest

h5py = pytest.importorskip("h5py")

from networks import distinct  # noqa: E402

from keras_hourglass import StackedHourglass  # noqa: E402
from keras_hourglass.errors import WeightsError  # noqa: E402
from keras_hourglass.zoo import weights  # noqa: E402


def small(num_stacks=2, **options):
    return StackedHourglass(3, num_stacks, 8, depth=2, input_shape=(48, 32, 3), **options)


@pytest.fixture(scope="module")
def model():
    return distinct(small())


@pytest.fixture
def saved(model, tmp_path):
    path = tmp_path / "a.weights.h5"
    weights.save_weights(model, path)
    return path


def same(one, other):
    one, other = weights.arrays_of(one), weights.arrays_of(other)
    return list(one) == list(other) and all(np.array_equal(one[n], other[n]) for n in one)


def test_names_follow_the_layers(model):
    names = list(weights.named_variables(model))
    assert names[:3] == ["stem/conv/kernel", "stem/conv/bias", "stem/bn/gamma"]
    assert "hourglass_2/inner/bottom1/conv2/kernel" in names
    assert "supervision_1/merge_heatmaps/bias" in names
    assert len(names) == len(set(names)) == len(model.variables)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"supervision": "last"},
        {"supervision": "sum", "merge": "concat"},
        {"supervision": "inner", "num_blocks": 2},
        {"heads": [[8, 6], [8, 8]], "merge": "concat", "stem": "paper"},
    ],
)
def test_keys_are_those_keras_writes(options, tmp_path):
    model = small(**options)
    model.compile("adam", loss="mse")
    model.save_weights(tmp_path / "keras.weights.h5")
    found = set()

    def visit(key, item):
        if isinstance(item, h5py.Dataset) and not key.startswith("optimizer/"):
            found.add(key)

    with h5py.File(tmp_path / "keras.weights.h5") as file:
        file.visititems(visit)
    assert set(weights.file_keys(model).values()) == found


def test_keras_reads_what_is_written(model, saved):
    other = small()
    other.load_weights(saved)
    assert same(model, other)


@pytest.mark.slow
def test_reads_what_a_compiled_model_writes_without_the_optimizer(model, tmp_path):
    trained, fresh = small(), small()
    trained.compile("adam", loss="mse")
    weights.assign_arrays(trained, weights.arrays_of(model))
    trained.save_weights(tmp_path / "b.weights.h5")
    fresh.compile("adam", loss="mse")
    fresh.optimizer.learning_rate = 0.125
    weights.load_weights(fresh, tmp_path / "b.weights.h5")
    assert same(model, fresh)
    assert float(fresh.optimizer.learning_rate) == 0.125


@pytest.mark.full
def test_float16_halves_the_file_and_keeps_the_statistics(model, saved, tmp_path):
    half = tmp_path / "half.weights.h5"
    weights.save_weights(model, half, dtype="float16")
    other = small()
    weights.load_weights(other, half)
    loaded = weights.arrays_of(other)
    for name, array in weights.arrays_of(model).items():
        assert loaded[name].dtype == np.float32
        expected = array if "moving_" in name else array.astype("float16")
        np.testing.assert_array_equal(loaded[name], expected.astype("float32"), err_msg=name)
    key = weights.file_keys(model)["stem/conv/kernel"]
    with h5py.File(half) as small_file, h5py.File(saved) as full_file:
        assert 2 * small_file[key].nbytes == full_file[key].nbytes == 4 * 7 * 7 * 3 * 64
    keras_side = small()
    keras_side.load_weights(half)
    assert same(other, keras_side)


def edit(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replace(file, key, value):
    del file[key]
    file.create_dataset(key, data=value)


def test_every_array_is_accounted_for(model, saved):
    keys = weights.file_keys(model)
    fresh = small()
    before = weights.arrays_of(fresh)

    edit(saved, lambda file: file.__delitem__(keys["stem/bn/beta"]))
    with pytest.raises(WeightsError, match="1 missing: stem/bn/beta"):
        weights.load_weights(fresh, saved)

    edit(saved, lambda file: file.create_dataset("layers/extra/vars/0", data=np.zeros(2)))
    with pytest.raises(WeightsError, match="1 left over: layers/extra/vars/0"):
        weights.load_weights(fresh, saved)
    after = weights.arrays_of(fresh)
    assert all(np.array_equal(before[name], after[name]) for name in before)


@pytest.mark.slow
def test_shapes_and_values_are_checked(model, saved):
    keys = weights.file_keys(model)
    edit(saved, lambda file: replace(file, keys["stem/bn/beta"], np.zeros(5)))
    with pytest.raises(WeightsError, match=r"of another shape: stem/bn/beta \(5,\), not \(64,\)"):
        weights.load_weights(small(), saved)
    edit(saved, lambda file: replace(file, keys["stem/bn/beta"], np.full(64, np.nan)))
    with pytest.raises(WeightsError, match="not finite: stem/bn/beta"):
        weights.load_weights(small(), saved)


def test_another_architecture_is_named(saved):
    with pytest.raises(WeightsError, match="left over: layers/hourglass_1/.*and .* more"):
        weights.load_weights(small(num_stacks=1), saved)


def test_a_file_cut_short_is_refused(saved):
    saved.write_bytes(saved.read_bytes()[:1000])
    with pytest.raises(
        WeightsError, match="Cannot read the file of weights .*a.weights.h5.* cut short"
    ):
        weights.load_weights(small(), saved)
    with pytest.raises(WeightsError, match="No weights at"):
        weights.load_weights(small(), saved.with_name("none.weights.h5"))


def test_nothing_is_written_that_cannot_be_read_again(model, saved):
    bad = small()
    weights.assign_arrays(bad, weights.arrays_of(model))
    weights.named_variables(bad)["stem/conv/bias"].assign(np.full(64, 1e6, "float32"))
    before = saved.read_bytes()
    with pytest.raises(WeightsError, match="finite numbers in float16. Received: stem/conv/bias"):
        weights.save_weights(bad, saved, dtype="float16")
    with pytest.raises(WeightsError, match="dtype='int8'"):
        weights.save_weights(bad, saved, dtype="int8")
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
