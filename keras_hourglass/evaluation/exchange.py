"""Predictions in files: our own, those of other programs, and the forms that benchmarks ask for."""

import json
import os
import pathlib
from typing import Any

import numpy as np

from keras_hourglass.data.annotations import (
    field,
    structs,
    text,
)
from keras_hourglass.data.mpii import adjust
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.evaluation.predictions import Predictions
from keras_hourglass.geometry import boxes_to_xywh
from keras_hourglass.io.arrays import read_hdf5, read_mat, read_npy, read_npz
from keras_hourglass.io.files import atomic_path
from keras_hourglass.io.structured import existing, one_line, parse_json, read_json, reads, shorten
from keras_hourglass.skeletons import MPII, get_skeleton
from keras_hourglass.typing import Array, Path

ARRAYS = "predictions.npz"
_LARGEST = 1e9  # coordinate or score; what is squared or rounded overflows far beyond
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


@reads("evaluation", "Name the folder that `keras-hourglass evaluate` wrote")
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
    content: dict[str, Any] = read_npz(path, what="evaluation")
    facts = parse_json(str(content["facts"]), path, "evaluation")
    records = PoseRecords(
        get_skeleton(facts["skeleton"]),
        images=content["images"],
        ids=content["ids"],
        areas=content.get("areas"),
        **{name: content[name] for name in _COLUMNS},
    )
    predictions = Predictions(
        records,
        tuple(str(name) for name in facts["stacks"]),
        content["keypoints"],
        content["scores"],
        content["heatmap_means"],
        failures={str(name): str(reason) for name, reason in facts["failures"].items()},
        milliseconds=facts["milliseconds"],
        settings=dict(facts["settings"]),
    )
    people = len(predictions.stacks), len(records), records.skeleton.num_joints
    for name, shape in (("keypoints", (*people, 2)), ("scores", people), ("heatmap_means", people)):
        found = getattr(predictions, name)
        if found.shape != shape or found.dtype.kind != "f":
            raise DataError(
                f"{name} of an evaluation needs shape {shape}. Received: {found.shape} in {path}. "
                "Name the folder that `keras-hourglass evaluate` wrote."
            )
    return predictions


