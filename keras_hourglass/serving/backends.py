"""What a server answers with: a network by name, or an exported version, under one face.

Both have the signatures of an exported SavedModel, with the same names and shapes.
"""

import dataclasses
import json
import math
import pathlib
from typing import Any

import numpy as np

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import apply_affine, boxes_from_xywh, crop_affine, invert_affine
from keras_hourglass.io.headers import read_header
from keras_hourglass.io.images import MAX_PIXELS, read_image, warp
from keras_hourglass.io.structured import read_json

PICTURES = "image_bytes"
ONE_PERSON = ("serving_default", "predict_boxes")  # what `run` stands for
OUTPUTS = {"keypoints", "present", "scores", "valid"}
METADATA = pathlib.Path("assets.extra", "metadata.json")


@dataclasses.dataclass(frozen=True)
class Spec:
    """An input or output of a signature.

    Args:
        dtype: `"string"` (bytes), `"float32"`, `"bool"` or another of NumPy's names.
        shape: sizes, `None` where any is taken.
    """

    dtype: str
    shape: tuple

    def takes(self, shape):
        """Whether an array of a shape can be given."""
        return len(shape) == len(self.shape) and all(
            wanted in (None, size) for wanted, size in zip(self.shape, shape, strict=True)
        )


@dataclasses.dataclass(frozen=True)
class Signature:
    """Names and specs of what goes in and comes out."""

    inputs: dict
    outputs: dict

    @property
    def batches(self):
        """Whether it gives one person's joints for each picture, with or without boxes.

        Such rows may run with those of other requests.
        """
        inputs = set(self.inputs)
        return inputs | {"boxes"} == {PICTURES, "boxes"} and set(self.outputs) == OUTPUTS


def usable_header(data, max_pixels=MAX_PIXELS):
    """The header of a picture that may be decoded, else `None`; nothing is decoded here.

    Args:
        data: bytes of the file.
        max_pixels: the most pixels it may announce.

    Returns:
        The `Header` of a JPEG or PNG file whose bytes can be as many pixels as it announces.
    """
    header = read_header(data)
    if header is None or header.kind not in ("jpeg", "png") or header.fault:
        return None
    return header if header.height * header.width <= max_pixels else None


def usable_box(box):
    """Whether somebody can be in a box `x, y, w, h` (`None`: the whole picture)."""
    return box is None or (all(map(math.isfinite, box)) and min(box[2:]) > 0)


class NetworkBackend:
    """A preset, a run or a `.keras` file, run by the fastest engine that is installed.

    Args:
        source: as for `load_model`.
        name: the model's name on the server.
        flip: average with the heatmaps of the mirrored crop.
        decoder: of the `HeatmapCodec`; by default as the model's `preprocessing` says.
        max_pixels: pictures whose header announces more are not decoded.
        max_batch: most people in one run of the network.

    Raises:
        UserError: if there is no such model.
    """

    version = 1

    def __init__(self, source, name, flip=True, decoder=None, max_pixels=MAX_PIXELS, max_batch=8):
        from keras_hourglass.codec import codec_of, present_from
        from keras_hourglass.export.description import describe
        from keras_hourglass.inference.engines import make_engine, takes_snapshot
        from keras_hourglass.inference.runner import HeatmapRunner
        from keras_hourglass.network.config import stack_name, stack_names
        from keras_hourglass.network.graph import Snapshot
        from keras_hourglass.skeletons import skeleton_of
        from keras_hourglass.zoo.store import load_model, load_snapshot

        model: Any = (load_snapshot if takes_snapshot("fastest") else load_model)(source)
        known = model.graph if isinstance(model, Snapshot) else model
        self._last = stack_name(known.output)
        self._codec = codec_of(known, self._last, decoder)
        skeleton = skeleton_of(known.num_keypoints, known.skeleton, mirrored=flip)
        order = skeleton.flip_order if flip and skeleton.mirrors else None
        self._thresholds = present_from(skeleton, known.thresholds).astype(np.float32)
        every = stack_names(known.output)

        def runner(outputs, order):
            engine = make_engine("fastest", model, outputs, spinning=False)
            return HeatmapRunner(model, outputs, order, (1.0,), max_batch, engine)

        self._runner = runner((self._last,), order)
        self._every = self._runner if len(every) == 1 else runner(every, None)
        self.name, self.max_pixels = name, max_pixels
        origin = pathlib.Path(str(source)).name
        self.description = describe(known, name, self._codec, order is not None, origin)
        self.engine = str(getattr(self._runner.engine, "name", "engine"))
        self.signatures = _signatures(self._codec, known.num_keypoints, every)

    def prepare(self, data, box):
        """The crop of one person and the way back to the source; `None` where there is none.

        Args:
            data: bytes of the picture's file.
            box: `x, y, w, h` in source pixels, or `None` for the whole picture.
        """
        if not usable_box(box) or usable_header(data, self.max_pixels) is None:
            return None
        try:
            image = read_image(data, self.max_pixels)
            box = (0, 0, image.shape[1], image.shape[0]) if box is None else box
            matrix = crop_affine(boxes_from_xywh(box), self._codec.input_size)
            back = invert_affine(matrix)
        except (DataError, UserError, np.linalg.LinAlgError):
            return None
        if not np.isfinite(back).all():
            return None
        return warp(image, matrix, self._codec.input_size), back

    def run(self, items):
        """Joints of prepared people, a dict of outputs with a row for each."""
        count, joints = len(items), len(self._thresholds)
        keypoints = np.full((count, joints, 2), np.nan, np.float32)
        scores = np.full((count, joints), np.nan, np.float32)
        places = [place for place, item in enumerate(items) if item is not None]
        if places:
            maps = self._runner(np.stack([items[place][0] for place in places]))[self._last]
            points, heights = self._codec.decode(maps)
            for row, place in enumerate(places):
                keypoints[place] = apply_affine(items[place][1], points[row])
                scores[place] = heights[row]
        valid = np.zeros(count, bool)
        valid[places] = True
        with np.errstate(invalid="ignore"):
            present = scores >= self._thresholds
        return {"keypoints": keypoints, "scores": scores, "present": present, "valid": valid}

    def call(self, signature, inputs):
        """The other signatures: `heatmaps` and `metadata`."""
        if signature == "metadata":
            document = json.dumps(self.description).encode()
            return {"json": np.array([document] * len(inputs["query"]), object)}
        crops = np.asarray(inputs["images"], np.float32)
        if not ((crops >= 0) & (crops <= 255)).all():
            raise UserError(
                "Crops are RGB of 0 to 255. Received: images with values outside or NaN. "
                "Send pixels as they are."
            )
        if self.engine == "onnxruntime":
            return self._every.engine(crops)
        # The other engines take whole numbers, as `predict` cuts crops.
        return self._every(np.rint(crops).astype(np.uint8), mirrored=False)


