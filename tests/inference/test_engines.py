"""Every engine gives what the model gives, for any batch size."""

import sys

import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.inference import engines
from keras_hourglass.inference.engines import make_engine

OUTPUTS = ("stack_2", "stack_1")


@pytest.fixture(scope="module")
def model():
    import keras

    keras.utils.set_random_seed(1)
    return StackedHourglass(
        num_keypoints=5, num_features=8, depth=1, input_shape=(32, 16, 3), name="small"
    )


@pytest.fixture(scope="module")
def crops():
    return np.random.default_rng(0).integers(0, 256, (3, 32, 16, 3), np.uint8)


def check(engine, model, crops):
    expected = model.predict(crops, verbose=0)
    for count in (3, 1, 2):
        found = engine(crops[:count])
        assert sorted(found) == ["stack_1", "stack_2"]
        for name in OUTPUTS:
            assert found[name].shape == (count, 8, 4, 5) and found[name].dtype == np.float32
            np.testing.assert_allclose(found[name], expected[name][:count], atol=2e-5)
    # The two outputs differ, so that swapped ones would show.
    assert np.abs(expected["stack_1"] - expected["stack_2"]).max() > 1e-3


def test_keras(model, crops):
    check(make_engine("keras", model, OUTPUTS), model, crops)


@pytest.mark.parametrize("name", ["auto", "folded"])
def test_folded(name, model, crops):
    check(make_engine(name, model, OUTPUTS), model, crops)


@pytest.mark.parametrize(
    ("missing", "accelerated", "name"),
    [
        ("none", [], "onnxruntime"),
        ("onnx", [], "folded"),
        ("onnxruntime", [], "folded"),
        ("none", [(9, 0)], "folded"),
    ],
)
def test_auto_takes_what_is_there(monkeypatch, model, missing, accelerated, name):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(engines, "accelerators", lambda: accelerated)
    assert make_engine("auto", model, OUTPUTS).name == name


def test_which_engines_need_no_keras(monkeypatch):
    monkeypatch.setattr(engines, "accelerators", lambda: [])
    takes = engines.takes_snapshot
    assert [takes(name) for name in ("auto", "onnxruntime", "folded", "keras")] == [
        True, True, True, False
    ]  # fmt: skip
    assert takes(print) and takes("hourglass.tflite")
    import keras

    keras.mixed_precision.set_dtype_policy("mixed_bfloat16")
    try:
        assert not takes("auto")  # the user wants the model in bfloat16
    finally:
        keras.mixed_precision.set_dtype_policy("float32")
    # Without ONNX Runtime, another backend than TensorFlow runs the model itself.
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert takes("auto")
    monkeypatch.setattr(keras.backend, "backend", lambda: "torch")
    assert not takes("auto")


@pytest.mark.full
@pytest.mark.parametrize("name", ["folded", "onnxruntime"])
def test_folded_follows_the_weights(name, crops):
    model = StackedHourglass(
        num_keypoints=5, num_features=8, depth=1, input_shape=(32, 16, 3), num_stacks=1
    )
    engine = make_engine(name, model, ("stack_1",))
    before = engine(crops)["stack_1"]
    model.compile("sgd", "mse")
    model.fit(crops, {"stack_1": np.ones((3, 8, 4, 5))}, verbose=0)
    after = engine(crops)["stack_1"]
    assert np.abs(after - before).max() > 1e-3
    np.testing.assert_allclose(after, model.predict(crops, verbose=0)["stack_1"], atol=2e-5)


def own_model(*layers):
    import keras

    outputs = inputs = keras.Input((32, 16, 3))
    for layer in layers:
        outputs = layer(outputs)
    return keras.Model(inputs, {"stack_1": outputs}, name="mine")


def test_a_model_of_ones_own_runs_unfolded(crops):
    """Whether of this package's layers or of others: its graph is not known."""
    import keras

    from keras_hourglass import Residual

    for layers in (
        [keras.layers.Conv2D(5, 1, 4, activation="tanh"), keras.layers.LayerNormalization()],
        [keras.layers.AveragePooling2D(4), Residual(6)],
    ):
        model = own_model(*layers)
        expected = model.predict(crops, verbose=0)["stack_1"]
        found = make_engine("auto", model, ("stack_1",))(crops)["stack_1"]
        np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
        for name in ("folded", "onnxruntime"):
            with pytest.raises(UserError, match="Functional named 'mine'.*engine='keras'"):
                make_engine(name, model, ("stack_1",))


def test_folded_follows_the_heads(model, crops):
    """Where everything else is frozen, they alone are trained."""
    engine = make_engine("auto", model, ("stack_2",))
    before = engine(crops)["stack_2"]
    [bias] = [v for v in model.variables if v.path.endswith("supervision_2/heatmaps/bias")]
    bias.assign(bias + 0.25)
    np.testing.assert_allclose(engine(crops)["stack_2"], before + 0.25, atol=2e-5)
    bias.assign(bias - 0.25)


@pytest.mark.full
def test_a_network_without_biases_and_norms(crops):
    import keras

    inputs = keras.Input((32, 16, 3))
    layer = keras.layers.Conv2D(5, 4, 4, use_bias=False)
    model = keras.Model(inputs, {"stack_1": layer(inputs)})
    engine = make_engine("auto", model, ("stack_1",))
    before = engine(crops)["stack_1"]
    layer.kernel.assign(2 * layer.kernel)
    np.testing.assert_allclose(engine(crops)["stack_1"], 2 * before, rtol=1e-5)


def test_keras_gives_only_what_is_wanted(model, crops):
    assert list(make_engine("keras", model, ("stack_1",))(crops)) == ["stack_1"]


@pytest.mark.full
@pytest.mark.parametrize(
    ("name", "package"),
    [("litert", "ai_edge_litert"), ("onnxruntime", "onnxruntime"), ("openvino", "openvino")],
)
def test_converted(name, package, model, crops):
    pytest.importorskip(package)
    check(make_engine(name, model, OUTPUTS), model, crops)


@pytest.mark.full
def test_exported_files(model, crops, tmp_path):
    """What `export` writes runs by its path; its heads may differ by rounding."""
    from keras_hourglass.export import export_format, export_model

    paths = [export_model(model, tmp_path / "served", flip=False)]
    for kind, package in (("litert", "tensorflow"), ("onnx", "onnxruntime")):
        pytest.importorskip(package)
        paths.append(export_format(model, tmp_path / kind, kind)[0])
    for path in paths:
        check(make_engine(path, model, OUTPUTS), model, crops)


def test_callable_is_taken_as_it_is(model):
    assert make_engine(print, model, OUTPUTS) is print


@pytest.mark.parametrize("engine", ["tensorrt", "no/such/file.onnx"])
def test_unknown(engine, model):
    with pytest.raises(UserError, match="Choose one of auto, folded, keras, litert"):
        make_engine(engine, model, OUTPUTS)
