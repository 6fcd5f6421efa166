"""What the client does between its requests, without a server and without TensorFlow."""

import contextlib
import itertools
import socket
import subprocess
import sys
import threading
import time
import tracemalloc

import numpy as np
import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.io.images import encode_image
from keras_hourglass.serving import (
    Client,
    RequestRejected,
    RequestTimeout,
    ServerUnavailable,
    ServingError,
    transports,
)
from keras_hourglass.serving.transports import KServeTransport, RestTransport

CROPS = np.zeros((1, 8, 8, 3))


class Transport:
    """Fails with the errors it is given, then answers."""

    def __init__(self, *errors):
        self.errors, self.timeouts = list(errors), []

    def predict(self, signature, inputs, timeout):
        self.timeouts.append(timeout)
        if self.errors:
            raise self.errors.pop(0)
        return {"stack_1": np.ones((1, 2, 2, 3))}

    def close(self):
        pass


@pytest.fixture
def pauses(monkeypatch):
    """The waiting times, which pass at once."""
    slept = []
    monkeypatch.setattr(time, "sleep", slept.append)
    return slept


def connect(transport, **options):
    client = Client("http://localhost:1", "rest", **options)
    client.close()
    client._transport = transport
    return client


def test_waiting_times_double_and_half_of_them_is_drawn(pauses):
    away = [ServerUnavailable("away") for _ in range(4)]
    client = connect(Transport(*away), backoff=0.4, retries=4)
    assert client.heatmaps(CROPS)["stack_1"].shape == (1, 2, 2, 3)
    assert len(pauses) == 4
    for pause, least in zip(pauses, (0.2, 0.4, 0.8, 1.6), strict=True):
        assert least <= pause <= 2 * least
    # Drawn, so not the same for two clients.
    assert (
        len(
            {
                round(pause / least, 6)
                for pause, least in zip(pauses, (0.2, 0.4, 0.8, 1.6), strict=True)
            }
        )
        > 1
    )


def test_the_last_error_is_told_after_all_retries(pauses):
    transport = Transport(*(ServerUnavailable(f"away {number}") for number in range(9)))
    with pytest.raises(ServerUnavailable, match="away 2"):
        connect(transport, retries=2).heatmaps(CROPS)
    assert len(transport.timeouts) == 3 and len(pauses) == 2


def test_nobody_waits_past_the_timeout(pauses):
    transport = Transport(ServerUnavailable("away"))
    with pytest.raises(ServerUnavailable, match="away"):
        connect(transport, backoff=100, timeout=5).heatmaps(CROPS)
    assert pauses == [] and 4 < transport.timeouts[0] <= 5


def test_a_refusal_is_final(pauses):
    transport = Transport(RequestRejected("no"))
    with pytest.raises(RequestRejected):
        connect(transport).heatmaps(CROPS)
    assert len(transport.timeouts) == 1 and pauses == []


def test_a_closed_client_says_so():
    with Client("http://localhost:1", "rest") as client:
        pass
    client.close()
    for ask in (lambda: client.heatmaps(CROPS), client.status):
        with pytest.raises(UserError, match="until it is closed"):
            ask()


@pytest.mark.parametrize(
    "url", ["localhost:8501", "http://", "http://[::1", "http://a:99999", "http://a:b", "ftp://a"]
)
def test_addresses_of_servers(url):
    with pytest.raises(UserError, match="address is http://host:port"):
        RestTransport(url, "pose")


def test_addresses_of_rest_are_none_of_grpc():
    with pytest.raises(UserError, match=r"host:port, .* Received: 'http://localhost:8501'"):
        Client("http://localhost:8501")


def test_neither_proxies_nor_passwords_of_the_machine_are_used(monkeypatch):
    with socket.create_server(("localhost", 0)) as proxy:  # takes connections, answers nothing
        monkeypatch.setenv("HTTP_PROXY", f"http://localhost:{proxy.getsockname()[1]}")
        with pytest.raises(ServerUnavailable, match=r"ConnectError .* from localhost:1\."):
            RestTransport("http://me:secret@localhost:1/prefix/", "pose").status(1)


