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
    _WRITERS[path.suffix](program, path, calibration)


def _write_onnx(program, path, _):
    atomic_write(path, _as_onnx(program))


def _as_onnx(program):
    optional("onnx")
    from keras_hourglass.inference.onnx_graph import to_onnx

    return to_onnx(program).SerializeToString()


def _write_openvino(program, path, _):
    openvino = optional("openvino")

    with tempfile.TemporaryDirectory() as folder:
        source = pathlib.Path(folder, "model.onnx")
        source.write_bytes(_as_onnx(program))
        # Not by `convert_model`, which takes a second more and reports the conversion to OpenVINO's
        # makers; the compiled network is the same.
        converted = openvino.Core().read_model(source)
        with atomic_path(path) as temporary:
            openvino.save_model(converted, temporary, compress_to_fp16=False)
            # The weights first: a reader that finds the .xml finds its weights, too.
            temporary.with_suffix(".bin").replace(path.with_suffix(".bin"))


def _write_litert(program, path, calibration):
    import tensorflow as tf

    from keras_hourglass.inference.tensorflow_graph import Network

    # One crop at a time: with a free batch size, the fast kernels are not used.
    spec = tf.TensorSpec((1, *program.input_shape), tf.float32, "images")
    # Not the function that signatures share: the converter would store its weights twice.
    atomic_write(path, convert_to_litert(Network(program).trace, spec, calibration))


def convert_to_litert(function, spec, calibration=None):
    """The bytes of an `.tflite` file.

    Args:
        function: from a tensor to a dict of tensors.
        spec: the `tf.TensorSpec` of the tensor.
        calibration: `(N, height, width, 3)` crops for 8-bit integers.
    """
    import tensorflow as tf

    module = tf.Module()
    module.function = tf.function(function, autograph=False)
    concrete = module.function.get_concrete_function(spec)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], module)
    if calibration is not None:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter.representative_dataset = lambda: (
            [np.asarray(crop, np.float32)[None]] for crop in calibration
        )
    return converter.convert()


_WRITERS = {".onnx": _write_onnx, ".xml": _write_openvino, ".tflite": _write_litert}
