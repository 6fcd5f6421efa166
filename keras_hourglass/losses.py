"""The mean squared error on heatmaps, with targets drawn where the loss is computed."""

from typing import Any

import keras

from keras_hourglass.compat import ops
from keras_hourglass.errors import UserError, refuse_unknown
from keras_hourglass.typing import Size

_OF_LOSSES = ("name", "reduction", "dtype")


def draw_heatmaps(targets: Any, heatmap_size: Size, sigma: float) -> Any:
    """Gaussian heatmaps from compact targets, on the device, in any Keras backend.

    Args:
        targets: `(N, K, 4)` x, y in heatmap pixels, amplitude and weight, as
            `HeatmapCodec.targets` makes them.
        heatmap_size: `(height, width)` in heatmap pixels.
        sigma: standard deviation of the Gaussians in heatmap pixels.

    Returns:
        `(N, height, width, K)` float32 maps, equal to `HeatmapCodec.encode`'s.

    Example:

    >>> maps = draw_heatmaps([[[2.0, 1.0, 1.0, 1.0]]], heatmap_size=(3, 5), sigma=1.0)
    >>> tuple(maps.shape), float(maps[0, 1, 2, 0])
    ((1, 3, 5, 1), 1.0)
    """
    targets = ops.cast(targets, "float32")
    height, width = heatmap_size
    factor = -1.0 / (2.0 * sigma**2)

    def along(size, centres):
        positions = ops.reshape(ops.arange(size, dtype="float32"), (1, size, 1))
        return ops.exp(ops.square(positions - centres[:, None, :]) * factor)

    along_x = along(width, targets[..., 0])
    along_y = along(height, targets[..., 1]) * targets[:, None, :, 2]
    return along_y[:, :, None, :] * along_x[:, None, :, :]


@keras.saving.register_keras_serializable(package="keras_hourglass")
class HeatmapMSE(keras.losses.Loss):
    """Mean squared error between heatmaps and Gaussians drawn from compact targets.

    Equal to `keras.losses.MeanSquaredError` on ready heatmaps where all weights are 1, but only
    `(N, K, 4)` numbers travel to the device.

    Args:
        heatmap_size: `(height, width)` in heatmap pixels; that of the heatmaps by default.
        sigma: standard deviation of the Gaussians in heatmap pixels.
        scale: factor on the loss. Errors of mostly empty maps are tiny; optimizers that are not
            invariant to the scale of gradients may want more than 1.
        reduced: how many times smaller these maps are than those the targets are meant for; 2
            and 4 for the supervision inside an hourglass. The Gaussians are `sigma` pixels of the
            smaller maps wide.
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Call arguments:
        y_true: `(N, K, 4)`: x, y in heatmap pixels, amplitude, weight.
        y_pred: `(N, height, width, K)` heatmaps.

    Raises:
        UserError: if `sigma`, `scale` or `reduced` is not positive.

    Example:

    >>> import numpy as np
    >>> loss = HeatmapMSE((4, 8), sigma=1.0)
    >>> target = [[[5.0, 2.0, 1.0, 1.0]]]  # a Gaussian at x = 5, y = 2
    >>> float(loss(target, draw_heatmaps(target, (4, 8), 1.0)))
    0.0

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.4.
    """

    def __init__(
        self,
        heatmap_size: Size | None = None,
        sigma: float = 1.5,
        scale: float = 1.0,
        reduced: int = 1,
        name: str = "heatmap_mse",
        **kwargs,
    ):
        own = ("heatmap_size", "sigma", "scale", "reduced")
        refuse_unknown("HeatmapMSE", kwargs, (*own, *_OF_LOSSES))
        super().__init__(name=name, **kwargs)
        if not sigma > 0 or not scale > 0 or not reduced > 0:
            raise UserError(
                "`sigma`, `scale` and `reduced` must be positive. "
                f"Received: sigma={sigma}, scale={scale}, reduced={reduced}."
            )
        self.heatmap_size = None if heatmap_size is None else tuple(heatmap_size)
        self.sigma, self.scale = sigma, scale
        self.reduced = reduced

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "float32")
        weight = y_true[:, None, None, :, 3]
        if self.reduced != 1:
            # Frames are aligned at their outer edges, not at the centres of their first pixels.
            position = (y_true[..., :2] + 0.5) / self.reduced - 0.5
            y_true = ops.concatenate([position, y_true[..., 2:]], axis=-1)
        size = self.heatmap_size or tuple(y_pred.shape[1:3])
        target = draw_heatmaps(y_true, size, self.sigma)
        error = ops.square(ops.cast(y_pred, "float32") - target) * weight
        return self.scale * ops.mean(error, axis=(1, 2, 3))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "heatmap_size": self.heatmap_size and list(self.heatmap_size),
            "sigma": self.sigma,
            "scale": self.scale,
            "reduced": self.reduced,
        }


