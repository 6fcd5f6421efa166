"""Writing a SavedModel as the next version of a served model, all at once."""

import os
import pathlib
import secrets
import shutil
from typing import Any

from keras_hourglass.errors import UserError
from keras_hourglass.export.names import check_name
from keras_hourglass.inference.traits import own_codec
from keras_hourglass.typing import Path


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
        flip: average with the heatmaps of the mirrored crop.
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

    from keras_hourglass.export import bundle, verify
    from keras_hourglass.export.pictures import MAX_PIXELS
    from keras_hourglass.export.signatures import ServedModel

    name = check_name(name or model.name)
    max_pixels = max_pixels or MAX_PIXELS
    codec = own_codec(model, decoder)
    description = bundle.describe(model, name, codec, flip, preset or name)
    served = ServedModel(
        model,
        codec,
        _flip_order(model) if flip else None,
        [description["thresholds"][joint] for joint in description["joints"]],
        description,
        max_pixels,
    )
    versions = pathlib.Path(out) / name
    versions.mkdir(parents=True, exist_ok=True)
    # Servers look at numbers only.
    temporary = versions / f".writing-{secrets.token_hex(4)}"
    try:
        tf.saved_model.save(served, str(temporary), signatures=served.signatures())
        verify.verify(temporary, model, codec, flip)
        bundle.write_extra_files(temporary, description, max_pixels)
        folder = _publish(temporary, versions)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    bundle.write_server_files(out, description)
    return folder


def _flip_order(model):
    if model.skeleton is None:
        raise UserError(
            "Mirror averaging needs a skeleton, which says which joints change sides. Received: "
            "a model without one. Export with --no-flip, or build the model with skeleton=…."
        )
    return model.skeleton.flip_order


def _publish(temporary, versions):
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
