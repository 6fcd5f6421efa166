"""Coordinate frames and the maps between them (NumPy only).

Three frames, all ``(x, y)`` with the centre of the first pixel at ``(0, 0)``:

* **source**: pixels of the original photograph;
* **input**: pixels of the crop the network sees, ``(height, width)``, e.g. 256×256;
* **heatmap**: pixels of the output maps, ``stride`` times smaller, e.g. 64×64.

Pixel *areas* are aligned at their outer edges, so centres obey
``heatmap = (input + 0.5) / stride - 0.5``. That makes mirroring exact: mirroring the input mirrors
its heatmaps without a shift.
"""

from collections.abc import Sequence

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.typing import Array, Size

# Side of a person box in sides of what it is around: an annotated rectangle, or the joints.
PADDING = 1.25
# Longer side of a rectangle in source pixels. Below it lie points, lines and fractions of a
# picture, for which a network would be shown a single enlarged pixel.
MIN_SIDE = 2.0


def boxes_from_xywh(xywh: Array) -> np.ndarray:
    """Person boxes (centre and square side) around rectangles.

    Args:
        xywh: `(..., 4)` rectangles `x, y, w, h` in source pixels; `x, y` is the centre of the
            top-left pixel and `w, h` count pixels, so the rectangle of a whole picture is
            `0, 0, width, height`.

    Returns:
        `(..., 3)` float64 array `centre x, centre y, side`: the smallest enclosing squares.

    Raises:
        UserError: if a value is not finite or a width or height is not positive.

    Example:

    >>> boxes_from_xywh([0, 0, 100, 50]).tolist()
    [49.5, 24.5, 100.0]
    """
    rectangles = np.asarray(xywh, dtype=np.float64)
    if rectangles.shape[-1:] != (4,):
        raise UserError(
            f"A box has four numbers x, y, w, h. Received: shape={rectangles.shape}. "
            "Pass an array whose last axis has length 4."
        )
    size = rectangles[..., 2:]
    if not np.isfinite(rectangles).all() or (size <= 0).any():
        raise UserError(
            "A box x, y, w, h needs finite numbers and a positive width and height. "
            f"Received: {rectangles.tolist()}. Correct or leave out that box."
        )
    centre = rectangles[..., :2] + size / 2 - 0.5
    return np.concatenate([centre, size.max(axis=-1, keepdims=True)], axis=-1)


def boxes_to_xywh(boxes: Array) -> np.ndarray:
    """The square rectangles of person boxes.

    Args:
        boxes: `(..., 3)` `centre x, centre y, side` in source pixels.

    Returns:
        `(..., 4)` rectangles `x, y, w, h` in source pixels, the inverse of `boxes_from_xywh`
        for squares.

    Example:

    >>> boxes_to_xywh([49.5, 24.5, 100.0]).tolist()
    [0.0, -25.0, 100.0, 100.0]
    """
    boxes = np.asarray(boxes, dtype=np.float64)
    side = boxes[..., 2:3]
    return np.concatenate([boxes[..., :2] - side / 2 + 0.5, side, side], axis=-1)


def crop_affine(
    box: Array, input_size: Size, rotation: float = 0.0, flip: bool = False, scale: float = 1.0
) -> np.ndarray:
    """The affine map from the source frame to the input frame of one person.

    The box's square is fitted into the shorter side of the input, so all of it is visible; a
    longer side shows more of the surroundings.

    Args:
        box: `centre x, centre y, side` in source pixels.
        input_size: `(height, width)` of the crop in input pixels.
        rotation: degrees by which the picture is turned counter-clockwise on the screen, about
            the centre of the box.
        flip: mirror the crop left to right (after the rotation).
        scale: factor on the box's side; above 1 the person becomes smaller in the crop.

    Returns:
        `(2, 3)` float64 matrix for `apply_affine` and `cv2.warpAffine`.

    Raises:
        UserError: if the side, the scale or a number is not positive and finite.

    Example:

    >>> matrix = crop_affine((49.5, 49.5, 100.0), (50, 50))
    >>> apply_affine(matrix, [[49.5, 49.5], [-0.5, -0.5]]).tolist()
    [[24.5, 24.5], [-0.5, -0.5]]
    """
    centre_x, centre_y, side = (float(value) for value in box)
    height, width = input_size
    if not np.isfinite([centre_x, centre_y, side, rotation, scale]).all() or side * scale <= 0:
        raise UserError(
            "A person box needs a finite centre and a positive, finite side. "
            f"Received: box={(centre_x, centre_y, side)}, scale={scale}, rotation={rotation}. "
            "Correct or leave out that person."
        )
    factor = min(height, width) / (side * scale)
    angle = np.deg2rad(rotation)
    cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
    # y points down, so a counter-clockwise turn on the screen is (c, s; -s, c).
    linear = np.array([[cosine, sine], [-sine, cosine]])
    if flip:
        linear[0] = -linear[0]
    target = np.array([(width - 1) / 2, (height - 1) / 2])
    return np.column_stack([linear, target - linear @ np.array([centre_x, centre_y])])


