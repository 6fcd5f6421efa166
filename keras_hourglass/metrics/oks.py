"""Object keypoint similarity, as on COCO (NumPy)."""

from collections.abc import Sequence

import numpy as np

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.skeletons import COCO, own_names
from keras_hourglass.typing import Array

# Per-joint constants of the COCO evaluation, in the order of the COCO skeleton.
COCO_SIGMAS = (
    np.array(
        [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87]
        + [0.89, 0.89]
    )
    / 10
)
# Of joints that COCO does not have: the mean of those that it measured.
DEFAULT_SIGMA = 0.067
# A person's area in areas of the box, where nobody measured it, as COCO's tools take it.
AREA_OF_BOX = 0.53


def oks(
    predictions: Array, joints: Array, visibility: Array, areas: Array, sigmas: Array = COCO_SIGMAS
) -> np.ndarray:
    """Object keypoint similarity of one prediction per annotated person.

    Args:
        predictions: `(N, K, 2)` in source pixels.
        joints: `(N, K, 2)` annotations in source pixels.
        visibility: `(N, K)`; above 0 is annotated.
        areas: `(N,)` segment areas in square source pixels.
        sigmas: `(K,)` constants of the joints; COCO's by default.

    Returns:
        `(N,)` similarities 0 to 1; NaN for people without an annotated joint.

    Raises:
        DataError: if shapes differ, an area is not positive or a prediction is not finite.

    Example:

    >>> spread = 2 * 0.1 * 100 ** 0.5  # 2 sigma sqrt(area)
    >>> one = oks([[[spread, 0]]], [[[0, 0]]], [[2]], [100], sigmas=[0.1])
    >>> float(np.round(one, 6)[0])  # exp(-1/2)
    0.606531

    Reference:
        [Ronchi and Perona, 2017](https://arxiv.org/abs/1707.05388), equation 1.
    """
    predictions, joints = np.asarray(predictions, np.float64), np.asarray(joints, np.float64)
    areas, sigmas = np.asarray(areas, np.float64), np.asarray(sigmas, np.float64)
    counted = np.asarray(visibility) > 0
    if predictions.shape != joints.shape or joints.shape[1] != len(sigmas):
        raise DataError(
            "OKS needs predictions and annotations (N, K, 2) and K sigmas. Received: predictions "
            f"{predictions.shape}, annotations {joints.shape}, {len(sigmas)} sigmas."
        )
    if not (areas > 0).all() or not np.isfinite(predictions[counted]).all():
        raise DataError("OKS needs positive areas and finite predictions. Correct those people.")
    squared = np.square(predictions - joints).sum(axis=-1)
    # The small number is the COCO evaluation's own guard against division by zero.
    spread = 2 * (2 * sigmas) ** 2 * (areas[:, None] + np.spacing(1))
    similarity = np.where(counted, np.exp(-squared / spread), 0).sum(axis=1)
    number = counted.sum(axis=1)
    return np.where(number > 0, similarity / np.maximum(number, 1), np.nan)


def joint_sigmas(joints: Sequence[str]) -> np.ndarray:
    """Constants of joints for `oks`: how far apart people place them, in shares of a person's size.

    COCO measured those of its own joints; every other joint gets their mean, 0.067.

    Args:
        joints: K names; COCO's are known in any spelling.

    Returns:
        `(K,)` float64.

    Example:

    >>> joint_sigmas(["LeftEye", "RightEye", "tail"]).round(3).tolist()
    [0.025, 0.025, 0.067]
    """
    try:
        names = own_names(tuple(joints)) if len(set(joints)) == len(joints) else tuple(joints)
    except UserError:
        names = tuple(joints)  # half a pair
    known = dict(zip(COCO.joints, COCO_SIGMAS, strict=True))
    return np.array([known.get(name, DEFAULT_SIGMA) for name in names])
