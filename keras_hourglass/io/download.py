"""Files from the internet: once, whole, verified, and over https only.

The rules on addresses and sizes are the same for weights, presets and pictures. pooch fetches; what
its own cache does otherwise is done here: a file has its name only when it is whole and on the disk
(pooch's unfinished ones have ordinary names), and one that was changed is refused, not replaced.
"""

import contextlib
import hashlib
import io
import ipaddress
import os
import pathlib
import re
import sys
import urllib.parse

from keras_hourglass.errors import DataError, UserError, WeightsError, printable
from keras_hourglass.io.files import atomic_path, atomic_write, folder_for
from keras_hourglass.io.structured import one_line

# Set to 1, plain http is accepted for this machine itself, and for nothing else.
ALLOW_LOCAL = "KERAS_HOURGLASS_ALLOW_LOCAL_HTTP"
MAX_BYTES = 2 * 1024**3  # of a file
MAX_PICTURE_BYTES = 100 * 1024**2  # of one that is held in memory
_TIMEOUT = 30  # seconds without a byte
_CHUNK = 1 << 18


def cache_folder():
    """Keras's cache folder, of which downloads fill the part `keras_hourglass`."""
    home = os.environ.get("KERAS_HOME") or pathlib.Path.home() / ".keras"
    return pathlib.Path(home) / "keras_hourglass"


def is_address(source):
    """Whether a source is an address (`https://…`, `hf://…`) and no path or name."""
    return isinstance(source, str) and re.match(r"(?i)[a-z][a-z0-9+.-]*://", source) is not None


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


def download(address, sha256=None, size=None, folder=None, limit=MAX_BYTES):
    """A file behind an address, from the cache or downloaded into it.

    The file appears in the cache whole or not at all, and its checksum is verified at every use.

    Args:
        address: `https://…` address of one file.
        sha256: the checksum it must have, hexadecimal; `None` accepts the first download and
            holds later uses to it.
        size: the bytes it must have, if known.
        folder: cache folder; Keras's by default.
        limit: the most bytes it may have where `size` is not known.

    Returns:
        The `pathlib.Path` of the cached file.

    Raises:
        UserError: if the address is not allowed.
        WeightsError: if it cannot be reached, ends early, or is not what it should be.
    """
    _refuse_insecure(address)
    place = hashlib.sha256(address.encode()).hexdigest()[:20]
    name = urllib.parse.unquote(urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1])
    # Its end tells the kind; the whole may be longer than a file's name can be.
    name = re.sub(r"[^A-Za-z0-9_.-]", "_", name)[-100:].lstrip(".") or "file"
    path = pathlib.Path(folder or cache_folder()) / place / name
    note = path.with_name(f"{path.name}.sha256")
    if not _is_there(path, note):
        with folder_for(path.parent), _alone(path):
            if not _is_there(path, note):
                _fill(path, note, address, sha256, size, limit)
                return path
    verify(path, sha256 or note.read_text().strip(), size)
    return path


def download_picture(address):
    """The bytes of a picture behind an address, which are not kept on the disk.

    Args:
        address: `https://…` or `hf://…`.

    Returns:
        `bytes`.

    Raises:
        DataError: if the address is not allowed, cannot be reached, or holds over 100 MB.
    """
    buffer = io.BytesIO()
    try:
        _receive(resolve_address(address), buffer, limit=MAX_PICTURE_BYTES, quiet=True)
    except UserError as error:
        raise DataError(str(error)) from None
    return buffer.getvalue()


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
    try:
        parts = urllib.parse.urlsplit(address)
    except ValueError as error:
        raise UserError(f"{error}. Received: {address}. Correct the address.") from None
    local = parts.scheme == "http" and _is_local(parts.hostname)
    secure = parts.scheme == "https" or (local and os.environ.get(ALLOW_LOCAL) == "1")
    if secure and parts.hostname and "@" not in parts.netloc and address.isprintable():
        return
    remedy = (
        f"Set {ALLOW_LOCAL}=1 for a server on this machine."
        if local
        else "Use such an address, or download the file yourself and give its path."
    )
    raise UserError(
        "Files are fetched over https only, from https:// and hf:// addresses without a password. "
        f"Received: {one_line(printable(address), 300)}. {remedy}"
    )


def _is_local(host):
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host or "").is_loopback
    return host == "localhost"


def _is_there(path, note):
    """Whether a file is in the cache; without the note of its checksum it does not count."""
    return path.is_file() and note.is_file()


