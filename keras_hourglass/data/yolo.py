"""YOLO-pose: a `data.yaml`, folders of pictures, and a text file of people beside each picture.

Reference: https://docs.ultralytics.com/datasets/pose: a line for each person with its class, the
rectangle's centre and size, and `x y` or `x y visibility` of each joint, in shares of the picture.
"""

import concurrent.futures
import glob
import os
from typing import Any

import numpy as np

from keras_hourglass.data.annotations import Tally, person_box, usable_rectangle
from keras_hourglass.data.records import PoseRecords, unique_ids
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.images import shown_size
from keras_hourglass.io.structured import existing, plain_id, read_text, read_yaml, reads, shorten
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.metrics.oks import AREA_OF_BOX
from keras_hourglass.skeletons import COCO, own_skeleton
from keras_hourglass.typing import Path

_SPLITS = ("train", "val", "valid", "test")
# What may name the joints: by class as Ultralytics writes them, or for all as SLEAP does.
_JOINT_NAMES = ("kpt_names", "keypoint_names", "node_names", "keypoints")
_NO_PICTURES = (".txt", ".json", ".yaml", ".yml", ".cache", ".csv", ".xml", ".npy", ".md")


@reads("data set")
def read_yolo(
    path: Path,
    images: Path | None = None,
    split: str | None = None,
    category: str | int | None = None,
    pairs: Any = None,
) -> PoseRecords:
    """Read people from a data set in YOLO's pose layout.

    Args:
        path: `data.yaml` (`kpt_shape`, `names`, `flip_idx`, folders or lists of the splits), or
            the folder that it lies in.
        images: the folder that the splits are in; by default that of `data.yaml`.
        split: `"train"`, `"val"` or `"test"`; by default the first of these that is there.
        category: name or number of the class to read; all by default.
        pairs: joints that mirror each other, as `skeletons.read_pairs` takes them, instead of
            `flip_idx`.

    Returns:
        `PoseRecords` in source pixels: a coordinate of 1 is the picture's width or height, as in
        COCO's pixels. Boxes are the rectangles' enclosing squares times 1.25; `extra` holds
        `image_number` (order in the split, from 1), `image_id`, `category_id` and `rectangle`.
        Lines that cannot be read, people without joints and pictures that are missing are counted
        in `notes`.

    Raises:
        DataError: if the layout is another, or nobody is left.

    Example:

    >>> read_yolo("tigers/data.yaml", split="val").skeleton.num_joints  # doctest: +SKIP
    12
    """
    path = existing(path, "data.yaml or its folder")
    if os.path.isdir(path):
        folder, path = path, os.path.join(path, "data.yaml")
        if not os.path.isfile(path):
            raise DataError(
                "A folder of YOLO's needs its data.yaml. Received: "
                f"{folder}, which has none. Write one with `train:` (the folder of pictures), "
                "`names:` (the classes) and `kpt_shape: [joints, 2 or 3]`."
            )
    content = read_yaml(path)
    number, dimensions = _shape(content, path)
    remarks: list = []
    classes = _classes(content, path)
    chosen = _choose(classes, category, path)
    skeleton = _skeleton(content, classes, number, pairs, path, remarks)
    if split is None:
        split = next((name for name in _SPLITS if content.get(name)), "train")
        others = [name for name in _SPLITS if content.get(name) and name != split]
        if others:
            remarks.append(f"{path}: the split {split} is read; choose by yolo:{path}@{others[0]}")
    root = os.path.dirname(os.path.abspath(path)) if images is None else os.fspath(images)
    pictures = _pictures(content, split, root, path)
    return _People(path, pictures, skeleton, dimensions, classes, chosen).records(remarks)


def _shape(content, path):
    """Number of joints and of numbers of each."""
    shape = content.get("kpt_shape") if isinstance(content, dict) else None
    if (
        not isinstance(shape, list)
        or len(shape) != 2
        or not all(type(length) is int for length in shape)
        or not 1 <= shape[0] <= 10_000
        or shape[1] not in (2, 3)
    ):
        raise DataError(
            f"{path} needs `kpt_shape: [joints, 2 or 3]`, as YOLO's pose data have it. "
            f"Received: {shorten(shape)}. Is it a data set of boxes alone?"
        )
    return shape


def _classes(content, path):
    """number -> name of the classes."""
    names = content.get("names", {0: "person"})
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, dict) or not names:
        raise DataError(
            f"`names` of {path} must be those of the classes. Received: {shorten(names)}."
        )
    return {plain_id(key): str(name) for key, name in names.items()}


