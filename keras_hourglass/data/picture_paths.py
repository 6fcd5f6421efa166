"""Finding the pictures that an annotation file names, wherever the file was written."""

import collections
import os
import re
import unicodedata
import urllib.parse
from collections.abc import Iterable
from typing import Any

from keras_hourglass.errors import DataError
from keras_hourglass.io.structured import shorten
from keras_hourglass.typing import Path

# Entries looked through for names that do not lead to a picture.
MAX_SEARCHED = 200_000
_DEPTH = 6
# Folders of annotation files; the data set is the folder above.
_OF_ANNOTATIONS = {"annotations", "annotation", "annots", "annot", "labels", "json", "coco"}
_INNER = ("images", "data", "imgs", "img", "pictures", "photos", "frames")
# What upload pages put before a name so that it is theirs alone: `3f2a9c1d-photo.jpg`.
_UPLOAD = re.compile(r"^[0-9a-f]{6,8}[-_](?=.)")
_ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]+://", re.IGNORECASE)
_OF_PICTURES = ("", ".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff")
_DRIVE = re.compile(r"^[a-z]:(?=/|$)", re.IGNORECASE)


class PicturePaths:
    """Where the pictures are that an annotation file names.

    A name is first taken as it stands, from the usual folders beside the file and above it. Where
    it does not lead to a picture, because it is an address, absolute, of another machine, encoded
    or in other letters, the picture with the same end of its path is taken, at least with the
    same last part, if there is only one and only one name asks for it. Nothing is followed out of
    those folders, but that a name may count from where a converter was started, and lead through
    the folder above the file: `set/photos/1.jpg` in `set/out/dataset.json`.

    Args:
        annotation: the annotation file.
        images: the folder to look in, instead of those near the file.
        names: all names that will be asked for.

    Example:

    >>> paths = PicturePaths("set/result.json", names=["C:\\\\photos\\\\1.jpg"])
    >>> paths.find("C:\\\\photos\\\\1.jpg")  # doctest: +ELLIPSIS
    (None, 'must stay inside ...set, where no picture has that name: --images names another folder')
    """

    def __init__(self, annotation: Path, images: Path | None = None, names: Iterable = ()):
        self._annotation = os.fspath(annotation)
        folder = os.path.dirname(os.path.abspath(annotation))
        texts = [text for text in map(_text, dict.fromkeys(filter(_hashable, names))) if text]
        self._shown = os.fspath(images) if images is not None else folder
        self._above = None
        if images is not None:
            self._places = [os.fspath(images)]
            self._roots = self._places
        else:
            self._above = os.path.dirname(folder)
            split = os.path.splitext(os.path.basename(annotation))[0].rsplit("_", 1)[-1]
            self._places, self._roots = _places(folder, split)
        last = [readings[0][1][-1] for readings in map(_readings, texts) if readings]
        self._used = collections.Counter((key, key(name)) for key in _KEYS for name in last)
        self.folder = self._preferred(texts[:20])
        self._index, self._complete = None, True

    def _preferred(self, names):
        """The first of the usual places that has one of the names; the first if none has."""
        readings = [reading for name in names for reading in _readings(name)]
        for place in self._places:
            # The folder above may be anybody's; an absolute path is none into the data set there.
            ours = any(_below(root, place) for root in self._roots)
            for absolute, parts in readings:
                if (ours or not absolute) and _inside(place, absolute, parts):
                    return place
        return self._places[0]

    def find(self, name: Any) -> tuple[str | None, str | None]:
        """The path of a picture.

        Args:
            name: as the annotation file has it.

        Returns:
            `(path, None)`: a picture, or where it should be; or `(None, what is wrong with the
            name)`.
        """
        text = _text(name)
        readings = _readings(text) if text else []
        if not readings:
            return None, "is no file name"
        for reading in readings:
            path = _inside(self.folder, *reading)
            if path:
                return path, None
        path = self._through_above(readings) if self._above else None
        if path:
            return path, None
        best, tied = self._search(readings)
        if best:
            return best, None
        if tied:
            return None, "is that of several in different folders"
        inside = [parts for absolute, parts in readings if not absolute and ".." not in parts]
        if inside:
            return os.path.join(self.folder, *inside[0]), None
        return None, (
            f"must stay inside {self._shown}, where no picture has that name: --images names "
            "another folder"
        )

    def _through_above(self, readings):
        """The picture whose name leads through the folder above, from some folder above that."""
        trail = self._above.split(os.sep)
        for absolute, parts in readings:
            for shared in range(1, len(parts) - 1):
                if not absolute and trail[-shared:] == list(parts[:shared]) and trail[-1]:
                    path = _inside(self._above, False, parts[shared:])
                    if path:
                        return path
        return None

    def find_all(self, names: Iterable) -> list[str]:
        """The paths of pictures of a published set, each of whose names must be right.

        Args:
            names: as the annotation file has them.

        Raises:
            DataError: if a name is none, or leaves the folders.
        """
        paths = []
        for name in names:
            path, reason = self.find(name)
            if path is None:
                raise DataError(
                    f"The name of a picture in {self._annotation} {reason}. "
                    f"Received: {shorten(name)}."
                )
            paths.append(path)
        return paths

    def _search(self, readings):
        """The one picture whose path ends as the name does, or those that do so equally well."""
        if self._index is None:
            self._index = self._build()
        for key in _KEYS:
            found = {}
            for _, parts in readings:
                wanted = key(parts[-1])
                for path in self._index.get((key, wanted), ()):
                    found[path] = max(found.get(path, (0, 0)), _likeness(parts, path))
            if not found:
                continue
            best = max(found.values())
            paths = sorted(path for path, likeness in found.items() if likeness == best)
            # A bare name that several pictures of the file have may be that of any of them.
            alone = best[0] > 1 or self._used[key, key(readings[0][1][-1])] <= 1
            if len(paths) > 1 or not alone or not self._complete:
                return None, paths if len(paths) > 1 else []
            return paths[0], []
        return None, []

    def _build(self):
        """`(key function, key)` -> paths, of all files below the roots."""
        index, count, seen = {}, 0, set()
        waiting = collections.deque((root, 0) for root in self._roots)
        while waiting:
            folder, depth = waiting.popleft()
            try:
                real = os.path.realpath(folder)
                if real in seen:
                    continue  # a link back, or a root within another
                seen.add(real)
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError:
                continue
            for entry in entries:
                count += 1
                if count > MAX_SEARCHED:
                    self._complete = False
                    return index
                if entry.name.startswith("."):
                    continue
                if entry.is_dir():
                    if depth < _DEPTH:
                        waiting.append((entry.path, depth + 1))
                    continue
                for key in _KEYS:
                    index.setdefault((key, key(entry.name)), []).append(entry.path)
        return index


