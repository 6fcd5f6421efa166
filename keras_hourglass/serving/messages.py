"""Requests and answers of TensorFlow Serving's REST interface and of KServe's v2.

A request becomes a `Call`: the name of a signature, its inputs as lists of bytes or arrays, and how
the answer is written. What does not fit is a `RequestRejected` with rule, value and remedy.
"""

import base64
import binascii
import dataclasses
import json
import re
import struct
from collections.abc import Callable

import numpy as np

from keras_hourglass.errors import RequestRejected, UserError, did_you_mean
from keras_hourglass.io.structured import one_line, parse_json, shorten, too_much_json
from keras_hourglass.serving.backends import PICTURES

JSON, BINARY = "application/json", "application/octet-stream"
# KServe's header that says how many bytes of the body are JSON; tensors follow as they lie.
LENGTH_HEADER = "inference-header-content-length"
_MOST_AXES = 32  # of a tensor, as of NumPy's arrays
_V1_KEYS = ("signature_name", "instances", "inputs")
_DATATYPES = {
    "BOOL": "bool", "UINT8": "uint8", "UINT16": "uint16", "UINT32": "uint32", "UINT64": "uint64",
    "INT8": "int8", "INT16": "int16", "INT32": "int32", "INT64": "int64",
    "FP16": "float16", "FP32": "float32", "FP64": "float64", "BYTES": "string",
}  # fmt: skip
DATATYPE_OF = {name: datatype for datatype, name in _DATATYPES.items()}


@dataclasses.dataclass
class Call:
    """What a request asks for.

    Args:
        signature: its name.
        inputs: name -> list of bytes, or array.
        write: from the outputs and the served version to the answer's body, its content type and
            further headers.
    """

    signature: str
    inputs: dict
    write: Callable

    @property
    def count(self):
        """How many rows are asked for."""
        return len(next(iter(self.inputs.values())))


def refuse(rule, received, remedy, status=400):
    """An error that becomes the answer."""
    return RequestRejected(f"{rule} Received: {received}. {remedy}", status)


def _document(body, values=None):
    if values is not None and (excess := too_much_json(body, values)):
        kind, most, count = excess
        raise refuse(
            f"A request may hold at most {most:,} {kind}.",
            f"{count:,}",
            "Send smaller batches, and pictures as base64.",
            413,
        )
    try:
        document = parse_json(body, "of the request", "JSON")
    except UserError as error:
        reason = one_line(error.__cause__ or error)  # no advice for files
        raise refuse("A request is a JSON object.", reason, "Correct the body.") from error
    if not isinstance(document, dict):
        raise refuse(
            "A request is a JSON object.", type(document).__name__, 'Send {"instances": […]}.'
        )
    return document


# TensorFlow Serving


def read_v1(body, signatures, most=None, values=None):
    """A predict request of TensorFlow Serving's REST interface, in rows or columns.

    Args:
        body: bytes of the JSON document.
        signatures: name -> `Signature` of the model.
        most: from a signature's name to the most rows that it takes; any number by default.
        values: the most that the document may hold, see `too_much_json`.

    Returns:
        The `Call`.

    Raises:
        RequestRejected: if it is none.
    """
    document = _document(body, values)
    for key in document:
        if key not in _V1_KEYS:
            raise refuse(
                f"A predict request has the keys {', '.join(_V1_KEYS)}.",
                shorten(key),
                f"Leave it out.{did_you_mean(key, _V1_KEYS)}",
            )
    if ("instances" in document) == ("inputs" in document):
        raise refuse(
            "A predict request has either instances (rows) or inputs (columns).",
            "both" if "inputs" in document else "neither",
            'Send {"instances": [{"b64": "…"}]}.',
        )
    name = document.get("signature_name", "serving_default")
    specs = _signature(name, signatures).inputs
    rows = "instances" in document
    columns = _columns(document["instances"], specs) if rows else _named(document["inputs"], specs)
    return Call(name, _tensors(columns, specs, name, most), _write_rows if rows else _write_columns)


def _signature(name, signatures):
    if not isinstance(name, str) or name not in signatures:
        raise refuse(
            f"The signatures of this model are {', '.join(signatures)}.",
            shorten(str(name)),
            f"Name one of them.{did_you_mean(name, signatures)}",
        )
    return signatures[name]


def _columns(instances, specs):
    """Rows turned into name -> list."""
    if not isinstance(instances, list) or not instances:
        raise refuse(
            "Instances are a list with a row for each picture.", _kind(instances), "Send one."
        )
    if len(specs) == 1 and not all(_is_row(row, specs) for row in instances):
        return {next(iter(specs)): instances}
    for place, row in enumerate(instances):
        if not _is_row(row, specs):
            raise refuse(
                f"An instance has the inputs {', '.join(specs)}.",
                f"instance {place} with {_keys(row)}",
                "Name all of them, and another signature_name for others.",
            )
    return {name: [row[name] for row in instances] for name in specs}


