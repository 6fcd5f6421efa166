"""Whole photographs with everybody's box, to train and to measure a network that finds people.

The files are COCO's, of key points or instances: `images`, and `annotations` with `bbox` and
`iscrowd`.
"""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from keras_hourglass.data.coco_content import odd_pictures
from keras_hourglass.data.mixture import check_shares, repeat
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.errors import DataError
from keras_hourglass.io.structured import Ids, as_flag, as_number, existing, read_json, reads
from keras_hourglass.skeletons import BOXES
from keras_hourglass.typing import Column, Path

_PERSON = 1  # COCO's category number, where the file names no categories


@dataclasses.dataclass(frozen=True)
class SceneRecords:
    """N photographs and the people in them.

    Args:
        images: N paths of picture files.
        boxes: for each, `(P, 4)` rectangles `x, y, w, h` in source pixels.
        ignored: for each, `(P,)` bool: regions of many people, which are neither right nor wrong.
        joints: for each, `(P,)` how many joints of the person are labelled, 0 where unknown.
        ids: N identifiers.
        extra: further columns by name, each of length N.
        notes: one line for each thing a reader left out, with its count.

    Raises:
        DataError: if columns differ in length.

    Example:

    >>> records = SceneRecords(["a.jpg"], [[[1, 2, 30, 40]]], [[False]], [[17]], ["a"])
    >>> len(records), records.boxes[0].shape
    (1, (1, 4))
    """

    images: Column
    boxes: Column
    ignored: Column
    joints: Column
    ids: Column
    extra: dict = dataclasses.field(default_factory=dict)
    notes: tuple = ()

    skeleton = BOXES
    remarks = ()  # readers of joints have some

    def __post_init__(self):
        count = len(self.images)
        kinds = {"boxes": np.float64, "ignored": bool, "joints": int}
        for name in ("images", "ids", *kinds):
            column = np.empty(count, object)
            values = list(getattr(self, name))
            if len(values) != count:
                raise DataError(
                    f"Column {name!r} of {count} photographs needs that length. "
                    f"Received: {len(values)}. Check the annotation file."
                )
            for place, value in enumerate(values):
                if name in kinds:
                    shape = (-1, 4) if name == "boxes" else (-1,)
                    value = np.asarray(value, kinds[name]).reshape(shape)
                column[place] = os.fspath(value) if name == "images" else value
            object.__setattr__(self, name, column)
        extra = {name: np.asarray(column) for name, column in self.extra.items()}
        object.__setattr__(self, "extra", extra)

    def __len__(self):
        return len(self.images)

    def select(self, index) -> "SceneRecords":
        """The records at an index array, boolean mask or slice, in that order."""
        columns = {name: getattr(self, name)[index] for name in ("images", "boxes", "ignored")}
        extra = {name: column[index] for name, column in self.extra.items()}
        return SceneRecords(
            **columns, joints=self.joints[index], ids=self.ids[index], extra=extra, notes=self.notes
        )

    def with_columns(self, **columns) -> "SceneRecords":
        """A copy with some columns replaced."""
        return dataclasses.replace(self, **columns)


def mix_scenes(parts: Sequence) -> SceneRecords:
    """Join photographs of several data sets.

    Args:
        parts: pairs `(SceneRecords, share)`: a share of 3 shows every photograph three times in an
            epoch, 0.5 every other one once.

    Returns:
        `SceneRecords`; `extra` holds `part`, the position of the set in `parts`, and
        `image_number`.

    Raises:
        UserError: if a share is not positive.

    Example:

    >>> one = SceneRecords(["a.jpg", "b.jpg"], [[], []], [[], []], [[], []], ["a", "b"])
    >>> mix_scenes([(one, 1), (one, 1.5)]).images.tolist()
    ['a.jpg', 'b.jpg', 'a.jpg', 'b.jpg', 'a.jpg']
    """
    parts = list(parts)
    check_shares(parts)
    chosen, columns = [], ("images", "boxes", "ignored", "joints", "ids")
    for number, (records, share) in enumerate(parts):
        index, _ = repeat(len(records), share)
        chosen.append((records.select(index), np.full(len(index), number)))
    numbers = [
        records.extra.get("image_number", np.arange(1, len(records) + 1)) for records, _ in chosen
    ]
    return SceneRecords(
        **{name: np.concatenate([getattr(one, name) for one, _ in chosen]) for name in columns},
        extra={
            "part": np.concatenate([part for _, part in chosen]),
            "image_number": np.concatenate(numbers),
        },
        notes=tuple(note for records, _ in chosen for note in records.notes),
    )


