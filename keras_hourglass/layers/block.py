"""A Keras layer made of the nodes that `nodes` lists for it."""

import copy
import dataclasses
import inspect
import itertools
from collections.abc import Sequence
from typing import Any

import keras

from keras_hourglass import layers
from keras_hourglass.errors import refuse_unknown
from keras_hourglass.layers.common import BatchNormalization, Conv2D, MaxPooling2D, policy_of
from keras_hourglass.layers.nodes import Node, Tensor, describe

_OWN = {kind.__name__: kind for kind in (BatchNormalization, Conv2D, MaxPooling2D)}

_WITH_FRAME = ("Conv2D", "MaxPooling2D", "UpSampling2D", "ZeroPadding2D")
_OF_EVERY_LAYER = ("name", "dtype", "trainable", "autocast", "activity_regularizer", "input_shape")


def make_layer(node: Node, dtype: Any) -> keras.layers.Layer:
    """The Keras layer of a node.

    Args:
        node: the `Node`.
        dtype: its dtype policy, where the node does not name one.

    Returns:
        The layer, not built.

    Example:

    >>> make_layer(Node("ReLU", "relu1", "relu1", "branch", True, (), ()), "float32").name
    'relu1'
    """
    kind = _OWN.get(node.kind) or getattr(layers if node.inside else keras.layers, node.kind)
    # Whatever order of axes somebody's keras.json says, nodes have channels last.
    frame = {"data_format": "channels_last"} if node.kind in _WITH_FRAME else {}
    return kind(name=node.name, **{"dtype": dtype, **frame, **node.options})


def frozen_inside(layers: Any) -> list[str]:
    """The layers that are not trained, by the names of the layers around and their own.

    Args:
        layers: Keras layers.

    Returns:
        Names joined by slashes; of a layer that is frozen itself, nothing inside is listed.

    Example:

    >>> frozen_inside([keras.layers.Dense(3, name="a", trainable=False)])
    ['a']
    """
    names = []
    for layer in layers:
        if not layer.trainable:
            names.append(layer.name)
        else:
            inside = frozen_inside(layer._flatten_layers(recursive=False, include_self=False))
            names += [f"{layer.name}/{name}" for name in inside]
    return names


def freeze_inside(layers: Any, names: Sequence[str]) -> None:
    """Freeze layers by the names that `frozen_inside` gave; names that are not there wait."""
    by_name = {layer.name: layer for layer in layers}
    for name in names:
        first, _, rest = name.partition("/")
        if first in by_name and not rest:
            by_name[first].trainable = False
        elif first in by_name and isinstance(by_name[first], Block):
            by_name[first].freeze([rest])


@dataclasses.dataclass
class _Wiring:
    """The nodes of a built layer. Keras leaves alone what lies in an object that is not its own."""

    inputs: tuple = ()
    nodes: tuple = ()
    outputs: tuple = ()


