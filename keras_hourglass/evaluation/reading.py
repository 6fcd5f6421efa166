"""Predictions of any program, from the files in use."""

import os
import pathlib

import numpy as np

from keras_hourglass.data.annotations import read_mat
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError
from keras_hourglass.io.structured import existing, read_json
from keras_hourglass.typing import Path


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
    return values[..., :2] - first_pixel, scores


def _from_json(path, records):
    content = read_json(path)
    try:
        names, people = list(content["keypoint_names"]), list(content["people"])
        values = np.array(
            [[[np.nan if v is None else v for v in row] for row in person["keypoints"]]
             for person in people],
            dtype=np.float64,
        )  # fmt: skip
        keys = [str(person["id"]) for person in people if "id" in person]
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"Predictions in JSON have 'keypoint_names' and 'people' with 'keypoints' of equal "
            f"length. Received: {path} ({type(error).__name__}: {error}). "
            "Write them as `keras-hourglass evaluate` does."
        ) from error
    lacking = [name for name in records.skeleton.joints if name not in names]
    if lacking or values.ndim != 3 or values.shape[1] != len(names):
        raise DataError(
            f"Predictions need every joint of the annotations. Received: {path} with "
            f"{', '.join(names)}; missing: {', '.join(lacking) or 'their coordinates'}."
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
                return ordered.astype(np.float64)
    raise DataError(
        f"The annotations have {count} people with {joints} joints, so predictions need shape "
        f"({count}, {joints}, 2). Received: {values.shape} in {path}. "
        "Predict every annotated person, in the order of the annotations."
    )


def _from_npy(path):
    try:
        return np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"Cannot read {path} as an array: {error}. Save it again.") from error


def _from_hdf5(path):
    import h5py

    try:
        with h5py.File(path, "r") as file:
            arrays = {}
            file.visititems(
                lambda name, item: arrays.update({name: item}) if hasattr(item, "shape") else None
            )
            return _one_array({name: item[()] for name, item in arrays.items()}, path)
    except OSError as error:
        raise DataError(f"Cannot read the HDF5 file {path}: {error}. Write it again.") from error


def _from_mat(path):
    with open(path, "rb") as file:
        # MATLAB 7.3 writes HDF5, after a header of its own.
        if b"MATLAB 7.3" in file.read(128):
            return _from_hdf5(path)
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
            f"Received: {', '.join(sorted(arrays)) or 'no array'}. Rename the predictions."
        )
    return np.asarray(next(iter(candidates.values())))


_READERS = {
    ".h5": _from_hdf5,
    ".hdf5": _from_hdf5,
    ".mat": _from_mat,
    ".npy": _from_npy,
}
