"""DeepLabCut's labels: `CollectedData_*.csv` or `.h5` beside the frames, or a whole project.

Reference: https://deeplabcut.github.io/DeepLabCut/docs/standardDeepLabCut_UserGuide.html.
A row is a frame; the columns are named by scorer, individual (of several animals), body part and
x or y.
"""

import glob
import os
import pickletools
from typing import Any

import numpy as np

from keras_hourglass.data.annotations import Tally, person_box
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.records import PoseRecords, unique_ids
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.arrays import hdf5_values, open_hdf5
from keras_hourglass.io.images import shown_size
from keras_hourglass.io.structured import (
    as_number,
    existing,
    read_csv,
    read_yaml,
    reads,
    shorten,
)
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import own_skeleton
from keras_hourglass.typing import Path

_LEVELS = ("scorer", "individuals", "bodyparts", "coords")


@reads("DeepLabCut project")
def read_deeplabcut(
    path: Path,
    images: Path | None = None,
    video: str | None = None,
    pairs: Any = None,
) -> PoseRecords:
    """Read the labelled frames of DeepLabCut.

    Args:
        path: a file `CollectedData_SCORER.csv` or `.h5`, a folder with one, or a project's folder
            or `config.yaml`, all of whose `labeled-data` are then read.
        images: folder of the frames; by default beside each file.
        video: of a project, the folder in `labeled-data` to read.
        pairs: joints that mirror each other, as `skeletons.read_pairs` takes them.

    Returns:
        `PoseRecords` in source pixels, a row for each animal of each frame. What is labelled counts
        as visible. There are no boxes in these files: they are the joints' extent times 1.25, or
        the whole frame where only one spot is labelled. Limbs are those of the project's
        `config.yaml`. `extra` holds `image_number`, `individual` and `rectangle`.

    Raises:
        DataError: if the file is of another form (as predictions of a video are), or nobody is
            left.

    Example:

    >>> read_deeplabcut("openfield-Pranav-2018-10-30").skeleton.joints  # doctest: +SKIP
    ('snout', 'left_ear', 'right_ear', 'tailbase')
    """
    files, config = _find(os.path.abspath(path), video)
    left_out, derived, rows, joints = Tally(), Tally(), [], None
    number = 0
    for file in files:
        columns, names, values = _read_table(file)
        people, parts = _by_individual(columns, file)
        if joints is None:
            joints = parts
        if set(parts) != set(joints):
            raise DataError(
                f"The files of a project must label the same body parts: {', '.join(joints)}. "
                f"Received: {', '.join(parts)} in {file}. Read the videos one by one."
            )
        paths = PicturePaths(file, images, names)
        for name, row in zip(names, values, strict=True):
            number += 1
            image = _frame(paths, file, images, name)
            for individual, places in people.items():
                points = np.array([[row[place] for place in places[part]] for part in joints])
                if np.isnan(points).all():
                    continue  # this animal is not in this frame
                where = f"{shorten(name)} of {file}"
                person, what = _person(points, image)
                if person is None:
                    left_out.add(what, where)
                    continue
                if what is not None:
                    derived.add(what, where)
                person |= {"image": image, "number": number, "individual": individual}
                rows.append(person | {"id": "/".join(filter(None, (name, individual)))})
    skeleton = _skeleton(joints or (), config, pairs, files[0])
    if not rows:
        raise DataError(f"Nobody in {path} is labelled ({left_out or 'empty rows'}). Label frames.")
    return _records(rows, skeleton, left_out.lines(path, "animals left out ({})"),
                    derived.lines(path, "animals with {}"))  # fmt: skip


def _records(rows, skeleton, notes, remarks):
    column = {name: [row[name] for row in rows] for name in rows[0]}
    joints, visibility = np.stack(column["joints"]), np.stack(column["visibility"])
    individuals = np.array(column["individual"], dtype=object)
    return PoseRecords(
        skeleton,
        images=column["image"],
        boxes=column["box"],
        joints=joints,
        visibility=visibility,
        reference=reference_lengths(joints, visibility, skeleton, column["box"]),
        ids=unique_ids(column["id"]),
        extra={
            "image_number": np.array(column["number"]),
            "individual": individuals,
            "rectangle": np.stack(column["rectangle"]),
        },
        notes=notes,
        remarks=remarks,
    )


