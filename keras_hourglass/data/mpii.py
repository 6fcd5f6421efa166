"""MPII Human Pose in the three forms in which it is passed around.

Reference: M. Andriluka et al., 2D Human Pose Estimation: New Benchmark and State of the Art
Analysis, CVPR 2014.
"""

import os

import numpy as np

from keras_hourglass.data.annotations import (
    check_split,
    field,
    numbers,
    structs,
    text,
)
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, listed
from keras_hourglass.geometry import MIN_SIDE
from keras_hourglass.io.arrays import read_hdf5, read_mat
from keras_hourglass.io.structured import existing, read_json, reads
from keras_hourglass.skeletons import MPII
from keras_hourglass.typing import Path

OFFICIAL = "mpii_human_pose_v1_u12_1.mat"
_NAMES = ("annot.json", "valid.json", "train.json", "valid.h5", "train.h5", OFFICIAL)
# Where the files lie below the folder of the data set: in it, in the authors' and HRNet's layout,
# and as the official archive unpacks.
_INNER = ("", "annot", "mpii_human_pose_v1_u12_2")
_ADJUSTED = (".h5", ".hdf5")  # the authors' files hold centre and scale as `adjust` makes them
_PIXELS_PER_SCALE = 200.0
_HEAD_SHARE = 0.6  # head length = 0.6 × diagonal of the head box, as in the official evaluation
# Both head joints are corners of a box inset from the annotated head box, so their distance is
# 0.8 × its diagonal, and 0.6 × the diagonal is 0.75 × their distance.
_HEAD_LENGTH_PER_DISTANCE = 0.75
_HEAD = [MPII.index("upper_neck"), MPII.index("head_top")]


@reads("annotation file")
def read_mpii(path: Path, split: str | None = None, images: Path | None = None) -> PoseRecords:
    """Read MPII people from the official MATLAB file, the authors' HDF5, or HRNet-style JSON.

    Args:
        path: the file, whose suffix names the form, or the data set's folder, with the file in
            it, in `annot/` or in the official archive's `mpii_human_pose_v1_u12_2/`.
        split: `"train"` or `"valid"`, the division of Tompson et al. that the paper uses: picks
            `train.h5` or `valid.h5` (`train.json`, `valid.json`) in a folder. For the official
            file the people are those listed in `valid.h5`, and all others; it lies beside the
            file, in the folder above, or there in `annot/`.
        images: folder of the pictures; found beside the file by default.

    Returns:
        `PoseRecords` with the MPII skeleton in source pixels, 0-based. Boxes are the paper's:
        the centre moved down by 15 × scale, the side 200 × 1.25 × scale. The reference is the
        head length, 0.6 × the diagonal of the head box. `extra` holds `person` (position in its
        picture, from 0) and `image_number` (order of the picture in the file, from 1).

    Raises:
        DataError: if the file is not of one of these forms.

    Example:

    >>> records = read_mpii("annot/valid.h5")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    2958
    """
    path = _find_file(path, split)
    suffix = os.path.splitext(path)[1].lower()
    if suffix == ".json":
        columns = _read_hrnet(path)
    elif suffix in _ADJUSTED:
        columns = _read_authors(path)
    else:
        columns = _read_official(path)
    if suffix == ".mat" and split is not None:
        columns = _split_official(columns, path, split)
    names, joints, visibility, centre, scale, reference, person = columns
    if names and suffix not in _ADJUSTED:
        centre, scale = adjust(centre, scale)
    if not names:
        part = "" if split is None else f" of the split {split}"
        raise DataError(f"{path} holds nobody{part} with annotated joints. Is it the whole file?")
    pictures, first = PicturePaths(path, images, names).find_all(names), {}
    for name in names:
        first.setdefault(name, len(first) + 1)
    usable = np.isfinite(centre).all(axis=1) & np.isfinite(scale)
    usable &= _PIXELS_PER_SCALE * scale >= MIN_SIDE
    usable &= (visibility > 0).any(axis=1)
    notes = ()
    if not usable.all():
        index = int(np.argmin(usable))
        notes = (f"{path}: {(~usable).sum()} people left out (no centre, scale or joints), the "
                 f"first is in {listed([names[index]])}",)  # fmt: skip
    if not usable.any():
        raise DataError(f"Nobody in {path} has a centre, a scale and joints. Is it damaged?")
    side = np.where(usable, scale, 1)[:, None] * _PIXELS_PER_SCALE
    joints = np.where(visibility[..., None] > 0, joints - 1, 0.0)
    records = PoseRecords(
        MPII,
        images=pictures,
        boxes=np.concatenate([np.where(usable[:, None], centre - 1, 0), side], axis=1),
        joints=joints,
        visibility=visibility,
        reference=np.where(reference > 0, reference, np.nan),
        ids=[f"mpii/{name}/{number}" for name, number in zip(names, person, strict=True)],
        extra={"image_number": np.array([first[name] for name in names]), "person": person},
        notes=notes,
    )
    return records.select(usable)


