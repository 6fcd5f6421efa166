"""Person detectors of others: files of their published layouts as callables like our own.

A detector is a callable from an RGB picture to `(P, 5)` rectangles `x, y, w, h, score` in source
pixels, best first.

| file | layouts |
| --- | --- |
| frozen graph (`.pb`), SavedModel (folder) | TensorFlow Object Detection |
| `.onnx` | YOLOX (with or without its decoding), RTMDet and YOLOX as MMDeploy writes them (`dets`,
  `labels`), YOLOv5 to YOLO26 (candidates or final boxes), YOLOv6 and v7 with NMS inside |

The families differ in what they want to see (order and range of colours, where the picture lies in
the square), which no file says; it follows from the layout, the file's metadata or name, or is
said: `yolox:FILE`, `rtmdet:FILE`, `yolo:FILE`.
"""

import ast
import dataclasses
import os
import pathlib
from collections.abc import Callable

import cv2
import numpy as np

from keras_hourglass.errors import UserError, optional
from keras_hourglass.geometry import suppress_overlaps
from keras_hourglass.io.images import paste_scaled
from keras_hourglass.typing import Path, Size

# Least score of a box where neither the caller nor the model names one, the usual choice of these
# families' own tools.
LEAST_SCORE = 0.3
# How files of detectors end, beside folders of a SavedModel.
SUFFIXES = (".pb", ".onnx")
# Candidates that are looked at, best first: more only cost time.
_MOST = 1000
# COCO's people, as numbered by TensorFlow Object Detection and by everybody else.
_PERSON_OF_TENSORFLOW, _PERSON = 1, 0
# Longer edge to which TensorFlow's graphs are shown pictures; they resize them further by
# themselves, but skip pixels in doing so.
_EDGE = 640
_SIZE = 640  # side of the square for networks that take any
_TENSORS = ("detection_boxes", "detection_scores", "detection_classes")


@dataclasses.dataclass(frozen=True)
class Family:
    """What the networks of a family want to see.

    Args:
        name: what files of it are prefixed with.
        bgr: blue comes first.
        mean, deviation: each channel is `(value - mean) / deviation`, of 0–255.
        centred: the picture lies in the middle of the square; otherwise in its upper left corner.

    Example:

    >>> FAMILIES["yolox"].bgr
    True
    """

    name: str
    bgr: bool
    mean: tuple = (0.0, 0.0, 0.0)
    deviation: tuple = (1.0, 1.0, 1.0)
    centred: bool = False


FAMILIES = {
    "yolox": Family("yolox", bgr=True),
    "rtmdet": Family(
        "rtmdet", bgr=True, mean=(103.53, 116.28, 123.675), deviation=(57.375, 57.12, 58.395)
    ),
    "yolo": Family("yolo", bgr=False, deviation=(255.0, 255.0, 255.0), centred=True),
}


def load_detector(path: Path, least_score: float = LEAST_SCORE) -> Callable:
    """A detector from a file of a published layout.

    Args:
        path: a frozen graph (`.pb`) or the folder of a SavedModel of TensorFlow Object Detection,
            or an `.onnx` file, perhaps with its family before it (`yolox:FILE`).
        least_score: boxes below are left out.

    Returns:
        A callable from `(height, width, 3)` uint8 RGB to `(P, 5)` rectangles `x, y, w, h, score` in
        source pixels.

    Raises:
        UserError: if the file is missing or damaged, of an unknown layout, or its runtime is not
            installed.

    Example:

    >>> detect = load_detector("yolox_tiny.onnx")  # doctest: +SKIP
    >>> detect(photo).shape  # doctest: +SKIP
    (3, 5)
    """
    family, path = _split(os.fspath(path))
    kind = pathlib.Path(path).suffix
    if os.path.isdir(path) and os.path.isfile(os.path.join(path, "saved_model.pb")):
        return TensorFlowDetector(path, least_score)
    if not os.path.isfile(path) or kind not in SUFFIXES:
        raise UserError(
            "A detector file is a frozen graph (.pb) or SavedModel folder of TensorFlow Object "
            f"Detection, or an .onnx file. Received: {path}. Check the path."
        )
    if kind == ".pb":
        return TensorFlowDetector(path, least_score)
    return OnnxDetector(path, family, least_score)


def _split(path):
    """The family before a path, or `None`, and the path."""
    family, colon, rest = path.partition(":")
    return (family, rest) if colon and family in FAMILIES else (None, path)


