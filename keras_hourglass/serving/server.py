"""A small server for trials and one machine, as an ASGI application.

It speaks TensorFlow Serving's REST interface and KServe's v2, and shows a page at `/`.
"""

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import importlib.resources
import json
import logging
import math
import os
import pathlib
import threading
import time
from collections.abc import Callable
from typing import Any

from keras_hourglass.errors import RequestRejected, UserError, checks_arguments, listed, optional
from keras_hourglass.export.saved_model import check_name
from keras_hourglass.io.headers import read_header
from keras_hourglass.io.images import MAX_PIXELS
from keras_hourglass.io.structured import announced_length
from keras_hourglass.serving import messages
from keras_hourglass.serving.backends import (
    ONE_PERSON,
    PICTURES,
    NetworkBackend,
    SavedModelBackend,
)
from keras_hourglass.serving.batching import Batcher, Busy, Job
from keras_hourglass.serving.versions import OneVersion, VersionFolder, version_numbers
from keras_hourglass.typing import Path

LOG = logging.getLogger("keras_hourglass")
# Pictures of more pixels are decoded one after the other, so that they do not take all threads.
_LARGE = 4_000_000
_AT_ONCE = 20_000  # numbers that are written in the event loop; more would hold up the others
_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; script-src "
    "'unsafe-inline'; img-src blob: data:; connect-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What a server takes.

    Args:
        max_batch: most people in one run of the network, and crops in a request for heatmaps.
        max_delay: seconds that a run waits for people who are being prepared.
        max_queue: most people accepted and not yet answered; more are refused with 429, and so are
            those who could not be answered in time.
        max_request: bytes of one request.
        max_bytes: bytes of all requests that are being received or answered, and of answers that
            are not taken yet.
        max_pixels: of one picture; of larger ones only the header is read.
        timeout: seconds for receiving a request, and again for answering it. Five more are given
            to whoever takes the answer.

    Raises:
        UserError: if one is not positive.

    Example:

    >>> Limits(max_queue=32).max_batch
    8
    """

    max_batch: int = 8
    max_delay: float = 0.002
    max_queue: int = 128
    max_request: int = 48 * 2**20
    max_bytes: int = 256 * 2**20
    max_pixels: int = MAX_PIXELS
    timeout: float = 30.0

    def __post_init__(self):
        for name, value in dataclasses.asdict(self).items():
            if not (value > 0 or (name == "max_delay" and value == 0)):
                raise UserError(
                    f"`{name}` must be positive. Received: {value!r}. Leave it out for the default."
                )
        if self.max_queue < self.max_batch:
            raise UserError(
                "`max_queue` must be at least `max_batch`. Received: "
                f"{self.max_queue} and {self.max_batch}. Raise it."
            )


def _require(*packages):
    try:
        for package in packages:
            optional(package)
    except ImportError as error:
        raise UserError(
            f"The server needs more packages. Received: {error}. "
            "Run `pip install keras_hourglass[serve]`."
        ) from error


@checks_arguments
def create_app(
    model: Path,
    name: str | None = None,
    flip: bool = True,
    decoder: str | None = None,
    limits: Limits | None = None,
    poll: float = 1.0,
) -> Any:
    """The server as an ASGI application, for any server of such.

    Args:
        model: name of a preset, a training run's folder, or a folder of exported versions
            (`served/pose`), which is watched.
        name: the model's name in addresses; by default the preset's or the folder's.
        flip: average with the heatmaps of the mirrored crop (an export has its own word).
        decoder: of the `HeatmapCodec`; by default as the model says (an export has its own word).
        limits: the `Limits`; their defaults are for one machine.
        poll: seconds between two looks for a new version.

    Returns:
        The `starlette.applications.Starlette`.

    Raises:
        UserError: if there is no such model, or a package is missing.

    Example:

    >>> app = create_app("hourglass_tiny_lsp")  # doctest: +SKIP
    """
    _require("prometheus_client", "starlette")
    limits = limits or Limits()
    return Server(open_versions(model, name, flip, decoder, limits, poll), limits).app()


def open_versions(model, name, flip, decoder, limits, poll):
    """What is served under a name: one network, or the versions of a folder."""
    folder = pathlib.Path(os.fspath(model))
    name = check_name(name or folder.resolve().stem)
    if not poll > 0:
        raise UserError(
            f"`poll` must be positive, in seconds. Received: {poll!r}. Leave it out for 1."
        )
    if version_numbers(folder) and not (folder / "config.json").exists():
        if decoder is not None or not flip:
            raise UserError(
                "An exported version decodes and mirrors as it was exported. Received: "
                "another decoder or no mirroring. Give these to `export`."
            )
        return VersionFolder(
            folder, lambda path: SavedModelBackend(path, name, limits.max_pixels), poll
        )
    if (folder / "saved_model.pb").exists():
        raise UserError(
            "A server watches the folder of all versions. Received: one version. "
            f"Name {folder.resolve().parent}."
        )
    if folder.is_dir() and not (folder / "config.json").exists():
        below = sorted(path for path in folder.iterdir() if path.is_dir() and version_numbers(path))
        if below:
            raise UserError(
                f"One model is served at a time. Received: {folder}, the folder of "
                f"{listed([path.name for path in below], 4)}. Name {below[0]}."
            )
    return OneVersion(
        NetworkBackend(model, name, flip, decoder, limits.max_pixels, limits.max_batch)
    )


class Server:
    """Takes requests apart, has them prepared and run, and writes the answers.

    Args:
        versions: what is served.
        limits: the `Limits`.
    """

    def __init__(self, versions, limits):
        from keras_hourglass.serving.metrics import Metrics

        self.versions, self.limits = versions, limits
        self.name = versions.current.name
        self.metrics = Metrics()
        self.batcher = Batcher(
            limits.max_batch,
            limits.max_delay,
            limits.max_queue,
            0.7 * limits.timeout,
            self.metrics.batch,
        )
        self.metrics.watch(lambda: self.batcher.pending, lambda: self.versions.current.version)
        self._pool = concurrent.futures.ThreadPoolExecutor(max(2, os.cpu_count() or 2))
        self._large = concurrent.futures.ThreadPoolExecutor(1)
        self._bytes, self._stopping = 0, False
        self.unsent: Callable[[], int] = lambda: 0  # bytes of answers that nobody took yet

    # What is asked

    def app(self):
        """The ASGI application."""
        from starlette.applications import Starlette
        from starlette.exceptions import HTTPException
        from starlette.routing import Route

        v1, v2 = "/v1/models/{name}", "/v2/models/{name}"
        routes = [
            Route("/", self._page),
            Route("/metrics", self._metrics),
            Route("/monitoring/prometheus/metrics", self._metrics),
            Route("/v2", self._about),
            Route("/v2/health/live", self._live),
            Route("/v2/health/ready", self._ready),
        ]
        for start in (f"{v1}/versions/{{version}}", v1):
            routes += [
                Route(f"{start}:predict", self._answers(self._predict_v1), methods=["POST"]),
                Route(f"{start}/metadata", self._answers(self._metadata_v1)),
                Route(start, self._answers(self._status)),
            ]
        for start in (f"{v2}/versions/{{version}}", v2):
            routes += [
                Route(f"{start}/infer", self._answers(self._predict_v2), methods=["POST"]),
                Route(f"{start}/ready", self._ready),
                Route(start, self._answers(self._metadata_v2)),
            ]
        handlers = {HTTPException: self._no_such_route}
        app = Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)
        # Starlette would lead to whatever host a request names.
        app.router.redirect_slashes = False
        app.state.server = self
        return app

    @contextlib.asynccontextmanager
    async def _lifespan(self, app):
        yield
        self._stopping = True
        await asyncio.get_running_loop().run_in_executor(None, self.close)

    def close(self):
        """End the threads; what was accepted is answered before."""
        self.versions.stop()
        self.batcher.stop()
        for pool in (self._pool, self._large):
            pool.shutdown(wait=True, cancel_futures=True)

    def _answers(self, handler):
        """A handler whose refusals are answers."""
        from starlette.requests import ClientDisconnect
        from starlette.responses import Response

        kind = handler.__name__.strip("_")

        async def answer(request):
            start, headers, status = time.perf_counter(), {}, 200
            body: Any
            content_type: str
            try:
                body, content_type, headers = await handler(request)
            except RequestRejected as error:
                status, body = _number(error), {"error": str(error)}
                if status in (429, 503):
                    headers = {"Retry-After": str(max(1, round(self.batcher.seconds / 2)))}
                if status in (408, 413):  # the rest of the body is not wanted
                    headers = {"Connection": "close"}
            except ClientDisconnect:
                status, body = 499, {"error": "Nobody waits for the answer."}
            except TimeoutError:
                status, body = 504, {"error": f"No answer within {self.limits.timeout:g} s."}
            except Exception:
                LOG.exception("a request failed")
                status, body = 500, {"error": "The server failed; its log says more."}
            if isinstance(body, dict):
                body, content_type = json.dumps(body).encode(), messages.JSON
            self.metrics.request(kind, status, time.perf_counter() - start)
            return Response(body, status, headers, content_type)

        return answer

    async def _no_such_route(self, request, error):
        from starlette.responses import JSONResponse

        known = f"/v1/models/{self.name}:predict and /v2/models/{self.name}/infer"
        message = f"{error.detail}. Received: {request.method} {request.url.path[:200]}. "
        headers = error.headers
        return JSONResponse(
            {"error": f"{message}Requests go to {known}."}, error.status_code, headers
        )

    # Small answers

    async def _page(self, request):
        from starlette.responses import HTMLResponse

        page = importlib.resources.files("keras_hourglass.serving") / "templates" / "page.html"
        return HTMLResponse(page.read_text(encoding="utf-8"), headers=_PAGE_HEADERS)

    async def _metrics(self, request):
        from starlette.responses import Response

        return Response(self.metrics.text(), media_type=self.metrics.content_type)

    async def _about(self, request):
        from starlette.responses import JSONResponse

        import keras_hourglass

        return JSONResponse(
            {
                "name": "keras_hourglass",
                "version": keras_hourglass.__version__,
                "extensions": ["binary_tensor_data"],
                "models": [self.name],
            }
        )

    async def _live(self, request):
        from starlette.responses import JSONResponse

        return JSONResponse({"live": True})

    async def _ready(self, request):
        from starlette.responses import JSONResponse

        try:
            if request.path_params:
                self._backend(request)
            ready, status = not self._stopping, 503
        except RequestRejected as error:
            ready, status = False, _number(error)
        return JSONResponse({"ready": ready, "name": self.name}, 200 if ready else status)

    async def _status(self, request):
        self._backend(request, any_version=True)
        states = sorted(self.versions.states.items(), reverse=True)
        if (version := self._version(request)) is not None:
            states = [entry for entry in states if str(entry[0]) == version]
            if not states:
                raise self._unknown_version(version)
        entries = [
            {
                "version": str(number),
                "state": state,
                "status": {
                    "error_code": "UNKNOWN" if reason else "OK",
                    "error_message": reason,
                },
            }
            for number, (state, reason) in states
        ]
        return {"model_version_status": entries}, messages.JSON, {}

    async def _metadata_v1(self, request):
        return messages.v1_metadata(self._backend(request)), messages.JSON, {}

    async def _metadata_v2(self, request):
        return messages.v2_metadata(self._backend(request)), messages.JSON, {}

    def _backend(self, request, any_version=False):
        """The backend that is meant."""
        name, backend = request.path_params["name"], self.versions.current
        if name == f"{self.name}:predict":  # a status is read there, which has no such name
            raise messages.refuse(
                "Joints are asked for by POST.",
                request.method,
                'Post {"instances": […]} there.',
                404,
            )
        if name != self.name:
            raise messages.refuse(
                f"The model of this server is {self.name}.", name[:100], "Correct the address.", 404
            )
        version = self._version(request)
        if not any_version and version is not None and version != str(backend.version):
            raise self._unknown_version(version)
        return backend

    @staticmethod
    def _version(request):
        """The version that is asked for; OpenVINO's clients say 0 for the highest."""
        version = request.path_params.get("version")
        return None if version == "0" else version

    def _unknown_version(self, version):
        current = self.versions.current.version
        return messages.refuse(
            f"The version that is served is {current}.", version[:40], "Name that or none.", 404
        )

    # Predictions

    async def _predict_v1(self, request):
        return await self._predict(request, messages.read_v1)

    async def _predict_v2(self, request):
        length = request.headers.get(messages.LENGTH_HEADER)

        def read(body, signatures, most, values):
            return messages.read_v2(body, length, signatures, self.name, most, values)

        return await self._predict(request, read)

    async def _predict(self, request, read):
        backend = self._backend(request)
        if request.headers.get("content-encoding", "identity") != "identity":
            raise messages.refuse(
                "Bodies come as they are.", "a compressed one", "Leave Content-Encoding out.", 415
            )
        loop = asyncio.get_running_loop()
        async with self._received(request) as body:
            work = loop.run_in_executor(self._pool, self._begin, backend, read, body, loop)
            call, job = await work
            del body
            outputs = await job.wait(self.limits.timeout)
            if "valid" in outputs:
                self.metrics.pictures(outputs["valid"])
            if sum(values.size for values in outputs.values()) <= _AT_ONCE:
                return call.write(outputs, backend.version)
            return await loop.run_in_executor(self._pool, call.write, outputs, backend.version)

    @contextlib.asynccontextmanager
    async def _received(self, request):
        """The body of a request, which counts as long as it is worked on."""
        most, mine = self.limits.max_request, 0
        announced = request.headers.get("content-length", "")
        too_long = messages.refuse(
            f"A request has at most {most:,} bytes.",
            announced or "more",
            "Send fewer pictures.",
            413,
        )
        if announced_length(announced) > most:
            raise too_long
        if self._bytes + self.unsent() > self.limits.max_bytes:
            raise self._busy("bytes")
        parts = []

        async def read():
            nonlocal mine
            async for part in request.stream():
                mine += len(part)
                self._bytes += len(part)
                parts.append(part)
                if mine > most:
                    raise too_long
                if self._bytes > self.limits.max_bytes:
                    raise self._busy("bytes")

        try:
            try:
                await asyncio.wait_for(read(), self.limits.timeout)
            except asyncio.TimeoutError as error:
                raise messages.refuse(
                    f"A request comes within {self.limits.timeout:g} s.",
                    f"{mine:,} bytes",
                    "Send smaller batches.",
                    408,
                ) from error
            yield b"".join(parts)
        finally:
            self._bytes -= mine

    def _busy(self, reason):
        self.metrics.refused(reason)
        return messages.refuse(
            f"At most {self.limits.max_queue} people and {self.limits.max_bytes:,} bytes wait, and "
            f"no more than are answered within {self.limits.timeout:g} s.",
            f"a request beyond that ({self.batcher.pending} people wait)",
            "Try again later.",
            429,
        )

    def _begin(self, backend, read, body, loop):
        """In a thread: read a request, have its people prepared and run."""
        limit, signatures = self.limits, backend.signatures
        # Four times what a batch of the largest input has.
        sizes = [
            math.prod(size or limit.max_batch for size in spec.shape)
            for signature in signatures.values()
            for spec in signature.inputs.values()
        ]
        values = 10_000 + 4 * max(sizes)

        def most(name):
            """Rows of arrays are large: a batch of them, else as many as may wait."""
            arrays = any(len(spec.shape) > 2 for spec in signatures[name].inputs.values())
            return limit.max_batch if arrays else limit.max_queue

        call = read(body, signatures, most, values)
        batches = signatures[call.signature].batches and call.signature in ONE_PERSON
        job = Job(backend, call.count, loop)
        try:
            self.batcher.accept(call.count)
        except Busy:
            raise self._busy("queue") from None
        if not batches:
            self.batcher.put(job, None, call.signature, (call.signature, call.inputs))
            return call, job
        boxes = call.inputs.get("boxes")
        for place, data in enumerate(call.inputs[PICTURES]):
            box = None if boxes is None else tuple(map(float, boxes[place]))
            work = (job, place, call.signature, data, box)
            header = read_header(data)
            if header is not None and header.height * header.width > _LARGE:
                self._large.submit(self._prepare, *work)
            elif call.count == 1:
                self._prepare(*work)
            else:
                self._pool.submit(self._prepare, *work)
        return call, job

    def _prepare(self, job, place, kind, data, box):
        """In a thread: the crop of one person, ready to run."""
        if job.cancelled:
            self.batcher.leave()
            return
        try:
            item = job.backend.prepare(data, box)
        except Exception as error:
            LOG.exception("a picture could not be prepared")
            self.batcher.leave()
            job.finish(error)
            return
        self.batcher.put(job, place, kind, item)


