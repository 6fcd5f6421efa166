"""Opening annotation files of other people's making, with one kind of error."""

import os

import numpy as np

from keras_hourglass.errors import DataError
from keras_hourglass.geometry import MIN_SIDE, PADDING, boxes_from_joints, boxes_from_xywh
from keras_hourglass.io.structured import one_line, shorten


def numbers(values, shape, what, path, limit=1e9):
    """An array of finite or NaN float64 numbers of a given shape.

    Args:
        values: anything `np.asarray` takes.
        shape: expected shape, with `None` for axes of any length.
        what: name of the value for the message.
        path: the annotation file for the message.
        limit: larger numbers, which no picture's pixels have, become NaN.

    Raises:
        DataError: if the values are not numbers or have another shape.
    """
    try:
        array = np.asarray(values)
        if array.dtype.kind == "c":  # NumPy would drop the imaginary part, and say so by a warning
            raise TypeError("complex ones received")
        if array.dtype.kind not in "fiub":
            array = array.astype(np.float64)
        array = array.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what} in {path} must be numbers ({one_line(error)}).") from error
    fits = array.ndim == len(shape) and all(
        wanted in (None, length) for wanted, length in zip(shape, array.shape, strict=True)
    )
    if not fits:
        named = tuple("any" if length is None else length for length in shape)
        raise DataError(
            f"{what} in {path} needs shape {named}. Received: {array.shape}. "
            "Is it the annotation file of this data set?"
        )
    return np.where(np.abs(array) <= limit, array, np.nan)


class Tally:
    """Counts what was left out or derived, by reason, with the first of each."""

    def __init__(self):
        self._counts = {}

    def add(self, reason, first):
        """Count one more; `first` names it if it is the first for this reason."""
        self._counts.setdefault(reason, [0, first])[0] += 1

    def lines(self, path, wording):
        """One line for each reason, e.g. with `"people left out ({})"`."""
        return tuple(
            f"{path}: {count} {wording.format(reason)}, the first is {first}"
            for reason, (count, first) in self._counts.items()
        )

    def __bool__(self):
        return bool(self._counts)

    def __str__(self):
        return "; ".join(f"{count} × {reason}" for reason, (count, _) in self._counts.items())


def usable_rectangle(value):
    """A rectangle `x, y, w, h` of an annotation file, or `None` where it is none.

    Args:
        value: what the file has; lines, points, negative sizes and other numbers are no rectangle.

    Returns:
        `(4,)` float64 array or `None`.
    """
    try:
        rectangle = numbers(value, (4,), "rectangle", "the file")
    except DataError:
        return None
    width, height = rectangle[2:]
    usable = np.isfinite(rectangle).all() and width > 0 and height > 0
    return rectangle if usable and max(width, height) >= MIN_SIDE else None


def is_tight(rectangle, joints):
    """Whether a rectangle merely encloses the labelled joints (the others lie at 0, 0)."""
    joints = joints[(joints != 0).any(axis=1)]
    low, high = joints.min(axis=0, initial=np.inf), joints.max(axis=0, initial=-np.inf)
    corners = [rectangle[:2] - low, rectangle[:2] + rectangle[2:] - high]
    return bool(np.abs(corners).max() <= 1.5)


def person_box(rectangle, joints, visibility, size=None):
    """The person box of an annotation: from its rectangle, its joints, or the whole picture.

    Args:
        rectangle: `(4,)` rectangle `x, y, w, h` in source pixels, or `None`.
        joints: `(K, 2)` in source pixels.
        visibility: `(K,)`, above 0 where labelled.
        size: width and height of the picture in source pixels, if known.

    Returns:
        `(3,)` box and `(4,)` rectangle in source pixels; the square around the rectangle or, if
        there is none, around the labelled joints, each times 1.25; the picture where the joints
        lie in one spot; `(None, None)` if its size is not known then.
    """
    if rectangle is not None:
        box = boxes_from_xywh(rectangle)
        return box * (1, 1, PADDING), rectangle
    labelled = joints[visibility > 0]
    if len(labelled) and np.ptp(labelled, axis=0).max() >= MIN_SIDE:
        box = boxes_from_joints(joints[None], visibility[None], padding=PADDING)[0]
        return box, np.array([*(box[:2] - box[2] / 2 + 0.5), box[2], box[2]])
    if size is None:
        return None, None
    rectangle = np.array([0.0, 0.0, *size])
    return boxes_from_xywh(rectangle), rectangle


def text(value, path):
    """A string of an annotation file, whatever wraps it there.

    Args:
        value: `str`, `bytes`, character codes (as some HDF5 files store text), or an array of one.
        path: the annotation file for the message.

    Raises:
        DataError: if it is not text.
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind in "iuf" and value.size > 1:
            try:
                return "".join(chr(int(code)) for code in value.ravel() if code).strip("\0 ")
            except (ValueError, OverflowError) as error:
                raise DataError(
                    f"A name in {path} is not text. Received: {shorten(value)}."
                ) from error
        value = value.ravel()[0] if value.size == 1 else None
    if isinstance(value, bytes):
        value = value.decode("utf-8", errors="replace")
    if not isinstance(value, str):
        raise DataError(f"Names in {path} must be text. Received: {shorten(value)}.")
    return str(value).strip("\0 ")


def structs(value):
    """The elements of a MATLAB struct array that `loadmat(squeeze_me=True)` returned.

    Holes (empty arrays, missing fields) give an empty list.
    """
    if hasattr(value, "_fieldnames"):
        return [value]
    if isinstance(value, np.ndarray) and value.dtype == object:
        return [element for element in value.ravel() if hasattr(element, "_fieldnames")]
    return []


def field(struct, name, default=None):
    """A field of a MATLAB struct; `default` if it is missing or empty."""
    value = getattr(struct, name, None) if name in getattr(struct, "_fieldnames", ()) else None
    if value is None or (isinstance(value, np.ndarray) and value.size == 0):
        return default
    return value


def check_split(path, split):
    """Refuse a split that a file of one split alone cannot give.

    Raises:
        DataError: if the file is named after another split.
    """
    stem, suffix = os.path.splitext(os.path.basename(path))
    if split is not None and suffix.lower() != ".mat" and stem != split:
        raise DataError(
            f"{path} holds one split only, which its name must say. Received: split {split!r}. "
            "Name the folder, or leave the split out."
        )