def rectangles(corners, scores, least_score, shape, overlap=None):
    """People among the boxes of a network.

    Args:
        corners: `(N, 4)` left, top, right, bottom in source pixels.
        scores: `(N,)`.
        least_score: boxes below, boxes without an area and those that are not finite are left out.
        shape: `(height, width)` of the picture, to which boxes are cut.
        overlap: greatest intersection over union of two that stay; `None` keeps all.

    Returns:
        `(P, 5)` float64 rectangles `x, y, w, h, score`, best first.

    Example:

    >>> rectangles([[2, 1, 60, 20], [0, 0, np.nan, 9]], [0.9, 0.8], 0.3, (30, 40)).tolist()
    [[2.0, 1.0, 38.0, 19.0, 0.9]]
    """
    corners, scores = np.asarray(corners, np.float64), np.asarray(scores, np.float64)
    finite = np.isfinite(corners).all(axis=1) & np.isfinite(scores)
    corners, scores = corners[finite], scores[finite]
    corners = np.clip(corners, 0, np.tile(np.asarray(shape[1::-1], np.float64), 2))
    size = corners[:, 2:] - corners[:, :2]
    good = np.nonzero((scores >= least_score) & (size > 1).all(axis=1))[0]
    good = good[np.argsort(-scores[good], kind="stable")][:_MOST]
    boxes = np.concatenate([corners[good, :2], size[good]], axis=1)
    kept = slice(None) if overlap is None else suppress_overlaps(boxes, scores[good], overlap)
    return np.column_stack([boxes, scores[good]])[kept]


