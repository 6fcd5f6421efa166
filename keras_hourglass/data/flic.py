"""Frames Labeled In Cinema: upper bodies in films.

Reference: B. Sapp, B. Taskar: MODEC: Multimodal Decomposable Models for Human Pose Estimation,
CVPR 2013.
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
from keras_hourglass.errors import DataError, UserError, listed
from keras_hourglass.geometry import MIN_SIDE
from keras_hourglass.io.arrays import read_hdf5, read_mat
from keras_hourglass.io.structured import existing, reads
from keras_hourglass.skeletons import FLIC
from keras_hourglass.typing import Path

# Columns of `coords` in examples.mat that hold the 11 joints of the skeleton.
_COLUMNS = [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]
_SIDE = 440.0  # of the paper's crop in pixels of the 720×480 frames: scale 2.2 × 200
_HEIGHT = 480
_NAMES = ("examples.mat", "valid.h5", "train.h5")
_EYES = [FLIC.index("left_eye"), FLIC.index("right_eye")]
_SHOULDERS = [FLIC.index("left_shoulder"), FLIC.index("right_shoulder")]


@reads("annotation file")
def read_flic(
    path: Path, split: str | None = None, labels: str = "observer", images: Path | None = None
) -> PoseRecords:
    """Read FLIC from `examples.mat` or from the HDF5 of the paper's authors.

    FLIC's left and right are the observer's: a left arm is always the one on the right of the
    picture, as if everybody faced the camera.

    Args:
        path: the file, or the folder with it.
        split: `"train"` or `"valid"` (the set's test half); in a folder it names the HDF5 file,
            in `examples.mat` it picks by `istrain` and `istest`. By default all people.
        labels: `"observer"`: as published and as the paper evaluates; `"person"`: the body's own
            left and right, where limbs of people whose annotated eyes are the other way round
            (they are turned away) swap sides.
        images: folder of the pictures; found beside the file by default.

    Returns:
        `PoseRecords` with the FLIC skeleton in source pixels, 0-based. Boxes follow the paper:
        centred along x on the torso box, at half the picture's height, with a side of 440 px for
        everybody. The reference is the torso's length, on the diagonal the authors use.

    Raises:
        DataError: if the file is of another form.
        UserError: if `split` or `labels` is unknown.

    Example:

    >>> records = read_flic("FLIC/examples.mat", split="valid")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    1016
    """
    if split not in (None, "train", "valid") or labels not in ("observer", "person"):
        raise UserError(
            "FLIC has the splits train and valid and the labels observer and person. "
            f"Received: split={split!r}, labels={labels!r}."
        )
    path = _find_file(path, split)
    reader = _read_mat if path.lower().endswith(".mat") else _read_authors
    names, joints, labelled, centre, side, reference = reader(path, split)
    if not names:
        raise DataError(f"{path} holds nobody of the split {split}. Is it the whole file?")
    usable = labelled.any(axis=1) & np.isfinite(centre).all(axis=1) & (side >= MIN_SIDE)
    notes = ()
    if not usable.all():
        first = names[int(np.argmin(usable))]
        notes = (f"{path}: {(~usable).sum()} people left out (no joints or torso box), the first "
                 f"is in {listed([first])}",)  # fmt: skip
    if not usable.any():
        raise DataError(f"Nobody in {path} has joints and a torso box. Is it damaged?")
    joints = np.where(labelled[..., None], joints - 1, 0.0)
    joints, labelled = _order_sides(joints, labelled, labels)
    boxes = np.concatenate([centre - 1, side[:, None]], axis=1)
    records = PoseRecords(
        FLIC,
        images=PicturePaths(path, images, names).find_all(names),
        boxes=np.where(usable[:, None], boxes, (0.0, 0.0, 1.0)),
        joints=joints,
        visibility=np.where(labelled, 2, 0),
        reference=np.where(reference > 0, reference, np.nan),
        ids=[f"flic/{number}/{name}" for number, name in enumerate(names)],
        extra={"image_number": _number_pictures(names)},
        notes=notes,
    )
    return records.select(usable)


def _read_authors(path, split):
    """The authors' HDF5; the file itself is the split."""
    found = read_hdf5(path, ("part", "visible", "center", "scale", "normalize", "imgname"))
    missing = [name for name in ("part", "center", "imgname") if name not in found]
    if missing:
        raise DataError(f"{path} lacks {', '.join(missing)}. Is it the authors' annotation file?")
    joints = numbers(found["part"], (None, FLIC.num_joints, 2), "'part'", path)
    count = len(joints)
    centre = numbers(found["center"], (count, 2), "'center'", path)
    scale = numbers(found.get("scale", np.full(count, _SIDE / 200)), (count,), "'scale'", path)
    visible = np.ones(joints.shape[:2]) if "visible" not in found else found["visible"]
    visible = numbers(visible, (count, FLIC.num_joints), "'visible'", path)
    labelled = (visible > 0) & np.isfinite(joints).all(axis=-1)
    reference = found.get("normalize")
    if reference is None:
        reference = _torso(joints, labelled)
    reference = numbers(reference, (count,), "'normalize'", path)
    if len(found["imgname"]) != count:
        raise DataError(f"'imgname' in {path} needs one name for each of {count} people.")
    names = [text(name, path) for name in found["imgname"]]
    return names, joints, labelled, centre, 200 * np.nan_to_num(scale), reference


def _read_mat(path, split):
    """`examples.mat`: one struct per person."""
    content = read_mat(path, struct_as_record=False, squeeze_me=True)
    people = structs(content.get("examples"))
    if not people:
        raise DataError(f"{path} has no variable 'examples'. Is it FLIC's examples.mat?")
    if split is not None:
        flag = "istrain" if split == "train" else "istest"
        people = [person for person in people if np.any(field(person, flag, False))]
    names, joints, centre = [], [], []
    for person in people:
        coords = numbers(field(person, "coords", np.full((2, 29), np.nan)), (2, None),
                         "'coords'", path)  # fmt: skip
        if coords.shape[1] <= max(_COLUMNS):
            raise DataError(f"'coords' in {path} needs 29 columns. Received: {coords.shape[1]}.")
        torso = numbers(field(person, "torsobox", [np.nan] * 4), (4,), "'torsobox'", path)
        size = field(person, "imgdims", np.array([_HEIGHT, 720, 3]))
        height = numbers(size, (None,), "'imgdims'", path)[0] if np.size(size) else _HEIGHT
        names.append(text(field(person, "filepath", ""), path))
        joints.append(coords[:, _COLUMNS].T)
        centre.append(((torso[0] + torso[2]) / 2, height / 2))
    joints = np.array(joints).reshape(-1, FLIC.num_joints, 2)
    labelled = np.isfinite(joints).all(axis=-1)
    side = np.full(len(names), _SIDE)
    return names, joints, labelled, np.array(centre).reshape(-1, 2), side, _torso(joints, labelled)


def _torso(joints, labelled):
    """Length from the right shoulder to the left hip, the diagonal of the authors' file."""
    ends = [FLIC.index("right_shoulder"), FLIC.index("left_hip")]
    length = np.linalg.norm(joints[:, ends[0]] - joints[:, ends[1]], axis=-1)
    return np.where(labelled[:, ends].all(axis=1), length, np.nan)


def _order_sides(joints, labelled, labels):
    """Swap left and right where the wanted kind of labels asks for it."""
    order = np.array(FLIC.flip_order)
    limbs = np.setdiff1d(np.arange(FLIC.num_joints), _EYES)

    def reversed_pair(pair):
        return joints[:, pair[0], 0] < joints[:, pair[1], 0]

    turned = reversed_pair(_EYES) & labelled[:, _EYES].all(axis=1)
    body = reversed_pair(_SHOULDERS) & labelled[:, _SHOULDERS].all(axis=1)
    joints, labelled = joints.copy(), labelled.copy()
    eyes = np.array(_EYES)
    swaps = [(limbs, body), (eyes, turned)] if labels == "observer" else [(limbs, turned & ~body)]
    for which, people in swaps:
        rows = np.flatnonzero(people)[:, None]
        joints[rows, which] = joints[rows, order[which]]
        labelled[rows, which] = labelled[rows, order[which]]
    return joints, labelled


def _number_pictures(names):
    first = {}
    return np.array([first.setdefault(name, len(first) + 1) for name in names])


def _find_file(path, split):
    path = existing(path, "annotation file or folder")
    if not os.path.isdir(path):
        check_split(path, split)
        return path
    names = _NAMES if split is None else ("examples.mat", f"{split}.h5")
    found = [name for name in names if os.path.isfile(os.path.join(path, name))]
    if "examples.mat" in found:
        found = ["examples.mat"]
    if len(found) == 1:
        return os.path.join(path, found[0])
    raise DataError(
        f"{path} needs one annotation file of FLIC: {', '.join(names)}. "
        f"Received: {', '.join(found) or 'none'}. Name the file itself, or a split."
    )
