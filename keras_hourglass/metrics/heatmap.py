"""The accuracy shown while a network trains, straight from heatmaps."""

from typing import Any

import keras

from keras_hourglass.compat import ops
from keras_hourglass.errors import UserError, checks_arguments
from keras_hourglass.typing import Size


@keras.saving.register_keras_serializable(package="keras_hourglass")
@checks_arguments
class HeatmapPCK(keras.metrics.Metric):
    """Share of joints whose heatmap has its maximum near the joint.

    A joint counts if it is labelled inside the crop (amplitude above 0) and weighs more than 0
    in the loss. It is correct if the pixel of the map's maximum lies no further than
    `threshold * min(height, width)` heatmap pixels from the exact target and the maximum is
    above 0. Sums are kept over batches, so the result does not depend on the batch size.

    The default is the training accuracy of the paper's authors: half of a tenth of the map's
    size, 3.2 pixels of 64×64 (they compare with the target's pixel, not its exact position, and
    average over joints instead of pooling them). It is normalised by the crop, so it is neither
    PCK by torso nor PCKh; `evaluate` gives those.

    Args:
        heatmap_size: `(height, width)` in heatmap pixels; that of the heatmaps by default.
        threshold: largest distance, as a fraction of the shorter side of the map.
        name, dtype: as in `keras.metrics.Metric`.

    Call arguments:
        y_true: `(N, K, 4)`: x, y in heatmap pixels, amplitude, weight.
        y_pred: `(N, height, width, K)` heatmaps.
        sample_weight: optional `(N,)` weight of each person's joints in the share.

    Raises:
        UserError: if the threshold is not positive or the size not two positive integers.

    Example:

    >>> import numpy as np
    >>> metric = HeatmapPCK((8, 16), threshold=0.25)  # two heatmap pixels
    >>> maps = np.zeros((1, 8, 16, 2), "float32")
    >>> maps[0, 3, 10] = 1
    >>> metric.update_state([[[8, 3, 1, 1], [7, 3, 1, 1]]], maps)
    >>> float(metric.result())
    0.5

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937).
    """

    def __init__(
        self,
        heatmap_size: Size | None = None,
        threshold: float = 0.05,
        name: str = "pck",
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        size = None if heatmap_size is None else tuple(int(edge) for edge in heatmap_size)
        self.heatmap_size = size
        if (size is not None and (len(size) != 2 or min(size) <= 0)) or not threshold > 0:
            raise UserError(
                "A heatmap size is (height, width) and the threshold a positive fraction of it. "
                f"Received: heatmap_size={self.heatmap_size}, threshold={threshold}."
            )
        self.threshold = float(threshold)
        self.correct = self.add_weight(
            name="correct", shape=(), initializer="zeros", dtype="float32"
        )
        self.counted = self.add_weight(
            name="counted", shape=(), initializer="zeros", dtype="float32"
        )

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        targets = ops.cast(ops.convert_to_tensor(y_true), "float32")
        maps = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        height, width = self.heatmap_size or tuple(maps.shape[1:3])
        maps = ops.reshape(maps, (-1, height * width, ops.shape(maps)[-1]))
        best = ops.cast(ops.argmax(maps, axis=1), "float32")
        row = ops.floor(best / width)
        distance2 = ops.square(best - row * width - targets[..., 0]) + ops.square(
            row - targets[..., 1]
        )
        limit = self.threshold * min(height, width)
        counts = ops.logical_and(targets[..., 2] > 0, targets[..., 3] > 0)
        # A map of zeros, or of NaN, points nowhere. The tiny slack is for float32 rounding.
        points = ops.max(maps, axis=1) > 0
        near = ops.logical_and(points, distance2 <= limit**2 * (1 + 1e-6))
        hit = ops.logical_and(counts, near)
        weight = 1.0
        if sample_weight is not None:
            weight = ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1))
        self.correct.assign_add(ops.sum(ops.cast(hit, "float32") * weight))
        self.counted.assign_add(ops.sum(ops.cast(counts, "float32") * weight))

    def result(self) -> Any:
        """Correct joints over counted ones, 0 to 1; 0 before any joint was counted."""
        return ops.divide_no_nan(self.correct, self.counted)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "heatmap_size": self.heatmap_size and list(self.heatmap_size),
            "threshold": self.threshold,
        }


