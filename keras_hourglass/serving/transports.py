"""One predict request over gRPC, REST or KServe. No retries here: `Client` does that for all."""

import base64
import contextlib
import json
import socket
import ssl
import struct
import threading
import time
import urllib.parse

import numpy as np

from keras_hourglass.errors import (
    RequestRejected,
    RequestTimeout,
    ServerUnavailable,
    ServingError,
    UserError,
    optional,
    printable,
)
from keras_hourglass.io.structured import parse_json, too_much_json

MAX_ANSWER = 256 * 2**20  # bytes; heatmaps of a large batch are the largest answers
# Of JSON: numbers and lists take up to thirty times their length in memory, texts do not.
MAX_VALUES = 2**24


class RestTransport:
    """TensorFlow Serving's REST interface (columnar predict requests).

    Args:
        url: `http://host:8501` or `https://…`, perhaps with a path before `/v1`.
        model: name of the model.
        version: number of the version, or `None` for the highest.
        tls: `ssl.SSLContext` for `https`, or `None` for the system's certificates.
    """

    _PROTOCOL = "v1"

    def __init__(self, url, model, version=None, tls=None):
        import httpx

        known = False
        with contextlib.suppress(ValueError, httpx.InvalidURL):
            parts = urllib.parse.urlsplit(url)
            known = parts.scheme in ("http", "https") and httpx.URL(url).host and parts.port != 0
        if not known:
            raise UserError(
                "A REST server's address is http://host:port or https://host:port. "
                f"Received: {url!r}. Correct it, or use protocol='grpc'."
            )
        self._server = parts.netloc.rpartition("@")[2]
        path = f"/{self._PROTOCOL}/models/{urllib.parse.quote(model)}" + (
            f"/versions/{version}" if version else ""
        )
        self._model = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}{path}"
        # Certificates are those of the system, not of httpx; plain http needs none.
        context = (tls or ssl.create_default_context()) if parts.scheme == "https" else False
        # A connection for each request: on one that is kept, servers that leave Nagle's algorithm
        # on answer 40 ms later.
        self._http = httpx.Client(
            verify=context,
            headers={"Content-Type": "application/json", "Accept-Encoding": "identity"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
            trust_env=False,
        )

    def predict(self, signature, inputs, timeout):
        """See `GrpcTransport.predict`."""
        body = {
            "signature_name": signature,
            "inputs": {key: _to_json(value) for key, value in inputs.items()},
        }
        answer = self._request("POST", self._model + ":predict", json.dumps(body), timeout)
        outputs = answer.get("outputs")
        if not isinstance(outputs, dict):
            # A signature with one output is answered without its name.
            outputs = {"": outputs}
        return {key: np.asarray(value) for key, value in outputs.items()}

    def status(self, timeout):
        """See `GrpcTransport.status`."""
        answer = self._request("GET", self._model, None, timeout)
        found = answer.get("model_version_status", [])
        return {int(entry["version"]): entry["state"] for entry in found}

    def close(self):
        """Close the connections."""
        self._http.close()

    def _request(self, method, address, body, timeout, headers=None):
        import httpx

        left = _TimeLeft(timeout)
        asked = {"content": body, "headers": headers, "extensions": left.extensions}
        try:
            with left, self._http.stream(method, address, **asked) as response:
                content = _read(response, left)
        except (httpx.RequestError, TimeoutError, UnicodeError) as error:
            if isinstance(error, (httpx.TimeoutException, TimeoutError)) or left.over:
                raise RequestTimeout(
                    f"No answer within {timeout:.3g} s. Received: nothing from {self._server}. "
                    "Raise timeout=…, or send smaller batches."
                ) from error
            # A UnicodeError is one of odd host names.
            raise ServerUnavailable(
                f"A running server is needed. Received: {type(error).__name__} ({error}) from "
                f"{self._server}. Check the address and whether it runs."
            ) from error
        return self._parse(response.status_code, content, response.headers)

    def _parse(self, status, content, headers):
        if len(content) > MAX_ANSWER:
            raise ServingError(
                f"Answers may have at most {MAX_ANSWER:,} bytes. Received: a longer one. "
                "Send smaller batches."
            )
        if excess := too_much_json(content, MAX_VALUES):
            kind, most, count = excess
            raise ServingError(
                f"Answers in JSON may have at most {most:,} {kind}. Received: {count:,}. "
                "Send smaller batches."
            )
        try:
            answer = parse_json(content, self._server, "answer", ServingError)
        except ServingError:
            answer = None
        if not isinstance(answer, dict):
            answer = {"error": content[:180].decode(errors="replace")}
        if status == 200 and "error" not in answer:
            return answer
        reason = " ".join(str(answer.get("error", "no reason given")).split())[:300]
        reason = f"HTTP {status}: {printable(reason) or 'nothing'}"
        message = f"The server refused the request. Received: {reason}"
        if status in (429, 502, 503):
            raise ServerUnavailable(message, status)
        if status in (408, 504):
            raise RequestTimeout(message, status)
        if 400 <= status < 500:
            raise RequestRejected(message, status)
        if status < 400:  # another kind of server; it may send us elsewhere, where nobody goes
            message = (
                f"Answers are JSON objects with status 200. Received: {reason}. "
                "Check the address and the model's name."
            )
        raise ServingError(message, status)


class KServeTransport(RestTransport):
    """KServe's v2 protocol over HTTP, with tensors as they lie in memory behind the JSON.

    Args:
        url, model, version, tls: see `RestTransport`.
    """

    _PROTOCOL = "v2"

    def predict(self, signature, inputs, timeout):
        """See `GrpcTransport.predict`; the names of the inputs tell the signature."""
        tensors, data = [], []
        for name, value in inputs.items():
            if isinstance(value, list):
                shape, kind = [len(value)], "BYTES"
                packed = b"".join(struct.pack("<I", len(item)) + item for item in value)
            else:
                array = np.ascontiguousarray(value, "<f4")
                shape, kind, packed = list(array.shape), "FP32", array.tobytes()
            settings = {"binary_data_size": len(packed)}
            entry = {"name": name, "shape": shape, "datatype": kind, "parameters": settings}
            tensors.append(entry)
            data.append(packed)
        body = {"inputs": tensors, "parameters": {"binary_data_output": True}}
        head = json.dumps(body).encode()
        headers = {"Content-Type": "application/octet-stream", _HEAD: str(len(head))}
        address = f"{self._model}/infer"
        answer = self._request("POST", address, b"".join([head, *data]), timeout, headers)
        try:
            return dict(_tensors(answer["outputs"], answer[_TAIL]))
        except (KeyError, TypeError, ValueError, AttributeError, struct.error) as error:
            raise ServingError(
                "An answer has outputs with name, shape, datatype and data. Received: "
                f"others ({error}). Check that the server speaks KServe's v2 protocol."
            ) from error

    def status(self, timeout):
        """See `GrpcTransport.status`."""
        versions = self._request("GET", self._model, None, timeout).get("versions")
        if versions in (None, []):  # which a server need not say
            versions = ["1"]
        if not isinstance(versions, list) or not all(
            isinstance(version, str) and version.isdecimal() for version in versions
        ):
            raise ServingError(
                "The versions of a model are a list of numbers as text. Received: "
                f"{str(versions)[:100]!r}. Check that the server speaks KServe's v2 protocol."
            )
        try:
            self._request("GET", f"{self._model}/ready", None, timeout)
            state = "AVAILABLE"
        except (ServerUnavailable, RequestRejected):
            state = "UNAVAILABLE"
        return {int(version): state for version in versions}

    def _parse(self, status, content, headers):
        length = headers.get(_HEAD, "")
        end = int(length) if length.isascii() and length.isdigit() else len(content)
        # What says that it is ready may say nothing else.
        return {**super()._parse(status, content[:end] or b"{}", headers), _TAIL: content[end:]}


# How many bytes of a body are JSON.
_HEAD = "Inference-Header-Content-Length"
_TAIL = "binary tensors"  # where they stand beside the JSON
_DTYPES = {"BOOL": "?", "FP32": "<f4", "FP64": "<f8", "INT32": "<i4", "INT64": "<i8"}


def _tensors(outputs, rest):
    """Name and array of each output."""
    for output in outputs:
        name, shape, kind = output["name"], output["shape"], output["datatype"]
        size = output.get("parameters", {}).get("binary_data_size")
        if size is None:
            values = np.array(output["data"], object if kind == "BYTES" else _DTYPES[kind])
        elif kind == "BYTES":
            values, place = [], 0
            while place < size:
                (length,) = struct.unpack_from("<I", rest, place)
                values.append(rest[place + 4 : place + 4 + length])
                place += 4 + length
            values = np.array(values, object)
        else:
            values = np.frombuffer(rest[:size], _DTYPES[kind])
        yield name, values.reshape(shape)
        rest = rest[size or 0 :]


class GrpcTransport:
    """TensorFlow Serving's gRPC interface.

    Args:
        url: `host:8500`.
        model: name of the model.
        version: number of the version, or `None` for the highest.
        tls: `grpc.ChannelCredentials`, or `None` for an unencrypted connection.
    """

    def __init__(self, url, model, version=None, tls=None):
        # Which gRPC would take for a name, and look for until the time is over.
        if str(url).lower().startswith(("http://", "https://")):
            raise UserError(
                "A gRPC server's address is host:port, as localhost:8500. "
                f"Received: {url!r}. Correct it, or use protocol='rest'."
            )
        self._grpc, self._apis = _import_grpc()
        self._model, self._version, self._url = model, version, url
        # The default of 4 MB is less than the heatmaps of one batch.
        options = [
            ("grpc.max_send_message_length", -1),
            ("grpc.max_receive_message_length", MAX_ANSWER),
            ("grpc.enable_retries", 0),
        ]
        if tls is None:
            self._channel = self._grpc.insecure_channel(url, options)
        else:
            self._channel = self._grpc.secure_channel(url, tls, options)
        self._predictions = self._apis.prediction_service_pb2_grpc.PredictionServiceStub(
            self._channel
        )
        self._models = self._apis.model_service_pb2_grpc.ModelServiceStub(self._channel)

    def predict(self, signature, inputs, timeout):
        """Run one signature.

        Args:
            signature: its name.
            inputs: dict from input names to arrays, or to lists of bytes.
            timeout: seconds until it is given up.

        Returns:
            Dict from output names to arrays.

        Raises:
            ServingError: of the kind that fits.
        """
        import tensorflow as tf

        request = self._apis.predict_pb2.PredictRequest()
        self._name(request.model_spec)
        request.model_spec.signature_name = signature
        for key, value in inputs.items():
            request.inputs[key].CopyFrom(tf.make_tensor_proto(value))
        answer = self._call(self._predictions.Predict, request, timeout)
        return {key: tf.make_ndarray(value) for key, value in answer.outputs.items()}

    def status(self, timeout):
        """Versions of the model on the server and their states, e.g. `{1: "AVAILABLE"}`."""
        messages = self._apis.get_model_status_pb2
        request = messages.GetModelStatusRequest()
        self._name(request.model_spec)
        answer = self._call(self._models.GetModelStatus, request, timeout)
        names = messages.ModelVersionStatus.State.Name
        return {entry.version: names(entry.state) for entry in answer.model_version_status}

    def close(self):
        """Close the connection."""
        self._channel.close()

    def _name(self, spec):
        spec.name = self._model
        if self._version is not None:
            spec.version.value = self._version

    def _call(self, method, request, timeout):
        try:
            return method(request, timeout=timeout)
        except self._grpc.RpcError as error:
            code, details = error.code(), " ".join(str(error.details()).split())[:300]
            message = f"The server gave no answer. Received: {code.name} ({details})"
            codes = self._grpc.StatusCode
            if code == codes.UNAVAILABLE:
                message += f". Check whether a server runs at {self._url}."
                raise ServerUnavailable(message, code.name) from error
            if code == codes.DEADLINE_EXCEEDED:
                raise RequestTimeout(message, code.name) from error
            if code in (
                codes.INVALID_ARGUMENT,
                codes.NOT_FOUND,
                codes.FAILED_PRECONDITION,
                codes.RESOURCE_EXHAUSTED,
                codes.PERMISSION_DENIED,
                codes.UNAUTHENTICATED,
                codes.UNIMPLEMENTED,
            ):
                raise RequestRejected(message, code.name) from error
            raise ServingError(message, code.name) from error


class _TimeLeft(dict):
    """What is left of a request's time, for whichever of its steps httpx asks.

    httpx asks at the beginning of each step and allows so much for every piece of it. A server that
    sends drop by drop, or remarks before an answer that never comes, would hold it for ever: at the
    end of the time the connection is cut.
    """

    def __init__(self, timeout):
        super().__init__()
        self.end = time.monotonic() + timeout
        self.extensions = {"timeout": self, "trace": self._watch}
        self._connection = None
        self._clock = threading.Timer(timeout, self._cut)
        self._clock.daemon = True

    def __enter__(self):
        self._clock.start()
        return self

    def __exit__(self, *_):
        self._clock.cancel()

    def get(self, step, default=None):
        return max(self.end - time.monotonic(), 0.001)

    @property
    def over(self):
        """Whether nothing is left."""
        return time.monotonic() > self.end

    def _watch(self, event, info):
        if event in ("connection.connect_tcp.complete", "connection.start_tls.complete"):
            self._connection = info["return_value"]

    def _cut(self):
        connection = self._connection and self._connection.get_extra_info("socket")
        if connection is not None:
            with contextlib.suppress(OSError):
                # Below TLS, which another thread is within.
                socket.socket.shutdown(connection, socket.SHUT_RDWR)


def _read(response, left):
    """The body, or more of it than may be; a server does not outlast the time limit."""
    parts, length = [], 0
    for part in response.iter_raw():
        parts.append(part)
        length += len(part)
        if length > MAX_ANSWER:
            break
        if left.over:
            raise TimeoutError
    if left.over:  # the connection was cut, which ends a body as well
        raise TimeoutError
    return b"".join(parts)


def _import_grpc():
    try:
        grpc, apis = optional("grpc"), optional("tensorflow_serving.apis")
        from tensorflow_serving.apis import (  # noqa: F401
            get_model_status_pb2,
            model_service_pb2_grpc,
            predict_pb2,
            prediction_service_pb2_grpc,
        )
    except ImportError as error:
        raise UserError(
            f"The gRPC client needs more packages. Received: {error}. "
            "Run `pip install keras_hourglass[serving]`, or use protocol='rest'."
        ) from error
    return grpc, apis


def _to_json(value):
    if isinstance(value, list):
        return [{"b64": base64.b64encode(item).decode()} for item in value]
    return np.asarray(value).tolist()
