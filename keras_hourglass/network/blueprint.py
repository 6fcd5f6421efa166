"""A trained network without Keras: the same layers by name, their weights as NumPy arrays.

Predicting one photo should not wait seconds for a framework that builds hundreds of variables for
another runtime to compute with. A `Blueprint` has what `weights` needs to read a file into it and
`folding` needs to make a program of it; its classes are called as those of Keras, after which
`.weights.h5` files name their groups. Tests hold it against the built model, array by array.
"""

import types

from keras_hourglass.layers.constants import EPSILON
from keras_hourglass.network.config import (
    complete,
    head_widths,
    hourglass_widths,
    inner_strides,
    output_strides,
    stem_widths,
)
from keras_hourglass.skeletons import get_skeleton


class Array:
    """A weight of a layer: its name, shape and, once assigned, values."""

    def __init__(self, name, shape):
        self.name, self.shape, self.values = name, tuple(shape), None

    def assign(self, values):
        """Take the values, a float32 array."""
        self.values = values

    def numpy(self):
        """The values."""
        return self.values


class Part:
    """A layer.

    Args:
        name: the layer's name.
        **attributes: what else there is to know of it, other parts among them.
    """

    weights = ()

    def __init__(self, name, **attributes):
        self.name = name
        vars(self).update(attributes)


class Conv2D(Part):
    """A convolution with bias."""

    use_bias = True

    def __init__(self, name, source, filters, size=1, strides=1, padding="same"):
        super().__init__(name)
        self.kernel_size, self.strides, self.padding = (size,) * 2, (strides,) * 2, padding
        self.kernel = Array("kernel", (size, size, source, filters))
        self.bias = Array("bias", (filters,))
        self.weights = (self.kernel, self.bias)


class BatchNormalization(Part):
    """A batch normalisation with scale and offset."""

    epsilon, scale, center = EPSILON, True, True

    def __init__(self, name, width):
        super().__init__(name)
        names = ("gamma", "beta", "moving_mean", "moving_variance")
        self.weights = tuple(Array(name, (width,)) for name in names)
        self.gamma, self.beta, self.moving_mean, self.moving_variance = self.weights


class InputLayer(Part):
    """The picture."""


class Rescaling(Part):
    """The normalisation of pixels."""


class ZeroPadding2D(Part):
    """Zeros around the features."""


class ReLU(Part):
    """The activation."""


class MaxPooling2D(Part):
    """Of two by two."""


class UpSampling2D(Part):
    """To two by two."""


class Add(Part):
    """The sum of the stacks' heatmaps."""


