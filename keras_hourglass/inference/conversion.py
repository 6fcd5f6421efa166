"""A folded network as a file of another runtime."""

import pathlib
import tempfile

import numpy as np

from keras_hourglass.errors import optional
from keras_hourglass.io.files import atomic_path, atomic_write


def write_program(program, path, calibration=None):
    """Write a program for the runtime that the file's name ends for.

    Args:
        program: a `Program`.
        path: an `.onnx`, `.xml` (OpenVINO, beside it a `.bin` file) or `.tflite` file.
        calibration: `(N, height, width, 3)` crops for 8-bit integers in an `.tflite` file.

    Raises:
        ImportError: if the package that writes the format is not installed.
    """
    path = pathlib.Path(path)
    if path.suffix == ".onnx":
        atomic_write(path, _as_onnx(program))
    elif path.suffix == ".xml":
        _write_openvino(program, path)
    else:
        _write_litert(program, path, calibration)


def _as_onnx(program):
    optional("onnx")
    from keras_hourglass.inference.onnx_graph import to_onnx

    return to_onnx(program).SerializeToString()


def _write_openvino(program, path):
    openvino = optional("openvino")

    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "model.onnx")
        source.write_bytes(_as_onnx(program))
        converted = openvino.convert_model(source)
    with atomic_path(path) as temporary:
        openvino.save_model(converted, temporary, compress_to_fp16=False)
        # The weights first: a reader that finds the .xml finds its weights, too.
        temporary.with_suffix(".bin").replace(path.with_suffix(".bin"))


def _write_litert(program, path, calibration):
    import tensorflow as tf

    from keras_hourglass.inference.tensorflow_graph import Network

    network = Network(program)
    # One crop at a time: with a free batch size, the fast kernels are not used.
    spec = tf.TensorSpec((1, *program.input_shape), tf.float32, "images")
    module = tf.Module()
    # Not the function that signatures share: the converter would store its weights twice.
    module.function = tf.function(network.trace, autograph=False)
    function = module.function.get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], module)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [np.asarray(crop, np.float32)[None]] for crop in calibration
        )
    atomic_write(path, converter.convert())
