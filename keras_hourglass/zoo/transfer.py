"""Weights of a network for other joints: all but the heads carry over, and joints by name."""

import logging

import numpy as np

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
