"""Folding, and the formats of other runtimes."""

import pathlib

import numpy as np
import pytest
from networks import as_trained

from keras_hourglass.errors import UserError
from keras_hourglass.export import FORMATS, compare, export_format, load_engine
from keras_hourglass.inference import fold
from keras_hourglass.network.model import snapshot

SIZE = (32, 48)
# format -> package that runs it. 8-bit numbers, which differ from the model's, have their own test.
NEEDED = {"onnx": "onnxruntime", "openvino": "openvino", "litert": "tensorflow"}


def test_every_format_is_compared_and_has_its_extra():
    assert {*NEEDED, "litert-int8"} == set(FORMATS)
    setup = (pathlib.Path(__file__).parents[2] / "setup.py").read_text(encoding="utf-8")
    # What `export` tells to install is called like the format.
    for name in NEEDED:
        assert f'    "{name}": [' in setup


def make(**options):
    from keras_hourglass import StackedHourglass

    options = {"num_keypoints": 3, "num_features": 8, "depth": 1, "num_stacks": 2, **options}
    model = StackedHourglass(input_shape=(*SIZE, 3), **options)
    # Also negative gammas: a sign must not get lost when a norm is folded.
    return as_trained(model, signs=(-1, 1))


@pytest.fixture(scope="module")
def model():
    return make()


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(1).integers(0, 256, (3, *SIZE, 3), np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"merge": "concat", "num_stacks": 3, "stem": "paper"},
        {"supervision": "last"},
        {"supervision": "sum"},
        {"supervision": "inner", "depth": 2},
        {"num_blocks": 2, "stem": "bearpaw", "heads": [[8, 6], [5]]},
        {"offset": [-0.4, -0.5, -0.6], "num_stacks": 1},
    ],
)
def test_folded_programs_compute_what_the_model_does(options, crops):
    tf = pytest.importorskip("tensorflow")
    from keras_hourglass.inference.tensorflow_graph import Network

    model = make(**options)
    program = fold(*snapshot(model))
    found = Network(program)(tf.constant(crops), list(program.outputs))
    expected = model.predict(crops, verbose=0)
    assert list(found) == list(model.output)
    for name in expected:
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], atol=1e-4 * scale)


def test_no_norm_is_left(model):
    residuals = sum("Residual" in type(layer).__name__ for layer in all_layers(model))
    kinds = [step.kind for step in fold(*snapshot(model)).steps]
    assert kinds.count("affine") == 0 and kinds.count("clamp") == residuals
    kinds = [step.kind for step in fold(*snapshot(model), clamp=False).steps]
    assert kinds.count("affine") == residuals and kinds.count("clamp") == 0


def test_norms_that_switch_channels_off(crops):
    tf = pytest.importorskip("tensorflow")
    from keras_hourglass.inference.tensorflow_graph import Network

    model = make(num_stacks=1)
    for variable in model.variables:
        if variable.name == "gamma":
            values = np.array(variable)
            values[::3], values[1::3] = 0, 1e-9
            variable.assign(values)
    found = Network(fold(*snapshot(model)))(tf.constant(crops), ["stack_1"])["stack_1"]
    expected = model.predict(crops, verbose=0)["stack_1"]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


def all_layers(model):
    return [*model._flatten_layers()]


def test_a_program_of_fewer_outputs_needs_fewer_steps(model):
    program = fold(*snapshot(model))
    first = program.only("stack_1")
    assert list(first.outputs) == ["stack_1"]
    assert len(first.steps) < 0.7 * len(program.steps)
    assert first.steps[first.outputs["stack_1"]].weights[0].shape[-1] == 3


def own_model():
    """A user's functional model of the package's layers."""
    import keras

    from keras_hourglass import Hourglass, IntermediateSupervision, Residual

    inputs = keras.Input((*SIZE, 3))
    x = Hourglass(8, depth=1)(Residual(8)(inputs))
    outputs = {"stack_1": IntermediateSupervision(3, 8, merge=None)(x)}
    return as_trained(keras.Model(inputs, outputs, name="mine"))


def test_a_model_of_ones_own_is_refused_with_the_way_to_do_it(tmp_path):
    with pytest.raises(UserError, match=r"Functional named 'mine'.*its own model\.export"):
        export_format(own_model(), tmp_path, "onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.full
def test_a_model_of_ones_own_exports_by_keras(crops, tmp_path):
    tf = pytest.importorskip("tensorflow")
    model = own_model()
    model.export(str(tmp_path / "served"), verbose=False)
    loaded = tf.saved_model.load(str(tmp_path / "served"))
    found = loaded.serve(tf.constant(crops, tf.float32))["stack_1"]
    expected = model.predict(crops, verbose=0)["stack_1"]
    assert expected.shape == (3, *SIZE, 3) and np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())


@pytest.mark.full
@pytest.mark.parametrize("format", NEEDED)
def test_formats_agree_with_keras_after_reloading(model, crops, tmp_path, format):
    pytest.importorskip(NEEDED[format])
    path, difference = export_format(model, tmp_path, format, name="net")
    assert difference < 1e-4
    engine = load_engine(path, threads=1)
    assert compare(engine, model, crops) < 1e-4
    assert {name: maps.shape for name, maps in engine(crops).items()} == {
        "stack_1": (3, 8, 12, 3),
        "stack_2": (3, 8, 12, 3),
    }
    with pytest.raises(UserError, match="overwrite"):
        export_format(model, tmp_path, format, name="net")
    assert export_format(model, tmp_path, format, name="net", overwrite=True)[0] == path
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]


def test_openvino_writes_files_without_its_reporting_converter(monkeypatch, tmp_path):
    openvino = pytest.importorskip("openvino")

    def report(*_, **__):
        raise AssertionError("the conversion is reported to OpenVINO's makers")

    monkeypatch.setattr(openvino, "convert_model", report)
    model = make(num_stacks=1)
    [path, _] = export_format(model, tmp_path, "openvino")
    assert path.stat().st_size > 1000 and path.with_suffix(".bin").stat().st_size > 1000


@pytest.mark.full
@pytest.mark.parametrize("seed", [0, 1])
def test_int8_is_smaller_and_close(crops, tmp_path, seed):
    """By LiteRT's fast kernels and, for the ranges of the second network, by its plain ones."""
    pytest.importorskip("tensorflow")
    import keras

    keras.utils.set_random_seed(seed)
    model = make(name="net")
    path, difference = export_format(model, tmp_path, "litert-int8", calibration=crops)
    assert path.name == "net.int8.tflite"
    assert 1e-5 < difference < 0.3
    exact, _ = export_format(model, tmp_path, "litert")
    assert path.stat().st_size < 0.9 * exact.stat().st_size


def test_bad_requests(model, tmp_path):
    with pytest.raises(UserError, match="Unknown format"):
        export_format(model, tmp_path, "caffe")
    with pytest.raises(UserError, match="--calibration"):
        export_format(model, tmp_path, "litert-int8")
    with pytest.raises(UserError, match="exported model is needed"):
        load_engine(tmp_path / "none.onnx")


@pytest.mark.slow
def test_engines_serve_the_predictor(crops, tmp_path):
    pytest.importorskip("onnxruntime")
    from keras_hourglass import Predictor

    model = make(num_keypoints=14, skeleton="lsp")
    path, _ = export_format(model, tmp_path, "onnx")
    expected = Predictor(model, whole=True)(crops[0])[0]
    found = Predictor(model, engine=load_engine(path), whole=True)(crops[0])[0]
    np.testing.assert_allclose(found.keypoints, expected.keypoints, atol=0.5)