@keras.saving.register_keras_serializable(package="keras_hourglass")
class BoxLoss(keras.losses.Loss):
    """The error of a map of centres and of the sizes beside it, with `BoxCodec.encode`'s weights.

    The centre map learns by a weighted squared error, as heatmaps do. Sizes learn by the absolute
    error of their logarithms, and middles by that of the offset as twice its share of the box: to
    first order both are what the intersection over union loses.

    Args:
        stride: input pixels per pixel of the maps.
        unit: size in input pixels whose logarithm is 0, see `BoxCodec`.
        centre, size: factors on the two parts.
        scale: factor on the loss, for optimizers that are not invariant to it.
        **kwargs: `name`, `reduction` and `dtype` of `keras.losses.Loss`.

    Call arguments:
        y_true: `(N, h, w, 7)` as `BoxCodec.encode` makes them.
        y_pred: `(N, h, w, 5)` maps, see `codec.BOX_MAPS`.

    Raises:
        UserError: if an argument is not positive.

    Example:

    >>> import numpy as np
    >>> from keras_hourglass.codec import BoxCodec
    >>> maps = BoxCodec((32, 48)).encode([[8, 4, 20, 24]])[None]
    >>> float(BoxLoss()(maps, maps[..., :5]))
    0.0
    """

    def __init__(
        self,
        stride: int = 4,
        unit: float = 64.0,
        centre: float = 0.1,
        size: float = 0.7,
        scale: float = 1.0,
        name: str = "box_loss",
        **kwargs,
    ):
        own = ("stride", "unit", "centre", "size", "scale")
        refuse_unknown("BoxLoss", kwargs, (*own, *_OF_LOSSES))
        super().__init__(name=name, **kwargs)
        if not min(stride, unit, centre, size, scale) > 0:
            raise UserError(
                "The stride, unit and factors of a BoxLoss must be positive. Received: "
                f"stride={stride}, unit={unit}, centre={centre}, size={size}, scale={scale}."
            )
        self.stride, self.unit = stride, unit
        self.centre, self.size, self.scale = centre, size, scale

    def call(self, y_true, y_pred):
        y_true, y_pred = ops.cast(y_true, "float32"), ops.cast(y_pred, "float32")
        centre = ops.sum(y_true[..., 5] * ops.square(y_pred[..., 0] - y_true[..., 0]), axis=(1, 2))
        error = ops.abs(y_pred[..., 1:5] - y_true[..., 1:5])
        # Heatmap pixels per width and height of the box.
        shares = ops.exp(-y_true[..., 1:3]) * (self.stride / self.unit)
        sizes = ops.sum(error[..., :2] + 2 * error[..., 2:] * shares, axis=-1)
        sizes = ops.sum(y_true[..., 6] * sizes, axis=(1, 2))
        return self.scale * (self.centre * centre + self.size * sizes)

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "stride": self.stride,
            "unit": self.unit,
            "centre": self.centre,
            "size": self.size,
            "scale": self.scale,
        }
