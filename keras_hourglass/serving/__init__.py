"""A server for trials and one machine, and the client for it and for TensorFlow Serving."""

from typing import TYPE_CHECKING

from keras_hourglass.errors import (
    RequestRejected,
    RequestTimeout,
    ServerUnavailable,
    ServingError,
)
from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.serving.client import Client
    from keras_hourglass.serving.server import Limits, create_app, serve

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {"Client": "client", "Limits": "server", "create_app": "server", "serve": "server"},
)
__all__ += ["RequestRejected", "RequestTimeout", "ServerUnavailable", "ServingError"]
