"""Export of trained networks: a SavedModel for TensorFlow Serving, and other formats."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.export.formats import compare, export_format, load_engine
    from keras_hourglass.export.saved_model import export_model

# Formats of other runtimes -> how their files end.
FORMATS = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "litert-int8": ".int8.tflite",
}

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "compare": "formats",
        "export_format": "formats",
        "export_model": "saved_model",
        "load_engine": "formats",
    },
)
