"""Thresholds of `Pose.present`: chosen on people, tried on other people."""

import numpy as np

from keras_hourglass.analysis.presence import accuracies, roc_auc


def cautious_threshold(scores, present, slack=0.005):
    """The highest threshold that decides almost as many cases right as the best one.

    Where accuracy hardly changes over a range of thresholds, the upper end of the range finds the
    most absent joints.

    Args:
        scores, present: as for `best_threshold`.
        slack: how much less accurate it may be, a fraction.

    Returns:
        The threshold, half-way between two scores.

    Example:

    >>> cautious_threshold([0.9, 0.6, 0.2], [True, True, False], slack=0.34)
    0.75
    """
    thresholds, shares = accuracies(scores, present)
    return float(thresholds[np.flatnonzero(shares >= shares.max() - slack)[0]])


def presence_thresholds(scores, visibility, skeleton, default, folds):
    """One threshold for each joint and its mirror image, tried on people who did not choose it.

    Args:
        scores: `(N, K)` numbers, "present" from the threshold upwards.
        visibility: `(N, K)`; above 0 is present.
        skeleton: the `Skeleton`, which says what mirrors what.
        default: the threshold to compare with.
        folds: `(N,)` integers; people of one fold are judged by thresholds of all the others.

    Returns:
        joint -> `{"threshold", "joints": M, "auc", "always", "default", "accuracy", "kept",
        "found"}` in the order of the skeleton. The threshold is `cautious_threshold` of all
        people. The rest is in percent: area under the ROC curve; share of right answers when
        everything is called present, by the default, and by thresholds that other folds chose;
        by the latter, the share of present joints called so, and of absent ones. A joint and its
        mirror image share one entry; joints that are always or never present have none.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> nose = Skeleton("nose", ("nose",))
    >>> row = presence_thresholds([[0.8], [0.3], [0.7], [0.4]], [[2], [0], [2], [0]], nose, 0.2,
    ...                           folds=[0, 0, 1, 1])["nose"]
    >>> round(row["threshold"], 2), row["always"], row["default"], row["accuracy"]
    (0.55, 50.0, 50.0, 100.0)
    """
    scores, folds = np.asarray(scores, np.float64), np.asarray(folds)
    present = np.asarray(visibility) > 0
    result = {}
    for joint, name in enumerate(skeleton.joints):
        pair = sorted({joint, skeleton.flip_order[joint]})
        if skeleton.joints[pair[0]] in result:
            result[name] = result[skeleton.joints[pair[0]]]
            continue
        values, truth = scores[:, pair], present[:, pair]
        if truth.all() or not truth.any():
            continue
        called = np.zeros(truth.shape, bool)
        for fold in np.unique(folds):
            rest = folds != fold
            threshold = cautious_threshold(values[rest].ravel(), truth[rest].ravel())
            called[~rest] = values[~rest] >= threshold
        shares = {
            "auc": roc_auc(values.ravel(), truth.ravel()),
            "always": truth.mean(),
            "default": ((values >= default) == truth).mean(),
            "accuracy": (called == truth).mean(),
            "kept": called[truth].mean(),
            "found": (~called)[~truth].mean(),
        }
        result[name] = {
            "threshold": cautious_threshold(values.ravel(), truth.ravel()),
            "joints": truth.size,
            **{key: float(100 * share) for key, share in shares.items()},
        }
    return result
