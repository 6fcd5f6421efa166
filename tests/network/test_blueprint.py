"""The network without Keras against the built one, array by array and step by step."""

import subprocess
import sys

import numpy as np
import pytest

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.errors import WeightsError
from keras_hourglass.inference import fold
from keras_hourglass.network.blueprint import Blueprint
from keras_hourglass.zoo.presets import PRESETS
from keras_hourglass.zoo.store import load_blueprint, load_model
from keras_hourglass.zoo.weights import arrays_of, assign_arrays, file_keys, named_variables

SMALL = {"num_features": 8, "input_shape": (64, 32, 3), "depth": 3, "num_keypoints": 5}
VARIANTS = {
    "plain": {},
    "three_stacks": {"num_stacks": 3},
    "one_stack": {"num_stacks": 1, "num_blocks": 2},
    "concat": {"merge": "concat", "stem": "paper", "num_stacks": 3},
    "last": {"supervision": "last"},
    "sum": {"supervision": "sum", "num_stacks": 3},
    "inner": {"supervision": "inner"},
    "inner_concat": {"supervision": "inner", "merge": "concat", "num_stacks": 3},
    "branches": {"hourglass": {"filters": 12, "upper": (4, 12), "lower": (6,), "after": (12, 12)}},
    "heads": {"heads": ((10,), (14, 6)), "stem": (6, (), (4, 8))},
    "pixels": {"offset": (-0.5, -0.25, 0.125), "scale": 1 / 128, "skeleton": "mpii",
               "num_keypoints": None},
}  # fmt: skip


def same_program(one, other):
    assert one.input_shape == other.input_shape and one.outputs.keys() == other.outputs.keys()
    # Steps may come in another order where two do not depend on each other.
    for name in one.outputs:
        pairs = zip(one.only(name).steps, other.only(name).steps, strict=True)
        for mine, theirs in pairs:
            assert (mine.kind, mine.inputs, mine.options) == (
                theirs.kind, theirs.inputs, theirs.options
            )  # fmt: skip
            for first, second in zip(mine.weights, theirs.weights, strict=True):
                np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_same_network(variant):
    config = {**SMALL, **VARIANTS[variant]}
    model, blueprint = StackedHourglass(**config), Blueprint(config)
    rng = np.random.default_rng(0)
    for variable in named_variables(model).values():
        variable.assign(rng.uniform(0.5, 1.5, variable.shape).astype("float32"))
    assert file_keys(blueprint) == file_keys(model)
    assign_arrays(blueprint, arrays_of(model))
    same_program(fold(blueprint), fold(model))
    assert blueprint.input_shape == tuple(model.input_shape)
    assert blueprint.skeleton == model.skeleton
    shapes = {name: tuple(output.shape) for name, output in model.output.items()}
    assert {name: output.shape for name, output in blueprint.output.items()} == shapes
    assert list(blueprint.output) == list(model.output)


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "hourglass_tiny" else pytest.mark.full)
        for name in PRESETS
    ],
)
def test_places_in_files_of_every_preset(name):
    config = PRESETS[name]["architecture"]
    model, blueprint = StackedHourglass(**config), Blueprint(config)
    assert file_keys(blueprint) == file_keys(model)
    shapes = {key: tuple(array.shape) for key, array in named_variables(model).items()}
    assert {key: array.shape for key, array in named_variables(blueprint).items()} == shapes


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
    assert load_blueprint(tmp_path).output["stack_1"].shape == (None, 4, 4, 3)
    text = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(text.replace('"num_features": 4', '"num_features": 6'))
    with pytest.raises(WeightsError, match=r"of another shape: .*\(4,\), not \(6,\)"):
        load_blueprint(tmp_path)
    with pytest.raises(WeightsError, match="no trained weights"):
        load_blueprint("hourglass_2s")


def test_a_photo_needs_neither_keras_nor_tensorflow():
    pytest.importorskip("onnxruntime")
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
