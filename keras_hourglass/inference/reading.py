"""What folding reads of a model: its graph, the kinds of its layers and their weights."""

import functools

import numpy as np

from keras_hourglass.network.blueprint import Blueprint, Part


def graph(model):
    """Layers with the keys of what they take and give, in order, and the keys of the outputs."""
    if isinstance(model, Blueprint):
        return model.nodes, model.outputs
    nodes = [
        (
            getattr(node, "operation", None) or node.layer,
            [id(tensor) for tensor in _flat(node.input_tensors)],
            [id(tensor) for tensor in _flat(node.outputs)],
        )
        for depth in sorted(model._nodes_by_depth, reverse=True)
        for node in model._nodes_by_depth[depth]
    ]
    return nodes, {name: id(tensor) for name, tensor in model.output.items()}


@functools.cache
def _classes():
    """Kind of a layer -> the class of Keras or of this package."""
    import keras

    from keras_hourglass.layers import Hourglass, IntermediateSupervision, Residual, Stem

    own = {kind.__name__: kind for kind in (Stem, Hourglass, IntermediateSupervision, Residual)}
    names = ("InputLayer", "Rescaling", "Add", "ZeroPadding2D", "Conv2D", "BatchNormalization",
             "ReLU", "MaxPooling2D", "UpSampling2D", "Activation", "Dropout")  # fmt: skip
    return own | {name: getattr(keras.layers, name) for name in names}


def kind_of(layer):
    """What a layer is, `None` if it cannot be exported."""
    if isinstance(layer, Part):
        return type(layer).__name__
    return next((name for name, kind in _classes().items() if isinstance(layer, kind)), None)


def _flat(values):
    return list(values) if isinstance(values, (list, tuple)) else [values]


def starts_residual(layers):
    """Whether layers go norm, ReLU, 1×1 convolution, norm."""
    if len(layers) < 4 or not (is_norm(layers[0]) and is_norm(layers[3])):
        return False
    return (
        kind_of(layers[1]) == "ReLU"
        and kind_of(layers[2]) == "Conv2D"
        and tuple(layers[2].kernel_size) == (1, 1)
        and tuple(layers[2].strides) == (1, 1)
    )


def is_norm(layer):
    """Whether a layer, or `None`, is a batch normalisation."""
    return layer is not None and kind_of(layer) == "BatchNormalization"


def is_identity(layer):
    """Whether a layer passes on what it gets at inference."""
    linear = kind_of(layer) == "Activation" and layer.activation.__name__ == "linear"
    return linear or kind_of(layer) == "Dropout"


def array(variable):
    """The values of a weight, float64."""
    return np.asarray(variable.numpy(), np.float64)


def float32(*arrays):
    """A tuple of float32 arrays."""
    return tuple(np.asarray(values, np.float32) for values in arrays)


def scale_and_offset(norm):
    """A batch norm at inference as `x * scale + offset`."""
    scale = 1 / np.sqrt(array(norm.moving_variance) + norm.epsilon)
    if norm.scale:
        scale = scale * array(norm.gamma)
    offset = -array(norm.moving_mean) * scale
    if norm.center:
        offset = offset + array(norm.beta)
    return scale, offset
