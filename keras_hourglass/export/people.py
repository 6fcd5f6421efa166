"""One file for everybody: from a photograph to all people's boxes, joints and scores."""

import contextlib
import json
import pathlib
import secrets
import shutil
from typing import Any

import numpy as np

from keras_hourglass.codec import codec_of, present_from
from keras_hourglass.errors import UserError, checks_arguments, optional
from keras_hourglass.export.everybody import Finder, Joints, Look, everybody
from keras_hourglass.export.operations import OnnxOperations, Value
from keras_hourglass.export.saved_model import check_name, publish_version
from keras_hourglass.inference import fold
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.images import MAX_PIXELS, encode_image
from keras_hourglass.network.config import stack_name
from keras_hourglass.network.model import snapshot
from keras_hourglass.prediction.detection import OWN, HourglassDetector, of_people
from keras_hourglass.prediction.predictor import Predictor
from keras_hourglass.skeletons import skeleton_of
from keras_hourglass.typing import Path
from keras_hourglass.zoo.store import load_snapshot

PEOPLE_FORMATS = ("savedmodel", "onnx")
# Number of axes of what is told of everybody, in the order of an ONNX file's outputs.
_RANKS = {
    "boxes": 2,
    "box_scores": 1,
    "keypoints": 3,
    "scores": 2,
    "present": 2,
    "person_scores": 1,
    "sure": 1,
    "alone": 0,
}
# Source pixels that joints may differ by, and the share of them that must not: where a map has
# two maxima of the same height, rounding decides.
_TOLERANCE, _ALIKE = 0.5, 0.95


@checks_arguments
def export_people(
    model: Any,
    out: Path,
    name: str | None = None,
    formats: tuple[str, ...] = PEOPLE_FORMATS,
    flip: bool = True,
    decoder: str | None = None,
    max_pixels: int | None = None,
    overwrite: bool = False,
) -> list[pathlib.Path]:
    """Write files that find everybody in a photograph by themselves, as `Predictor(model)` does.

    The package's own detector, crops, the network, mirroring, decoding and the choice of people
    are inside. A SavedModel, `out/name_people/version/`, takes `image_bytes` (N,), whole JPEG or
    PNG files, which it turns as EXIF says. An ONNX file, `out/name_people.onnx`, takes one
    `image` (height, width, 3) of uint8 RGB, upright, of any size: ONNX Runtime does not decode
    files.

    Both return, for the P people of all pictures, the surest first: `boxes` (P, 4) `x, y, w, h`
    and `keypoints` (P, K, 2) in source pixels, `scores` and `present` (P, K), `box_scores` (P,)
    (NaN where the whole picture is the box), `person_scores` and `sure` (P,); and `alone`: nobody
    was found and the whole picture taken for one person. The SavedModel adds `picture` (P,),
    whose people they are, and `valid` (N,), whether the file could be read; its `alone` is (N,).

    Args:
        model: a `StackedHourglass` whose joints are those of people.
        out: the folder.
        name: by default the Keras model's name.
        formats: `"savedmodel"`, `"onnx"` or both.
        flip, decoder: as in `export_model`.
        max_pixels: of the SavedModel: pictures with more are refused before decoding.
        overwrite: replace an ONNX file; a SavedModel gets a new version.

    Returns:
        The path of each.

    Raises:
        UserError: if the joints are not those of people, a file exists, or what was written
            differs from the predictor.

    Example:

    >>> export_people(model, "out", name="mine")  # doctest: +SKIP
    [PosixPath('out/mine_people/1'), PosixPath('out/mine_people.onnx')]
    """
    name = f"{check_name(name or model.name)}_people"
    unknown = set(formats) - set(PEOPLE_FORMATS)
    if unknown or not formats:
        raise UserError(
            f"Everybody is exported as {' or '.join(PEOPLE_FORMATS)}. Received: "
            f"{', '.join(sorted(unknown)) or 'no format'}. Leave the others out."
        )
    skeleton = skeleton_of(model.num_keypoints, model.skeleton, mirrored=flip)
    if not of_people(skeleton):
        raise UserError(
            "The package's detector finds people, and these joints are not theirs. Received: "
            f"{', '.join(skeleton.joints[:5])}. Export without --people, and give boxes."
        )
    onnx_file = pathlib.Path(out) / f"{name}.onnx"
    if "onnx" in formats and onnx_file.exists() and not overwrite:
        raise UserError(f"The file exists already. Received: {onnx_file}. Allow it by --overwrite.")
    parts = _parts(model, skeleton, flip, decoder)
    predictor = Predictor(model, flip=flip, decoder=decoder)
    written = []
    if "savedmodel" in formats:
        written.append(_write_saved_model(parts, out, name, max_pixels or MAX_PIXELS, predictor))
    if "onnx" in formats:
        written.append(_write_onnx(parts, onnx_file, predictor))
    return written


