"""The package's classes made known to Keras without loading them, and before Keras is there.

`keras.models.load_model` looks classes up in Keras's registry, which the class's module fills when
it is imported. Here the registry gets a stand-in for each class instead, as soon as Keras is
loaded, before or after this package; it loads the class when Keras asks something of it.
"""

import importlib
import sys

# Module below the package -> its classes with `register_keras_serializable`.
REGISTERED = {
    "layers.common": ("BatchNormalization", "Conv2D", "MaxPooling2D"),
    "layers.hourglass": ("Hourglass",),
    "layers.residual": ("Residual",),
    "layers.stem": ("Stem",),
    "layers.supervision": ("IntermediateSupervision",),
    "losses": ("BoxLoss", "HeatmapMSE"),
    "metrics.heatmap": ("BoxOverlap", "HeatmapPCK"),
    "network.model": ("StackedHourglass",),
    "prediction.estimator": ("PosePreprocessor",),
    "training.optimizers": ("Adam", "LossScaleOptimizer", "TorchRMSprop"),
}


class StandIn:
    """A class that is loaded when something is asked of it.

    Args:
        module: where the class is, below the package.
        name: its name.

    Example:

    >>> StandIn("layers.residual", "Residual").from_config({"filters": 8}).filters
    8
    """

    def __init__(self, module, name):
        self._module, self._name = module, name

    def __getattr__(self, attribute):
        return getattr(self._load(), attribute)

    def __call__(self, *args, **kwargs):
        return self._load()(*args, **kwargs)

    def __repr__(self):
        return f"<{self._name} of keras_hourglass, not loaded yet>"

    def _load(self):
        return getattr(importlib.import_module(f"keras_hourglass.{self._module}"), self._name)


class _Announcer:
    """A finder, for `sys.meta_path`, that fills Keras's registry once Keras has been loaded."""

    @classmethod
    def find_spec(cls, name, path=None, target=None):
        if name != "keras":
            return None
        for finder in sys.meta_path:
            find = None if finder is cls else getattr(finder, "find_spec", None)
            spec = find and find(name, path, target)
            if spec is not None:
                # Perhaps somebody only asks whether Keras is there: so it stays among the finders.
                _fill_after(spec.loader)
                return spec
        return None


def announce():
    """Have Keras know this package's classes: now, or as soon as it is imported."""
    if "keras" in sys.modules:
        _fill()
    elif _Announcer not in sys.meta_path:
        sys.meta_path.insert(0, _Announcer)


def _fill_after(loader):
    load = loader.exec_module

    def exec_module(module):
        load(module)
        if _Announcer in sys.meta_path:
            sys.meta_path.remove(_Announcer)
        _fill()

    loader.exec_module = exec_module


def _fill():
    registry = sys.modules["keras"].saving.get_custom_objects()
    for module, names in REGISTERED.items():
        for name in names:
            registry.setdefault(f"keras_hourglass>{name}", StandIn(module, name))