class Block(keras.layers.Layer):
    """A layer whose children, their order and their wiring stand in `nodes` under its `kind`.

    A subclass stores its arguments, names them in `arguments` and calls `make_children`.

    Args:
        **kwargs: `name`, `dtype` and the other arguments of `keras.layers.Layer`.
    """

    kind = ""
    num_inputs = 1

    def __new__(cls, *args, **kwargs):
        names, needed = cls._own_arguments()
        if not {*names[: len(args)], *kwargs} >= {*needed}:
            # Before Python says only what is missing: `filter` may stand for it.
            refuse_unknown(cls.__name__, kwargs, (*names, *_OF_EVERY_LAYER))
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, **kwargs):
        try:
            super().__init__(**kwargs)
        except (TypeError, ValueError):
            # Keras names what it does not know, and nothing that there is.
            names, _ = self._own_arguments()
            refuse_unknown(type(self).__name__, kwargs, (*names, *_OF_EVERY_LAYER))
            raise
        self._frozen: tuple = ()

    @classmethod
    def _own_arguments(cls):
        """The names of the constructor's arguments, and of those without a default."""
        # Keras wraps the constructor of a subclass in places.
        function = inspect.unwrap(cls.__init__)
        own = function.__code__
        named = own.co_varnames[1 : own.co_argcount]
        needed = named[: len(named) - len(function.__defaults__ or ())]
        return own.co_varnames[1 : own.co_argcount + own.co_kwonlyargcount], needed

    def arguments(self) -> dict:
        """What `nodes` needs to know, JSON-ready, by the names of the constructor's arguments."""
        raise NotImplementedError

    def split(self, input_shape: Any) -> list[tuple]:
        """The shape of each input; a `ValueError` says what is wrong with them."""
        check_channels_last(input_shape, self.kind)
        return [tuple(input_shape)]

    def make_children(self) -> None:
        """Make the layers inside that do not depend on the inputs."""
        unknown = (None,) * 4
        self._make(self._wire([unknown] * self.num_inputs).nodes)
        self._wiring = _Wiring()

    def build(self, input_shape: Any) -> None:
        self._wiring = self._wire(self.split(input_shape))
        self._make(self._wiring.nodes)
        for node in self._wiring.nodes:
            if node.place:
                shapes = [tensor.shape for tensor in node.inputs]
                self._child(node).build(shapes if len(shapes) > 1 else shapes[0])
        freeze_inside(self._inside(), self._frozen)
        if not self.trainable:
            # Not by `self.trainable`: on TensorFlow, an attribute that is already so is left alone.
            for layer in self._inside():
                layer.trainable = False
        self.built = True

    def call(self, inputs: Any) -> Any:
        return self.run(inputs)

    def run(self, inputs: Any, **training: bool) -> Any:
        """The layers in turn; Keras passes the training mode on by itself, unless it is given."""
        inputs = inputs if isinstance(inputs, (list, tuple)) else [inputs]
        wiring = self._wiring
        known = {tensor.name: x for tensor, x in zip(wiring.inputs, inputs, strict=True)}
        for node in wiring.nodes:
            given = [known[tensor.name] for tensor in node.inputs]
            if not node.place:
                found = given[0] + given[1]
            else:
                found = self._child(node)(given if len(given) > 1 else given[0], **training)
            found = found if isinstance(found, (list, tuple)) else [found]
            known.update(zip((tensor.name for tensor in node.outputs), found, strict=True))
        results = [known[tensor.name] for tensor in wiring.outputs]
        return results if len(results) > 1 else results[0]

    def compute_output_shape(self, input_shape: Any) -> tuple | list[tuple]:
        shapes = [tensor.shape for tensor in self._wire(self.split(input_shape)).outputs]
        return shapes if len(shapes) > 1 else shapes[0]

    def compute_output_spec(self, inputs: Any, **training: Any) -> Any:
        """Shapes and dtypes without computing: heatmaps, for one, are float32 in any policy.

        Args:
            inputs: Keras tensors, as the layer is called with.
            **training: the training mode, which changes neither.

        Returns:
            A `KerasTensor`, or a list of them.
        """
        given = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
        shapes = [tensor.shape for tensor in given]
        wiring = self._wire(self.split(shapes if self.num_inputs > 1 else shapes[0]))
        dtypes = {tensor.name: self.compute_dtype for tensor in wiring.inputs}
        for node in wiring.nodes:
            made = node.place and hasattr(self, node.place)
            dtype = self._child(node).compute_dtype if made else self.compute_dtype
            dtypes.update((tensor.name, dtype) for tensor in node.outputs)
        results = [keras.KerasTensor(one.shape, dtypes[one.name]) for one in wiring.outputs]
        return results if len(results) > 1 else results[0]

    def freeze(self, names: Sequence[str]) -> None:
        """Freeze layers inside, now or when they are made.

        Args:
            names: as from `frozen_inside`.
        """
        self._frozen = (*self._frozen, *names)
        freeze_inside(self._inside(), names)

    def get_config(self) -> dict:
        frozen = frozen_inside(self._inside()) if self.trainable else []
        # Only where there is something to say: files of before have no such key.
        inside = {"frozen": frozen} if frozen else {}
        return {**super().get_config(), **copy.deepcopy(self.arguments()), **inside}

    @classmethod
    def from_config(cls, config: dict) -> "Block":
        # Keras's legacy format takes words such as "add" and "sum" for functions.
        config = {k: v.__name__ if inspect.isfunction(v) else v for k, v in config.items()}
        frozen = config.pop("frozen", ())
        layer = super().from_config(config)
        layer.freeze(frozen)
        return layer

    def _inside(self):
        return self._flatten_layers(recursive=False, include_self=False)

    def _wire(self, shapes):
        inputs = tuple(Tensor(f"input{index}", shape) for index, shape in enumerate(shapes))
        return _Wiring(inputs, *describe(self.kind, inputs, self.arguments()))

    def _make(self, nodes):
        """Make the layers of the nodes whose arguments are known, but for those that are there."""
        # The filters of some convolutions are the channels of the input.
        known = [node for node in nodes if node.options.get("filters", 0) is not None]
        held = [node for node in known if node.place]
        for (place, listed), group in itertools.groupby(held, lambda n: (n.place, n.listed)):
            if not hasattr(self, place):
                made = [make_layer(node, policy_of(self)) for node in group]
                setattr(self, place, made if listed else made[0])

    def _child(self, node):
        held = getattr(self, node.place)
        if not node.listed:
            return held
        return next(layer for layer in held if layer.name == node.name)


def check_channels_last(shape, layer):
    """Refuse inputs without a static channel axis of rank 4."""
    if len(shape) != 4 or shape[-1] is None:
        raise ValueError(
            f"{layer} expects inputs of shape (batch, height, width, channels) with known "
            f"channels. Received: shape={tuple(shape)}"
        )