def _signatures(codec, joints, stacks):
    """Those of an exported SavedModel."""
    pictures = {PICTURES: Spec("string", (None,))}
    rows = {
        "keypoints": Spec("float32", (None, joints, 2)),
        "present": Spec("bool", (None, joints)),
        "scores": Spec("float32", (None, joints)),
        "valid": Spec("bool", (None,)),
    }
    maps = Spec("float32", (None, *codec.heatmap_size, joints))
    crops = Spec("float32", (None, *codec.input_size, 3))
    return {
        "serving_default": Signature(pictures, rows),
        "predict_boxes": Signature({**pictures, "boxes": Spec("float32", (None, 4))}, rows),
        "heatmaps": Signature({"images": crops}, dict.fromkeys(stacks, maps)),
        "metadata": Signature(
            {"query": Spec("string", (None,))}, {"json": Spec("string", (None,))}
        ),
    }


class SavedModelBackend:
    """A version that `export` wrote, run by TensorFlow as TensorFlow Serving would.

    Args:
        folder: the version, e.g. `served/pose/3`.
        name: the model's name on the server.
        max_pixels: pictures whose header announces more are not handed to the graph.

    Raises:
        UserError: if it cannot be loaded, or gives no joints of a picture.
    """

    engine = "tensorflow"

    def __init__(self, folder, name, max_pixels=MAX_PIXELS):
        import tensorflow as tf

        self._tf = tf
        self.name, self.version, self.max_pixels = name, int(pathlib.Path(folder).name), max_pixels
        try:
            document = read_json(pathlib.Path(folder, METADATA), "description of a version")
            self.description = {key: value for key, value in document.items() if key != "sha256"}
            self._model = tf.saved_model.load(str(folder))
            functions = dict(self._model.signatures)
            self.signatures = {key: _described(tf, value) for key, value in functions.items()}
            self._functions = functions
            self.run([None])  # what cannot run here is not served
        except Exception as error:  # of a graph of others, TensorFlow raises whatever it likes
            raise UserError(
                f"A version that `export` wrote is needed. Received: {folder} "
                f"({type(error).__name__}: {' '.join(str(error).split())[:200]}). Export it again."
            ) from error

    def prepare(self, data, box):
        """What the graph may see of one picture: nothing of one that must not be decoded."""
        if not usable_box(box) or usable_header(data, self.max_pixels) is None:
            return None
        return data, box

    def run(self, items):
        """See `NetworkBackend.run`."""
        encoded = [b"" if item is None else item[0] for item in items]
        if any(item is not None and item[1] is not None for item in items):
            boxes = [(0, 0, 0, 0) if item is None else item[1] for item in items]
            return self.call(
                "predict_boxes", {PICTURES: encoded, "boxes": np.array(boxes, np.float32)}
            )
        return self.call("serving_default", {PICTURES: encoded})

    def call(self, signature, inputs):
        """Any signature as it is."""
        tf, specs = self._tf, self.signatures[signature].inputs
        tensors = {}
        for key, value in inputs.items():
            if key == PICTURES:
                value = [data if usable_header(data, self.max_pixels) else b"" for data in value]
            tensors[key] = tf.constant(value, specs[key].dtype)
        return {key: value.numpy() for key, value in self._functions[signature](**tensors).items()}


def _described(tf, function):
    def spec(tensor):
        shape = tensor.shape.as_list() if tensor.shape.rank is not None else ()
        return Spec(tf.as_dtype(tensor.dtype).name, tuple(shape))

    inputs = function.structured_input_signature[1]
    outputs = function.structured_outputs
    return Signature(
        {key: spec(value) for key, value in inputs.items()},
        {key: spec(value) for key, value in sorted(outputs.items())},
    )
