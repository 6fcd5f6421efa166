"""The files that travel with a SavedModel."""

import hashlib
import json
import os
import pathlib
import string

import cv2
import keras
import numpy as np
import tensorflow as tf

import keras_hourglass
from keras_hourglass.codec import PRESENT_FROM
from keras_hourglass.errors import UserError
from keras_hourglass.export import templates
from keras_hourglass.export.pictures import PARALLEL
from keras_hourglass.export.warmup import write_warmup
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.images import encode_image


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
        `heatmap_size`, `num_stacks`, `outputs`, `decoder`, `sigma`, `flip` and `versions`.
    """
    skeleton = model.skeleton
    joints = skeleton.joints if skeleton else [f"joint_{k}" for k in range(model.num_keypoints)]
    known = model.thresholds
    return {
        "name": name,
        "preset": preset,
        "joints": list(joints),
        "skeleton": skeleton.to_dict() if skeleton else None,
        "thresholds": {joint: float(known.get(joint, PRESENT_FROM)) for joint in joints},
        "input_size": list(codec.input_size),
        "heatmap_size": list(codec.heatmap_size),
        "num_stacks": model.num_stacks,
        "outputs": list(model.output),
        "decoder": codec.decoder,
        "sigma": codec.sigma,
        "flip": bool(flip),
        "versions": {
            "keras_hourglass": keras_hourglass.__version__,
            "keras": keras.__version__,
            "tensorflow": tf.__version__,
        },
    }


def write_extra_files(folder, description, max_pixels):
    """Write `assets.extra`: warm-up requests, `signature.md` and `metadata.json`.

    Args:
        folder: the SavedModel.
        description: the result of `describe`.
        max_pixels: pixels of the largest picture that is decoded.
    """
    folder = pathlib.Path(folder)
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    write_warmup(extra, warmup_requests(description))
    text = string.Template(templates.SIGNATURE).substitute(_values(description, max_pixels))
    (extra / "signature.md").write_text(text, encoding="utf-8")
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    document = {**description, "sha256": sums}
    (extra / "metadata.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_server_files(out, description):
    """Write what a server is started with, once; later exports only add their model.

    Args:
        out: folder of all served models, `/models` in the container.
        description: the result of `describe`.
    """
    out = pathlib.Path(out)
    values = {"name": description["name"], "tensorflow": tf.__version__, "cores": os.cpu_count()}
    for name, text in (
        ("models.config", templates.MODELS),
        ("batching.config", templates.BATCHING),
        ("monitoring.config", templates.MONITORING),
        ("compose.yaml", templates.COMPOSE),
        ("kubernetes.yaml", templates.KUBERNETES),
    ):
        # They may have been edited by hand.
        if not (out / name).exists():
            atomic_write(out / name, string.Template(text).substitute(values))
    listed = (out / "models.config").read_text(encoding="utf-8")
    if f'name: "{description["name"]}"' not in listed:
        head, brace, tail = listed.rpartition("}")
        entry = string.Template(templates.MODEL).substitute(values)
        if not brace:
            raise UserError(
                f"{out / 'models.config'} is no list of models. Received: text without a closing "
                f"brace. Remove it, and it is written anew; the model itself was exported."
            )
        atomic_write(out / "models.config", f"{head}{entry}{brace}{tail}")


def warmup_requests(description):
    """Requests that run every signature, single and batched, as `warmup.write_warmup` takes them.

    Args:
        description: the result of `describe`.
    """
    name, size = description["name"], description["input_size"]
    pictures = [random_picture(0, ".jpg"), random_picture(1, ".png")]
    boxes = np.array([[10, 20, 60, 80], [0, 5, 100, 150]], np.float32)
    return [
        (name, "serving_default", {"image_bytes": pictures[:1]}),
        (name, "serving_default", {"image_bytes": pictures * 4}),
        (name, "predict_boxes", {"image_bytes": pictures, "boxes": boxes}),
        (name, "heatmaps", {"images": np.full((1, *size, 3), 127, np.float32)}),
        (name, "metadata", {"query": [b""]}),
    ]


def random_picture(seed, suffix):
    """The bytes of a picture of random blobs; its size differs from seed to seed.

    Args:
        seed: of the random numbers.
        suffix: `".png"` or `".jpg"`.
    """
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    size = (150 + 37 * seed, 211 - 23 * seed)
    return encode_image(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), suffix)


def _values(description, max_pixels):
    """What the placeholders of `signature.md` stand for."""
    averaging = "averaged with" if description["flip"] else "not averaged with"
    return {
        "name": description["name"],
        "preset": description["preset"],
        "stacks": description["num_stacks"],
        "joints": len(description["joints"]),
        "height": description["input_size"][0],
        "width": description["input_size"][1],
        "map_height": description["heatmap_size"][0],
        "map_width": description["heatmap_size"][1],
        "outputs": ", ".join(f"`{output}`" for output in description["outputs"]),
        "max_pixels": f"{max_pixels:,}",
        "parallel": PARALLEL,
        "averaging": f"Heatmaps are {averaging} those of the mirrored crop.",
    }
