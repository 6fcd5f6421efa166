"""Which people are in which picture: boxes as users give them, and box files."""

import collections
import os
import pathlib

import numpy as np

from keras_hourglass.data.annotations import is_tight, person_box, usable_rectangle
from keras_hourglass.data.coco import file_name_of
from keras_hourglass.data.coco_content import coco_parts, joint_names, joint_rows
from keras_hourglass.data.picture_paths import alike
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import MIN_SIDE, boxes_from_xywh, crop_affine
from keras_hourglass.io.structured import (
    Ids,
    as_flag,
    as_number,
    plain_id,
    read_json,
    reads,
    shorten,
)

PERSON = 1  # COCO's category number
_NOTHING = np.zeros((0, 2))


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
            known = pictures.items if isinstance(pictures.items, (list, tuple)) else ()
            named = {os.fspath(name): as_rectangles(value) for name, value in boxes.items()}
            self._named = NamedBoxes(named, [picture.name for picture in known])
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

    @property
    def given(self):
        """Whether there are boxes at all, be it of other pictures."""
        return any(boxes is not None for boxes in (self._every, self._each, self._named))

    def of(self, picture, index):
        """The `(P, 4)` or `(P, 5)` rectangles of a picture, or `None` if none were given."""
        if self._each is not None:
            return self._each[index] if index < len(self._each) else None
        if self._named is not None:
            return self._named.of(picture.name)
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
    except (TypeError, ValueError, OverflowError, RecursionError):
        array = np.zeros(())
    if array.ndim == 1 and array.size:
        array = array[None]
    if array.size == 0 and array.ndim:
        return np.zeros((0, 4))
    if array.ndim != 2 or array.shape[1] not in (4, 5):
        raise UserError(
            "A box is x, y, w, h in source pixels, with or without a score. "
            f"Received: {shorten(boxes)}. Give four or five numbers for each person."
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


@reads("box file", 'It is {"photo.jpg": [[x, y, w, h], ...]}, COCO annotations or detections')
def read_boxes(path, min_score=0.0):
    """Boxes by picture from a JSON file.

    Args:
        path: a dict `{"photo.jpg": [[x, y, w, h], ...]}`; COCO annotations (`images` and
            `annotations` with `bbox`); COCO detections, a list of
            `{"image_id", "bbox", "score"}`, whose `image_id` is the file's name or number; or
            the output of `predict`. Of several categories that of people is taken: the one with
            keypoints or of that name, else 1, else the only one in use.
        min_score: leave out detections with a lower score.

    Returns:
        A dict from names to `(P, 4)` or `(P, 5)` arrays of rectangles. Names are file names, with
        their folders where several pictures of the file have the same; or COCO's twelve digits.

    Raises:
        DataError: if the file cannot be read as one of these.
    """
    if not os.path.exists(path):
        raise DataError(
            f"The box file cannot be read. Received: {path} (No such file). Check the path."
        )
    found = _boxes_by_name(read_json(path, "box file"), min_score, path)
    return {name: _rectangles_of(path, name, boxes) for name, boxes in found.items()}


def _rectangles_of(path, name, boxes):
    """The boxes of one picture of a file, or where in it the wrong one stands."""
    try:
        return as_rectangles(boxes)
    except UserError as error:
        raise DataError(f"{path}: boxes of {shorten(name)}: {error}") from error


def _boxes_by_name(content, min_score, path):
    if isinstance(content, dict) and "annotations" in content:
        return _of_annotations(content, path)
    if isinstance(content, dict) and "people" in content:
        name = pathlib.PurePath(content["image"]).name
        return {name: [person["box"] for person in content["people"]]}
    if isinstance(content, dict):
        return content
    return _of_detections(content, min_score, path)


def _of_annotations(content, path):
    """Boxes of COCO annotations by the names in the file's own `images`."""
    content = coco_parts(content, path, [])
    names = [file_name_of(image) or str(image.get("id")) for image in content["images"]]
    ids = Ids(image.get("id") for image in content["images"])
    by_name, names = Ids(names), [name.replace("\\", "/") for name in names]
    wanted = _people(content["annotations"], content["categories"], path)
    count = max(map(len, map(joint_names, content["categories"])), default=0)
    joints = {
        number: _joints_of(entry, count)
        for number, entry in enumerate(content["annotations"])
        if wanted(entry)
    }
    frames = _frames(content["annotations"], joints)
    found: dict = {}
    for number, entry in enumerate(content["annotations"]):
        key = entry.get("image_id")
        [place, *_] = ids.find(key) or by_name.find(key) or [None]
        if place is None:
            raise DataError(
                f"{path}: a box must be of a picture in `images`. Received: image_id "
                f"{shorten(key)}. Correct it."
            )
        if number in (frames or joints) and not as_flag(entry.get("iscrowd")):
            box = _rectangle(
                entry, joints.get(number, _NOTHING), f"{path}: annotation {number + 1}"
            )
            found.setdefault(place, []).append(box)
    times = collections.Counter(_last(name) for name in names)
    return {
        _last(names[place]) if times[_last(names[place])] == 1 else names[place]: boxes
        for place, boxes in found.items()
    }


def _joints_of(entry, count):
    """`(J, 2)` labelled joints of an annotation, none where it has none that can be read."""
    try:
        points = joint_rows(entry.get("keypoints"), count)
        points = np.reshape(np.asarray(points, np.float64), (-1, 3))
    except (TypeError, ValueError, OverflowError):
        return _NOTHING
    return points[(points[:, 2] > 0) & np.isfinite(points).all(axis=1), :2]


def _frames(annotations, joints):
    """Numbers of annotations that are the people's boxes where those with joints have none.

    Label Studio writes boxes in a category of their own, and boxes around the joints beside these.
    """
    for number, points in joints.items():
        rectangle = usable_rectangle(annotations[number].get("bbox"))
        if not len(points) or (rectangle is not None and not is_tight(rectangle, points)):
            return set()
    others: dict = {}
    for number, entry in enumerate(annotations):
        boxed = usable_rectangle(entry.get("bbox")) is not None
        if number not in joints and boxed and not entry.get("keypoints"):
            others.setdefault(plain_id(entry.get("category_id")), set()).add(number)
    return max(others.values(), key=len, default=set()) if joints else set()


def _rectangle(entry, points, where):
    """The box of an annotation; that of its joints where it has none of any size."""
    rectangle = usable_rectangle(entry.get("bbox"))
    if rectangle is None:
        rectangle = person_box(None, points, np.ones(len(points)))[1]
    if rectangle is None and not entry.get("bbox"):
        raise DataError(
            f"{where} needs a bbox, or keypoints that tell one. "
            f"Received: {shorten(entry.get('bbox'))}. Add one, or leave it out."
        )
    return entry["bbox"] if rectangle is None else rectangle.tolist()


def _of_detections(content, min_score, path):
    wanted, found = _people(content, (), path), {}
    for entry in content:
        score, key = as_number(entry.get("score", 1.0)), entry["image_id"]
        if wanted(entry) and score >= min_score:
            number = plain_id(key) if not isinstance(key, str) else key
            name = f"{number:012d}" if isinstance(number, int) else str(key).replace("\\", "/")
            found.setdefault(name, []).append([*entry["bbox"], score])
    return found


def _people(entries, categories, path):
    """Whether an entry is of the category of people."""
    keys = Ids([category.get("id") for category in categories])
    able = [place for place, category in enumerate(categories) if joint_names(category)]
    able = able or [
        place for place, category in enumerate(categories)
        if str(category.get("name", "")).lower() in ("person", "people", "human")
    ]  # fmt: skip
    if able:

        def is_person(entry):
            key = entry.get("category_id")
            return key is None or bool(set(keys.find(key)) & set(able))

        return is_person
    used = {plain_id(entry.get("category_id", PERSON)) for entry in entries}
    if used and PERSON not in used:
        if len(used) > 1:
            raise DataError(
                f"{path}: the boxes are of several categories, and which is of people is not said. "
                f"Received: {shorten(sorted(map(str, used)))}. Name it person in `categories`."
            )
        return lambda entry: True
    return lambda entry: plain_id(entry.get("category_id", PERSON)) == PERSON


def _last(name):
    return name.rsplit("/", 1)[-1]


class NamedBoxes:
    """Boxes by the names of pictures, found for a picture by the end of its path.

    Args:
        boxes: dict from name to rectangles. A name is a path or its end (`cam1/0001.jpg`), a file
            name, perhaps as an upload page or an address has it, or one without suffix.
        paths: of all pictures, if they are known. A bare name that several of them have is that of
            none.
    """

    def __init__(self, boxes, paths=()):
        self._boxes = boxes
        times = collections.Counter(pathlib.PurePath(path).name for path in set(paths))
        self._shared = {name for name, number in times.items() if number > 1}
        self._met: set = set()
        self._alike: dict = {}
        for name in boxes:
            # Other folders are other pictures.
            for key in () if "/" in name else alike(name):
                self._alike.setdefault(key, []).append(name)

    def of(self, path):
        """The rectangles of a picture, or `None`."""
        parts = pathlib.PurePath(str(path).replace("\\", "/")).parts
        keys = [str(path), *("/".join(parts[start:]) for start in range(len(parts)))]
        if parts:
            keys.append(pathlib.PurePath(parts[-1]).stem)
        for key in keys:
            # The bare name of a picture that has a twin in another folder.
            bare = "/" not in key and parts and parts[-1] in self._shared and key != str(path)
            if key in self._boxes and not bare:
                self._met.add(key)
                return self._boxes[key]
        if not parts or parts[-1] in self._shared:
            return None
        for kind in alike(parts[-1]):
            [name, *others] = self._alike.get(kind) or [None]
            if name is not None and not others:
                self._met.add(name)
                return self._boxes[name]
        return None

    def meet(self, paths):
        """Pictures without boxes, and names that are those of no picture, as two lists."""
        without = [path for path in paths if self.of(path) is None]
        return without, [name for name in self._boxes if name not in self._met]