def _read_authors(path):
    """The HDF5 of the paper's authors; centre and scale are the adjusted ones already."""
    wanted = ("part", "visible", "center", "scale", "normalize", "imgname", "person")
    found = read_hdf5(path, wanted)
    missing = [name for name in wanted[:4] + wanted[5:6] if name not in found]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}. Is it the authors' annotation file?")
    joints = numbers(found["part"], (None, MPII.num_joints, 2), "'part'", path)
    count = len(joints)
    flags = numbers(found["visible"], (count, MPII.num_joints), "'visible'", path)
    centre = numbers(found["center"], (count, 2), "'center'", path)
    scale = numbers(found["scale"], (count,), "'scale'", path)
    head = numbers(found.get("normalize", np.full(count, np.nan)), (count,), "'normalize'", path)
    person = numbers(found.get("person", np.zeros(count)), (count,), "'person'", path)
    if len(found["imgname"]) != count:
        raise DataError(f"'imgname' in {path} needs one name for each of {count} people.")
    names = [text(name, path) for name in found["imgname"]]
    # (0, 0) stands for a joint without annotation; a single 0 or a negative one is a joint.
    labelled = (joints != 0).any(axis=-1) & np.isfinite(joints).all(axis=-1)
    visibility = np.where(labelled, np.where(flags > 0, 2, 1), 0).astype(np.int8)
    return names, joints, visibility, centre, scale, head, np.nan_to_num(person).astype(int)


def _read_hrnet(path):
    """The JSON of HRNet-style toolkits; centre and scale are those of the official file."""
    people = read_json(path)
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise DataError(f"{path} must hold a list of people. Is it an MPII annotation file?")
    count, shape = len(people), (len(people), MPII.num_joints)
    try:
        column = {key: [person[key] for person in people] for key in ("image", "center", "scale")}
        # The test split comes without joints.
        column["joints"] = [person.get("joints", np.zeros((16, 2))) for person in people]
        column["joints_vis"] = [person.get("joints_vis", np.zeros(16)) for person in people]
    except KeyError as error:
        raise DataError(f"{path} lacks {error} for some people. Export it again.") from error
    if not people:
        raise DataError(f"{path} holds nobody. Is it the whole file?")
    joints = numbers(column["joints"], (*shape, 2), "'joints'", path)
    flags = numbers(column["joints_vis"], shape, "'joints_vis'", path)
    centre = numbers(column["center"], (count, 2), "'center'", path)
    scale = numbers(column["scale"], (count,), "'scale'", path)
    visibility = np.where((flags > 0) & np.isfinite(joints).all(axis=-1), 2, 0).astype(np.int8)
    head = joints[:, _HEAD]
    known = (visibility[:, _HEAD] > 0).all(axis=1)
    length = _HEAD_LENGTH_PER_DISTANCE * np.linalg.norm(head[:, 0] - head[:, 1], axis=-1)
    names = [text(name, path) for name in column["image"]]
    seen, person = {}, []
    for name in names:
        seen[name] = seen.get(name, -1) + 1
        person.append(seen[name])
    head = np.where(known, length, np.nan)
    return names, joints, visibility, centre, scale, head, np.array(person)


def _read_official(path):
    """Read `mpii_human_pose_v1_u12_1.mat`.

    Pictures without people, people without joints, and the test pictures (whose joints are not
    published) are passed over.

    Args:
        path: the MATLAB file.

    Returns:
        Columns names, joints `(N, 16, 2)` (1-based), visibility, centre and scale as
        annotated, head length, and position within the picture (from 0).

    Raises:
        DataError: if it is not that file.
    """
    content = read_mat(path, struct_as_record=False, squeeze_me=True)
    if "RELEASE" not in content:
        raise DataError(f"{path} has no variable 'RELEASE'. Is it MPII's official file?")
    release = content["RELEASE"]
    pictures = structs(field(release, "annolist"))
    if not pictures:
        raise DataError(f"{path} has no 'annolist'. Is it MPII's official file?")
    training = np.atleast_1d(field(release, "img_train", np.ones(len(pictures))))
    if len(training) != len(pictures):
        raise DataError(f"'img_train' of {path} needs one entry for each of {len(pictures)}.")
    rows = []
    for picture, used in zip(pictures, training, strict=True):
        image = structs(field(picture, "image"))
        if not used or not image:
            continue
        people = structs(field(picture, "annorect"))
        for number, person in enumerate(people):
            row = _read_person(person)
            if row is not None:
                rows.append((text(field(image[0], "name", ""), path), *row, number))
    if not rows:
        return [], None, None, None, None, None, None
    names, joints, visibility, centre, scale, head, person = zip(*rows, strict=True)
    columns = [np.array(column) for column in (joints, visibility, centre, scale, head, person)]
    return list(names), *columns