def _choose(classes, wanted, path):
    """Numbers of the classes to read."""
    if wanted is None:
        return set(classes)
    named = {key for key, name in classes.items() if name.lower() == str(wanted).strip().lower()}
    named = named or {key for key in classes if key == plain_id(wanted)}
    if not named:
        listed = ", ".join(f"{name} ({key})" for key, name in classes.items())
        raise DataError(
            f"{path} has the classes {shorten(listed, 200)}. Received: {shorten(wanted)}. "
            "Name one of them, or its number."
        )
    return named


def _skeleton(content, classes, number, pairs, path, remarks):
    names = _joint_names(content, number)
    if names is None:
        person = number == COCO.num_joints and "person" in classes.values()
        names = COCO.joints if person else tuple(map(str, range(1, number + 1)))
        meaning = "they are taken for COCO's 17" if person else f"they are called 1 to {number}"
        remarks.append(f"{path}: no joint is named, so {meaning}")
    table = content.get("flip_idx") or None
    try:
        told = own_skeleton(names, _limbs(content, number), next(iter(classes.values())))
    except UserError:
        told = None  # half of the sides; the table may tell
    if pairs is None and table == list(range(number)) and told is not None and told.mirrors:
        # SLEAP writes such a table whatever the names; YOLO would swap nothing.
        said = told.explain_mirroring()
        remarks.append(f"{path}: flip_idx swaps no joints, the names do: {said}")
        return told
    table = table if pairs is None else pairs
    if table is None and told is not None:
        return told
    try:
        return own_skeleton(names, _limbs(content, number), next(iter(classes.values())), table)
    except UserError as error:
        raise DataError(f"{path}: {error}") from error


def _joint_names(content, number):
    for key in _JOINT_NAMES:
        names = content.get(key)
        if isinstance(names, dict) and names:
            names = next(iter(names.values()))
        if isinstance(names, list) and len(names) == number and len(set(map(str, names))) == number:
            return tuple(map(str, names))
    return None


def _limbs(content, number):
    limbs = content.get("skeleton")
    return [
        tuple(limb)
        for limb in (limbs if isinstance(limbs, list) else ())
        if isinstance(limb, list) and len(limb) == 2
        and all(type(end) is int and 0 <= end < number for end in limb)
    ]  # fmt: skip


# Folders


def _pictures(content, split, root, path):
    """Paths of a split's pictures in order: of folders, lists, or patterns."""
    value = content.get(split)
    value = content.get("valid") if value is None and split == "val" else value
    values = value if isinstance(value, list) else [value]
    if not value or not all(isinstance(one, str) and one.strip() for one in values):
        there = ", ".join(name for name in content if name in _SPLITS)
        raise DataError(
            f"{path} has the splits {there or 'none'}. Received: {shorten(split)}. "
            "Name one of them, e.g. yolo:data.yaml@val."
        )
    base = content.get("path")
    found: list = []
    for one in values:
        place = _place(root, base if isinstance(base, str) else "", one.strip(), path)
        if os.path.isdir(place):
            found += _files_below(place)
        elif os.path.isfile(place):
            lines = [line.strip() for line in read_text(place, "list of pictures").splitlines()]
            found += [_listed(line, root, place) for line in lines if line]
        else:
            found += sorted(glob.glob(place, recursive=True))
    return list(dict.fromkeys(found))


def _place(root, base, value, path):
    """Where a split lies: as it is named, or below the root where that leads elsewhere."""
    base, value = (text.replace("\\", "/") for text in (base, value))
    tail = value.lstrip("/")
    while tail.startswith("../"):
        tail = tail[3:]
    tries = [os.path.join(root, base, value), os.path.join(root, value), os.path.join(root, tail)]
    parts = tail.split("/")
    tries += [os.path.join(root, *parts[start:]) for start in range(1, len(parts))]
    for place in tries:
        if _below(root, place) and (os.path.exists(place) or glob.glob(place, recursive=True)):
            return os.path.normpath(place)
    raise DataError(
        f"The pictures of a split must lie in {root}. Received: {shorten(value)} of {path}. "
        "Name the data set's folder by --images, or correct `path` and the split."
    )


def _below(root, place):
    inside = os.path.join(os.path.abspath(root), "")
    return os.path.join(os.path.abspath(place), "").startswith(inside)


def _files_below(folder):
    found = []
    for inner, folders, names in os.walk(folder, followlinks=False):
        folders.sort()
        found += [
            os.path.join(inner, name)
            for name in sorted(names)
            if not name.startswith(".") and not name.lower().endswith(_NO_PICTURES)
        ]
    return found


def _listed(line, root, place):
    """A picture of a list, relative to the list or to the root."""
    line = line.replace("\\", "/")
    tries = [os.path.join(folder, line) for folder in (os.path.dirname(place), root)]
    tries.append(os.path.join(root, line.lstrip("/")))
    for path in tries:
        if _below(root, path) and os.path.isfile(path):
            return os.path.normpath(path)
    return os.path.normpath(tries[-1])  # missing, which is said when its people are read


