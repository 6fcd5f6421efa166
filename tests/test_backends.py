"""One weights file, the same heatmaps on every backend, and no TensorFlow where none is needed."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
BACKENDS = ("tensorflow", "jax", "torch")

PREDICT = """
import sys
import numpy as np
import keras_hourglass
from keras_hourglass import StackedHourglass

folder, images, out = sys.argv[1:]
model = StackedHourglass.from_preset(folder)
found = model.predict(np.load(images), verbose=0)
np.savez(out, **{name: np.asarray(value) for name, value in found.items()})
model.save_to_preset(out + ".preset")
import keras
print(keras.backend.backend(), "tensorflow" in sys.modules)
"""

IMPORT = """
import sys
import keras_hourglass
from keras_hourglass import Hourglass, HeatmapCodec, StackedHourglass
from keras_hourglass import architecture, presets, weights
print("tensorflow" in sys.modules)
"""


def run(backend, code, *arguments):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    environment = {**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment["PYTHONPATH"] = str(ROOT)
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A preset with weights and statistics of its own, images, and the heatmaps here."""
    from keras_hourglass import StackedHourglass, weights

    folder = tmp_path_factory.mktemp("backends")
    model = StackedHourglass(5, 2, 16, depth=3, input_shape=(64, 96, 3), supervision="inner")
    rng = np.random.default_rng(8)
    for name, variable in weights.named_variables(model).items():
        low, high = (0.5, 1.5) if "variance" in name or "gamma" in name else (-0.15, 0.15)
        variable.assign(rng.uniform(low, high, variable.shape).astype("float32"))
    model.save_to_preset(folder / "preset")
    images = rng.integers(0, 256, (3, 64, 96, 3), "uint8")
    np.save(folder / "images.npy", images)
    return folder, model.predict(images, verbose=0)


@pytest.mark.full
@pytest.mark.parametrize("backend", BACKENDS)
def test_the_same_heatmaps(saved, backend):
    folder, here = saved
    out = folder / f"{backend}.npz"
    used, imported = run(backend, PREDICT, folder / "preset", folder / "images.npy", out)
    assert used == backend
    assert imported == str(backend == "tensorflow")
    with np.load(out) as found:
        assert sorted(found) == sorted(here)
        for name, value in here.items():
            assert value.std() > 0.01, "the comparison would be trivial"
            np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=0, err_msg=name)
    # What that backend writes is read here, to the last bit.
    from keras_hourglass import presets, weights

    sent, returned = (
        weights.arrays_of(presets.load_model(path)) for path in (folder / "preset", f"{out}.preset")
    )
    assert sorted(sent) == sorted(returned)
    assert all(np.array_equal(sent[name], returned[name]) for name in sent)


@pytest.mark.parametrize("backend", ["jax", "torch"])
@pytest.mark.full
def test_importing_does_not_bring_tensorflow(backend):
    assert run(backend, IMPORT) == ["False"]
