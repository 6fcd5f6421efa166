"""One predict request over gRPC or REST. No retries here: `Client` does that for both."""

import base64
import contextlib
import json
import ssl
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
)

MAX_ANSWER = 256 * 2**20  # bytes; heatmaps of a large batch are the largest answers


class RestTransport:
    """TensorFlow Serving's REST interface (columnar predict requests).

    Args:
        url: `http://host:8501` or `https://…`, perhaps with a path before `/v1`.
        model: name of the model.
        version: number of the version, or `None` for the highest.
        tls: `ssl.SSLContext` for `https`, or `None` for the system's certificates.
    """

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
        path = f"/v1/models/{urllib.parse.quote(model)}" + (
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

    def _request(self, method, address, body, timeout):
        import httpx

        left = _TimeLeft(timeout)
        try:
            with self._http.stream(
                method, address, content=body, extensions={"timeout": left}
            ) as response:
                content = _read(response, left)
        except (httpx.TimeoutException, TimeoutError) as error:
            raise RequestTimeout(
                f"No answer within {timeout:.3g} s. Received: nothing from {self._server}. "
                "Raise timeout=…, or send smaller batches."
            ) from error
        except (httpx.RequestError, UnicodeError) as error:  # the latter of odd host names
            raise ServerUnavailable(
                f"A running server is needed. Received: {type(error).__name__} ({error}) from "
                f"{self._server}. Check the address and whether it runs."
            ) from error
        return self._parse(response.status_code, content)

    def _parse(self, status, content):
        if len(content) > MAX_ANSWER:
            raise ServingError(
                f"Answers may have at most {MAX_ANSWER:,} bytes. Received: a longer one. "
                "Send smaller batches."
            )
        try:
            answer = json.loads(content)
            assert isinstance(answer, dict)
        except (ValueError, AssertionError):
            answer = {"error": content[:200].decode(errors="replace")}
        if status == 200 and "error" not in answer:
            return answer
        reason = " ".join(str(answer.get("error", "no reason given")).split())[:300]
        message = f"The server refused the request. Received: HTTP {status}: {reason}"
        if status in (429, 502, 503):
            raise ServerUnavailable(message, status)
        if status in (408, 504):
            raise RequestTimeout(message, status)
        if 400 <= status < 500:
            raise RequestRejected(message, status)
        raise ServingError(message, status)


class GrpcTransport:
    """TensorFlow Serving's gRPC interface.

    Args:
        url: `host:8500`.
        model: name of the model.
        version: number of the version, or `None` for the highest.
        tls: `grpc.ChannelCredentials`, or `None` for an unencrypted connection.
    """

    def __init__(self, url, model, version=None, tls=None):
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
    """What is left of a request's time, for whichever of its steps httpx asks."""

    def __init__(self, timeout):
        super().__init__()
        self.end = time.monotonic() + timeout

    def get(self, step, default=None):
        return max(self.end - time.monotonic(), 0.001)


def _read(response, left):
    """The body; a server that sends drop by drop does not outlast the time limit."""
    parts, length = [], 0
    for part in response.iter_raw():
        parts.append(part)
        length += len(part)
        if length > MAX_ANSWER:
            break
        if time.monotonic() > left.end:
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
