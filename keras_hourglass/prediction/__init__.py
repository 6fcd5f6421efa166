"""From pictures to poses."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.prediction.boxes import read_boxes
    from keras_hourglass.prediction.detection import HourglassDetector, make_detector
    from keras_hourglass.prediction.drawing import draw_poses
    from keras_hourglass.prediction.estimator import PoseEstimator, PosePreprocessor
    from keras_hourglass.prediction.mapper import PoseMapper
    from keras_hourglass.prediction.picture_poses import PicturePoses
    from keras_hourglass.prediction.pose import Pose
    from keras_hourglass.prediction.predictor import Predictor
    from keras_hourglass.prediction.tracking import PoseSmoother, PoseTracker

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "HourglassDetector": "detection",
        "PicturePoses": "picture_poses",
        "Pose": "pose",
        "PoseEstimator": "estimator",
        "PoseMapper": "mapper",
        "PosePreprocessor": "estimator",
        "PoseSmoother": "tracking",
        "PoseTracker": "tracking",
        "Predictor": "predictor",
        "draw_poses": "drawing",
        "make_detector": "detection",
        "read_boxes": "boxes",
    },
)