def _parts(model, skeleton, flip, decoder):
    """Programs, what is told of them, and a description."""
    finder = HourglassDetector(OWN)
    thresholds = present_from(skeleton, model.thresholds)
    codec = codec_of(model, stack_name(model.output), decoder)
    joints = Joints(codec, skeleton, bool(flip) and skeleton.mirrors, thresholds)
    description = {
        "joints": list(skeleton.joints),
        "skeleton": skeleton.to_dict(),
        "thresholds": dict(zip(skeleton.joints, thresholds.tolist(), strict=True)),
        "decoder": codec.decoder,
        "flip": joints.flip,
        "detector": OWN,
    }
    looks = tuple(Look(look.codec, look.both, look.mirrored) for look in finder.looks)
    programs = {"joints": fold(*snapshot(model)).only(stack_name(model.output))}
    for number, look in enumerate(looks):
        other = load_snapshot(OWN, input_shape=(*look.codec.input_size, 3))
        programs[f"finder{number}"] = fold(*other)
    return programs, Finder(looks, finder.least_score), joints, description


def _write_saved_model(parts, out, name, max_pixels, predictor):
    import tensorflow as tf

    from keras_hourglass.export import bundle
    from keras_hourglass.export.served_people import ServedPeople

    programs, finder, joints, description = parts
    served = ServedPeople(programs, finder, joints, description, max_pixels)
    versions = pathlib.Path(out) / name
    versions.mkdir(parents=True, exist_ok=True)
    temporary = versions / f".writing-{secrets.token_hex(4)}"
    try:
        tf.saved_model.save(served, str(temporary), signatures=served.signatures())
        run = tf.saved_model.load(str(temporary)).signatures["serving_default"]

        def ask(image):
            answer = run(image_bytes=tf.constant([encode_image(image, ".png")]))
            return {key: value.numpy() for key, value in answer.items()}

        _verify(ask, predictor, temporary)
        bundle.write_metadata(temporary, {"name": name, **description})
        return publish_version(temporary, versions)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        with contextlib.suppress(OSError):
            versions.rmdir()  # only if there is nothing in it


def _write_onnx(parts, path, predictor):
    optional("onnx")
    onnxruntime = optional("onnxruntime")
    programs, finder, joints, description = parts
    content = people_onnx(programs, finder, joints, description).SerializeToString()
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])

    def ask(image):
        return dict(zip(_RANKS, session.run(list(_RANKS), {"image": image}), strict=True))

    _verify(ask, predictor, path)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, content)
    return path


def people_onnx(programs: dict, finder: Finder, joints: Joints, description: dict) -> Any:
    """The `onnx.ModelProto` from `image` `(height, width, 3)` uint8 RGB to everybody in it.

    Args:
        programs: `"joints"`, `"finder0"`, … -> folded `Program`.
        finder, joints: what is told of these.
        description: dict that goes into the file's metadata as JSON.

    Returns:
        The checked model.

    Example:

    >>> people_onnx(programs, finder, joints, {}).graph.input[0].name  # doctest: +SKIP
    'image'
    """
    from onnx import TensorProto, helper

    from keras_hourglass.inference.onnx_graph import Nodes, finished

    writer = Nodes()
    ops = OnnxOperations(writer, programs)
    result = everybody(ops, Value(ops, "image", "uint8"), finder, joints)
    outputs = []
    for name, rank in _RANKS.items():
        value = result[name]
        writer.node("Identity", [value.name], name)
        edges = ["people", len(joints.skeleton.joints), 2] if rank > 1 else ["people"]
        shape = ["people", 4] if name == "boxes" else edges[:rank]
        outputs.append(helper.make_tensor_value_info(name, ops.types[value.dtype], shape))
    image = helper.make_tensor_value_info("image", TensorProto.UINT8, ["height", "width", 3])
    model = finished(writer, "people", [image], outputs)
    helper.set_model_props(model, {"keras_hourglass": json.dumps(description)})
    return model


def _verify(ask, predictor, path):
    """Compare what was written with the predictor, on pictures of figures."""
    counted, alike = 0, 0
    for image in _scenes():
        expected, found = predictor(image), ask(image)
        if len(found["boxes"]) != len(expected):
            _refuse(path, f"{len(found['boxes'])} people instead of {len(expected)}")
        if len(expected):
            distance = np.linalg.norm(found["keypoints"] - expected.keypoints, axis=-1)
            counted += distance.size
            alike += int((distance <= _TOLERANCE).sum())
    if alike < _ALIKE * counted:
        _refuse(path, f"{counted - alike} of {counted} joints elsewhere")


def _scenes():
    """Pictures of one figure, of three beside each other, and of nothing."""
    from keras_hourglass.data.figures import render

    figures = [render(20160322, number, 240) for number in range(3)]
    return figures[0], np.concatenate(figures, axis=1), np.full((48, 90, 3), 127, np.uint8)


def _refuse(path, what):
    raise UserError(
        f"The exported model does not agree with the predictor. Received: {what}. "
        f"{pathlib.Path(path).name} was not written; please report this model's config."
    )
