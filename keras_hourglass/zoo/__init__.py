"""The model zoo: presets, trained weights, other people's checkpoints.

`presets` lists networks, `store` finds, loads and saves them, `weights` reads and writes their
arrays, `transfer` starts a network from another's, `porting` reads checkpoints of PyTorch, `card`
and `publish` make the folders of trained weights that travel with the package.
"""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.zoo.porting import from_torch, read_checkpoint
    from keras_hourglass.zoo.presets import PRESETS
    from keras_hourglass.zoo.store import (
        describe,
        find_weights,
        list_presets,
        load_model,
        load_snapshot,
        read_manifest,
        save_preset,
        save_thresholds,
        trained_as,
    )
    from keras_hourglass.zoo.transfer import widen
    from keras_hourglass.zoo.weights import load_weights, save_weights

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "PRESETS": "presets",
        "describe": "store",
        "find_weights": "store",
        "from_torch": "porting",
        "list_presets": "store",
        "load_model": "store",
        "load_snapshot": "store",
        "load_weights": "weights",
        "read_checkpoint": "porting",
        "read_manifest": "store",
        "save_preset": "store",
        "save_thresholds": "store",
        "save_weights": "weights",
        "trained_as": "store",
        "widen": "transfer",
    },
)
