"""Who may talk to the demo page, how much they may send, and what becomes of what fails.

A page on this machine can be reached by every other page that its user visits: a stranger's page
may post forms to it, and a stranger's name may be made to lead here (DNS rebinding). So each
request names the host it means and the page it comes from, and both are checked.
"""

import contextlib
import ipaddress
import json
import logging
import os
import sys
import urllib.parse

from keras_hourglass.errors import UserError

# Bytes of an upload, and of any other request: those hold numbers and names.
MAX_UPLOAD, MAX_REQUEST = 200 * 2**20, 2**20
# What a page may load: from here alone. Gradio's own page has scripts within it.
_POLICY = (
    "default-src 'self' data: blob:; script-src 'self' 'unsafe-inline' 'unsafe-eval' blob:; "
    "style-src 'self' 'unsafe-inline'; frame-ancestors 'self'"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "referrer-policy": "same-origin",
    "x-content-type-options": "nosniff",
}
_LOG = logging.getLogger("keras_hourglass")


class Guard:
    """An ASGI application around another: refuses what does not come from its own page.

    Args:
        app: the application behind.
        names: host names that lead here, beside `localhost` and addresses of digits, which nobody
            can make lead elsewhere.

    Example:

    >>> guard = Guard(None, names=("studio.example",))
    >>> guard.refusal("POST", {"host": "studio.example", "content-length": "2"}) is None
    True
    >>> guard.refusal("GET", {"host": "stranger.example"})[0]
    403
    """

    def __init__(self, app, names=()):
        self._app = app
        self._names = {"localhost", *(name.lower() for name in names)}

    async def __call__(self, scope, receive, send):
        """Pass a request on, or answer it with one line."""
        if scope["type"] not in ("http", "websocket"):
            return await self._app(scope, receive, send)
        headers, twice = {}, set()
        for name, value in scope["headers"]:
            name = name.decode("latin-1").lower()
            twice |= {name} & headers.keys()
            headers[name] = value.decode("latin-1")
        method = scope.get("method", "GET")
        refusal = self.refusal(method, headers, scope.get("path", ""), twice)
        if refusal is None:
            return await self._app(scope, receive, _with_headers(send))
        if scope["type"] == "websocket":
            return await send({"type": "websocket.close", "code": 1008})
        status, reason = refusal
        body = json.dumps({"error": reason, "detail": reason}).encode()
        kind = [(b"content-type", b"application/json"), (b"connection", b"close")]
        await send({"type": "http.response.start", "status": status, "headers": kind})
        await send({"type": "http.response.body", "body": body})

    def refusal(self, method, headers, path="", twice=()):
        """Status and reason, or `None` for a request that may pass.

        Args:
            method: of HTTP.
            headers: dict of lower-case names.
            path: what is asked for.
            twice: names of headers that came more than once.
        """
        host = headers.get("host", "")
        if "host" in twice or not self._known(host):
            return 403, (
                "This page answers to its own names only. Received: "
                f"{_shown(host)}. Use its address, or start it with --allow-host NAME."
            )
        origin = headers.get("origin")
        if "origin" in twice or (origin is not None and not _same(origin, host)):
            return 403, (
                "This page answers to itself only. Received: a request of "
                f"{_shown(origin)}. Open it in a window of its own."
            )
        site = headers.get("sec-fetch-site", "none")
        visits = method == "GET" and headers.get("sec-fetch-mode") == "navigate"
        if site not in ("none", "same-origin") and not visits:
            return 403, f"This page answers to itself only. Received: a {_shown(site)} request."
        return _too_much(headers, MAX_UPLOAD if path.endswith("/upload") else MAX_REQUEST)

    def _known(self, host):
        name = _name(host)
        if name in self._names or name.endswith(".localhost"):
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


def _too_much(headers, most):
    """What is wrong with the announced length of a request's body, or `None`."""
    from keras_hourglass.io.structured import announced_length  # as in `_one_line`

    if "transfer-encoding" in headers:
        return 411, "A request says how long it is. Received: one in pieces. Send its length."
    length = headers.get("content-length", "0")
    if not (length.isascii() and length.isdigit()) or announced_length(length) > most:
        return 413, (
            f"At most {most // 2**20} MB are taken at once. Received: {_shown(length)} bytes. "
            "Choose a smaller file."
        )
    return None


