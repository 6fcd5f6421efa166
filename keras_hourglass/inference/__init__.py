"""Running a network: folded into plain steps, by any runtime, from crops to merged heatmaps."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.inference.engines import Engine, make_engine
    from keras_hourglass.inference.program import Program, Step, fold
    from keras_hourglass.inference.runner import HeatmapRunner
    from keras_hourglass.inference.runtimes import load_network

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Engine": "engines",
        "HeatmapRunner": "runner",
        "Program": "program",
        "Step": "program",
        "fold": "program",
        "load_network": "runtimes",
        "make_engine": "engines",
    },
)
