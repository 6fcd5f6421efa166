"""The face of a room: its public names, each loaded with its module when it is first asked for.

So that importing the package, or a room of it, loads neither Keras nor TensorFlow nor OpenCV.
"""

import importlib
import sys

from keras_hourglass.errors import checked_where_known, did_you_mean


def lazy(face, homes):
    """What a face's `__init__` needs to show names of its room's modules.

    Args:
        face: `__name__` of the package.
        homes: dict public name -> the module below the package that has it.

    Returns:
        `__getattr__`, `__dir__` and `__all__` for the package.

    Example:

    >>> __getattr__, __dir__, __all__ = lazy("keras_hourglass.network", {"complete": "config"})
    >>> __getattr__("complete")({"num_stacks": 3})["num_stacks"]
    3
    """
    names = sorted(homes)

    def get(name):
        if name not in homes:
            try:
                # A room of the package, or a module of the room, that nobody has imported yet.
                if not name.startswith("_"):
                    return importlib.import_module(f"{face}.{name}")
            except ModuleNotFoundError as error:
                if error.name != f"{face}.{name}":
                    raise
            hint = did_you_mean(name, names)
            raise AttributeError(f"module {face!r} has no attribute {name!r}.{hint}")
        home = importlib.import_module(f"{face}.{homes[name]}")
        value = checked_where_known(getattr(home, name))
        setattr(home, name, value)
        setattr(sys.modules[face], name, value)
        return value

    return get, lambda: names, names
