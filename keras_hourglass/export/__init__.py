"""Export of trained networks: a SavedModel for TensorFlow Serving, and other formats."""

from keras_hourglass.export.saved_model import export_model

__all__ = ["export_model"]
