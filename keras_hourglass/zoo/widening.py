"""Weights of a narrow network for a wider one that gives the same heatmaps, to be trained on."""

import numpy as np

from keras_hourglass.errors import WeightsError


def widen(arrays, shapes, spread=0.5, seed=0):
    """Copy every channel of a network until it fills a wider one of the same form.

    A channel that exists `r` times passes its weight on in `r` unequal parts that add up to it, so
    the wide network gives the same heatmaps, and yet its copies have gradients of their own and
    part ways in training.

    Args:
        arrays: dict name -> array of the narrow network, see `weights.arrays_of`.
        shapes: dict name -> shape in the wide network; every axis a whole multiple.
        spread: by how much the parts differ, 0 (equal parts, which would never part ways) to 1.
        seed: of the parts.

    Returns:
        A dict name -> float32 array for `weights.assign_arrays`.

    Raises:
        WeightsError: if the networks differ in more than their widths.

    Example:

    >>> narrow = {"conv/kernel": np.ones((1, 1, 1, 1)), "conv/bias": np.zeros(1)}
    >>> wide = widen(narrow, {"conv/kernel": (1, 1, 2, 4), "conv/bias": (4,)})
    >>> wide["conv/kernel"].sum(axis=2).round(6).tolist()
    [[[1.0, 1.0, 1.0, 1.0]]]

    Reference:
        [Chen et al., 2016](https://arxiv.org/abs/1511.05641), Net2WiderNet.
    """
    different = sorted(set(arrays) ^ set(shapes))
    if different:
        raise WeightsError(
            "A network can only be widened to one with the same layers. "
            f"Received: {different[0]} is in one of them only. Use the same stacks and depth."
        )
    rng = np.random.default_rng(seed)
    return {
        name: _widened(name, np.asarray(arrays[name], np.float32), tuple(shape), spread, rng)
        for name, shape in shapes.items()
    }


def _widened(name, narrow, shape, spread, rng):
    if len(shape) != narrow.ndim or np.any(np.mod(shape, narrow.shape)):
        raise WeightsError(
            "Every width must be a whole multiple of the narrow one. "
            f"Received: {name} of {narrow.shape} for {shape}. Choose another num_features or stem."
        )
    times = np.floor_divide(shape, narrow.shape)
    wide = np.tile(narrow, times)
    if narrow.ndim < 4 or times[2] == 1:
        return wide
    # What enters exists several times: parts that differ by input and output channel.
    copies = times[2]
    parts = 1 + spread * rng.uniform(-1, 1, (copies, narrow.shape[2], shape[3]))
    parts /= parts.sum(axis=0)
    return (wide * parts.reshape(shape[2:])).astype(np.float32)
