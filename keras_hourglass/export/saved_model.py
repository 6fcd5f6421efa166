"""Writing a SavedModel as the next version of a served model, all at once."""

import os
import pathlib
import re
import shutil
from typing import Any

import numpy as np

from keras_hourglass import geometry
from keras_hourglass.codec import codec_of
from keras_hourglass.errors import UserError, checks_arguments
from keras_hourglass.inference import HeatmapRunner
from keras_hourglass.io import images
from keras_hourglass.io.files import clear_leftovers, hidden_mark
from keras_hourglass.network.config import stack_name
from keras_hourglass.skeletons import skeleton_of
from keras_hourglass.typing import Path


@checks_arguments
def export_model(
    model: Any,
    out: Path,
    name: str | None = None,
    flip: bool = True,
    decoder: str | None = None,
    max_pixels: int | None = None,
    preset: str | None = None,
) -> pathlib.Path:
    """Write `out/name/version/`, a SavedModel that turns pictures into joints by itself.

    The folder appears under its number only when it is complete and its joints were compared
    with those of the Keras model, so a server that polls `out/name` never loads half of it.

    Signatures: `serving_default` (`image_bytes` (N,) → `keypoints` (N, K, 2) in source pixels,
    `scores` (N, K), `present` (N, K), `valid` (N,)), `predict_boxes` (also takes `boxes` (N, 4)
    `x, y, w, h` in source pixels), `heatmaps` (`images` (N, height, width, 3) → every stack)
    and `metadata` (any `query` strings → a JSON document each).

    Args:
        model: the `StackedHourglass`.
        out: folder of all served models.
        name: the model's name on the server; the Keras model's name by default.
        flip: average with the heatmaps of the mirrored crop; not done where the joints' sides are
            not known (`Skeleton.mirrors`).
        decoder: of the `HeatmapCodec`: `"quarter"`, `"max"` or `"dark"`; by default as the model's
            `preprocessing` says, or `"quarter"`.
        max_pixels: pictures whose header announces more are refused before decoding;
            50 million by default.
        preset: name of the weights' origin for the metadata.

    Returns:
        The version's folder as `pathlib.Path`.

    Raises:
        UserError: if the model cannot be exported, the name cannot be served, or the exported
            joints differ from the model's own.

    Example:

    >>> export_model(model, "served", name="pose")  # doctest: +SKIP
    PosixPath('served/pose/1')
    """
    import tensorflow as tf

    from keras_hourglass.export import bundle
    from keras_hourglass.export.description import describe
    from keras_hourglass.export.in_graph import ServedModel

    name = check_name(name or model.name)
    max_pixels = max_pixels or images.MAX_PIXELS
    codec = codec_of(model, stack_name(model.output), decoder)
    skeleton = skeleton_of(model.num_keypoints, model.skeleton, mirrored=flip)
    flip = bool(flip) and skeleton.mirrors
    flip_order = skeleton.flip_order if flip else None
    description = describe(model, name, codec, flip, preset or name)
    served = ServedModel(
        model,
        codec,
        flip_order,
        [description["thresholds"][joint] for joint in description["joints"]],
        description,
        max_pixels,
    )
    versions = pathlib.Path(out) / name
    versions.mkdir(parents=True, exist_ok=True)
    # Servers look at numbers only.
    clear_leftovers(versions)
    temporary = versions / f".writing-{hidden_mark()}"
    try:
        tf.saved_model.save(served, str(temporary), signatures=served.signatures())
        verify(temporary, model, codec, flip_order)
        bundle.write_extra_files(temporary, description, max_pixels)
        folder = publish_version(temporary, versions)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    bundle.write_server_files(out, description)
    return folder


def check_name(name):
    """A name that can stand in paths and URLs.

    Raises:
        UserError: if it cannot.
    """
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise UserError(
            "A served model's name consists of letters, digits, dots, dashes and underscores. "
            f"Received: {name!r}. Give another with --name."
        )
    return name


def publish_version(temporary, versions):
    """Rename to the next free number; the loop is for another export at the same moment."""
    _sync(temporary)
    for _ in range(1000):
        numbers = [int(path.name) for path in versions.iterdir() if path.name.isdecimal()]
        target = versions / str(max(numbers, default=0) + 1)
        try:
            os.rename(temporary, target)
            return target
        except OSError:
            if not target.exists():
                raise
    raise UserError(f"No free version number was found. Received: {versions}. Use a new folder.")


