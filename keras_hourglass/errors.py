"""The errors a user can cause. Each message names the rule, the value received and the remedy.

They are ``ValueError``s, so that library code may catch them as such; the command line turns them
into one line and exit status 2.
"""

import difflib
import functools
import importlib
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

_F = TypeVar("_F")
_TAKES_ANY = 0x08  # of a function's code: it has `**kwargs`


class UserError(ValueError):
    """Something the user asked for or passed in cannot be used as it is."""


class DataError(UserError):
    """A picture, an annotation file or a folder cannot be read as what it should be."""


class RecipeError(UserError):
    """A training recipe has an unknown key, a wrong type or an impossible combination."""


class WeightsError(UserError):
    """Weights are missing, damaged, or belong to another architecture."""


class ServingError(UserError):
    """The server gave no usable answer.

    Args:
        message: one line.
        status: the gRPC status name or the HTTP status code, or `None`.
    """

    def __init__(self, message: str, status: int | str | None = None):
        super().__init__(message)
        self.status = status


class ServerUnavailable(ServingError):
    """The server cannot be reached, or cut the connection, also after all retries."""


class RequestTimeout(ServingError):
    """The answer did not come in time."""


class RequestRejected(ServingError):
    """The server refused the request: unknown model or signature, wrong or too large input."""


def optional(name: str) -> Any:
    """A package that need not be there, imported; one that is there but broken counts as missing.

    Packages whose versions do not go together raise whatever comes to them on import: onnx 1.19
    beside the ml_dtypes of TensorFlow 2.15 an `AttributeError`.

    Raises:
        ImportError: if it is not installed or cannot be loaded.
    """
    try:
        return importlib.import_module(name)
    except ImportError:
        raise
    except Exception as error:
        raise ImportError(f"{name} is broken: {type(error).__name__}: {error}") from error


def printable(text: str) -> str:
    """A line for a terminal with its control characters written out.

    Names of files, and in files of others, may command a terminal or begin a line of their own.

    Args:
        text: one line.

    Example:

    >>> print(printable("a\\x1b]0;title\\x07\\n.png"))
    a\\x1b]0;title\\x07\\x0a.png
    """
    return re.sub(r"[\x00-\x1f\x7f-\x9f]", lambda found: f"\\x{ord(found[0]):02x}", text)


def note(text: str) -> None:
    """Say something that is worth knowing and no error, in a line of the error stream.

    Args:
        text: what to say; names of files and in files of others are made `printable`.

    Example:

    >>> note("a.json: 2 people left out (crowd), the first is annotation 7")
    """
    print(f"note: {printable(text)}", file=sys.stderr, flush=True)


_LONGEST = 200  # characters of a name in a message: files of others have longer ones


def listed(names: Sequence, most: int = 6) -> str:
    """Names for a message: the first of them, and how many more there are.

    Args:
        names: what to list, in order.
        most: how many are written out.

    Example:

    >>> listed(["a", "b", "c", "d"], most=2), listed([])
    ('a, b and 2 more', 'none')
    >>> listed([f"{'x' * 60}/photo.jpg"]).endswith("xx/photo.jpg")
    True
    """
    rest = len(names) - most
    first = ", ".join(_end(str(name)) for name in names[:most])
    return (first or "none") + (f" and {rest} more" if rest > 0 else "")


def _end(name):
    """A name, of a long one the end: there a path says which file it is."""
    return name if len(name) <= _LONGEST else f"…{name[1 - _LONGEST :]}"


class UnknownArgument(UserError, TypeError):
    """An argument that a function or class does not have; a `TypeError`, as Python's own is."""


def did_you_mean(word: object, known: Iterable[str]) -> str:
    """A question for the end of a message, or nothing where no known name is near.

    Args:
        word: what was received.
        known: the names there are.

    Returns:
        Text that begins with a space, or `""`.

    Example:

    >>> did_you_mean("left_sholder", ["left_shoulder", "neck"])
    " Did you mean 'left_shoulder'?"
    """
    near = nearest(word, known)
    return "" if near is None else f" Did you mean {near!r}?"


