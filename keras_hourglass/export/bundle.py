"""The files that travel with a SavedModel."""

import hashlib
import json
import pathlib

import keras
import tensorflow as tf

import keras_hourglass
from keras_hourglass.pose import PRESENT_FROM


def describe(model, name, codec, flip, preset):
    """What a client needs to know about a served model, JSON-ready.

    Args:
        model: the `StackedHourglass`.
        name: its name on the server.
        codec: the `HeatmapCodec` it decodes with.
        flip: whether it averages with the mirrored crop.
        preset: where its weights come from.

    Returns:
        Dict with `name`, `preset`, `joints`, `skeleton`, `thresholds`, `input_size`,
        `heatmap_size`, `num_stacks`, `decoder`, `sigma`, `flip` and `versions`.
    """
    skeleton = model.skeleton
    joints = skeleton.joints if skeleton else [f"joint_{k}" for k in range(model.num_keypoints)]
    known = getattr(model, "metadata", {}).get("thresholds") or {}
    return {
        "name": name,
        "preset": preset,
        "joints": list(joints),
        "skeleton": skeleton.to_dict() if skeleton else None,
        "thresholds": {joint: float(known.get(joint, PRESENT_FROM)) for joint in joints},
        "input_size": list(codec.input_size),
        "heatmap_size": list(codec.heatmap_size),
        "num_stacks": model.num_stacks,
        "decoder": codec.decoder,
        "sigma": codec.sigma,
        "flip": bool(flip),
        "versions": {
            "keras_hourglass": keras_hourglass.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def write_extra_files(folder, description):
    """Write `assets.extra/metadata.json`: the description and the sha256 of every file.

    Args:
        folder: the SavedModel.
        description: the result of `describe`.
    """
    folder = pathlib.Path(folder)
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    document = {**description, "sha256": sums}
    (extra / "metadata.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
