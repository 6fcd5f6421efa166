"""Published numbers to stand beside one's own."""

from typing import Any

from keras_hourglass.skeletons import Skeleton

_MPII = ("head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle", "mean")


def _mpii(*percents):
    return dict(zip(_MPII, percents, strict=True))


# Skeleton -> metric, threshold and source -> percent by group. FLIC and MPII test: the tables of
# arXiv 1603.06937. MPII validation: the last row of its Table 1 (eight stacks), with the wrist
# of the predictions its authors published, 83.4, where the paper prints 88.3.
PUBLISHED: dict[str, dict[str, Any]] = {
    "mpii": {
        "metric": "PCKh",
        "threshold": 0.5,
        "rows": {
            "Pishchulin et al. 2016, test": _mpii(94.1, 90.2, 83.4, 77.3, 82.6, 75.7, 68.6, 82.4),
            "Hu and Ramanan 2016, test": _mpii(95.0, 91.6, 83.0, 76.6, 81.9, 74.5, 69.5, 82.4),
            "Carreira et al. 2016, test": _mpii(95.7, 91.7, 81.7, 72.4, 82.8, 73.2, 66.4, 81.3),
            "Tompson et al. 2015, test": _mpii(96.1, 91.9, 83.9, 77.8, 80.9, 72.3, 64.8, 82.0),
            "Wei et al. 2016, test": _mpii(97.8, 95.0, 88.7, 84.0, 88.4, 82.8, 79.4, 88.5),
            "Newell et al. 2016, test": _mpii(98.2, 96.3, 91.2, 87.1, 90.1, 87.4, 83.6, 90.9),
            "Newell et al. 2016, validation": {
                "shoulder": 94.6,
                "elbow": 88.5,
                "wrist": 83.4,
                "hip": 87.5,
                "knee": 83.0,
                "ankle": 79.0,
            },
        },
    },
    "flic": {
        "metric": "PCK",
        "threshold": 0.2,
        "rows": {
            "Sapp and Taskar 2013": {"elbow": 76.5, "wrist": 59.1},
            "Toshev and Szegedy 2014": {"elbow": 92.3, "wrist": 82.0},
            "Tompson et al. 2015": {"elbow": 93.1, "wrist": 89.0},
            "Chen and Yuille 2014": {"elbow": 95.3, "wrist": 92.4},
            "Wei et al. 2016": {"elbow": 97.6, "wrist": 95.0},
            "Newell et al. 2016": {"elbow": 99.0, "wrist": 97.0},
        },
    },
}


def published_rows(skeleton: Skeleton, metric: str, threshold: float) -> dict:
    """Published percentages that may stand beside a result.

    Args:
        skeleton: the `Skeleton` of the result.
        metric: `"PCK"` or `"PCKh"`.
        threshold: its threshold; only the same one compares.

    Returns:
        source -> group -> percent, perhaps empty.

    Example:

    >>> from keras_hourglass.skeletons import FLIC
    >>> published_rows(FLIC, "PCK", 0.2)["Newell et al. 2016"]
    {'elbow': 99.0, 'wrist': 97.0}
    """
    table = PUBLISHED.get(skeleton.name)
    if table is None or (table["metric"], table["threshold"]) != (metric, threshold):
        return {}
    return table["rows"]