class Residual(Part):
    """See `layers.Residual`; `source` are the channels of its input."""

    def __init__(self, name, source, filters):
        super().__init__(name)
        self.branch, self.project = [], source != filters
        before = source
        for index, (width, size) in enumerate(
            ((filters // 2, 1), (filters // 2, 3), (filters, 1)), start=1
        ):
            self.branch += [
                BatchNormalization(f"bn{index}", before),
                ReLU(f"relu{index}"),
                Conv2D(f"conv{index}", before, width, size),
            ]
            before = width
        self.skip = Conv2D("skip", source, filters) if self.project else None


def _residuals(key, source, widths):
    """Residuals that follow each other, and the channels that leave the last one."""
    chain = []
    for index, width in enumerate(widths, start=1):
        chain.append(Residual(f"{key}{index}", source, width))
        source = width
    return chain, source


class Stem(Part):
    """See `layers.Stem`."""

    return_pooled = True

    def __init__(self, channels, filters, before, after):
        super().__init__("stem")
        chain, self.pooled = _residuals("before", filters, before)
        self.first = [
            ZeroPadding2D("pad", padding=((3, 3), (3, 3))),
            Conv2D("conv", channels, filters, 7, 2, "valid"),
            BatchNormalization("bn", filters),
            ReLU("relu"),
            *chain,
            MaxPooling2D("pool"),
        ]
        self.second, self.channels = _residuals("after", self.pooled, after)


class Hourglass(Part):
    """See `layers.Hourglass`; `widths` are those of its four branches."""

    def __init__(self, name, source, widths, depth, return_inner=0):
        super().__init__(name, return_inner=return_inner)
        self.upper, self.channels = _residuals("upper", source, widths["upper"])
        self.pool = MaxPooling2D("pool")
        self.lower, inside = _residuals("lower", source, widths["lower"])
        if depth > 1:
            inner = Hourglass("inner", inside, widths, depth - 1, max(return_inner - 1, 0))
            self.inner, inside = [inner], inner.channels
        else:
            self.inner, inside = _residuals("bottom", inside, widths["bottom"])
        self.after, _ = _residuals("after", inside, widths["after"])
        self.up = UpSampling2D("up")


class IntermediateSupervision(Part):
    """See `layers.IntermediateSupervision`; `skip` are the channels of its second input."""

    def __init__(self, name, source, joints, widths, num_blocks=0, merge=None, skip=None):
        super().__init__(name, merge=merge)
        self.residuals, width = _residuals("residual", source, [source] * num_blocks)
        self.linear = []
        for index, filters in enumerate(widths, start=1):
            self.linear += [
                Conv2D(f"conv{index}", width, filters),
                BatchNormalization(f"bn{index}", filters),
                ReLU(f"relu{index}"),
            ]
            width = filters
        self.heatmaps = Conv2D("heatmaps", width, joints) if joints else None
        self.channels = skip
        if merge:
            source, self.channels = (width + skip,) * 2 if merge == "concat" else (width, skip)
            self.merge_features = Conv2D("merge_features", source, self.channels)
            if joints:
                self.merge_heatmaps = Conv2D("merge_heatmaps", joints, self.channels)


class Blueprint:
    """A network as its arguments describe it.

    Args:
        config: arguments of `StackedHourglass`; `name` and `dtype` do not matter.

    Attributes:
        layers: the parts in Keras's order.
        nodes: `(part, inputs, outputs)` in the order of execution, with a name for each tensor.
        outputs: name of an output -> name of its tensor.

    Raises:
        UserError: if an argument is out of range.

    Example:

    >>> Blueprint({"num_features": 16, "num_keypoints": 5}).output["stack_2"].shape
    (None, 64, 64, 5)
    """

    # What an engine watches for changes: nobody trains these weights.
    variables = ()

    def __init__(self, config):
        ignored = ("name", "dtype", "trainable")
        config = complete({key: config[key] for key in config if key not in ignored})
        self.input_shape = (None, *config["input_shape"])
        height, width = config["input_shape"][:2]
        self.output = {
            name: types.SimpleNamespace(
                shape=(None, height // stride, width // stride, config["num_keypoints"])
            )
            for name, stride in output_strides(config).items()
        }
        self.skeleton = get_skeleton(config["skeleton"]) if config["skeleton"] else None
        self.preprocessing = config["metadata"].get("preprocessing", {})
        self.thresholds = config["metadata"].get("thresholds", {})
        self.nodes, self.outputs = [], {}
        self._build(config)
        # Keras lists layers by how far they are from the outputs: heads that lead no further come
        # last, in the order of the outputs' names.
        ends = {outputs: part for part, _, outputs in self.nodes if len(outputs) == 1}
        heads = [ends[name,] for name in sorted(self.outputs.values()) if (name,) in ends]
        self.layers = [part for part, _, _ in self.nodes if part not in heads] + heads

    def _add(self, part, inputs, *outputs):
        self.nodes.append((part, inputs, outputs))
        return part

    def _build(self, config):
        joints, stacks, merge = (config[key] for key in ("num_keypoints", "num_stacks", "merge"))
        supervision, strides = config["supervision"], inner_strides(config)
        filters, widths = hourglass_widths(config)
        self._add(InputLayer("image"), (), "image")
        scaled = Rescaling("normalize", scale=config["scale"], offset=config["offset"])
        self._add(scaled, ("image",), "pixels")
        stem = Stem(config["input_shape"][2], *stem_widths(config))
        self._add(stem, ("pixels",), "x0", "pooled")
        channels = stem.channels
        for stack in range(1, stacks + 1):
            last, now = stack == stacks, f"x{stack - 1}"
            inner = [f"stack_{stack}_stride_{stride}" for stride in strides]
            hourglass = Hourglass(
                f"hourglass_{stack}", channels, widths, config["depth"], len(strides)
            )
            self._add(hourglass, (now,), f"y{stack}", *(f"y_{name}" for name in inner))
            for name in inner:
                head = IntermediateSupervision(f"head_{name}", filters, joints, [filters])
                self._add(head, (f"y_{name}",), name)
            num_blocks, head_filters = head_widths(config, stack)
            predicts = last or supervision != "last"
            head = IntermediateSupervision(
                f"supervision_{stack}",
                filters,
                joints if predicts else None,
                head_filters,
                num_blocks,
                None if last else merge,
                stem.pooled if merge == "concat" else channels,
            )
            inputs = (f"y{stack}",)
            if not last:
                inputs += ("pooled" if merge == "concat" else now,)
            outputs = (f"stack_{stack}",) * predicts + (f"x{stack}",) * (not last)
            self._add(head, inputs, *outputs)
            channels = head.channels
        self.outputs = {name: name for name in self.output}
        if supervision == "sum" and stacks > 1:
            name = f"stack_{stacks}"
            self._add(Add("sum"), tuple(f"stack_{n}" for n in range(1, stacks + 1)), "sum")
            self.outputs = {name: "sum"}
