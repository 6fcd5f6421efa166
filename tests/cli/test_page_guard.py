"""Who may talk to the demo page, and how much they may send; without Gradio."""

import asyncio
import json

import numpy as np
import pytest

from keras_hourglass.cli.page_guard import (
    MAX_REQUEST,
    MAX_UPLOAD,
    Guard,
    check_photo,
    check_video,
    said,
)
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.images import write_image

HERE = {"host": "127.0.0.1:7860"}


def status(headers, method="GET", path="/", names=(), twice=()):
    refusal = Guard(None, names).refusal(method, headers, path, twice)
    return 200 if refusal is None else refusal[0]


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:7860", 200),
        ("localhost:7860", 200),
        ("LOCALHOST", 200),
        ("page.localhost:7860", 200),
        ("[::1]:7860", 200),
        ("192.168.1.20:7860", 200),  # no name can be made to lead to it
        ("studio.example", 200),
        ("stranger.example:7860", 403),
        ("studio.example.stranger.example", 403),
        ("127.0.0.1.stranger.example", 403),
        ("localhost@stranger.example", 403),
        ("stranger.example#localhost", 403),
        ("notlocalhost", 403),
        ("", 403),
        ("[::1", 403),
    ],
)
def test_only_own_names(host, expected):
    assert status({"host": host}, names=("Studio.Example",)) == expected


def test_a_name_that_comes_twice():
    assert status(HERE, twice={"host"}) == 403
    assert status({**HERE, "origin": "http://127.0.0.1:7860"}, twice={"origin"}) == 403
    assert status({}) == 403


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ("http://127.0.0.1:7860", 200),
        ("https://127.0.0.1:7860", 200),  # behind a proxy that speaks TLS
        ("http://127.0.0.1:3000", 403),  # another program of this machine
        ("http://localhost:7860", 403),
        ("http://stranger.example", 403),
        ("http://127.0.0.1:7860.stranger.example", 403),
        ("null", 403),
        ("", 403),
    ],
)
def test_only_pages_of_its_own(origin, expected):
    assert status({**HERE, "origin": origin}, "POST") == expected


def test_an_address_without_its_usual_port():
    assert status({"host": "localhost", "origin": "http://localhost:80"}, "POST") == 200
    assert status({"host": "localhost:443", "origin": "https://localhost"}, "POST") == 200


@pytest.mark.parametrize("site", ["cross-site", "same-site"])
def test_pictures_of_the_page_on_other_pages(site):
    headers = {**HERE, "sec-fetch-site": site}
    assert status({**headers, "sec-fetch-mode": "no-cors"}) == 403
    # A link may lead here.
    assert status({**headers, "sec-fetch-mode": "navigate"}) == 200
    assert status({**headers, "sec-fetch-mode": "navigate"}, "POST") == 403
    assert status({**HERE, "sec-fetch-site": "same-origin", "sec-fetch-mode": "cors"}) == 200


def test_no_more_than_the_limit():
    upload = "/gradio_api/upload"
    for path, most in ((upload, MAX_UPLOAD), ("/gradio_api/queue/join", MAX_REQUEST)):
        assert status({**HERE, "content-length": str(most)}, "POST", path) == 200
        assert status({**HERE, "content-length": str(most + 1)}, "POST", path) == 413
        assert status({**HERE, "content-length": "9" * 5000}, "POST", path) == 413
        assert status({**HERE, "content-length": "-1"}, "POST", path) == 413
        assert status({**HERE, "content-length": f"{most + 1:040}"}, "POST", path) == 413
        assert status({**HERE, "content-length": f"{most:040}"}, "POST", path) == 200
        assert status({**HERE, "transfer-encoding": "chunked"}, "POST", path) == 411


def _answers(scope, app):
    sent = []

    async def send(message):
        sent.append(message)

    asyncio.run(Guard(app)(scope, None, send))
    return sent


async def _hello(scope, receive, send):
    start = {"type": "http.response.start", "status": 200, "headers": [(b"x-own", b"1")]}
    await send(start)
    await send({"type": "http.response.body", "body": b"hello"})


def test_what_is_refused_never_reaches_the_page():
    def never(*_):
        raise AssertionError

    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"Host", b"a.example")]}
    start, body = _answers(scope, never)
    assert start["status"] == 403
    assert "own names" in json.loads(body["body"])["error"]
    [closed] = _answers({**scope, "type": "websocket"}, never)
    assert closed == {"type": "websocket.close", "code": 1008}
    twice = [(b"host", b"localhost"), (b"Host", b"localhost")]
    assert _answers({**scope, "headers": twice}, never)[0]["status"] == 403


def test_what_passes_stays_in_the_browser():
    scope = {"type": "http", "method": "GET", "path": "/", "headers": [(b"host", b"localhost")]}
    start, body = _answers(scope, _hello)
    headers = dict(start["headers"])
    assert headers[b"x-own"] == b"1" and body["body"] == b"hello"
    assert b"default-src 'self'" in headers[b"content-security-policy"]
    assert headers[b"x-content-type-options"] == b"nosniff"


def test_files_are_looked_at_before_anybody_decodes_them(tmp_path, monkeypatch):
    small, bomb = tmp_path / "small.png", tmp_path / "bomb.png"
    write_image(small, np.zeros((7, 5, 3), np.uint8))
    assert check_photo(str(small)) == str(small)
    content = bytearray(small.read_bytes())
    content[16:24] = (30000).to_bytes(4, "big") * 2  # what the header announces
    bomb.write_bytes(content)
    with pytest.raises(DataError, match=r"at most 50,000,000 pixels. Received: bomb.png"):
        check_photo(str(bomb))
    (tmp_path / "text.png").write_text("no picture")
    with pytest.raises(DataError, match="picture"):
        check_photo(str(tmp_path / "text.png"))
    monkeypatch.setattr("keras_hourglass.cli.page_guard.MAX_UPLOAD", 2**20)
    film = tmp_path / "film.mp4"
    film.write_bytes(bytes(2**20))
    assert check_video(str(film)) == str(film)
    film.write_bytes(bytes(2 * 2**20))
    with pytest.raises(UserError, match="at most 1 MB here. Received: 2 MB"):
        check_video(str(film))


def test_what_is_said(caplog):
    assert said(UserError("A box is\nx, y, w, h.")) == "A box is x, y, w, h."
    assert said(MemoryError()).startswith("Out of memory.") and not caplog.records
    assert said(KeyError("secret")) == "KeyError: 'secret'"
    [record] = caplog.records
    assert record.getMessage() == "demo-page: KeyError: 'secret'" and record.exc_info is None
