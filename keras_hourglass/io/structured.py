"""Structured files of other people's making: text in any of its encodings, JSON, and its values.

Everything a JSON file holds passes here first, so that what comes after meets plain Python values
and one kind of error, of one line.
"""

import codecs
import json
import math
import os
import re
from collections.abc import Iterable
from typing import Any

from keras_hourglass.errors import DataError
from keras_hourglass.typing import Path

# Larger than COCO's largest annotation file by far; the text takes a few times that in memory.
MAX_BYTES = 2 * 2**30
MAX_YAML = 1_000_000
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_INTEGER = re.compile(r"([+-]?[0-9]{1,30})(\.0{1,30})?")
_TRUE, _FALSE = ("1", "true", "yes", "y", "t"), ("", "0", "false", "no", "n", "f", "none", "null")


def existing(path: Path, what: str = "annotation file") -> str:
    """The path as a string, if something is there.

    Args:
        path: a file or folder.
        what: what it should be, for the message.

    Raises:
        DataError: naming the path, if it is missing.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise DataError(f"No {what} there. Received: {path}. Check the path.")
    return path


def read_text(path: Path, what: str = "annotation file") -> str:
    """The text of a file in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Args:
        path: the file.
        what: what it should be, for the messages.

    Raises:
        DataError: naming the file, if it is missing, too large or no text.
    """
    path = existing(path, what)
    try:
        if not os.path.isfile(path):
            raise DataError(f"A file is needed for the {what}. Received: {path}, which is none.")
        if os.path.getsize(path) > MAX_BYTES:
            raise DataError(f"Files of at most {MAX_BYTES >> 30} GB are read. Received: {path}.")
        with open(path, "rb") as file:
            return decode(file.read())
    except (OSError, UnicodeError) as error:
        raise DataError(f"Cannot read the {what} {path}: {one_line(error)}.") from error


def decode(data: bytes) -> str:
    """Bytes as text, by their byte order mark, or as JSON's authors tell encodings apart.

    Args:
        data: UTF-8, UTF-16 or UTF-32.

    Raises:
        UnicodeError: if they are none of these.

    Example:

    >>> decode("{}".encode("utf-16")), decode(b"\\xef\\xbb\\xbf[]")
    ('{}', '[]')
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return data.decode(encoding)
    # The first characters of such files are ASCII, so its zero bytes tell.
    zeros = [not byte for byte in data[:4]]
    for pattern, encoding in (
        ([False, True, True, True], "utf-32-le"),
        ([True, True, True, False], "utf-32-be"),
        ([False, True, False, True], "utf-16-le"),
        ([True, False, True, False], "utf-16-be"),
    ):
        if zeros == pattern:
            return data.decode(encoding)
    return data.decode("utf-8")


def read_json(path: Path, what: str = "JSON file") -> Any:
    """The content of a JSON file.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32.
        what: what it should be, for the messages.

    Returns:
        dicts, lists, text, numbers (NaN and infinities among them, as many tools write them),
        `True`, `False` and `None`.

    Raises:
        DataError: naming the file, if it cannot be read, is no JSON, is nested without end, or has
            one key twice in an object, of which one value would be lost.
    """
    text = read_text(path, what)
    try:
        return json.loads(text, object_pairs_hook=_without_twins)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise DataError(
            f"Cannot read the {what} {path}: {reason}. Fetch or export it again."
        ) from None


def _without_twins(pairs):
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        twin = next(key for place, key in enumerate(keys) if key in keys[:place])
        raise ValueError(f"the key {shorten(twin)!r} stands twice in one object")
    return values


def read_yaml(path: Path, what: str = "YAML file") -> Any:
    """The content of a YAML file of settings.

    Args:
        path: the file, of at most a megabyte, in UTF-8, UTF-16 or UTF-32.
        what: what it should be, for the messages.

    Returns:
        dicts, lists, text, numbers, dates, `True`, `False` and `None`; no other object is made.

    Raises:
        DataError: naming the file, if it cannot be read, is no YAML, refers to parts of itself
            (which can grow without end), or has one key twice.
    """
    import yaml

    text = read_text(path, what)
    if len(text) > MAX_YAML:
        raise DataError(f"A {what} has at most {MAX_YAML:,} characters. Received: {path}.")
    try:
        node = yaml.compose(text, yaml.SafeLoader)
        _refuse_twins(node)
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, OverflowError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else one_line(error)
        raise DataError(f"Cannot read the {what} {path}: {reason}. Correct it.") from None


