"""Figure 10 of the paper: how predictions move as the person box shifts and scales."""

from collections.abc import Callable, Sequence

import numpy as np

from keras_hourglass.data.records import PoseRecords
from keras_hourglass.metrics import normalized_distances, summarize

SHIFTS = (-0.2, -0.1, -0.05, 0.05, 0.1, 0.2)
SCALES = (0.7, 0.85, 1.2, 1.5)


def sensitivity(
    predict: Callable[[PoseRecords], np.ndarray],
    records: PoseRecords,
    threshold: float,
    shifts: Sequence[float] = SHIFTS,
    scales: Sequence[float] = SCALES,
    mean_over: str = "counted",
) -> list[dict]:
    """Predict with changed person boxes and compare.

    Args:
        predict: a function from `PoseRecords` to `(N, K, 2)` keypoints in source pixels, of the
            same people.
        records: `PoseRecords`.
        threshold: largest correct distance in reference lengths.
        shifts: movements of the box along x and along y, as fractions of its side.
        scales: factors on its side.
        mean_over: convention of the mean.

    Returns:
        A list of dicts, the unchanged box first: `"change"` (`"none"`, `"x"`, `"y"`,
        `"scale"`), `"amount"`, `"mean"` (PCK in percent), `"moved"` (median distance of counted
        joints from their prediction with the unchanged box, in percent of the box's side) and
        `"jumped"` (percent of them that moved further than the threshold, in reference lengths).

    Example: a network that finds its joint wherever the box is.

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> records = synthetic_records(num=2, seed=1)
    >>> rows = sensitivity(lambda moved: records.joints, records, 0.2, shifts=(0.1,), scales=())
    >>> [(row["change"], row["amount"], row["mean"], row["moved"]) for row in rows]
    [('none', 0.0, 100.0, 0.0), ('x', 0.1, 100.0, 0.0), ('y', 0.1, 100.0, 0.0)]
    """
    plans = [("none", 0.0)]
    plans += [(axis, shift) for axis in ("x", "y") for shift in shifts]
    plans += [("scale", factor) for factor in scales]
    rows, base = [], None
    for change, amount in plans:
        boxes = records.boxes.copy()
        if change == "scale":
            boxes[:, 2] *= amount
        elif change != "none":
            boxes[:, "xy".index(change)] += amount * boxes[:, 2]
        keypoints = predict(records.with_columns(boxes=boxes))
        base = keypoints if base is None else base
        distances = normalized_distances(
            keypoints, records.joints, records.visibility, records.reference
        )
        counted = ~np.isnan(distances)
        path = np.linalg.norm(keypoints - base, axis=-1)
        jumps = (path / records.reference[:, None])[counted] > threshold
        moved = (path / records.boxes[:, 2:])[counted]
        rows.append(
            {
                "change": change,
                "amount": amount,
                "mean": summarize(distances, records.skeleton, threshold, mean_over).mean,
                "moved": float(100 * np.median(moved)) if moved.size else float("nan"),
                "jumped": float(100 * jumps.mean()) if jumps.size else float("nan"),
            }
        )
    return rows
