"""The result of a prediction: everybody in one picture."""

import collections.abc
import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Iterator
from typing import Any, overload

import numpy as np

from keras_hourglass.errors import UserError, optional
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.structured import csv_cell
from keras_hourglass.prediction.pose import Pose, free_path, picture_to_dict
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Path

# What the table knows of a person; `x`, `y`, `score` and `present` of each joint follow.
_COLUMNS = ("image", "frame", "person", "box_x", "box_y", "box_w", "box_h", "score")
_OF_JOINT = ("x", "y", "score", "confidence", "present")
_LAST_COLUMNS = ("id", "sure", "seconds")


@dataclasses.dataclass(eq=False, repr=False)
class PicturePoses(collections.abc.Sequence):
    """The people of one picture: a sequence of `Pose`s. In Jupyter it shows itself as a picture.

    Args:
        name: path of the picture, or what stands for it.
        poses: list of `Pose`s; empty if nobody was found or the picture could not be read. Where
            people were looked for, the surest comes first.
        image: `(height, width, 3)` RGB array, or `None` if it could not be read.
        frame: index within a video, or `None`.
        error: the `UserError` that kept the picture from being read, or `None`.
        skeleton: the `Skeleton` of the model; by default that of the poses.
        alone: the detector found nobody, so the whole picture was taken for one person.
        seconds: when the frame is shown, from the start of the video, or `None`.

    Example:

    >>> empty = PicturePoses("empty_street.jpg", [])
    >>> len(empty), empty
    (0, PicturePoses(nobody in 'empty_street.jpg'))
    """

    name: str
    poses: list
    image: np.ndarray | None = None
    frame: int | None = None
    error: Exception | None = None
    skeleton: Skeleton | None = None
    alone: bool = False
    seconds: float | None = None

    def __post_init__(self):
        if self.skeleton is None and self.poses:
            self.skeleton = self.poses[0].skeleton

    def __len__(self) -> int:
        return len(self.poses)

    @overload
    def __getitem__(self, place: int) -> Pose: ...

    @overload
    def __getitem__(self, place: slice) -> list[Pose]: ...

    def __getitem__(self, place: Any) -> Any:
        return self.poses[place]

    def __iter__(self) -> Iterator[Pose]:
        return iter(self.poses)

    def __eq__(self, other: Any) -> bool:
        if isinstance(other, PicturePoses):
            return self is other
        return self.poses == other if isinstance(other, list) else NotImplemented

    __hash__ = object.__hash__

    def __repr__(self):
        unsure = sum(not pose.sure for pose in self.poses)
        people = {0: "nobody", 1: "1 person"}.get(len(self), f"{len(self)} people")
        where = repr(self.name) if self.frame is None else f"frame {self.frame} of {self.name!r}"
        return f"PicturePoses({people}{f' ({unsure} unsure)' if unsure else ''} in {where})"

    @property
    def boxes(self) -> np.ndarray:
        """`(P, 4)` float64 rectangles `x, y, w, h` in source pixels."""
        return np.array([pose.box for pose in self.poses], np.float64).reshape(-1, 4)

    @property
    def scores(self) -> np.ndarray:
        """`(P,)` float64 scores of the people, see `Pose.score`."""
        return np.array([pose.score for pose in self.poses], np.float64)

    @property
    def ids(self) -> list:
        """The people's numbers in a video, `None` where they are not followed."""
        return [pose.id for pose in self.poses]

    @property
    def keypoints(self) -> np.ndarray:
        """`(P, K, 2)` float64 joints in source pixels; `(0, 0, 2)` where no model named them."""
        joints = 0 if self.skeleton is None else self.skeleton.num_joints
        points = [pose.keypoints for pose in self.poses]
        return np.array(points, np.float64).reshape(-1, joints, 2)

    def crops(self, padding: float = 1.25) -> list[np.ndarray]:
        """The part of the picture around each person.

        Args:
            padding: factor by which boxes grow about their centres.

        Returns:
            P `(height, width, 3)` uint8 RGB arrays, cut to the picture.
        """
        return [dataclasses.replace(pose, picture=self.read()).crop(padding) for pose in self.poses]

    def read(self) -> np.ndarray:
        """The picture as a `(height, width, 3)` RGB array.

        Raises:
            UserError: if it was not kept and cannot be read again.
        """
        if self.image is not None:
            return self.image
        if self.error is not None:
            raise self.error
        if self.poses:
            return self.poses[0].read_picture()
        raise UserError(
            f"The picture of these poses is not known. Received: image=None for {self.name!r}. "
            "Pass its RGB array as `image`."
        )

    def draw(self, **options) -> np.ndarray:
        """Paint everybody on the picture.

        Args:
            **options: of `drawing.draw_poses`.

        Returns:
            `(height, width, 3)` uint8 RGB array of the size of the picture.
        """
        from keras_hourglass.prediction.drawing import draw_poses

        # Where nobody was found, no joint is a guess about somebody.
        return draw_poses(self.read(), self.poses, **{"guess": not self.alone, **options})

    def to_dict(self) -> dict:
        """The JSON document that `predict` writes: picture, names of joints, people.

        `"alone": true` says that nobody was found and the whole picture taken for one person;
        `frame` and `seconds` are those of a video.
        """
        document = picture_to_dict(self.name, self.poses, self._known_skeleton())
        extra = {"frame": self.frame, "seconds": self.seconds, "alone": self.alone or None}
        return {**document, **{key: value for key, value in extra.items() if value is not None}}

    def to_coco(self, image_id: int | str | None = None, category_id: int = 1) -> list[dict]:
        """The people as entries of a COCO keypoint results file, see `Pose.to_coco`."""
        return [pose.to_coco(image_id, category_id) for pose in self.poses]

    def to_rows(self) -> list[dict]:
        """The people as rows of a table: a dict of column -> value for each."""
        rows = []
        for person, pose in enumerate(self.poses, start=1):
            values = pose.to_dict()
            score = round(pose.score, 4)
            known = (self.name, self.frame, person, *values["box"], score)
            row = dict(zip(_COLUMNS, known, strict=True))
            points = zip(
                pose.names, values["keypoints"], values["confidences"], values["present"],
                strict=True,
            )  # fmt: skip
            for joint, point, confidence, present in points:
                numbers = (*point, confidence, present)
                row |= {f"{joint}_{of}": one for of, one in zip(_OF_JOINT, numbers, strict=True)}
            last = pose.id, bool(pose.sure), self.seconds
            rows.append({**row, **dict(zip(_LAST_COLUMNS, last, strict=True))})
        return rows

    def to_csv(self, path: Path | None = None, overwrite: bool = False) -> str:
        """The people as a table with a head, a row each.

        Args:
            path: a file to write as well.
            overwrite: replace an existing file.

        Returns:
            The text of the table.

        Raises:
            UserError: if the file exists and `overwrite` is false.
        """
        file = io.StringIO()
        write_rows(file, self._known_skeleton(), [self])
        if path is not None:
            atomic_write(free_path(path, overwrite), file.getvalue())
        return file.getvalue()

    def to_pandas(self) -> Any:
        """The people as a `pandas.DataFrame`, a row each, with the columns of `to_csv`.

        Raises:
            UserError: if pandas is not installed.
        """
        try:
            pandas = optional("pandas")
        except ImportError as error:
            raise UserError(
                f"A data frame needs pandas, which is not installed ({error}). "
                "Run: pip install pandas, or use to_csv."
            ) from error
        return pandas.DataFrame(self.to_rows(), columns=columns_of(self._known_skeleton()))

    def to_supervision(self) -> Any:
        """The people as `supervision.KeyPoints`, to annotate and evaluate with that package.

        Its confidences of joints are `Pose.confidences`, which mean the same for every network.
        Joints that are not present are not `visible` and lie at `(0, 0)`, where supervision draws
        nothing; boxes are in `data["xywh"]`, numbers of followed people in `data["tracker_id"]`.

        Raises:
            UserError: if supervision is not installed.
        """
        try:
            supervision = optional("supervision")
        except ImportError as error:
            raise UserError(
                f"KeyPoints need supervision, which is not installed ({error}). "
                "Run: pip install 'keras_hourglass[supervision]'."
            ) from error
        if not self.poses:
            return supervision.KeyPoints.empty()
        present = np.array([pose.present for pose in self.poses])
        points = np.where(present[..., None], self.keypoints, 0.0).astype(np.float32)
        data = {"xywh": self.boxes}
        if None not in self.ids:
            data["tracker_id"] = np.array(self.ids)
        return supervision.KeyPoints(
            points,
            class_id=np.zeros(len(self), int),
            keypoint_confidence=np.array([pose.confidences for pose in self.poses], np.float32),
            detection_confidence=self.scores.astype(np.float32),
            visible=present,
            data=data,
        )

    def save(self, path: Path, overwrite: bool = False, **options) -> None:
        """Write the people: JSON, a table, or the painted picture.

        Args:
            path: the file; its suffix names the format (`.json`, `.csv`, `.png`, `.jpg`, …).
            overwrite: replace an existing file.
            **options: of `drawing.draw_poses`, for pictures.

        Raises:
            UserError: if the file exists and `overwrite` is false.
        """
        from keras_hourglass.io.images import write_image

        path = free_path(path, overwrite)
        if path.suffix.lower() == ".json":
            atomic_write(path, json.dumps(self.to_dict(), allow_nan=False) + "\n")
        elif path.suffix.lower() == ".csv":
            self.to_csv(path, overwrite=True)
        else:
            write_image(path, self.draw(**options))

    def _repr_png_(self):
        """The painted picture for Jupyter; nothing where the picture is not known."""
        from keras_hourglass.io.images import encode_image

        try:
            return encode_image(self.draw(), ".png")
        except UserError:
            return None

    def _known_skeleton(self):
        return Skeleton("nobody", ()) if self.skeleton is None else self.skeleton


def columns_of(skeleton: Skeleton) -> list[str]:
    """Columns of the table of people with the joints of a skeleton.

    Example:

    >>> columns_of(Skeleton("dot", ("dot",)))[7:13]
    ['score', 'dot_x', 'dot_y', 'dot_score', 'dot_confidence', 'dot_present']
    """
    joints = [f"{joint}_{value}" for joint in skeleton.joints for value in _OF_JOINT]
    return [*_COLUMNS, *joints, *_LAST_COLUMNS]


def write_rows(
    file: Any, skeleton: Skeleton, results: Iterable[PicturePoses], head: bool = True
) -> None:
    """Append people to an open text file as rows of CSV.

    Args:
        file: where they go.
        skeleton: the `Skeleton` of the model.
        results: the `PicturePoses`.
        head: begin with the names of the columns.
    """
    writer, columns = csv.writer(file, lineterminator="\n"), columns_of(skeleton)
    if head:
        writer.writerow(map(csv_cell, columns))
    for result in results:
        for row in result.to_rows():
            writer.writerow([csv_cell(row.get(column)) for column in columns])
