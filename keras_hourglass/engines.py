"""Running a network on crops: one callable per runtime.

An engine is called with `(N, H, W, 3)` uint8 crops and returns a dict from the names of the wanted
outputs (`"stack_2"`) to `(N, h, w, K)` float32 NumPy arrays.
"""

import numpy as np

from keras_hourglass.errors import UserError


def make_engine(engine, model, outputs):
    """The engine of a name.

    Args:
        engine: one of `ENGINES`, or an engine of your own, a callable as described above.
        model: the Keras model to run.
        outputs: names of the outputs that are wanted.

    Returns:
        A callable from crops to a dict of heatmaps.

    Raises:
        UserError: if the name is unknown.
    """
    if callable(engine):
        return engine
    if engine not in ENGINES:
        raise UserError(
            f"Unknown engine. Received: engine={engine!r}. Choose one of {', '.join(ENGINES)}, "
            "or pass a callable."
        )
    return ENGINES[engine](model, tuple(outputs))


def keras_engine(model, outputs):
    """The model itself, compiled once for any batch size by its own backend.

    `Model.predict` spends milliseconds of Python on each call, which is more than a small network.
    """
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        return _tensorflow_engine(model, outputs)
    if backend == "jax":
        return _jax_engine(model, outputs)
    return _torch_engine(model, outputs)


def _tensorflow_engine(model, outputs):
    import tensorflow as tf

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape[1:]), tf.uint8)])
    def run(crops):
        heatmaps = model(crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    return lambda crops: {name: maps.numpy() for name, maps in run(crops).items()}


def _jax_engine(model, outputs):
    import jax

    @jax.jit
    def run(trainable, non_trainable, crops):
        heatmaps, _ = model.stateless_call(trainable, non_trainable, crops, training=False)
        return {name: heatmaps[name] for name in outputs}

    def engine(crops):
        # One compilation per batch size would be slow, so sizes are powers of two.
        count = len(crops)
        missing = (1 << (count - 1).bit_length()) - count
        padded = np.concatenate([crops, np.repeat(crops[:1], missing, axis=0)])
        weights = [variable.value for variable in model.trainable_variables]
        states = [variable.value for variable in model.non_trainable_variables]
        heatmaps = run(weights, states, padded)
        return {name: np.asarray(maps)[:count] for name, maps in heatmaps.items()}

    return engine


def _torch_engine(model, outputs):
    import keras
    import torch

    def engine(crops):
        with torch.no_grad():
            heatmaps = model(np.ascontiguousarray(crops), training=False)
        return {name: keras.ops.convert_to_numpy(heatmaps[name]) for name in outputs}

    return engine


ENGINES = {"keras": keras_engine}
