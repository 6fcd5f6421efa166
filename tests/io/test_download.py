"""Downloads from a server on this machine: verified, whole, once, and over https only."""

import pathlib
import socket
import subprocess
import sys
import threading
import time

import pytest
from file_server import CONTENT, DIGEST

from keras_hourglass.errors import DataError, UserError, WeightsError
from keras_hourglass.io import download as fetch


def cached(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_a_file_is_fetched_once(server, tmp_path, capsys, monkeypatch):
    # A bar is for people: without a terminal its control characters would fill log files.
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    address = f"{server.address}/a.weights.h5"
    path = fetch.download(address, DIGEST, len(CONTENT))
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / "cache")
    assert "a.weights.h5: 100%" in capsys.readouterr().err
    assert fetch.download(address, DIGEST.upper()) == path
    assert server.seen == ["/a.weights.h5"]
    # Changed in the cache, it is refused, pinned or not.
    path.write_bytes(CONTENT[:-1] + b"?")
    for pinned in (DIGEST, None):
        with pytest.raises(WeightsError, match="damaged or was changed.*Delete it"):
            fetch.download(address, pinned)


@pytest.mark.parametrize(
    ("path", "sha256", "size", "reason"),
    [
        ("a.weights.h5", "0" * 64, None, "not the one that was published"),
        ("cut/a.weights.h5", DIGEST, None, "broke off: it must have 700000 bytes"),
        ("cut/a.weights.h5", None, None, "Received: 350000. Nothing was kept"),
        ("a.weights.h5", DIGEST, 699_999, "larger than it may be"),
        ("none.h5", None, None, "answers 404"),
        ("unannounced/a.weights.h5", None, 700_001, "must have 700001 bytes. Received: 700000"),
    ],
)
def test_what_is_not_whole_and_right_is_not_kept(server, tmp_path, path, sha256, size, reason):
    with pytest.raises(WeightsError, match=reason):
        fetch.download(f"{server.address}/{path}", sha256, size)
    assert [name for name in cached(tmp_path) if not name.endswith(".sha256")] == []
    assert not [path for path in tmp_path.rglob("*") if path.is_dir() and not any(path.iterdir())]
    # What failed does not stand in the way of the right file.
    assert fetch.download(f"{server.address}/a.weights.h5", DIGEST).read_bytes() == CONTENT


