"""What a client needs to know about a served model; it needs neither Keras nor TensorFlow."""

import importlib.metadata
import sys

import keras_hourglass
from keras_hourglass.codec import present_from
from keras_hourglass.skeletons import skeleton_of


def describe(model, name, codec, flip, preset):
    """What a client needs to know about a served model, JSON-ready.

    Args:
        model: the `StackedHourglass`, or the `Graph` of one.
        name: its name on the server.
        codec: the `HeatmapCodec` it decodes with.
        flip: whether it averages with the mirrored crop.
        preset: where its weights come from.

    Returns:
        Dict with `name`, `preset`, `joints`, `skeleton`, `thresholds`, `input_size`,
        `heatmap_size`, `num_stacks`, `outputs`, `decoder`, `sigma`, `flip` and `versions`.
    """
    # Joints have the names that a predictor gives them, also those of a model without a skeleton.
    skeleton = skeleton_of(model.num_keypoints, model.skeleton)
    thresholds = present_from(skeleton, model.thresholds)
    return {
        "name": name,
        "preset": preset,
        "joints": list(skeleton.joints),
        "skeleton": skeleton.to_dict(),
        "thresholds": dict(zip(skeleton.joints, thresholds.tolist(), strict=True)),
        "input_size": list(codec.input_size),
        "heatmap_size": list(codec.heatmap_size),
        "num_stacks": len(model.output),
        "outputs": list(model.output),
        "decoder": codec.decoder,
        "sigma": codec.sigma,
        "flip": bool(flip),
        "versions": {
            "keras_hourglass": keras_hourglass.__version__,
            "keras": _version("keras"),
            "tensorflow": _version("tensorflow"),
        },
    }


def _version(package):
    """Of what is loaded, else of what is installed."""
    loaded = getattr(sys.modules.get(package), "__version__", None)
    try:
        return loaded or importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # installed under another name
        return None
