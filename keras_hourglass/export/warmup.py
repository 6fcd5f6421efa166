"""The requests that a server replays before it takes traffic.

TensorFlow Serving reads them from `assets.extra/tf_serving_warmup_requests`, a TFRecord file of
`PredictionLog` messages (tensorflow_serving/apis/prediction_log.proto). The few fields needed are
encoded here, so that an export does not need the serving API installed.
"""

import tensorflow as tf

FILE = "tf_serving_warmup_requests"

# Field numbers of the messages.
_LOG_PREDICT, _PREDICT_REQUEST = 6, 1
_REQUEST_SPEC, _REQUEST_INPUTS = 1, 2
_SPEC_NAME, _SPEC_SIGNATURE = 1, 3
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


def write_warmup(folder, requests):
    """Write the warm-up file of a SavedModel.

    Args:
        folder: the SavedModel's `assets.extra`.
        requests: list of `(model name, signature, dict of input arrays)`.
    """
    with tf.io.TFRecordWriter(str(folder / FILE)) as writer:
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
