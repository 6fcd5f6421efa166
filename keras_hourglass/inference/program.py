"""The inference network as a short list of steps, with every batch norm folded away.

The steps are plain NumPy weights and integers, so each format has one small interpreter of them,
and all formats run exactly the same arithmetic, whichever backend Keras runs on.
"""

import dataclasses

import numpy as np

from keras_hourglass.layers.nodes import EPSILON

_HUGE = 3e38  # no bound


@dataclasses.dataclass(frozen=True)
class Step:
    """One operation.

    Args:
        kind: `conv` (stride and zero padding; weights: kernel HWIO and bias), `relu`, `pool`
            (2×2 maximum), `clamp` (weights: least and greatest value per channel), `up` (2×2
            nearest), `add`, `concat` (channels), `shift` (weights: what
            is added per channel) or `affine` (weights: scale and offset per channel).
        inputs: numbers of the steps whose results it takes; step 0 is the picture.
        weights: float32 arrays.
        options: further settings of a `conv`.
    """

    kind: str
    inputs: tuple
    weights: tuple = ()
    options: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Program:
    """Steps in the order of execution.

    Args:
        steps: the steps; the first is the input, raw pixels 0–255 `(N, height, width, 3)`.
        outputs: name of each output -> number of its step.
        input_shape: `(height, width, 3)`.
    """

    steps: list
    outputs: dict
    input_shape: tuple

    def only(self, *names):
        """The same program with just these outputs and the steps they need."""
        outputs = {name: self.outputs[name] for name in names}
        needed, stack = set(), list(outputs.values())
        while stack:
            number = stack.pop()
            if number not in needed:
                needed.add(number)
                stack.extend(self.steps[number].inputs)
        order = sorted(needed | {0})
        renumbered = {number: index for index, number in enumerate(order)}
        steps = [
            dataclasses.replace(
                self.steps[number],
                inputs=tuple(renumbered[other] for other in self.steps[number].inputs),
            )
            for number in order
        ]
        outputs = {name: renumbered[number] for name, number in outputs.items()}
        return Program(steps, outputs, self.input_shape)


def fold(graph, arrays, clamp=True):
    """Turn a network into a `Program`.

    A batch norm that follows a convolution scales its filters. One that precedes a ReLU and a 1×1
    convolution, as at the start of every residual, becomes a bound of each channel, since
    `relu(s x + b) = s max(x, -b / s) + b` (the minimum for a negative `s`): the convolution takes
    over `s` and `b`. The normalisation of pixels goes into the first convolution.

    Args:
        graph: the `Graph`; of a live model, `network.model.snapshot` gives it with the arrays.
        arrays: name of each weight -> its values, a dict.
        clamp: whether norms become bounds; they are too wide for 8-bit numbers.

    Returns:
        The `Program`.

    Example:

    >>> from keras_hourglass.zoo.store import load_snapshot
    >>> graph, arrays = load_snapshot("hourglass_tiny_lsp")
    >>> list(fold(graph, arrays).outputs)
    ['stack_1', 'stack_2']
    """
    folder = _Folder(graph, arrays, clamp)
    for node in graph.operations:
        if node.path not in folder.done:
            getattr(folder, _METHODS[node.kind])(node)
    outputs = {name: folder.steps_of[tensor.name] for name, tensor in graph.output.items()}
    return Program(folder.steps, outputs, tuple(graph.input_shape[1:]))


_METHODS = {
    "InputLayer": "input",
    "Rescaling": "normalize",
    "ZeroPadding2D": "pad",
    "Conv2D": "conv",
    "BatchNormalization": "norm",
    "ReLU": "relu",
    "MaxPooling2D": "pool",
    "UpSampling2D": "up",
    "Add": "add",
    "Concatenate": "concat",
    "Activation": "name",
}
_NO_PAD = ((0, 0), (0, 0))


