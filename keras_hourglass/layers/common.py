"""What the layers share: the constants of the Torch release, and chains of residuals."""

from keras_hourglass.layers.convolution import Conv2D
from keras_hourglass.layers.normalization import BatchNormalization


def batch_norm(name, dtype=None, synchronized=False):
    """Batch normalisation with the constants of the Torch release."""
    options = {"synchronized": True} if synchronized else {}
    return BatchNormalization(name=name, dtype=dtype, **options)


def conv(filters, kernel_size, name, dtype=None, **options):
    """A convolution with bias, `same` padding unless told otherwise."""
    options.setdefault("padding", "same")
    return Conv2D(filters, kernel_size, name=name, dtype=dtype, **options)


def build_chain(layers, input_shape):
    """Build layers that follow each other; returns the shape that leaves the last one."""
    shape = tuple(input_shape)
    for layer in layers:
        layer.build(shape)
        shape = tuple(layer.compute_output_shape(shape))
    return shape


def call_chain(layers, x, **training):
    """Call layers in turn; Keras passes the training mode on by itself, unless it is given."""
    for layer in layers:
        x = layer(x, **training)
    return x


def check_positive(name, value):
    """Refuse anything but a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"Expected `{name}` to be a positive integer. Received: {name}={value!r}")


def check_channels_last(shape, layer):
    """Refuse inputs without a static channel axis of rank 4."""
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{layer} expects inputs of shape (batch, height, width, channels) with known "
            f"channels. Received: shape={tuple(shape)}"
        )


def policy_of(layer):
    """The dtype policy that a layer hands down to its children, in Keras 2 and 3."""
    return getattr(layer, "dtype_policy", None) or layer._dtype_policy
