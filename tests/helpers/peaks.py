"""Heatmaps whose maxima are hard to read: noisy peaks, some at the border, and flat maps."""

import numpy as np

from keras_hourglass.codec import HeatmapCodec


def noisy_peaks(decoder):
    """A `HeatmapCodec` and `(7, 12, 20, 5)` float32 maps of its inputs, those of the last flat."""
    rng = np.random.default_rng(3)
    codec = HeatmapCodec((48, 80), sigma=1.2, decoder=decoder)
    joints = rng.uniform((0, 0), (79, 47), (6, 5, 2))
    maps = codec.encode(joints, np.full((6, 5), 2))[0] + rng.normal(0, 0.01, (6, 12, 20, 5))
    return codec, np.concatenate([maps, np.zeros((1, 12, 20, 5))]).astype("float32")
