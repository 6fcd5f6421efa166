"""People who are cut off, and crops without anybody, for asking whether a network knows that a
joint is not there."""

import numpy as np

from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.scenes import SceneRecords
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import PADDING, box_overlaps, boxes_from_xywh
from keras_hourglass.io.images import shown_size
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Array

SIDES = ("top", "bottom", "left", "right")  # the part of the person that stays
SHARES = (0.4, 0.7)  # least and largest part of a person's extent that stays
# Sides of windows in shorter sides of the photograph, and how often a place is tried.
_WINDOWS, _TRIES = (0.25, 0.8), 40


def cut_person(
    joints: Array, visibility: Array, side: str, share: float
) -> tuple[np.ndarray, np.ndarray] | None:
    """The square crop that shows only a part of a person.

    A level or upright line crosses the person; the crop ends at the line and encloses the joints
    on one side of it.

    Args:
        joints: `(K, 2)` joints in source pixels.
        visibility: `(K,)`; above 0 is annotated.
        side: the part that stays: `"top"`, `"bottom"`, `"left"` or `"right"` of the picture.
        share: how much of the extent of the joints stays, 0 to 1.

    Returns:
        `(3,)` box `centre x, centre y, side` in source pixels and `(K,)` visibility, 0 for the
        joints beyond the line; `None` if fewer than two joints stay or none is cut off.

    Example:

    >>> box, left = cut_person([[0, 0], [8, 0], [4, 40], [4, 100]], [2, 2, 1, 2], "top", 0.4)
    >>> box.tolist(), left.tolist()
    ([4.0, 17.5, 45.0], [2, 2, 1, 0])
    """
    joints, visibility = np.asarray(joints, np.float64), np.asarray(visibility)
    known = joints[visibility > 0]
    along = 1 if side in ("top", "bottom") else 0
    # Measured from the end that stays towards the line.
    sign = 1 if side in ("top", "left") else -1
    depth = sign * joints[:, along]
    start, end = (sign * known[:, along]).min(), (sign * known[:, along]).max()
    line = start + share * (end - start)
    stays = (visibility > 0) & (depth <= line)
    if stays.sum() < 2 or stays.sum() == len(known):
        return None
    across = joints[stays, 1 - along]
    width, length = across.max() - across.min(), line - start
    edge = max(PADDING * width, (PADDING + 1) / 2 * length, 1.0)  # no margin at the line
    box = np.empty(3)
    box[along] = sign * (line - edge / 2)
    box[1 - along] = (across.max() + across.min()) / 2
    box[2] = edge
    return box, np.where(depth <= line, visibility, 0)


def whole_and_cut(records: PoseRecords, times: int = 1, seed: int = 1) -> PoseRecords:
    """Everybody whole and cut off at random lines, as often the one as the other.

    Args:
        records: `PoseRecords` of N people.
        times: how often each person is shown whole and how often cut, every time from another
            side.
        seed: of the random sides and lines.

    Returns:
        `PoseRecords` of up to 2 x `times` x N people: all as they were, then those who could be
        cut, joints beyond the line with visibility 0. `extra["cut"]` tells the two apart,
        `extra["person"]` gives the row in `records`.

    Raises:
        UserError: if `times` is not 1 to 4, or nobody can be cut.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> both = whole_and_cut(synthetic_records(num=2, seed=1), times=2)
    >>> int(both.extra["cut"].sum()), both.extra["person"].tolist()
    (4, [0, 1, 0, 1, 0, 0, 1, 1])
    """
    if times not in range(1, len(SIDES) + 1):
        raise UserError(
            f"A person can be cut from {len(SIDES)} sides. Received: times={times}. "
            f"Choose 1 to {len(SIDES)}."
        )
    random = np.random.default_rng(seed)
    people, boxes, visibility = [], [], []
    for person in range(len(records)):
        for side in random.permutation(SIDES)[:times]:
            found = cut_person(
                records.joints[person], records.visibility[person], side, random.uniform(*SHARES)
            )
            if found is not None:
                people.append(person)
                boxes.append(found[0])
                visibility.append(found[1])
    if not people:
        raise UserError(
            "Cutting people off needs people with at least three joints in different places. "
            f"Received: {len(records)} people, none of them such."
        )
    whole = len(records) * times
    rows = np.concatenate([np.tile(np.arange(len(records)), times), people])
    both = records.select(rows)
    both.extra.update(cut=np.arange(len(rows)) >= whole, person=rows)
    return both.with_columns(
        boxes=np.concatenate([both.boxes[:whole], boxes]),
        visibility=np.concatenate([both.visibility[:whole], visibility]),
        ids=[f"{key}/{row}" for row, key in enumerate(both.ids)],
    )


def empty_crops(
    scenes: SceneRecords, skeleton: Skeleton, times: int = 1, seed: int = 1
) -> PoseRecords:
    """Crops of photographs in which nobody is, as a detector that errs would give them.

    Args:
        scenes: photographs with everybody's boxes, see `load_scenes`.
        skeleton: the `Skeleton` of the joints that are not there.
        times: how many crops of each photograph, at most.
        seed: of the places.

    Returns:
        `PoseRecords` of squares that touch nobody's box, with no joint labelled; photographs
        without room for one have none. `extra["photo"]` gives the row in `scenes`.

    Raises:
        UserError: if no photograph has a place without people.

    Example:

    >>> empty_crops(load_scenes("boxes:scenes.json"), get_skeleton("lsp"))  # doctest: +SKIP
    """
    random, photos, windows = np.random.default_rng(seed), [], []
    for photo, (path, boxes) in enumerate(zip(scenes.images, scenes.boxes, strict=True)):
        height, width = shown_size(path)
        for _ in range(times):
            window = _empty_window(boxes, (width, height), random)
            if window is not None:
                photos.append(photo)
                windows.append(window)
    if not windows:
        raise UserError(
            "Crops without anybody need photographs with room beside the people. Received: "
            f"{len(scenes)} photographs, none of them such."
        )
    shape = len(windows), skeleton.num_joints
    return PoseRecords(
        skeleton,
        scenes.images[photos],
        boxes_from_xywh(windows),
        np.zeros((*shape, 2)),
        np.zeros(shape, int),
        np.full(len(windows), np.nan),
        [f"{scenes.ids[photo]}/empty{number}" for number, photo in enumerate(photos)],
        extra={"photo": np.array(photos)},
    )


def _empty_window(boxes, size, random):
    """A square `x, y, w, h` within a picture of `(width, height)` that touches none of the boxes,
    or `None`; of the tries the first that fits."""
    for _ in range(_TRIES):
        side = random.uniform(*_WINDOWS) * min(size)
        x, y = (random.uniform(0, edge - side) for edge in size)
        if not box_overlaps([[x, y, side, side]], np.reshape(boxes, (-1, 4))).any():
            return x, y, side, side
    return None
