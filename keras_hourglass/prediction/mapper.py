"""Pictures of a distributed data set to poses: what a worker of Ray Data does with its batches.

The engine that spreads the work is Ray's; nothing here imports it, so the class runs wherever
somebody hands it batches.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_hourglass.choices import DEFAULT_MODEL
from keras_hourglass.errors import DataError, UserError, checks_arguments, listed, optional
from keras_hourglass.prediction.boxes import as_rectangles
from keras_hourglass.prediction.picture_poses import PicturePoses
from keras_hourglass.prediction.pictures import Picture, Pictures
from keras_hourglass.prediction.predictor import Predictor
from keras_hourglass.typing import Path

# Columns in which Ray's `read_binary_files` and `read_images` hand over pictures.
_PICTURES = ("bytes", "image")
# What a row has besides the columns of its batch.
_COLUMNS = ("height", "width", "keypoint_names", "people", "alone", "error")


@checks_arguments
class PoseMapper:
    """Predict the joints of people in batches of pictures, for Ray Data's `map_batches`.

    The class is handed over, not an object: each worker makes one of its own, with its own model,
    which never travels. A batch is a dict of columns (Ray's format `"numpy"`, which is its default)
    with a picture in each row; the result has a row for each picture, in the same order: one that
    cannot be read is a row with its `error`, one without people a row whose `people` are none. A
    worker takes as many threads as Ray gives it processors (`num_cpus`).

    The result is a `pyarrow.Table`: the columns of the batch without the pictures, and

    | column | type | |
    | --- | --- | --- |
    | `height`, `width` | int32 | of the picture in pixels; null where it cannot be read |
    | `keypoint_names` | list of strings | of the K joints, the same in every row |
    | `people` | list of structs | the surest first, see below |
    | `alone` | bool | nobody was found, and the whole picture taken for one person |
    | `error` | string | why the picture cannot be read; null where it was |

    A person has `box` (4 numbers `x, y, w, h`), `keypoints` (K times `x, y, score`),
    `confidences` and `present` (K each), `score`, `box_score` (null where boxes have none) and
    `sure`, in source pixels and with the meaning that they have in `Pose`.

    Args:
        model: name, path or address of a network, which every worker can reach, see `Predictor`.
        picture: the column of pictures: bytes of files, or `(height, width, 3)` uint8 RGB arrays;
            also paths that the workers can read, and https addresses. By default `"bytes"` or
            `"image"`, as `ray.data.read_binary_files` and `read_images` name it.
        name: a column that names pictures in errors, if there is one.
        boxes: a column of people's boxes: `(P, 4)` rectangles `x, y, w, h` in source pixels for
            each picture, perhaps with scores as a fifth number, or `None` for the whole picture.
            By default people are found.
        flip, batch_size, engine, thresholds, detector, whole, padding: as of `Predictor`.
            `batch_size` counts people per run of the network, and not the rows of a batch.

    Raises:
        UserError: if an argument is out of range; by a call, if the batch is no dict of columns,
            has no such column, has a column that is named as one of the result, or is handed over
            by an object instead of the class.

    Example:

    >>> mapper = PoseMapper("hourglass_tiny_synthetic", whole=True)
    >>> rows = mapper.rows({"image": np.zeros((2, 40, 60, 3), np.uint8), "day": [3, 4]})
    >>> [(row["day"], row["width"], len(row["people"]), row["error"]) for row in rows]
    [(3, 60, 1, None), (4, 60, 1, None)]
    """

    def __init__(
        self,
        model: Path = DEFAULT_MODEL,
        picture: str | None = None,
        name: str = "path",
        boxes: str | None = None,
        flip: bool = True,
        batch_size: int = 8,
        engine: Path | Callable = "auto",
        thresholds: float | dict | None = None,
        detector: str | Callable | None = "auto",
        whole: bool = False,
        padding: float = 1.0,
    ):
        if hasattr(model, "input_shape"):
            raise UserError(
                "Workers load their network themselves. Received: a model in memory. Save it by "
                "`save_to_preset` where every worker can read it, and name that folder."
            )
        self.picture, self.name, self.boxes = picture, name, boxes
        self._predictor = Predictor(
            model, flip=flip, batch_size=batch_size, engine=engine, thresholds=thresholds,
            detector=detector, whole=whole, padding=padding, spinning=False,
        )  # fmt: skip

    def __reduce__(self):
        """An object would be made anew, with its network, for every batch."""
        raise UserError(
            "Each worker makes its own mapper. Received: a PoseMapper that is there already. Hand "
            "over the class: map_batches(PoseMapper, fn_constructor_kwargs={...}, concurrency=2)."
        )

    def __call__(self, batch: Mapping) -> Any:
        """The poses of a batch as a `pyarrow.Table`, whose types do not depend on what is in it."""
        rows, pyarrow = self.rows(batch), _load_arrow()
        kept = [name for name in batch if name != self._column(batch)]
        schema = _schema(pyarrow)
        columns = {name: _array_of(pyarrow, name, batch[name]) for name in kept}
        for field in schema:
            columns[field.name] = pyarrow.array([row[field.name] for row in rows], field.type)
        return pyarrow.table(columns)

    def rows(self, batch: Mapping) -> list[dict]:
        """The same as a list of dicts, without pyarrow.

        Args:
            batch: a dict of columns of one length, lists or arrays.

        Returns:
            A dict of column -> value for each picture.

        Raises:
            UserError: as said of the class.
        """
        column = self._column(batch)
        pictures, boxes = self._pictures(batch, column)
        source = Pictures(pictures, len(pictures), "list")
        results = self._predictor.stream(source, boxes, on_error="keep")
        others = [name for name in batch if name != column]
        return [
            {**{name: batch[name][number] for name in others}, **self._row(result)}
            for number, result in enumerate(results)
        ]

    def _column(self, batch):
        """The name of the column of pictures, all columns checked."""
        if not isinstance(batch, Mapping):
            raise UserError(
                "A batch is a dict of columns. Received: "
                f'{type(batch).__name__}. Leave out `batch_format`, or say "numpy".'
            )
        known = _PICTURES if self.picture is None else (self.picture,)
        there = [name for name in known if name in batch]
        if not there:
            raise _missing("picture", known, batch)
        if self.boxes is not None and self.boxes not in batch:
            raise _missing("boxes", [self.boxes], batch)
        taken = [name for name in batch if name in _COLUMNS and name != there[0]]
        if taken:
            raise UserError(
                f"The result has columns of its own: {', '.join(_COLUMNS)}. Received: a batch with "
                f"{', '.join(taken)}. Rename them first: dataset.rename_columns({{...}})."
            )
        lengths = {name: len(batch[name]) for name in batch}
        if len(set(lengths.values())) > 1:
            raise UserError(f"Columns have one length. Received: {lengths}. Correct the batch.")
        return there[0]

    def _pictures(self, batch, column):
        """A `Picture` for each row, and its boxes where there is a column of them."""
        names = batch.get(self.name)
        pictures, boxes = [], []
        for number, source in enumerate(batch[column]):
            name = f"row {number} of its batch" if names is None else str(names[number])
            rectangles = None
            try:
                source = _source_of(source)
                if self.boxes is not None:
                    rectangles = _rectangles_of(batch[self.boxes][number])
            except UserError as error:
                source = DataError(f"{error} It is the picture of {name}.")
            pictures.append(Picture(name, source))
            boxes.append(rectangles)
        return pictures, (boxes if self.boxes is not None else None)

    def _row(self, result: PicturePoses) -> dict:
        size = (None, None) if result.image is None else result.image.shape[:2]
        return {
            "height": size[0],
            "width": size[1],
            "keypoint_names": list(self._predictor.skeleton.joints),
            "people": [_person(pose) for pose in result.poses],
            "alone": result.alone,
            "error": None if result.error is None else str(result.error),
        }


def _missing(argument, names, batch):
    return UserError(
        f"The batch needs a column {' or '.join(map(repr, names))}. Received: "
        f"{listed(list(batch))}. Name the right one by `{argument}`."
    )


def _source_of(source):
    """A cell of a column of pictures as what a `Picture` reads."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return bytes(source)
    if isinstance(source, (str, os.PathLike)):
        return os.fspath(source)
    if isinstance(source, np.ndarray) and source.dtype != object:
        return source
    raise DataError(
        "A picture is the bytes of a file, an RGB array or a path. Received: "
        f"{'nothing' if source is None else type(source).__name__}. Replace or leave it out."
    )


def _rectangles_of(boxes):
    """A cell of a column of boxes; Arrow's lists come back as arrays of arrays."""
    if boxes is None:
        return None
    if isinstance(boxes, np.ndarray) and boxes.dtype == object:
        boxes = [np.asarray(box) for box in boxes]
    return as_rectangles(boxes)


def _person(pose):
    values = pose.to_dict()
    return {
        **{name: values[name] for name in ("box", "keypoints", "confidences", "present")},
        "score": round(pose.score, 4),
        "box_score": values.get("box_score"),
        "sure": bool(pose.sure),
    }


def _schema(pyarrow):
    """The columns that are added, with their types."""
    number = pyarrow.float64()
    person = pyarrow.struct(
        [
            ("box", pyarrow.list_(number)),
            ("keypoints", pyarrow.list_(pyarrow.list_(number))),
            ("confidences", pyarrow.list_(number)),
            ("present", pyarrow.list_(pyarrow.bool_())),
            ("score", number),
            ("box_score", number),
            ("sure", pyarrow.bool_()),
        ]
    )
    kinds = (
        pyarrow.int32(), pyarrow.int32(), pyarrow.list_(pyarrow.string()), pyarrow.list_(person),
        pyarrow.bool_(), pyarrow.string(),
    )  # fmt: skip
    return pyarrow.schema(list(zip(_COLUMNS, kinds, strict=True)))


def _load_arrow():
    try:
        return optional("pyarrow")
    except ImportError as error:
        raise UserError(
            f"Tables of poses need pyarrow, which is not installed ({error}). "
            "Run: pip install 'keras_hourglass[ray]'."
        ) from error


def _array_of(pyarrow, name, column):
    """A column of the batch as Arrow has it; of arrays, lists."""
    try:
        if isinstance(column, np.ndarray) and column.ndim > 1:
            column = column.tolist()
        return pyarrow.array(column)
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise UserError(
            f"Columns of the result are Arrow's. Received: {name!r}, which cannot be "
            f"({str(error).splitlines()[0]}). Drop it first: dataset.drop_columns([{name!r}])."
        ) from error