def _places(folder, split):
    """The usual folders of pictures, likely ones first, and the roots that hold them all."""
    above = os.path.dirname(folder)
    inner = [(name,) for name in _INNER[:1]] + [(), (split,), (_INNER[0], split)]
    inner += [(name,) for name in _INNER[1:]] + [(_INNER[1], split)]
    places = [os.path.join(base, *parts) for base in (folder, above) for parts in inner]
    if os.path.basename(folder).lower() in _OF_ANNOTATIONS and os.path.dirname(above) != above:
        return places, [folder, above]
    near = [os.path.join(above, *parts) for parts in inner if parts]
    return places, [folder, *near]


def _hashable(name):
    return isinstance(name, (str, bytes))


def _text(name):
    """A name as text, or `None`."""
    if isinstance(name, bytes):
        name = name.decode("utf-8", errors="replace")
    if not isinstance(name, str):
        return None
    name = name.strip("\0 \r\n\t")
    return name if name and "\0" not in name and len(name) < 4096 else None


def _readings(name):
    """What a name may mean, likely meanings first: `(absolute, parts)` each."""
    texts = [name]
    if _ADDRESS.match(name) or "?" in name:
        try:
            address = urllib.parse.urlsplit(name)
            query = urllib.parse.parse_qs(address.query)
        except ValueError:
            return []
        # Label Studio serves local files as `/data/local-files/?d=set/photo.jpg`.
        texts += [text for key in ("d", "path", "file") for text in query.get(key, ())]
        texts.append(urllib.parse.unquote(address.path))
        if _ADDRESS.match(name):
            texts = texts[1:]
    if "%" in name:
        texts.append(urllib.parse.unquote(texts[0]))
    found = []
    for text in texts:
        text = text.replace("\\", "/")
        bare = _DRIVE.sub("", text.lstrip("/") if _DRIVE.match(text.lstrip("/")) else text)
        parts = os.path.normpath(bare).strip("/").split("/")
        absolute = bare != text or bare.startswith("/") or bool(_ADDRESS.match(name))
        if parts[-1] not in ("", ".", ".."):
            found.append((absolute, tuple(parts)))
    return list(dict.fromkeys(found))


def _inside(folder, absolute, parts):
    """The path of a picture that lies in a folder, or `None`."""
    if ".." in parts:
        return None
    path = os.path.join(os.sep if absolute else folder, *parts)
    inside = not absolute or _below(folder, path)
    return path if inside and os.path.isfile(path) else None


def _below(folder, path):
    """Whether a path leads into a folder, or is the folder."""
    return os.path.join(os.path.abspath(path), "").startswith(
        os.path.join(os.path.abspath(folder), "")
    )


def _key(name):
    """What names in other letters, or composed of other characters, have in common."""
    return unicodedata.normalize("NFC", name).casefold()


def _without_upload(name):
    return _UPLOAD.sub("", _key(name))


def _without_suffix(name):
    """`photo` of `photo`, `photo.jpg` and `photo.png`, which tools take for the same."""
    stem, suffix = os.path.splitext(_key(name))
    return stem if suffix in _OF_PICTURES else _key(name)


_KEYS = (_key, _without_upload, _without_suffix)


def alike(name: Any) -> list[tuple]:
    """What the file names of one picture have in common, wherever and however they were written.

    Args:
        name: as an annotation file has it.

    Returns:
        A list of keys, surest first, of which pictures of the same name share one: their last part
        in the same letters, without the prefix of an upload, without the suffix of a photograph.

    Example:

    >>> set(alike("/data/upload/3fa94c1d-my%20dog.jpg")) & set(alike("D:\\\\My dog.jpg"))
    {(1, 'my dog.jpg')}
    """
    text = _text(name)
    lasts = dict.fromkeys(parts[-1] for _, parts in _readings(text)) if text else ()
    return list(dict.fromkeys((n, key(last)) for n, key in enumerate(_KEYS) for last in lasts))


def _likeness(parts, path):
    """How many last parts two paths share, and whether in the same letters."""
    theirs = path.replace("\\", "/").split("/")
    shared = 0
    for own, other in zip(reversed(parts), reversed(theirs), strict=False):
        # The last part is alike already, by one of the keys.
        if shared and _key(own) != _key(other):
            break
        shared += 1
    return shared, parts[-1] == theirs[-1]