def _is_row(row, specs):
    return isinstance(row, dict) and row.keys() == specs.keys()


def _named(inputs, specs):
    """Columns as name -> list."""
    if len(specs) == 1 and not _is_row(inputs, specs):
        if isinstance(inputs, dict) and inputs.keys() != {"b64"}:
            raise refuse(f"The input is {', '.join(specs)}.", _keys(inputs), "Name it.")
        return {next(iter(specs)): inputs}
    if not _is_row(inputs, specs):
        raise refuse(
            f"The inputs of this signature are {', '.join(specs)}.",
            _keys(inputs),
            "Name all of them, and another signature_name for others.",
        )
    return inputs


def _keys(value):
    if not isinstance(value, dict):
        return _kind(value)
    return shorten(", ".join(map(str, value))) or "none"


def _kind(value):
    """A value for a message; long ones are not written out."""
    if isinstance(value, (list, dict)):
        return f"{type(value).__name__} of {len(value)}"
    return f"{type(value).__name__} {shorten(str(value), 40)}"


def _tensors(columns, specs, signature, most):
    """Lists as the specs want them, all with as many rows."""
    # Before anything of them is unpacked.
    for values in columns.values():
        if most is not None and hasattr(values, "__len__") and len(values) > most(signature):
            raise refuse(
                f"A request has at most {most(signature)} rows here.",
                str(len(values)),
                "Send fewer.",
                413,
            )
    tensors = {
        name: _bytes(values, name) if specs[name].dtype == "string" else values
        for name, values in columns.items()
    }
    for name, values in tensors.items():
        if specs[name].dtype != "string":
            tensors[name] = _numbers(values, name, specs[name])
    counts = {name: len(values) for name, values in tensors.items()}
    if len(set(counts.values())) > 1:
        raise refuse("Every input has as many rows.", f"{counts}", "Send one box per picture.")
    if not next(iter(counts.values())):
        raise refuse("At least one row is needed.", f"none for {signature}", "Send one.")
    return tensors


def _bytes(values, name):
    if not isinstance(values, list):
        raise refuse(f"{name} is a list.", _kind(values), 'Send [{"b64": "…"}].')
    return [_decoded(value, place, name) for place, value in enumerate(values)]


def _decoded(value, place, name):
    if isinstance(value, dict) and value.keys() == {"b64"} and isinstance(value["b64"], str):
        try:
            return base64.b64decode(value["b64"], validate=True)
        except (binascii.Error, ValueError) as error:
            raise refuse(
                "Bytes are written as base64.", f"{name} {place}: {error}", "Encode them again."
            ) from error
    if isinstance(value, Raw):
        return value
    if name != PICTURES and isinstance(value, str):
        return value.encode()
    raise refuse(
        'Pictures travel as {"b64": "…"}, the base64 of their file; no path and no address is '
        "opened.",
        f"{name} {place}: {_kind(value)}",
        "Read the file and encode it.",
    )


def _numbers(values, name, spec):
    try:
        # The type is named: of text NumPy would make rows as wide as the longest.
        with np.errstate(over="ignore"):
            array = np.asarray(values, spec.dtype)
    except (ValueError, TypeError, OverflowError) as error:
        raise refuse(
            f"{name} is an array of numbers of shape {_shape(spec)}.",
            shorten(str(error)),
            "Give every row the same size.",
        ) from error
    if not spec.takes(array.shape):
        raise refuse(
            f"{name} is an array of numbers of shape {_shape(spec)}.",
            shorten(str(array.shape), 80),
            "Correct its sizes.",
        )
    return array


def _shape(spec):
    return f"({', '.join('N' if size is None else str(size) for size in spec.shape)})"


def _write_columns(outputs, version):
    columns = {name: _listed(values) for name, values in outputs.items()}
    if len(columns) == 1:
        columns = next(iter(columns.values()))
    return json.dumps({"outputs": columns}).encode(), JSON, {}


def _write_rows(outputs, version):
    counts = {name: len(values) for name, values in outputs.items()}
    if len(set(counts.values())) > 1:
        raise refuse(
            "Rows are written where every output has as many.", f"{counts}", "Send inputs instead."
        )
    columns = {name: _listed(values) for name, values in outputs.items()}
    rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    if len(columns) == 1:
        rows = next(iter(columns.values()))
    return json.dumps({"predictions": rows}).encode(), JSON, {}


def _listed(values):
    if values.dtype == object:
        return [item.decode(errors="replace") for item in values.ravel()]
    return values.tolist()


