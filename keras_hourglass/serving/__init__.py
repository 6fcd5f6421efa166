"""The client for a model in TensorFlow Serving."""

from keras_hourglass.serving.client import Client
from keras_hourglass.serving.errors import (
    RequestRejected,
    RequestTimeout,
    ServerUnavailable,
    ServingError,
)

__all__ = ["Client", "RequestRejected", "RequestTimeout", "ServerUnavailable", "ServingError"]