def _sync(folder):
    """Flush every file to disk, so that a crash leaves no empty file behind the rename."""
    for path in folder.rglob("*"):
        if path.is_file():
            with open(path, "rb+") as file:
                os.fsync(file.fileno())


def verify(folder, model, codec, flip_order=None, pictures=3):
    """Load a SavedModel and compare its heatmaps and joints with the model's own.

    Args:
        folder: the SavedModel.
        model: the `StackedHourglass` it was made from.
        codec: the `HeatmapCodec` it decodes with.
        flip_order: the mirror permutation it averages mirrored heatmaps with, or `None` for none.
        pictures: how many random pictures of different sizes to try.

    Returns:
        Dict of the largest differences: `heatmaps`, as part of the highest absolute value, and
        `keypoints` in input pixels.

    Raises:
        UserError: if they differ by more than rounding.
    """
    import tensorflow as tf

    from keras_hourglass.export.bundle import random_picture

    loaded = tf.saved_model.load(str(folder))
    encoded = [random_picture(seed, ".png") for seed in range(pictures)]
    crops, affines = zip(*[_crop(data, codec.input_size) for data in encoded], strict=True)
    crops, affines = np.stack(crops), np.stack(affines)
    runner = HeatmapRunner(model, list(model.output), flip_order)
    expected = runner(crops, mirrored=False)
    actual = loaded.signatures["heatmaps"](images=tf.constant(crops, tf.float32))
    difference = max(
        float(np.abs(expected[key] - actual[key].numpy()).max()) for key in expected
    ) / max(1e-6, *(float(np.abs(maps).max()) for maps in expected.values()))
    half = any("16" in str(layer.compute_dtype) for layer in model.layers)
    tolerance = 0.05 if half else 1e-3
    if not difference <= tolerance:
        _refuse(f"heatmaps differ by {difference:.2g} of their highest value")

    last = stack_name(model.output)
    maps = runner(crops)[last]
    # The graph's crops may differ from OpenCV's by one grey level: so far may that move a map.
    step = np.random.default_rng(0).integers(-1, 2, crops.shape)
    near = np.clip(crops.astype(int) + step, 0, 255).astype(np.uint8)
    moved = np.abs(runner(near, mirrored=False)[last] - expected[last]).max()
    served = loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))
    points = geometry.apply_affine(affines, served["keypoints"].numpy())
    distance = distance_of_joints(codec, maps, points, max(tolerance * np.abs(maps).max(), moved))
    if not distance <= 0.5 or not served["valid"].numpy().all():
        _refuse(f"joints differ by {distance:.2g} input pixels")
    return {"heatmaps": difference, "keypoints": distance}


def _refuse(what):
    raise UserError(
        f"The exported model does not agree with the Keras model. Received: {what}. "
        "Nothing was published; please report this model's config."
    )


def distance_of_joints(codec, maps, points, tolerance):
    """Largest distance to the decoded joints, leaving out maxima with a rival as high.

    Args:
        codec: the `HeatmapCodec`.
        maps: `(N, h, w, K)` heatmaps.
        points: `(N, K, 2)` joints in input pixels.
        tolerance: by how much heights of maps may differ.

    Returns:
        Input pixels.
    """
    decoded, scores = codec.decode(maps)
    distance = np.linalg.norm(points - decoded, axis=-1)
    place = geometry.input_to_heatmap(points, codec.stride).round().astype(int)
    height, width = codec.heatmap_size
    x, y = np.clip(place[..., 0], 0, width - 1), np.clip(place[..., 1], 0, height - 1)
    people, joints = np.ogrid[: maps.shape[0], : maps.shape[3]]
    rival = (distance > 0.5) & (maps[people, y, x, joints] >= scores - 2 * tolerance)
    return float(np.where(rival, 0, distance).max())


def _crop(data, size):
    image = images.read_image(data)
    box = geometry.boxes_from_xywh((0, 0, image.shape[1], image.shape[0]))
    affine = geometry.crop_affine(box, size)
    return images.warp(image, affine, size), affine
