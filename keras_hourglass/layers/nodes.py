"""What the layers consist of, as plain data: the one place that says what is inside a block.

A network is a list of nodes. Some are single operations, named after the class of Keras that
computes them; others are blocks (`Residual`, `Hourglass`, …) with nodes inside. Each function at
the end says what one block is made of. The Keras layer of the same name makes its children of these
nodes and calls them in this order; `network.graph` joins blocks to a network, whose parameters are
counted, whose files are read and whose norms are folded away, all from the same nodes. To change
what is inside a block, change its function here; to change how blocks are joined, change
`network.graph`. Nothing here needs Keras.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

from keras_hourglass.errors import UserError
from keras_hourglass.io.structured import shorten

# Of batch normalisation: Torch's defaults, with which the paper's networks were trained; Keras has
# 1e-3 and 0.99.
EPSILON, MOMENTUM = 1e-5, 0.9
# Targets are empty but for a few pixels; larger first outputs would have to be unlearned.
HEATMAP_STDDEV = 0.01


@dataclasses.dataclass(frozen=True)
class Tensor:
    """What goes from node to node, or a weight.

    Args:
        name: unlike that of any other tensor around; of a weight, unlike those of its layer.
        shape: `(batch, height, width, channels)`, or the weight's; what is not known is `None`.
    """

    name: str
    shape: tuple

    @property
    def channels(self):
        """The number of channels, or `None`."""
        return self.shape[-1]


@dataclasses.dataclass(frozen=True)
class Node:
    """A layer, or the sum of two tensors that needs none.

    Args:
        kind: the class of the layer, of this package or of Keras.
        name: the layer's name, unlike that of any other in the same block.
        path: the names of the blocks around and its own, joined by slashes.
        place: the block's attribute that holds the layer; `None` for a sum without a layer, and
            in the network itself.
        listed: whether that attribute is a list.
        inputs: tuple of `Tensor`s.
        outputs: tuple of `Tensor`s.
        options: the layer's arguments.
        weights: `Tensor`s in the order of the layer.
        inside: the nodes of a block, a tuple.
    """

    kind: str
    name: str
    path: str
    place: str | None
    listed: bool
    inputs: tuple
    outputs: tuple
    options: dict[str, Any] = dataclasses.field(default_factory=dict)
    weights: tuple = ()
    inside: tuple = ()


class Builder:
    """Appends nodes; every method takes and returns tensors.

    Args:
        path: of the block whose nodes these are; empty for a network, or a layer on its own.
        synchronized: whether batch norms take statistics over all replicas.

    Attributes:
        nodes: list of `Node`s in the order of execution.

    Example:

    >>> builder = Builder("hourglass_1/")
    >>> builder.block("Residual", "upper1", Tensor("x", (None, 8, 6, 4)), filters=6)
    (Tensor(name='hourglass_1/upper1/sum', shape=(None, 8, 6, 6)),)
    >>> [node.name for node in builder.nodes[0].inside][-3:]
    ['conv3', 'skip', 'sum']
    """

    def __init__(self, path="", synchronized=False):
        self.path, self.synchronized, self.nodes = path, synchronized, []

    def add(self, kind, name, inputs, shape, place=None, listed=False, options=None, weights=()):
        """Append a node with one output; returns that."""
        path = self.path + name
        output = Tensor(path, shape)
        inputs = tuple(inputs)
        self.nodes.append(
            Node(kind, name, path, place, listed, inputs, (output,), options or {}, weights)
        )
        return output

    def block(self, kind, name, *inputs, place=None, listed=False, **options):
        """Append a block with all that is inside; returns its outputs, a tuple."""
        path = self.path + name
        if self.synchronized:
            options["synchronized"] = True
        inside, outputs = describe(kind, inputs, options, f"{path}/")
        self.nodes.append(
            Node(kind, name, path, place, listed, inputs, outputs, options, inside=inside)
        )
        return outputs

    def conv(self, x, name, filters, size=1, place=None, listed=False, **options):
        """A convolution with bias, `same` padding unless told otherwise."""
        options = {"filters": filters, "kernel_size": size, "padding": "same", **options}
        strides, edges = options.get("strides", 1), x.shape[1:3]
        if options["padding"] == "valid":
            edges = [edge and edge - size + 1 for edge in edges]
        edges = [edge and -(-edge // strides) for edge in edges]
        kernel = Tensor("kernel", (size, size, x.channels, filters))
        weights = (kernel, Tensor("bias", (filters,)))
        shape = (x.shape[0], *edges, filters)
        return self.add("Conv2D", name, [x], shape, place, listed, options, weights)

    def norm(self, x, name, place=None, listed=False):
        """A batch normalisation with scale and offset."""
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        weights = tuple(Tensor(weight, (x.channels,)) for weight in names)
        options = {"synchronized": True} if self.synchronized else {}
        return self.add("BatchNormalization", name, [x], x.shape, place, listed, options, weights)

    def relu(self, x, name, place=None, listed=False):
        """The activation."""
        return self.add("ReLU", name, [x], x.shape, place, listed)

    def pool(self, x, name, place=None, listed=False):
        """The maximum of two by two pixels."""
        shape = (x.shape[0], *(edge and edge // 2 for edge in x.shape[1:3]), x.channels)
        return self.add("MaxPooling2D", name, [x], shape, place, listed, {"pool_size": 2})

    def up(self, x, name, place=None):
        """Every pixel two by two times."""
        shape = (x.shape[0], *(edge and 2 * edge for edge in x.shape[1:3]), x.channels)
        options = {"size": 2, "interpolation": "nearest"}
        return self.add("UpSampling2D", name, [x], shape, place, False, options)

    def pad(self, x, name, edge, place=None, listed=False):
        """Zeros on every side."""
        shape = (x.shape[0], *(size and size + 2 * edge for size in x.shape[1:3]), x.channels)
        return self.add("ZeroPadding2D", name, [x], shape, place, listed, {"padding": edge})

    def concatenate(self, a, b, name, place=None):
        """Channels beside each other."""
        known = None not in (a.channels, b.channels)
        shape = (*a.shape[:-1], a.channels + b.channels if known else None)
        return self.add("Concatenate", name, [a, b], shape, place)

    def sum(self, a, b, name="sum"):
        """The sum of two tensors, without a layer."""
        return self.add("Add", name, [a, b], a.shape if b.channels is None else b.shape)

    def residuals(self, x, key, widths, place=None):
        """Residuals that follow each other, in a list."""
        for index, width in enumerate(widths, start=1):
            (x,) = self.block(
                "Residual", f"{key}{index}", x, place=place or key, listed=True, filters=width
            )
        return x


def check_positive(name, value):
    """Refuse anything but a positive integer."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise UserError(
            f"Expected `{name}` to be a positive integer. Received: {name}={shorten(repr(value))}"
        )


