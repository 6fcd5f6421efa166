"""Servers that speak TensorFlow Serving's public gRPC and REST contracts over a SavedModel.

`fault` is called before each request; it may sleep, or return a fault: a gRPC status name or HTTP
status, `"cut"` to break the connection off, `"drip"` or `"stall"` for an answer that does not end.
"""

import base64
import concurrent.futures
import contextlib
import http.server
import json
import threading

import numpy as np
import tensorflow as tf


class Served:
    """The signatures of a SavedModel under a name."""

    def __init__(self, folder, name="pose"):
        self.signatures = tf.saved_model.load(str(folder)).signatures
        self.name, self.requests, self.fault = name, 0, None
        self.sizes = []

    def next_fault(self):
        self.requests += 1
        return self.fault() if self.fault else None

    def run(self, signature, inputs):
        function = self.signatures[signature]
        specs = function.structured_input_signature[1]
        if set(inputs) != set(specs):
            raise ValueError(f"expected inputs {sorted(specs)}, got {sorted(inputs)}")
        tensors = {key: tf.cast(value, specs[key].dtype) for key, value in inputs.items()}
        for key, value in tensors.items():
            if not specs[key].shape.is_compatible_with(value.shape):
                raise ValueError(f"{key} must be of shape {specs[key].shape}, got {value.shape}")
        self.sizes.append(len(next(iter(tensors.values()))))
        return {key: value.numpy() for key, value in function(**tensors).items()}


@contextlib.contextmanager
def grpc_server(served, credentials=None):
    """A `PredictionService` and `ModelService`; yields `host:port`."""
    import grpc
    from tensorflow_serving.apis import (
        get_model_status_pb2,
        model_service_pb2_grpc,
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    class Predictions(prediction_service_pb2_grpc.PredictionServiceServicer):
        def Predict(self, request, context):
            fault = served.next_fault()
            if fault:
                context.abort(getattr(grpc.StatusCode, fault), "injected")
            if request.model_spec.name != served.name:
                context.abort(grpc.StatusCode.NOT_FOUND, "Servable not found for request")
            inputs = {key: tf.make_ndarray(value) for key, value in request.inputs.items()}
            try:
                signature = request.model_spec.signature_name or "serving_default"
                outputs = served.run(signature, inputs)
            except (KeyError, ValueError, tf.errors.InvalidArgumentError) as error:
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)[:200])
            answer = predict_pb2.PredictResponse()
            for key, value in outputs.items():
                answer.outputs[key].CopyFrom(tf.make_tensor_proto(value))
            return answer

    class Models(model_service_pb2_grpc.ModelServiceServicer):
        def GetModelStatus(self, request, context):
            if request.model_spec.name != served.name:
                context.abort(grpc.StatusCode.NOT_FOUND, "Could not find any versions of model")
            answer = get_model_status_pb2.GetModelStatusResponse()
            entry = answer.model_version_status.add(version=3)
            entry.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
            return answer

    options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
    pool = concurrent.futures.ThreadPoolExecutor(8)
    server = grpc.server(pool, options=options)
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(Predictions(), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(Models(), server)
    if credentials:
        port = server.add_secure_port("localhost:0", credentials)
    else:
        port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        yield f"localhost:{port}"
    finally:
        server.stop(None).wait()
        pool.shutdown()


@contextlib.contextmanager
def rest_server(served, context=None):
    """The REST interface; yields `http://host:port`."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            if self.path != f"/v1/models/{served.name}":
                return self.answer(404, {"error": "Could not find any versions of model"})
            state = {"version": "3", "state": "AVAILABLE", "status": {"error_code": "OK"}}
            self.answer(200, {"model_version_status": [state]})

        def do_POST(self):
            fault = served.next_fault()
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if fault == "cut":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"outputs": {')
                self.close_connection = True
                return
            if fault == "drip":
                self.send_response(200)
                self.end_headers()
                with contextlib.suppress(OSError):
                    for _ in range(100):
                        self.wfile.write(b" ")
                        threading.Event().wait(0.05)
                return
            if fault == "stall":
                self.send_response(200)
                self.send_header("Content-Length", "1000")
                self.end_headers()
                self.wfile.write(b'{"outputs": {')
                threading.Event().wait(1.5)
                return
            if fault:
                return self.answer(fault, {"error": "injected"})
            if self.path != f"/v1/models/{served.name}:predict":
                return self.answer(404, {"error": "Servable not found for request"})
            try:
                self.answer(200, self.predict(json.loads(body)))
            except (KeyError, ValueError, tf.errors.InvalidArgumentError) as error:
                self.answer(400, {"error": str(error)[:200]})

        def predict(self, request):
            signature = request.get("signature_name", "serving_default")
            if "instances" in request:
                (name,) = served.signatures[signature].structured_input_signature[1]
                outputs = served.run(signature, {name: _decoded(request["instances"])})
                rows = zip(*outputs.values(), strict=True)
                return {"predictions": [_row(outputs, row) for row in rows]}
            inputs = {key: _decoded(value) for key, value in request["inputs"].items()}
            outputs = {k: _listed(v) for k, v in served.run(signature, inputs).items()}
            return {"outputs": next(iter(outputs.values())) if len(outputs) == 1 else outputs}

        def answer(self, status, document):
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("localhost", 0), Handler)
    server.daemon_threads = True
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        scheme = "http" if context is None else "https"
        yield f"{scheme}://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _decoded(values):
    if values and isinstance(values[0], dict):
        return [base64.b64decode(value["b64"], validate=True) for value in values]
    return values


def _listed(value):
    if value.dtype == object:
        return [item.decode() for item in value.ravel()]
    return value.tolist()


def _row(outputs, row):
    return {key: np.asarray(value).tolist() for key, value in zip(outputs, row, strict=True)}
