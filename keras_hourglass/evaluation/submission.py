"""Predictions in the forms that benchmarks ask for: MPII's test set, COCO results."""

import os

import numpy as np

from keras_hourglass.data.annotations import (
    field,
    read_mat,
    structs,
    text,
)
from keras_hourglass.data.mpii import adjust
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.evaluation.predictions import Predictions
from keras_hourglass.io.files import atomic_path
from keras_hourglass.skeletons import MPII
from keras_hourglass.typing import Array, Path


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
        List of dicts with `image_id`, `category_id`, `keypoints` (`x, y, score` each) and
        `score`, the mean of the joints' scores.

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
    scores = np.where(np.isnan(scores), 1.0, scores)
    rows = np.concatenate([keypoints, scores[..., None]], axis=-1).round(3)
    return [
        {
            "image_id": image_id,
            "category_id": 1,
            "keypoints": row.ravel().tolist(),
            "score": round(float(score), 6),
        }
        for image_id, row, score in zip(
            records.extra["image_id"].tolist(), rows, scores.mean(axis=1), strict=True
        )
    ]
