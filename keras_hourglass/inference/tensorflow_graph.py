"""A folded network as TensorFlow operations."""

import tensorflow as tf

# Bytes of weights up to which a SavedModel holds them as constants of its graph.
_AS_CONSTANTS = 8 * 2**20


def constants_pay(program):
    """Whether the weights of a file that is loaded again are better constants of its graph.

    With constants `hourglass_tiny_people` takes 0.73 of the processor time for a mirrored crop and
    0.84 for one of eight, a network of 192×192 pixels 0.77 and 0.94, since arranging weights for
    every call is much of their work. `hourglass_2s` gains 6 % with one crop and nothing with
    several, and its file would take 636 instead of 159 MiB to load.

    Args:
        program: a `Program`.
    """
    weights = sum(array.nbytes for step in program.steps for array in step.weights)
    return weights <= _AS_CONSTANTS


class Network(tf.Module):
    """Run a `Program` with TensorFlow.

    Constants let the kernels bring weights into their own layout once instead of at every call. But
    TensorFlow copies a graph several times, with all constants in it, while it loads and optimizes
    it. See `constants_pay`. All signatures call one function, so weights are stored once.

    Args:
        program: a `Program`.
        constants: whether weights are constants of the graph, else variables beside it.
    """

    def __init__(self, program, constants=True):
        super().__init__(name="network")
        self._program = program
        # Ends of ranges are read while the graph is built, so they stay constants.
        self._variables = {
            str(number): [tf.Variable(array, trainable=False) for array in step.weights]
            for number, step in enumerate(program.steps)
            if not constants and step.kind != "clamp"
        }
        spec = tf.TensorSpec((None, *program.input_shape), tf.float32)
        self._function = tf.function(self.trace, autograph=False).get_concrete_function(spec)

    @property
    def outputs(self):
        """Names of the outputs, first stack to last."""
        return list(self._program.outputs)

    def __call__(self, images, outputs):
        """Heatmaps of a batch of crops.

        Args:
            images: `(N, height, width, 3)` raw pixels 0–255, float32 or uint8.
            outputs: names of the outputs wanted.

        Returns:
            Dict of float32 tensors `(N, H, W, K)`.
        """
        results = self._function(tf.cast(images, tf.float32))
        return {name: results[name] for name in outputs}

    def trace(self, images):
        """All outputs, as operations of the graph that is being built."""
        results = [images]
        for number, step in enumerate(self._program.steps[1:], start=1):
            inputs = [results[place] for place in step.inputs]
            weights = self._variables.get(str(number), step.weights)
            weights = [tf.convert_to_tensor(weight) for weight in weights]
            results.append(_OPERATIONS[step.kind](*inputs, *weights, **step.options))
        return {name: results[number] for name, number in self._program.outputs.items()}


def _conv(x, kernel, bias, stride, pad):
    same = all(
        low == high == (size - 1) // 2
        for (low, high), size in zip(pad, kernel.shape[:2], strict=False)
    )
    padding = "SAME" if same and stride == 1 else [(0, 0), *pad, (0, 0)]
    return tf.nn.bias_add(tf.nn.conv2d(x, kernel, stride, padding), bias)


def _clamp(x, low, high):
    if tf.get_static_value(low).max() > -3e38:
        x = tf.maximum(x, low)
    if tf.get_static_value(high).min() < 3e38:
        x = tf.minimum(x, high)
    return x


def _up(x):
    height, width = x.shape[1:3]
    return tf.raw_ops.ResizeNearestNeighbor(images=x, size=(2 * height, 2 * width))


_OPERATIONS = {
    "conv": _conv,
    "relu": tf.nn.relu,
    "pool": lambda x: tf.nn.max_pool2d(x, 2, 2, "VALID"),
    "up": _up,
    "add": lambda a, b: a + b,
    "concat": lambda *inputs: tf.concat(inputs, axis=-1),
    "clamp": _clamp,
    "shift": lambda x, offset: x + offset,
    "affine": lambda x, scale, offset: x * scale + offset,
}
