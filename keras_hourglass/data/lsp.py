"""Leeds Sports Pose and its extended training set.

References:
    S. Johnson, M. Everingham: Clustered Pose and Nonlinear Appearance Models for Human Pose
    Estimation, BMVC 2010, and Learning Effective Human Pose Estimation from Inaccurate
    Annotation, CVPR 2011.
"""

import os
import re

import numpy as np

from keras_hourglass.data.annotations import numbers
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError
from keras_hourglass.geometry import PADDING, boxes_from_joints
from keras_hourglass.io.arrays import read_mat
from keras_hourglass.io.structured import existing, reads
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import LSP
from keras_hourglass.typing import Path

_PICTURE = re.compile(r"im0*(\d+)\.(jpg|jpeg|png)$", re.IGNORECASE)


@reads("annotation file")
def read_lsp(folder: Path, extended: bool = False) -> PoseRecords:
    """Read a folder with `joints.mat` and `images/im0001.jpg`, as published.

    The third number of a joint means opposite things in the two sets: in LSP 1 marks an occluded
    joint (whose coordinates are still valid), in LSPET 1 marks a labelled, visible one and 0 a
    joint without annotation.

    Args:
        folder: the data set's folder, or its `joints.mat`.
        extended: whether it is the extended set (LSPET).

    Returns:
        `PoseRecords` with the LSP skeleton in source pixels; the MATLAB file's 1-based
        coordinates become 0-based, boxes are the joints' extent times 1.25, the reference is the
        torso, and `extra["image_number"]` counts pictures from 1. People without any label are
        left out and counted in `notes`.

    Raises:
        DataError: if the folder or its joints are missing or of another form.

    Example:

    >>> records = read_lsp("lsp_dataset")  # doctest: +SKIP
    >>> records.joints.shape  # doctest: +SKIP
    (2000, 14, 2)
    """
    folder = existing(folder, "data set folder")
    if os.path.isfile(folder):
        folder = os.path.dirname(folder) or "."
    path = os.path.join(folder, "joints.mat")
    joints, flags = _read_joints(path)
    visibility = np.where(flags > 0.5, 2, 0) if extended else np.where(flags > 0.5, 1, 2)
    broken = ~np.isfinite(joints).all(axis=-1) | ~np.isfinite(flags)
    visibility[broken] = 0
    joints = np.where(visibility[..., None] > 0, joints - 1, 0.0)

    pictures = _list_pictures(folder)
    counted = np.arange(1, len(joints) + 1)
    kept = (visibility > 0).any(axis=1)
    notes = ()
    if not kept.all():
        notes = (f"{path}: {(~kept).sum()} people left out (no joints), the first is number "
                 f"{counted[~kept][0]}",)  # fmt: skip
    if not kept.any():
        raise DataError(f"None of the {len(joints)} people of {path} has a labelled joint.")
    joints, visibility, counted = joints[kept], visibility[kept], counted[kept]
    name, missing = ("lspet", "im{:05d}.jpg") if extended else ("lsp", "im{:04d}.jpg")
    missing = os.path.join(folder, "images", missing)
    return PoseRecords(
        LSP,
        images=[pictures.get(number, missing.format(number)) for number in counted],
        boxes=boxes_from_joints(joints, visibility, padding=PADDING),
        joints=joints,
        visibility=visibility,
        reference=reference_lengths(joints, visibility, LSP),
        ids=[f"{name}/{number}" for number in counted],
        extra={"image_number": counted},
        notes=notes,
    )


def _read_joints(path):
    """`(N, 14, 2)` coordinates as in the file and `(N, 14)` flags, from either axis order."""
    content = read_mat(path, variable_names=["joints"])
    if "joints" not in content:
        raise DataError(f"{path} has no variable 'joints'. Is it an LSP annotation file?")
    joints = numbers(content["joints"], (None, None, None), "'joints'", path)
    if joints.shape[:2] == (3, 14):
        joints = joints.transpose(2, 1, 0)
    elif joints.shape[:2] == (14, 3):
        joints = joints.transpose(2, 0, 1)
    else:
        raise DataError(
            f"'joints' in {path} needs shape (3, 14, N) or (14, 3, N). "
            f"Received: {joints.shape}. Is it an LSP annotation file?"
        )
    return joints[..., :2], joints[..., 2]


def _list_pictures(folder):
    """Picture number -> path of `images/`, or of the folder itself."""
    inner = os.path.join(folder, "images")
    inner = inner if os.path.isdir(inner) else folder
    try:
        names = sorted(os.listdir(inner))
    except OSError as error:
        raise DataError(f"Cannot list {inner}: {error.strerror}. Check its permissions.") from error
    matches = ((_PICTURE.match(name), name) for name in names)
    return {int(match[1]): os.path.join(inner, name) for match, name in matches if match}