class TensorFlowDetector:
    """A network of TensorFlow Object Detection, as a frozen graph or a SavedModel.

    Args:
        path: the `.pb` file or the folder.
        least_score: boxes below are left out.

    Raises:
        UserError: if TensorFlow is not installed or this is no such network.
    """

    def __init__(self, path: Path, least_score: float = LEAST_SCORE):
        self.path, self.least_score = os.fspath(path), least_score
        try:
            import tensorflow as tf
        except ImportError as error:
            raise UserError(
                f"TensorFlow runs this detector and is not installed. Received: {path}. "
                "Run: pip install tensorflow, or use an .onnx file."
            ) from error
        load = _saved_model if os.path.isdir(self.path) else _frozen_graph
        try:
            self._run = load(tf, self.path)
        except UserError:
            raise
        except Exception as error:  # TensorFlow's own, DecodeError of protobuf, KeyError, …
            raise _unknown(self.path, f"TensorFlow cannot load it: {_first_line(error)}") from error

    def __call__(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """People in a `(height, width, 3)` uint8 RGB picture, `(P, 5)` in source pixels."""
        height, width = image.shape[:2]
        factor = min(1.0, _EDGE / max(height, width))
        if factor < 1:
            size = (max(1, round(width * factor)), max(1, round(height * factor)))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        boxes, scores, classes = self._run(image[None])
        people = np.round(classes[0]) == _PERSON_OF_TENSORFLOW
        # Top, left, bottom, right as shares of the picture.
        corners = boxes[0][people][:, [1, 0, 3, 2]] * (width, height, width, height)
        return rectangles(corners, scores[0][people], self.least_score, (height, width))


def _frozen_graph(tf, path):
    definition = tf.compat.v1.GraphDef()
    definition.ParseFromString(pathlib.Path(path).read_bytes())
    names = {node.name for node in definition.node}
    wanted = ("image_tensor", *_TENSORS)
    if not names >= set(wanted):
        missing = next(name for name in wanted if name not in names)
        raise _unknown(path, f"a graph without {missing!r}")
    whole = tf.compat.v1.wrap_function(lambda: tf.import_graph_def(definition, name=""), [])
    outputs = [whole.graph.get_tensor_by_name(f"{name}:0") for name in _TENSORS]
    run = whole.prune(whole.graph.get_tensor_by_name("image_tensor:0"), outputs)
    return lambda images: [value.numpy() for value in run(tf.constant(images))]


def _saved_model(tf, path):
    loaded = tf.saved_model.load(path)  # its variables live as long as it does
    signature = loaded.signatures.get("serving_default")
    if signature is None:
        raise _unknown(path, "no signature 'serving_default'")
    inputs = signature.structured_input_signature[1]
    missing = [name for name in _TENSORS if name not in signature.structured_outputs]
    if len(inputs) != 1 or missing:
        raise _unknown(path, f"a signature without {(missing or ['one input'])[0]!r}")
    [(argument, spec)] = inputs.items()
    if spec.dtype not in (tf.uint8, tf.float32) or spec.shape.rank != 4:
        raise _unknown(path, f"its input is {spec.dtype.name} {spec.shape}, no batch of pictures")

    def run(images, keep=loaded):
        results = signature(**{argument: tf.constant(images, spec.dtype)})
        return [results[name].numpy() for name in _TENSORS]

    return run


class OnnxDetector:
    """A network of the YOLOX, RTMDet or YOLO families under ONNX Runtime.

    Args:
        path: the `.onnx` file.
        family: a key of `FAMILIES`; by default as layout, metadata or name of the file say.
        least_score: boxes below are left out.
        overlap: greatest intersection over union of two people, where the file has no NMS inside.

    Raises:
        UserError: if the file cannot be run, or its layout or family is unknown.
    """

    def __init__(
        self,
        path: Path,
        family: str | None = None,
        least_score: float = LEAST_SCORE,
        overlap: float = 0.5,
    ):
        self.path, self.least_score, self.overlap = os.fspath(path), least_score, overlap
        self._session = _session(self.path)
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (3, "3"):
            found = ", ".join(f"{one.name} {one.shape}" for one in inputs)
            raise _unknown(self.path, f"its inputs are {found}, not one picture (1, 3, h, w)")
        self._argument = inputs[0].name
        self._dtype = np.float16 if "float16" in inputs[0].type else np.float32
        self.size: Size = tuple(edge if isinstance(edge, int) else _SIZE for edge in shape[2:])
        self._names = _class_names(self._session)
        # What a black picture gives shows the layout; shapes in the file may be open.
        self._layout, said = self._find_layout()
        self.family = FAMILIES[family or said or self._guess()]
        self._decoded = self._has_decoding()

    def __call__(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """People in a `(height, width, 3)` uint8 RGB picture, `(P, 5)` in source pixels."""
        batch, factors, corner = self._show(image)
        corners, scores, final = self._layout(self, self._run(batch))
        corners = (corners - np.tile(corner, 2)) / np.tile(factors, 2)
        overlap = None if final else self.overlap
        return rectangles(corners, scores, self.least_score, image.shape[:2], overlap)

    def _show(self, image):
        """The picture as the network sees it, its factors, and where its corner lies."""
        height, width = image.shape[:2]
        factor = min(self.size[0] / height, self.size[1] / width)
        corner = (0, 0)
        if self.family.centred:
            room = self.size[1] - round(width * factor), self.size[0] - round(height * factor)
            corner = room[0] // 2, room[1] // 2
        square, factors = paste_scaled(image, factor, corner, self.size, fill=114)
        values = square[..., ::-1] if self.family.bgr else square
        values = (values - np.float32(self.family.mean)) / np.float32(self.family.deviation)
        batch = np.ascontiguousarray(values.transpose(2, 0, 1)[None], self._dtype)
        return batch, factors, corner

    def _run(self, batch):
        """Output name -> array, float32 where it was a smaller float."""
        names = [output.name for output in self._session.get_outputs()]
        arrays = self._session.run(names, {self._argument: batch})
        return {
            name: array.astype(np.float32) if array.dtype == np.float16 else array
            for name, array in zip(names, arrays, strict=True)
        }

    @property
    def cells(self) -> int:
        """Places in the three grids of 8, 16 and 32 pixels that these families answer for."""
        return sum((self.size[0] // step) * (self.size[1] // step) for step in (8, 16, 32))

    def person(self, classes: int) -> int:
        """Number of the class of people among so many."""
        if self._names is not None:
            for number, name in self._names.items():
                if str(name).lower() in ("person", "people", "pedestrian", "human"):
                    return int(number)
        elif classes in (1, 80):
            return _PERSON
        raise UserError(
            f"One class of a detector must be people. Received: {self.path} with "
            f"{classes} classes, none of them known as 'person'. Use a detector of people, or "
            "pass a Python callable that picks the class."
        )

    def _find_layout(self):
        """The function that reads the outputs, and the family they can only be of, or `None`."""
        try:
            results = self._run(np.zeros((1, 3, *self.size), self._dtype))
        except Exception as error:  # ONNX Runtime's own
            raise _unknown(self.path, f"it does not run: {_first_line(error)}") from error
        names = set(results)
        first = next(iter(results.values()))
        if {"num_dets", "det_boxes", "det_scores", "det_classes"} <= names:
            return _four_outputs, "yolo"
        if {"dets", "labels"} <= names and results["dets"].shape[-1] == 5:
            return _detections_and_labels, None
        if len(results) == 1 and first.ndim == 2 and first.shape[1] == 7:
            return _rows_of_seven, "yolo"
        if len(results) == 1 and first.ndim == 3 and len(first) == 1:
            rows, columns = first.shape[1:]
            if rows == self.cells and columns > 5:
                return _grid_with_objects, None
            if rows == 3 * self.cells and columns > 5:
                return _rows_with_objects, "yolo"
            if columns == self.cells and rows > 4:
                return _columns_of_classes, "yolo"
            if columns == 6:
                return _final_rows, "yolo"
        found = ", ".join(f"{name} {array.shape}" for name, array in results.items())
        raise _unknown(self.path, f"its outputs are {found}")

    def _guess(self):
        """The family by the file's name or metadata."""
        name = pathlib.Path(self.path).name.lower()
        for family in FAMILIES:  # "yolo" last, of which "yolox" is no member
            if family in name:
                return family
        if self._names is not None:
            return "yolo"
        raise UserError(
            "This layout is used by several families, which see pictures differently. Received: "
            f"{self.path}. Say which: yolox:FILE, rtmdet:FILE or yolo:FILE."
        )

    def _has_decoding(self):
        """Whether a grid's boxes come in pixels; YOLOX's own export leaves that to the caller."""
        if self._layout is not _grid_with_objects or self.family.name != "yolox":
            return True
        onnx = optional("onnx")

        # Decoding takes the exponential of sizes; the rest of the network has none.
        graph = onnx.load(self.path, load_external_data=False).graph
        return any(node.op_type == "Exp" for node in graph.node)


def _session(path):
    try:
        onnxruntime = optional("onnxruntime")
    except ImportError as error:
        raise UserError(
            f"ONNX Runtime runs this detector and is not installed. Received: {path}. "
            "Run: pip install onnxruntime."
        ) from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exceptions share no base of their own
        raise _unknown(path, f"ONNX Runtime cannot load it: {_first_line(error)}") from error


def _class_names(session):
    """Class number -> name from the metadata that Ultralytics writes, or `None`."""
    text = session.get_modelmeta().custom_metadata_map.get("names")
    try:
        names = ast.literal_eval(text) if text else None
    except (ValueError, SyntaxError):
        return None
    if isinstance(names, (list, tuple)):
        names = dict(enumerate(names))
    return names if isinstance(names, dict) else None


def _four_outputs(detector, results):
    """Final boxes as TensorRT's EfficientNMS counts them: `num_dets`, corners, scores, classes."""
    count = int(np.ravel(results["num_dets"])[0])
    classes = results["det_classes"][0][:count]
    people = classes == detector.person(80)
    return results["det_boxes"][0][:count][people], results["det_scores"][0][:count][people], True


def _detections_and_labels(detector, results):
    """MMDeploy's final boxes: corners and score, and a label each."""
    rows, labels = results["dets"][0], results["labels"][0]
    rows = rows[labels == detector.person(80)]
    return rows[:, :4], rows[:, 4], True


def _rows_of_seven(detector, results):
    """YOLOv7's final boxes: picture, corners, class, score."""
    [rows] = results.values()
    rows = rows[(rows[:, 0] == 0) & (rows[:, 5] == detector.person(80))]
    return rows[:, 1:5], rows[:, 6], True


def _final_rows(detector, results):
    """Final boxes of YOLOv10, YOLO26 and of exports with NMS: corners, score, class."""
    [[rows]] = results.values()
    rows = rows[rows[:, 5] == detector.person(80)]
    return rows[:, :4], rows[:, 4], True


def _rows_with_objects(detector, results):
    """YOLOv5's candidates: centre, size, objectness, classes."""
    [[rows]] = results.values()
    person = detector.person(rows.shape[1] - 5)
    return _corners(rows[:, :2], rows[:, 2:4]), rows[:, 4] * rows[:, 5 + person], False


def _columns_of_classes(detector, results):
    """Candidates of YOLOv8 and its followers, one a column: centre, size, classes."""
    [[columns]] = results.values()
    rows = columns.T
    return (
        _corners(rows[:, :2], rows[:, 2:4]),
        rows[:, 4 + detector.person(len(columns) - 4)],
        False,
    )


def _grid_with_objects(detector, results):
    """One candidate for each place, as YOLOX and YOLOv6 give them, perhaps still by the grid."""
    [[rows]] = results.values()
    centre, size = rows[:, :2], rows[:, 2:4]
    if not detector._decoded:
        places, steps = _grid(detector.size)
        centre = (centre + places) * steps
        size = np.exp(np.minimum(size, 16)) * steps
    person = detector.person(rows.shape[1] - 5)
    return _corners(centre, size), rows[:, 4] * rows[:, 5 + person], False


def _grid(size):
    """Column and row of every place, `(N, 2)`, and its step in pixels, `(N, 1)`."""
    places, steps = [], []
    for step in (8, 16, 32):
        rows, columns = np.mgrid[: size[0] // step, : size[1] // step]
        places.append(np.stack([columns.ravel(), rows.ravel()], axis=1))
        steps.append(np.full((rows.size, 1), step))
    return np.concatenate(places).astype(np.float32), np.concatenate(steps).astype(np.float32)


def _corners(centre, size):
    return np.concatenate([centre - size / 2, centre + size / 2], axis=1)


def _unknown(path, found):
    return UserError(
        "A detector file must be of a published layout: TensorFlow Object Detection (.pb, "
        "SavedModel), YOLOX, RTMDet or YOLO (.onnx). Received: "
        f"{path}: {found}. Wrap it in a Python callable from a picture to x, y, w, h, score."
    )


def _first_line(error):
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:200].rstrip(".")
