"""Looking for mistakes in annotations, and describing them in numbers."""

import concurrent.futures
import hashlib
import os
from collections.abc import Callable

import numpy as np

from keras_hourglass.data.figures import PREFIX as DRAWN
from keras_hourglass.data.load import open_image
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError

_PAIRS = (("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"))
_EYES = ("left_eye", "right_eye")
_THREADS = 4  # that decode pictures


def check_records(records: PoseRecords, progress: Callable = iter) -> dict[str, list]:
    """What looks wrong about annotated people.

    Args:
        records: `PoseRecords`.
        progress: wraps the list of pictures, e.g. `tqdm.tqdm`.

    Every picture is decoded as a whole.

    Returns:
        dict of finding -> list of `(row number, description)`, worst findings first:
        `unreadable`, `other_size`, `box_outside`, `joints_outside`, `swapped_sides`,
        `duplicate_person`,
        `duplicate_picture`, `tiny`, `no_reference`.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> check_records(synthetic_records(num=2, seed=1, size=64))["unreadable"]
    []
    """
    sizes, unreadable, twins = _look_at_pictures(records, progress)
    rows = {}
    for row, path in enumerate(records.images):
        rows.setdefault(path, []).append(row)
    findings = {
        "unreadable": [(row, reason) for path, reason in unreadable.items() for row in rows[path]],
        "other_size": [(row, text) for row, text in
                       enumerate(records.extra.get("other_size", ())) if text],
        "box_outside": _boxes_outside(records, sizes),
        "joints_outside": _joints_outside(records, sizes),
        "swapped_sides": _swapped_sides(records),
        "duplicate_person": _duplicate_people(records, rows),
        "duplicate_picture": [(rows[path][0], f"same bytes as {twin}") for path, twin in twins],
        "tiny": [(int(row), f"box of {records.boxes[row, 2]:.0f} px")
                 for row in np.flatnonzero(records.boxes[:, 2] < 32)],
        "no_reference": [(int(row), "no length to normalise by")
                         for row in np.flatnonzero(np.isnan(records.reference))],
    }  # fmt: skip
    return findings


def _look_at_pictures(records, progress):
    """Sizes, unreadable ones with reasons, and pairs with the same bytes."""
    sizes, unreadable, twins, seen = {}, {}, [], {}
    # Figures that are drawn when asked for cannot be damaged.
    paths = [path for path in dict.fromkeys(records.images) if not path.startswith(DRAWN)]
    with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
        for path, (size, digest, reason) in zip(
            progress(paths), pool.map(_look_at, paths), strict=True
        ):
            if reason is not None:
                unreadable[path] = reason
                continue
            sizes[path] = size
            if digest in seen:
                twins.append((path, seen[digest]))
            seen.setdefault(digest, path)
    return sizes, unreadable, twins


def _look_at(path):
    """Size and digest of a picture that is decoded as a whole, or why it cannot be."""
    try:
        # The header alone says nothing about a picture that was cut short.
        size = open_image(path).shape[:2]
        if not os.path.exists(path):
            return size, path, None  # part of a larger file
        with open(path, "rb") as file:
            return size, hashlib.sha1(file.read()).digest(), None
    except (DataError, OSError) as error:
        return None, None, " ".join(str(error).split())


def _boxes_outside(records, sizes):
    found = []
    for row, path in enumerate(records.images):
        if path in sizes:
            height, width = sizes[path]
            x, y, side = records.boxes[row]
            half = side / 2
            if x + half < 0 or y + half < 0 or x - half > width or y - half > height:
                found.append((row, f"box at {x:.0f}, {y:.0f} of a {width}×{height} picture"))
    return found


def _joints_outside(records, sizes):
    found = []
    for row, path in enumerate(records.images):
        if path not in sizes:
            continue
        height, width = sizes[path]
        outside = (records.joints[row] < -0.5) | (records.joints[row] > (width - 0.5, height - 0.5))
        outside = outside.any(axis=-1) & (records.visibility[row] > 0)
        if outside.any():
            names = [records.skeleton.joints[joint] for joint in np.flatnonzero(outside)]
            found.append((row, f"{', '.join(names)} outside {width}×{height}"))
    return found


