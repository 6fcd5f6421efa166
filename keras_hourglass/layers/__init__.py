"""The building blocks, usable on their own in any functional Keras model."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.layers.hourglass import Hourglass
    from keras_hourglass.layers.residual import Residual
    from keras_hourglass.layers.stem import Stem
    from keras_hourglass.layers.supervision import IntermediateSupervision

# `nodes` is read where Keras is not loaded.
__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Hourglass": "hourglass",
        "IntermediateSupervision": "supervision",
        "Residual": "residual",
        "Stem": "stem",
    },
)
