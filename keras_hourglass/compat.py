"""What the loss and the metric need of Keras 3 where only Keras 2.15 is there.

TensorFlow Addons ended with TensorFlow 2.15, whose Keras has no `keras.ops`. Layers, model, weights
and codec need nothing of it; for the loss and the metric, this module stands in.
"""

import types

import keras


def _tensorflow_ops():
    import tensorflow as tf

    def cast(x, dtype):
        return tf.cast(tf.convert_to_tensor(x), dtype)

    def arange(stop, dtype):
        return tf.cast(tf.range(stop), dtype)

    return types.SimpleNamespace(
        arange=arange,
        argmax=tf.argmax,
        cast=cast,
        concatenate=tf.concat,
        convert_to_tensor=tf.convert_to_tensor,
        divide_no_nan=tf.math.divide_no_nan,
        exp=tf.exp,
        floor=tf.floor,
        logical_and=tf.logical_and,
        max=tf.reduce_max,
        mean=tf.reduce_mean,
        reshape=tf.reshape,
        shape=tf.shape,
        square=tf.square,
        sum=tf.reduce_sum,
    )


ops = keras.ops if hasattr(keras, "ops") else _tensorflow_ops()