def _person(points, image):
    """Columns of one animal and what was derived; or `None` and why it cannot be used."""
    labelled = np.isfinite(points).all(axis=1)
    if not labelled.any() or np.abs(points[labelled]).max() > 1e6:
        return None, "no joint with both coordinates" if not labelled.any() else "no pixels"
    joints = np.where(labelled[:, None], points, 0.0)
    visibility = np.where(labelled, 2, 0)
    box, rectangle = person_box(None, joints, visibility)
    what = None
    if box is None:
        try:
            size = shown_size(image)[::-1]
        except DataError:
            return None, "joints in one spot, and no frame to tell how large the animal is"
        box, rectangle = person_box(None, joints, visibility, size)
        what = "joints in one spot: the box is the whole frame"
    person = {"joints": joints, "visibility": visibility, "box": box, "rectangle": rectangle}
    return person, what


def _frame(paths, file, images, name):
    """Path of a frame: beside its file if it is there, else where `PicturePaths` finds it."""
    beside = os.path.join(os.path.dirname(file), name.replace("\\", "/").rsplit("/", 1)[-1])
    if images is None and os.path.isfile(beside):
        return beside
    path, _ = paths.find(name)
    # A missing frame is named where it should be.
    return path if path is not None and os.path.isfile(path) else beside


def _skeleton(joints, config, pairs, file):
    edges = (config or {}).get("skeleton")
    limbs = []
    for edge in edges if isinstance(edges, list) else ():
        if isinstance(edge, list) and all(str(end) in joints for end in edge):
            places = [joints.index(str(end)) for end in edge]
            limbs += list(zip(places, places[1:], strict=False))
    try:
        return own_skeleton(joints, limbs, "animal", pairs)
    except UserError as error:
        raise DataError(f"{file}: {error}") from error


# Files


def _find(path, video):
    """The files to read and the project's config, if there is one."""
    path = existing(path, "file, folder or project of DeepLabCut")
    if path.lower().endswith((".yaml", ".yml")):
        config, folder = _config(path), os.path.dirname(path)
    elif os.path.isdir(path):
        config, folder = _config(os.path.join(path, "config.yaml")), path
    else:
        return [path], _config(os.path.join(os.path.dirname(path), "..", "..", "config.yaml"))
    scorer = (config or {}).get("scorer")
    inside = os.path.join(glob.escape(folder), "labeled-data", glob.escape(video or "") or "*")
    for place in (inside, glob.escape(folder)) if video is None else (inside,):
        found: dict = {}
        # Both are written, with the same content.
        for suffix in (".csv", ".h5"):
            for file in sorted(glob.glob(os.path.join(place, f"CollectedData_*{suffix}"))):
                found.setdefault(os.path.splitext(file)[0], file)
        own = [file for stem, file in found.items() if stem.endswith(f"CollectedData_{scorer}")]
        if found:
            if config is None:
                config = _config(os.path.join(folder, "..", "..", "config.yaml"))
            return own or sorted(found.values()), config
    raise DataError(
        f"DeepLabCut's labels are CollectedData_*.csv or .h5, in a project below labeled-data. "
        f"Received: {path}{f' with the video {video}' if video else ''}, which has none. "
        "Name the project's folder, or the file."
    )


def _config(path):
    """A project's settings; `None` where there are none or they are another program's."""
    if not os.path.isfile(path):
        return None
    content = read_yaml(path, "project file")
    return content if isinstance(content, dict) and "bodyparts" in content else None


def _read_table(path):
    """Columns as tuples of text, N names of frames, `(N, columns)` numbers with NaN for holes."""
    suffix = os.path.splitext(path)[1].lower()
    if suffix not in (".csv", ".h5", ".hdf5"):
        raise DataError(f"DeepLabCut's labels are .csv or .h5. Received: {path}.")
    columns, names, values = _read_csv(path) if suffix == ".csv" else _read_hdf5(path)
    if any(column[-1] == "likelihood" for column in columns):
        raise DataError(
            f"Labels are needed. Received: {path}, which holds a network's predictions of a video. "
            "Name a file CollectedData_*."
        )
    if not columns or not all(column[-1] in ("x", "y") for column in columns) or not names:
        raise DataError(
            f"{path} needs columns named by scorer, body part and x or y, and rows of frames. "
            f"Received: {shorten(columns[:2])}. Is it DeepLabCut's CollectedData?"
        )
    return columns, names, values


