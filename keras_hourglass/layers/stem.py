"""The layers before the first hourglass: 256×256 pixels to 64×64 features."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hourglass.layers.common import (
    batch_norm,
    build_chain,
    call_chain,
    check_channels_last,
    check_positive,
    conv,
    policy_of,
)
from keras_hourglass.layers.residual import Residual


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Stem(keras.layers.Layer):
    """7×7 convolution of stride 2, BN, ReLU, residuals, max pooling, residuals.

    The convolution pads three pixels on every side, as Torch does; TensorFlow's `same` pads two
    and three, which shifts everything by half a pixel.

    Args:
        filters: filters of the convolution.
        before: widths of the residuals before pooling.
        after: widths of the residuals after pooling.
        return_pooled: also return the pooled features (the paper's network feeds them to the
            second hourglass).
        synchronized: take batch statistics over all replicas of a distributed training.
        **kwargs: `name`, `dtype` and the other arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)`, height and width multiples of 4.

    Output shape:
        `(batch, height / 4, width / 4, after[-1])`; with `return_pooled` a pair with
        `(batch, height / 4, width / 4, before[-1])`.

    Raises:
        ValueError: if a width is not a positive integer, that of a residual even.

    Example:

    >>> import keras
    >>> Stem(64, (128,), (128, 256))(keras.Input((256, 192, 3))).shape
    (None, 64, 48, 256)

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.2.
    """

    def __init__(
        self,
        filters: int,
        before: Sequence[int],
        after: Sequence[int],
        return_pooled: bool = False,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        check_positive("filters", filters)
        self.filters, self.before, self.after = filters, tuple(before), tuple(after)
        self.return_pooled, self.synchronized = return_pooled, synchronized
        dtype = policy_of(self)
        self.first = [
            keras.layers.ZeroPadding2D(3, name="pad", dtype=dtype),
            conv(filters, 7, "conv", dtype, strides=2, padding="valid"),
            batch_norm("bn", dtype, synchronized),
            keras.layers.ReLU(name="relu", dtype=dtype),
            *self._residuals("before", self.before, dtype),
            keras.layers.MaxPooling2D(2, name="pool", dtype=dtype),
        ]
        self.second = self._residuals("after", self.after, dtype)

    def _residuals(self, key, widths, dtype):
        return [
            Residual(width, self.synchronized, name=f"{key}{index}", dtype=dtype)
            for index, width in enumerate(widths, start=1)
        ]

    def build(self, input_shape: Any) -> None:
        check_channels_last(input_shape, "Stem")
        build_chain(self.second, build_chain(self.first, input_shape))
        self.built = True

    def call(self, inputs: Any) -> Any:
        pooled = call_chain(self.first, inputs)
        features = call_chain(self.second, pooled)
        return (features, pooled) if self.return_pooled else features

    def compute_output_shape(self, input_shape: Any) -> tuple:
        batch, height, width, _ = input_shape
        size = tuple(None if edge is None else edge // 4 for edge in (height, width))
        pooled = (batch, *size, self.before[-1] if self.before else self.filters)
        features = (batch, *size, self.after[-1] if self.after else pooled[-1])
        return (features, pooled) if self.return_pooled else features

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "before": list(self.before),
            "after": list(self.after),
            "return_pooled": self.return_pooled,
            "synchronized": self.synchronized,
        }
