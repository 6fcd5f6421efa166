"""A server of files on this machine, some of which it serves badly."""

import contextlib
import gzip
import hashlib
import http.server
import re
import threading

import numpy as np
import pytest

from keras_hourglass.io import download

CONTENT = np.random.default_rng(2).bytes(700_000)
DIGEST = hashlib.sha256(CONTENT).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves the files of the test's folder, and some misbehaviour by name."""

    def do_GET(self):  # noqa: N802
        self.server.seen.append(self.path)
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.server.target)
            self.end_headers()
            if self.path == "/to/endless":
                with contextlib.suppress(ConnectionError):
                    for _ in range(10_000):
                        self.wfile.write(bytes(100_000))
                    self.server.seen.append("all of it was read")
            return
        name = re.sub("cut/|slow/|packed/|unannounced/", "", self.path.lstrip("/"))
        path = self.server.folder / name
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        self.send_response(200)
        if "packed/" in self.path:  # though nobody asked for it
            content = gzip.compress(content)
            self.send_header("Content-Encoding", "gzip")
        if "unannounced/" not in self.path:
            self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        half = len(content) // 2
        self.wfile.write(content[:half])
        if "slow/" in self.path:
            self.server.go_on.wait(60)
        if "cut/" not in self.path:
            with contextlib.suppress(ConnectionError):  # whoever waited may be gone
                self.wfile.write(content[half:])

    def log_message(self, *arguments):
        pass


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv(download.ALLOW_LOCAL, "1")
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.folder, server.seen, server.target = tmp_path / "served", [], ""
    server.go_on = threading.Event()
    server.folder.mkdir()
    (server.folder / "a.weights.h5").write_bytes(CONTENT)
    server.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
