"""COCO person keypoints, and people's own data in the same JSON layout.

Reference: T.-Y. Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, and
https://cocodataset.org/#format-data.
"""

import os

import numpy as np

from keras_hourglass.data.annotations import find_pictures, numbers, picture_path
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import boxes_from_joints, boxes_from_xywh
from keras_hourglass.io.structured import existing, read_json
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import COCO, LSP, Skeleton, own_names, read_pairs
from keras_hourglass.typing import Path

PADDING = 1.25
_NAMES = (
    "person_keypoints.json",
    "annotations/person_keypoints_default.json",  # CVAT's COCO Keypoints export
    "result.json",  # Label Studio's
    "annotations.json",
    "annotations/person_keypoints_train2017.json",
    "annotations/person_keypoints_val2017.json",
)
_TORSO = ("left_shoulder", "right_hip")
# What a category may call its table of joints that mirror each other.
_PAIRS = ("pairs", "flip", "flip_pairs", "flip_idx", "flip_indices")


def read_coco(
    path: Path,
    images: Path | None = None,
    min_keypoints: int = 1,
    skeleton: Skeleton | None = None,
) -> PoseRecords:
    """Read people from a JSON file in COCO's keypoint layout.

    The joint names and limbs come from the file's category, so any set of joints will do. Left
    and right are understood from the names (`skeletons.read_sides`), which become `left_…` and
    `right_…`; where they do not tell, as numbers and other languages do not, the category may
    have a table `pairs` (or `flip`, `flip_pairs`, `flip_idx`), see `skeletons.read_pairs`.

    Args:
        path: the JSON file, or a folder with one of the usual names in it.
        images: folder of the pictures; by default the JSON's own folder, `images/`, or the
            folder named after the split (`val2017/`), beside it or one level up.
        min_keypoints: people with fewer labelled joints are left out.
        skeleton: the `Skeleton` the file must have; by default that of the file.

    Returns:
        `PoseRecords` in source pixels. Boxes are the annotated rectangles' enclosing squares
        times 1.25 (the joints' extent where there is none); `areas` are segment areas; the
        reference is the torso; `extra` holds `image_id`, `annotation_id`, `image_number` (order
        in the file, from 1) and `rectangle`. Crowds, people with too few joints, or with a broken
        annotation are left out and counted in `notes`.

    Raises:
        DataError: if the file is not of this layout, or nobody is left.

    Example:

    >>> records = read_coco("annotations/person_keypoints_val2017.json")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    6352
    """
    path = _find_json(path)
    content = read_json(path)
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object with images, annotations and categories.")
    parts = {}
    for part in ("images", "annotations", "categories"):
        values = content.get(part)
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise DataError(
                f"{path} needs a list of objects named {part!r}. Is it a COCO keypoints file?"
            )
        parts[part] = values
    categories = _skeletons(parts["categories"], path)
    found = next(iter(categories.values()))
    if skeleton is not None and found.joints != skeleton.joints:
        raise DataError(
            f"{path} must have the joints {', '.join(skeleton.joints)}. "
            f"Received: {', '.join(found.joints)}. Read it as coco:{path} instead."
        )
    found = skeleton or found
    folder = (
        images
        if images is not None
        else find_pictures(path, [picture.get("file_name") for picture in parts["images"]])
    )
    pictures = {}
    for number, picture in enumerate(parts["images"], start=1):
        key = picture.get("id")
        if isinstance(key, (int, str)):
            pictures[key] = (number, picture_path(folder, picture.get("file_name"), path), picture)
    return _collect(parts["annotations"], categories, found, pictures, min_keypoints, path)


def _collect(annotations, categories, skeleton, pictures, min_keypoints, path):
    """Records of the annotations that can be used; the others are counted by reason."""
    rows, left_out = [], {}
    for annotation in annotations:
        row, reason = _read_person(annotation, categories, skeleton, pictures, min_keypoints)
        if reason is None:
            rows.append(row)
        else:
            first = left_out.setdefault(reason, [0, annotation.get("id")])
            first[0] += 1
    notes = tuple(
        f"{path}: {count} people left out ({reason}), the first is annotation {first}"
        for reason, (count, first) in left_out.items()
    )
    if not rows:
        reasons = "; ".join(f"{count} × {reason}" for reason, (count, _) in left_out.items())
        raise DataError(
            f"Nobody in {path} can be used. Received: {len(annotations)} annotations "
            f"({reasons or 'none'}). Correct them, or the folder of pictures."
        )
    column = {name: [row[name] for row in rows] for name in rows[0]}
    joints, visibility = np.stack(column["joints"]), np.stack(column["visibility"])
    extra = {name: np.array(column[name], dtype=object) for name in ("image_id", "annotation_id")}
    extra["image_number"] = np.array(column["number"])
    extra["rectangle"] = np.array(column["rectangle"])
    return PoseRecords(
        skeleton,
        images=column["image"],
        boxes=column["box"],
        joints=joints,
        visibility=visibility,
        reference=reference_lengths(joints, visibility, skeleton),
        ids=column["annotation_id"],
        areas=column["area"],
        extra=extra,
        notes=notes,
    )


