"""The official MPII release: MATLAB structures with holes."""

import numpy as np

from keras_hourglass.data.annotations import field, read_mat, structs, text
from keras_hourglass.errors import DataError
from keras_hourglass.skeletons import MPII

# Rows of `annopoints.point.id` are the joints of the MPII skeleton in order.
_HEAD_SHARE = 0.6  # head length = 0.6 × diagonal of the head box, as in the official evaluation


def read_official(path):
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
