"""Loss and metrics of a network with several outputs from one of each."""

from typing import Any

import keras

from keras_hourglass.codec import BoxCodec, HeatmapCodec
from keras_hourglass.losses import BoxLoss, HeatmapMSE
from keras_hourglass.metrics.heatmap import BoxOverlap, HeatmapPCK
from keras_hourglass.network.config import STRIDE


def loss_and_metrics(codec: HeatmapCodec | BoxCodec, scale: float = 1000.0) -> dict[str, Any]:
    """What `compile` needs for the targets of a codec.

    Args:
        codec: makes the targets, as a `PoseDataset` hands them to `fit`.
        scale: factor on the loss; errors of mostly empty maps are tiny, see `HeatmapMSE`.

    Returns:
        `{"loss": ..., "metrics": [...]}`, which a `StackedHourglass` takes for all its outputs.

    Example:

    >>> from keras_hourglass import StackedHourglass
    >>> model = StackedHourglass(num_keypoints=5, num_features=16, input_shape=(128, 64, 3))
    >>> model.compile("adam", **loss_and_metrics(HeatmapCodec((128, 64), sigma=1.0)))
    """
    if isinstance(codec, BoxCodec):
        loss = BoxLoss(codec.stride, codec.unit, scale=scale)
        return {"loss": loss, "metrics": [BoxOverlap(codec.stride, codec.unit)]}
    loss = HeatmapMSE(codec.heatmap_size, codec.sigma, scale)
    return {"loss": loss, "metrics": [HeatmapPCK(codec.heatmap_size)]}


def losses_for(strides: dict[str, int], loss: Any) -> Any:
    """A loss for every output where one was given for all, as its size of heatmaps wants it.

    Args:
        strides: output name -> input pixels per heatmap pixel.
        loss: as Keras takes it.

    Returns:
        The same, or a dict by output.
    """
    if not isinstance(loss, HeatmapMSE):
        return loss
    losses = {}
    for name, stride in strides.items():
        factor, config = stride // STRIDE, loss.get_config()
        if config["heatmap_size"] is not None:
            config["heatmap_size"] = [edge // factor for edge in config["heatmap_size"]]
        losses[name] = HeatmapMSE.from_config({**config, "reduced": loss.reduced * factor})
    return losses


def metrics_for(outputs: list[str], stacks: list[str], metrics: Any) -> Any:
    """Metrics of every output where some were given for all: each output counts for itself.

    Args:
        outputs: names of all outputs.
        stacks: names of those that are a stack's heatmaps; `HeatmapPCK` is about these.
        metrics: a metric, a list of metrics, or what else Keras takes.

    Returns:
        The same, or a dict by output.
    """
    if metrics is None or isinstance(metrics, dict):
        return metrics
    given = list(metrics) if isinstance(metrics, (list, tuple)) else [metrics]
    if any(one is None or isinstance(one, (list, tuple, dict)) for one in given):
        return metrics  # some for each output, in order

    def wanted(name):
        return [one for one in given if name in stacks or not isinstance(one, HeatmapPCK)]

    return {name: [_copy(one) for one in wanted(name)] for name in outputs}


def _copy(metric):
    if isinstance(metric, keras.metrics.Metric):
        return type(metric).from_config(metric.get_config())
    return metric
