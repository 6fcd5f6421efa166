"""The building blocks, usable on their own in any functional Keras model."""

from keras_hourglass.layers.hourglass import Hourglass
from keras_hourglass.layers.residual import Residual
from keras_hourglass.layers.stem import Stem
from keras_hourglass.layers.supervision import IntermediateSupervision

__all__ = ["Hourglass", "IntermediateSupervision", "Residual", "Stem"]
