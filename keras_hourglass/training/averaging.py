"""Exponential moving averages of weights, kept by the optimizer, put into the model for a while."""

import contextlib

import keras
import numpy as np


@contextlib.contextmanager
def averaged(model):
    """Show the averaged weights within a block, where the optimizer keeps any.

    The raw weights come back bit for bit, which Keras's own `SwapEMAWeights` (it swaps by adding
    and subtracting) does not promise.

    Args:
        model: a compiled model.

    Yields:
        Whether the weights are averages.
    """
    optimizer = model.optimizer
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not getattr(inner, "use_ema", False):
        yield False
        return
    raw = [np.array(keras.ops.convert_to_numpy(v)) for v in model.trainable_variables]
    optimizer.finalize_variable_values(model.trainable_variables)
    try:
        yield True
    finally:
        for variable, value in zip(model.trainable_variables, raw, strict=True):
            variable.assign(value)


class ValidateAverages(keras.callbacks.Callback):
    """Let `fit` validate the averaged weights."""

    def __init__(self):
        super().__init__()
        self.stack = contextlib.ExitStack()

    def on_test_begin(self, logs=None):
        self.stack.enter_context(averaged(self.model))

    def on_test_end(self, logs=None):
        self.stack.close()