def test_long_names_and_signs_in_addresses(server):
    """A file's name has 255 bytes at most; its end says what it is."""
    (server.folder / f"{'a' * 200}.weights.h5").write_bytes(CONTENT)
    path = fetch.download(f"{server.address}/{'a' * 200}.weights.h5", DIGEST)
    assert path.name == "a" * 89 + ".weights.h5" and path.read_bytes() == CONTENT
    with pytest.raises(UserError, match=r"https://a/\\x0d\\x0aX: y") as caught:
        fetch.download("https://a/\r\nX: y")
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        (b"HTTP/1.1 204 No Content\r\n\r\n", "answers 204 No Content"),
        (b"HTTP/1.1 206 Part\r\nContent-Length: 2\r\n\r\n{}", "answers 206 Part"),
        (b"HTTP/1.1 304 Same\r\n\r\n", "answers 304 Same"),
        (b"HTTP/1.1 999 \x1b[31m\r\nContent-Length: 2\r\n\r\n{}", r"answers 999 \\x1b\[31m"),
        (b"HTTP/1.1 404 " + b"x" * 5000 + b"\r\n\r\n", "answers 404 xxx"),
        (b"SSH-2.0-OpenSSH\x1b[31m\r\n", r"cannot be reached .*OpenSSH\\x1b\[31m"),
        (b"\0\1\2" * 100, r"cannot be reached .*\\x00\\x01\\x02"),
        (b"", "cannot be reached"),
    ],
)
def test_answers_that_are_no_file(server, tmp_path, sent, said):
    """None is kept, and each is one line, whatever signs it has."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer():
            for _ in range(2):
                connection, _ = listener.accept()
                with connection:
                    connection.recv(2**16)
                    connection.sendall(sent)

        thread = threading.Thread(target=answer)
        thread.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/a.weights.h5"
        with pytest.raises(WeightsError, match=said) as caught:
            fetch.download(address)
        with pytest.raises(DataError, match=said):
            fetch.download_picture(address)
        thread.join()
    assert str(caught.value).isprintable() and len(str(caught.value)) < 400
    assert not list((tmp_path / "cache").rglob("*"))


def test_a_silent_server_is_named(server):
    address = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match="cannot be reached"):
        fetch.download(f"{address}/a.weights.h5")


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.h5",
        "ftp://example.org/a.h5",
        "file:///etc/hostname",
        "https:///a.h5",
        "http://127.0.0.1.example.org/a.h5",
        "https://name:password@example.org/a.h5",
    ],
)
def test_other_addresses_are_refused(server, address):
    with pytest.raises(UserError, match="https:// and hf://"):
        fetch.download(address)


def test_plain_http_needs_the_allowance(server, monkeypatch):
    monkeypatch.delenv(fetch.ALLOW_LOCAL)
    with pytest.raises(UserError, match="https:// and hf://"):
        fetch.download(f"{server.address}/a.weights.h5")


def test_redirects_stay_secure(server):
    server.target = "http://example.org/a.h5"
    with pytest.raises(UserError, match="Received: http://example.org"):
        fetch.download(f"{server.address}/to/elsewhere")
    server.target = f"{server.address}/a.weights.h5"
    assert fetch.download(f"{server.address}/to/here", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize("target", ["\xff", "http://[", "https://a\udcff/b", "http://%"])
def test_redirects_to_nowhere_are_one_line(server, tmp_path, target):
    """Libraries raise what comes to them, of letters that are none, too."""
    server.target = target
    for fetched in (
        lambda: fetch.download(f"{server.address}/to/nowhere"),
        lambda: fetch.download_picture(f"{server.address}/to/nowhere"),
    ):
        with pytest.raises(UserError) as caught:
            fetched()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 300
    assert [name for name in cached(tmp_path) if not name.endswith(".sha256")] == []


def test_no_more_is_fetched_than_the_limit(server):
    with pytest.raises(WeightsError, match="at most 699999 bytes"):
        fetch.download(f"{server.address}/a.weights.h5", limit=699_999)
    with pytest.raises(WeightsError, match="at most 699999 bytes"):
        fetch.download(f"{server.address}/packed/a.weights.h5", limit=699_999)
    assert fetch.download(f"{server.address}/a.weights.h5", limit=700_000).is_file()


def test_what_comes_with_a_redirect_is_not_read(server):
    server.target = f"{server.address}/a.weights.h5"
    assert fetch.download(f"{server.address}/to/endless", DIGEST).read_bytes() == CONTENT
    assert server.seen == ["/to/endless", "/a.weights.h5"]


def test_a_packed_answer_is_unpacked(server):
    assert fetch.download(f"{server.address}/packed/a.weights.h5", DIGEST).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("https://a..b/c.h5", "cannot be reached"),
        ("https://[::1/c.h5", "Invalid IPv6 URL"),
        ("https://localhost:1/c.h5", r"\[Errno \d+\] Connection refused"),
    ],
)
def test_addresses_that_lead_nowhere(address, reason, tmp_path):
    for fetched in (lambda: fetch.download(address, folder=tmp_path), lambda: picture(address)):
        with pytest.raises(UserError, match=reason) as caught:
            fetched()
        assert address in str(caught.value) and "\n" not in str(caught.value)


def picture(address):
    return fetch.download_picture(address)


def test_pictures_keep_the_same_rules(server, tmp_path, monkeypatch):
    assert picture(f"{server.address}/a.weights.h5") == CONTENT
    assert cached(tmp_path) == []
    server.target = "http://example.org/a.png"
    with pytest.raises(DataError, match="Received: http://example.org"):
        picture(f"{server.address}/to/elsewhere")
    for path in ("a.weights.h5", "packed/a.weights.h5", "unannounced/a.weights.h5"):
        monkeypatch.setattr(fetch, "MAX_PICTURE_BYTES", 700_000)
        assert len(picture(f"{server.address}/{path}")) == 700_000
        monkeypatch.setattr(fetch, "MAX_PICTURE_BYTES", 699_999)
        with pytest.raises(DataError, match="at most 699999 bytes"):
            picture(f"{server.address}/{path}")
    with pytest.raises(DataError, match="broke off"):
        picture(f"{server.address}/cut/a.weights.h5")
    monkeypatch.delenv(fetch.ALLOW_LOCAL)
    with pytest.raises(DataError, match=f"Set {fetch.ALLOW_LOCAL}=1"):
        picture(f"{server.address}/a.weights.h5")


@pytest.mark.slow
def test_processes_at_the_same_time_fetch_once(server, tmp_path):
    address = f"{server.address}/slow/a.weights.h5"
    code = f"""
from keras_hourglass.io import download
import pooch, requests, filelock
print("ready", flush=True)
print(download.download({address!r}))
"""
    children = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    for child in children:
        assert child.stdout.readline() == "ready\n"
    time.sleep(0.5)  # for those that would not wait for the first
    server.go_on.set()
    paths = {child.communicate(timeout=60)[0].strip() for child in children}
    assert len(paths) == 1 and pathlib.Path(paths.pop()).read_bytes() == CONTENT
    assert server.seen == ["/slow/a.weights.h5"]
    assert cached(tmp_path) == ["a.weights.h5", "a.weights.h5.sha256"]


def test_what_is_there_needs_no_library(server):
    """Nor a folder that can be written."""
    address = f"{server.address}/a.weights.h5"
    fetch.download(address).parent.chmod(0o500)
    code = f"""
import sys
from keras_hourglass.io import download
download.download({address!r})
print([name for name in ("pooch", "requests", "filelock", "tqdm") if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n" and len(server.seen) == 1


def test_hub_addresses():
    base = "https://huggingface.co/a/b.c/resolve"
    assert fetch.resolve_address("hf://a/b.c") == f"{base}/main"
    assert fetch.resolve_address("hf://a/b.c@v2/d/e.keras") == f"{base}/v2/d/e.keras"
    for address in ("hf://a", "hf://a/b/../c", "hf://a/b?x=1"):
        with pytest.raises(UserError, match="A hub address reads"):
            fetch.resolve_address(address)