def v1_metadata(backend):
    """The answer to `/v1/models/NAME/metadata`."""
    kinds = {"string": "DT_STRING", "float32": "DT_FLOAT", "bool": "DT_BOOL"}

    def tensor(name, spec):
        sizes = [{"size": str(-1 if size is None else size), "name": ""} for size in spec.shape]
        return {
            "dtype": kinds.get(spec.dtype, f"DT_{spec.dtype.upper()}"),
            "tensor_shape": {"dim": sizes, "unknown_rank": False},
            "name": f"{name}:0",
        }

    signatures = {
        key: {
            "inputs": {name: tensor(name, spec) for name, spec in signature.inputs.items()},
            "outputs": {name: tensor(name, spec) for name, spec in signature.outputs.items()},
            "method_name": "tensorflow/serving/predict",
        }
        for key, signature in backend.signatures.items()
    }
    model = {"name": backend.name, "signature_name": "", "version": str(backend.version)}
    return {
        "model_spec": model,
        "metadata": {"signature_def": {"signature_def": signatures}},
    }


# KServe


def read_v2(body, length, signatures, model, most=None, values=None):
    """An inference request of KServe's v2 protocol, with tensors as JSON or binary.

    The signature is the one whose inputs are given; the parameter `signature` tells those apart
    that have the same.

    Args:
        body: bytes of the request.
        length: how many of them are JSON, the value of `LENGTH_HEADER`, or `None` for all.
        signatures: name -> `Signature` of the model.
        model: its name, for the answer.
        most, values: as for `read_v1`; bytes behind the JSON are no values.

    Returns:
        The `Call`.

    Raises:
        RequestRejected: if it is none.
    """
    end = len(body)
    if length is not None:
        # Digits without end are no number that Python reads.
        if not (re.fullmatch("[0-9]{1,18}", length) and int(length) <= len(body)):
            raise refuse(
                "Inference-Header-Content-Length is the number of bytes of JSON.",
                f"{shorten(length, 40)} in a body of {len(body)}",
                "Correct it.",
            )
        end = int(length)
    document = _document(body[:end], values)
    given = document.get("inputs")
    if not isinstance(given, list) or not all(_is_tensor(entry) for entry in given):
        raise refuse(
            "Inputs are a list of tensors with name, shape and datatype.", _kind(given), "Add them."
        )
    names = {entry["name"] for entry in given}
    fitting = [key for key, signature in signatures.items() if signature.inputs.keys() == names]
    settings = document.get("parameters", {})
    if isinstance(settings, dict) and "signature" in settings:
        fitting = [key for key in fitting if key == settings["signature"]]
    # Where several have the same inputs, the one that is served by default.
    fitting.sort(key=lambda key: key != "serving_default")
    if not fitting or len(names) < len(given):
        known = "; ".join(", ".join(signature.inputs) for signature in signatures.values())
        raise refuse(
            f"Inputs are those of one signature: {known}.",
            shorten(", ".join(entry["name"] for entry in given)) or "none",
            "Name each of them once.",
        )
    specs, rest, columns = signatures[fitting[0]].inputs, body[end:], {}
    for entry in given:
        columns[entry["name"]], rest = _tensor_v2(entry, rest)
    if rest:
        raise refuse(
            "Every byte belongs to a tensor.", f"{len(rest)} more", "Correct binary_data_size."
        )
    inputs = _tensors(columns, specs, fitting[0], most)
    wanted = _wanted(document, signatures[fitting[0]].outputs)
    identity = document.get("id")

    def write(outputs, version):
        return _write_v2(outputs, wanted, model, version, identity)

    return Call(fitting[0], inputs, write)


def _is_tensor(entry):
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get("datatype"), str)
        and isinstance(entry.get("shape"), list)
        # Their product is a number without bounds, whose digits take hours of a long list.
        and len(entry["shape"]) <= _MOST_AXES
        and all(type(size) is int and 0 <= size < 2**31 for size in entry["shape"])
        and isinstance(entry.get("parameters", {}), dict)
    )


def _tensor_v2(entry, rest):
    """A tensor's values, and the bytes that follow it."""
    name, shape, kind = entry["name"], tuple(entry["shape"]), entry["datatype"]
    if kind not in _DATATYPES:
        raise refuse(
            f"A datatype is one of {', '.join(_DATATYPES)}.", shorten(kind, 40), f"Correct {name}."
        )
    count = int(np.prod(shape, dtype=object)) if shape else 1
    size = entry.get("parameters", {}).get("binary_data_size")
    if size is not None:
        if type(size) is not int or not 0 <= size <= len(rest) or "data" in entry:
            raise refuse(
                "binary_data_size is the number of a tensor's bytes behind the JSON.",
                f"{shorten(str(size), 40)} of {len(rest)} for {name}",
                "Correct it.",
            )
        values = _unpacked(rest[:size], count, kind, name)
        rest = rest[size:]
    else:
        values = _flat(entry.get("data"), kind, name)
    if len(values) != count:
        raise refuse(
            f"{name} has as many values as its shape.",
            f"{len(values)} for {shorten(list(shape), 80)}",
            "Correct the shape.",
        )
    return (values if kind == "BYTES" else np.reshape(values, shape)), rest


