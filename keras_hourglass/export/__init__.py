"""Export of trained networks: a SavedModel for TensorFlow Serving, and other formats."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.export.formats import compare, export_format, load_engine
    from keras_hourglass.export.joints import export_joints
    from keras_hourglass.export.people import export_people
    from keras_hourglass.export.saved_model import export_model

# Formats of other runtimes -> how their files end.
FORMATS = {
    "onnx": ".onnx",
    "openvino": ".xml",
    "litert": ".tflite",
    "litert-int8": ".int8.tflite",
}
# Formats with crop and decoding inside, which return joints -> how their files end.
JOINT_FORMATS = {
    "onnx-joints": ".joints.onnx",
    "onnx-crops": ".crops.onnx",
    "litert-crops": ".crops.tflite",
}

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "compare": "formats",
        "export_format": "formats",
        "export_joints": "joints",
        "export_model": "saved_model",
        "export_people": "people",
        "load_engine": "formats",
    },
)
