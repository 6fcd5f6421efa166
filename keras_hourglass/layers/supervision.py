"""Heatmaps at the end of an hourglass, and their way back into the features."""

from collections.abc import Sequence
from typing import Any

import keras

from keras_hourglass.layers.block import Block
from keras_hourglass.layers.nodes import check_positive


@keras.saving.register_keras_serializable(package="keras_hourglass")
class IntermediateSupervision(Block):
    """Predict heatmaps from an hourglass's features and feed them back into the next one.

    Residuals and 1×1 conv-BN-ReLU turn the features into `y`; a 1×1 convolution of `y` gives the
    heatmaps (always float32). The next hourglass's input is
    `skip + conv(y) + conv(heatmaps)` (`merge="add"`, the later public code), or
    `conv(concat(y, skip)) + conv(heatmaps)` (`merge="concat"`, the paper's own network), all
    convolutions 1×1.

    Args:
        num_keypoints: K, channels of the heatmaps; `None` for a stack without supervision, which
            only passes its features on.
        filters: widths of the 1×1 conv-BN-ReLU, an integer or a tuple.
        num_blocks: residuals before them, as wide as the input.
        merge: `"add"`, `"concat"`, or `None` for the last stack, which feeds nothing back.
        heatmap_dtype: dtype of heatmaps and their convolution.
        synchronized: take batch statistics over all replicas of a distributed training.
        **kwargs: `name`, `dtype` and the other arguments of `keras.layers.Layer`.

    Input shape:
        A pair: features `(batch, height, width, channels)` and skip
        `(batch, height, width, skip channels)`; with `merge=None` the features alone.

    Output shape:
        A pair: heatmaps `(batch, height, width, K)` and features for the next hourglass
        `(batch, height, width, skip channels)`, for `"concat"` with as many channels as `y` and
        the skip together; with `merge=None` the heatmaps alone, with `num_keypoints=None` the
        features alone.

    Raises:
        ValueError: if an argument is not positive, `merge` is unknown or the inputs do not match.

    Example:

    >>> import keras
    >>> x = keras.Input((64, 48, 256))
    >>> heatmaps, features = IntermediateSupervision(16, 256)([x, x])
    >>> heatmaps.shape, features.shape
    ((None, 64, 48, 16), (None, 64, 48, 256))

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.3 and Figure 4, right.
    """

    kind = "IntermediateSupervision"

    def __init__(
        self,
        num_keypoints: int | None,
        filters: int | Sequence[int],
        num_blocks: int = 0,
        merge: str | None = "add",
        heatmap_dtype: str = "float32",
        synchronized: bool = False,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if num_keypoints is not None:
            check_positive("num_keypoints", num_keypoints)
        if merge not in ("add", "concat", None):
            raise ValueError(f"Expected `merge` 'add', 'concat' or None. Received: merge={merge!r}")
        if num_keypoints is None and merge is None:
            raise ValueError(
                "IntermediateSupervision yields heatmaps, features or both. "
                "Received: num_keypoints=None, merge=None"
            )
        self.num_keypoints, self.num_blocks, self.merge = num_keypoints, num_blocks, merge
        self.filters = (filters,) if isinstance(filters, int) else tuple(filters)
        for width in self.filters:
            check_positive("filters", width)
        self.heatmap_dtype, self.synchronized = heatmap_dtype, synchronized
        self.num_inputs = 2 if merge else 1
        self.make_children()

    def arguments(self) -> dict:
        return {
            "num_keypoints": self.num_keypoints,
            "filters": list(self.filters),
            "num_blocks": self.num_blocks,
            "merge": self.merge,
            "heatmap_dtype": self.heatmap_dtype,
            "synchronized": self.synchronized,
        }

    def split(self, input_shape: Any) -> list[tuple]:
        if not self.merge:
            return super().split(input_shape)
        # Keras 2 passes shapes of a class of its own.
        if len(input_shape) != 2 or not all(hasattr(s, "__len__") for s in input_shape):
            raise ValueError(
                "IntermediateSupervision that feeds back expects a pair of features and skip. "
                f"Received: shape={input_shape}"
            )
        [features], [skip] = (Block.split(self, shape) for shape in input_shape)
        if features[1:3] != skip[1:3]:
            raise ValueError(
                "IntermediateSupervision expects features and skip of the same height and width. "
                f"Received: shapes={features} and {skip}"
            )
        return [features, skip]
