"""The content of a COCO file in one form, whatever form its writer gave it."""

import re
from typing import Any

import numpy as np

from keras_hourglass.errors import DataError
from keras_hourglass.io.structured import Ids, as_number, read_json, shorten

# Where a category may have the names of its joints.
_NAMES = ("keypoints", "keypoint_names", "kpt_names", "node_names", "joint_names", "joints")
# Numbers before names, where all of them have one: `3_nose`, `4: left eye`.
_NUMBERED = re.compile(r"^\s*\d+\s*[_.:)\- ]\s*(?=\S)")
_SEPARATORS = re.compile(r"\s*[,;|\n]\s*")
_X, _Y, _V = ("x", "X"), ("y", "Y"), ("v", "visibility", "visible", "V")
# What tools write for the place of a joint that nobody labelled.
_NOWHERE = ((0.0, 0.0), (-1.0, -1.0))


def coco_content(path: str, remarks: list) -> dict:
    """The three lists of a file: `images`, `annotations` and `categories`, which may be missing.

    Args:
        path: the JSON file.
        remarks: list of lines, to which is added what was left out.

    Returns:
        A dict of three lists of dicts. Tables by identifier become lists.

    Raises:
        DataError: if the file is not of this layout.

    Example:

    >>> sorted(coco_content("person_keypoints.json", []))  # doctest: +SKIP
    ['annotations', 'categories', 'images']
    """
    return coco_parts(read_json(path), path, remarks)


def coco_parts(content: Any, path: str, remarks: list) -> dict:
    """The same of what stands in a file that was read.

    Args:
        content: of the file `path`.
        path, remarks: as for `coco_content`.

    Returns:
        A dict of three lists of dicts.

    Example:

    >>> coco_parts({"images": [], "annotations": {"7": {"bbox": []}}}, "a.json", [])["annotations"]
    [{'id': '7', 'bbox': []}]
    """
    if not isinstance(content, dict):
        raise DataError(f"{path} must hold an object with images, annotations and categories.")
    parts = {}
    for part in ("images", "annotations", "categories"):
        values = content.get(part)
        if values is None and part == "categories":
            values = []
        if isinstance(values, dict) and all(isinstance(one, dict) for one in values.values()):
            values = [{"id": key, **one} for key, one in values.items()]
        if isinstance(values, list) and None in values:
            empty = values.count(None)
            remarks.append(f"{path}: {empty} entries of {part} are empty, and left out")
            values = [one for one in values if one is not None]
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise DataError(
                f"{path} needs a list of objects named {part!r}. Is it a COCO keypoints file?"
            )
        parts[part] = values
    return parts


def odd_pictures(entries: list, path: str) -> list[str]:
    """What is wrong with the entries of `images`, whether or not anybody is annotated on them.

    Args:
        entries: of `images`.
        path: the file, for the lines.

    Returns:
        A line for each thing, with its count: identifiers that stand for several pictures, widths
        and heights that no picture has. 0 and nothing mean that nobody has said the size.

    Example:

    >>> odd_pictures([{"id": 1, "width": -4}, {"id": 1}], "a.json")[0]
    'a.json: 1 picture ids stand for several entries of images, the first is 1: each needs its own'
    """
    lines, twins = [], Ids(entry.get("id") for entry in entries).twins
    if twins:
        lines.append(
            f"{path}: {len(twins)} picture ids stand for several entries of images, the first is "
            f"{shorten(next(iter(twins)))}: each needs its own"
        )
    sizes = [[entry.get(name) for name in ("width", "height")] for entry in entries]
    odd = [place for place, size in enumerate(sizes) if any(map(_is_odd, size))]
    if odd:
        first, (width, height) = entries[odd[0]].get("id"), map(shorten, sizes[odd[0]])
        lines.append(
            f"{path}: {len(odd)} pictures have a width or height that no picture has, the first "
            f"has the id {shorten(first)} ({width} and {height}): the picture itself tells"
        )
    return lines


def _is_odd(length):
    """Whether a width or height is given and cannot be one."""
    number = as_number(length)
    return length is not None and number != 0 and not 1 <= number < np.inf


def joint_names(category: dict) -> tuple[str, ...]:
    """Names of the joints of a category, none where it has none.

    Args:
        category: an entry of `categories`. Names may be one text, or have numbers before them.

    Returns:
        A tuple of names.

    Example:

    >>> joint_names({"keypoints": ["0_nose", "1_left eye"]}), joint_names({"joints": "nose, tail"})
    (('nose', 'left eye'), ('nose', 'tail'))
    """
    names = next((category[key] for key in _NAMES if category.get(key)), None)
    if isinstance(names, str):
        names = _SEPARATORS.split(names.strip())
    if not isinstance(names, list):
        return ()
    found = [str(one.get("name", one)) if isinstance(one, dict) else str(one) for one in names]
    if all(map(_NUMBERED.match, found)):
        found = [_NUMBERED.sub("", name) for name in found]
    return tuple(found)


def joint_rows(points: Any, number: int) -> Any:
    """Joints as one flat list `x, y, v, …`.

    Args:
        points: of an annotation: such a list, a row for each joint, or an object with `x` and `y`
            for each; two numbers of each, without visibilities, are visible but for 0, 0.
        number: of joints, K.

    Returns:
        A list, NaN where there is no number; what cannot be understood as it is.

    Example:

    >>> joint_rows([[4, 5], [0, 0]], 2), joint_rows([{"x": 4, "y": 5, "v": 1}], 1)
    ([4, 5, 2, 0, 0, 0], [4, 5, 1])
    """
    if not isinstance(points, list):
        return points
    if points and all(isinstance(row, dict) for row in points):
        points = [
            [next((row[key] for key in keys if key in row), default) for keys, default in
             ((_X, None), (_Y, None), (_V, 2))]
            for row in points
        ]  # fmt: skip
    if points and all(isinstance(row, list) for row in points):
        points = [value for row in points for value in row]
    if len(points) == 2 * number:
        pairs = [points[place : place + 2] for place in range(0, 2 * number, 2)]
        points = [value for pair in pairs for value in (*pair, 2 if _is_place(pair) else 0)]
    return [np.nan if value is None else value for value in points]


def _is_place(pair):
    x, y = (as_number(value) for value in pair)
    return bool(np.isfinite([x, y]).all()) and (x, y) not in _NOWHERE


def nowhere(joints: np.ndarray) -> np.ndarray:
    """Which joints lie where tools put those that nobody labelled: at 0, 0 or -1, -1.

    Args:
        joints: `(K, 2)` in source pixels.

    Returns:
        `(K,)` bool.

    Example:

    >>> nowhere(np.array([[0, 0], [0, 4], [-1, -1]])).tolist()
    [True, False, True]
    """
    return np.any([(joints == place).all(axis=1) for place in _NOWHERE], axis=0)
