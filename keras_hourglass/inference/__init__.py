"""The network for inference: every batch norm folded away, run by TensorFlow alone."""

from keras_hourglass.inference.program import Program, Step, fold

__all__ = ["Program", "Step", "fold"]
