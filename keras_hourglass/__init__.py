"""Stacked hourglass networks for human pose estimation in Keras (arXiv 1603.06937).

Names are loaded on first use, so that importing the package loads neither TensorFlow nor OpenCV.
"""

import importlib

__version__ = "0.1.0"

_HOMES = {
    "StackedHourglass": "model",
    "Residual": "layers",
    "Hourglass": "layers",
    "IntermediateSupervision": "layers",
    "Stem": "layers",
    "HeatmapCodec": "codec",
    "Predictor": "prediction",
    "Pose": "prediction",
    "Skeleton": "skeletons",
    "get_skeleton": "skeletons",
    "PoseRecords": "data.records",
}

__all__ = [*_HOMES, "__version__"]


def __getattr__(name):
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__():
    return sorted(__all__)
