"""Convolution, batch normalisation and pooling as the layers use them: Keras's own, but faster."""

import functools
import os

import keras

from keras_hourglass.compat import ON_JAX, ON_TENSORFLOW, ops
from keras_hourglass.hardware import accelerators, processor_flags
from keras_hourglass.layers.nodes import EPSILON, MOMENTUM

# Narrower kernels are faster in oneDNN's own gradient.
_LEAST_CHANNELS = 64


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Conv2D(keras.layers.Conv2D):
    """`keras.layers.Conv2D`, trained faster on a processor by the TensorFlow backend.

    The function, the variables and the weights file are the same. In training, a 1×1 convolution is
    one matrix product, and so is its gradient; the gradient of a 3×3 kernel is nine products of
    shifted inputs. With AVX2, oneDNN's own kernels for these gradients reach 91 GFLOP/s where
    products reach 116, and a training step of `hourglass_2s` takes a tenth less. Everywhere else
    (inference, other backends, accelerators, half precision, and AVX-512, where oneDNN's kernels
    win) Keras's layer is called.

    Args:
        *args, **kwargs: those of `keras.layers.Conv2D`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, new_height, new_width, filters)`.

    Example:

    >>> import keras
    >>> Conv2D(6, 1)(keras.Input((8, 5, 4))).shape
    (None, 8, 5, 6)
    """

    def call(self, inputs, training=None):
        if not (training and self._plain(inputs)):
            return super().call(inputs)
        import tensorflow as tf

        kernel = tf.convert_to_tensor(self.kernel)
        if self.kernel_size == (1, 1):
            outputs = tf.tensordot(inputs, kernel[0, 0], 1)
        elif self.kernel_size == (3, 3) and inputs.shape[-1] >= _LEAST_CHANNELS and _onednn():
            outputs = _convolve(inputs, kernel)
        else:
            return super().call(inputs)
        return tf.nn.bias_add(outputs, self.bias)

    def _plain(self, inputs):
        """Whether this is a convolution of the kind that the package's layers are made of."""
        return (
            _products_pay()
            and self.compute_dtype == "float32"
            and self.padding == "same"
            and self.data_format == "channels_last"
            and tuple(self.strides) == tuple(self.dilation_rate) == (1, 1)
            and self.groups == 1
            and self.use_bias
            and self.activation is keras.activations.linear
            and inputs.shape[-1] is not None
        )


@functools.cache
def _products_pay():
    """Whether this is TensorFlow on a processor whose products outrun oneDNN's gradients."""
    return ON_TENSORFLOW and "avx512f" not in processor_flags() and not accelerators()


def _onednn():
    # Without it, TensorFlow's products of transposed matrices are slower than its gradient.
    return os.environ.get("TF_ENABLE_ONEDNN_OPTS") == "1"


def _convolve(inputs, kernel):
    """A 3×3 convolution that keeps the size, with the gradient described above."""
    import tensorflow as tf

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradient(upstream):
            to_inputs = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(inputs),
                filter=kernel,
                out_backprop=upstream,
                strides=[1, 1, 1, 1],
                padding="SAME",
            )
            return to_inputs, kernel_gradient(inputs, upstream)

        return tf.nn.conv2d(inputs, kernel, 1, "SAME"), gradient

    return convolve(inputs, kernel)


def kernel_gradient(inputs, upstream):
    """The gradient of a loss by the 3×3 kernel of a convolution that keeps the size.

    Args:
        inputs: what was convolved, a TensorFlow tensor `(N, H, W, C)`.
        upstream: gradient of the loss by the convolution's result, `(N, H, W, F)`.

    Returns:
        The gradient, `(3, 3, C, F)`.
    """
    import tensorflow as tf

    height, width = tf.unstack(tf.shape(inputs)[1:3])
    channels, filters = inputs.shape[-1], upstream.shape[-1]
    # Or the shifted copies of all layers' inputs would be made in the forward pass, and be kept.
    with tf.control_dependencies([upstream]):
        padded = tf.pad(inputs, [[0, 0], [1, 1], [1, 1], [0, 0]])
    upstream = tf.reshape(upstream, (-1, filters))
    products = [
        tf.matmul(
            tf.reshape(padded[:, row : row + height, column : column + width], (-1, channels)),
            upstream,
            transpose_a=True,
        )
        for row in range(3)
        for column in range(3)
    ]
    return tf.reshape(tf.stack(products), (3, 3, channels, filters))