def _read_csv(path):
    rows = read_csv(path, "labels")
    header = []
    for row in rows[:5]:
        header.append(row)
        if row[0].strip().lower() == _LEVELS[-1]:
            break
    else:
        raise DataError(
            f"{path} must begin with rows named scorer, bodyparts and coords. "
            f"Received: {shorten(rows[0] if rows else [])}. Is it DeepLabCut's CollectedData?"
        )
    # One column with the path of the frame, or three with its parts.
    first = next((place for place, cell in enumerate(header[-1][1:], start=1) if cell.strip()), 1)
    width = len(header[-1])
    levels = [[cell.strip() for cell in row[first:width]] for row in header]
    if any(len(level) != width - first for level in levels):
        raise DataError(f"The header of {path} has rows of different lengths. Export it again.")
    names, values = [], []
    for row in rows[len(header) :]:
        cells = row[first:width] + [""] * (width - len(row))
        names.append("/".join(cell.strip() for cell in row[:first]))
        values.append([as_number(cell) for cell in cells])
    return list(zip(*levels, strict=True)), names, values


def _read_hdf5(path):
    """What pandas wrote, in both of its forms, without unpickling the names of columns."""
    what = "file of DeepLabCut's labels"
    with open_hdf5(path, what, remedy="Name the .csv beside it") as file:
        group = next(iter(file.values()))
        if "table" in group:
            table = group["table"][()]
            columns = _texts_of_pickle(bytes(group.attrs["non_index_axes"]))
            names = [name.decode("utf-8") for name in table["index"]]
            return columns, names, table["values_block_0"].astype(np.float64).tolist()
        columns = _axis(group, "axis0")
        values = np.full((len(_axis(group, "axis1")), len(columns)), np.nan)
        for block in range(int(group.attrs["nblocks"])):
            places = [columns.index(one) for one in _axis(group, f"block{block}_items")]
            values[:, places] = hdf5_values(group[f"block{block}_values"])
        return columns, ["/".join(name) for name in _axis(group, "axis1")], values.tolist()


def _axis(group, name):
    """An axis as tuples of text: one level, or several with numbers into each."""
    if f"{name}_nlevels" not in group.attrs:
        return [(text.decode("utf-8"),) for text in hdf5_values(group[name])]
    levels = []
    for level in range(int(group.attrs[f"{name}_nlevels"])):
        texts = [text.decode("utf-8") for text in hdf5_values(group[f"{name}_level{level}"])]
        levels.append([texts[place] for place in hdf5_values(group[f"{name}_label{level}"])])
    return list(zip(*levels, strict=True))


def _texts_of_pickle(data):
    """The tuples of text in a pickled list, read symbol by symbol: nothing is made of them."""
    stack, memo, found = [], {}, []
    for operation, value, _ in pickletools.genops(data):
        name = operation.name
        if name in ("UNICODE", "BINUNICODE", "SHORT_BINUNICODE"):
            stack.append(value)
        elif name == "MARK":
            stack.append(_MARK)
        elif name in ("TUPLE", "TUPLE3", "LIST", "APPENDS"):
            start = len(stack) - 3
            if name != "TUPLE3":
                start = len(stack) - stack[::-1].index(_MARK)
            parts = tuple(stack[start:])
            del stack[start - (name != "TUPLE3") :]
            if len(parts) >= 3 and all(isinstance(part, str) for part in parts):
                found.append(parts)
            if name != "APPENDS":
                stack.append(parts)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else value] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[value])
        elif name in ("INT", "BININT", "BININT1", "BININT2", "EMPTY_LIST", "NONE"):
            stack.append(value)
        elif name == "APPEND":
            stack.pop()
        elif name in ("TUPLE1", "TUPLE2"):
            count = int(name[-1])
            stack[-count:] = [tuple(stack[-count:])]
        elif name not in ("PROTO", "FRAME", "STOP"):
            raise ValueError(f"names of columns hold {name}")
    return found


_MARK = object()


def _by_individual(columns, path):
    """individual -> body part -> places of x and y; and the body parts in order.

    Individuals with other body parts than the first (`single`, for what there is once in a frame)
    are left aside.
    """
    people: dict = {}
    for place, column in enumerate(columns):
        individual = column[1] if len(column) == 4 else ""
        places = people.setdefault(individual, {}).setdefault(column[-2], [None, None])
        places["xy".index(column[-1])] = place
    first = next((parts for name, parts in people.items() if name != "single"), None)
    parts = tuple(first or next(iter(people.values())))
    kept = {name: found for name, found in people.items() if set(found) == set(parts)}
    if any(None in places for found in kept.values() for places in found.values()):
        raise DataError(f"{path} has a body part without x or without y. Export it again.")
    return kept, parts