@contextlib.contextmanager
def _alone(path):
    """Let one process at a time fetch a file; others wait and find it."""
    import filelock

    place = path.with_name(f".{path.name[:80]}.lock")
    with contextlib.ExitStack() as stack:
        # Where the file system knows no locks, several may fetch it; each puts it there whole.
        with contextlib.suppress(OSError, NotImplementedError):
            stack.enter_context(filelock.FileLock(place))
        try:
            yield
        finally:
            place.unlink(missing_ok=True)


def _fill(path, note, address, sha256, size, limit):
    """Fetch a file into the cache."""
    with atomic_path(path) as temporary:
        with open(temporary, "wb") as file:
            digest = _receive(address, file, size, limit)
        if sha256 and digest != sha256.lower():
            raise WeightsError(
                f"The file behind {address} is not the one that was published: its sha256 must be "
                f"{sha256}. Received: {digest}. Nothing was kept; tell its publisher."
            )
        # First the note: a file without it counts as not downloaded.
        atomic_write(note, digest + "\n")


class _Receiver:
    """What an answer is written to: a file that is counted, hashed and kept within a limit."""

    def __init__(self, file, address, limit, bar):
        self.file, self.address, self.limit, self.bar = file, address, limit, bar
        self.digest, self.count, self.answers = hashlib.sha256(), 0, []

    def listen(self, response, *_, **__):
        """Look at an answer before its redirection is followed or its content is read."""
        self.answers.append(response)
        if response.is_redirect:
            _refuse_insecure(urllib.parse.urljoin(response.url, response.headers["location"]))
            response.close()  # requests would read whatever comes with it
        elif response.ok and response.status_code != 200:  # a part of it, nothing, or a remark
            raise _no_file(self.address, response)
        self.bar.total = self.announced() or self.bar.total

    def announced(self):
        """The bytes that the server says will come; `None` if it does not, or packs them."""
        headers = self.answers[-1].headers if self.answers else {}
        length = headers.get("Content-Length", "")
        packed = headers.get("Content-Encoding", "identity") != "identity"
        return int(length) if length.isdigit() and not packed else None

    def write(self, chunk):
        self.count += len(chunk)
        if self.count > self.limit:
            raise WeightsError(
                f"{self.address} is larger than it may be: at most {self.limit} bytes. "
                f"Received: {self.count} and more. Nothing was kept."
            )
        self.file.write(chunk)
        self.digest.update(chunk)
        self.bar.update(len(chunk))

    def flush(self):
        """Done by the file itself; pooch asks for it after every piece."""


def _no_file(address, answer):
    said = one_line(printable(f"{answer.status_code} {answer.reason}"), 80)
    return WeightsError(f"{address} answers {said}. Check the address.")


def _receive(address, file, size=None, limit=MAX_BYTES, quiet=False):
    """Stream an address into a file; returns the sha256 of what came."""
    import pooch
    import requests
    import urllib3
    from tqdm import tqdm

    name = urllib.parse.urlsplit(address).path.rsplit("/", 1)[-1]
    with (
        tqdm(
            total=size,
            unit="B",
            unit_scale=True,
            desc=name,
            file=sys.stderr,
            disable=True if quiet else None,  # nothing either where it is no terminal
        ) as bar,
        contextlib.ExitStack() as answers,
    ):
        receiver = _Receiver(file, address, size or limit, bar)
        fetch = pooch.HTTPDownloader(
            chunk_size=_CHUNK,
            timeout=_TIMEOUT,
            headers={"User-Agent": "keras-hourglass", "Accept-Encoding": "identity"},
            hooks={"response": receiver.listen},
        )
        answers.callback(lambda: [answer.close() for answer in receiver.answers])
        try:
            fetch(address, receiver, None)
        except requests.HTTPError as error:
            raise _no_file(address, error.response) from None
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            cause = _cause(error)
            if isinstance(partial := getattr(cause, "partial", None), int):
                receiver.count = partial  # with what came of the last piece
            if not receiver.count or receiver.announced() is None:
                # Of no HTTP it is what came instead.
                reason = one_line(printable(str(cause).strip()))
                raise WeightsError(
                    f"{address} cannot be reached ({reason}). Check the connection and try again."
                ) from None
        except UserError:
            raise
        except ValueError as error:  # of an address or a header that is none
            raise WeightsError(
                f"{address} gives no answer ({one_line(error, 80)}). Check the address."
            ) from None
    expected = size if size is not None else receiver.announced()
    if expected is not None and receiver.count != expected:
        raise WeightsError(
            f"The download of {address} broke off: it must have {expected} bytes. "
            f"Received: {receiver.count}. Nothing was kept; try again."
        )
    return receiver.digest.hexdigest()


def _cause(error):
    """The innermost of the errors that requests and urllib3 wrap around each other."""
    inner = error.__cause__ or next((a for a in error.args if isinstance(a, Exception)), None)
    return error if inner is None else _cause(inner)
