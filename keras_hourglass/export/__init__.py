"""Export of trained networks: a SavedModel for TensorFlow Serving, and other formats."""

from keras_hourglass.export.formats import compare, export_format, load_engine
from keras_hourglass.export.saved_model import export_model

__all__ = ["compare", "export_format", "export_model", "load_engine"]
