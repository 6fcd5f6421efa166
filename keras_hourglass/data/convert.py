"""Annotated people in the layouts of other programs: COCO keypoints and YOLO-pose."""

import json
import os
import pathlib
import shutil
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_hourglass.data.load import open_image
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.tfrecords import PREFIX as STORED
from keras_hourglass.data.tfrecords import stored_image
from keras_hourglass.errors import DataError
from keras_hourglass.geometry import PADDING, boxes_from_xywh, boxes_to_xywh
from keras_hourglass.io.files import atomic_write, new_folder
from keras_hourglass.io.images import shown_size, write_image
from keras_hourglass.typing import Path


def write_coco(
    splits: dict[str, PoseRecords],
    folder: Path,
    overwrite: bool = False,
    progress: Callable = iter,
) -> tuple[int, dict]:
    """Write people as COCO keypoints, with copies of their pictures.

    Args:
        splits: the only entry, `""`, or several by name: `{"train": ..., "val": ...}`.
        folder: the folder to make: `person_keypoints.json` and `images/`, or
            `annotations/person_keypoints_SPLIT.json` and `images/SPLIT/`.
        overwrite: accept a folder with content.
        progress: wraps the list of pictures, e.g. `tqdm.tqdm`.

    Returns:
        `(number of people written, {path: reason} of pictures that could not be read)`.

    Raises:
        UserError: if the folder holds something already.
        DataError: if no picture of a split could be read.

    Example:

    >>> write_coco({"": records}, "for_others")  # doctest: +SKIP
    (1000, {})
    """
    folder, files, count, failures = new_folder(folder, overwrite), {}, 0, {}
    for split, records in splits.items():
        pictures = _copy(records, folder / "images" / split, progress, failures)
        images, people, rows = [], [], _rows(records)
        for place, (path, (name, height, width)) in enumerate(pictures.items(), start=1):
            images.append({"id": place, "file_name": name, "width": width, "height": height})
            for row in rows[path]:
                people.append({"id": len(people) + 1, "image_id": place, **_person(records, row)})
        content = {
            "info": {"description": f"written by keras_hourglass from {len(records)} people"},
            "images": images,
            "annotations": people,
            "categories": [_category(records.skeleton)],
        }
        name = (
            "person_keypoints.json" if not split else f"annotations/person_keypoints_{split}.json"
        )
        files[name] = json.dumps(content) + "\n"
        count += len(people)
    for name, text in files.items():
        atomic_write(folder / name, text)
    return count, failures


def write_yolo(
    splits: dict[str, PoseRecords],
    folder: Path,
    overwrite: bool = False,
    progress: Callable = iter,
) -> tuple[int, dict]:
    """Write people in YOLO's pose layout, with copies of their pictures.

    Joints outside their picture, which this layout cannot hold, become unlabelled, and boxes end
    at its edges.

    Args:
        splits: people by split, `{"train": ..., "val": ...}`.
        folder: the folder to make: `data.yaml`, `images/SPLIT/` and `labels/SPLIT/`.
        overwrite: accept a folder with content.
        progress: wraps the list of pictures, e.g. `tqdm.tqdm`.

    Returns:
        `(number of people written, {path: reason} of pictures that could not be read)`.

    Raises:
        UserError: if the folder holds something already.
        DataError: if no picture of a split could be read.

    Example:

    >>> write_yolo({"train": records, "val": others}, "for_yolo")  # doctest: +SKIP
    (1000, {})
    """
    import yaml

    folder, count, failures = new_folder(folder, overwrite), 0, {}
    for split, records in splits.items():
        pictures = _copy(records, folder / "images" / split, progress, failures)
        rows = _rows(records)
        for path, (name, height, width) in pictures.items():
            lines = [_line(records, row, height, width) for row in rows[path]]
            labels = folder / "labels" / split / pathlib.Path(name).with_suffix(".txt")
            atomic_write(labels, "".join(f"{line}\n" for line in lines))
            count += len(lines)
    skeleton = next(iter(splits.values())).skeleton
    # Without `path` the folder of the file is meant, wherever it is moved to.
    content: dict = {split: f"images/{split}" for split in splits}
    content["kpt_shape"] = [skeleton.num_joints, 3]
    if skeleton.mirrors:
        content["flip_idx"] = list(skeleton.flip_order)
    content["names"] = {0: skeleton.name}
    content["kpt_names"] = {0: list(skeleton.joints)}
    limbs = [[skeleton.index(end) for end in limb] for limb in skeleton.limbs]
    content["skeleton"] = limbs
    text = yaml.safe_dump(content, sort_keys=False, allow_unicode=True, default_flow_style=None)
    atomic_write(folder / "data.yaml", text)
    return count, failures


