"""COCO keypoints, and the files in that layout that people and labelling tools write.

Reference: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, and
https://cocodataset.org/#format-data.
"""

import collections
import dataclasses
import os
from typing import Any

import numpy as np

from keras_hourglass.data.annotations import (
    Tally,
    is_tight,
    numbers,
    person_box,
    usable_rectangle,
)
from keras_hourglass.data.coco_content import (
    coco_content,
    joint_names,
    joint_rows,
    nowhere,
    odd_pictures,
)
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.point_boxes import with_joints
from keras_hourglass.data.records import PoseRecords, unique_ids
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import MIN_SIDE
from keras_hourglass.io.images import shown_size
from keras_hourglass.io.structured import (
    Ids,
    as_flag,
    as_number,
    existing,
    plain_id,
    reads,
    shorten,
)
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import COCO, Skeleton, own_skeleton
from keras_hourglass.typing import Path

_NAMES = (
    "person_keypoints.json",
    "annotations/person_keypoints_default.json",  # CVAT's COCO Keypoints export
    "result.json",  # Label Studio's
    "annotations.json",
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
)
# What a category may call its table of joints that mirror each other.
_PAIRS = ("pairs", "flip", "flip_pairs", "flip_idx", "flip_indices")
# Where an entry of `images` may have its name, if not in `file_name`.
_NAME = "the name of the picture"
_FILE_NAMES = ("file_name", "path", "filename", "name", "coco_url", "url")


@reads("annotation file")
def read_coco(
    path: Path,
    images: Path | None = None,
    min_keypoints: int = 1,
    skeleton: Skeleton | None = None,
    category: str | int | None = None,
    split: str | None = None,
    pairs: Any = None,
) -> PoseRecords:
    """Read people from a JSON file in COCO's keypoint layout.

    The joint names and limbs come from the file's category, so any set of joints will do. Left
    and right are understood from the names (`skeletons.read_sides`), which become `left_…` and
    `right_…`; where they do not tell, as numbers and other languages do not, `pairs` does, or the
    category may have such a table as `pairs`, `flip`, `flip_pairs` or `flip_idx`.

    Files are read as labelling tools write them: identifiers may be numbers or their text; boxes
    that cannot be (of no size, of other numbers, none) are derived from the joints, or are those
    that hold them in a category of boxes; joints may be boxes of one pixel, a category each;
    pictures are found as `PicturePaths` does.

    Args:
        path: the JSON file, or a folder as COCO, CVAT, Datumaro, FiftyOne, Label Studio or
            Roboflow lay it out.
        images: folder of the pictures; by default those beside the file and above it.
        min_keypoints: people with fewer labelled joints are left out.
        skeleton: the `Skeleton` the file must have; by default that of the file.
        category: name or id of the category to read; by default the one that most people have,
            with those that have the same joints.
        split: `"train"`, `"val"`, …, where a folder holds several.
        pairs: joints that mirror each other, as `skeletons.read_pairs` takes them.

    Returns:
        `PoseRecords` in source pixels. Boxes are the annotated rectangles' enclosing squares
        times 1.25 (the joints' extent where there is none, the whole picture where that has no
        extent); `areas` are segment areas; the reference is the torso; `extra` holds `image_id`,
        `annotation_id` and `category_id` as in the file, `image_number` (order in the file, from
        1), `rectangle` and `announced` (width and height that the file gives the picture, NaN
        where it does not). Crowds, people with too few joints, or with a broken annotation are
        left out and counted in `notes`; `remarks` say what was chosen or derived.

    Raises:
        DataError: if the file is not of this layout, or nobody is left.

    Example:

    >>> records = read_coco("annotations/person_keypoints_val2017.json")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    6352
    """
    path = _find_json(path, split)
    remarks: list = []
    content = with_joints(coco_content(path, remarks), path, remarks)
    remarks += odd_pictures(content["images"], path)
    categories = _categories(content, path, remarks)
    chosen, places = _choose(categories, content["annotations"], category, path, remarks)
    found = _skeleton(chosen, path, pairs)
    if skeleton is not None and found.joints != skeleton.joints:
        raise DataError(
            f"{path} must have the joints {', '.join(skeleton.joints)}. "
            f"Received: {shorten(', '.join(found.joints), 200)}. Read it as coco:{path} instead."
        )
    people = _People(
        path,
        content,
        categories,
        places,
        skeleton or found,
        _Pictures(content["images"], path, images),
        max(min_keypoints, 1),
    )
    return people.records(remarks)


