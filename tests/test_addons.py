"""TensorFlow Addons beside TensorFlow 2.15 and Keras 2.15, in an environment of its own.

`make test-addons` builds that environment and runs these tests with it.
"""

import json
import os
import subprocess

import numpy as np
import pytest
import yaml
from addons_child import crops, of_layers, recipe
from places import HELPERS, ROOT

from keras_hourglass import StackedHourglass
from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.errors import RecipeError
from keras_hourglass.training.run import train
from keras_hourglass.zoo.weights import load_weights

CHILD = HELPERS / "addons_child.py"
full = pytest.mark.full


def run(*command):
    """Run the environment's Python; returns what it printed."""
    python = os.environ.get("KERAS_HOURGLASS_ADDONS_PYTHON")
    if not python:
        pytest.skip("KERAS_HOURGLASS_ADDONS_PYTHON names no interpreter with the [addons] extra")
    paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    done = subprocess.run(
        [python, *map(str, command)], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@full
def test_a_preset_gives_the_same_heatmaps_and_joints(tmp_path):
    run(CHILD, "heatmaps", tmp_path)
    model = StackedHourglass.from_preset("hourglass_tiny_lsp")
    with np.load(tmp_path / "maps.npz") as other:
        for name, maps in model(crops(), training=False).items():
            maps = np.asarray(maps)
            np.testing.assert_allclose(other[name], maps, atol=1e-4 * np.abs(maps).max())
        codec = HeatmapCodec(model.input_size, sigma=1.0)
        joints, scores = codec.decode(other[model.output_names[-1]])
        np.testing.assert_array_equal(other["joints"], joints)
        np.testing.assert_array_equal(other["scores"], scores)
        # Plain maxima are off by up to half a pixel of the map, a quarter step halves that: one
        # input pixel at a stride of 4.
        given = np.random.default_rng(6).uniform(8, 120, (2, 14, 2))
        assert np.abs(other["found"] - given).max() <= 1.0 + 1e-4
        drawn, _ = codec.encode(given, np.full((2, 14), 2))
        np.testing.assert_allclose(other["drawn"], drawn, atol=1e-6)


@full
def test_layers_of_a_model_of_ones_own(tmp_path):
    run(CHILD, "layers", tmp_path)
    model = of_layers()
    model.load_weights(tmp_path / "own.weights.h5")
    expected = np.load(tmp_path / "own.npy")
    found = np.asarray(model(crops(2)[:, :32, :24].astype("float32")))
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@full
def test_fit_with_optimizers_of_addons(tmp_path):
    run(CHILD, "fit", tmp_path)
    losses = json.loads((tmp_path / "losses.json").read_text())
    assert set(losses) == {"RectifiedAdam", "Lookahead", "MovingAverage", "LAMB"}
    for name, values in losses.items():
        assert values[-1] < values[0], name


@full
def test_train_by_name_in_a_recipe(tmp_path):
    path, out = tmp_path / "recipe.yaml", tmp_path / "run"
    path.write_text(yaml.safe_dump(recipe("tfa:RectifiedAdam", epochs=8)))
    run("-m", "keras_hourglass", "train", path, "--out", out)
    rows = (out / "log.csv").read_text().splitlines()
    assert len(rows) == 9
    column = rows[0].split(",").index("loss")
    losses = [float(row.split(",")[column]) for row in rows[1:]]
    assert losses[-1] < losses[0]
    # What was trained there is a preset here.
    model = StackedHourglass.from_preset(str(out / "last"))
    assert model.num_stacks == 1 and model.input_size == (32, 24)
    load_weights(model, out / "model.weights.h5")


@full
def test_wrappers_of_addons_in_a_recipe(tmp_path):
    run(CHILD, "resume", tmp_path)
    run(CHILD, "averages", tmp_path)


@full
def test_what_a_recipe_cannot_have_there(tmp_path):
    run(CHILD, "refuse", tmp_path)
    messages = json.loads((tmp_path / "messages.json").read_text())
    starts = (
        "optimizer.name: needs Keras 3. Received: 'torch_rmsprop'",
        "optimizer.name: tfa: goes before one of AdaBelief, ",
        "optimizer.options.optimizer: tfa:Lookahead wraps another optimizer",
        "optimizer.options: tfa:LAMB makes no step with these (Unexpected keyword argument",
        "optimizer.options.beta_1: needs a number. Received: '0.9'. The default is 0.9.",
        "optimizer.options.sync_period: needs a positive whole number. Received: -1.",
        "training.precision: needs Keras 3. Received: 'mixed_float16'",
        "training.devices: needs Keras 3. Received: 'all'",
    )
    assert len(messages) == len(starts)
    for message, start in zip(messages, starts, strict=True):
        assert message.startswith(start), message


def test_keras_3_says_what_replaces_addons(tmp_path):
    with pytest.raises(RecipeError, match=r"optimizer.name: .*'tfa:LAMB'.* has adamw, lamb"):
        train(recipe("tfa:LAMB"), tmp_path / "run")
    assert not (tmp_path / "run").exists()
