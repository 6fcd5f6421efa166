"""Loss and metrics of a network with several outputs from one of each."""

import os
import time
from typing import Any

import keras

from keras_hourglass.codec import BoxCodec, HeatmapCodec
from keras_hourglass.compat import IN_KERAS_3
from keras_hourglass.losses import BoxLoss, HeatmapMSE
from keras_hourglass.metrics.heatmap import BoxOverlap, HeatmapPCK
from keras_hourglass.network.config import STRIDE

# What happens before the first step, and its seconds for each trainable variable.
_SECONDS = {"tensorflow": ("Tracing", 0.047), "jax": ("Compiling", 0.045)}
_PLAIN = 0.02  # seconds of the loop in `_speed`
# Names that stand for other metrics by the form of the targets.
_BY_TARGETS = {"accuracy", "acc", "crossentropy", "ce"}


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


def trace_once(model: Any, loss: Any, metrics: Any) -> None:
    """Have TensorFlow trace the steps of a compiled model once instead of twice.

    Whatever makes variables within a step has it traced again, and Keras makes those of losses and
    metrics there. Here they are made before, where it is known that every output has its targets.

    Args:
        model: a model with a dict of outputs, compiled just now.
        loss, metrics: what it was compiled with.
    """
    losses = list(loss.values()) if isinstance(loss, dict) else [loss]
    if not _traces(model) or isinstance(loss, (list, tuple)) or None in losses:
        return
    if isinstance(loss, dict) and set(loss) != set(model.output):
        return  # targets may be given for some outputs alone
    named = {one for one in keras.tree.flatten(metrics) if isinstance(one, str)}
    parts = [getattr(model, "_compile_loss", None)]
    if named and not named & _BY_TARGETS:
        parts.append(getattr(model, "_compile_metrics", None))
    for part in parts:
        if not getattr(part, "built", True):
            part.build(model.output, model.output)


def build_optimizer(model: Any) -> None:
    """Make an optimizer's variables before TensorFlow traces the training step.

    Made within it, each gets a condition of its own in the graph, and everything is traced twice.

    Args:
        model: a compiled model that is about to train.
    """
    optimizer = getattr(model, "optimizer", None)
    if _traces(model) and not getattr(optimizer, "built", True):
        optimizer.build(model.trainable_variables)


def say_tracing(model: Any) -> None:
    """Print what a model that was compiled does before its first step, and for how long.

    Args:
        model: a model that is about to train.
    """
    backend = keras.backend.backend() if IN_KERAS_3 else ""
    if backend not in _SECONDS or getattr(model, "train_function", None) is not None:
        return
    if getattr(model, "run_eagerly", False):
        return
    work, unit = _SECONDS[backend]
    seconds = unit * len(model.trainable_variables) * _speed()
    if seconds >= 2:
        print(f"{work} the network, about {seconds:.0f} s, once after `compile` ...", flush=True)


def _speed():
    """How many times longer plain Python takes here now than where the seconds were measured."""
    start = time.process_time()
    for number in range(200_000):
        str(number)
    seconds = time.process_time() - start
    # Others who want the processors take their share.
    busy = os.getloadavg()[0] / (os.cpu_count() or 1) if hasattr(os, "getloadavg") else 1.0
    return max(1.0, busy) * seconds / _PLAIN


def _traces(model):
    """Whether TensorFlow traces the model's steps for one device, by Keras 3."""
    tensorflow = IN_KERAS_3 and keras.backend.backend() == "tensorflow"
    return tensorflow and model.distribute_strategy.num_replicas_in_sync == 1


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
