"""The residual module of the paper (Figure 4, left)."""

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
from keras_hourglass.layers.recomputation import recomputed


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Residual(keras.layers.Layer):
    """Pre-activation bottleneck residual: BN-ReLU-1×1, BN-ReLU-3×3, BN-ReLU-1×1, plus a skip.

    The two inner convolutions have half as many filters as the output. The skip is the input
    itself, or a 1×1 convolution of it where the number of channels changes.

    Args:
        filters: channels of the output; even.
        synchronized: take batch statistics over all replicas of a distributed training.
        **kwargs: `name`, `dtype` and the other arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)`.

    Output shape:
        `(batch, height, width, filters)`.

    Raises:
        ValueError: if `filters` is not a positive even integer.

    Example:

    >>> import keras
    >>> inputs = keras.Input((32, 24, 64))
    >>> Residual(128)(inputs).shape
    (None, 32, 24, 128)

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.2;
        [He et al., 2016](https://arxiv.org/abs/1603.05027).
    """

    def __init__(self, filters: int, synchronized: bool = False, **kwargs):
        super().__init__(**kwargs)
        check_positive("filters", filters)
        if filters % 2:
            raise ValueError(
                "Residual halves its filters inside, so they must be even. "
                f"Received: filters={filters}"
            )
        self.filters = filters
        self.synchronized = synchronized
        dtype = policy_of(self)
        self.branch = []
        for index, (width, kernel) in enumerate(
            ((filters // 2, 1), (filters // 2, 3), (filters, 1)), start=1
        ):
            self.branch += [
                batch_norm(f"bn{index}", dtype, synchronized),
                keras.layers.ReLU(name=f"relu{index}", dtype=dtype),
                conv(width, kernel, f"conv{index}", dtype),
            ]
        self.skip = conv(filters, 1, "skip", dtype)
        self.project = None
        self.recompute = False  # in training, see `recomputation.recompute`

    def build(self, input_shape: Any) -> None:
        check_channels_last(input_shape, "Residual")
        build_chain(self.branch, input_shape)
        self.project = input_shape[-1] != self.filters
        if self.project:
            self.skip.build(tuple(input_shape))
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training and self.recompute:
            return recomputed(self, lambda x: self._residual(x, training=True), inputs)
        return self._residual(inputs)

    def _residual(self, inputs, **training):
        skip = self.skip(inputs) if self.project else inputs
        return call_chain(self.branch, inputs, **training) + skip

    def compute_output_shape(self, input_shape: Any) -> tuple:
        return (*tuple(input_shape)[:-1], self.filters)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "synchronized": self.synchronized,
        }
