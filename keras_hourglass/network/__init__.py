"""The stacked hourglass network: its arguments, its graph, the Keras model."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.network.config import complete
    from keras_hourglass.network.model import StackedHourglass

__getattr__, __dir__, __all__ = lazy(__name__, {"StackedHourglass": "model", "complete": "config"})
