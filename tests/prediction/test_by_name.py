"""A predictor that is given a name runs the graph and its arrays, without Keras."""

import subprocess
import sys

import numpy as np
import pytest

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.errors import WeightsError
from keras_hourglass.zoo.store import load_model, load_snapshot


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["none", "onnxruntime"])
def test_a_name_predicts_as_its_model(monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    photo = np.random.default_rng(2).integers(0, 256, (90, 70, 3), np.uint8)
    model = load_model("hourglass_tiny_synthetic")
    [expected] = Predictor(model)(photo)
    predictor = Predictor("hourglass_tiny_synthetic")
    [found] = predictor(photo)
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=1e-4)
    np.testing.assert_allclose(found.scores, expected.scores, atol=1e-5)
    np.testing.assert_array_equal(found.present, expected.present)


@pytest.mark.slow
def test_the_model_behind_a_name_can_be_changed():
    photo = np.random.default_rng(2).integers(0, 256, (90, 70, 3), np.uint8)
    predictor = Predictor("hourglass_tiny_synthetic")
    [before] = predictor(photo)
    assert isinstance(predictor.model, StackedHourglass)
    assert predictor.model is predictor.model
    [bias] = [v for v in predictor.model.variables if v.path.endswith("2/heatmaps/bias")]
    bias.assign(bias + 0.25)
    [after] = predictor(photo)
    np.testing.assert_allclose(after.scores, before.scores + 0.25, atol=1e-4)


def test_weights_are_checked_as_for_a_model(tmp_path):
    config = {"num_stacks": 1, "num_features": 4, "depth": 1, "input_shape": (16, 16, 3)}
    model = StackedHourglass(**config, num_keypoints=3, skeleton=None)
    model.save_to_preset(tmp_path)
    assert load_snapshot(tmp_path).graph.output["stack_1"].shape == (None, 4, 4, 3)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"num_features": 4', '"num_features": 6'))
    with pytest.raises(WeightsError, match=r"of another shape: .*\(4,\), not \(6,\)"):
        load_snapshot(tmp_path)
    with pytest.raises(WeightsError, match="no trained weights"):
        load_snapshot("hourglass_2s")


@pytest.mark.slow
def test_a_photo_needs_neither_keras_nor_tensorflow():
    code = """
import sys
import numpy as np
from keras_hourglass import Predictor
[pose] = Predictor("hourglass_tiny_synthetic")(np.zeros((40, 30, 3), np.uint8))
heavy = ("keras", "tensorflow", "jax", "torch")
print(pose.keypoints.shape, [name for name in heavy if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(14, 2) []"