def _read_person(person):
    """Joints, visibility, centre, scale and head length of one `annorect`, or `None`."""
    annotated = structs(field(person, "annopoints"))
    points = structs(field(annotated[0], "point")) if annotated else []
    # Rows of `annopoints.point.id` are the joints of the MPII skeleton in order.
    joints = np.zeros((MPII.num_joints, 2))
    visibility = np.zeros(MPII.num_joints, np.int8)
    for point in points:
        joint, x, y = (_number(field(point, name)) for name in ("id", "x", "y"))
        if not np.isfinite([joint, x, y]).all() or not 0 <= joint < MPII.num_joints:
            continue
        joints[int(joint)] = x, y
        # Without the flag (always so for the head) the joint counts as visible.
        flag = _number(field(point, "is_visible"))
        visibility[int(joint)] = 1 if flag == 0 else 2
    if not visibility.any():
        return None
    place = structs(field(person, "objpos"))
    centre = [_number(field(place[0], axis)) for axis in ("x", "y")] if place else [np.nan] * 2
    corners = [_number(field(person, name)) for name in ("x1", "y1", "x2", "y2")]
    head = _HEAD_SHARE * np.hypot(corners[2] - corners[0], corners[3] - corners[1])
    return joints, visibility, centre, _number(field(person, "scale")), head


def _number(value):
    """A float from a scalar, a one-element array, or text; NaN for holes."""
    try:
        values = np.asarray(value, dtype=np.float64).ravel()
    except (TypeError, ValueError):
        return np.nan
    return float(values[0]) if len(values) == 1 and abs(values[0]) <= 1e9 else np.nan


def adjust(centre: np.ndarray, scale: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The paper's person boxes: lower and larger, so that feet are less likely cut off.

    Args:
        centre: `(N, 2)` annotated centres in pixels; negative ones mean there is none.
        scale: `(N,)` annotated scales (body height / 200 px).

    Returns:
        `(N, 2)` centres 15 × scale lower, NaN where there is none, and `(N,)` 1.25 × scale.

    Example:

    >>> centre, scale = adjust(np.array([[100.0, 200.0]]), np.array([2.0]))
    >>> centre.tolist(), scale.tolist()
    ([[100.0, 230.0]], [2.5])
    """
    lower = centre + np.stack([np.zeros_like(scale), 15.0 * scale], axis=1)
    return np.where(centre[:, :1] > -1, lower, np.nan), 1.25 * scale


def _split_official(columns, path, split):
    """People of the official file that belong to one part of Tompson's division."""
    if split not in ("train", "valid"):
        raise DataError(f"The split of MPII is train or valid. Received: {split!r}.")
    beside = _find_list(path)
    listed = read_hdf5(beside, ("imgname", "person"))
    if len(listed) != 2 or len(listed["imgname"]) != len(listed["person"]):
        raise DataError(f"{beside} lacks imgname or person. Is it the authors' valid.h5?")
    valid = {
        (text(name, beside), int(person))
        for name, person in zip(listed["imgname"], listed["person"], strict=True)
    }
    names, *arrays, person = columns
    chosen = np.array(
        [
            ((name, int(p)) in valid) == (split == "valid")
            for name, p in zip(names, person, strict=True)
        ],
        dtype=bool,
    )
    names = [name for name, kept in zip(names, chosen, strict=True) if kept]
    return (names, *(array[chosen] for array in (*arrays, person)))


def _find_list(path):
    """The list of validation people that belongs to the official file."""
    folder = os.path.dirname(os.path.abspath(path))
    above = os.path.dirname(folder)
    places = [folder, os.path.join(folder, "annot"), above, os.path.join(above, "annot")]
    found = [os.path.join(place, "valid.h5") for place in places]
    found = [name for name in found if os.path.isfile(name)]
    if not found:
        raise DataError(
            "The official file of MPII does not say who is for training and who for validation; "
            f"the authors' valid.h5 does. Received: none beside {path}. Copy data/MPII/annot/"
            "valid.h5 of github.com/princeton-vl/pytorch_stacked_hourglass into that folder."
        )
    return found[0]


def _find_file(path, split):
    path = existing(path, "annotation file or folder")
    if not os.path.isdir(path):
        check_split(path, split)
        return path
    names = _NAMES if split is None else (f"{split}.json", f"{split}.h5", OFFICIAL)
    found = [os.path.join(inner, name) for name in names for inner in _INNER]
    found = [name for name in found if os.path.isfile(os.path.join(path, name))]
    whole = [name for name in found if os.path.basename(name) == OFFICIAL]
    lists = [name for name in found if name.endswith(_ADJUSTED)]
    if split is None and whole and len(whole) + len(lists) == len(found):
        found = whole[:1]  # everybody; the others are parts of them
    if len(found) == 1 or (found and split is not None):
        return os.path.join(path, found[0])
    raise DataError(
        f"{path} needs one annotation file of MPII, in it or in its folder annot: "
        f"{', '.join(names)}. Received: {', '.join(found) or 'none'}. Name the file itself"
        f"{', or its part as in mpii:FOLDER@train' if found else ''}."
    )