def apply_affine(matrix: Array, points: Array) -> np.ndarray:
    """Map points through `(2, 3)` affine matrices.

    Args:
        matrix: `(2, 3)`, or `(N, 2, 3)` for points `(N, K, 2)`.
        points: `(..., 2)` points `x, y` in the frame the matrix maps from.

    Returns:
        Points of the same shape, float64, in the frame the matrix maps to. NaN stays NaN.

    Example:

    >>> apply_affine([[2, 0, 1], [0, 2, 0]], [[3, 4]]).tolist()
    [[7.0, 8.0]]
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    points = np.asarray(points, dtype=np.float64)
    return points @ np.swapaxes(matrix[..., :2], -1, -2) + matrix[..., None, :, 2]


def invert_affine(matrix: Array) -> np.ndarray:
    """The inverse of affine matrices.

    Args:
        matrix: `(..., 2, 3)` invertible affine matrices.

    Returns:
        `(..., 2, 3)` float64 matrices mapping back.

    Example:

    >>> invert_affine([[2, 0, 1], [0, 4, 0]]).tolist()
    [[0.5, 0.0, -0.5], [0.0, 0.25, 0.0]]
    """
    matrix = np.asarray(matrix, dtype=np.float64)
    linear = np.linalg.inv(matrix[..., :2])
    shift = -(linear @ matrix[..., 2:])
    return np.concatenate([linear, shift], axis=-1) + 0.0  # + 0.0 turns -0.0 into 0.0


def input_to_heatmap(points: Array, stride: int = 4) -> np.ndarray:
    """Points of the input frame in the heatmap frame.

    Args:
        points: array of `x, y` in input pixels.
        stride: input pixels per heatmap pixel.

    Returns:
        Float array of the same shape in heatmap pixels.

    Example:

    >>> input_to_heatmap([1.5, 5.5]).tolist()
    [0.0, 1.0]
    """
    return (np.asarray(points, dtype=np.float64) + 0.5) / stride - 0.5


def heatmap_to_input(points: Array, stride: int = 4) -> np.ndarray:
    """Points of the heatmap frame in the input frame; the inverse of `input_to_heatmap`.

    Args:
        points: array of `x, y` in heatmap pixels.
        stride: input pixels per heatmap pixel.

    Returns:
        Float array of the same shape in input pixels.

    Example:

    >>> heatmap_to_input([0.0, 1.0]).tolist()
    [1.5, 5.5]
    """
    return (np.asarray(points, dtype=np.float64) + 0.5) * stride - 0.5


def mirror_points(points: Array, width: int) -> np.ndarray:
    """Points after their picture was mirrored left to right.

    Joint order is not touched; `Skeleton.flip_order` permutes it.

    Args:
        points: `(..., 2)` points `x, y` in pixels of any frame.
        width: width of that frame in its pixels.

    Returns:
        Float64 array of the same shape, with `x` replaced by `width - 1 - x`.

    Example:

    >>> mirror_points([[0.0, 3.0]], width=10).tolist()
    [[9.0, 3.0]]
    """
    mirrored = np.array(points, dtype=np.float64)
    mirrored[..., 0] = width - 1 - mirrored[..., 0]
    return mirrored


def boxes_from_joints(joints: Array, visibility: Array, padding: float = PADDING) -> np.ndarray:
    """Person boxes around labelled joints, for data sets that give no centre or scale.

    Args:
        joints: `(N, K, 2)` in source pixels.
        visibility: `(N, K)`; joints above 0 count.
        padding: the side is the longer extent of the joints times this factor.

    Returns:
        `(N, 3)` float64 boxes; NaN for people without a labelled joint. A person whose joints
        coincide gets a side of one pixel times `padding`.

    Example:

    >>> boxes_from_joints([[[0, 0], [8, 4]]], [[2, 2]], padding=1.5).tolist()
    [[4.0, 2.0, 12.0]]
    """
    joints = np.asarray(joints, dtype=np.float64)
    labelled = np.asarray(visibility)[..., None] > 0
    low = np.where(labelled, joints, np.inf).min(axis=1)
    high = np.where(labelled, joints, -np.inf).max(axis=1)
    with np.errstate(invalid="ignore"):
        boxes = np.concatenate(
            [(low + high) / 2, np.maximum(high - low, 1).max(axis=1, keepdims=True) * padding],
            axis=1,
        )
    boxes[~labelled.any(axis=(1, 2))] = np.nan
    return boxes


def _rectangles(boxes):
    """`(N, 4)` float64 of a list, which may be empty."""
    return np.asarray(boxes, np.float64).reshape(-1, 4)


def box_overlaps(first: Array, second: Array, of: str = "union") -> np.ndarray:
    """Overlap of every rectangle of one list with every one of another.

    Args:
        first: `(N, 4)` rectangles `x, y, w, h` in pixels of any frame.
        second: `(M, 4)` rectangles of the same frame.
        of: `"union"`: intersection over union; `"first"`: the share of the first rectangle that
            lies within the second.

    Returns:
        `(N, M)` float64, 0 to 1.

    Example:

    >>> box_overlaps([[0, 0, 10, 10]], [[5, 0, 10, 10], [0, 0, 5, 20]]).round(4).tolist()
    [[0.3333, 0.3333]]
    >>> box_overlaps([[0, 0, 10, 10]], [[5, 0, 10, 10]], of="first").tolist()
    [[0.5]]
    """
    first, second = _rectangles(first)[:, None], _rectangles(second)[None]
    low = np.maximum(first[..., :2], second[..., :2])
    high = np.minimum(first[..., :2] + first[..., 2:], second[..., :2] + second[..., 2:])
    shared = _area(np.maximum(high - low, 0))
    whole = _area(first[..., 2:])
    if of == "union":
        whole = whole + _area(second[..., 2:]) - shared
    return shared / np.maximum(whole, np.finfo(np.float64).tiny)


def _area(sides):
    """Products of widths and heights; over an axis of two, NumPy's own takes ten times as long."""
    return sides[..., 0] * sides[..., 1]


