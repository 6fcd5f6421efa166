"""Training on JAX and PyTorch, without TensorFlow, for use with it."""

import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from trainings import arrays, finish, start

from keras_hourglass.zoo.store import load_model
from keras_hourglass.zoo.weights import arrays_of


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_same_recipe_without_tensorflow(tmp_path, backend):
    pytest.importorskip(backend)
    finish(start("alone", tmp_path, KERAS_BACKEND=backend))
    log = (tmp_path / "alone" / "log.csv").read_text().splitlines()
    assert len(log) == 3 and "val_stack_1_source_pck" in log[0]
    assert len(list((tmp_path / "alone" / "tensorboard").rglob("events*"))) == 2
    trained = arrays(tmp_path / "alone.npz")
    model = load_model(tmp_path / "alone" / "last")
    for name, array in arrays_of(model).items():
        np.testing.assert_array_equal(array, trained[name])
    crops = np.random.default_rng(1).integers(0, 255, (2, 32, 24, 3), np.uint8)
    assert np.isfinite(model.predict(crops, verbose=0)["stack_1"]).all()


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_the_laws_of_keras_on_every_backend(backend):
    """`tests/layers/test_laws.py` runs by itself on the backend of this process."""
    pytest.importorskip(backend)
    laws = pathlib.Path(__file__).parents[1] / "layers" / "test_laws.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", str(laws)],
        env={**os.environ, "KERAS_BACKEND": backend},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-4000:]
