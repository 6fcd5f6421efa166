"""Running a network on crops: one callable per runtime.

An engine is called with `(N, H, W, 3)` uint8 crops and returns a dict from the names of the wanted
outputs (`"stack_2"`) to `(N, h, w, K)` float32 NumPy arrays.

`"keras"` needs nothing extra and starts at once. The others convert the network first, which takes
seconds, or run a file that `export` wrote before; they pay off for many pictures.
"""

import contextlib
import os
import pathlib
import tempfile
import warnings

import numpy as np

from keras_hourglass.errors import UserError

# What a file's or folder's name says about the engine that runs it.
SUFFIXES = {".tflite": "litert", ".onnx": "onnxruntime", ".xml": "openvino"}


def make_engine(engine, model, outputs):
    """The engine of a name or a file.

    Args:
        engine: one of `ENGINES`; the path of a network that was exported (`.tflite`, `.onnx`,
            `.xml`, or the folder of a SavedModel); or an engine of your own, a callable as
            described above.
        model: the Keras model to run, of which a file is an export.
        outputs: names of the outputs that are wanted.

    Returns:
        A callable from crops to a dict of heatmaps.

    Raises:
        UserError: if the name is unknown, or the runtime is not installed.
    """
    if callable(engine):
        return engine
    path = pathlib.Path(engine)
    if (path / "saved_model.pb").is_file():
        return _saved_model_engine(str(engine), tuple(outputs))
    suffix = path.suffix
    name = SUFFIXES.get(suffix, engine)
    if name not in ENGINES or (suffix and not path.exists()):
        raise UserError(
            f"No such engine or exported network. Received: engine={os.fspath(engine)!r}. "
            f"Choose one of {', '.join(ENGINES)}, or a file that `export` wrote."
        )
    if name == "keras":
        return keras_engine(model, tuple(outputs))
    run = ENGINES[name]
    try:
        if suffix:
            return run(str(engine), tuple(outputs))
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            return run(_export(model, tuple(outputs), name, folder), tuple(outputs))
    except ImportError as error:
        raise UserError(
            f"The engine {name!r} needs a package that is not installed ({error}). "
            f"Run: pip install '{_PACKAGES[name]}'."
        ) from error


def keras_engine(model, outputs):
    """The model itself, compiled once for any batch size by its own backend.

    `Model.predict` spends milliseconds of Python on each call, which is more than a small network.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow_engine(model, outputs)
    if backend == "jax":
        return _jax_engine(model, outputs)
    return _torch_engine(model, outputs)


def _tensorflow_engine(model, outputs):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def run(crops):
        heatmaps = model(crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    return lambda crops: {name: maps.numpy() for name, maps in run(crops).items()}


def _jax_engine(model, outputs):
    import jax

    @jax.jit
    def run(trainable, non_trainable, crops):
        heatmaps, _ = model.stateless_call(trainable, non_trainable, crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    def engine(crops):
        # One compilation per batch size would be slow, so sizes are powers of two.
        count = len(crops)
        missing = (1 << (count - 1).bit_length()) - count
        padded = np.concatenate([crops, np.repeat(crops[:1], missing, axis=0)])
        weights = [variable.value for variable in model.trainable_variables]
        states = [variable.value for variable in model.non_trainable_variables]
        heatmaps = run(weights, states, padded)
        return {name: np.asarray(maps)[:count] for name, maps in heatmaps.items()}

    return engine


def _torch_engine(model, outputs):
    import keras
    import torch

    def engine(crops):
        with torch.no_grad():
            heatmaps = model(np.ascontiguousarray(crops), training=False)
        return {name: keras.ops.convert_to_numpy(heatmaps[name]) for name in outputs}

    return engine


def _export(model, outputs, engine, folder):
    """Convert the part of a model that the outputs need; returns the file's path."""
    import keras

    part = keras.Model(model.inputs, {name: model.output[name] for name in outputs})
    if engine == "litert":
        return _export_litert(part, model.input_shape[1:], folder)
    suffix = {"onnxruntime": "onnx", "openvino": "xml"}[engine]
    path = os.path.join(folder, f"network.{suffix}")
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        part(np.zeros((1, *model.input_shape[1:]), np.float32))  # Keras exports called models only
        part.export(path, format=suffix.replace("xml", "openvino"), verbose=False)
    return path


def _export_litert(part, shape, folder):
    import keras
    import tensorflow as tf

    # A fixed batch size, since reshapes inside a converted network fail with others.
    signature = [tf.TensorSpec((1, *shape), tf.float32, name="images")]
    saved = os.path.join(folder, "saved")
    with warnings.catch_warnings(), _quiet():
        warnings.simplefilter("ignore")
        archive = keras.export.ExportArchive()
        archive.track(part)
        archive.add_endpoint("serve", lambda images: part(images, training=False), signature)
        archive.write_out(saved, verbose=False)
        content = tf.lite.TFLiteConverter.from_saved_model(saved).convert()
    path = os.path.join(folder, "network.tflite")
    pathlib.Path(path).write_bytes(content)
    return path


@contextlib.contextmanager
def _quiet():
    """Converters print pages to the standard streams."""
    with (
        open(os.devnull, "w") as nowhere,
        contextlib.redirect_stdout(nowhere),
        contextlib.redirect_stderr(nowhere),
    ):
        yield


def _saved_model_engine(path, outputs):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)

    def engine(crops):
        heatmaps = loaded.signatures["heatmaps"](images=tf.constant(crops, tf.float32))
        return {name: heatmaps[name].numpy() for name in outputs}

    return engine


def _litert_engine(path, outputs):
    """One picture after the other: XNNPACK gains nothing from batches."""
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        from tensorflow.lite import Interpreter  # goes away in a later TensorFlow

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # Read whole, since the file may be gone later.
        content = pathlib.Path(path).read_bytes()
        interpreter = Interpreter(model_content=content, num_threads=os.cpu_count())
    run = interpreter.get_signature_runner()
    [(argument, details)] = run.get_input_details().items()

    def engine(crops):
        results = [
            run(**{argument: crop[None].astype(details["dtype"])}) for crop in np.asarray(crops)
        ]
        return {name: np.concatenate([result[name] for result in results]) for name in outputs}

    return engine


def _onnxruntime_engine(path, outputs):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    [argument] = session.get_inputs()
    dtype = np.uint8 if "uint8" in argument.type else np.float32

    def engine(crops):
        results = session.run(list(outputs), {argument.name: np.asarray(crops, dtype)})
        return dict(zip(outputs, results, strict=True))

    return engine


def _openvino_engine(path, outputs):
    import openvino

    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    network = openvino.Core().compile_model(path, "CPU", settings)
    dtype = np.uint8 if "u8" in str(network.inputs[0].element_type) else np.float32
    # Keras names outputs by tensor names of its own; their order is that of the sorted names.
    named = {name: port for port in network.outputs for name in port.names}
    ports = [named.get(name) for name in outputs]
    if None in ports:
        ports = [network.outputs[index] for index in np.argsort(np.argsort(outputs))]

    def engine(crops):
        results = network(np.ascontiguousarray(crops, dtype))
        return {name: results[port].copy() for name, port in zip(outputs, ports, strict=True)}

    return engine


ENGINES = {
    "keras": keras_engine,
    "litert": _litert_engine,
    "onnxruntime": _onnxruntime_engine,
    "openvino": _openvino_engine,
}
_PACKAGES = {
    "litert": "ai-edge-litert",
    "onnxruntime": "keras_hourglass[onnx]",
    "openvino": "keras_hourglass[openvino]",
}
