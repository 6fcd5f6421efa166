"""Stacked hourglass networks for human pose estimation in Keras (arXiv 1603.06937).

Names are loaded on first use, so that importing the package loads neither TensorFlow nor OpenCV.
"""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy as _lazy
from keras_hourglass.registration import announce as _announce

if TYPE_CHECKING:
    from keras_hourglass.codec import HeatmapCodec
    from keras_hourglass.data.records import PoseRecords
    from keras_hourglass.layers import Hourglass, IntermediateSupervision, Residual, Stem
    from keras_hourglass.network.model import StackedHourglass
    from keras_hourglass.prediction.estimator import PoseEstimator
    from keras_hourglass.prediction.mapper import PoseMapper
    from keras_hourglass.prediction.pose import Pose
    from keras_hourglass.prediction.predictor import Predictor
    from keras_hourglass.skeletons import Skeleton, get_skeleton

__version__ = "0.2.0"
__getattr__, __dir__, __all__ = _lazy(
    __name__,
    {
        "HeatmapCodec": "codec",
        "Hourglass": "layers",
        "IntermediateSupervision": "layers",
        "Pose": "prediction.pose",
        "PoseEstimator": "prediction.estimator",
        "PoseMapper": "prediction.mapper",
        "PoseRecords": "data.records",
        "Predictor": "prediction.predictor",
        "Residual": "layers",
        "Skeleton": "skeletons",
        "StackedHourglass": "network.model",
        "Stem": "layers",
        "get_skeleton": "skeletons",
    },
)
__all__ += ["__version__"]
_announce()
