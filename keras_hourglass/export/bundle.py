"""The files that travel with a SavedModel.

Texts are templates in `templates/`; `model.config` is an entry of `models.config`.
"""

import hashlib
import json
import os
import pathlib

import cv2
import jinja2
import numpy as np
import tensorflow as tf

from keras_hourglass.errors import UserError
from keras_hourglass.export.in_graph import PARALLEL
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.images import encode_image

SERVER_FILES = (
    "models.config", "batching.config", "monitoring.config", "compose.yaml", "kubernetes.yaml"
)  # fmt: skip
WARMUP_FILE = "tf_serving_warmup_requests"
# Field numbers of the messages in that file.
_LOG_PREDICT, _PREDICT_REQUEST = 6, 1
_REQUEST_SPEC, _REQUEST_INPUTS = 1, 2
_SPEC_NAME, _SPEC_SIGNATURE = 1, 3
_ENTRY_KEY, _ENTRY_VALUE = 1, 2

_TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("keras_hourglass.export"),
    undefined=jinja2.StrictUndefined,
    autoescape=False,  # of Markdown, YAML and protocol-buffer texts
    keep_trailing_newline=True,
)


def write_extra_files(folder, description, max_pixels):
    """Write `assets.extra`: warm-up requests, `signature.md` and `metadata.json`.

    Args:
        folder: the SavedModel.
        description: the result of `description.describe`.
        max_pixels: pixels of the largest picture that is decoded.
    """
    folder = pathlib.Path(folder)
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    write_warmup(extra, warmup_requests(description))
    text = _fill("signature.md", **description, max_pixels=max_pixels, parallel=PARALLEL)
    (extra / "signature.md").write_text(text, encoding="utf-8")
    write_metadata(folder, description)


def write_metadata(folder, description):
    """Write `assets.extra/metadata.json`: the description, and what makes a version whole.

    Args:
        folder: the SavedModel, with all its other files.
        description: dict, JSON-ready.
    """
    folder = pathlib.Path(folder)
    extra = folder / "assets.extra"
    extra.mkdir(exist_ok=True)
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    sums = {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }
    document = {**description, "sha256": sums}
    (extra / "metadata.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


def write_server_files(out, description):
    """Write what a server is started with, once; later exports only add their model.

    Args:
        out: folder of all served models, `/models` in the container.
        description: the result of `description.describe`.
    """
    out = pathlib.Path(out)
    values = {"name": description["name"], "tensorflow": tf.__version__, "cores": os.cpu_count()}
    for name in SERVER_FILES:
        # They may have been edited by hand.
        if not (out / name).exists():
            atomic_write(out / name, _fill(name, **values))
    listed = (out / "models.config").read_text(encoding="utf-8")
    if f'name: "{description["name"]}"' not in listed:
        head, brace, tail = listed.rpartition("}")
        entry = _fill("model.config", **values)
        if not brace:
            raise UserError(
                f"{out / 'models.config'} is no list of models. Received: text without a closing "
                f"brace. Remove it, and it is written anew; the model itself was exported."
            )
        atomic_write(out / "models.config", f"{head}{entry}{brace}{tail}")


def warmup_requests(description):
    """Requests that run every signature, single and batched, as `write_warmup` takes them.

    Args:
        description: the result of `description.describe`.
    """
    name, size = description["name"], description["input_size"]
    pictures = [random_picture(0, ".jpg"), random_picture(1, ".png")]
    boxes = np.array([[10, 20, 60, 80], [0, 5, 100, 150]], np.float32)
    return [
        (name, "serving_default", {"image_bytes": pictures[:1]}),
        (name, "serving_default", {"image_bytes": pictures * 4}),
        (name, "predict_boxes", {"image_bytes": pictures, "boxes": boxes}),
        (name, "heatmaps", {"images": np.full((1, *size, 3), 127, np.float32)}),
        (name, "metadata", {"query": [b""]}),
    ]


def random_picture(seed, suffix):
    """The bytes of a picture of random blobs; its size differs from seed to seed.

    Args:
        seed: of the random numbers.
        suffix: `".png"` or `".jpg"`.
    """
    coarse = np.random.default_rng(seed).integers(0, 256, (7, 9, 3), np.uint8)
    size = (150 + 37 * seed, 211 - 23 * seed)
    return encode_image(cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC), suffix)


def write_warmup(folder, requests):
    """Write the requests that a server replays before it takes traffic.

    TensorFlow Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord file
    of `PredictionLog` messages (tensorflow_serving/apis/prediction_log.proto). The few fields
    needed are encoded here, so that an export does not need the serving API installed.

    Args:
        folder: the SavedModel's `assets.extra`.
        requests: list of `(model name, signature, dict of input arrays)`.
    """
    with tf.io.TFRecordWriter(str(folder / WARMUP_FILE)) as writer:
        for name, signature, inputs in requests:
            writer.write(prediction_log(name, signature, inputs))


def prediction_log(name, signature, inputs):
    """One serialized `PredictionLog` with a predict request.

    Args:
        name: the model's name on the server.
        signature: name of the signature.
        inputs: dict from input names to arrays, or to lists of bytes.

    Returns:
        The message as bytes.
    """
    spec = _field(_SPEC_NAME, name.encode()) + _field(_SPEC_SIGNATURE, signature.encode())
    request = _field(_REQUEST_SPEC, spec)
    for key, values in inputs.items():
        tensor = tf.make_tensor_proto(values).SerializeToString()
        entry = _field(_ENTRY_KEY, key.encode()) + _field(_ENTRY_VALUE, tensor)
        request += _field(_REQUEST_INPUTS, entry)
    return _field(_LOG_PREDICT, _field(_PREDICT_REQUEST, request))


def _field(number, content):
    """A length-delimited field of the protocol-buffer wire format."""
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value):
    groups = bytearray()
    while value > 0x7F:
        groups.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*groups, value])


def _fill(file, **values):
    """The text of a file from its template."""
    return _TEMPLATES.get_template(f"{file}.jinja2").render(values)
