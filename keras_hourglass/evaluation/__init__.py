"""Evaluation: predictions for annotated people, their accuracy, and files of both."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.evaluation.exchange import (
        load_predictions,
        predictions_to_dict,
        read_keypoints,
        save_predictions,
    )
    from keras_hourglass.evaluation.finding import Finding, evaluate_detector
    from keras_hourglass.evaluation.measure import (
        Evaluation,
        believed_from,
        default_threshold,
        evaluate,
        evaluate_predictions,
        normalizer_name,
        sweep,
    )
    from keras_hourglass.evaluation.predictions import (
        Collector,
        Predictions,
        RecordHeatmaps,
        predict_records,
    )

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Collector": "predictions",
        "Evaluation": "measure",
        "Finding": "finding",
        "Predictions": "predictions",
        "RecordHeatmaps": "predictions",
        "believed_from": "measure",
        "default_threshold": "measure",
        "evaluate": "measure",
        "evaluate_detector": "finding",
        "evaluate_predictions": "measure",
        "load_predictions": "exchange",
        "normalizer_name": "measure",
        "predict_records": "predictions",
        "predictions_to_dict": "exchange",
        "read_keypoints": "exchange",
        "save_predictions": "exchange",
        "sweep": "measure",
    },
)