# Categories


@dataclasses.dataclass
class _Category:
    """A category: its joints, if it has any, and how many annotations with joints."""

    key: Any
    name: str
    joints: tuple
    limbs: tuple
    pairs: Any
    people: int = 0

    def __str__(self):
        return f"{shorten(self.name)} (id {shorten(self.key)}, {self.people} people)"


def _categories(content, path, remarks):
    """The `_Category` of each entry, and of annotations whose category does not name its joints."""
    found = [_category(entry) for entry in content["categories"]]
    ids, lengths = Ids(category.key for category in found), collections.defaultdict(list)
    for annotation in content["annotations"]:
        points = annotation.get("keypoints")
        if not isinstance(points, list) or not points:
            continue
        key = plain_id(annotation.get("category_id"))
        places = ids.find(key)
        if places:
            found[places[0]].people += 1
        lengths[places[0] if places else key].append(len(points) // 3)
    if not any(category.joints for category in found) and lengths:
        # Some tools write joints without names: numbers then, and COCO's own if they are that many.
        for place, counts in lengths.items():
            if not isinstance(place, int) or not 0 <= place < len(found):
                found.append(_Category(place, "", (), (), None, len(counts)))
                place = len(found) - 1
            number, category = collections.Counter(counts).most_common(1)[0][0], found[place]
            if number == COCO.num_joints and category.name.lower() in ("", "person", "human"):
                category.joints, meaning = COCO.joints, "they are taken for COCO's 17"
            else:
                category.joints = tuple(map(str, range(1, number + 1)))
                meaning = f"they are called 1 to {number}"
            remarks.append(f"{path}: no joint is named, so {meaning}")
    if not any(category.joints for category in found):
        raise DataError(
            f"No category of {path} names its keypoints. Export it as COCO keypoints, with the "
            "joint names in categories[0]['keypoints']."
        )
    return found


def _category(entry):
    names, limbs = joint_names(entry), []
    edges = entry.get("skeleton")
    for edge in edges if isinstance(edges, list) else ():
        if isinstance(edge, list) and len(edge) == 2 and all(type(end) is int for end in edge):
            limbs.append(tuple(edge))
    # COCO counts from 1, Datumaro from 0.
    first = 0 if any(0 in limb for limb in limbs) else 1
    limbs = [(start - first, end - first) for start, end in limbs]
    return _Category(
        plain_id(entry.get("id")),
        str(entry.get("name", "own")),
        names,
        tuple(limb for limb in limbs if all(0 <= end < len(names) for end in limb)),
        next((entry[key] for key in _PAIRS if entry.get(key)), None),
    )


def _choose(categories, annotations, wanted, path, remarks):
    """The category to read, and the places of all whose annotations are read."""
    able = [category for category in categories if category.joints]
    if wanted is not None:
        named = [c for c in categories if c.name.lower() == str(wanted).strip().lower()]
        named = named or [c for c in categories if c.key == plain_id(wanted)]
        if not named or not named[0].joints:
            raise DataError(
                f"{path} has the categories {shorten('; '.join(map(str, able)), 200)} with joints. "
                f"Received: {shorten(wanted)}. Name one of them, or its id."
            )
        return named[0], {categories.index(named[0])}
    chosen = max(able, key=lambda category: category.people)
    if len(able) > 1:
        others = "; ".join(str(category) for category in able if category is not chosen)
        remarks.append(
            f"{path}: the category {chosen} is read, with those of the same joints. There are also "
            f"{shorten(others, 200)}: choose by coco:{path}@NAME"
        )
    return chosen, {
        place for place, category in enumerate(categories) if category.joints == chosen.joints
    }


def _skeleton(category, path, pairs):
    try:
        return own_skeleton(
            category.joints,
            category.limbs,
            category.name,
            category.pairs if pairs is None else pairs,
        )
    except UserError as error:
        raise DataError(f"{path}: {error}") from error


# Pictures


class _Pictures:
    """The entries of `images`: found by their id, or else by their name."""

    def __init__(self, entries, path, images):
        self.entries = entries
        names = [file_name_of(entry) for entry in entries]
        self._paths = PicturePaths(path, images, names)
        self._ids, self._names = Ids(entry.get("id") for entry in entries), Ids(names)
        self._stems = Ids(name and _stem(name) for name in names)
        self._found = {}

    def find(self, key):
        """The place of a picture, or what is wrong with the key."""
        places = self._ids.find(key) or self._names.find(key)
        if not places and isinstance(key, str):
            places = self._stems.find(_stem(key))
        if not places:
            return None, "unknown image_id"
        if len({file_name_of(self.entries[place]) for place in places}) > 1:
            return None, f"its image_id {shorten(key)} is that of several pictures"
        return places[0], None

    def path(self, place):
        """The path of a picture, or what is wrong with its name."""
        if place not in self._found:
            self._found[place] = self._paths.find(file_name_of(self.entries[place]))
        return self._found[place]

    def announced(self, place):
        """Width and height that the file gives the picture; NaN where it does not."""
        entry = self.entries[place]
        lengths = [as_number(entry.get(name)) for name in ("width", "height")]
        usable = all(np.isfinite(length) and length >= 1 for length in lengths)
        return lengths if usable else [np.nan, np.nan]

    def size(self, place):
        """Width and height, from the picture itself where the file does not give them."""
        width, height = self.announced(place)
        if np.isnan(width) and self.path(place)[0] is not None:
            try:
                height, width = shown_size(self.path(place)[0])
            except DataError:
                return None
        return None if np.isnan(width) else (width, height)


def _stem(name):
    return os.path.splitext(name.replace("\\", "/").rsplit("/", 1)[-1])[0]


def file_name_of(entry: dict) -> str | None:
    """The name of a picture.

    Args:
        entry: one of `images`.

    Returns:
        Its `file_name`, or what stands in another field for it; `None` where nothing does.

    Example:

    >>> file_name_of({"id": 7, "path": "cam1/7.jpg"})
    'cam1/7.jpg'
    """
    return next((entry[key] for key in _FILE_NAMES if isinstance(entry.get(key), str)), None)


# People


class _People:
    """Reads the annotations that can be used; the others are counted by reason."""

    def __init__(self, path, content, categories, places, skeleton, pictures, min_keypoints):
        self.path, self.annotations = path, content["annotations"]
        self.skeleton, self.pictures, self.min_keypoints = skeleton, pictures, min_keypoints
        self._categories, self._places = categories, places
        self._ids = Ids(category.key for category in categories)
        self._names = Ids(category.name for category in categories)
        self._left_out, self._mended = Tally(), Tally()
        self._frames = self._read_frames()
        self._shares = self._are_shares()

    def records(self, remarks):
        """`PoseRecords`, or an error if nobody is left."""
        rows = []
        for position, annotation in enumerate(self.annotations):
            key = plain_id(annotation.get("id"))
            key = f"#{position + 1}" if key is None else key
            row, reason = self._person(annotation, key)
            if reason is None:
                rows.append(row)
            elif not self._is_frame(annotation):
                self._left_out.add(reason, f"annotation {key}{self._name_of(annotation, reason)}")
        if not rows:
            raise DataError(
                f"Nobody in {self.path} can be used. Received: {len(self.annotations)} annotations "
                f"({self._left_out or 'none'}). Correct them, or the folder of pictures."
            )
        column = {name: [row[name] for row in rows] for name in rows[0]}
        joints, visibility = np.stack(column["joints"]), np.stack(column["visibility"])
        keys = ("image_id", "annotation_id", "category_id")
        extra = {key: _objects(column[key]) for key in keys}
        extra["image_number"] = np.array(column["number"])
        extra["rectangle"] = np.array(column["rectangle"])
        extra["announced"] = np.array(column["announced"], np.float64)
        twins = [key for key, n in collections.Counter(column["annotation_id"]).items() if n > 1]
        if twins:
            remarks.append(
                f"{self.path}: {len(twins)} annotation ids stand for several people, the first is "
                f"{shorten(twins[0])}; they are told apart as {shorten(twins[0])}#2, …"
            )
        return PoseRecords(
            self.skeleton,
            images=column["image"],
            boxes=column["box"],
            joints=joints,
            visibility=visibility,
            reference=reference_lengths(joints, visibility, self.skeleton, column["box"]),
            ids=unique_ids(column["annotation_id"]),
            areas=column["area"],
            extra=extra,
            notes=self._left_out.lines(self.path, "people left out ({})"),
            remarks=(*remarks, *self._mended.lines(self.path, "people with {}")),
        )

    def _name_of(self, annotation, reason):
        """The name of an annotation's picture, in brackets, where that is what is wrong."""
        if not reason.startswith(_NAME):
            return ""
        place, _ = self.pictures.find(annotation.get("image_id"))
        return f" ({shorten(file_name_of(self.pictures.entries[place]))})"

    def _person(self, annotation, key):
        """One annotation as a dict of columns, or the reason why it cannot be used."""
        place = self._category(annotation)
        if place is None:
            key = shorten(annotation.get("category_id"))
            return None, f"not a person with keypoints: no category has the id {key}"
        if not self._categories[place].joints:
            return None, "not a person with keypoints"
        if place not in self._places:
            return None, "of another category with other joints"
        if as_flag(annotation.get("iscrowd")):
            return None, "crowd"
        picture, reason = self.pictures.find(annotation.get("image_id"))
        if reason is not None:
            return None, reason
        joints, visibility, odd, reason = self._joints(annotation.get("keypoints"))
        if reason is not None:
            return None, reason
        if odd is not None:
            self._mended.add(odd, f"annotation {key}")
        path, wrong = self.pictures.path(picture)
        if wrong is not None:
            return None, f"{_NAME} {wrong}"
        if self._shares:
            size = self.pictures.size(picture)
            if size is None:
                return None, "its joints are shares of a picture whose size nobody knows"
            self._mended.add("joints in shares of the picture's size", f"annotation {key}")
            joints, annotation = joints * size, _in_pixels(annotation, size)
        box, rectangle, reason = self._box(annotation, picture, joints, visibility, key)
        if reason is not None:
            return None, reason
        area = as_number(annotation.get("area"))
        image_id = self.pictures.entries[picture].get("id")
        return {
            "image": path,
            "number": picture + 1,
            "announced": self.pictures.announced(picture),
            "image_id": picture + 1 if plain_id(image_id) is None else image_id,
            "annotation_id": key,
            "category_id": self._categories[place].key,
            "joints": joints,
            "visibility": visibility,
            "box": box,
            "rectangle": rectangle,
            # Without a segment COCO's own tools use half the rectangle as well.
            "area": area if 0 < area < np.inf else float(rectangle[2] * rectangle[3] * 0.53),
        }, None

    def _category(self, annotation):
        """The place of an annotation's category; the only one there is where it names none."""
        key = plain_id(annotation.get("category_id"))
        if key is None and len(self._categories) == 1:
            return 0
        return next(iter(self._ids.find(key) or self._names.find(key)), None)

    def _joints(self, points):
        """Joints, visibility, what is odd about it, and the reason why they cannot be used."""
        try:
            number = self.skeleton.num_joints
            points = numbers(joint_rows(points, number), (3 * number,), "k", "a")
        except DataError:
            return None, None, None, "keypoints broken"
        points = points.reshape(-1, 3)
        flags, joints = points[:, 2], points[:, :2]
        visibility, odd = np.where(flags > 0, 2, 0).astype(np.int8), None
        visibility[flags == 1] = 1
        unknown = flags[(flags != visibility) & ~np.isnan(flags)]
        empty = (visibility > 0) & nowhere(joints)
        if empty.any():
            visibility[empty] = 0
            odd = "a joint at 0, 0 or -1, -1, which counts as not labelled"
        elif len(unknown):
            meaning = "labelled and visible" if unknown[0] > 0 else "not labelled"
            odd = f"a visibility of {unknown[0]:g}, which counts as {meaning}"
        labelled = visibility > 0
        if not np.isfinite(joints[labelled]).all() or np.abs(joints[labelled]).max(initial=0) > 1e6:
            return None, None, None, "keypoints not finite"
        if labelled.sum() < self.min_keypoints:
            return None, None, None, f"fewer than {self.min_keypoints} keypoints"
        return np.where(labelled[:, None], joints, 0.0), visibility, odd, None

    def _box(self, annotation, picture, joints, visibility, key):
        """Person box, rectangle and what is wrong with them."""
        labelled, bbox = joints[visibility > 0], annotation.get("bbox")
        rectangle, derived = usable_rectangle(bbox), "derived from the joints"
        if self._frames is not None:
            around = self._frames.get(picture, [])
            holding = [frame for frame in around if _holds(frame, labelled)]
            if len(around) > 1 and not holding:
                return None, None, "its joints lie in the boxes of several people"
            if holding:
                rectangle = min(holding, key=lambda frame: frame[2] * frame[3])
                self._mended.add(
                    "the box of another category that holds their joints", f"annotation {key}"
                )
        size = None
        if rectangle is None and np.ptp(labelled, axis=0).max() < MIN_SIDE:
            size, derived = (
                self.pictures.size(picture),
                "the whole picture, as the joints have none",
            )
            if size is None:
                return None, None, "no box, and joints in one spot do not tell its size"
        if rectangle is None and (bbox or size is not None):
            self._mended.add(f"a box of no size or none: {derived}", f"annotation {key}")
        box, rectangle = person_box(rectangle, joints, visibility, size)
        width, height = self.pictures.announced(picture)
        low, high = box[:2] - box[2] / 2, box[:2] + box[2] / 2
        if (high <= 0).any() or (low >= (width, height)).any():
            return None, None, "box outside the picture"
        return box, rectangle, None

    def _are_shares(self):
        """Whether all joints of the file lie in its pictures' first pixel, as shares of the size
        do."""
        several, found = False, False
        for annotation in self.annotations:
            if self._category(annotation) not in self._places:
                continue
            joints, visibility, _, reason = self._joints(annotation.get("keypoints"))
            if reason is not None:
                continue
            labelled = joints[visibility > 0]
            if labelled.min() < 0 or labelled.max() > 1:
                return False
            found, several = True, several or bool((np.ptp(labelled, axis=0) > 0).any())
        return found and several

    def _is_frame(self, annotation):
        """Whether an annotation is the box of somebody whose joints are another's."""
        return self._frames is not None and not annotation.get("keypoints")

    def _read_frames(self):
        """place of a picture -> rectangles of a category without joints, where the file has the
        people's boxes there, as Label Studio writes them; else `None`.

        It is so if every box of a person with joints merely encloses the joints.
        """
        if all(category.joints for category in self._categories):
            return None
        frames: dict = collections.defaultdict(lambda: collections.defaultdict(list))
        for annotation in self.annotations:
            place, points = self._category(annotation), annotation.get("keypoints")
            if place in self._places:
                rectangle = usable_rectangle(annotation.get("bbox"))
                joints, _, _, reason = self._joints(points)
                if reason is None and rectangle is not None and not is_tight(rectangle, joints):
                    return None
            elif place is not None and not points and not self._categories[place].joints:
                rectangle = usable_rectangle(annotation.get("bbox"))
                picture, _ = self.pictures.find(annotation.get("image_id"))
                if rectangle is not None and picture is not None:
                    frames[place][picture].append(rectangle)
        if not frames:
            return None
        return max(frames.values(), key=lambda found: sum(map(len, found.values())))


def _in_pixels(annotation, size):
    """An annotation whose rectangle and area are shares of a picture, if they are, in pixels."""
    try:
        rectangle = numbers(annotation.get("bbox"), (4,), "bbox", "the file")
    except DataError:
        return annotation
    if not (np.abs(rectangle) <= 1).all():
        return annotation
    return {**annotation, "bbox": (rectangle * np.tile(size, 2)).tolist(), "area": None}


def _objects(values):
    column = np.empty(len(values), dtype=object)
    column[:] = values
    return column


def _holds(rectangle, joints):
    """Whether joints lie in a rectangle, but for rounding."""
    slack = 1.5 + 0.02 * rectangle[2:].max()
    low, high = rectangle[:2] - slack, rectangle[:2] + rectangle[2:] + slack
    return bool(((joints >= low) & (joints <= high)).all())


# Folders


def _find_json(path, split):
    """The annotation file of a folder as COCO and the labelling tools lay it out."""
    path = existing(path, "annotation file or folder")
    if not os.path.isdir(path):
        return path
    if split is None:
        for name in _NAMES:
            if os.path.isfile(os.path.join(path, name)):
                return os.path.join(path, name)
    found = splits_of(path)
    if split is not None:
        found = {name: file for name, file in found.items() if name == split}
    if len(found) == 1:
        return next(iter(found.values()))
    listed = ", ".join(os.path.relpath(file, path) for file in list(found.values())[:5])
    choose = f", a split as in coco:{path}@{next(iter(found))}" if found else ""
    raise DataError(
        f"{path} needs one JSON file of annotations, e.g. {_NAMES[0]}. "
        f"Received: {listed or 'no JSON file'}. Name the file itself{choose}, or the kind of "
        "another data set before the path, e.g. mpii:DIR."
    )


def splits_of(folder: Path) -> dict[str, str]:
    """The annotation files of a folder by their split, e.g. `train`; keypoint files if there are.

    Args:
        folder: the folder of the data set.

    Returns:
        A dict from split to file.

    Example:

    >>> splits_of("set_of_roboflow")  # doctest: +SKIP
    {'train': 'set_of_roboflow/train/_annotations.coco.json'}
    """
    folder = os.fspath(folder)
    places = [folder, os.path.join(folder, "annotations")]
    places += [child.path for child in sorted(os.scandir(folder), key=lambda c: c.name)
               if child.is_dir() and child.name != "annotations"]  # fmt: skip
    found = []
    for depth, place in enumerate(places):
        if not os.path.isdir(place):
            continue
        for name in sorted(os.listdir(place)):
            # In folders of splits only what Roboflow calls it; there may be JSON of any kind.
            if name.endswith(".json") and (depth < 2 or name.endswith(".coco.json")):
                found.append(os.path.join(place, name))
    keypoints = [file for file in found if "keypoints" in os.path.basename(file)]
    splits = {}
    for file in keypoints or found:
        stem = os.path.basename(file).split(".")[0]
        own = os.path.basename(os.path.dirname(file)) if stem == "_annotations" else None
        splits.setdefault(own or stem.rsplit("_", 1)[-1], file)
    return splits