def _labels_of(picture):
    """The text file of a picture: `images` becomes `labels`, or it lies beside the picture."""
    folder, name = os.path.split(picture)
    parts = folder.split(os.sep)
    for place in reversed(range(len(parts))):
        if parts[place].lower() == "images":
            parts[place] = "labels"
            break
    return os.path.join(os.sep.join(parts), os.path.splitext(name)[0] + ".txt")


# People


class _People:
    """Reads the lines that can be used; the others are counted by reason."""

    def __init__(self, path, pictures, skeleton, dimensions, classes, chosen):
        self.path, self.pictures, self.skeleton = path, pictures, skeleton
        self.dimensions, self.classes, self.chosen = dimensions, classes, chosen
        self.left_out = Tally()

    def records(self, remarks):
        """`PoseRecords`, or an error if nobody is left."""
        labels = [_labels_of(picture) for picture in self.pictures]
        there = [place for place, file in enumerate(labels) if os.path.isfile(file)]
        if not there:
            raise DataError(
                f"{self.path} has {len(self.pictures)} pictures and no labels. Received: "
                f"{labels[0] if labels else 'no picture'}, which is not there. Lay labels beside "
                "images: images/1.jpg, labels/1.txt."
            )
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            sizes = list(pool.map(_size, [self.pictures[place] for place in there]))
        rows = []
        for place, size in zip(there, sizes, strict=True):
            lines = read_text(labels[place], "file of labels").splitlines()
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                row, reason = self._person(line.split(), size)
                if reason is not None:
                    self.left_out.add(reason, f"line {number} of {labels[place]}")
                elif row is not None:
                    stem = os.path.splitext(os.path.basename(labels[place]))[0]
                    row |= {"image": self.pictures[place], "number": place + 1}
                    rows.append(row | {"id": f"{stem}/{number}"})
        if not rows:
            raise DataError(
                f"Nobody in {self.path} can be used. Received: {len(there)} files of labels "
                f"({self.left_out or 'empty'}). Correct them."
            )
        column = {name: [row[name] for row in rows] for name in rows[0]}
        joints, visibility = np.stack(column["joints"]), np.stack(column["visibility"])
        rectangles = np.stack(column["rectangle"])
        return PoseRecords(
            self.skeleton,
            images=column["image"],
            boxes=column["box"],
            joints=joints,
            visibility=visibility,
            reference=reference_lengths(joints, visibility, self.skeleton, column["box"]),
            ids=unique_ids(column["id"]),
            areas=rectangles[:, 2] * rectangles[:, 3] * AREA_OF_BOX,
            extra={
                "image_number": np.array(column["number"]),
                "image_id": np.array(column["number"]),
                "category_id": np.array(column["category"]),
                "rectangle": rectangles,
            },
            notes=self.left_out.lines(self.path, "lines left out ({})"),
            remarks=tuple(remarks),
        )

    def _person(self, words, size):
        """One line as a dict of columns, or the reason why it cannot be used; `(None, None)` for
        a class that is not wanted."""
        count, dimensions = self.skeleton.num_joints, self.dimensions
        if len(words) != 5 + count * dimensions:
            return None, f"{len(words)} numbers instead of {5 + count * dimensions}"
        try:
            values = np.array(words, np.float64)
        except ValueError:
            return None, "no numbers"
        if values[0] not in self.classes:
            return None, "a class that has no name"
        if values[0] not in self.chosen:
            return None, None
        points = values[5:].reshape(count, dimensions)
        known = points[:, 2] if dimensions == 3 else np.where((points == 0).all(axis=1), 0, 2)
        visibility = np.where(known > 0, 2, 0).astype(np.int8)
        visibility[known == 1] = 1
        shares = np.append(points[visibility > 0, :2].ravel(), values[1:5])
        if not np.isfinite(shares).all() or np.abs(shares).max() > 2:
            return None, "numbers that are no shares of the picture's width and height"
        if not visibility.any():
            return None, "no joints"
        if size is None:
            return None, "the picture is missing or cannot be read"
        scale = np.array(size[::-1], np.float64)
        joints = np.where(visibility[:, None] > 0, points[:, :2] * scale, 0.0)
        extent = values[3:5] * scale
        rectangle = usable_rectangle([*(values[1:3] * scale - extent / 2), *extent])
        box, rectangle = person_box(rectangle, joints, visibility, size[::-1])
        return {
            "category": int(values[0]),
            "joints": joints,
            "visibility": visibility,
            "box": box,
            "rectangle": rectangle,
        }, None


def _size(picture):
    """Height and width of a picture as it is read; `None` if that cannot be found out."""
    try:
        return shown_size(picture)
    except DataError:
        return None
