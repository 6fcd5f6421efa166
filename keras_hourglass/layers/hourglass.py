"""The hourglass module of the paper (Figure 3)."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hourglass.layers.common import (
    build_chain,
    call_chain,
    check_channels_last,
    check_positive,
    policy_of,
)
from keras_hourglass.layers.residual import Residual


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Hourglass(keras.layers.Layer):
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
        dtype = policy_of(self)
        self.upper = self._residuals("upper", dtype)
        self.pool = keras.layers.MaxPooling2D(2, name="pool", dtype=dtype)
        self.lower = self._residuals("lower", dtype)
        if depth > 1:
            self.inner = [
                Hourglass(
                    filters,
                    depth - 1,
                    num_blocks,
                    **self.widths,
                    return_inner=max(return_inner - 1, 0),
                    synchronized=synchronized,
                    name="inner",
                    dtype=dtype,
                )
            ]
        else:
            self.inner = self._residuals("bottom", dtype)
        self.after = self._residuals("after", dtype)
        self.up = keras.layers.UpSampling2D(2, interpolation="nearest", name="up", dtype=dtype)

    def _residuals(self, key, dtype):
        return [
            Residual(width, self.synchronized, name=f"{key}{index}", dtype=dtype)
            for index, width in enumerate(self.widths[key], start=1)
        ]

    def build(self, input_shape: Any) -> None:
        check_channels_last(input_shape, "Hourglass")
        multiple = 2**self.depth
        if any(size is not None and size % multiple for size in tuple(input_shape)[1:3]):
            raise ValueError(
                f"Hourglass of depth {self.depth} expects a height and width that are multiples "
                f"of {multiple}. Received: shape={tuple(input_shape)}"
            )
        build_chain(self.upper, input_shape)
        shape = tuple(self.pool.compute_output_shape(tuple(input_shape)))
        shape = build_chain([*self.lower, *self.inner], shape)
        build_chain(self.after, shape[0] if isinstance(shape[0], tuple) else shape)
        self.built = True

    def call(self, inputs: Any) -> Any:
        upper = call_chain(self.upper, inputs)
        inner = call_chain([*self.lower, *self.inner], self.pool(inputs))
        levels = []
        if self.return_inner:
            levels = list(inner) if self.return_inner > 1 else [inner]
            inner = levels[0]
        outputs = upper + self.up(call_chain(self.after, inner))
        return [outputs, *levels] if self.return_inner else outputs

    def compute_output_shape(self, input_shape: Any) -> tuple | list[tuple]:
        batch, height, width, _ = tuple(input_shape)
        shapes = [
            (batch, *(edge and edge // 2**level for edge in (height, width)), self.filters)
            for level in range(self.return_inner + 1)
        ]
        return shapes if self.return_inner else shapes[0]

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "filters": self.filters,
            "depth": self.depth,
            "num_blocks": self.num_blocks,
            **{key: list(widths) for key, widths in self.widths.items()},
            "return_inner": self.return_inner,
            "synchronized": self.synchronized,
        }
