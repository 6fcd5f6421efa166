"""The paper's analyses of predictions, on plain arrays (NumPy only)."""

from keras_hourglass.analysis.calibration import calibration
from keras_hourglass.analysis.confusion import KINDS, confusion
from keras_hourglass.analysis.cutting import cut_person, empty_crops, whole_and_cut
from keras_hourglass.analysis.presence import (
    best_threshold,
    cautious_threshold,
    precision_recall,
    presence,
    presence_thresholds,
    roc_auc,
    sure_thresholds,
)
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
    "cautious_threshold",
    "confusion",
    "cut_person",
    "empty_crops",
    "person_scores",
    "precision_recall",
    "presence",
    "presence_thresholds",
    "published_rows",
    "roc_auc",
    "sensitivity",
    "stack_changes",
    "sure_thresholds",
    "whole_and_cut",
]
