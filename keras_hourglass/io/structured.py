"""The boundary for structured files of other people's making: text, JSON, YAML, CSV, and values.

What such a file holds passes here first (arrays through `io.arrays`), so that what comes after
meets plain Python values of bounded size and depth, and one kind of error, of one line.
"""

import codecs
import contextlib
import csv
import functools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from keras_hourglass.errors import DataError, UserError, listed
from keras_hourglass.typing import Path

# Larger than COCO's largest annotation file by far; the text takes a few times that in memory.
MAX_BYTES = 2 * 2**30
MAX_YAML = 250_000
MAX_DEPTH = 50  # of lists and objects within each other; annotation files have eight
_LONG = 18  # digits of an integer; longer ones are no ids, and become floats
_MOST_DIGITS = 400  # beyond, no number of the machine is as large
_FEW_VALUES = 1000
_MOST_OBJECTS = 10_000  # of a request or answer; a row has two
_LONG_INTEGER = re.compile(r"[0-9]{19}")
# Where spreadsheets take text for a formula, in full width as well.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
# What YAML calls a number, except that 010 is ten, and 1:30 and dates are text. As in YAML 1.1,
# 1e-3 is text: recipes take it for a number where one is needed, and a folder of that name is one.
_YAML_INTEGER = re.compile(r"[-+]?[0-9][0-9_]*|0x[0-9a-fA-F_]+|0o[0-7_]+|0b[01_]+")
_YAML_FLOAT = re.compile(
    r"[-+]?([0-9][0-9_]*\.[0-9_]*|\.[0-9][0-9_]*)([eE][-+][0-9]+)?"
    r"|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
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
    """The path as a string, if a file or folder is there.

    Args:
        path: a file or folder.
        what: what it should be, for the message.

    Raises:
        DataError: naming the path, if it is missing, or is a pipe or a device, which may have no
            end or never begin.
    """
    path = os.fspath(path)
    if not os.path.exists(path):
        raise DataError(f"No {what} there. Received: {listed([path])}. Check the path.")
    if not (os.path.isfile(path) or os.path.isdir(path)):
        raise DataError(
            f"An ordinary file is needed for the {what}. Received: {path}, a pipe or a device. "
            "Save it as a file first."
        )
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


@contextlib.contextmanager
def boundary(
    path: Path, what: str, remedy: str = "Fetch or export it again", error: type = DataError
) -> Iterator[None]:
    """Whatever goes wrong while a file of others is understood becomes one line that names it.

    Damaged and made-up content leads libraries and readers to any of Python's errors. The package's
    own pass as they are, and so does what is no fault of the file: a disk, memory, Ctrl-C.

    Args:
        path: the file, or what else to call it.
        what: what it should be.
        remedy: what to do, as a sentence without its full stop.
        error: the `UserError` to raise.

    Raises:
        UserError: of that kind.

    Example:

    >>> with boundary("a.json", "list of joints"):
    ...     [].index("knee")
    Traceback (most recent call last):
    ...
    keras_hourglass.errors.DataError: Cannot read the list of joints a.json: 'knee' is not in ...
    """
    try:
        yield
    except (UserError, MemoryError, ImportError):
        raise
    except OSError as problem:
        if problem.errno is not None and problem.filename is not None:
            raise  # the operating system's own, with its path
        raise error(f"Cannot read the {what} {path}: {one_line(problem)}. {remedy}.") from problem
    except RecursionError as problem:
        raise error(f"Cannot read the {what} {path}: nested too deeply. {remedy}.") from problem
    except Exception as problem:
        reason = one_line(problem)
        # Such errors hold a value and no sentence.
        if not isinstance(problem, (ValueError, RuntimeError)) or " " not in reason:
            reason = f"{type(problem).__name__}: {reason}"
        raise error(f"Cannot read the {what} {path}: {reason}. {remedy}.") from problem


_Reader = TypeVar("_Reader", bound=Callable)


def reads(what: str, remedy: str = "Fetch or export it again") -> Callable[[_Reader], _Reader]:
    """A decorator for readers: everything in them is within the `boundary` of their first argument.

    Args:
        what: what the file should be.
        remedy: what to do, as a sentence without its full stop.

    Example:

    >>> @reads("list of joints")
    ... def first_joint(path):
    ...     return {"joints": []}["joints"][0]
    >>> first_joint("a.json")
    Traceback (most recent call last):
    ...
    keras_hourglass.errors.DataError: Cannot read the list of joints a.json: IndexError: list ...
    """

    def decorate(reader):
        @functools.wraps(reader)
        def read(*args, **kwargs):
            path = args[0] if args else next(iter(kwargs.values()), "")
            with boundary(path, what, remedy):
                return reader(*args, **kwargs)

        return read

    return decorate


def read_json(path: Path, what: str = "JSON file", error: type = DataError) -> Any:
    """The content of a JSON file.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32.
        what: what it should be, for the messages.
        error: the `UserError` to raise.

    Returns:
        What `parse_json` makes of it.

    Raises:
        DataError: naming the file, if it cannot be read, or as `parse_json`.
    """
    with boundary(path, what, error=error):
        return parse_json(read_text(path, what), path, what, error)


def parse_json(
    text: str | bytes, path: Path, what: str = "JSON file", error: type = DataError
) -> Any:
    """The content of a JSON document.

    Args:
        text: the document; bytes may be in UTF-8, UTF-16 or UTF-32.
        path: where it comes from, for the messages.
        what: what it should be, for the messages.
        error: the `UserError` to raise.

    Returns:
        dicts, lists, text, numbers (NaN and infinities among them, as many tools write them;
        integers of more than 18 digits as floats), `True`, `False` and `None`.

    Raises:
        DataError: naming the file, if it is no JSON, is nested deeper than `MAX_DEPTH`, or has one
            key twice in an object, of which one value would be lost.

    Example:

    >>> parse_json('{"a": [1, 2.5]}', "a.json")
    {'a': [1, 2.5]}
    """
    with boundary(path, what, error=error):
        text = decode(text) if isinstance(text, bytes) else text
        # A function for every integer takes half as long again; of a few, the search does.
        few = text.count(",") < _FEW_VALUES
        parse_int = _integer if few or _LONG_INTEGER.search(text) else None
        value = json.loads(text, object_pairs_hook=_without_twins, parse_int=parse_int)
        return check_depth(value)


def _without_twins(pairs):
    values = dict(pairs)
    if len(values) < len(pairs):
        keys = [key for key, _ in pairs]
        seen: set = set()
        twin = next(key for key in keys if key in seen or seen.add(key))
        raise ValueError(f"the key {shorten(twin)!r} stands twice in one object")
    return values


def _integer(digits):
    if len(digits) > _MOST_DIGITS:
        raise ValueError(f"a number of {len(digits)} digits, over the limit of {_MOST_DIGITS}")
    return int(digits) if len(digits) <= _LONG else float(digits)


def check_depth(value: Any, depth: int = MAX_DEPTH) -> Any:
    """A value of dicts and lists that are not nested without end.

    Args:
        value: what was read.
        depth: levels it may have.

    Returns:
        The value.

    Raises:
        ValueError: if it has more.
    """
    layer = [value]
    for _ in range(depth + 1):
        layer = [
            child
            for part in layer
            if isinstance(part, (dict, list))
            for child in (part.values() if isinstance(part, dict) else part)
            if isinstance(child, (dict, list))
        ]
        if not layer:
            return value
    raise ValueError("nested too deeply")


def read_csv(path: Path, what: str = "CSV file") -> list[list[str]]:
    """The rows of a CSV file; rows without any text are left out.

    Args:
        path: the file, in UTF-8, UTF-16 or UTF-32.
        what: what it should be, for the messages.

    Returns:
        Lists of text, perhaps of different lengths.

    Raises:
        DataError: naming the file, if it cannot be read.
    """
    with boundary(path, what):
        return [row for row in csv.reader(read_text(path, what).splitlines()) if any(row)]


def too_much_json(document: bytes, values: int) -> tuple[str, int, int] | None:
    """What a JSON document has more of than it may, counted before it is read.

    Numbers, lists and objects take twenty to a hundred times their length when they are read; text
    does not.

    Args:
        document: its bytes, in any encoding of JSON.
        values: the most values; of lists, half as many.

    Returns:
        What it is, how many there may be and how many there are; `None` where nothing is.

    Example:

    >>> too_much_json(b"[[], [], []]", 6)
    ('lists', 3, 4)
    """
    for sign, kind, most in (
        (b",", "values", values),
        (b"[", "lists", values // 2),
        (b"{", "objects", _MOST_OBJECTS),
    ):
        if (count := document.count(sign)) > most:
            return kind, most, count
    return None


def announced_length(text: str) -> int:
    """The number in a header of lengths, 0 where it is none; of many digits no more than needed.

    Args:
        text: the header's value.

    Example:

    >>> announced_length("0001024"), announced_length("much")
    (1024, 0)
    """
    digits = text.lstrip("0")
    return int(digits[:18]) if digits.isascii() and digits.isdigit() else 0


def csv_cell(value: Any) -> Any:
    """A value as CSV has it: flags are 1 and 0, and text is never a formula for spreadsheets.

    They run what begins with `=`, `+`, `-`, `@`, a tab or a line's end, also where the program that
    opens the table asks nobody. Such a text is written with an apostrophe before it, which they
    take for the sign of a text; numbers stay numbers.

    Args:
        value: a flag, a number, text or `None`.

    Example:

    >>> csv_cell(True), csv_cell(-1.5), csv_cell("photo.jpg"), csv_cell("=A1"), csv_cell("-1e3")
    (1, -1.5, 'photo.jpg', "'=A1", '-1e3')
    """
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str) and value[:1] in _FORMULAS and math.isnan(as_number(value)):
        return f"'{value}"
    return value


def read_yaml(path: Path, what: str = "YAML file", error: type = DataError) -> Any:
    """The content of a YAML file of settings.

    Args:
        path: the file, of at most 250 kB, in UTF-8, UTF-16 or UTF-32.
        what: what it should be, for the messages.
        error: the `UserError` to raise.

    Returns:
        What `parse_yaml` makes of it.

    Raises:
        DataError: naming the file, if it cannot be read, or as `parse_yaml`.
    """
    with boundary(path, what, "Correct it", error):
        return parse_yaml(read_text(path, what), path, what, error)


def parse_yaml(text: str, path: Path, what: str = "YAML file", error: type = DataError) -> Any:
    """The content of a YAML document of settings.

    Numbers are what people write as numbers: `010` is ten; `1:30` and `2024-05-01` are text, and so
    is `1e-3`, as in YAML 1.1: who needs a number there makes it one.

    Args:
        text: the document, of at most 250,000 characters.
        path: where it comes from, for the messages.
        what: what it should be, for the messages.
        error: the `UserError` to raise.

    Returns:
        dicts, lists, text, numbers, `True`, `False` and `None`; no other object is made.

    Raises:
        DataError: naming the file, if it is no YAML, is nested deeper than `MAX_DEPTH`, refers to
            parts of itself (which can grow without end), has a key twice, of which one value would
            be lost, or a key that is no text.

    Example:

    >>> parse_yaml("{rate: 0.001, seed: 010, day: 2024-05-01}", "a.yaml")
    {'rate': 0.001, 'seed': 10, 'day': '2024-05-01'}
    """
    if len(text) > MAX_YAML:
        raise error(f"A {what} has at most {MAX_YAML:,} characters. Received: {path}.")
    with boundary(path, what, "Correct it", error):
        return _yaml_value(text)


def format_yaml(value: Any) -> str:
    """A value as YAML that `parse_yaml` reads as the same value, types included.

    Args:
        value: dicts, lists, text, numbers, `True`, `False` and `None`.

    Example:

    >>> print(format_yaml({"name": "089", "rate": 1e-3}))
    name: '089'
    rate: 0.001
    <BLANKLINE>
    """
    import yaml

    class Dumper(yaml.SafeDumper):
        def ignore_aliases(self, data):
            return True

    for kind, pattern in (("float", _YAML_FLOAT), ("int", _YAML_INTEGER)):
        exact = re.compile(rf"(?:{pattern.pattern})\Z")
        Dumper.add_implicit_resolver(f"tag:yaml.org,2002:{kind}", exact, list("-+.0123456789"))
    return yaml.dump(value, Dumper=Dumper, sort_keys=False, allow_unicode=True)


def _yaml_value(text):
    import yaml

    # Built from events, which have no depth: composing nodes may take the process down.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    stack: list = []
    root: list = []
    for event in yaml.parse(text, loader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("a part refers to another (&, *)")
        if isinstance(event, yaml.DocumentStartEvent) and root:
            raise ValueError("it holds several documents")
        if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
            if event.tag not in (None, "!", "tag:yaml.org,2002:map", "tag:yaml.org,2002:seq"):
                raise ValueError(f"the tag {shorten(event.tag)} is not read")
            if len(stack) >= MAX_DEPTH:
                raise ValueError("nested too deeply")
            value: Any = {} if isinstance(event, yaml.MappingStartEvent) else []
            _append(stack, root, value, "")
            stack.append([value, None])
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            stack.pop()
        elif isinstance(event, yaml.ScalarEvent):
            _append(stack, root, _yaml_scalar(event), event.value)
    return root[0] if root else None


def _append(stack, root, value, written):
    """Put a value where it belongs: in a list, as a key, as a key's value, or as the whole."""
    if not stack:
        root.append(value)
        return
    parent, key = stack[-1]
    if isinstance(parent, list):
        parent.append(value)
    elif key is None:
        # Numbers and `on` are text where they are keys, e.g. of `names: {0: cat}`.
        if isinstance(value, (dict, list)) or value is None:
            raise ValueError("a key must be text")
        if written == "<<":
            raise ValueError("a part refers to another (<<)")
        name = value if isinstance(value, int) and not isinstance(value, bool) else written
        if name in parent:
            raise ValueError(f"the key {shorten(name)!r} stands twice")
        stack[-1][1] = (name,)
    else:
        parent[key[0]] = value
        stack[-1][1] = None


def _yaml_scalar(event):
    tag, text = (event.tag or "").removeprefix("tag:yaml.org,2002:"), event.value
    if tag in ("str", "!") or (not tag and not event.implicit[0]):
        return text
    if tag not in ("", "int", "float", "bool", "null"):
        raise ValueError(f"the tag {shorten(event.tag)} is not read")
    plain = _plain_scalar(text)
    if tag == "float" and isinstance(plain, int):
        plain = float(plain)
    kinds = {"int": int, "float": float, "bool": bool, "null": type(None)}
    if tag and type(plain) is not kinds[tag]:
        raise ValueError(f"{shorten(text)!r} is no {tag}")
    return plain


def _plain_scalar(text):
    """The value of a text without quotes."""
    if text in ("", "~", "null", "Null", "NULL"):
        return None
    lower = text.lower()
    if lower in ("true", "yes", "on", "false", "no", "off"):
        return lower in ("true", "yes", "on")
    if _YAML_INTEGER.fullmatch(text):
        based = lower[:2] in ("0x", "0o", "0b")
        return int(text, 0) if based else _integer(text.replace("_", ""))
    if _YAML_FLOAT.fullmatch(text):
        return float(lower.replace("_", "").replace(".inf", "inf").replace(".nan", "nan"))
    return text


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
