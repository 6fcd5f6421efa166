"""Starting a network from the weights of another: with other joints, or wider."""

import logging

import numpy as np

from keras_hourglass.errors import WeightsError
from keras_hourglass.typing import Array
from keras_hourglass.zoo.weights import arrays_of

_LOG = logging.getLogger("keras_hourglass")
# The layers with one channel per joint: where it is in the kernel's axes.
_HEATMAPS, _FED_BACK = "/heatmaps/", "/merge_heatmaps/kernel"


def match_heads(model, arrays, joints, origin="the weights"):
    """Arrays for a model with other joints than the arrays were trained for.

    Joints of the same name keep their channel wherever heatmaps are made or fed back; the others
    have what the new model started with. Without names on either side, channels are kept only if
    there are equally many. A log message says which joints were kept.

    Args:
        model: the new model, freshly initialised.
        arrays: dict name -> array of the old network.
        joints: the old network's joint names, or `None`.
        origin: what the arrays came from, for the message.

    Returns:
        A dict name -> array for `assign_arrays`.
    """
    new = model.skeleton.joints if model.skeleton else None
    fresh = arrays_of(model)
    old_count = _old_count(arrays)
    if new is not None and joints is not None:
        pairs = [(joints.index(joint), k) for k, joint in enumerate(new) if joint in joints]
    else:
        same = old_count == model.num_keypoints
        pairs = [(k, k) for k in range(model.num_keypoints)] if same else []
    matched = dict(arrays)
    for name, start in fresh.items():
        axis = _joint_axis(name)
        if axis is not None and name in arrays:
            matched[name] = _take(arrays[name], start, pairs, axis)
    _report(model, new, pairs, origin)
    return matched


def widen(
    arrays: dict[str, Array],
    shapes: dict[str, tuple[int, ...]],
    spread: float = 0.5,
    seed: int = 0,
) -> dict[str, np.ndarray]:
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


def _joint_axis(name):
    """The axis of an array that counts joints, or `None`."""
    if name.endswith(_FED_BACK):
        return 2
    return -1 if _HEATMAPS in name else None


def _old_count(arrays):
    counts = {array.shape[-1] for name, array in arrays.items() if _HEATMAPS in name}
    return counts.pop() if len(counts) == 1 else None


def _take(old, start, pairs, axis):
    result = np.array(start)
    for before, after in pairs:
        destination = np.moveaxis(result, axis, 0)
        destination[after] = np.moveaxis(np.asarray(old), axis, 0)[before]
    return result


def _report(model, joints, pairs, origin):
    kept = [after for _, after in pairs]
    names = joints or [f"#{k}" for k in range(model.num_keypoints)]
    anew = [name for k, name in enumerate(names) if k not in kept]
    _LOG.warning(
        "%s for other joints: %d of %d keep their weights (%s); new: %s",
        origin,
        len(kept),
        len(names),
        ", ".join(names[k] for k in kept) or "none",
        ", ".join(anew) or "none",
    )


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
