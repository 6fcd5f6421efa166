"""Metrics: NumPy functions for predictions in files, a Keras metric for `fit`.

`HeatmapPCK` is loaded on first use, so that scoring a file does not import Keras.
"""

import importlib

from keras_hourglass.choices import MEANS
from keras_hourglass.errors import did_you_mean
from keras_hourglass.metrics.coco_eval import average_precision
from keras_hourglass.metrics.curves import auc, group_curves, nme, pck_curve
from keras_hourglass.metrics.oks import joint_sigmas, oks
from keras_hourglass.metrics.pck import (
    PCK,
    default_threshold,
    merge_counts,
    normalized_distances,
    normalizer_name,
    pck,
    pckh,
    reference_lengths,
    summarize,
)

__all__ = [
    "MEANS",
    "PCK",
    "HeatmapPCK",
    "auc",
    "average_precision",
    "default_threshold",
    "group_curves",
    "joint_sigmas",
    "merge_counts",
    "nme",
    "normalized_distances",
    "normalizer_name",
    "oks",
    "pck",
    "pck_curve",
    "pckh",
    "reference_lengths",
    "summarize",
]


def __getattr__(name):
    if name != "HeatmapPCK":
        hint = did_you_mean(name, __all__)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}.{hint}")
    value = importlib.import_module("keras_hourglass.metrics.heatmap").HeatmapPCK
    globals()[name] = value
    return value
