"""The mean squared error on heatmaps, with targets drawn where the loss is computed."""

from typing import Any

import keras

from keras_hourglass.compat import ops
from keras_hourglass.errors import UserError
from keras_hourglass.typing import Size


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
        heatmap_size: `(height, width)` in heatmap pixels.
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
        heatmap_size: Size,
        sigma: float = 1.5,
        scale: float = 1.0,
        reduced: int = 1,
        name: str = "heatmap_mse",
        **kwargs,
    ):
        super().__init__(name=name, **kwargs)
        if not sigma > 0 or not scale > 0 or not reduced > 0:
            raise UserError(
                "`sigma`, `scale` and `reduced` must be positive. "
                f"Received: sigma={sigma}, scale={scale}, reduced={reduced}."
            )
        self.heatmap_size, self.sigma, self.scale = tuple(heatmap_size), sigma, scale
        self.reduced = reduced

    def call(self, y_true, y_pred):
        y_true = ops.cast(y_true, "float32")
        weight = y_true[:, None, None, :, 3]
        if self.reduced != 1:
            # Frames are aligned at their outer edges, not at the centres of their first pixels.
            position = (y_true[..., :2] + 0.5) / self.reduced - 0.5
            y_true = ops.concatenate([position, y_true[..., 2:]], axis=-1)
        target = draw_heatmaps(y_true, self.heatmap_size, self.sigma)
        error = ops.square(ops.cast(y_pred, "float32") - target) * weight
        return self.scale * ops.mean(error, axis=(1, 2, 3))

    def get_config(self) -> dict:
        return {
            **super().get_config(),
            "heatmap_size": list(self.heatmap_size),
            "sigma": self.sigma,
            "scale": self.scale,
            "reduced": self.reduced,
        }