def _name(host):
    """The name or address in a `Host` header, without its port; empty where it is none."""
    try:
        return (urllib.parse.urlsplit(f"//{host}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same(origin, host):
    """Whether an `Origin` is the page that a `Host` names."""
    scheme, _, place = origin.lower().partition("://")
    port = {"http": ":80", "https": ":443"}.get(scheme)
    return port is not None and place.removesuffix(port) == host.lower().removesuffix(port)


def _shown(text):
    """A stranger's word in a message."""
    return repr(str(text)[:80])


def _with_headers(send):
    """Responses with headers that keep the browser at this page."""

    async def with_headers(message):
        if message["type"] == "http.response.start":
            there = {name.lower() for name, _ in message.get("headers", ())}
            added = [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            extra = [pair for pair in added if pair[0] not in there]
            message = {**message, "headers": [*message.get("headers", ()), *extra]}
        await send(message)

    return with_headers


def check_photo(path):
    """Refuse a file that is no picture or unpacks to too much, by its header alone.

    Args:
        path: of an upload.

    Returns:
        The path.

    Raises:
        DataError: if it may not be decoded.
    """
    from keras_hourglass.io.images import check_pixels, image_size

    name = os.path.basename(path)
    check_pixels(image_size(path, name), name=name)
    return path


def check_video(path):
    """Refuse a file that is too large for a video of this page.

    Args:
        path: of an upload.

    Returns:
        The path.

    Raises:
        UserError: if it has more bytes than an upload may have.
    """
    size = os.stat(path).st_size
    if size > MAX_UPLOAD:
        raise UserError(
            f"Videos have at most {MAX_UPLOAD >> 20} MB here. Received: {size >> 20} MB. Cut it, "
            "or use: keras-hourglass predict FILE."
        )
    return path


def guard_input(component, check=None):
    """Let a component of Gradio take only what is right, and say in one line what is not.

    Gradio's own components decode and convert uploads before anybody can look at them, and their
    errors end as tracebacks in the terminal. A component with a `check` takes files and nothing is
    done to them.

    Args:
        component: a `gradio` component.
        check: called with the path of an uploaded file, which it returns or refuses.

    Returns:
        The component.
    """
    import gradio

    own = component.preprocess

    def preprocess(payload):
        try:
            if check is None:
                return own(payload)
            if payload is None:
                return None
            if not payload.path or not os.path.isfile(payload.path):
                raise UserError("A file is uploaded to this page. Received: none. Choose one.")
            return check(str(payload.path))
        except Exception as error:
            raise gradio.Error(said(error), duration=None, print_exception=False) from error

    component.preprocess = preprocess
    return component


def _one_line(error, limit):
    # Loads NumPy, which `--help` does without.
    from keras_hourglass.io.structured import one_line

    return one_line(error, limit)


def said(error):
    """What the person at the page is told of an error; of mistakes here, the terminal as well.

    Args:
        error: any exception.

    Returns:
        One line.

    Example:

    >>> said(UserError("A box is x, y, w, h. Received: 'left'."))
    "A box is x, y, w, h. Received: 'left'."
    """
    text = _one_line(getattr(error, "message", None) or error, 400)
    # Gradio's own words about a value that is none of those to choose from.
    if isinstance(error, UserError) or type(error).__name__ == "Error":
        return text
    if isinstance(error, MemoryError):
        return "Out of memory. Choose a smaller file or a smaller model."
    _LOG.warning("demo-page: %s: %s", type(error).__name__, text)
    return f"{type(error).__name__}: {text}"


class _OneLine(logging.Filter):
    """Takes the traceback from records of the web server."""

    def filter(self, record):
        if record.exc_info and record.exc_info[1] is not None:
            error = record.exc_info[1]
            record.msg = "demo-page: %s: %s"
            record.args = type(error).__name__, _one_line(error, 300)
            record.exc_info = record.exc_text = None
        return True


class _Lines:
    """Stands for the module `traceback` within Gradio, which prints what strangers cause."""

    def __init__(self, module):
        self._module = module

    def __getattr__(self, name):
        return getattr(self._module, name)

    def print_exc(self, *args, **kwargs):
        error = sys.exc_info()[1]
        _LOG.warning("demo-page: %s: %s", type(error).__name__, _one_line(error, 300))


@contextlib.contextmanager
def errors_in_one_line():
    """What requests make Gradio and its server stumble over is a line in the terminal.

    The person at the page is told anyway; tracebacks of strangers' mistakes help nobody.
    """
    import gradio.queueing
    import gradio.routes

    modules = [m for m in (gradio.queueing, gradio.routes) if hasattr(m, "traceback")]
    before = [module.traceback for module in modules]
    server, line = logging.getLogger("uvicorn.error"), _OneLine()
    try:
        for module, own in zip(modules, before, strict=True):
            module.traceback = _Lines(own)
        server.addFilter(line)
        yield
    finally:
        server.removeFilter(line)
        for module, own in zip(modules, before, strict=True):
            module.traceback = own
