"""The result of a prediction: one person's joints in source pixels."""

import dataclasses
import json
import math
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import PRESENT_FROM, confidences
from keras_hourglass.errors import UserError
from keras_hourglass.io.files import atomic_write
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Array, Column, Path, Size


@dataclasses.dataclass(eq=False, repr=False)
class Pose:
    """The joints of one person. In Jupyter it shows itself as a picture.

    Args:
        keypoints: `(K, 2)` joints `x, y` in source pixels; NaN where nothing was predicted.
        scores: `(K,)` heights of the heatmaps' maxima. How high they are depends on the network:
            compare those of different ones by `confidences`.
        box: `x, y, w, h` of the person in source pixels, as it was given or found.
        skeleton: the `Skeleton` that names the K joints.
        present: `(K,)` booleans, whether each joint counts as being in the picture; by default
            those with a score of at least their threshold.
        image: name of the picture: its path, or what stands for it.
        picture: what `draw` paints on: an RGB array, the bytes of a file or a path; by default
            the path in `image`.
        box_score: the detector's or the file's confidence in the box, or `None`.
        heatmaps: `(h, w, K)` float32 maps in heatmap pixels if they were asked for.
        sure: whether this is somebody; a skeleton that is not sure is drawn pale.
        id: number of the person in a video, the same in all frames, or `None`.
        thresholds: `(K,)` scores from which on a joint is believed, or one for all of them; 0.2
            by default.

    Raises:
        UserError: if the arrays do not have one row per joint or the box has not four numbers.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> stick = Skeleton("stick", ("top", "foot"), limbs=(("top", "foot"),))
    >>> pose = Pose([[4, 2], [5, 30]], [0.9, 0.1], (0, 0, 10, 32), stick)
    >>> pose.present.tolist(), pose.to_dict()["keypoints"]
    ([True, False], [[4.0, 2.0, 0.9], [5.0, 30.0, 0.1]])
    """

    keypoints: Column
    scores: Column
    box: Column
    skeleton: Skeleton
    present: Column = None
    image: str | None = None
    picture: Any = None
    box_score: float | None = None
    heatmaps: np.ndarray | None = None
    sure: bool = True
    id: int | None = None
    thresholds: Column = PRESENT_FROM

    def __post_init__(self):
        joints = self.skeleton.num_joints
        self.keypoints = np.asarray(self.keypoints, np.float64)
        self.scores = np.asarray(self.scores, np.float32)
        self.box = np.asarray(self.box, np.float64)
        self.thresholds = np.asarray(self.thresholds, np.float64)
        if self.thresholds.ndim == 0:
            self.thresholds = np.full(joints, self.thresholds)
        if self.present is None and self.scores.shape == self.thresholds.shape:
            self.present = self.scores >= self.thresholds.astype(np.float32)
        self.present = np.asarray(self.present, bool)
        for name, shape in (
            ("keypoints", (joints, 2)),
            ("scores", (joints,)),
            ("thresholds", (joints,)),
            ("present", (joints,)),
            ("box", (4,)),
        ):
            if getattr(self, name).shape != shape:
                raise UserError(
                    f"`{name}` of a pose with {joints} joints needs shape {shape}. "
                    f"Received: {getattr(self, name).shape}. Pass one row per joint."
                )
        self.present = self.present & np.isfinite(self.keypoints).all(axis=1)
        if self.image is not None:
            self.image = os.fspath(self.image)

    def __repr__(self):
        name = None if self.image is None else pathlib.PurePath(self.image).name
        known = "" if self.id is None else f"person {self.id}, "
        known += "" if self.sure else "unsure, "
        return (
            f"Pose({known}{int(self.present.sum())} of {len(self.names)} {self.skeleton.name} "
            f"joints, score {self.score:.2f}, box {_rounded(self.box, 1)}, image {name!r})"
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The K joint names, in the order of the arrays."""
        return self.skeleton.joints

    @property
    def confidences(self) -> np.ndarray:
        """`(K,)` scores on the scale that all networks share, 0 to 1, 0.5 from where on they are
        believed: `score / (score + threshold)`, see `codec.confidences`."""
        return confidences(self.scores, self.thresholds)

    @property
    def score(self) -> float:
        """Mean score of the present joints, times the box's own score if it has one."""
        mean = float(self.scores[self.present].mean()) if self.present.any() else 0.0
        return mean * (1.0 if self.box_score is None else float(self.box_score))

    def draw(self, picture: Any = None, **options) -> np.ndarray:
        """Paint the pose on its picture.

        Args:
            picture: what to paint on instead: an RGB array, the bytes of a file or a path.
            **options: of `drawing.draw_poses`.

        Returns:
            `(height, width, 3)` uint8 RGB array of the size of the picture.

        Raises:
            UserError: if the pose does not know its picture.
        """
        from keras_hourglass.prediction.drawing import draw_poses

        return draw_poses(self.read_picture(picture), [self], **options)

    def read_picture(self, picture: Any = None) -> np.ndarray:
        """The picture of the pose (or the one given) as an RGB array."""
        from keras_hourglass.io.images import read_image

        for candidate in (picture, self.picture, self.image):
            if candidate is not None:
                return candidate if isinstance(candidate, np.ndarray) else read_image(candidate)
        raise UserError(
            "This pose does not know its picture. Received: picture=None. "
            "Pass an RGB array or a path."
        )

    def to_dict(self) -> dict:
        """The person as JSON-ready values: box, keypoints `[x, y, score]`, confidences and flags.

        Coordinates are rounded to thousandths of a source pixel; NaN becomes `None`. `box_score`
        and `id` are there where they are known, `"sure": false` of somebody who is not.
        """
        rows = np.column_stack([self.keypoints, self.scores])
        person = {
            "box": _rounded(self.box, 3),
            "keypoints": [_rounded(row[:2], 3) + _rounded(row[2:], 4) for row in rows],
            "confidences": _rounded(self.confidences, 4),
            "present": self.present.tolist(),
        }
        if self.box_score is not None:
            person["box_score"] = _rounded([self.box_score], 4)[0]
        if self.id is not None:
            person["id"] = int(self.id)
        if not self.sure:
            person["sure"] = False
        return person

    def crop(self, padding: float = 1.25) -> np.ndarray:
        """The part of the picture around the person.

        Args:
            padding: factor by which the box grows about its centre.

        Returns:
            `(height, width, 3)` uint8 RGB array, cut to the picture; at least one pixel.
        """
        image = self.read_picture()
        low, high = cut_box(self.box, image.shape[:2], padding)
        return image[low[1] : high[1], low[0] : high[0]].copy()

    def to_coco(self, image_id: int | str | None = None, category_id: int = 1) -> dict:
        """The person as one entry of a COCO keypoint results file.

        Args:
            image_id: number of the picture; by default the number its file name ends in,
                as COCO's own names do (`000000000785.jpg`), or its name without suffix.
            category_id: number of the category, 1 for a person.

        Returns:
            A dict with `image_id`, `category_id`, `keypoints` (3K numbers `x, y, v`; `v` is 2
            for a present joint, 0 otherwise), `bbox` and `score`.
        """
        if image_id is None:
            image_id = coco_image_id(self.image)
        flags = 2.0 * self.present
        points = np.where(np.isfinite(self.keypoints), self.keypoints, 0)
        return {
            # NumPy's numbers are none of JSON's.
            "image_id": image_id.item() if isinstance(image_id, np.generic) else image_id,
            "category_id": int(category_id),
            "keypoints": _rounded(np.column_stack([points, flags]).ravel(), 3),
            "bbox": _rounded(self.box, 3),
            "score": round(self.score, 6),
        }

    def save(self, path: Path, overwrite: bool = False) -> None:
        """Write the pose: JSON for a path ending in `.json`, else the painted picture.

        Args:
            path: the file; its suffix names the format (`.json`, `.png`, `.jpg`, …).
            overwrite: replace an existing file.

        Raises:
            UserError: if the file exists and `overwrite` is false.
        """
        from keras_hourglass.io.images import write_image

        path = free_path(path, overwrite)
        if path.suffix.lower() == ".json":
            content = picture_to_dict(self.image, [self], self.skeleton)
            atomic_write(path, json.dumps(content, allow_nan=False) + "\n")
        else:
            write_image(path, self.draw())

    def _repr_png_(self):
        """The painted picture for Jupyter; nothing when the pose does not know its picture."""
        from keras_hourglass.io.images import encode_image

        try:
            return encode_image(self.draw(), ".png")
        except UserError:
            return None


def free_path(path: Path, overwrite: bool) -> pathlib.Path:
    """A path to write to.

    Args:
        path: where.
        overwrite: whether an existing file may be replaced.

    Returns:
        The `pathlib.Path`.

    Raises:
        UserError: if the file exists and may not be replaced.

    Example:

    >>> free_path("poses.json", overwrite=True).name
    'poses.json'
    """
    path = pathlib.Path(path)
    if path.exists() and not overwrite:
        raise UserError(
            f"The file exists already. Received: {path}. Pass overwrite=True or another path."
        )
    return path


def cut_box(box: Array, shape: Size, padding: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """The pixels of a picture that a box covers.

    Args:
        box: `x, y, w, h` in source pixels.
        shape: `(height, width)` of the picture.
        padding: factor by which the box grows about its centre.

    Returns:
        Integers `x, y` of the first pixel and of the one after the last; at least one pixel lies
        between.

    Example:

    >>> [corner.tolist() for corner in cut_box((10, 20, 40, 20), (30, 200), 1.5)]
    [[0, 15], [60, 30]]
    """
    box, size = np.asarray(box, np.float64), np.asarray(shape[1::-1])
    middle, half = box[:2] + box[2:] / 2, box[2:] * padding / 2
    low = np.clip(np.floor(middle - half), 0, size - 1).astype(int)
    high = np.clip(np.ceil(middle + half), low + 1, size).astype(int)
    return low, high


def picture_to_dict(image: Path | None, poses: Sequence[Pose], skeleton: Skeleton) -> dict:
    """The poses of one picture as the JSON document that `predict` writes.

    Args:
        image: name of the picture, or `None`.
        poses: list of its `Pose`s, perhaps empty.
        skeleton: the `Skeleton` of the model.

    Returns:
        `{"image", "keypoint_names", "people": [...]}`, see `Pose.to_dict`.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> picture_to_dict("a.jpg", [], Skeleton("dot", ("dot",)))
    {'image': 'a.jpg', 'keypoint_names': ['dot'], 'people': []}
    """
    return {
        "image": image,
        "keypoint_names": list(skeleton.joints),
        "people": [pose.to_dict() for pose in poses],
    }


def coco_image_id(image: Path | None) -> int | str:
    """COCO's number of a picture from its file name, or the name without suffix.

    Args:
        image: name or path of the picture, or `None`.

    Returns:
        An `int`, or a `str` where the name does not end in digits.

    Example:

    >>> coco_image_id("val2017/000000000785.jpg"), coco_image_id("me.jpg")
    (785, 'me')
    """
    stem = pathlib.PurePath(image or "").stem
    digits = stem[len(stem.rstrip("0123456789")) :]
    return int(digits) if digits else stem


def _rounded(values, digits):
    """Floats for JSON, which knows no NaN."""
    values = (round(float(value), digits) for value in values)
    return [value if math.isfinite(value) else None for value in values]
