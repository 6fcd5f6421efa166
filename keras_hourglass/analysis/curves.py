"""Figures 6 and 7 of the paper: PCK over thresholds."""

import numpy as np

from keras_hourglass.metrics import pck_curve

THRESHOLDS = np.linspace(0, 0.5, 51)


def pck_curves(distances, skeleton, thresholds=THRESHOLDS):
    """PCK of each group and over all counted joints, at many thresholds.

    Args:
        distances: `(N, K)` normalised distances.
        skeleton: the `Skeleton`.
        thresholds: `(T,)` in reference lengths.

    Returns:
        `{"thresholds", "groups": {name: (T,) percent}, "mean": (T,) percent}`; NaN where nothing
        is counted.
    """
    correct, counted = pck_curve(distances, thresholds)

    def percent(index):
        total = counted[index].sum()
        return 100 * correct[:, index].sum(axis=1) / (total if total else np.nan)

    groups = {
        name: percent([skeleton.index(joint) for joint in members])
        for name, members in skeleton.groups
    }
    mean = percent(np.arange(skeleton.num_joints))
    return {"thresholds": np.asarray(thresholds), "groups": groups, "mean": mean}