@keras.saving.register_keras_serializable(package="keras_hourglass")
@checks_arguments
class BoxOverlap(keras.metrics.Metric):
    """How well people are framed around their middles, straight from maps of boxes.

    The mean over people of the intersection over union of their box and of the boxes that the
    maps give around its middle, each times the height of the centre map there (at most 1): a
    network that frames everybody exactly and is sure of them reaches 1. What it finds where nobody
    is does not count here; `metrics.detection` measures that.

    Args:
        stride: input pixels per heatmap pixel.
        unit: size in input pixels whose logarithm is 0, see `BoxCodec`.
        name, dtype: as in `keras.metrics.Metric`.

    Call arguments:
        y_true: `(N, h, w, 7)` as `BoxCodec.encode` makes them.
        y_pred: `(N, h, w, 5)` maps, see `codec.BOX_MAPS`.
        sample_weight: optional `(N,)` weight of each photograph's people.

    Raises:
        UserError: if stride or unit is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_hourglass.codec import BoxCodec
    >>> maps = BoxCodec((32, 48)).encode([[8, 4, 20, 24]])[None]
    >>> metric = BoxOverlap()
    >>> metric.update_state(maps, np.maximum(maps[..., :5], [1, -9, -9, -9, -9]))
    >>> round(float(metric.result()), 4)
    1.0
    """

    def __init__(
        self,
        stride: int = 4,
        unit: float = 64.0,
        name: str = "overlap",
        dtype: str | None = None,
    ):
        super().__init__(name=name, dtype=dtype)
        if not min(stride, unit) > 0:
            raise UserError(
                "Stride and unit of a BoxOverlap must be positive. "
                f"Received: stride={stride}, unit={unit}."
            )
        self.stride, self.unit = stride, unit
        self.total = self.add_weight(name="total", shape=(), initializer="zeros", dtype="float32")
        self.people = self.add_weight(name="people", shape=(), initializer="zeros", dtype="float32")

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        """Add a batch."""
        true = ops.cast(ops.convert_to_tensor(y_true), "float32")
        said = ops.cast(ops.convert_to_tensor(y_pred), "float32")
        shared, areas = 1.0, [1.0, 1.0]
        for size, offset in ((1, 3), (2, 4)):
            lengths = [ops.exp(maps[..., size]) * self.unit for maps in (true, said)]
            middles = [maps[..., offset] * self.stride for maps in (true, said)]
            low = ops.maximum(*(m - e / 2 for m, e in zip(middles, lengths, strict=True)))
            high = ops.minimum(*(m + e / 2 for m, e in zip(middles, lengths, strict=True)))
            shared = shared * ops.maximum(high - low, 0.0)
            areas = [area * length for area, length in zip(areas, lengths, strict=True)]
        overlap = ops.divide_no_nan(shared, areas[0] + areas[1] - shared)
        sure = ops.clip(said[..., 0], 0.0, 1.0)
        weight = true[..., 6]
        if sample_weight is not None:
            weight = weight * ops.reshape(ops.cast(sample_weight, "float32"), (-1, 1, 1))
        self.total.assign_add(ops.sum(weight * overlap * sure))
        self.people.assign_add(ops.sum(weight))

    def result(self) -> Any:
        """The mean over people, 0 to 1; 0 before anybody was counted."""
        return ops.divide_no_nan(self.total, self.people)

    def get_config(self) -> dict:
        return {**super().get_config(), "stride": self.stride, "unit": self.unit}
