"""The versions of a served model: the highest whole one of a folder, watched while it is served."""

import hashlib
import logging
import os
import pathlib
import threading
from typing import Any

from keras_hourglass.errors import UserError
from keras_hourglass.io.structured import read_json
from keras_hourglass.serving.backends import METADATA

LOG = logging.getLogger("keras_hourglass")


class OneVersion:
    """A model that does not change while it is served.

    Args:
        backend: what answers.
    """

    def __init__(self, backend):
        self.current = backend
        self.states = {backend.version: ("AVAILABLE", "")}

    def stop(self):
        """Nothing is watched."""


class VersionFolder:
    """The highest whole version of a folder, and the next one when it is there.

    A version is whole when every file that its `assets.extra/metadata.json` names has the checksum
    that stands there, so one that is still being copied waits. One that is whole but cannot be
    loaded is told of, and the one before goes on being served.

    Args:
        folder: `served/pose`, whose subfolders are numbers.
        load: from a version's folder to its backend; may raise `UserError`.
        poll: seconds between two looks.

    Raises:
        UserError: if no version of the folder can be served.
    """

    def __init__(self, folder, load, poll=1.0):
        self.folder, self._load, self._poll = pathlib.Path(folder), load, poll
        self.current: Any = None
        self._refused: dict[int, tuple] = {}
        self.states: dict[int, tuple[str, str]] = {}
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="versions", daemon=True)
        self.look()
        if self.current is None:
            reasons = [f"{number}: {said}" for number, (_, said) in sorted(self.states.items())]
            raise UserError(
                f"A folder of exported versions is needed. Received: {folder}, of which none can "
                f"be served ({'; '.join(reasons) or 'it has no numbered folder'}). "
                "Export a model into it."
            )
        self._thread.start()

    def stop(self):
        """End the watching."""
        self._end.set()
        self._thread.join(30)

    def look(self):
        """Load the highest version that is whole, if it is not the one that is served."""
        numbers = version_numbers(self.folder)
        states = {}
        for number in sorted(numbers, reverse=True):
            if self.current is not None and number == self.current.version:
                break
            reason = self._try(number)
            if reason is None:
                break
            states[number] = ("END", reason)
        if self.current is not None:
            states[self.current.version] = ("AVAILABLE", "")
        self.states = states

    def _try(self, number):
        """Serve a version; the reason why not, or `None`."""
        folder = self.folder / str(number)
        mark = fingerprint(folder)
        if self._refused.get(number, (None,))[0] == mark:
            return self._refused[number][1]
        reason = cause = what_is_missing(folder)
        if reason is None:
            self.states = {**self.states, number: ("LOADING", "")}
            try:
                backend = self._load(folder)
            except UserError as error:
                cause = " ".join(str(error).split())
                # Everybody may ask for it, and whoever raised the cause may name any file.
                reason = "it cannot be loaded; the server's log says why. Export it again."
            else:
                before, self.current = self.current, backend
                LOG.warning(
                    "version %d of %s is served%s",
                    number,
                    backend.name,
                    f" instead of {before.version}" if before else "",
                )
                self._refused.pop(number, None)
                return None
        self._refused[number] = mark, reason
        served = f"; version {self.current.version} goes on" if self.current else ""
        LOG.warning("version %d of %s is not served: %s%s", number, self.folder, cause, served)
        return reason

    def _watch(self):
        while not self._end.wait(self._poll):
            try:
                self.look()
            except Exception as error:  # a disk that is away for a while, for one
                LOG.warning("%s cannot be looked at: %s", self.folder, error)


def version_numbers(folder):
    """The numbers of a folder's versions, as TensorFlow Serving understands them."""
    if not pathlib.Path(folder).is_dir():
        return []
    return [
        int(path.name)
        for path in pathlib.Path(folder).iterdir()
        if path.name.isascii() and path.name.isdigit() and str(int(path.name)) == path.name
    ]


def fingerprint(folder):
    """What changes when a file of a folder does."""
    found = []
    for path in sorted(pathlib.Path(folder).rglob("*")):
        try:
            status = path.stat()
        except OSError:  # it went away
            continue
        found.append((str(path), status.st_size, status.st_mtime_ns))
    return tuple(found)


def what_is_missing(folder):
    """Why a version is not whole, or `None`.

    Args:
        folder: the version.
    """
    path = pathlib.Path(folder, METADATA)
    if not path.exists():
        return f"{METADATA}, which `export` writes, is not there"
    try:
        document = read_json(path, "description of a version")
        sums = dict(document["sha256"])
        if "saved_model.pb" not in sums:
            return f"{METADATA} names no saved_model.pb"
        for name, expected in sums.items():
            file = pathlib.Path(folder, name)
            if not file.resolve().is_relative_to(pathlib.Path(folder).resolve()):
                return f"{name} lies outside of it"
            if not file.is_file():
                return f"{name} is not there"
            if hashlib.sha256(file.read_bytes()).hexdigest() != expected:
                return f"{name} is not whole: its checksum is another"
    except (OSError, UserError, KeyError, TypeError, ValueError) as error:
        said = " ".join(str(error).split()).replace(f"{folder}{os.sep}", "")
        return f"{METADATA} cannot be read ({said[:200]})"
    return None
