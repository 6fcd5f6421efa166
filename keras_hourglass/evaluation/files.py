"""Our own files of predictions, and thresholds kept in a preset."""

import json
import pathlib
import zipfile
import zlib

import numpy as np

from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.evaluation.predictions import Predictions
from keras_hourglass.geometry import boxes_to_xywh
from keras_hourglass.io.files import atomic_path, atomic_write
from keras_hourglass.io.structured import existing
from keras_hourglass.skeletons import get_skeleton
from keras_hourglass.typing import Path

ARRAYS = "predictions.npz"
_COLUMNS = ("boxes", "joints", "visibility", "reference")


def predictions_to_dict(predictions: Predictions, stack: int = -1) -> dict:
    """One stack's predictions as a JSON-ready dict, as `evaluate` writes and `score` reads them.

    Args:
        predictions: `Predictions`.
        stack: index of the stack.

    Returns:
        `{"keypoint_names", "skeleton", "stack", "people": [{"id", "image", "box", "keypoints"}]}`
        with boxes `x, y, w, h` and keypoints `[x, y, score]` in source pixels.

    Example:

    >>> predictions_to_dict(predictions)["people"][0]["id"]  # doctest: +SKIP
    'lsp/801'
    """
    records = predictions.records
    rows = np.concatenate(
        [predictions.keypoints[stack], predictions.scores[stack][..., None]], axis=-1
    )
    people = [
        {
            "id": key,
            "image": image,
            "box": _round(box),
            "keypoints": [_round(row) for row in joints],
        }
        for key, image, box, joints in zip(
            records.ids, records.images, boxes_to_xywh(records.boxes), rows, strict=True
        )
    ]
    return {
        "keypoint_names": list(records.skeleton.joints),
        "skeleton": records.skeleton.to_dict(),
        "stack": predictions.stacks[stack],
        **predictions.settings,
        "people": people,
    }


def _round(values):
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]


def save_predictions(predictions: Predictions, path: Path) -> None:
    """Write every stack's predictions with their annotations, for the analyses.

    Args:
        predictions: `Predictions`.
        path: the `.npz` file.

    Example:

    >>> save_predictions(predictions, "runs/lsp/predictions.npz")  # doctest: +SKIP
    """
    records = predictions.records
    columns = {name: getattr(records, name) for name in _COLUMNS}
    if records.areas is not None:
        columns["areas"] = records.areas
    facts = {
        "skeleton": records.skeleton.to_dict(),
        "stacks": list(predictions.stacks),
        "failures": predictions.failures,
        "milliseconds": predictions.milliseconds,
        "settings": predictions.settings,
    }
    with atomic_path(path) as temporary:
        np.savez_compressed(
            temporary,
            keypoints=predictions.keypoints,
            scores=predictions.scores,
            heatmap_means=predictions.heatmap_means,
            images=records.images.astype(str),
            ids=records.ids.astype(str),
            facts=json.dumps(facts),
            **columns,
        )


def load_predictions(path: Path) -> Predictions:
    """Read what `save_predictions` wrote.

    Args:
        path: the file, or the folder that `evaluate` wrote it to.

    Returns:
        `Predictions`.

    Raises:
        DataError: if the file is missing or of another form.

    Example:

    >>> load_predictions("runs/lsp").keypoints.shape  # doctest: +SKIP
    (2, 200, 14, 2)
    """
    path = pathlib.Path(path)
    path = path / ARRAYS if path.is_dir() else path
    existing(path, "evaluation")
    try:
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            content = {name: file[name] for name in file.files}
        facts = json.loads(str(content["facts"]))
        records = PoseRecords(
            get_skeleton(facts["skeleton"]),
            images=content["images"],
            ids=content["ids"],
            areas=content.get("areas"),
            **{name: content[name] for name in _COLUMNS},
        )
        return Predictions(
            records,
            tuple(facts["stacks"]),
            content["keypoints"],
            content["scores"],
            content["heatmap_means"],
            failures=facts["failures"],
            milliseconds=facts["milliseconds"],
            settings=facts["settings"],
        )
    except (
        OSError, ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile, zlib.error,
    ) as error:  # fmt: skip
        raise DataError(
            f"An evaluation's {ARRAYS} is needed. Received: {path} ({error}). "
            "Name the folder that `keras-hourglass evaluate` wrote."
        ) from error


def save_thresholds(folder: Path, thresholds: dict[str, float]) -> None:
    """Keep the least score of a present joint in a preset, for `Pose.present`.

    Args:
        folder: a preset folder; only its config changes.
        thresholds: joint name -> least score. Joints that are not named keep what they had.

    Raises:
        UserError: if the folder holds no preset, or the preset has no such joint.

    Example:

    >>> save_thresholds("my_preset", {"left_ankle": 0.25})  # doctest: +SKIP
    """
    from keras_hourglass.zoo.store import CONFIG, joints_of, read_config

    path = pathlib.Path(folder) / CONFIG
    names = joints_of(read_config(path)[0]) or tuple(thresholds)
    unknown = sorted(set(thresholds) - set(names))
    if unknown:
        raise UserError(
            f"Thresholds are of the preset's own joints. Received: {', '.join(unknown)} for "
            f"{folder}, which has {', '.join(names)}."
        )
    config = json.loads(path.read_text(encoding="utf-8"))
    config["thresholds"] = {**config.get("thresholds", {}), **thresholds}
    atomic_write(path, json.dumps(config, indent=1, ensure_ascii=False) + "\n")
