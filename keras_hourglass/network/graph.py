"""The network as one list of nodes, made from its arguments without Keras.

This is the one place that says how the blocks are joined; what is inside a block stands in
`layers.nodes`. The Keras model is built from the nodes (`network.model`), parameters and
operations are counted here, weights files are read for them (`network.variables`) and their norms
are folded away (`inference.program`).
"""

import functools
import math
from typing import Any, NamedTuple

from keras_hourglass.layers.nodes import Builder, Node
from keras_hourglass.network.config import (
    complete,
    head_widths,
    hourglass_widths,
    inner_strides,
    output_strides,
    stem_widths,
)
from keras_hourglass.skeletons import Skeleton, get_skeleton


class Graph:
    """A network's nodes, what comes out, and what it costs.

    Args:
        config: arguments of `StackedHourglass`, perhaps of `get_config`; `name` and `dtype` do not
            matter.

    Attributes:
        config: the complete arguments.
        nodes: `Node`s in the order of execution, blocks with theirs inside.
        output: name of an output -> its `Tensor`, the final one last.

    Raises:
        UserError: if an argument is out of range.

    Example:

    >>> graph = Graph({"stem": "bearpaw", "num_stacks": 2})
    >>> graph.trainable, graph.output["stack_2"].shape
    (6730912, (None, 64, 64, 16))
    """

    def __init__(self, config: dict):
        ignored = ("name", "dtype", "trainable", "frozen")
        self.config = complete({key: config[key] for key in config if key not in ignored})
        build = Builder(synchronized=self.config["synchronized"])
        self.output = _join(build, self.config)
        self.nodes: tuple[Node, ...] = tuple(build.nodes)

    @property
    def input_shape(self) -> tuple:
        """`(None, height, width, channels)` of the crop in input pixels."""
        return (None, *self.config["input_shape"])

    @property
    def skeleton(self) -> Skeleton | None:
        """The joints, or `None` where they have no names."""
        values = self.config["skeleton"]
        return get_skeleton(values) if values else None

    @property
    def num_keypoints(self) -> int:
        """How many maps each output has."""
        return self.config["num_keypoints"]

    @property
    def preprocessing(self) -> dict:
        """How crops are made for this network, see `StackedHourglass`."""
        return self.config["metadata"].get("preprocessing", {})

    @property
    def thresholds(self) -> dict[str, float]:
        """Joint name -> least score of a joint that counts as present."""
        return self.config["metadata"].get("thresholds", {})

    @functools.cached_property
    def operations(self) -> tuple[Node, ...]:
        """The nodes of all blocks in the order of execution, without the blocks."""
        return tuple(_opened(self.nodes))

    @functools.cached_property
    def layers(self) -> list[Node]:
        """The nodes as `keras.Model.layers` lists its layers, after which files are laid out.

        That is by the distance from the outputs, and where it is equal, as they are met on the way
        back from the outputs in the order of their names.
        """
        source = {tensor.name: node for node in self.nodes for tensor in node.outputs}
        distance = dict.fromkeys((node.name for node in self.nodes), 0)
        for node in reversed(self.nodes):
            for tensor in node.inputs:
                before = source[tensor.name].name
                distance[before] = max(distance[before], distance[node.name] + 1)
        met = {}

        def go_back(node):
            if node.name not in met:
                met[node.name] = node
                for tensor in node.inputs:
                    go_back(source[tensor.name])

        for name in sorted(self.output):
            go_back(source[self.output[name].name])
        return sorted(met.values(), key=lambda node: -distance[node.name])

    @property
    def trainable(self) -> int:
        """The number of trainable parameters."""
        return sum(size for name, size in self._sizes() if not name.startswith("moving_"))

    @property
    def fixed(self) -> int:
        """The number of moving statistics of batch normalisation."""
        return sum(size for name, size in self._sizes() if name.startswith("moving_"))

    @property
    def multiplications(self) -> int:
        """Multiply-adds of all convolutions for one image."""
        total = 0
        for node in self.operations:
            if node.kind == "Conv2D":
                _, height, width, _ = node.outputs[0].shape
                total += height * width * math.prod(node.weights[0].shape)
        return total

    @property
    def gflops(self) -> float:
        """Floating-point operations of one image, 10⁹; a multiply-add counts as two."""
        return 2 * self.multiplications / 1e9

    def _sizes(self):
        for node in self.operations:
            for weight in node.weights:
                yield weight.name, math.prod(weight.shape)


class Snapshot(NamedTuple):
    """A network and its weights at one moment, which is what folding takes.

    Args:
        graph: the `Graph`.
        arrays: name of each weight, as `network.variables` names them -> float32 array.

    Example:

    >>> from keras_hourglass.zoo.store import load_snapshot
    >>> graph, arrays = load_snapshot("hourglass_tiny_lsp")
    >>> arrays["stem/conv/bias"].shape
    (16,)
    """

    graph: Graph
    arrays: dict[str, Any]


def _opened(nodes):
    for node in nodes:
        if node.inside:
            yield from _opened(node.inside)
        else:
            yield node


def _join(build, config):
    """Append the nodes of a network; returns its outputs by name."""
    joints, stacks, merge = (config[key] for key in ("num_keypoints", "num_stacks", "merge"))
    supervision, strides = config["supervision"], inner_strides(config)
    filters, branches = hourglass_widths(config)
    supervise = functools.partial(build.block, "IntermediateSupervision")
    x, pooled = _before_the_stacks(build, config)
    predicted = {}
    for stack in range(1, stacks + 1):
        last = stack == stacks
        form = {"filters": filters, "depth": config["depth"], **branches}
        name = f"hourglass_{stack}"
        y, *inner = build.block("Hourglass", name, x, **form, return_inner=len(strides))
        for stride, features in zip(strides, inner, strict=True):
            name = f"stack_{stack}_stride_{stride}"
            options = {"num_keypoints": joints, "filters": [filters], "merge": None}
            (predicted[name],) = supervise(f"head_{name}", features, **options)
        num_blocks, widths = head_widths(config, stack)
        predicts = last or supervision != "last"
        options = {
            "num_keypoints": joints if predicts else None,
            "filters": widths,
            "num_blocks": num_blocks,
            "merge": None if last else merge,
        }
        skip = () if last else (pooled if merge == "concat" else x,)
        found = supervise(f"supervision_{stack}", y, *skip, **options)
        if predicts:
            predicted[f"stack_{stack}"] = found[0]
        x = found[-1]
    if supervision == "sum" and stacks > 1:
        maps = list(predicted.values())
        total = build.add("Add", "sum", maps, maps[0].shape, options={"dtype": "float32"})
        predicted = {f"stack_{stacks}": total}
    # Named identities, so that losses and logs are called stack_1, stack_2, ….
    options = {"activation": "linear", "dtype": "float32"}
    return {
        name: build.add("Activation", name, [maps], maps.shape, options=options)
        for name, maps in ((name, predicted[name]) for name in output_strides(config))
    }


def _before_the_stacks(build, config):
    """Append the picture, its normalisation and the stem; returns features and pooled features."""
    image = build.add("InputLayer", "image", (), (None, *config["input_shape"]))
    # float32, since bfloat16 cannot hold all pixel values between integers.
    options = {"scale": config["scale"], "offset": config["offset"], "dtype": "float32"}
    pixels = build.add("Rescaling", "normalize", [image], image.shape, options=options)
    filters, before, after = stem_widths(config)
    options = {"filters": filters, "before": before, "after": after, "return_pooled": True}
    return build.block("Stem", "stem", pixels, **options)
