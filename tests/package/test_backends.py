"""Training on JAX and PyTorch, without TensorFlow, for use with it."""

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