# Least intersection over union of a rectangle that two looks have seen.
SAME = 0.45
# Rectangles whose overlaps with all others are in memory at once.
_BLOCK = 64


def fuse_rectangles(found: Sequence[Array], same: float = SAME, overlap: float = 0.5) -> np.ndarray:
    """One list of rectangles from those of several looks at the same picture.

    Each rectangle meets, in every other look, the one that it overlaps most; the two are one if
    that is enough. It becomes the mean of them by score, and its score their sum over all looks:
    what one look alone has seen counts less. The best that do not overlap stay.

    Args:
        found: for each look `(N, 5)` rectangles `x, y, w, h, score`, scores positive.
        same: least intersection over union of a rectangle seen twice.
        overlap: greatest intersection over union of two rectangles that both stay.

    Returns:
        `(P, 5)` float64 rectangles, best first.

    Example:

    >>> once, again = [[0, 0, 10, 30, 0.6]], [[2, 0, 10, 30, 0.3], [50, 0, 10, 30, 0.4]]
    >>> fuse_rectangles([once, again]).round(2).tolist()
    [[0.67, 0.0, 10.0, 30.0, 0.45], [50.0, 0.0, 10.0, 30.0, 0.2]]

    Reference:
        [Solovyev et al., 2021](https://arxiv.org/abs/1910.13302), *Weighted boxes fusion*, whose
        clusters grow box by box instead.
    """
    looks = [np.asarray(boxes, np.float64).reshape(-1, 5) for boxes in found]
    every = np.concatenate([np.zeros((0, 5)), *looks])
    weights, sums = every[:, 4:].copy(), every[:, :4] * every[:, 4:]
    for number, others in enumerate(looks):
        if not len(others):
            continue
        overlaps = box_overlaps(every[:, :4], others[:, :4])
        best = overlaps.argmax(axis=1)
        own = np.repeat(np.arange(len(looks)), [len(boxes) for boxes in looks]) == number
        met = (overlaps.max(axis=1) >= same) & ~own
        partner = np.where(met, others[best, 4], 0.0)[:, None]
        weights += partner
        sums += others[best, :4] * partner
    fused = np.column_stack([sums / weights, weights / max(len(looks), 1)])
    order = np.argsort(-every[:, 4], kind="stable")  # of equal sums the one that was surer alone
    fused = fused[order]
    return fused[suppress_overlaps(fused[:, :4], fused[:, 4], overlap)]


def suppress_overlaps(
    boxes: Array, scores: Array, overlap: float = 0.5, most: int | None = None
) -> np.ndarray:
    """Non-maximum suppression: the best rectangles that do not overlap a better one too much.

    Args:
        boxes: `(N, 4)` rectangles `x, y, w, h` in pixels of any frame.
        scores: `(N,)`, higher is better.
        overlap: greatest intersection over union of two rectangles that both stay.
        most: how many stay at most.

    Returns:
        Indices of those that stay, best first; of equal scores the earlier one leads.

    Example:

    >>> suppress_overlaps([[0, 0, 9, 9], [1, 0, 9, 9], [20, 0, 9, 9]], [0.5, 0.9, 0.7]).tolist()
    [1, 2]
    """
    order = np.argsort(-np.asarray(scores, np.float64), kind="stable")
    boxes = _rectangles(boxes)[order]
    stays = np.ones(len(boxes), bool)
    kept: list[int] = []
    for first in range(0, len(boxes), _BLOCK):
        # A block at a time: the overlaps of all pairs of thousands would fill the memory.
        rows = first + np.flatnonzero(stays[first : first + _BLOCK])
        apart = box_overlaps(boxes[rows], boxes[first:]) <= overlap
        for row, others in zip(rows, apart, strict=True):
            if len(kept) == most:
                return order[np.array(kept, dtype=int)]
            if stays[row]:
                kept.append(int(row))
                stays[row + 1 :] &= others[row + 1 - first :]
    return order[np.array(kept, dtype=int)]
