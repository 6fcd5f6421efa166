"""Files of other runtimes with everything inside: crop, mirror image, heatmaps to joints."""

import dataclasses
import json
import pathlib
from typing import Any

import jinja2
import numpy as np

from keras_hourglass.codec import codec_of
from keras_hourglass.errors import UserError, checks_arguments, did_you_mean, optional
from keras_hourglass.export import JOINT_FORMATS
from keras_hourglass.export.description import describe
from keras_hourglass.export.saved_model import check_name
from keras_hourglass.inference import HeatmapRunner, fold
from keras_hourglass.inference.conversion import convert_to_litert
from keras_hourglass.io.files import atomic_write
from keras_hourglass.network.config import stack_name
from keras_hourglass.network.model import snapshot
from keras_hourglass.skeletons import skeleton_of
from keras_hourglass.typing import Path


@dataclasses.dataclass(frozen=True)
class _Parts:
    """What a file of joints is made of."""

    program: Any
    codec: Any
    flip_order: Any
    description: dict

    @property
    def thresholds(self):
        named = self.description["thresholds"]
        return [named[joint] for joint in self.description["joints"]]


@checks_arguments
def export_joints(
    model: Any,
    out: Path,
    format: str,
    name: str | None = None,
    flip: bool = True,
    decoder: str | None = None,
    overwrite: bool = False,
    preset: str | None = None,
) -> tuple[pathlib.Path, float]:
    """Write a file that returns joints, load it again and compare it with the Keras model.

    `"onnx-joints"` takes `picture` `(height, width, 3)` uint8 RGB and `boxes` `(N, 4)` float32
    `x, y, w, h` in its pixels; `"onnx-crops"` takes `crops` `(N, *input_size, 3)` uint8, and
    `"litert-crops"` one crop, float32. All return `keypoints` `(N, K, 2)` float32 `x, y` in pixels
    of what they were given, `scores` `(N, K)` float32 and `present` `(N, K)` bool. Beside the file
    stands a page that says how each runtime takes it.

    Args:
        model: the `StackedHourglass`.
        out: folder to write into.
        format: one of the above.
        name: of the file, without suffix; the Keras model's name by default.
        flip: average with the heatmaps of the mirrored crop; not done where the joints' sides are
            not known.
        decoder: of the `HeatmapCodec`; by default as the model's `preprocessing` says.
        overwrite: replace files that are already there.
        preset: where the weights come from, for the description inside the file.

    Returns:
        The file's path, and the greatest distance of joints in input pixels, on random crops.

    Raises:
        UserError: if a package is missing, a file exists, or joints differ by more than half an
            input pixel.

    Example:

    >>> export_joints(model, "out", "onnx-joints")  # doctest: +SKIP
    (PosixPath('out/hourglass.joints.onnx'), 0.002)
    """
    if format not in JOINT_FORMATS:
        raise UserError(
            f"Unknown format. Received: {format!r}. Choose one of {', '.join(JOINT_FORMATS)}."
            f"{did_you_mean(format, JOINT_FORMATS)}"
        )
    name = check_name(name or model.name)
    path = pathlib.Path(out) / f"{name}{JOINT_FORMATS[format]}"
    if path.exists() and not overwrite:
        raise UserError(f"The file exists already. Received: {path}. Allow it with --overwrite.")
    last = stack_name(model.output)
    codec = codec_of(model, last, decoder)
    skeleton = skeleton_of(model.num_keypoints, model.skeleton, mirrored=flip)
    order = skeleton.flip_order if flip and skeleton.mirrors else None
    description = describe(model, name, codec, order is not None, preset or name)
    parts = _Parts(fold(*snapshot(model)).only(last), codec, order, description)
    try:
        content = _as_litert(parts) if format == "litert-crops" else _as_onnx(parts, format)
        distance = compare_joints(load_joints(content, format), model, codec, order, format)
    except ImportError as error:
        raise UserError(
            f"The format {format} needs another package. Received: {error}. "
            f"Run `pip install keras_hourglass[{format.split('-')[0]}]`."
        ) from error
    if not distance <= 0.5:
        raise UserError(
            f"The exported model does not agree with the Keras model. Received: joints that differ "
            f"by {distance:.2g} input pixels. Please report this model's config."
        )
    atomic_write(path, content)
    page = _page(path.name, format, description)
    atomic_write(path.with_suffix(path.suffix + ".md"), page)
    return path, distance


