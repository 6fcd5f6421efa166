"""Annotations of pictures that have since been turned or resized.

Tools differ in whether they look at a picture as it is stored or as EXIF turns it, and pictures
are made smaller after they were annotated. The size that the annotation file gives a picture tells.
"""

import concurrent.futures

import numpy as np

from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError
from keras_hourglass.io.images import stored_size

# Of the labelled joints, the share that may lie outside the frame that they were annotated in.
_OUTSIDE = 0.02


def follow_pictures(records: PoseRecords, spec: str) -> PoseRecords:
    """Records whose joints and boxes lie where the pictures show them.

    Args:
        records: `PoseRecords` with the pictures' width and height of the annotation file in
            `extra["announced"]`, NaN where it has none.
        spec: what to call the data set in notes.

    Returns:
        `PoseRecords` in the pixels of the pictures as they are read. Where the picture has the
        announced proportions, or those before EXIF turned it, joints and boxes are scaled and
        turned; where it has others they stay as they are. Both stand in `notes`, and for each
        person in `extra["other_size"]` (empty text where the sizes agree).

    Example:

    >>> follow_pictures(records, "coco:photos")  # doctest: +SKIP
    """
    announced = records.extra["announced"]
    paths = dict.fromkeys(records.images[np.isfinite(announced).all(axis=1)])
    sizes = _stored_sizes(list(paths))
    columns = {name: np.array(getattr(records, name)) for name in ("boxes", "joints", "reference")}
    columns["areas"] = None if records.areas is None else np.array(records.areas)
    columns["rectangle"] = np.array(records.extra["rectangle"], np.float64)
    said, counts = np.full(len(records), "", dtype=object), {}
    for row, path in enumerate(records.images):
        if path not in sizes or not np.isfinite(announced[row]).all():
            continue
        labelled = records.joints[row][records.visibility[row] > 0]
        relation = _relation(announced[row], sizes[path], labelled)
        if relation is None:
            continue
        width, height = announced[row]
        what, ratio, turn = relation
        said[row] = f"{width:.0f}×{height:.0f} px in the annotation file, {what}"
        first = counts.setdefault(_kind(what), [set(), path, said[row]])
        first[0].add(path)
        if ratio is not None:
            _move(columns, row, ratio, turn)
    notes = tuple(
        f"{spec}: {len(pictures)} pictures of another size than the annotation file says, the "
        f"first is {first}: {text}"
        for pictures, first, text in counts.values()
    )
    extra = {**records.extra, "rectangle": columns.pop("rectangle"), "other_size": said}
    return records.with_columns(extra=extra, notes=(*records.notes, *notes), **columns)


def _stored_sizes(paths):
    """path -> `(height, width, orientation)` of the pictures that can be read."""

    def look(path):
        try:
            return stored_size(path)
        except DataError:
            return None  # said by whoever needs the pixels

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        found = zip(paths, pool.map(look, paths), strict=True)
        return {path: size for path, size in found if size is not None}


def _relation(announced, stored, joints):
    """How a picture differs from what its file announces; `None` if it does not.

    Returns:
        `(what, ratio, turn)`: words; factors in x and y, or `None` where nothing can be done; and
        `None` or `(orientation, width, height)` to turn by afterwards.
    """
    height, width, orientation = stored
    turned = orientation >= 5
    shown = np.array([height, width] if turned else [width, height], np.float64)
    if np.abs(announced - shown).max() <= 1:
        return None
    size = f"{shown[0]:.0f}×{shown[1]:.0f} as it is read"
    if turned and _same_proportions(announced, (width, height)) and not _outside(joints, announced):
        ratio = np.array([width, height]) / announced
        return f"{size}: turned as EXIF says", ratio, (orientation, width, height)
    if _same_proportions(announced, shown) and not _outside(joints, announced):
        ratio = shown / announced
        return f"{size}: scaled by {ratio.mean():.4g}", ratio, None
    return f"{size}: the joints are left as they are", None, None


def _same_proportions(announced, size):
    """Whether one size is the other's, enlarged or made smaller and rounded to pixels."""
    ratio = size[0] / announced[0]
    return abs(announced[1] * ratio - size[1]) <= 1 + ratio


def _outside(joints, size):
    """Whether joints cannot have been annotated on a picture of this size."""
    if not len(joints):
        return False
    beyond = (joints < -0.5).any(axis=1) | (joints > size - 0.5 + 0.01 * size).any(axis=1)
    return beyond.mean() > _OUTSIDE and bool((joints > 1.1 * size).any())


def _kind(what):
    return what.rsplit(": ", 1)[-1].split(" by ")[0]


def _move(columns, row, ratio, turn):
    """Scale and turn one person's columns in place."""
    box, corner = columns["boxes"][row], columns["rectangle"][row]
    ends = np.stack([corner[:2], corner[:2] + corner[2:] - 1])
    points = _scaled(np.concatenate([box[None, :2], columns["joints"][row]]), ratio)
    # Of a rectangle the outer edges are scaled, half a pixel from the centres of its corners.
    ends = _scaled(ends + [[-0.5], [0.5]], ratio) + [[0.5], [-0.5]]
    if turn is not None:
        points, ends = _turned(points, *turn), np.sort(_turned(ends, *turn), axis=0)
    mean = float(np.sqrt(ratio.prod()))
    columns["boxes"][row] = [*points[0], box[2] * mean]
    columns["joints"][row] = points[1:]
    columns["rectangle"][row] = [*ends[0], *(ends[1] - ends[0] + 1)]
    columns["reference"][row] *= mean
    if columns["areas"] is not None:
        columns["areas"][row] *= ratio.prod()


def _scaled(points, ratio):
    """Points of a picture in the pixels of the same picture at another size."""
    return (points + 0.5) * ratio - 0.5


def _turned(points, orientation, width, height):
    """Points of a picture as it is stored where EXIF's orientation shows them."""
    x, y = points[:, 0], points[:, 1]
    left, up = width - 1 - x, height - 1 - y
    across = {5: (y, x), 6: (up, x), 7: (up, left), 8: (y, left)}[orientation]
    return np.stack(across, axis=1)