def _copy(records, folder, progress, failures):
    """path -> `(name, height, width)` of the pictures of people, copied into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    copied, taken = {}, set()
    for path in progress(list(dict.fromkeys(records.images))):
        stem, suffix = _name(path)
        name, number = f"{stem}{suffix}", 1
        while pathlib.Path(name).stem.casefold() in taken:  # labels are told apart by stems
            number += 1
            name = f"{stem}_{number}{suffix}"
        try:
            if os.path.isfile(path):
                size = shown_size(path)
                shutil.copyfile(path, folder / name)
            elif path.startswith(STORED):
                data = stored_image(path)
                size = shown_size(data)
                atomic_write(folder / name, data)
            else:
                image = open_image(path)
                size = image.shape[:2]
                write_image(folder / name, image)
        except DataError as error:
            failures[path] = str(error)
            continue
        taken.add(pathlib.Path(name).stem.casefold())
        copied[path] = (name, *size)
    if not copied:
        raise DataError("None of the pictures could be read, so nothing was written.")
    return copied


def _rows(records):
    """path -> numbers of its people."""
    rows: dict = {}
    for row, path in enumerate(records.images):
        rows.setdefault(path, []).append(row)
    return rows


def _name(path):
    """Stem and suffix of a picture's copy; of one that is no file of its own, made of its name."""
    if os.path.isfile(path):
        return os.path.splitext(os.path.basename(path))
    kind, _, rest = path.partition(":")
    stem = "_".join(part for part in rest.replace("@", "/").split("/")[-3:] if part)
    stem = "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in stem)
    return f"{kind}_{stem}", ".jpg" if path.startswith(STORED) else ".png"


def _rectangle(records, row):
    """A rectangle `x, y, w, h` that readers make this person's box of."""
    given = records.extra.get("rectangle")
    if given is not None:
        box = boxes_from_xywh(np.asarray(given[row], np.float64)) * (1, 1, PADDING)
        if np.allclose(box, records.boxes[row]):
            return np.asarray(given[row], np.float64)
    return boxes_to_xywh(records.boxes[row] / (1, 1, PADDING))


def _person(records, row):
    """The parts of a COCO annotation that are the person's own."""
    labelled = records.visibility[row] > 0
    points = np.where(labelled[:, None], records.joints[row], 0.0).round(3)
    points = np.column_stack([points, records.visibility[row]])
    rectangle = _rectangle(records, row)
    area = rectangle[2] * rectangle[3] * 0.53 if records.areas is None else records.areas[row]
    return {
        "category_id": 1,
        "keypoints": points.ravel().tolist(),
        "num_keypoints": int(labelled.sum()),
        "bbox": rectangle.round(3).tolist(),
        "area": round(float(area), 3),
        "iscrowd": 0,
        "segmentation": [],
    }


def _category(skeleton) -> dict[str, Any]:
    category = {
        "id": 1,
        "name": skeleton.name,
        "supercategory": "",
        "keypoints": list(skeleton.joints),
        "skeleton": [[skeleton.index(end) + 1 for end in limb] for limb in skeleton.limbs],
    }
    if skeleton.pairs is not None:
        category["pairs"] = [list(pair) for pair in skeleton.pairs]
    return category


def _line(records, row, height, width):
    """A line of labels: class, rectangle and joints in shares of the picture."""
    size, joints = np.array([width, height], np.float64), records.joints[row]
    inside = (joints >= 0).all(axis=1) & (joints <= size).all(axis=1)
    visibility = np.where(inside, records.visibility[row], 0)
    points = np.where(visibility[:, None] > 0, joints / size, 0.0)
    rectangle = _rectangle(records, row)
    low = np.clip(rectangle[:2], 0, size)
    high = np.clip(rectangle[:2] + rectangle[2:], 0, size)
    words = [f"{value:.8g}" for value in [*((low + high) / 2 / size), *((high - low) / size)]]
    for (x, y), flag in zip(points, visibility, strict=True):
        words += [f"{x:.8g}", f"{y:.8g}", str(flag)]
    return " ".join(["0", *words])