def _swapped_sides(records):
    """Shoulders and hips that point opposite ways, or eyes and shoulders."""
    skeleton, found = records.skeleton, []
    vectors = {}
    for pair in (*_PAIRS, _EYES):
        if set(pair) <= set(skeleton.joints):
            left, right = (skeleton.index(joint) for joint in pair)
            vector = records.joints[:, left] - records.joints[:, right]
            wanted = 2 if pair == _EYES else 1  # eyes count when both can be seen
            known = (records.visibility[:, [left, right]] >= wanted).all(axis=1)
            vectors[pair] = np.where(known[:, None], vector, np.nan)
    names = list(vectors)
    for first, second in [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]:
        if second == _EYES and first != _PAIRS[0]:
            continue
        lengths = np.linalg.norm(vectors[first], axis=-1) * np.linalg.norm(vectors[second], axis=-1)
        with np.errstate(invalid="ignore", divide="ignore"):
            cosine = (vectors[first] * vectors[second]).sum(axis=-1) / lengths
            # Twisted bodies reach obtuse angles, but with foreshortened shoulders or hips.
            wide = lengths > (0.1 * records.boxes[:, 2]) ** 2
        for row in np.flatnonzero((cosine < -0.7) & wide):
            first_part, second_part = (pair[0].removeprefix("left_") for pair in (first, second))
            found.append((int(row), f"{first_part}s and {second_part}s point opposite ways"))
    return sorted(found)


def _duplicate_people(records, rows):
    """The same joints twice on one picture."""
    found = []
    for members in rows.values():
        for position, row in enumerate(members[1:], start=1):
            for other in members[:position]:
                both = (records.visibility[row] > 0) & (records.visibility[other] > 0)
                if both.sum() < 3:
                    continue
                apart = np.abs(records.joints[row] - records.joints[other])[both].max()
                if apart < 0.01 * records.boxes[row, 2]:
                    found.append((row, f"same joints as {records.ids[other]}"))
                    break
    return found


def describe_records(records: PoseRecords) -> dict:
    """Scale, visibility and spread of joints as plain numbers, ready for JSON.

    Args:
        records: `PoseRecords`.

    Returns:
        dict with `people`, `pictures`, `side` (percentiles of the person box in source pixels),
        `reference` (the same of the normalising length) and `joints`: for each name the shares
        visible, occluded and unlabelled in percent, and mean and standard deviation of the
        position relative to the box (0 its centre, ±0.5 its edges).

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> numbers = describe_records(synthetic_records(num=10, seed=1))
    >>> numbers["people"], sorted(numbers["joints"]["neck"])[:2]
    (10, ['mean', 'occluded'])
    """
    labelled = records.visibility > 0
    relative = (records.joints - records.boxes[:, None, :2]) / records.boxes[:, None, 2:]
    joints = {}
    for number, name in enumerate(records.skeleton.joints):
        there = relative[labelled[:, number], number]
        flags = records.visibility[:, number]
        joints[name] = {
            "visible": 100 * float((flags == 2).mean()),
            "occluded": 100 * float((flags == 1).mean()),
            "unlabelled": 100 * float((flags == 0).mean()),
            "mean": there.mean(axis=0).tolist() if len(there) else None,
            "spread": there.std(axis=0).tolist() if len(there) else None,
        }
    return {
        "people": len(records),
        "pictures": len(set(records.images)),
        "skeleton": records.skeleton.name,
        "side": _percentiles(records.boxes[:, 2]),
        "reference": _percentiles(records.reference[np.isfinite(records.reference)]),
        "joints": joints,
    }


def _percentiles(values):
    if not len(values):
        return None
    return {f"p{at}": float(np.percentile(values, at)) for at in (0, 5, 25, 50, 75, 95, 100)}
