"""The layers before the first hourglass: 256×256 pixels to 64×64 features."""

from collections.abc import Sequence

import keras

from keras_hourglass.layers.block import Block
from keras_hourglass.layers.nodes import check_positive


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Stem(Block):
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

    kind = "Stem"

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
        self.make_children()

    def arguments(self) -> dict:
        return {
            "filters": self.filters,
            "before": list(self.before),
            "after": list(self.after),
            "return_pooled": self.return_pooled,
            "synchronized": self.synchronized,
        }
