"""The client for a model in TensorFlow Serving."""

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

__getattr__, __dir__, __all__ = lazy(__name__, {"Client": "client"})
__all__ += ["RequestRejected", "RequestTimeout", "ServerUnavailable", "ServingError"]