def test_the_client_needs_neither_tensorflow_nor_keras():
    code = """
import sys, keras_hourglass.serving as serving
print([name for name in ("numpy", "cv2", "httpx", "tenacity") if name in sys.modules])
serving.Client("http://localhost:1", "rest").close()
print([name for name in ("tensorflow", "keras", "grpc") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


class _Answers:
    """Gives a document for metadata and rows for pictures, as REST's parser hands them on."""

    def __init__(self, document, rows=None):
        self.document, self.rows = document, rows

    def predict(self, signature, inputs, timeout):
        if signature == "metadata":
            return {"": np.array([self.document], dtype=object)}
        return self.rows

    def status(self, timeout):
        return {int(entry["version"]): entry["state"] for entry in [{"version": "x"}]}


_GOOD = '{"skeleton": null, "joints": ["a", "b"], "thresholds": {}}'


@pytest.mark.parametrize(
    ("document", "rows"),
    [
        ("[" * 5000, None),
        ("[]", None),
        ("{", None),
        (b"\xff\xfe\x00", None),
        ('{"joints": 5, "skeleton": null}', None),
        ('{"joints": ["a"], "joints": ["b"]}', None),
        ('{"skeleton": [1, [2]], "joints": []}', None),
        ('{"skeleton": null, "joints": ["a", "b"], "thresholds": [3]}', None),
        (_GOOD, {"keypoints": [["x"]], "scores": [[1]], "present": [[True]]}),
        (_GOOD, {"keypoints": [[[1, 2]]], "scores": [["y", {}]], "present": [[True]]}),
        (_GOOD, {"keypoints": 7, "scores": 7, "present": 7}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1]], "present": ["false"]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1]], "present": [["false", "true"]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1]], "present": [[True, "false"]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1]], "present": [[1, 2]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1]], "present": [[True, None]]}),
        (_GOOD, {"keypoints": [[[1e300, 2]] * 2], "scores": [[1, 1]], "present": [[True, True]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1e30]], "present": [[True, True]]}),
        (_GOOD, {"keypoints": [[["1", "2"]] * 2], "scores": [[1, 1]], "present": [[True, True]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 3], "scores": [[1, 1]], "present": [[True, True]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2] * 2, "scores": [[1, 1]], "present": [[True, True]]}),
        (_GOOD, {"keypoints": [[[1, 2]] * 2], "scores": [[1, 1]]}),
        (_GOOD, {}),
        (_GOOD, None),
    ],
)
def test_whatever_a_server_answers_is_understood_or_refused_in_one_line(document, rows):
    client = connect(_Answers(document, rows))
    picture = encode_image(np.zeros((6, 5, 3), np.uint8), ".png")
    with pytest.raises(UserError) as caught:
        client.predict(picture)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300
    with pytest.raises(ServingError, match="localhost:1.*invalid literal"):
        client.status()


@pytest.mark.parametrize("versions", ["123", 123, {"1": 2}, [1.5], [True], ["x"], [["1"]], "", 0])
def test_versions_that_are_no_list_of_numbers(monkeypatch, versions):
    transport = KServeTransport("http://localhost:1", "pose")
    monkeypatch.setattr(transport, "_request", lambda *_: {"versions": versions})
    with pytest.raises(ServingError, match="list of numbers"):
        transport.status(1.0)


@pytest.mark.parametrize(("said", "numbers"), [(["123", "7"], [123, 7]), ([], [1]), (None, [1])])
def test_versions_that_a_server_says(monkeypatch, said, numbers):
    transport = KServeTransport("http://localhost:1", "pose")
    monkeypatch.setattr(transport, "_request", lambda *_: {"versions": said})
    assert transport.status(1.0) == dict.fromkeys(numbers, "AVAILABLE")


@pytest.mark.parametrize(
    "content", [b"[" * 10_000, b"\xff", b"5", b'{"a": 1, "a": 2}', b"9" * 5000]
)
def test_answers_of_rest_that_are_no_object(content):
    transport = RestTransport("http://localhost:1", "pose")
    with pytest.raises(ServingError, match="HTTP 200") as caught:
        transport._parse(200, content, {})
    assert len(str(caught.value)) < 300


