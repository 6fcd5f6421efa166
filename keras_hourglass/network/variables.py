"""Readable names of a network's variables, and their places in Keras's `.weights.h5` files.

Every array has a name made of the layers' names, such as `hourglass_1/inner/upper1/conv2/kernel`.
In the files, Keras names groups after classes and counts them.
"""

import re
import sys

import numpy as np

from keras_hourglass.layers.nodes import Node


def named_variables(model):
    """The variables of a model under readable names, in the order of the graph.

    Args:
        model: a `StackedHourglass`, any functional model of this package's layers, or a `Graph`.

    Returns:
        A dict name -> Keras variable, or `Tensor` of a graph.

    Example:

    >>> from keras_hourglass import StackedHourglass
    >>> model = StackedHourglass(5, 1, 8, depth=2, input_shape=(32, 32, 3))
    >>> list(named_variables(model))[:2]
    ['stem/conv/kernel', 'stem/conv/bias']
    """
    return {name: variable for name, _, variable in _walk(model)}


def file_keys(model):
    """The place of each variable in a `.weights.h5` file.

    Args:
        model: as for `named_variables`.

    Returns:
        A dict name -> path inside the file.
    """
    return {name: key for name, key, _ in _walk(model)}


def arrays_of(model):
    """The values of all variables of a built model, name -> NumPy array."""
    return {name: np.asarray(_value(variable)) for name, variable in named_variables(model).items()}


def layer_keys(model):
    """The place of every layer in a `.weights.h5` file, also of those without weights: a list."""
    return [key for _, key, _, _ in _walk_layers(model.layers, "", "layers")]


def _value(variable):
    """A variable's value as NumPy, whatever the backend and the device."""
    return variable.numpy() if hasattr(variable, "numpy") else variable


def _walk(model):
    """Name, path in the file and variable of each variable of a model."""
    for name, key, layer, leaf in _walk_layers(model.layers, "", "layers"):
        for index, variable in enumerate(layer.weights if leaf else ()):
            short = variable.name.split("/")[-1].split(":")[0]
            yield f"{name}/{short}", f"{key}/vars/{index}", variable


def _walk_layers(layers, name, key):
    """Name, path in the file, layer, and whether it has no layers inside, of all nested layers."""
    for layer, counter in zip(layers, _class_counters(layers), strict=True):
        yield from _walk_layer(layer, name + layer.name, f"{key}/{counter}")


def _walk_layer(layer, name, key):
    children = _children_of_node(layer) if isinstance(layer, Node) else _children(layer)
    yield name, key, layer, not children
    for attribute, value in children.items():
        if _is_list(value):
            yield from _walk_layers(value, f"{name}/", f"{key}/{attribute}")
        else:
            yield from _walk_layer(value, f"{name}/{value.name}", f"{key}/{attribute}")


def _children_of_node(node):
    """Attribute of a block's layer -> the node of the layer that it holds, or a list of such."""
    children: dict = {}
    for inner in node.inside:
        if inner.listed:
            children.setdefault(inner.place, []).append(inner)
        elif inner.place:
            children[inner.place] = inner
    return children


def _children(layer):
    """Attribute of a Keras layer -> the layer that it holds, or a list of such."""
    # PyTorch, as a backend, keeps the layers among the attributes in a place of its own.
    attributes = {**vars(layer), **vars(layer).get("_modules", {})}
    return {
        attribute: value
        for attribute, value in attributes.items()
        if not attribute.startswith("_") and _holds_layers(value)
    }


def _is_list(value):
    return isinstance(value, (list, tuple))


def _holds_layers(value):
    items = value if _is_list(value) else [value]
    kind = sys.modules["keras"].layers.Layer
    return bool(items) and all(isinstance(item, kind) for item in items)


def _class_counters(layers):
    """Keras's names in a list of layers: the class in snake case, counted from the second on."""
    used: dict = {}
    for layer in layers:
        kind = layer.kind if isinstance(layer, Node) else type(layer).__name__
        name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", kind)
        name = re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()
        count = used.get(name, 0)
        used[name] = count + 1
        yield f"{name}_{count}" if count else name
