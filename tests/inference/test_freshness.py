"""No predictor answers from older weights than it was told to."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from freshness import SIZE, close, crops, follow_assignments, follow_training, small_model
from places import HELPERS

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.errors import UserError


def check_assignments(found, live):
    """Live engines follow at once, snapshots when they are told to, and never before."""
    followed, other = ("without", "after") if live else ("after", "without")
    assert len(found["assigned"]) > 100
    assert found[followed] == found["assigned"] and not found[other]


def check_training(found):
    assert len(found["steps"]) == 6 and min(found["steps"]) > 1e-3, "the weights did not move"
    assert all(found["agree"]) and found["last"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("engine", "live"),
    [
        ("auto", True),
        pytest.param("keras", True, marks=pytest.mark.full),
        ("onnxruntime", False),
        pytest.param("fastest", False, marks=pytest.mark.full),
        pytest.param("folded", False, marks=pytest.mark.full),
        pytest.param("openvino", False, marks=pytest.mark.full),
        pytest.param("litert", False, marks=pytest.mark.full),
    ],
)
def test_each_variable_in_turn(engine, live):
    packages = {"onnxruntime": "onnxruntime", "openvino": "openvino", "litert": "ai_edge_litert"}
    if engine in packages and importlib.util.find_spec(packages[engine]) is None:
        pytest.skip(f"{packages[engine]} is not installed")
    check_assignments(follow_assignments(engine), live)


@pytest.mark.slow
def test_while_a_model_is_trained():
    check_training(follow_training())


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_on_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    engines = {"auto": True, "onnxruntime": False}
    done = subprocess.run(
        [sys.executable, HELPERS / "freshness.py", *engines],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend},
    )
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    for engine, live in engines.items():
        check_assignments(found[engine], live)
    check_training(found["training"])


@pytest.mark.slow
def test_a_path_is_read_again(tmp_path):
    model = small_model()
    model.save_to_preset(tmp_path)
    predictor = Predictor(tmp_path, flip=False)
    before = predictor.predict_crops(crops())
    [bias] = [v for v in model.variables if v.path.endswith("heatmaps/bias")]
    bias.assign(bias + 0.25)
    model.save_to_preset(tmp_path, overwrite=True)
    np.testing.assert_array_equal(predictor.predict_crops(crops()), before)
    predictor.refresh()
    np.testing.assert_allclose(predictor.predict_crops(crops()), before + 0.25, atol=1e-5)
    other = StackedHourglass(
        num_stacks=1, num_features=4, depth=1, input_shape=(*SIZE, 3), num_keypoints=5
    )
    other.save_to_preset(tmp_path, overwrite=True)
    with pytest.raises(UserError, match="Make a new predictor for another network"):
        predictor.refresh()
    np.testing.assert_allclose(predictor.predict_crops(crops()), before + 0.25, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["auto", "onnxruntime"])
def test_a_model_that_was_asked_for_counts_from_then_on(engine, tmp_path):
    """Not what lies under the path it came from."""
    small_model().save_to_preset(tmp_path)
    predictor = Predictor(tmp_path, flip=False, engine=engine)
    before = predictor.predict_crops(crops())
    [bias] = [v for v in predictor.model.variables if v.path.endswith("heatmaps/bias")]
    bias.assign(bias + 0.25)
    if engine == "onnxruntime":
        np.testing.assert_array_equal(predictor.predict_crops(crops()), before)
        predictor.refresh()
    assert close(predictor.predict_crops(crops()), before + 0.25)
    predictor.refresh()
    assert close(predictor.predict_crops(crops()), before + 0.25)


def test_an_exported_file_is_read_again(tmp_path):
    from keras_hourglass.export import export_format

    model = small_model()
    [path, *_] = export_format(model, tmp_path, "onnx")
    predictor = Predictor(model, engine=path, flip=False)
    before = predictor.predict_crops(crops())
    [bias] = [v for v in model.variables if v.path.endswith("heatmaps/bias")]
    bias.assign(bias + 0.25)
    export_format(model, tmp_path, "onnx", overwrite=True)
    np.testing.assert_array_equal(predictor.predict_crops(crops()), before)
    predictor.refresh()
    assert close(predictor.predict_crops(crops()), before + 0.25)
