"""Files from the internet: once, whole, verified, and over https only."""

import contextlib
import hashlib
import http.client
import ipaddress
import os
import pathlib
import re
import sys
import urllib.error
import urllib.parse
import urllib.request

from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.io.files import atomic_path, atomic_write

# Set to 1, plain http is accepted for this machine itself, and for nothing else.
ALLOW_LOCAL = "KERAS_HOURGLASS_ALLOW_LOCAL_HTTP"
MAX_BYTES = 2 * 1024**3
_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 18


def cache_folder():
    """Keras's cache folder, of which downloads fill the part `keras_hourglass`."""
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_hourglass"


def is_address(source):
    """Whether a source is an address (`https://…`, `hf://…`) and no path or name."""
    return isinstance(source, str) and re.match(r"[a-z][a-z0-9+.-]*://", source) is not None


def resolve_address(address):
    """The https address behind an `hf://owner/repository[@revision][/path]` address.

    Args:
        address: `https://…`, or `hf://…` for a repository of the Hugging Face hub.

    Raises:
        UserError: if the address is of another kind, or plain http to another machine.

    Example:

    >>> resolve_address("hf://someone/poses@v1/small")
    'https://huggingface.co/someone/poses/resolve/v1/small'
    """
    if address.startswith("hf://"):
        match = re.fullmatch(r"hf://([\w.-]+)/([\w.-]+)(?:@([\w.-]+))?((?:/[\w.-]+)*)/?", address)
        if match is None or "/../" in address + "/":
            raise UserError(
                "A hub address reads hf://owner/repository[@revision][/folder]. "
                f"Received: {address}. Correct it."
            )
        owner, repository, revision, path = match.groups()
        hub = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        address = f"{hub}/{owner}/{repository}/resolve/{revision or 'main'}{path}"
    _refuse_insecure(address)
    return address


def download(address, sha256=None, size=None, folder=None):
    """A file behind an address, from the cache or downloaded into it.

    The file appears in the cache whole or not at all, and its checksum is verified at every use.

    Args:
        address: `https://…` address of one file.
        sha256: the checksum it must have, hexadecimal; `None` accepts the first download and
            holds later uses to it.
        size: the bytes it must have, if known.
        folder: cache folder; Keras's by default.

    Returns:
        The `pathlib.Path` of the cached file.

    Raises:
        UserError: if the address is not allowed.
        WeightsError: if it cannot be reached, ends early, or is not what it should be.
    """
    _refuse_insecure(address)
    place = hashlib.sha256(address.encode()).hexdigest()[:20]
    name = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1])
    name = re.sub(r"[^\w.-]", "_", name).lstrip(".") or "file"
    path = pathlib.Path(folder or cache_folder()) / place / name
    note = path.with_name(f"{path.name}.sha256")
    if path.is_file() and note.is_file():
        verify(path, sha256 or note.read_text().strip(), size)
        return path
    with atomic_path(path) as temporary:
        digest = _receive(address, temporary, size)
        if sha256 and digest != sha256.lower():
            raise WeightsError(
                f"The file behind {address} is not the one that was published: its sha256 must be "
                f"{sha256}. Received: {digest}. Nothing was kept; tell its publisher."
            )
        # First the note: a file without it counts as not downloaded.
        atomic_write(note, digest + "\n")
    return path


def sha256_of(path):
    """The sha256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def verify(path, sha256=None, size=None):
    """Refuse a file whose size or checksum is not the recorded one.

    Raises:
        WeightsError: naming the file, what is recorded and what was found.
    """
    found = os.path.getsize(path)
    if size is not None and found != size:
        raise WeightsError(
            f"{path} is damaged: it must have {size} bytes. Received: {found}. "
            "Delete it and fetch or install it again."
        )
    if sha256 and (digest := sha256_of(path)) != sha256.lower():
        raise WeightsError(
            f"{path} is damaged or was changed: its sha256 must be {sha256}. Received: {digest}. "
            "Delete it and fetch or install it again."
        )


def _refuse_insecure(address):
    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "https" and parts.hostname:
        return
    if parts.scheme == "http" and os.environ.get(ALLOW_LOCAL) == "1" and _is_local(parts.hostname):
        return
    raise UserError(
        f"Files are fetched from https:// and hf:// addresses only. Received: {address}. "
        "Use such an address, or download the file yourself and give its path."
    )


def _is_local(host):
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host or "").is_loopback
    return host == "localhost"


class _SecureRedirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects, but never out of https."""

    def redirect_request(self, request, file, code, message, headers, address):
        _refuse_insecure(address)
        return super().redirect_request(request, file, code, message, headers, address)


def _receive(address, path, size):
    """Stream an address into a file; returns the sha256 of what came."""
    from tqdm import tqdm

    request = urllib.request.Request(address, headers={"User-Agent": "keras-hourglass"})
    digest, count = hashlib.sha256(), 0
    try:
        with (
            urllib.request.build_opener(_SecureRedirects).open(request, timeout=_TIMEOUT) as reply,
            open(path, "wb") as file,
        ):
            announced = reply.headers.get("Content-Length")
            total = int(announced) if announced and announced.isdigit() else size
            name = urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1]
            with tqdm(total=total, unit="B", unit_scale=True, desc=name, file=sys.stderr) as bar:
                while chunk := reply.read(_CHUNK):
                    count += len(chunk)
                    if count > (size or MAX_BYTES):
                        raise WeightsError(
                            f"{address} is larger than it may be: at most {size or MAX_BYTES} "
                            f"bytes. Received: {count} and more. Nothing was kept."
                        )
                    file.write(chunk)
                    digest.update(chunk)
                    bar.update(len(chunk))
    except urllib.error.HTTPError as error:
        raise WeightsError(
            f"{address} answers {error.code} {error.reason}. Check the address."
        ) from None
    except (
        urllib.error.URLError,
        http.client.HTTPException,
        TimeoutError,
        ConnectionError,
    ) as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"{address} cannot be reached ({reason}). Check the connection and try again."
        ) from None
    expected = size if size is not None else total
    if expected is not None and count != expected:
        raise WeightsError(
            f"The download of {address} broke off: it must have {expected} bytes. "
            f"Received: {count}. Nothing was kept; try again."
        )
    return digest.hexdigest()
