"""Do the scores say how often a joint is right?"""

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.metrics.pck import TOLERANCE
from keras_hourglass.typing import Array


def calibration(scores: Array, distances: Array, threshold: float, bins: int = 10) -> dict:
    """Accuracy against score.

    Args:
        scores: `(N, K)` heights of the heatmaps' maxima; clipped to 0 to 1.
        distances: `(N, K)` normalised distances; NaN is not counted.
        threshold: largest correct distance in reference lengths.
        bins: number of equal intervals of the score.

    Returns:
        A dict with lists of length `bins`: `"edges"` (one more), `"score"` and `"accuracy"`
        (means, NaN in empty bins), `"count"`; and `"error"`, the expected calibration error: the
        mean of their absolute difference, weighted by count (NaN if nothing is counted).

    Raises:
        UserError: if shapes differ or there is no bin.

    Example:

    >>> result = calibration([[0.9, 0.9, 0.1]], [[0.1, 0.8, 0.9]], threshold=0.2, bins=2)
    >>> result["accuracy"], result["count"], round(result["error"], 3)
    ([0.0, 0.5], [1, 2], 0.3)
    """
    scores, distances = np.asarray(scores, np.float64), np.asarray(distances, np.float64)
    if scores.shape != distances.shape or bins < 1:
        raise UserError(
            "Calibration needs a distance for every score and at least one bin. Received: "
            f"scores {scores.shape}, distances {distances.shape}, bins={bins}."
        )
    counted = ~np.isnan(distances) & ~np.isnan(scores)
    score = np.clip(scores[counted], 0, 1)
    correct = distances[counted] <= threshold * TOLERANCE
    place = np.minimum((score * bins).astype(int), bins - 1)
    count = np.bincount(place, minlength=bins)
    known = np.where(count > 0, count, np.nan)
    mean_score = np.bincount(place, score, minlength=bins) / known
    accuracy = np.bincount(place, correct, minlength=bins) / known
    gap = np.nansum(np.abs(mean_score - accuracy) * count)
    return {
        "edges": np.linspace(0, 1, bins + 1).tolist(),
        "score": mean_score.tolist(),
        "accuracy": accuracy.tolist(),
        "count": count.tolist(),
        "error": float(gap / count.sum()) if count.sum() else float("nan"),
    }
