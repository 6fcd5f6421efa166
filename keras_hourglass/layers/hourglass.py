"""The hourglass module of the paper (Figure 3)."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hourglass.layers.block import Block
from keras_hourglass.layers.nodes import check_positive


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Hourglass(Block):
    """Pool down `depth` times, come back up by nearest upsampling, adding a branch at each level.

    At each level, an upper branch of residuals keeps the resolution; a lower branch max-pools,
    passes residuals, the next level (or, at the innermost, residuals), more residuals, and is
    upsampled; the two are added.

    Args:
        filters: channels of the output.
        depth: number of levels; the input is pooled by `2 ** depth`.
        num_blocks: residuals at each position, where the four arguments below do not say
            otherwise.
        upper: widths of the residuals of the upper branch, the last equal to `filters`.
        lower: widths of the residuals after pooling.
        bottom: widths of the residuals at the innermost level, the last equal to `filters`.
        after: widths of the residuals before upsampling, the last equal to `filters`.
        return_inner: also return the features of this many inner levels on the way up, the
            finest first, for supervision at lower resolutions; at most `depth - 1`.
        synchronized: take batch statistics over all replicas of a distributed training.
        **kwargs: `name`, `dtype` and the other arguments of `keras.layers.Layer`.

    Input shape:
        `(batch, height, width, channels)`, height and width multiples of `2 ** depth`.

    Output shape:
        `(batch, height, width, filters)`; with `return_inner` a list of that and
        `(batch, height / 2, width / 2, filters)`, ….

    Raises:
        ValueError: if an argument is not positive, a branch does not end in `filters`, or the
            input's height or width does not divide.

    Example:

    >>> import keras
    >>> inputs = keras.Input((64, 48, 256))
    >>> Hourglass(256, depth=4)(inputs).shape
    (None, 64, 48, 256)

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.1.
    """

    kind = "Hourglass"

    def __init__(
        self,
        filters: int,
        depth: int = 4,
        num_blocks: int = 1,
        upper: Sequence[int] | None = None,
        lower: Sequence[int] | None = None,
        bottom: Sequence[int] | None = None,
        after: Sequence[int] | None = None,
        return_inner: int = 0,
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("filters", filters), ("depth", depth), ("num_blocks", num_blocks)):
            check_positive(name, value)
        self.filters, self.depth, self.num_blocks = filters, depth, num_blocks
        if return_inner not in range(depth):
            raise ValueError(
                f"Hourglass of depth {depth} has {depth - 1} inner levels. "
                f"Received: return_inner={return_inner}"
            )
        self.return_inner, self.synchronized = return_inner, synchronized
        given = {"upper": upper, "lower": lower, "bottom": bottom, "after": after}
        self.widths = {
            key: tuple(value) if value is not None else (filters,) * num_blocks
            for key, value in given.items()
        }
        for key in ("upper", "bottom", "after"):
            if not self.widths[key] or self.widths[key][-1] != filters:
                raise ValueError(
                    f"The branch `{key}` must end in {filters} filters, to be added. "
                    f"Received: {key}={self.widths[key]}"
                )
        self.make_children()

    def arguments(self) -> dict:
        return {
            "filters": self.filters,
            "depth": self.depth,
            **{key: list(widths) for key, widths in self.widths.items()},
            "return_inner": self.return_inner,
            "synchronized": self.synchronized,
        }

    def split(self, input_shape: Any) -> list[tuple]:
        multiple = 2**self.depth
        [shape] = super().split(input_shape)
        if any(size is not None and size % multiple for size in shape[1:3]):
            raise ValueError(
                f"Hourglass of depth {self.depth} expects a height and width that are multiples "
                f"of {multiple}. Received: shape={shape}"
            )
        return [shape]

    def get_config(self) -> dict:
        return {**super().get_config(), "num_blocks": self.num_blocks}