def describe(kind, inputs, options, path=""):
    """The nodes of a block.

    Args:
        kind: class of the block.
        inputs: tuple of `Tensor`s; of unknown shape before a layer is built.
        options: the arguments of its layer.
        path: of the block, with a slash at the end.

    Returns:
        The nodes and the tensors that leave, two tuples.
    """
    builder = Builder(path, options.get("synchronized", False))
    arguments = {key: value for key, value in options.items() if key != "synchronized"}
    outputs = _BLOCKS[kind](builder, *inputs, **arguments)
    return tuple(builder.nodes), tuple(outputs)


def _residual(build, x, filters):
    half = filters and filters // 2
    y = x
    for index, (width, size) in enumerate(((half, 1), (half, 3), (filters, 1)), start=1):
        y = build.norm(y, f"bn{index}", "branch", listed=True)
        y = build.relu(y, f"relu{index}", "branch", listed=True)
        y = build.conv(y, f"conv{index}", width, size, "branch", listed=True)
    # Before a layer is built it does not know whether it needs the convolution.
    width = filters if x.channels else None
    skip = build.conv(x, "skip", width, place="skip") if x.channels != filters else x
    return [build.sum(y, skip)]


def _stem(build, x, filters, before, after, return_pooled=False):
    x = build.pad(x, "pad", 3, "first", listed=True)
    x = build.conv(x, "conv", filters, 7, "first", listed=True, strides=2, padding="valid")
    x = build.norm(x, "bn", "first", listed=True)
    x = build.relu(x, "relu", "first", listed=True)
    x = build.residuals(x, "before", before, "first")
    pooled = build.pool(x, "pool", "first", listed=True)
    features = build.residuals(pooled, "after", after, "second")
    return [features, pooled] if return_pooled else [features]


def _hourglass(build, x, filters, depth, upper, lower, bottom, after, return_inner=0):
    widths = {"upper": upper, "lower": lower, "bottom": bottom, "after": after}
    beside = build.residuals(x, "upper", upper)
    y = build.residuals(build.pool(x, "pool", "pool"), "lower", lower)
    levels: Sequence = ()
    if depth > 1:
        deeper = {"depth": depth - 1, "return_inner": max(return_inner - 1, 0)}
        levels = build.block(
            "Hourglass", "inner", y, place="inner", listed=True, filters=filters, **widths, **deeper
        )
        y = levels[0]
    else:
        y = build.residuals(y, "bottom", bottom, "inner")
    y = build.up(build.residuals(y, "after", after), "up", "up")
    return [build.sum(beside, y), *(levels if return_inner else ())]


def _supervision(
    build, x, skip=None, num_keypoints=None, filters=(), num_blocks=0, merge="add",
    heatmap_dtype="float32",
):  # fmt: skip
    y = build.residuals(x, "residual", [x.channels] * num_blocks, "residuals")
    for index, width in enumerate(filters, start=1):
        y = build.conv(y, f"conv{index}", width, place="linear", listed=True)
        y = build.norm(y, f"bn{index}", "linear", listed=True)
        y = build.relu(y, f"relu{index}", "linear", listed=True)
    outputs = []
    if num_keypoints:
        small = {"class_name": "RandomNormal", "config": {"stddev": HEATMAP_STDDEV}}
        options = {"dtype": heatmap_dtype, "kernel_initializer": small}
        outputs.append(build.conv(y, "heatmaps", num_keypoints, place="heatmaps", **options))
    if not merge:
        return outputs
    if merge == "concat":
        merged = build.concatenate(y, skip, "concat", "concatenate")
        merged = build.conv(merged, "merge_features", merged.channels, place="merge_features")
    else:
        merged = build.conv(y, "merge_features", skip.channels, place="merge_features")
        merged = build.sum(skip, merged)
    if num_keypoints:
        place = "merge_heatmaps"
        back = build.conv(outputs[0], place, merged.channels, place=place)
        merged = build.sum(merged, back, "sum_heatmaps")
    return [*outputs, merged]


_BLOCKS: dict[str, Callable] = {
    "Residual": _residual,
    "Stem": _stem,
    "Hourglass": _hourglass,
    "IntermediateSupervision": _supervision,
}
