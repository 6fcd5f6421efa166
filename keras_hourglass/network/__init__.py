"""The stacked hourglass network: its arguments, its graph, the Keras model."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.network.compiling import loss_and_metrics
    from keras_hourglass.network.config import complete
    from keras_hourglass.network.graph import Graph, Snapshot
    from keras_hourglass.network.model import StackedHourglass, snapshot

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Graph": "graph",
        "Snapshot": "graph",
        "StackedHourglass": "model",
        "complete": "config",
        "loss_and_metrics": "compiling",
        "snapshot": "model",
    },
)