def _read_person(annotation, categories, skeleton, pictures, min_keypoints):
    """One annotation as a dict of columns, or the reason why it cannot be used."""
    category = annotation.get("category_id")
    if not isinstance(category, (int, str)) or category not in categories:
        return None, "not a person with keypoints"
    if categories[category].joints != skeleton.joints:
        return None, "of another category with other joints"
    if annotation.get("iscrowd"):
        return None, "crowd"
    key = annotation.get("image_id")
    if not isinstance(key, (int, str)) or key not in pictures:
        return None, "unknown image_id"
    try:
        points = numbers(annotation.get("keypoints"), (3 * skeleton.num_joints,), "k", "a")
    except DataError:
        return None, "keypoints broken"
    points = points.reshape(-1, 3)
    visibility = np.where(np.isin(points[:, 2], (1, 2)), points[:, 2], 0).astype(np.int8)
    joints = points[:, :2]
    if not np.isfinite(points).all() or np.abs(joints).max() > 1e6:
        return None, "keypoints not finite"
    if (visibility > 0).sum() < max(min_keypoints, 1):
        return None, f"fewer than {max(min_keypoints, 1)} keypoints"
    joints = np.where(visibility[:, None] > 0, joints, 0.0)
    box, rectangle, reason = _read_box(annotation.get("bbox"), joints, visibility)
    if reason is None:
        reason = _outside(box, pictures[key][2])
    if reason is not None:
        return None, reason
    area = annotation.get("area")
    usable = isinstance(area, (int, float)) and np.isfinite(area) and area > 0
    number, image, _ = pictures[key]
    return {
        "image": image,
        "number": number,
        "image_id": key,
        "annotation_id": annotation.get("id", len(pictures)),
        "joints": joints,
        "visibility": visibility,
        "box": box,
        "rectangle": rectangle,
        # Without a segment COCO's own tools use half the rectangle as well.
        "area": float(area) if usable else float(rectangle[2] * rectangle[3] * 0.53),
    }, None


def _read_box(bbox, joints, visibility):
    """Person box, rectangle and what is wrong with them."""
    if bbox is None:
        box = boxes_from_joints(joints[None], visibility[None], padding=PADDING)[0]
        corner = box[:2] - box[2] / 2 + 0.5
        return box, np.array([*corner, box[2], box[2]]), None
    try:
        rectangle = numbers(bbox, (4,), "bbox", "the file")
        box = boxes_from_xywh(rectangle)
    except UserError:
        return None, None, "box broken, or of zero or negative size"
    box[2] *= PADDING
    return box, rectangle, None


def _outside(box, picture):
    """Whether a box lies entirely beside its picture, where the file gives the size."""
    width, height = picture.get("width"), picture.get("height")
    if not all(isinstance(length, (int, float)) for length in (width, height)):
        return None
    x, y, side = box
    half = side / 2
    inside = x + half > 0 and y + half > 0 and x - half < width and y - half < height
    return None if inside else "box outside the picture"


def _skeletons(categories, path):
    """category id -> `Skeleton`, of the categories that have keypoints."""
    found = {}
    for category in categories:
        names = category.get("keypoints")
        if isinstance(names, list) and names and isinstance(category.get("id"), (int, str)):
            found[category["id"]] = _skeleton(category, names, path)
    if not found:
        raise DataError(
            f"No category of {path} names its keypoints. Export it as COCO keypoints, with the "
            "joint names in categories[0]['keypoints']."
        )
    return found


def _skeleton(category, names, path):
    given, pairs = tuple(str(name).strip() for name in names), None
    try:
        table = next((category[key] for key in _PAIRS if category.get(key) is not None), None)
        if table is None:
            names = own_names(given)
        else:
            pairs, names = read_pairs(table, given), given
    except UserError as error:
        raise DataError(f"{path}: {error}") from error
    for known in (COCO, LSP):
        if names == known.joints and pairs is None:
            return known
    limbs = []
    for pair in category.get("skeleton") or []:
        if isinstance(pair, list) and len(pair) == 2 and all(
            isinstance(end, int) and 1 <= end <= len(names) for end in pair
        ):  # fmt: skip
            limbs.append((names[pair[0] - 1], names[pair[1] - 1]))
    try:
        return Skeleton(
            name=str(category.get("name", "own")),
            joints=names,
            limbs=tuple(limbs),
            reference=_TORSO if set(_TORSO) <= set(names) else None,
            pairs=pairs,
        )
    except UserError as error:
        raise DataError(f"{path}: {error}") from error


def _find_json(path):
    path = existing(path, "annotation file or folder")
    if not os.path.isdir(path):
        return path
    for name in _NAMES:
        if os.path.isfile(os.path.join(path, name)):
            return os.path.join(path, name)
    found = [name for name in sorted(os.listdir(path)) if name.endswith(".json")]
    if len(found) == 1:
        return os.path.join(path, found[0])
    raise DataError(
        f"{path} needs one JSON file of annotations, e.g. {_NAMES[0]}. "
        f"Received: {found[:5] or 'no JSON file'}. Name the file itself, or the kind of another "
        "data set before the path, e.g. mpii:DIR."
    )
