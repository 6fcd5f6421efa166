"""Which skeletons are of the same person, and which of them stays."""

from collections.abc import Sequence

import numpy as np

from keras_hourglass.metrics.oks import joint_sigmas, oks
from keras_hourglass.prediction.pose import Pose

# Object keypoint similarity from which two skeletons are one person's.
SAME_PERSON = 0.7
# The same beside one in the whole picture: one in a box around a part of the person differs more.
SAME_IN_WHOLE = 0.4
# How much surer it must be than somebody beside.
SURER = 1.1
# Joints that two must share to be compared.
LEAST_JOINTS = 3
# A person's area in shares of the square of the longer extent of the joints: that of somebody
# upright whose joints are 2.2 times as tall as wide, of which COCO's outlines fill two thirds.
AREA = 0.3


def pose_areas(keypoints: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Areas of people by the extent of their joints, since boxes may hold more than one person.

    Args:
        keypoints: `(N, K, 2)` in source pixels.
        shown: `(N, K)` bool, which joints count.

    Returns:
        `(N,)` square source pixels, at least 1.

    Example:

    >>> pose_areas(np.array([[[0, 0], [30, 100]]]), np.array([[True, True]])).tolist()
    [3000.0]
    """
    points = np.where(shown[..., None], keypoints, np.nan)
    counted = shown.any(axis=1)
    extent = np.zeros(len(points))
    if counted.any():
        spread = np.nanmax(points[counted], axis=1) - np.nanmin(points[counted], axis=1)
        extent[counted] = spread.max(axis=1)
    return np.maximum(AREA * extent**2, 1.0)


def similarities(pose: Pose, others: Sequence[Pose], least: int = LEAST_JOINTS) -> np.ndarray:
    """Object keypoint similarity of a skeleton with others of the same model.

    The joints present in both are compared. The area is the mean of the two.

    Args:
        pose: a `Pose`.
        others: P of them.
        least: joints that must be present in both, or all where there are fewer; by default three,
            since less tells nothing of two people side by side.

    Returns:
        `(P,)` float64, 0 to 1; 0 where too few joints are compared.

    Example:

    >>> from keras_hourglass.skeletons import get_skeleton
    >>> standing = np.linspace((0, 0), (10, 90), 14)
    >>> one, two = (
    ...     Pose(standing + (shift, 0), [0.9] * 14, (0, 0, 50, 100), get_skeleton("lsp"))
    ...     for shift in (0, 50)
    ... )
    >>> similarities(one, [one, two]).round(2).tolist()
    [1.0, 0.0]
    """
    if not len(others):
        return np.zeros(0)
    points = np.array([other.keypoints for other in others])
    mine = np.broadcast_to(pose.keypoints, points.shape)
    both = np.array([other.present & pose.present for other in others])
    both &= (both.sum(axis=1) >= min(least, len(pose.names)))[:, None]
    shown = np.array([other.present for other in others])
    areas = (pose_areas(points, shown) + pose_areas(pose.keypoints[None], pose.present[None])) / 2
    clean = np.where(both[..., None], points, 0), np.where(both[..., None], mine, 0)
    found = oks(*clean, both, areas, joint_sigmas(pose.names))
    return np.nan_to_num(found)


def merge_doubles(poses: Sequence[Pose], similarity: float = SAME_PERSON) -> list[Pose]:
    """Non-maximum suppression of skeletons: of several of one person the surest stays.

    Args:
        poses: the `Pose`s of one picture.
        similarity: object keypoint similarity from which two are one person's.

    Returns:
        Those that stay, the best score first.

    Example:

    >>> merge_doubles([])
    []
    """
    waiting = sorted(poses, key=lambda pose: (pose.sure, pose.score), reverse=True)
    extents = _extents(waiting)
    kept, left = [], np.arange(len(waiting))
    while len(left):
        best, left = left[0], left[1:]
        kept.append(waiting[best])
        # Of thousands of people only few are near.
        near = (extents[left, :2] <= extents[best, 2:]).all(axis=1)
        near &= (extents[left, 2:] >= extents[best, :2]).all(axis=1)
        beside = left[near]
        alike = similarities(waiting[best], [waiting[place] for place in beside]) >= similarity
        left = left[~np.isin(left, beside[alike])]
    return kept


def _extents(poses):
    """`(N, 4)` left, top, right, bottom of the joints that are present; far away without any."""
    extents = np.full((len(poses), 4), -np.inf)
    for place, pose in enumerate(poses):
        if pose.present.any():
            points = pose.keypoints[pose.present]
            extents[place] = *points.min(axis=0), *points.max(axis=0)
    extents[np.isinf(extents[:, 0]), :2] = np.inf
    return extents


def choose_people(found: Sequence[Pose], whole: Pose | None, whole_from: float) -> list[Pose]:
    """The people of a picture, of skeletons in boxes that were found and one in the whole picture.

    Who fills a photograph is often missed by a detector, or found in parts. So the skeleton in the
    whole picture is that person if it is surer than what the boxes gave, and clearly surer than
    whoever is sure and elsewhere; only such stay beside it.

    Args:
        found: the skeletons in the boxes.
        whole: that in the whole picture, or `None`.
        whole_from: least mean score at which there is somebody in the whole picture.

    Returns:
        The people, the best score first.
    """
    if whole is None:
        return merge_doubles(found)
    sure = [pose for pose in found if pose.sure]
    alike = similarities(whole, sure, least=1)
    elsewhere = [p for p, same in zip(sure, alike, strict=True) if same < SAME_IN_WHOLE]
    least = [float(pose.scores.mean()) for pose in sure]
    least += [SURER * float(pose.scores.mean()) for pose in elsewhere]
    if float(whole.scores.mean()) < max([whole_from, *least]):
        return merge_doubles(found)
    return [whole, *merge_doubles(elsewhere)]