def nearest(word: object, known: Iterable[str], least: float = 0.6) -> str | None:
    """The known name that somebody may have meant, or `None`.

    Args:
        word: what was received.
        known: the names there are.
        least: how alike they have to be, from 0 to 1, see `difflib.get_close_matches`.

    Returns:
        One of the names, or `None`.

    Example:

    >>> nearest("--modle", ["--model", "--out"], 0.75)
    '--model'
    """
    # Capital letters and separators are what people get wrong first.
    plain = {_plain(name): name for name in known}
    near = difflib.get_close_matches(_plain(word)[:_LONGEST], plain, 1, least)
    return plain[near[0]] if near else None


def refuse_unknown(where: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Refuse names of arguments that are not among the known ones.

    Args:
        where: the function or class, for the message.
        given: the names that were received.
        known: all names there are, in the order of the message.

    Raises:
        UnknownArgument: naming the nearest known one, or all.

    Example:

    >>> refuse_unknown("Stem", ["filter"], ["filters", "name"])
    Traceback (most recent call last):
    keras_hourglass.errors.UnknownArgument: Stem has no argument 'filter'. Did you mean 'filters'?
    """
    known = tuple(known)
    for name in given:
        if name not in known:
            hint = did_you_mean(name, known) or f" It has {', '.join(known)}."
            raise UnknownArgument(f"{where} has no argument {name!r}.{hint}")


def checks_arguments(function: _F) -> _F:
    """Have a function or class refuse a misspelt argument by naming the nearest one.

    Args:
        function: a function without `**kwargs`, or a class whose `__init__` is one.

    Returns:
        The function, or the class itself.

    Example:

    >>> @checks_arguments
    ... def smile(width): ...
    >>> smile(wdth=3)
    Traceback (most recent call last):
    keras_hourglass.errors.UnknownArgument: smile has no argument 'wdth'. Did you mean 'width'?
    """
    if isinstance(function, type):
        function.__init__ = _checked(function.__init__, _names(function.__init__))
        return function
    return _checked(function, _names(function))


def checked_where_known(thing: Any) -> Any:
    """As `checks_arguments`, of a function or class whose arguments are known by name.

    Args:
        thing: anything.

    Returns:
        The function that checks, the class itself, or what was given: a function with `**kwargs`,
        an error, a number.

    Example:

    >>> checked_where_known(lambda width: width)(wdth=3)
    Traceback (most recent call last):
    keras_hourglass.errors.UnknownArgument: <lambda> has no argument 'wdth'. Did you mean 'width'?
    """
    of_class = isinstance(thing, type)
    function = thing.__dict__.get("__init__") if of_class else thing
    if not isinstance(function, type(did_you_mean)) or hasattr(function, "known_arguments"):
        return thing
    if of_class and issubclass(thing, Exception):
        return thing
    inner = function
    while hasattr(inner, "__wrapped__"):
        inner = inner.__wrapped__
    if inner.__code__.co_flags & _TAKES_ANY:
        return thing
    checked = _checked(function, _names(inner))
    if not of_class:
        return checked
    thing.__init__ = checked
    return thing


def _names(function):
    # Not by `inspect`, which would have to be loaded when the package is.
    code = function.__code__
    if code.co_flags & _TAKES_ANY:
        # What such a function takes is for that to refuse which it hands it to.
        raise TypeError(f"{function.__qualname__} takes arguments by **")
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]


def _checked(function, names):
    known = tuple(name for name in names if name != "self")
    known_set = frozenset(known)

    @functools.wraps(function)
    def checked(*args, **kwargs):
        if not kwargs.keys() <= known_set:
            # Of a class, the one that is made, perhaps one of yours.
            where = function.__name__ if names[:1] != ("self",) else type(args[0]).__name__
            refuse_unknown(where, kwargs, known)
        return function(*args, **kwargs)

    checked.known_arguments = known
    return checked


def _plain(word):
    return str(word).lower().replace("-", "_").replace(" ", "_")
