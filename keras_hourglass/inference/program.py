"""The inference network as a short list of steps, with every batch norm folded away.

The steps are plain NumPy weights and integers, so each format has one small interpreter of them,
and all formats run exactly the same arithmetic, whichever backend Keras runs on.
"""

import dataclasses

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.inference.reading import (
    array,
    float32,
    graph,
    is_identity,
    is_norm,
    kind_of,
    scale_and_offset,
    starts_residual,
)

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


def fold(model, clamp=True):
    """Turn a model into a `Program`.

    A batch norm that follows a convolution scales its filters. One that precedes a ReLU and a 1×1
    convolution, as at the start of every residual, becomes a bound of each channel, since
    `relu(s x + b) = s max(x, -b / s) + b` (the minimum for a negative `s`): the convolution takes
    over `s` and `b`. The normalisation of pixels goes into the first convolution.

    Args:
        model: a `StackedHourglass`, its `Blueprint`, or any functional model of this package's
            layers with one picture as input and a dict of outputs.
        clamp: whether norms become bounds; they are too wide for 8-bit numbers.

    Returns:
        The `Program`.

    Raises:
        UserError: if the model holds a layer that cannot be exported.
    """
    builder, known = _Builder(clamp), {}
    nodes, outputs = graph(model)
    for layer, inputs, results in nodes:
        if kind_of(layer) == "InputLayer":
            known[results[0]] = builder.input()
            continue
        steps = builder.layer(layer, [known[tensor] for tensor in inputs])
        known.update(zip(results, steps, strict=True))
    outputs = {name: known[tensor] for name, tensor in outputs.items()}
    return Program(builder.steps, outputs, tuple(model.input_shape[1:]))


class _Builder:
    """Appends steps; every method takes and returns numbers of steps."""

    def __init__(self, clamp):
        self.steps, self.clamp = [], clamp
        self.rescaled = (None, 1)

    def input(self):
        return self._append(Step("input", ()))

    def _append(self, step):
        self.steps.append(step)
        return len(self.steps) - 1

    def layer(self, layer, inputs):
        """The results of a layer, a list."""
        kind = kind_of(layer)
        if kind == "Rescaling":
            return self.normalize(layer, *inputs)
        if kind == "Stem":
            pooled = self.chain(layer.first, *inputs)
            features = self.chain(layer.second, pooled)
            return [features, pooled] if layer.return_pooled else [features]
        if kind == "Hourglass":
            return self.hourglass(layer, *inputs)
        if kind == "IntermediateSupervision":
            return self.supervision(layer, *inputs)
        if kind == "Add":
            total = inputs[0]
            for other in inputs[1:]:
                total = self._append(Step("add", (total, other)))
            return [total]
        return [self.chain([layer], *inputs)]

    def normalize(self, layer, x):
        """Centre the pixels; their scale is left to the first convolution.

        The shift cannot be left to it, too, since its padding is zero after the shift.
        """
        ones = np.ones(3)
        scale, offset = ones * layer.scale, ones * layer.offset
        x = self._append(Step("shift", (x,), float32(offset / scale)))
        self.rescaled = (x, scale)
        return [x]

    def chain(self, layers, x):
        """Layers that follow each other."""
        layers, pad = list(layers), ((0, 0), (0, 0))
        while layers:
            layer = layers.pop(0)
            kind = kind_of(layer)
            if kind == "Residual":
                x = self.residual(layer, x)
            elif kind == "Hourglass":
                (x,) = self.hourglass(layer, x)
            elif kind == "ZeroPadding2D":
                pad = tuple(tuple(edge) for edge in layer.padding)
            elif kind == "Conv2D":
                following = layers[0] if layers else None
                norm = following if is_norm(following) else None
                x = self.conv(layer, x, norm, pad)
                layers, pad = layers[1:] if norm else layers, ((0, 0), (0, 0))
            elif self.clamp and starts_residual([layer, *layers]):
                x = self.bounded(layer, layers[1], x, layers[2])
                layers = layers[3:]
            elif is_norm(layer):
                x = self._append(Step("affine", (x,), float32(*scale_and_offset(layer))))
            elif kind == "ReLU":
                x = self._append(Step("relu", (x,)))
            elif kind == "MaxPooling2D":
                x = self._append(Step("pool", (x,)))
            elif kind == "UpSampling2D":
                x = self._append(Step("up", (x,)))
            elif not is_identity(layer):
                raise UserError(
                    "Only networks of this package's own layers can be exported. Received: a "
                    f"{type(layer).__name__} named {layer.name!r}. Export the part without it."
                )
        return x

    def conv(self, layer, x, norm=None, pad=((0, 0), (0, 0))):
        kernel = array(layer.kernel)
        bias = array(layer.bias) if layer.use_bias else np.zeros(kernel.shape[-1])
        if norm is not None:
            scale, offset = scale_and_offset(norm)
            kernel, bias = kernel * scale, bias * scale + offset
        if x == self.rescaled[0]:
            kernel = kernel * self.rescaled[1][:, None]
        if layer.padding == "same":
            pad = tuple(((size - 1) // 2, size // 2) for size in kernel.shape[:2])
        options = {"stride": layer.strides[0], "pad": pad}
        return self._append(Step("conv", (x,), float32(kernel, bias), options))

    def bounded(self, norm, layer, x, following):
        """Norm, ReLU, 1×1 convolution and norm as bounds and one convolution."""
        scale, offset = scale_and_offset(norm)
        constant = np.abs(scale) < 1e-12
        safe = np.where(constant, 1, scale)
        bound = np.clip(-offset / safe, -_HUGE, _HUGE)
        low = np.where(~constant & (scale > 0), bound, -_HUGE)
        high = np.where(~constant & (scale < 0), bound, _HUGE)
        x = self._append(Step("clamp", (x,), float32(low, high)))
        kernel, bias = array(layer.kernel), array(layer.bias)
        offset = np.where(constant, np.maximum(offset, 0), offset)
        bias = bias + offset @ kernel[0, 0]
        kernel = kernel * np.where(constant, 0, scale)[:, None]
        scale, offset = scale_and_offset(following)
        weights = float32(kernel * scale, bias * scale + offset)
        options = {"stride": 1, "pad": ((0, 0), (0, 0))}
        return self._append(Step("conv", (x,), weights, options))

    def residual(self, layer, x):
        skip = self.conv(layer.skip, x) if layer.project else x
        return self._append(Step("add", (self.chain(layer.branch, x), skip)))

    def hourglass(self, layer, x):
        """Features that leave an hourglass, and with `return_inner` those of its inner levels."""
        upper = self.chain(layer.upper, x)
        inner = self.chain([layer.pool, *layer.lower], x)
        if layer.return_inner:
            levels = self.layer(layer.inner[0], [inner])
            inner = levels[0]
        else:
            levels, inner = [], self.chain(layer.inner, inner)
        lower = self.chain([*layer.after, layer.up], inner)
        return [self._append(Step("add", (upper, lower))), *levels]

    def supervision(self, layer, x, skip=None):
        y = self.chain([*layer.residuals, *layer.linear], x)
        if not layer.merge:
            return [self.conv(layer.heatmaps, y)]
        if layer.merge == "concat":
            merged = self._append(Step("concat", (y, skip)))
            merged = self.conv(layer.merge_features, merged)
        else:
            merged = self._append(Step("add", (skip, self.conv(layer.merge_features, y))))
        if not layer.heatmaps:
            return [merged]
        heatmaps = self.conv(layer.heatmaps, y)
        remapped = self.conv(layer.merge_heatmaps, heatmaps)
        return [heatmaps, self._append(Step("add", (merged, remapped)))]