def _number(error):
    return int(error.status or 400)


def serve(
    app: Any,
    host: str = "127.0.0.1",
    port: int = 8501,
    started: Callable[[str], Any] | None = None,
) -> None:
    """Serve an application until SIGTERM or Ctrl-C; what was accepted is answered before the end.

    Args:
        app: as `create_app` makes it.
        host: address to listen on.
        port: port; 0 takes a free one.
        started: called with the address when requests are taken.

    Raises:
        UserError: if the address cannot be listened on, or a package is missing.

    Example:

    >>> serve(create_app("hourglass_tiny_lsp"), port=8501)  # doctest: +SKIP
    """
    import signal
    import socket

    _require("httptools", "uvicorn")
    import uvicorn

    from keras_hourglass.serving.connections import timed_protocol, unsent

    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=512)
    except (OSError, OverflowError) as error:
        raise UserError(
            f"An address of this machine with a free port is needed. Received: {host}:{port} "
            f"({getattr(error, 'strerror', None) or error}). Choose another --host or --port."
        ) from error
    seconds = app.state.server.limits.timeout
    config = uvicorn.Config(
        app,
        http=timed_protocol(seconds + 5),
        ws="none",
        log_level="error",
        access_log=False,
        server_header=False,
        timeout_keep_alive=15,
        timeout_graceful_shutdown=int(seconds) + 5,
    )
    server = uvicorn.Server(config)
    app.state.server.unsent = lambda: unsent(server.server_state.connections)
    app.state.stop = lambda: setattr(server, "should_exit", True)
    before = {}
    if threading.current_thread() is threading.main_thread():
        # uvicorn raises the signals again that it was stopped by; being stopped is no failure.
        for kind in (signal.SIGTERM, signal.SIGINT):
            before[kind] = signal.signal(kind, lambda *_: None)
    try:
        address = listener.getsockname()
        shown = f"[{address[0]}]" if family == socket.AF_INET6 else address[0]
        if started is not None:
            started(f"http://{shown}:{address[1]}")
        server.run(sockets=[listener])
    finally:
        listener.close()
        for kind, handler in before.items():
            signal.signal(kind, handler)
