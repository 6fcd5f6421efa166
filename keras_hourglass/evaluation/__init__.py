"""Evaluation: predictions for annotated people, their accuracy, and files of both."""

from keras_hourglass.evaluation.files import (
    load_predictions,
    predictions_to_dict,
    save_predictions,
    save_thresholds,
)
from keras_hourglass.evaluation.measure import Evaluation, evaluate, evaluate_predictions
from keras_hourglass.evaluation.predictions import (
    Collector,
    Predictions,
    RecordHeatmaps,
    predict_records,
)
from keras_hourglass.evaluation.reading import read_keypoints
from keras_hourglass.evaluation.sweep import sweep
from keras_hourglass.metrics import default_threshold, normalizer_name

__all__ = [
    "Collector",
    "Evaluation",
    "Predictions",
    "RecordHeatmaps",
    "default_threshold",
    "evaluate",
    "evaluate_predictions",
    "load_predictions",
    "normalizer_name",
    "predict_records",
    "predictions_to_dict",
    "read_keypoints",
    "save_predictions",
    "save_thresholds",
    "sweep",
]