@keras.saving.register_keras_serializable(package="keras_hourglass")
class BatchNormalization(keras.layers.BatchNormalization):
    """`keras.layers.BatchNormalization` over the channels, with the constants of the Torch release.

    Keras 3 composes it of elementwise operations, which on a processor cost more than the
    convolutions around them. On the TensorFlow backend this layer calls TensorFlow's fused
    kernel instead: the same function and the same variables, two to three times as fast forward
    and backward. On JAX, in half precision, it takes mean and variance while the inputs are read
    once, where Keras reads them twice, and a third time for the gradient.

    Args:
        momentum: share of the moving statistics kept at each step.
        epsilon: added to the variance.
        **kwargs: the other arguments of `keras.layers.BatchNormalization`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        The same.

    Example:

    >>> import keras
    >>> BatchNormalization()(keras.Input((8, 6, 4))).shape
    (None, 8, 6, 4)
    """

    def __init__(self, momentum=MOMENTUM, epsilon=EPSILON, **kwargs):
        super().__init__(momentum=momentum, epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None, mask=None):
        if not self._plain(inputs, mask):
            return super().call(inputs, training=training, mask=mask)
        if ON_JAX:
            return self._composed(inputs, bool(training) and self.trainable)
        import tensorflow as tf

        training = bool(training) and self.trainable
        empty = tf.zeros((0,), tf.float32)
        outputs, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=tf.cast(self.gamma, tf.float32),
            offset=tf.cast(self.beta, tf.float32),
            mean=empty if training else tf.cast(self.moving_mean, tf.float32),
            variance=empty if training else tf.cast(self.moving_variance, tf.float32),
            epsilon=self.epsilon,
            is_training=training,
        )
        if training:
            self._update(mean, variance, inputs)
        return outputs

    def _plain(self, inputs, mask):
        return (
            # In float32, Keras's second pass over the inputs buys digits.
            (ON_TENSORFLOW or (ON_JAX and self.compute_dtype != "float32"))
            and not self.synchronized
            and not getattr(self, "renorm", False)
            # The kernel knows no other.
            and self.compute_dtype in ("float32", "float16", "bfloat16")
            and mask is None
            and self.scale
            and self.center
            and len(inputs.shape) == 4
            and self.axis in (-1, 3)
        )

    def _composed(self, inputs, training):
        """Of operations that XLA joins: one pass over inputs for statistics, one for results."""
        x = ops.cast(inputs, "float32")
        mean, variance = (
            ops.cast(moving, "float32") for moving in (self.moving_mean, self.moving_variance)
        )
        if training:
            # Near the mean already, so that the difference of the squares keeps its digits.
            apart = x - mean
            rest = ops.mean(apart, (0, 1, 2))
            square = ops.mean(ops.square(apart), (0, 1, 2))
            mean, variance = mean + rest, ops.maximum(square - ops.square(rest), 0.0)
            self._move(mean, variance)
        scale = self.gamma * ops.rsqrt(variance + self.epsilon)
        return ops.cast(x * scale + (self.beta - mean * scale), self.compute_dtype)

    def _update(self, mean, variance, inputs):
        import tensorflow as tf

        # The kernel returns the unbiased variance; the other backends keep the biased one.
        count = tf.cast(tf.reduce_prod(tf.shape(inputs)[:-1]), tf.float32)
        variance = variance * (count - 1) / count
        replica = tf.distribute.get_replica_context()
        if replica is not None and replica.num_replicas_in_sync > 1:
            # The statistics of the whole batch, or the first replica's alone would be kept.
            square = variance + tf.square(mean)
            mean, square = replica.all_reduce(tf.distribute.ReduceOp.MEAN, [mean, square])
            variance = square - tf.square(mean)
        self._move(mean, variance)

    def _move(self, mean, variance):
        """Move the statistics that are kept for inference towards those of a batch."""
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, variance)):
            value = ops.cast(value, moving.dtype)
            moving.assign(moving * self.momentum + value * (1 - self.momentum))


@keras.saving.register_keras_serializable(package="keras_hourglass")
class MaxPooling2D(keras.layers.MaxPooling2D):
    """`keras.layers.MaxPooling2D`, of two by two pixels trained faster by the JAX backend.

    XLA keeps the largest values once more in float32, with places of four bytes each, and its
    gradient adds number by number to memory. Here a byte tells the place, and the gradient is
    written once, together with what else meets there. The function is the same, of equal values the
    first gets the gradient in both.

    Args:
        *args, **kwargs: those of `keras.layers.MaxPooling2D`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, new_height, new_width, channels)`.

    Example:

    >>> import keras
    >>> MaxPooling2D(2)(keras.Input((8, 6, 4))).shape
    (None, 4, 3, 4)
    """

    def call(self, inputs):
        if ON_JAX and self._in_pairs(inputs.shape[1:3]):
            return _largest_of_four()(inputs)
        return super().call(inputs)

    def _in_pairs(self, edges):
        return (
            tuple(self.pool_size) == tuple(self.strides) == (2, 2)
            and self.padding == "valid"
            and self.data_format == "channels_last"
            and all(isinstance(edge, int) and edge % 2 == 0 for edge in edges)
        )


@functools.cache
def _largest_of_four():
    """A function of a JAX array `(N, H, W, C)`, H and W even, to `(N, H / 2, W / 2, C)`."""
    import jax
    import jax.numpy as jnp

    def windows(x):
        batch, height, width, channels = x.shape
        return x.reshape(batch, height // 2, 2, width // 2, 2, channels)

    def pool(x):
        x = windows(x)
        a, b, c, d = (x[:, :, row, :, column] for row in (0, 1) for column in (0, 1))
        upper, lower = jnp.maximum(a, b), jnp.maximum(c, d)
        place = jnp.where(lower > upper, 2 + (d > c), b > a).astype(jnp.uint8)
        return jnp.maximum(upper, lower), place

    @jax.custom_jvp
    def largest(x):
        return pool(x)[0]

    @largest.defjvp
    def _(primals, tangents):
        values, place = pool(*primals)
        places = jnp.arange(4, dtype=jnp.uint8).reshape(2, 1, 2, 1)
        chosen = place[:, :, None, :, None] == places
        return values, jnp.where(chosen, windows(*tangents), 0).sum((2, 4))

    return largest


def policy_of(layer):
    """The dtype policy that a layer hands down to its children, in Keras 2 and 3."""
    return getattr(layer, "dtype_policy", None) or layer._dtype_policy
