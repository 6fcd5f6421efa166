"""Which people are in which picture: boxes as users give them, and box files."""

import json
import os
import pathlib

import numpy as np

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import boxes_from_xywh, crop_affine

PERSON = 1  # COCO's category number
# Longer side of a box in source pixels. Below it lie boxes given as fractions of the picture, for
# which the network would be shown a single enlarged pixel.
MIN_SIDE = 2.0


class Rectangles:
    """The given boxes of every picture of a source.

    Args:
        boxes: `None`; `(4,)` or `(P, 4)` rectangles `x, y, w, h` in source pixels (a fifth column
            holds scores) for every picture; a dict of such by path or file name; or a list with
            one entry for each of a list of pictures.
        pictures: the opened `Pictures`.

    Raises:
        UserError: if a rectangle has not four or five numbers, or a list has another length.
    """

    def __init__(self, boxes, pictures):
        self._every, self._each, self._named = None, None, None
        if isinstance(boxes, dict):
            self._named = {os.fspath(name): as_rectangles(value) for name, value in boxes.items()}
        elif boxes is not None and pictures.kind == "list" and _nested(boxes):
            if pictures.count is not None and len(boxes) != pictures.count:
                raise UserError(
                    "A list of pictures needs one entry of boxes for each. "
                    f"Received: {pictures.count} pictures, {len(boxes)} entries. Use None for "
                    "pictures without boxes."
                )
            self._each = [None if entry is None else as_rectangles(entry) for entry in boxes]
        elif boxes is not None:
            self._every = as_rectangles(boxes)

    def of(self, picture, index):
        """The `(P, 4)` or `(P, 5)` rectangles of a picture, or `None` if none were given."""
        if self._each is not None:
            return self._each[index] if index < len(self._each) else None
        if self._named is not None:
            name = pathlib.PurePath(picture.name)
            for key in (picture.name, name.name, name.stem):
                if key in self._named:
                    return self._named[key]
            return None
        return self._every


def _nested(boxes):
    """Whether boxes have one entry per picture, rather than being one rectangle."""
    return not all(np.isscalar(value) for value in boxes)


def as_rectangles(boxes):
    """Rectangles as a `(P, 4)` or `(P, 5)` float64 array.

    Args:
        boxes: one rectangle `x, y, w, h` (and perhaps a score) or a list of them, source pixels.

    Raises:
        UserError: if they have another shape, are not finite, or are shorter than `MIN_SIDE`.

    Example:

    >>> as_rectangles([1, 2, 30, 40]).shape
    (1, 4)
    """
    try:
        array = np.asarray(boxes, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(())
    if array.ndim == 1 and array.size:
        array = array[None]
    if array.size == 0 and array.ndim:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] not in (4, 5):
        raise UserError(
            "A box is x, y, w, h in source pixels, with or without a score. "
            f"Received: {boxes!r}. Give four or five numbers for each person."
        )
    wrong = ~np.isfinite(array).all(axis=1) | (array[:, 2:4] <= 0).any(axis=1)
    if wrong.any():
        raise UserError(
            "A box x, y, w, h needs finite numbers and a positive width and height. "
            f"Received: {array[wrong][0].tolist()}. Correct or leave out that box."
        )
    small = array[:, 2:4].max(axis=1) < MIN_SIDE
    if small.any():
        raise UserError(
            f"A box x, y, w, h is in source pixels, its longer side at least {MIN_SIDE:.0f}. "
            f"Received: {array[small][0].tolist()}. Multiply fractions of the picture by its "
            "width and height; leave out a box of a single pixel."
        )
    return array


def person_affines(rectangles, input_size, padding=1.0):
    """The maps from source to input pixels for people in rectangles.

    Args:
        rectangles: `(P, 4)` or `(P, 5)` rectangles `x, y, w, h, ...` in source pixels.
        input_size: `(height, width)` of the crops in input pixels.
        padding: factor by which the enclosing squares grow about their centre.

    Returns:
        `(P, 2, 3)` float64 matrices, see `geometry.crop_affine`.

    Example:

    >>> person_affines(np.array([[0, 0, 99, 50]]), (33, 33))[0, :, 2].round(6).tolist()
    [-0.333333, 7.833333]
    """
    squares = boxes_from_xywh(rectangles[:, :4])
    squares[:, 2] *= padding
    matrices = [crop_affine(square, input_size) for square in squares]
    return np.reshape(matrices, (-1, 2, 3))


def check_overlap(rectangles, image, name):
    """Refuse boxes that show nothing of the picture."""
    low, high = rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:4]
    outside = (high <= 0).any(axis=1) | (low >= (image.shape[1], image.shape[0])).any(axis=1)
    if outside.any():
        raise DataError(
            f"A box must overlap its picture of {image.shape[1]}×{image.shape[0]}. Received: "
            f"{rectangles[outside][0, :4].tolist()} for {name}. Correct or leave out that box."
        )


def read_boxes(path, min_score=0.0):
    """Boxes by picture from a JSON file.

    Args:
        path: a dict `{"photo.jpg": [[x, y, w, h], ...]}`; COCO annotations (`images` and
            `annotations` with `bbox`); COCO detections, a list of
            `{"image_id", "bbox", "score"}`, whose `image_id` is the file's name or number; or
            the output of `predict`.
        min_score: leave out detections with a lower score.

    Returns:
        A dict from names (file names, or COCO's twelve-digit stems) to `(P, 4)` or `(P, 5)`
        arrays of rectangles.

    Raises:
        DataError: if the file cannot be read as one of these.
    """
    try:
        content = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(
            f"The box file cannot be read. Received: {path} ({error.strerror}). Check the path."
        ) from error
    except ValueError as error:
        raise DataError(f"Boxes are read from JSON. Received: {path} ({error}).") from error
    try:
        found = _boxes_by_name(content, min_score)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(
            'A box file is {"photo.jpg": [[x, y, w, h], ...]}, COCO annotations or COCO '
            f"detections. Received: {path} ({type(error).__name__}: {error})."
        ) from error
    return {name: _rectangles_of(path, name, boxes) for name, boxes in found.items()}


def _rectangles_of(path, name, boxes):
    """The boxes of one picture of a file, or where in it the wrong one stands."""
    try:
        return as_rectangles(boxes)
    except UserError as error:
        raise DataError(f"{path}: boxes of {name}: {error}") from error


def _boxes_by_name(content, min_score):
    found = {}
    if isinstance(content, dict) and "annotations" in content:
        names = {image["id"]: image["file_name"] for image in content["images"]}
        for entry in content["annotations"]:
            if entry.get("category_id", PERSON) == PERSON and not entry.get("iscrowd"):
                found.setdefault(names[entry["image_id"]], []).append(entry["bbox"])
        found = {pathlib.PurePath(name).name: boxes for name, boxes in found.items()}
    elif isinstance(content, dict) and "people" in content:
        name = pathlib.PurePath(content["image"]).name
        found[name] = [person["box"] for person in content["people"]]
    elif isinstance(content, dict):
        found = content
    else:
        for entry in content:
            score = float(entry.get("score", 1.0))
            if entry.get("category_id", PERSON) == PERSON and score >= min_score:
                key = entry["image_id"]
                name = f"{key:012d}" if isinstance(key, int) else pathlib.PurePath(str(key)).name
                found.setdefault(name, []).append([*entry["bbox"], score])
    return found
