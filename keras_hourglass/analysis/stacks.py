"""Table 1 of the paper: what the later stacks mend."""

import numpy as np

from keras_hourglass.metrics import summarize
from keras_hourglass.metrics.pck import TOLERANCE
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Array


def person_scores(distances: Array, threshold: float) -> np.ndarray:
    """How well each person is predicted.

    Args:
        distances: `(N, K)` from `normalized_distances`; NaN is not counted.
        threshold: largest correct distance in reference lengths.

    Returns:
        `(N, 2)`: share of correct joints (0 to 1) and, to break ties, minus the mean distance;
        NaN for people without a counted joint. Larger is better in both.

    Example:

    >>> person_scores([[0.1, 0.3], [0.1, float("nan")]], threshold=0.2).tolist()
    [[0.5, -0.2], [1.0, -0.1]]
    """
    distances = np.asarray(distances, np.float64)
    counted = ~np.isnan(distances)
    number = counted.sum(axis=1)
    known = np.where(number > 0, number, np.nan)
    correct = ((distances <= threshold * TOLERANCE) & counted).sum(axis=1)
    # Far outliers all count the same, or one of them would outweigh everything else.
    error = np.minimum(np.where(counted, distances, 0), 2).sum(axis=1)
    return np.stack([correct / known, -error / known], axis=1)


def stack_changes(
    distances: Array,
    skeleton: Skeleton | str,
    threshold: float,
    first: int = 0,
    last: int = -1,
    mean_over: str = "counted",
) -> dict:
    """Compare two stacks.

    Args:
        distances: `(S, N, K)` normalised distances of every stack.
        skeleton: the `Skeleton`, or its name.
        threshold: largest correct distance in reference lengths.
        first, last: indices of the stacks to compare.
        mean_over: convention of the means.

    Returns:
        A dict with `"first"` and `"last"` (`metrics.PCK`), `"difference"` (percentage points of
        each group and `"mean"`), and `"order"`: indices of the people with a counted joint, the
        most improved first, those that worsened most last.

    Example:

    >>> change = stack_changes([[[0.5], [0.1]], [[0.1], [0.1]]], {"name": "d", "joints": ("d",)},
    ...                        threshold=0.2)
    >>> change["difference"], change["order"].tolist()
    ({'d': 50.0, 'mean': 50.0}, [0, 1])

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), Table 1 and Figure 9.
    """
    distances = np.asarray(distances, np.float64)
    before, after = (
        summarize(distances[index], skeleton, threshold, mean_over) for index in (first, last)
    )
    difference = {group: after.groups[group] - before.groups[group] for group in after.groups}
    gain = person_scores(distances[last], threshold) - person_scores(distances[first], threshold)
    known = np.flatnonzero(~np.isnan(gain[:, 0]))
    order = known[np.lexsort((-gain[known, 1], -gain[known, 0]))]
    return {
        "first": before,
        "last": after,
        "difference": {**difference, "mean": after.mean - before.mean},
        "order": order,
        "gain": gain[:, 0],
    }