def test_joints_that_a_server_could_not_find_are_no_mistake():
    rows = {"keypoints": [[[1, 2], [None, 3]]], "scores": [[1, None]], "present": [[1, False]]}
    [pose] = connect(_Answers(_GOOD, rows)).predict(
        encode_image(np.zeros((6, 5, 3), np.uint8), ".png")
    )
    np.testing.assert_array_equal(pose.keypoints, [[1, 2], [np.nan, 3]])
    assert pose.present.tolist() == [True, False]


class _Server:
    """Sends the same to everybody: bytes once, and others as long as somebody listens."""

    def __init__(self, once, forever=b"", pause=0.0):
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._sent = once, forever, pause
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        once, forever, pause = self._sent
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                with connection, contextlib.suppress(OSError):
                    connection.recv(2**16)
                    connection.sendall(once)
                    while forever:
                        connection.sendall(forever)
                        time.sleep(pause)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._listener.close()


@pytest.mark.parametrize(
    ("once", "forever", "pause"),
    [
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, 0.0),
        (b"HTTP/1.1 200 OK\r\nA: ", b"a", 0.01),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n", b" ", 0.01),
        (b"HTTP/1.1 200 OK\r\n\r\n{", b" ", 0.01),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n", 0.01),
    ],
    ids=["remarks", "headers", "a body", "a body of any length", "a body in pieces"],
)
def test_no_server_outlasts_the_time(once, forever, pause):
    """Each piece comes in time, the answer never."""
    with _Server(once, forever, pause) as server:
        client = Client(server.address, "rest", timeout=0.3, retries=0)
        start = time.monotonic()
        with pytest.raises(RequestTimeout, match="within 0.3 s"):
            client.status()
        assert time.monotonic() - start < 3


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (b"301 Moved\r\nLocation: file:///etc/passwd", "HTTP 301: nothing"),
        (b"302 Found\r\nLocation: http://127.0.0.1:1/", "HTTP 302: nothing"),
        (b"204 No Content", "HTTP 204: nothing"),
        (b"999 What", "HTTP 999: nothing"),
        (b"200 OK\r\nContent-Encoding: gzip", "HTTP 200: nothing"),
    ],
)
def test_other_servers_are_not_followed_and_said(head, said):
    with _Server(b"HTTP/1.1 " + head + b"\r\nContent-Length: 0\r\n\r\n") as server:
        client = Client(server.address, "rest", timeout=5, retries=0)
        with pytest.raises(ServingError, match=said):
            client.status()


def test_words_of_a_server_command_no_terminal():
    transport = RestTransport("http://localhost:1", "pose")
    with pytest.raises(RequestRejected, match=r"HTTP 400: \\x1b\[31mred\\x07$"):
        transport._parse(400, b'{"error": "\\u001b[31mred\\u0007\\n"}', {})


def test_answers_of_too_many_values_are_not_unpacked():
    transport = RestTransport("http://localhost:1", "pose")
    # 51 MB that are 1.2 GB as Python's lists.
    content = b'{"outputs": [' + b"[]," * (2**24 + 1) + b"[]]}"
    tracemalloc.start()
    with pytest.raises(ServingError, match=r"at most 16,777,216 values. Received: 16,777,217"):
        transport._parse(200, content, {})
    for content, said in (
        (b'{"outputs": ' + b"[" * (2**23 + 1), "8,388,608 lists. Received: 8,388,609"),
        (b'{"a":1}' * 10_001, "10,000 objects. Received: 10,001"),
    ):
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        with pytest.raises(ServingError, match=said):
            transport._parse(200, content, {})
        assert tracemalloc.get_traced_memory()[1] - before < 2**20
    tracemalloc.stop()


def test_answers_without_end_are_not_kept(monkeypatch):
    class Endless:
        def iter_raw(self):
            return itertools.repeat(bytes(1000))

    monkeypatch.setattr(transports, "MAX_ANSWER", 5_000)
    assert len(transports._read(Endless(), transports._TimeLeft(2.0))) == 6_000