class _Folder:
    """Appends steps; each method takes a node.

    Attributes:
        steps: the steps so far.
        steps_of: name of a tensor -> number of the step whose result it is, but for what waits.
        waiting: name of a tensor -> `(scale, offset)` by channel, that the next convolution takes
            over from what came before.
        pads: name of a tensor -> zeros around it, that the next convolution adds itself.
        done: paths of the nodes that others took along.
    """

    def __init__(self, graph, arrays, clamp):
        self.arrays, self.clamp = arrays, clamp
        self.steps, self.steps_of, self.waiting, self.pads, self.done = [], {}, {}, {}, set()
        self.readers = {}
        for node in graph.operations:
            for tensor in node.inputs:
                self.readers.setdefault(tensor.name, []).append(node)

    def input(self, node):
        self._append(node, "input")

    def normalize(self, node):
        """Centre the pixels; their scale is left to the first convolution.

        The shift cannot be left to it, too, since its padding is zero after the shift.
        """
        ones = np.ones(node.outputs[0].channels)
        scale, offset = ones * node.options["scale"], ones * node.options["offset"]
        self._append(node, "shift", *_float32(offset / scale))
        self.waiting[node.outputs[0].name] = scale, np.zeros_like(scale)

    def pad(self, node):
        self.pads[node.outputs[0].name] = ((node.options["padding"],) * 2,) * 2
        self._pass(node)

    def conv(self, node):
        """A convolution with what waits before it and the norm that follows."""
        before, after = node.inputs[0].name, node.outputs[0]
        kernel, bias = (self._array(node, weight.name) for weight in node.weights)
        if before in self.waiting:
            scale, offset = self.waiting[before]
            if offset.any():  # only where the kernel is 1×1
                bias = bias + offset @ kernel[0, 0]
            kernel = kernel * scale[:, None]
        norm = self._only_reader(after, "BatchNormalization")
        if norm is not None:
            scale, offset = self._scale_and_offset(norm)
            kernel, bias = kernel * scale, bias * scale + offset
        pad = self.pads.get(before, _NO_PAD)
        if node.options["padding"] == "same":
            pad = tuple(((size - 1) // 2, size // 2) for size in kernel.shape[:2])
        options = {"stride": node.options.get("strides", 1), "pad": pad}
        self._append(node, "conv", *_float32(kernel, bias), options=options)
        if norm is not None:
            self._pass(norm)

    def norm(self, node):
        """A norm that follows no convolution: a bound where that is possible."""
        relu = self._only_reader(node.outputs[0], "ReLU")
        follows = relu and self._only_reader(relu.outputs[0], "Conv2D")
        scale, offset = self._scale_and_offset(node)
        if not (self.clamp and follows and follows.weights[0].shape[:2] == (1, 1)):
            self._append(node, "affine", *_float32(scale, offset))
            return
        constant = np.abs(scale) < 1e-12
        bound = np.clip(-offset / np.where(constant, 1, scale), -_HUGE, _HUGE)
        low = np.where(~constant & (scale > 0), bound, -_HUGE)
        high = np.where(~constant & (scale < 0), bound, _HUGE)
        self._append(node, "clamp", *_float32(low, high))
        self._pass(relu)
        offset = np.where(constant, np.maximum(offset, 0), offset)
        self.waiting[relu.outputs[0].name] = np.where(constant, 0, scale), offset

    def relu(self, node):
        self._append(node, "relu")

    def pool(self, node):
        self._append(node, "pool")

    def up(self, node):
        self._append(node, "up")

    def concat(self, node):
        self._append(node, "concat")

    def add(self, node):
        total, *others = (self.steps_of[tensor.name] for tensor in node.inputs)
        for other in others:
            self.steps.append(Step("add", (total, other)))
            total = len(self.steps) - 1
        self.steps_of[node.outputs[0].name] = total

    def name(self, node):
        """An identity that only has a name."""
        self._pass(node)

    def _append(self, node, kind, *weights, options=None):
        inputs = tuple(self.steps_of[tensor.name] for tensor in node.inputs)
        self.steps.append(Step(kind, inputs, weights, options or {}))
        self.steps_of[node.outputs[0].name] = len(self.steps) - 1

    def _pass(self, node):
        """Let a node's result be its input, whatever waits for the next convolution with it."""
        before, after = node.inputs[0].name, node.outputs[0].name
        self.steps_of[after] = self.steps_of[before]
        if before in self.waiting:
            self.waiting[after] = self.waiting[before]
        self.done.add(node.path)

    def _only_reader(self, tensor, kind):
        """The node that alone reads a tensor, if it is of that kind."""
        readers = self.readers.get(tensor.name, [])
        return readers[0] if len(readers) == 1 and readers[0].kind == kind else None

    def _array(self, node, name):
        return np.asarray(self.arrays[f"{node.path}/{name}"], np.float64)

    def _scale_and_offset(self, norm):
        """A batch norm at inference as `x * scale + offset`."""
        gamma, beta, mean, variance = (self._array(norm, weight.name) for weight in norm.weights)
        scale = gamma / np.sqrt(variance + EPSILON)
        return scale, beta - mean * scale


def _float32(*arrays):
    return tuple(np.asarray(values, np.float32) for values in arrays)
