"""What wrong joints were taken for: the other side, another joint, another person."""

from collections.abc import Sequence

import numpy as np

from keras_hourglass.metrics.pck import TOLERANCE
from keras_hourglass.skeletons import Skeleton, get_skeleton
from keras_hourglass.typing import Array

KINDS = ("correct", "swapped", "other_joint", "other_person", "nowhere")


def confusion(
    predictions: Array,
    joints: Array,
    visibility: Array,
    reference: Array,
    skeleton: Skeleton | str | dict,
    images: Sequence[str],
    threshold: float,
) -> dict:
    """Sort every counted joint by what its prediction lies on.

    A prediction within the threshold of its own joint is correct. A wrong one is `"swapped"` if
    it lies within the threshold of the same joint of the person's other side, `"other_joint"`
    of any other joint of the same person, `"other_person"` of any joint of another annotated
    person in the same picture, and else `"nowhere"`; in this order.

    Args:
        predictions, joints: `(N, K, 2)` in source pixels.
        visibility: `(N, K)`; above 0 is annotated.
        reference: `(N,)` lengths; NaN for people not to be counted (others' predictions may
            still lie on them).
        skeleton: the `Skeleton`, or its name.
        images: N picture names, equal for people in the same picture.
        threshold: distance in reference lengths of the person that was predicted.

    Returns:
        A dict with `"kinds"`: joint name -> counts of `KINDS`; `"matrix"`: `(K, K)` counts, row:
        the annotated joint, column: the own person's joint its prediction is nearest to within
        the threshold (the diagonal holds the correct ones).

    Example:

    >>> skeleton = {"name": "two", "joints": ("left_eye", "right_eye")}
    >>> truth = [[[0, 0], [10, 0]]]
    >>> found = confusion([[[10, 1], [10, 1]]], truth, [[2, 2]], [10], skeleton, ["a"], 0.2)
    >>> found["kinds"]["left_eye"], found["matrix"].tolist()
    ([0, 1, 0, 0, 0], [[0, 1], [0, 1]])
    """
    skeleton = get_skeleton(skeleton)
    predictions, joints = np.asarray(predictions, np.float64), np.asarray(joints, np.float64)
    annotated = np.asarray(visibility) > 0
    reference = np.asarray(reference, np.float64)
    number = skeleton.num_joints
    counted = annotated & ~np.isnan(reference)[:, None]
    limit = threshold * TOLERANCE * reference
    # distance[n, i, j]: prediction of joint i from annotated joint j, in reference lengths.
    offsets = predictions[:, :, None] - joints[:, None, :]
    distance = np.sqrt(np.square(offsets).sum(axis=-1))
    distance = np.where(annotated[:, None, :], distance, np.inf)
    near = distance <= np.where(np.isnan(limit), -1, limit)[:, None, None]
    own = np.arange(number)
    correct = near[:, own, own]
    partner = np.array(skeleton.flip_order)
    swapped = near[:, own, partner] & (partner != own) & ~correct
    other = near.any(axis=2) & ~correct & ~swapped
    wrong = counted & ~correct & ~swapped & ~other
    person = _on_other_people(predictions, joints, annotated, limit, images, wrong)
    kinds = [correct, swapped, other, person, wrong & ~person]
    totals = np.stack([(kind & counted).sum(axis=0) for kind in kinds], axis=1)

    matrix = np.zeros((number, number), np.int64)
    nearest = np.where(correct, own, distance.argmin(axis=2))
    hit = counted & near.any(axis=2)
    np.add.at(matrix, (np.broadcast_to(own, hit.shape)[hit], nearest[hit]), 1)
    return {"kinds": dict(zip(skeleton.joints, totals.tolist(), strict=True)), "matrix": matrix}


def _on_other_people(predictions, joints, annotated, limit, images, wrong):
    """Which wrong predictions lie on a joint of someone else in the same picture."""
    result = np.zeros_like(wrong)
    _, group = np.unique(np.asarray(images, dtype=str), return_inverse=True)
    order = np.argsort(group, kind="stable")
    for people in np.split(order, np.flatnonzero(np.diff(group[order])) + 1):
        for one in people if len(people) > 1 else ():
            others = people[people != one]
            marks = joints[others][annotated[others]]
            if not len(marks) or not wrong[one].any():
                continue
            offsets = predictions[one][:, None] - marks[None]
            close = np.sqrt(np.square(offsets).sum(axis=-1)).min(axis=1) <= limit[one]
            result[one] = wrong[one] & close
    return result
