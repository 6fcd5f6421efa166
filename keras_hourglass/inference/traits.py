"""What a predictor needs to know of a model: its outputs, joints, decoder and thresholds."""

import numbers

import numpy as np

from keras_hourglass.codec import PRESENT_FROM, HeatmapCodec
from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import SKELETONS, Skeleton, get_skeleton


def is_number(value):
    """Whether a value is one finite real number."""
    return isinstance(value, numbers.Real) and np.isfinite(value)


def output_name(model, stack):
    """The name of the wanted output, the last stack's by default."""
    stacks = [name for name in model.output if "stride" not in name]
    if stack is None:
        return stacks[-1]
    if f"stack_{stack}" not in stacks:
        raise UserError(
            f"The model has no such stack. Received: stack={stack}. "
            f"Choose one of {', '.join(name.removeprefix('stack_') for name in stacks)}."
        )
    return f"stack_{stack}"


def find_skeleton(skeleton, model, joints, flip):
    """The skeleton of a model's joints.

    Args:
        skeleton: name, `Skeleton` or dict, or `None` for the model's own.
        model: the model.
        joints: K, the number of its heatmaps.
        flip: whether mirrored pictures will be averaged, which needs to know the sides.

    Returns:
        The `Skeleton`. A model without one has, by their number, the joints of one of the
        package's skeletons; failing that, joints without names.

    Raises:
        UserError: if the numbers of joints differ, or sides are needed and not known.
    """
    found = skeleton if skeleton is not None else getattr(model, "skeleton", None)
    if found is None:
        known = [known for known in SKELETONS.values() if known.num_joints == joints]
        if flip and not known:
            raise UserError(
                "Mirror averaging needs a skeleton, which says which joints change sides. "
                f"Received: a model of {joints} joints without one. "
                "Pass skeleton=... or flip=False."
            )
        names = tuple(f"joint_{index}" for index in range(1, joints + 1))
        found = known[0] if known else Skeleton("unnamed", names)
    found = get_skeleton(found)
    if found.num_joints != joints:
        raise UserError(
            f"The model has {joints} joints. Received: the skeleton {found.name!r} with "
            f"{found.num_joints}. Pass the skeleton that it was trained on."
        )
    return found


def own_codec(model, decoder=None, output=None):
    """The `HeatmapCodec` of an output, by default the last stack's, as the model's settings say.

    Heatmaps become joints as asked, else as is best for the model, else as in the paper.
    """
    size = tuple(model.input_shape[1:3])
    stride = size[0] // model.output[output or output_name(model, None)].shape[1]
    settings = getattr(model, "preprocessing", {})
    decoder = decoder or settings.get("decoder", "quarter")
    return HeatmapCodec(size, stride, settings.get("sigma", 1.5), decoder)


def joint_thresholds(thresholds, own, skeleton):
    """`(K,)` least scores of present joints."""
    if thresholds is not None and not isinstance(thresholds, dict):
        if not is_number(thresholds):
            raise UserError(
                f"`thresholds` is a number or a dict by joint name. Received: {thresholds!r}."
            )
        return np.full(skeleton.num_joints, float(thresholds))
    merged = {**own, **(thresholds or {})}
    for joint in thresholds or ():
        skeleton.index(joint)
    return np.array([float(merged.get(joint, PRESENT_FROM)) for joint in skeleton.joints])
