"""Exponential moving averages of weights, kept by the optimizer, put into the model for a while."""

import contextlib

import keras
import numpy as np

# With a momentum of 0.9 this leaves 4 % of the statistics that were there before.
STEPS = 30


class Averages:
    """The averaged weights of a model with batch statistics of their own.

    Keras averages the trainable weights only. The moving statistics of the batch normalisation
    belong to the raw weights of the last few steps, and averaged weights behind them may predict
    nonsense while weights change fast; so they are taken anew, from `steps` batches run through
    the averaged network.

    Args:
        model: a compiled model; without `use_ema` in its optimizer, nothing is ever changed.
        batches: a `PoseDataset` to take statistics from; `None` keeps the raw ones.
        steps: how many batches, `STEPS` by default.
    """

    def __init__(self, model, batches=None, steps=None):
        # Float16's optimizer has the one that averages inside.
        self.active = getattr(model.optimizer, "inner_optimizer", model.optimizer).use_ema
        self.model, self.batches = model, batches
        self.steps = STEPS if steps is None else steps
        self._forward, self._cached, self._depth = None, (None, None), 0

    @contextlib.contextmanager
    def shown(self, epoch=0):
        """Put the averages into the model within a block; the raw weights come back bit for bit.

        Args:
            epoch: whose batches the statistics are taken from.
        """
        if not self.active or self._depth:
            yield
            return
        raw = _values(self.model)
        self._depth += 1
        try:
            self.put(epoch)
            yield
        finally:
            self._depth -= 1
            _assign(self.model, raw)

    def put(self, epoch=0):
        """Put the averages into the model for good."""
        if not self.active:
            return
        step = int(self.model.optimizer.iterations.numpy())
        if self._cached[0] == step:
            _assign(self.model, self._cached[1])
            return
        self.model.optimizer.finalize_variable_values(self.model.trainable_variables)
        if keras.backend.backend() == "jax":
            # Both now share buffers, which `evaluate` gives away.
            _assign(self.model, _values(self.model))
        if self.batches is not None:
            for number in range(self.steps):
                self._run(self.batches.batch(number, epoch)[0])
        self._cached = (step, _values(self.model))

    def _run(self, crops):
        """A pass in training mode, which only moves the statistics."""
        model, backend = self.model, keras.backend.backend()
        if backend == "jax":
            self._run_jax(crops)
        elif backend == "tensorflow":
            import tensorflow as tf

            if self._forward is None:
                self._forward = tf.function(
                    lambda x: model(x, training=True), reduce_retracing=True
                )
            self._forward(crops)
        else:
            import torch

            with torch.no_grad():
                model(crops, training=True)

    def _run_jax(self, crops):
        import jax

        model = self.model
        if self._forward is None:
            self._forward = jax.jit(
                lambda weights, states, x: model.stateless_call(weights, states, x, training=True)[
                    1
                ]
            )
        weights = [variable.value for variable in model.trainable_variables]
        states = [variable.value for variable in model.non_trainable_variables]
        for variable, value in zip(
            model.non_trainable_variables, self._forward(weights, states, crops), strict=True
        ):
            variable.assign(value)


class ValidateAverages(keras.callbacks.Callback):
    """Let `fit` validate the averaged weights."""

    def __init__(self, averages):
        super().__init__()
        self.averages, self.epoch, self.stack = averages, 0, contextlib.ExitStack()

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_test_begin(self, logs=None):
        # `self.model` brings JAX's state up to date.
        assert self.model is self.averages.model
        self.stack.enter_context(self.averages.shown(self.epoch))

    def on_test_end(self, logs=None):
        self.stack.close()


def _values(model):
    return [np.array(variable.numpy()) for variable in model.weights]


def _assign(model, values):
    for variable, value in zip(model.weights, values, strict=True):
        variable.assign(value)