def _refuse_twins(node):
    """Walk through a composed document: no part twice, no key of a mapping twice."""
    import yaml

    waiting, seen = [node], set()
    while waiting:
        node = waiting.pop()
        if id(node) in seen and not isinstance(node, yaml.ScalarNode):
            raise ValueError("a part refers to another (&, *)")
        seen.add(id(node))
        if isinstance(node, yaml.MappingNode):
            keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
            twins = [key for place, key in enumerate(keys) if key in keys[:place]]
            if twins:
                raise ValueError(f"the key {shorten(twins[0])!r} stands twice")
            waiting += [part for pair in node.value for part in pair]
        elif isinstance(node, yaml.SequenceNode):
            waiting += node.value


def one_line(error: object, limit: int = 160) -> str:
    """What an error or a value says, in one line of at most `limit` characters."""
    return shorten(" ".join(str(error).split()) or type(error).__name__, limit)


def shorten(value: object, limit: int = 60) -> str:
    """A value as text of at most `limit` characters, for messages.

    Args:
        value: anything; text is taken as it is, other values as Python writes them.
        limit: characters.

    Example:

    >>> shorten(list(range(100)), 20)
    '[0, 1, 2, 3, 4, 5, …'
    """
    text = value if isinstance(value, str) else repr(value)
    text = " ".join(text.split())
    return text if len(text) <= limit else text[: limit - 1] + "…"


def as_number(value: Any) -> float:
    """A number however it is written; NaN for what is none.

    Args:
        value: a number, its text, `True` or `False`.

    Example:

    >>> as_number("12.5"), as_number(10**400), as_number([1])
    (12.5, inf, nan)
    """
    if isinstance(value, (int, float, str)):
        try:
            return float(value)
        except ValueError:
            return math.nan
        except OverflowError:  # of an integer
            return -math.inf if isinstance(value, int) and value < 0 else math.inf
    return math.nan


def as_flag(value: Any) -> bool:
    """Yes or no however it is written; what cannot be understood is a yes.

    Args:
        value: e.g. `0`, `1.0`, `"0"`, `"true"`, `None`.

    Example:

    >>> as_flag("0"), as_flag("True"), as_flag(None), as_flag(1.0)
    (False, True, False, True)
    """
    if isinstance(value, str):
        text = value.strip().lower()
        return text in _TRUE or (text not in _FALSE and as_number(text) != 0)
    return bool(value)


class Ids:
    """Finds what an identifier means, though files write it now as a number, now as text.

    `7`, `7.0` and `"7"` are the same; so are `"0007"` and `7` where no other id is meant by either.

    Args:
        ids: the identifiers of a list of things, with `None` for things without.

    Example:

    >>> ids = Ids([3, "0007", 3, "cat"])
    >>> ids.find("7"), ids.find(3.0), ids.find("dog")
    ([1], [0, 2], [])
    """

    def __init__(self, ids: Iterable):
        self._exact, self._loose = {}, {}
        for place, value in enumerate(ids):
            key = plain_id(value)
            if key is not None:
                self._exact.setdefault(key, []).append(place)
                self._loose.setdefault(_number_of(key), []).append(place)

    def find(self, value: Any) -> list[int]:
        """The places of all things that have this identifier.

        Args:
            value: an identifier, of any type.
        """
        key = plain_id(value)
        if key is None:
            return []
        if key in self._exact:
            return self._exact[key]
        number = _number_of(key)
        return self._loose.get(number, []) if isinstance(number, int) else []

    @property
    def twins(self) -> dict:
        """Identifiers that stand for several things, with their places."""
        return {key: places for key, places in self._exact.items() if len(places) > 1}


def plain_id(value: Any) -> int | str | None:
    """An identifier as an integer where it is one, else as text; `None` for what is none.

    Args:
        value: e.g. `7`, `7.0`, `"7"`, `"cam1/0001.jpg"`.

    Example:

    >>> plain_id(7.0), plain_id(" 7 "), plain_id("007"), plain_id([7])
    (7, 7, '007', None)
    """
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return int(value) if value.is_integer() else (str(value) if value == value else None)
    if isinstance(value, str):
        text = value.strip()
        number = _number_of(text)
        return number if isinstance(number, int) and str(number) == text else text or None
    return None


def _number_of(key):
    """The integer that an identifier's text stands for (`"0007"`, `"7.0"`), else the text."""
    match = _INTEGER.fullmatch(key) if isinstance(key, str) else None
    return int(match[1]) if match else key
