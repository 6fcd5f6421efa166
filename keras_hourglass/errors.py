"""The errors a user can cause. Each message names the rule, the value received and the remedy.

They are ``ValueError``s, so that library code may catch them as such; the command line turns them
into one line and exit status 2.
"""

from collections.abc import Sequence


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


def listed(names: Sequence, most: int = 6) -> str:
    """Names for a message: the first of them, and how many more there are.

    Args:
        names: what to list, in order.
        most: how many are written out.

    Example:

    >>> listed(["a", "b", "c", "d"], most=2), listed([])
    ('a, b and 2 more', 'none')
    """
    rest = len(names) - most
    first = ", ".join(str(name) for name in names[:most])
    return (first or "none") + (f" and {rest} more" if rest > 0 else "")
