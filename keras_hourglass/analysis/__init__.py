"""The paper's analyses of predictions, on plain arrays (NumPy only)."""

from keras_hourglass.analysis.calibration import calibration
from keras_hourglass.analysis.confusion import KINDS, confusion
from keras_hourglass.analysis.presence import best_threshold, precision_recall, presence
from keras_hourglass.analysis.published import PUBLISHED, published_rows
from keras_hourglass.analysis.sensitivity import SCALES, SHIFTS, sensitivity
from keras_hourglass.analysis.stacks import person_scores, stack_changes

__all__ = [
    "KINDS",
    "PUBLISHED",
    "SCALES",
    "SHIFTS",
    "best_threshold",
    "calibration",
    "confusion",
    "person_scores",
    "precision_recall",
    "presence",
    "published_rows",
    "sensitivity",
    "stack_changes",
]