def _flat(data, kind, name):
    """Values of JSON, which may be nested as their shape or flat."""
    if not isinstance(data, list):
        raise refuse("A tensor has data.", f"{name}: {_kind(data)}", "Add its values.")
    if kind != "BYTES":
        try:
            with np.errstate(over="ignore"):  # to infinity
                return np.asarray(data, _DATATYPES[kind]).ravel()
        except (ValueError, TypeError, OverflowError) as error:
            reason = shorten(str(error))
            raise refuse(f"{name} holds rows of {kind}.", reason, "Correct them.") from error
    if name != PICTURES:
        return data
    # JSON has no bytes: pictures are base64 here, with or without the other protocol's wrapping.
    return [{"b64": value} if isinstance(value, str) else value for value in data]


def _unpacked(data, count, kind, name):
    """Values that lie as they are, little-endian; bytes have their length before them."""
    if kind != "BYTES":
        dtype = np.dtype(_DATATYPES[kind]).newbyteorder("<")
        if len(data) != count * dtype.itemsize:
            raise refuse(
                f"{name} has {count * dtype.itemsize} bytes.", f"{len(data)}", "Correct its shape."
            )
        return np.frombuffer(data, dtype)
    values, place = [], 0
    while place + 4 <= len(data) and len(values) <= count:
        (length,) = struct.unpack_from("<I", data, place)
        place += 4
        if place + length > len(data):
            break
        values.append(Raw(data[place : place + length]))
        place += length
    if place != len(data):
        raise refuse(
            f"Every value of {name} has its length before it, 4 bytes.",
            f"{len(data)} bytes that do not come out even",
            "Pack them again.",
        )
    return values


class Raw(bytes):
    """Bytes that came as they are."""


def _wanted(document, outputs):
    """Name -> whether it is answered in binary, for the outputs that are asked for."""
    settings = document.get("parameters", {})
    every = isinstance(settings, dict) and settings.get("binary_data_output") is True
    asked = document.get("outputs")
    if asked is None:
        return dict.fromkeys(outputs, every)
    wanted = {}
    for entry in asked if isinstance(asked, list) and asked else [{}]:
        named = entry if isinstance(entry, dict) else {}
        name = named.get("name")
        if not isinstance(name, str) or name not in outputs:
            raise refuse(
                f"The outputs are {', '.join(outputs)}.", _kind(name), "Name those or none."
            )
        own = named.get("parameters", {})
        wanted[name] = own.get("binary_data", every) is True if isinstance(own, dict) else every
    return wanted


def _write_v2(outputs, wanted, model, version, identity):
    entries, tail = [], []
    for name, binary in wanted.items():
        values = outputs[name]
        text = values.dtype == object
        entry = {"name": name, "shape": list(values.shape)}
        entry["datatype"] = "BYTES" if text else DATATYPE_OF[values.dtype.name]
        if binary:
            data = _packed(values) if text else values.tobytes()
            entry["parameters"] = {"binary_data_size": len(data)}
            tail.append(data)
        else:
            flat = values.ravel()
            entry["data"] = _listed(flat) if text else _without_nan(flat)
        entries.append(entry)
    document = {"model_name": model, "model_version": str(version), "outputs": entries}
    if isinstance(identity, str):
        document["id"] = identity
    head = json.dumps(document, allow_nan=False).encode()
    if not tail:
        return head, JSON, {}
    return b"".join([head, *tail]), BINARY, {LENGTH_HEADER: str(len(head))}


def _packed(values):
    return b"".join(struct.pack("<I", len(item)) + item for item in values.ravel())


def _without_nan(values):
    """Numbers for strict JSON, which has no NaN."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        return [value if np.isfinite(value) else None for value in values.tolist()]
    return values.tolist()


def v2_metadata(backend):
    """The answer to `/v2/models/NAME`."""
    first = backend.signatures["serving_default"]

    def tensors(specs):
        return [
            {
                "name": name,
                "datatype": DATATYPE_OF.get(spec.dtype, "FP32"),
                "shape": [-1 if size is None else size for size in spec.shape],
            }
            for name, spec in specs.items()
        ]

    return {
        "name": backend.name,
        "versions": [str(backend.version)],
        "platform": f"keras_hourglass_{backend.engine}",
        "inputs": tensors(first.inputs),
        "outputs": tensors(first.outputs),
    }