def _as_onnx(parts, format):
    from keras_hourglass.export.onnx_joints import joints_model

    model = joints_model(
        parts.program,
        parts.codec,
        parts.flip_order,
        parts.thresholds,
        pictures=format == "onnx-joints",
    )
    entry = model.metadata_props.add()
    entry.key, entry.value = "keras_hourglass", json.dumps(parts.description)
    return model.SerializeToString()


def _as_litert(parts):
    import tensorflow as tf

    from keras_hourglass.export.in_graph import decode, merge_flipped
    from keras_hourglass.inference.tensorflow_graph import Network

    network, [last] = Network(parts.program), parts.program.outputs
    order, least = parts.flip_order, tf.constant(parts.thresholds, tf.float32)

    def joints(crops):
        both = crops if order is None else tf.concat([crops, tf.reverse(crops, [2])], 0)
        maps = network.trace(both)[last]
        if order is not None:
            straight, mirrored = tf.split(maps, 2)
            maps = merge_flipped(straight, mirrored, order)
        keypoints, scores = decode(parts.codec, maps, tf.float32)
        return {"keypoints": keypoints, "scores": scores, "present": scores >= least}

    # One crop at a time: with a free batch size, the fast kernels are not used.
    spec = tf.TensorSpec((1, *parts.program.input_shape), tf.float32, "crops")
    return convert_to_litert(joints, spec)


def load_joints(content: bytes, format: str) -> Any:
    """What runs the content of a file that `export_joints` wrote.

    Args:
        content: its bytes.
        format: of the file.

    Returns:
        A callable from a dict of inputs to a dict of outputs.

    Raises:
        ImportError: if the runtime is not installed.

    Example:

    >>> run = load_joints(path.read_bytes(), "onnx-crops")  # doctest: +SKIP
    >>> run({"crops": crops})["keypoints"].shape  # doctest: +SKIP
    (2, 14, 2)
    """
    if format == "litert-crops":
        Interpreter = optional("ai_edge_litert.interpreter").Interpreter  # noqa: N806
        run = Interpreter(model_content=content).get_signature_runner()

        def one_by_one(inputs):
            crops = np.asarray(inputs["crops"], np.float32)
            rows = [run(crops=crops[row : row + 1]) for row in range(len(crops))]
            return {key: np.concatenate([row[key] for row in rows]) for key in rows[0]}

        return one_by_one
    onnxruntime = optional("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda inputs: dict(zip(names, session.run(names, inputs), strict=True))


def compare_joints(run, model, codec, flip_order, format, pictures=3):
    """The greatest distance of joints to those of the Keras model, in input pixels.

    Maxima with a rival as high are left out, as where a SavedModel is checked.

    Args:
        run: as `load_joints` returns.
        model: the `StackedHourglass`.
        codec: the `HeatmapCodec` it decodes with.
        flip_order: the mirror permutation, or `None`.
        format: of the file.
        pictures: how many random pictures to try.
    """
    from keras_hourglass.export.bundle import random_picture
    from keras_hourglass.export.saved_model import distance_of_joints
    from keras_hourglass.geometry import apply_affine, boxes_from_xywh, crop_affine
    from keras_hourglass.io.images import read_image, warp

    last = stack_name(model.output)
    images = [read_image(random_picture(seed, ".png")) for seed in range(pictures)]
    boxes = [(0.0, 0.0, image.shape[1], image.shape[0]) for image in images]
    affines = np.stack([crop_affine(boxes_from_xywh(box), codec.input_size) for box in boxes])
    crops = np.stack(
        [
            warp(image, affine, codec.input_size)
            for image, affine in zip(images, affines, strict=True)
        ]
    )
    maps = HeatmapRunner(model, [last], flip_order)(crops)[last]
    if format == "onnx-joints":
        found = [
            run({"picture": image, "boxes": np.array([box], np.float32)})["keypoints"][0]
            for image, box in zip(images, boxes, strict=True)
        ]
        points = apply_affine(affines, np.stack(found))
    else:
        points = run({"crops": crops})["keypoints"]
    return distance_of_joints(codec, maps, points, 0.01 * float(np.abs(maps).max()))


def _page(file, format, description):
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader("keras_hourglass.export"),
        undefined=jinja2.StrictUndefined,
        autoescape=False,  # of Markdown
        keep_trailing_newline=True,
    )
    size = "x".join(map(str, description["input_size"]))
    template = templates.get_template("joints.md.jinja2")
    return template.render(file=file, format=format, size=size, **description)
