"""Figure 11 of the paper: does a heatmap know whether its joint is annotated at all?

And the thresholds of `Pose.present`, which follow from it: chosen on people, tried on others.
"""

from typing import Any

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Array


def precision_recall(scores: Array, present: Array) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Precision and recall at every useful threshold.

    Args:
        scores: `(M,)` numbers; "present" is predicted from a threshold upwards.
        present: `(M,)` booleans, the truth.

    Returns:
        `(thresholds, precision, recall)`, each `(T,)`, thresholds falling, so recall rises.

    Raises:
        UserError: if nothing is present, or the lengths differ.

    Example:

    >>> _, precision, recall = precision_recall([0.9, 0.8, 0.1], [True, False, True])
    >>> precision.round(2).tolist(), recall.tolist()
    ([1.0, 0.5, 0.67], [0.5, 0.5, 1.0])
    """
    scores, present = np.asarray(scores, np.float64), np.asarray(present, bool)
    if scores.shape != present.shape or not present.any():
        raise UserError(
            "Precision and recall need as many truths as scores and something that is present. "
            f"Received: {scores.shape} scores, {present.shape} truths, {present.sum()} present."
        )
    thresholds, hits, chosen = _cumulate(scores, present)
    return thresholds, hits / chosen, hits / present.sum()


def _cumulate(scores, present):
    """Distinct thresholds, falling, with the number of present and of all at or above each."""
    order = np.argsort(-scores, kind="stable")
    ordered = scores[order]
    ends = np.flatnonzero(np.append(np.diff(ordered) != 0, True))  # equal scores fall together
    return ordered[ends], np.cumsum(present[order])[ends], ends + 1


def best_threshold(scores: Array, present: Array) -> tuple[float, float]:
    """The threshold that decides most cases right.

    Args:
        scores: `(M,)` numbers; "present" is predicted from the threshold upwards.
        present: `(M,)` booleans, the truth.

    Returns:
        `(threshold, accuracy)`; the threshold lies half-way between two scores, accuracy is a
        fraction. Of equally good thresholds the lowest counts. If it is best to call everything
        absent, the threshold lies above the largest score.

    Example:

    >>> best_threshold([0.9, 0.6, 0.2], [True, True, False])
    (0.4, 1.0)
    """
    thresholds, shares = accuracies(scores, present)
    best = len(shares) - 1 - int(shares[::-1].argmax())
    return float(thresholds[best]), float(shares[best])


def accuracies(scores: Array, present: Array) -> tuple[np.ndarray, np.ndarray]:
    """All thresholds that make a difference, falling, with the share of right answers of each.

    Args:
        scores: `(M,)` numbers; "present" is predicted from a threshold upwards.
        present: `(M,)` booleans, the truth.

    Returns:
        `(thresholds, shares)`, each `(T,)`: half-way between neighbouring scores, the first above
        the largest.

    Example:

    >>> thresholds, shares = accuracies([0.6, 0.2], [True, False])
    >>> thresholds.round(2).tolist(), shares.tolist()
    ([0.6, 0.4, 0.1], [0.5, 1.0, 0.5])
    """
    scores, present = np.asarray(scores, np.float64), np.asarray(present, bool)
    steps, hits, chosen = _cumulate(scores, present)
    right = hits + (~present).sum() - (chosen - hits)
    right = np.append((~present).sum(), right)  # nothing called present
    # Half-way to the next score below, or to nothing.
    halves = (steps + np.append(steps[1:], min(0.0, steps[-1]))) / 2
    return np.append(np.nextafter(steps[0], np.inf), halves), right / len(scores)


def roc_auc(scores: Array, present: Array) -> float:
    """How often a present joint scores higher than an absent one (the area under the ROC curve).

    Args:
        scores: `(M,)` numbers.
        present: `(M,)` booleans, the truth; both kinds must occur.

    Returns:
        A fraction: 0.5 is guessing, 1 tells them all apart. Equal scores count half.

    Raises:
        UserError: if nothing is present or nothing absent.

    Example:

    >>> roc_auc([0.9, 0.6, 0.6, 0.2], [True, True, False, False])
    0.875
    """
    scores, present = np.asarray(scores, np.float64), np.asarray(present, bool)
    if present.all() or not present.any():
        raise UserError(
            "Telling present from absent needs some of each. "
            f"Received: {present.sum()} present of {present.size}."
        )
    _, hits, chosen = _cumulate(scores, present)
    found = np.append(0.0, hits / present.sum())
    alarms = np.append(0.0, (chosen - hits) / (~present).sum())
    return float((np.diff(alarms) * (found[1:] + found[:-1]) / 2).sum())


def presence(statistics: dict[str, Array], visibility: Array, skeleton: Skeleton) -> dict:
    """How well numbers of the heatmaps tell annotated joints from those that are not.

    Args:
        statistics: name -> `(N, K)` numbers, e.g. `{"maximum": ..., "mean": ...}`.
        visibility: `(N, K)`; above 0 is annotated.
        skeleton: the `Skeleton`.

    Returns:
        joint or group name -> `{"annotated": share, "joints": M, statistic: {"accuracy",
        "threshold", "average_precision", "recall", "precision"}}`, shares and accuracies in
        percent. Kinds that are always or never annotated have no entry: there is nothing to tell.

    Example:

    >>> found = presence({"maximum": [[0.8], [0.3]]}, [[2], [0]], Skeleton("nose", ("nose",)))
    >>> found["nose"]["annotated"], found["nose"]["maximum"]["accuracy"]
    (50.0, 100.0)

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), Figure 11: 96.0 % for knees and
        93.8 % for ankles from the mean of the heatmap.
    """
    annotated = np.asarray(visibility) > 0
    kinds = {name: [skeleton.index(name)] for name in skeleton.joints}
    kinds.update({name: [skeleton.index(j) for j in group] for name, group in skeleton.groups})
    result = {}
    for kind, index in kinds.items():
        truth = annotated[:, index].ravel()
        if truth.all() or not truth.any():
            continue
        row: dict[str, Any] = {"annotated": float(100 * truth.mean()), "joints": len(truth)}
        for name, values in statistics.items():
            scores = np.asarray(values, np.float64)[:, index].ravel()
            _, precision, recall = precision_recall(scores, truth)
            threshold, accuracy = best_threshold(scores, truth)
            steps = np.diff(recall, prepend=0.0)
            row[name] = {
                "accuracy": 100 * accuracy,
                "threshold": threshold,
                "average_precision": float(100 * (precision * steps).sum()),
                "precision": precision,
                "recall": recall,
            }
        result[kind] = row
    return result


def cautious_threshold(scores: Array, present: Array, slack: float = 0.005) -> float:
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


def presence_thresholds(
    scores: Array, visibility: Array, skeleton: Skeleton, default: float, folds: Array
) -> dict:
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


def sure_thresholds(
    scores: Array, right: Array, skeleton: Skeleton, least: int = 30
) -> dict[str, float]:
    """From which score on each joint of a network is believed, however high its maps are.

    A network that was trained for a short time draws low maps in the right places: what its scores
    are worth is seen from people whose joints are known.

    Args:
        scores: `(N, K)` numbers.
        right: `(N, K)`; 1 where the joint was found, 0 where it was missed or is not there, NaN
            where nobody knows.
        skeleton: the `Skeleton`, which says what mirrors what.
        least: a joint and its mirror image with fewer known cases are decided by all joints
            together.

    Returns:
        joint -> `cautious_threshold` of what is right, of all joints together `best_threshold`.
        Where nothing is right, it lies above all scores: then the network is never sure. Empty if
        nothing is known at all.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> nose = Skeleton("nose", ("nose",))
    >>> found = sure_thresholds([[0.2], [0.1], [0.04], [0.3]], [[1], [1], [0], [1]], nose)
    >>> round(found["nose"], 2)
    0.07
    """
    scores, right = np.asarray(scores, np.float64), np.asarray(right, np.float64)
    known = np.isfinite(right)
    if not known.any():
        return {}
    result: dict[str, float] = {}
    for joint, name in enumerate(skeleton.joints):
        mirrored = skeleton.joints[skeleton.flip_order[joint]]
        if mirrored in result:
            result[name] = result[mirrored]
            continue
        pair = sorted({joint, skeleton.flip_order[joint]})
        kept = known[:, pair]
        values, truth = scores[:, pair][kept], right[:, pair][kept]
        if len(values) < least:
            # Of thresholds that a handful of cases cannot tell apart, the lowest: better drawn.
            result[name] = best_threshold(scores[known], right[known] > 0)[0]
        else:
            result[name] = cautious_threshold(values, truth > 0)
    return result
