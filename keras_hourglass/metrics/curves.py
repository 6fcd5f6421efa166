"""Beyond one threshold: PCK curves, the area under them, and the mean error (NumPy only)."""

import numpy as np

from keras_hourglass.metrics.pck import TOLERANCE, merge_counts
from keras_hourglass.skeletons import Skeleton, get_skeleton
from keras_hourglass.typing import Array


def pck_curve(distances: Array, thresholds: Array) -> tuple[np.ndarray, np.ndarray]:
    """Correct joints of each kind at many thresholds.

    Args:
        distances: `(N, K)` from `normalized_distances`.
        thresholds: `(T,)` in reference lengths.

    Returns:
        `(T, K)` counts of correct joints and `(K,)` counts of counted ones.

    Example:

    >>> correct, counted = pck_curve([[0.1], [0.3], [float("nan")]], [0.1, 0.2, 0.5])
    >>> correct.tolist(), counted.tolist()
    ([[1], [1], [2]], [2])
    """
    distances = np.asarray(distances, np.float64)
    limits = np.asarray(thresholds, np.float64) * TOLERANCE
    correct = np.empty((len(limits), distances.shape[1]), np.int64)
    for joint in range(distances.shape[1]):
        column = distances[:, joint]
        column = np.sort(column[~np.isnan(column)])
        correct[:, joint] = np.searchsorted(column, limits, side="right")
    return correct, (~np.isnan(distances)).sum(axis=0)


def group_curves(
    distances: Array, skeleton: Skeleton | str, thresholds: Array | None = None
) -> dict:
    """PCK of each group and over all counted joints, at many thresholds.

    Args:
        distances: `(N, K)` from `normalized_distances`.
        skeleton: the `Skeleton`, or its name.
        thresholds: `(T,)` in reference lengths; by default those that `auc` takes.

    Returns:
        `{"thresholds": (T,), "groups": {name: (T,) percent}, "mean": (T,) percent}`; NaN where
        nothing is counted.

    Example:

    >>> lines = group_curves([[0.1], [0.3]], {"name": "dot", "joints": ("dot",)}, [0.1, 0.2, 0.3])
    >>> lines["mean"].tolist()
    [50.0, 50.0, 100.0]
    """
    skeleton = get_skeleton(skeleton)
    thresholds = np.asarray(_grid() if thresholds is None else thresholds, np.float64)
    correct, counted = pck_curve(distances, thresholds)

    def percent(index):
        total = counted[index].sum()
        return 100 * correct[:, index].sum(axis=1) / (total if total else np.nan)

    groups = {
        name: percent([skeleton.index(joint) for joint in members])
        for name, members in skeleton.groups
    }
    mean = percent(np.arange(skeleton.num_joints))
    return {"thresholds": thresholds, "groups": groups, "mean": mean}


def _grid(max_threshold=0.5, steps=50):
    return np.linspace(0, max_threshold, steps + 1)


def auc(
    distances: Array, skeleton: Skeleton | str, max_threshold: float = 0.5, steps: int = 50
) -> dict:
    """Area under the PCK curve from 0 to `max_threshold`, in percent.

    The curve is sampled at `steps + 1` equidistant thresholds and integrated by trapezoids, as
    the MPII benchmark does.

    Args:
        distances: `(N, K)` from `normalized_distances`.
        skeleton: the `Skeleton`, or its name.
        max_threshold: upper end, in reference lengths.
        steps: number of trapezoids.

    Returns:
        A dict with `"joints"`, `"groups"` (dicts of percent, NaN if not counted) and `"mean"`
        (over all counted joints).

    Example:

    >>> area = auc([[0.0], [0.25]], {"name": "dot", "joints": ("dot",)})
    >>> round(area["mean"], 2)  # half of the curve is at 50 %, half at 100 %
    75.5
    """
    skeleton = get_skeleton(skeleton)
    correct, counted = pck_curve(distances, _grid(max_threshold, steps))
    area = (correct[1:] + correct[:-1]).sum(axis=0) / (2 * steps)
    result = merge_counts(area, counted, skeleton, max_threshold)
    return {"joints": result.joints, "groups": result.groups, "mean": result.mean}


def nme(distances: Array, skeleton: Skeleton | str) -> dict:
    """Normalised mean error: the mean distance in percent of the reference length.

    Args:
        distances: `(N, K)` from `normalized_distances`.
        skeleton: the `Skeleton`, or its name.

    Returns:
        A dict with `"joints"`, `"groups"` (dicts of percent, NaN if not counted) and `"mean"`
        (over all counted joints).

    Example:

    >>> nme([[0.1], [0.3]], {"name": "dot", "joints": ("dot",)})["mean"]
    20.0
    """
    distances = np.asarray(distances, np.float64)
    total, counted = np.nansum(distances, axis=0), (~np.isnan(distances)).sum(axis=0)
    result = merge_counts(total, counted, skeleton, threshold=1.0)
    return {"joints": result.joints, "groups": result.groups, "mean": result.mean}