@reads("predictions file", "Write it again")
def read_keypoints(
    path: Path, records: PoseRecords, first_pixel: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Predictions of any program for annotated people.

    Args:
        path: `.json` as `evaluate` writes it, or `.h5`, `.mat` or `.npy` with an array `preds`
            (or only one array) of shape `(N, K, 2)` in the order of the annotations, in their
            pixels. The axes of MATLAB's `(2, K, N)` are put in order; a third number per joint
            is its score.
        records: `PoseRecords` of the N people.
        first_pixel: coordinate of the centre of the first pixel in an array's file: 0 or, as in
            most files born in MATLAB, 1. Ours count from 0.

    Returns:
        `(N, K, 2)` float64 keypoints in source pixels, `(N, K)` float64 scores (NaN if none).

    Raises:
        DataError: if the file cannot be read or holds another number of people or joints.

    Example:

    >>> keypoints, scores = read_keypoints("preds.mat", records, first_pixel=1)  # doctest: +SKIP
    """
    path = os.fspath(path)
    suffix = pathlib.Path(path).suffix.lower()
    if suffix == ".json":
        values, first_pixel = _from_json(path, records), 0
    elif suffix in _READERS:
        values = _in_order(_READERS[suffix](existing(path, "predictions file")), records, path)
    else:
        raise DataError(
            f"Predictions are read from .json, {', '.join(_READERS)}. Received: {path}. "
            "Save an array 'preds' of shape (people, joints, 2) in one of them."
        )
    scores = values[..., 2] if values.shape[-1] == 3 else np.full(values.shape[:2], np.nan)
    # Places that are not finite are those of joints that were not found; a score is a number.
    with np.errstate(invalid="ignore"):
        beyond = np.abs(values) > _LARGEST
    beyond[..., :2] &= np.isfinite(values[..., :2])
    if beyond.any():
        raise DataError(
            f"Coordinates and scores of predictions are at most {_LARGEST:g}, which no picture "
            f"reaches. Received: {values[beyond][0]:g} in {path}. Write it again."
        )
    return values[..., :2] - first_pixel, scores


def _from_json(path, records):
    content = read_json(path)
    try:
        names, people = [str(name) for name in content["keypoint_names"]], content["people"]
        values = np.array(
            [[[np.nan if v is None else v for v in row] for row in person["keypoints"]]
             for person in people],
            dtype=np.float64,
        )  # fmt: skip
        keys = [str(person["id"]) for person in people if "id" in person]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"Predictions in JSON have 'keypoint_names' and 'people' with 'keypoints' of equal "
            f"length. Received: {path} ({type(error).__name__}: {one_line(error, 80)}). "
            "Write them as `keras-hourglass evaluate` does."
        ) from error
    lacking = [name for name in records.skeleton.joints if name not in names]
    if lacking or values.ndim != 3 or values.shape[1] != len(names):
        raise DataError(
            f"Predictions need every joint of the annotations. Received: {path} with "
            f"{shorten(', '.join(names))}; missing: "
            f"{shorten(', '.join(lacking)) or 'their coordinates'}."
        )
    values = values[:, [names.index(name) for name in records.skeleton.joints]]
    if len(keys) == len(people) and len(set(keys)) == len(keys):
        # Identified people may come in any order, and there may be more than are asked for.
        rows = {key: row for row, key in enumerate(keys)}
        missing = [key for key in records.ids if key not in rows]
        if missing and set(rows) & set(records.ids):
            raise DataError(
                f"{path} lacks {len(missing)} of the {len(records)} annotated people, the first "
                f"is {missing[0]}. Predict them, or score only the others."
            )
        if not missing:
            return values[[rows[key] for key in records.ids]]
    return _in_order(values, records, path)


def _in_order(values, records, path):
    """`(N, K, 2 or 3)` from the axis orders in use."""
    count, joints = records.joints.shape[:2]
    values = np.asarray(values)
    if values.dtype.kind not in "fiu":
        raise DataError(f"Predictions must be real numbers. Received: {path}, {values.dtype}.")
    for axes in ((0, 1, 2), (2, 1, 0), (2, 0, 1), (1, 2, 0)):
        if values.ndim == 3:
            ordered = values.transpose(axes)
            if ordered.shape[:2] == (count, joints) and ordered.shape[2] in (2, 3):
                with np.errstate(over="ignore"):  # of numbers of 128 bits
                    return ordered.astype(np.float64)
    raise DataError(
        f"The annotations have {count} people with {joints} joints, so predictions need shape "
        f"({count}, {joints}, 2). Received: {values.shape} in {path}. "
        "Predict every annotated person, in the order of the annotations."
    )


def _from_mat(path):
    with open(path, "rb") as file:
        # MATLAB 7.3 writes HDF5, after a header of its own.
        if b"MATLAB 7.3" in file.read(128):
            return _one_array(read_hdf5(path), path)
    return _one_array(
        {name: value for name, value in read_mat(path).items() if not name.startswith("__")}, path
    )


def _one_array(arrays, path):
    if "preds" in arrays:
        return np.asarray(arrays["preds"])
    candidates = {name: value for name, value in arrays.items() if np.ndim(value) == 3}
    if len(candidates) != 1:
        raise DataError(
            f"{path} needs an array 'preds' of shape (people, joints, 2). "
            f"Received: {shorten(', '.join(sorted(arrays))) or 'no array'}. Rename the predictions."
        )
    return np.asarray(next(iter(candidates.values())))


_READERS = {
    ".h5": lambda path: _one_array(read_hdf5(path), path),
    ".hdf5": lambda path: _one_array(read_hdf5(path), path),
    ".mat": _from_mat,
    ".npy": read_npy,
}


@reads("annotation file")
def mpii_test_records(path: Path, images: Path | None = None) -> PoseRecords:
    """The people of MPII's test set whose joints the benchmark wants, with nothing annotated.

    They are the sufficiently separated people (`single_person`) of the pictures with
    `img_train` 0, in the order of the official file.

    Args:
        path: `mpii_human_pose_v1_u12_1.mat`.
        images: folder of the pictures; found beside the file by default.

    Returns:
        `PoseRecords` with visibility 0; `extra` holds `picture` (position among the test
        pictures, from 0) and `rectangle` (position of the person in the picture, from 0).

    Raises:
        DataError: if it is not that file or has no such people.
    """
    pictures = _test_pictures(path)
    rows = []
    for number, (name, people, wanted) in enumerate(pictures):
        for rectangle in wanted:
            place = structs(field(people[rectangle], "objpos"))
            centre = [_number(field(place[0], axis)) for axis in "xy"] if place else [np.nan] * 2
            scale = _number(field(people[rectangle], "scale"))
            if np.isfinite([*centre, scale]).all() and scale > 0:
                rows.append((name, centre, scale, number, rectangle))
    if not rows:
        raise DataError(
            f"{path} lists no single people in test pictures. Is it MPII's official file?"
        )
    names, centre, scale, picture, rectangle = zip(*rows, strict=True)
    centre, scale = adjust(np.array(centre), np.array(scale))
    count = len(rows)
    return PoseRecords(
        MPII,
        images=PicturePaths(path, images, names).find_all(names),
        boxes=np.concatenate([centre - 1, 200 * scale[:, None]], axis=1),
        joints=np.zeros((count, MPII.num_joints, 2)),
        visibility=np.zeros((count, MPII.num_joints)),
        reference=np.full(count, np.nan),
        ids=[f"mpii/{name}/{place}" for name, place in zip(names, rectangle, strict=True)],
        extra={"picture": np.array(picture), "rectangle": np.array(rectangle)},
    )


def _test_pictures(path):
    """Name, rectangles and wanted rectangles (from 0) of each test picture."""
    content = read_mat(path, struct_as_record=False, squeeze_me=True)
    if "RELEASE" not in content:
        raise DataError(f"{path} has no variable 'RELEASE'. Is it MPII's official file?")
    release = content["RELEASE"]
    pictures = structs(field(release, "annolist"))
    training = np.atleast_1d(field(release, "img_train", ()))
    single = field(release, "single_person", ())
    # One picture alone loses its cell when MATLAB's singleton axes are squeezed.
    single = [single] if len(pictures) == 1 else list(single)
    if not len(pictures) == len(training) == len(single):
        raise DataError(
            f"{path} needs one 'img_train' and one 'single_person' for each of {len(pictures)} "
            f"pictures. Received: {len(training)} and {len(single)}."
        )
    rows = []
    for picture, used, numbers in zip(pictures, training, single, strict=True):
        if used:
            continue
        image = structs(field(picture, "image"))
        people = structs(field(picture, "annorect"))
        wanted = [int(number) - 1 for number in np.atleast_1d(numbers).ravel()]
        wanted = [number for number in wanted if 0 <= number < len(people)]
        rows.append((text(field(image[0], "name", ""), path) if image else "", people, wanted))
    return rows


def _number(value):
    try:
        values = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return np.nan
    return float(values[0]) if len(values) == 1 else np.nan


def write_mpii(path: Path, official: Path, keypoints: Array, records: PoseRecords) -> None:
    """Write the structure `pred` that MPII's evaluation wants.

    It has an entry for every test picture, in order, with the annotated rectangles; those that
    were predicted have `annopoints.point` with `x`, `y` (MATLAB pixels, from 1) and `id`.

    Args:
        path: the `.mat` file to write.
        official: the official annotation file.
        keypoints: `(N, 16, 2)` in source pixels.
        records: `PoseRecords` of `mpii_test_records`, or some of them.

    Raises:
        UserError: if the predictions do not fit the records or are not finite.
    """
    import scipy.io

    keypoints = np.asarray(keypoints, np.float64)
    if keypoints.shape != (len(records), MPII.num_joints, 2) or not np.isfinite(keypoints).all():
        raise UserError(
            f"MPII wants finite positions of 16 joints of {len(records)} people. Received: "
            f"{keypoints.shape}, finite: {bool(np.isfinite(keypoints).all())}."
        )
    places = zip(records.extra["picture"], records.extra["rectangle"], strict=True)
    predicted = dict(zip(((int(p), int(r)) for p, r in places), keypoints, strict=True))
    rows = []
    for number, (name, people, _) in enumerate(_test_pictures(official)):
        rectangles = []
        for place in range(len(people)):
            joints = predicted.get((number, place))
            points = (
                []
                if joints is None
                else [
                    {"x": x + 1, "y": y + 1, "id": float(joint)}
                    for joint, (x, y) in enumerate(joints)
                ]
            )
            rectangles.append({"annopoints": {"point": _struct(points)} if points else []})
        rows.append({"image": {"name": name}, "annorect": _struct(rectangles)})
    with atomic_path(path) as temporary:
        scipy.io.savemat(os.fspath(temporary), {"pred": _struct(rows)}, do_compression=True)


def _struct(rows):
    """Dicts with equal keys as a MATLAB structure array."""
    if not rows:
        return np.zeros((0, 0))
    array = np.empty((1, len(rows)), dtype=[(key, object) for key in rows[0]])
    for number, row in enumerate(rows):
        for key, value in row.items():
            array[key][0, number] = value
    return array


def coco_results(predictions: Predictions, stack: int = -1) -> list[dict]:
    """Predictions as the list of a COCO keypoint results file.

    Args:
        predictions: `Predictions` of COCO people.
        stack: index of the stack.

    Returns:
        List of dicts with `image_id` and `category_id` of the annotation file, `keypoints`
        (`x, y, score` each; 0, 0, 0 for a joint that was not found) and `score`, the mean of the
        found joints' scores. People without any are left out.

    Raises:
        UserError: if the records do not come from a COCO file.
    """
    records = predictions.records
    if "image_id" not in records.extra:
        raise UserError(
            "COCO results need the picture numbers of a COCO annotation file. Received: people "
            f"of the joints {records.skeleton.name!r} without them. Read them as coco:FILE."
        )
    keypoints, scores = predictions.keypoints[stack], predictions.scores[stack]
    # Scores of arrays without any: all alike.
    scores = np.ones_like(scores) if np.isnan(scores).all() else np.nan_to_num(scores)
    # What is not there is written as COCO writes it, in the corner and with no certainty.
    there = np.isfinite(keypoints).all(axis=-1)
    scores, keypoints = np.where(there, scores, 0.0), np.where(there[..., None], keypoints, 0.0)
    rows = np.concatenate([keypoints, scores[..., None]], axis=-1).round(3)
    means = scores.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    categories = records.extra.get("category_id", np.ones(len(records), int))
    columns = records.extra["image_id"].tolist(), categories.tolist(), rows, means, there
    return [
        {
            "image_id": image_id,
            "category_id": category,
            "keypoints": row.ravel().tolist(),
            "score": round(float(score), 6),
        }
        for image_id, category, row, score, known in zip(*columns, strict=True)
        if known.any()
    ]