@reads("annotation file")
def read_scenes(path: Path, images: Path | None = None) -> SceneRecords:
    """Read photographs and everybody's box from a JSON file of COCO's layout.

    Args:
        path: the JSON file.
        images: folder of the pictures; by default one of the usual places near the file.

    Returns:
        `SceneRecords` of all photographs, also of those without people; `extra` holds `image_id`
        and `image_number` (order in the file, from 1). Boxes that are broken are left out and
        counted in `notes`.

    Raises:
        DataError: if the file is not of this layout or holds no photograph.

    Example:

    >>> records = read_scenes("annotations/person_keypoints_val2017.json")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    5000
    """
    path = existing(path)
    content = read_json(path, "annotation file")
    parts = {}
    for part in ("images", "annotations"):
        values = content.get(part) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise DataError(
                f"{path} needs a list of objects named {part!r}. Is it a COCO annotation file?"
            )
        parts[part] = values
    pictures = parts["images"]
    if not pictures:
        raise DataError(f"{path} needs photographs. Received: an empty list of images.")
    names = [picture.get("file_name") for picture in pictures]
    rows, notes = _people(parts["annotations"], pictures, _person_ids(content), path)
    return SceneRecords(
        images=PicturePaths(path, images, names).find_all(names),
        boxes=[[person[0] for person in people] for people in rows],
        ignored=[[person[1] for person in people] for people in rows],
        joints=[[person[2] for person in people] for people in rows],
        ids=[str(picture.get("id")) for picture in pictures],
        extra={
            "image_id": np.array([picture.get("id") for picture in pictures], dtype=object),
            "image_number": np.arange(1, len(pictures) + 1),
        },
        notes=(*odd_pictures(pictures, path), *notes),
    )


def _person_ids(content):
    """The numbers of the categories that are people; `None` where the file names none."""
    categories = content.get("categories")
    if not isinstance(categories, list) or not categories:
        return Ids([_PERSON])
    named = [one for one in categories if isinstance(one, dict)]
    people = [one.get("id") for one in named if str(one.get("name")).lower() == "person"]
    # A file with a single category has nothing but people.
    return Ids(people or ([named[0].get("id")] if len(named) == 1 else [_PERSON]))


def _people(annotations, pictures, person, path):
    """For each picture a list of `(box, ignored, joints)`, and notes on what was left out."""
    places = Ids([picture.get("id") for picture in pictures])
    rows: list = [[] for _ in pictures]
    left_out: dict = {}
    for annotation in annotations:
        if "category_id" in annotation and not person.find(annotation["category_id"]):
            continue
        row, reason = _read_box(annotation)
        found = places.find(annotation.get("image_id"))
        if reason is None and not found:
            reason = "unknown image_id"
        if reason is not None:
            left_out.setdefault(reason, [0, annotation.get("id")])[0] += 1
        else:
            rows[found[0]].append(row)
    notes = tuple(
        f"{path}: {count} boxes left out ({reason}), the first is annotation {first}"
        for reason, (count, first) in left_out.items()
    )
    return rows, notes


def _read_box(annotation):
    """Box, whether it is a crowd, number of labelled joints; or what is wrong."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None, "no box of four numbers"
    box = [as_number(value) for value in box]
    if not np.isfinite(box).all() or min(box[2:]) <= 0:
        return None, "box not finite, or of zero or negative size"
    points = annotation.get("keypoints")
    visible = points[2::3] if isinstance(points, list) else []
    labelled = sum(as_number(value) > 0 for value in visible)
    return (box, as_flag(annotation.get("iscrowd")), labelled), None
