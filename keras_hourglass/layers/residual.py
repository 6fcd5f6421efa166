"""The residual module of the paper (Figure 4, left)."""

from typing import Any

import keras

from keras_hourglass.layers.block import Block
from keras_hourglass.layers.nodes import check_positive
from keras_hourglass.layers.recomputation import recomputed


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Residual(Block):
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

    kind = "Residual"

    def __init__(self, filters: int, synchronized: bool = False, **kwargs):
        super().__init__(**kwargs)
        check_positive("filters", filters)
        if filters % 2:
            raise ValueError(
                "Residual halves its filters inside, so they must be even. "
                f"Received: filters={filters}"
            )
        self.filters, self.synchronized = filters, synchronized
        self.recompute = False  # in training, see `recomputation.recompute`
        self.make_children()

    def arguments(self) -> dict:
        return {"filters": self.filters, "synchronized": self.synchronized}

    def call(self, inputs: Any, training: bool | None = None) -> Any:
        if training and self.recompute:
            return recomputed(self, lambda x: self.run(x, training=True), inputs)
        return self.run(inputs)
