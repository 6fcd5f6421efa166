"""What can go wrong between a client and a server."""

from keras_hourglass.errors import UserError


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
