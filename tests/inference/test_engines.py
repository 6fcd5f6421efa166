"""Every engine gives what the model gives, for any batch size."""

import sys

import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.export import export_format
from keras_hourglass.inference import engines, runtimes
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.network.model import snapshot

OUTPUTS = ("stack_2", "stack_1")
OPTIONAL = {"litert": "ai_edge_litert", "openvino": "openvino"}  # engine -> package


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


@pytest.mark.slow
def test_keras(model, crops):
    check(make_engine("keras", model, OUTPUTS), model, crops)


@pytest.mark.parametrize("name", ["auto", "fastest", "folded"])
def test_by_name(name, model, crops):
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
def test_the_fastest_is_of_what_is_there(monkeypatch, model, missing, accelerated, name):
    monkeypatch.setitem(sys.modules, missing, None)
    monkeypatch.setattr(engines, "accelerators", lambda: accelerated)
    engine = make_engine("fastest", model, OUTPUTS)
    assert engine.name == name and not engine.live
    assert make_engine("auto", snapshot(model), OUTPUTS).name == name
    # A model's weights may change, so it runs itself unless told otherwise.
    engine = make_engine("auto", model, OUTPUTS)
    assert engine.name == "keras" and engine.live


@pytest.mark.slow
def test_a_second_runtime_of_a_kind_of_file_runs_by_its_name(monkeypatch, model, crops, tmp_path):
    asked = []

    def load(path, outputs, threads, spinning):
        asked.append((path.rpartition(".")[2], outputs, spinning))
        return lambda crops: {"second": len(crops)}

    monkeypatch.setitem(runtimes.RUNTIMES, "second", runtimes.Runtime(".onnx", "second", load))
    engine = make_engine("second", model, OUTPUTS, spinning=False)
    assert engine.name == "second" and engine(crops) == {"second": 3}
    assert asked == [("onnx", OUTPUTS, False)]
    # Named by its path, a file is run by the first, as it was before there was a second.
    path, _ = export_format(model, tmp_path, "onnx")
    check(make_engine(str(path), model, OUTPUTS), model, crops)
    assert len(asked) == 1


def test_which_engines_need_no_keras(monkeypatch):
    monkeypatch.setattr(engines, "accelerators", lambda: [])
    takes = engines.takes_snapshot
    named = ("auto", "fastest", "onnxruntime", "folded", "keras")
    assert [takes(name) for name in named] == [True, True, True, True, False]
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
        for name in ("auto", "fastest"):
            found = make_engine(name, model, ("stack_1",))(crops)["stack_1"]
            np.testing.assert_allclose(found, expected, atol=2e-5 * np.abs(expected).max())
        for name in ("folded", "onnxruntime"):
            with pytest.raises(UserError, match="Functional named 'mine'.*engine='keras'"):
                make_engine(name, model, ("stack_1",))


def test_keras_gives_only_what_is_wanted(model, crops):
    assert list(make_engine("keras", model, ("stack_1",))(crops)) == ["stack_1"]


@pytest.mark.full
@pytest.mark.parametrize("name", runtimes.RUNTIMES)
def test_by_its_runtime(name, model, crops):
    if name in OPTIONAL:
        pytest.importorskip(OPTIONAL[name])
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
    with pytest.raises(UserError, match="Choose one of auto, fastest, folded, keras, litert"):
        make_engine(engine, model, OUTPUTS)
