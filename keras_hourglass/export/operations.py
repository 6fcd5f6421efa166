"""The operations that `everybody` needs, for graphs of TensorFlow and of ONNX.

Axes and orders are NumPy's; integers are 64 bits wide.
"""

import contextlib

import numpy as np

_KINDS = {"float": np.float32, "double": np.float64, "int": np.int64, "bool": np.bool_}


class TensorFlowOperations:
    """Operations on tensors of TensorFlow, eager ones or of a graph that is being traced.

    Args:
        networks: name -> callable from `(N, height, width, 3)` float32 pixels to heatmaps.
    """

    def __init__(self, networks):
        import tensorflow as tf

        self._tf, self._networks = tf, networks
        self.exp, self.floor, self.round = tf.exp, tf.floor, tf.round
        self.log, self.abs, self.sign = tf.math.log, tf.abs, tf.sign
        self.maximum, self.minimum, self.where = tf.maximum, tf.minimum, tf.where
        self.reshape, self.matmul, self.concat = tf.reshape, tf.matmul, tf.concat
        self.sum, self.min, self.max = tf.reduce_sum, tf.reduce_min, tf.reduce_max
        self.argmax = tf.argmax

    def network(self, name, images):
        """Heatmaps of one of the networks."""
        return self._networks[name](images)

    def constant(self, array):
        """An array of NumPy's as a value."""
        return self._tf.constant(array)

    def cast(self, value, kind):
        """A value as `"float"`, `"double"`, `"int"` or `"bool"`."""
        return self._tf.cast(value, _KINDS[kind])

    def length(self, value, axis):
        """Length along an axis, a scalar."""
        return self._tf.shape(value, self._tf.int64)[axis]

    def arange(self, number):
        """`(number,)` from 0."""
        return self._tf.range(number)

    def expand(self, value, axes):
        """Axes of length 1 at these places of the result."""
        for axis in axes:
            value = self._tf.expand_dims(value, axis)
        return value

    def drop(self, value, axis):
        """Without an axis of length 1."""
        return self._tf.squeeze(value, axis)

    def gather(self, value, index, axis=0):
        """Rows along an axis, in place of which are the axes of the index."""
        return self._tf.gather(value, index, axis=axis)

    def take_along(self, value, index):
        """`(N, M, K)` of `(N, P, K)` at `(N, M, K)` places of P."""
        tf = self._tf
        value, index = (tf.transpose(one, (0, 2, 1)) for one in (value, index))
        return tf.transpose(tf.gather(value, index, batch_dims=2), (0, 2, 1))

    def mean(self, value, axis):
        """Mean along an axis."""
        return self._tf.reduce_mean(value, axis)

    def nonzero(self, mask):
        """Places of `(N,)` that are true."""
        return self._tf.where(mask)[:, 0]

    def running_sum(self, value, axis):
        """Sums of all up to each."""
        return self._tf.cumsum(value, axis)

    def order(self, values):
        """Places of `(N,)` from the greatest to the least; of equal ones the first leads."""
        order = self._tf.argsort(values, direction="DESCENDING", stable=True)
        return self.cast(order, "int")

    def highest_around(self, values):
        """`(height, width)` greatest values of 3×3."""
        found = self._tf.nn.max_pool2d(values[None, ..., None], 3, 1, "SAME")
        return found[0, ..., 0]

    def suppress(self, corners, scores, overlap, most):
        """Places of `(N, 4)` boxes that overlap no better one by more, best first."""
        kept = self._tf.image.non_max_suppression(corners, scores, most, overlap)
        return self.cast(kept, "int")

    def survivors(self, beats):
        """Who stays of N, best first, where each who stays removes those it beats, `(N, N)`."""
        tf = self._tf
        number = tf.shape(beats)[0]
        places = tf.range(number)

        def step(place, alive):
            beaten = tf.gather(beats, place) & (places > place) & tf.gather(alive, place)
            return place + 1, alive & ~beaten

        start = tf.constant(0), tf.ones([number], tf.bool)
        return tf.while_loop(lambda place, _: place < number, step, start)[1]

    def in_batches(self, rows, size, function, shapes):
        """What a function makes of all rows, a few at a time: a tuple of values, of
        these shapes for each row."""
        tf = self._tf
        number = tf.shape(rows)[0]

        def step(start, *found):
            made = function(rows[start : start + size])
            pairs = zip(found, made, shapes, strict=True)
            grown = (tf.ensure_shape(tf.concat(pair, 0), (None, *shape)) for *pair, shape in pairs)
            return start + size, *grown

        start = (tf.constant(0), *(tf.zeros((0, *shape)) for shape in shapes))
        kinds = (tf.TensorShape([]), *(tf.TensorShape((None, *shape)) for shape in shapes))
        # One batch after the other, so that memory does not grow with the people.
        return tf.while_loop(
            lambda place, *_: place < number, step, start, kinds, parallel_iterations=1
        )[1:]


class OnnxOperations:
    """Operations as nodes of an ONNX graph that is being written.

    Args:
        writer: the `inference.onnx_graph.Nodes`, which takes nodes and weights.
        networks: name -> `Program`.
    """

    def __init__(self, writer, networks):
        from onnx import TensorProto

        self.writer, self._networks, self._count = writer, networks, 0
        self.types = {
            "float": TensorProto.FLOAT,
            "double": TensorProto.DOUBLE,
            "int": TensorProto.INT64,
            "bool": TensorProto.BOOL,
        }

    def _name(self):
        self._count += 1
        return f"value{self._count}"

    def node(self, kind, inputs, dtype, **attributes):
        """A node of one output."""
        name = self._name()
        self.writer.node(kind, [self._of(value).name for value in inputs], name, **attributes)
        return Value(self, name, dtype)

    def _of(self, value, like=None):
        """A value; of a number, of the kind of another."""
        if isinstance(value, Value):
            return value
        array = np.asarray(value)
        if array.ndim == 0 and like is not None:
            array = array.astype(_KINDS[like])
        if array.dtype.kind == "i":
            array = array.astype(np.int64)
        [dtype] = [kind for kind, of in _KINDS.items() if array.dtype == of]
        return Value(self, self.writer.weight(array, self._name()), dtype)

    def pair(self, kind, one, other, dtype=None):
        """An operation on two values, of which one may be a number."""
        like = next(value.dtype for value in (one, other) if isinstance(value, Value))
        one, other = self._of(one, like), self._of(other, like)
        return self.node(kind, [one, other], dtype or like)

    def constant(self, array):
        return self._of(array)

    def network(self, name, images):
        from keras_hourglass.inference.onnx_graph import add_program

        channels_first = self.node("Transpose", [images], "float", perm=[0, 3, 1, 2])
        prefix = f"{self._name()}_step"
        outputs = add_program(self.writer, self._networks[name], channels_first.name, prefix)
        maps = Value(self, list(outputs.values())[-1], "float")
        return self.node("Transpose", [maps], "float", perm=[0, 2, 3, 1])

    def cast(self, value, kind):
        return self.node("Cast", [value], kind, to=self.types[kind])

    def length(self, value, axis):
        shape = self.node("Shape", [value], "int")
        return self.node("Gather", [shape, np.int64(axis)], "int", axis=0)

    def arange(self, number):
        return self.node("Range", [np.int64(0), number, np.int64(1)], "int")

    def reshape(self, value, shape):
        return self.node("Reshape", [value, np.array(shape, np.int64)], value.dtype)

    def expand(self, value, axes):
        return self.node("Unsqueeze", [value, np.array(axes, np.int64)], value.dtype)

    def drop(self, value, axis):
        return self.node("Squeeze", [value, np.array([axis], np.int64)], value.dtype)

    def gather(self, value, index, axis=0):
        return self.node("Gather", [value, index], value.dtype, axis=axis)

    def take_along(self, value, index):
        return self.node("GatherElements", [value, index], value.dtype, axis=1)

    def concat(self, values, axis):
        return self.node("Concat", values, values[0].dtype, axis=axis)

    def matmul(self, one, other):
        return self.node("MatMul", [one, other], other.dtype)

    def where(self, mask, one, other):
        like = next((v.dtype for v in (one, other) if isinstance(v, Value)), "float")
        return self.node("Where", [mask, self._of(one, like), self._of(other, like)], like)

    def maximum(self, one, other):
        return self.pair("Max", one, other)

    def minimum(self, one, other):
        return self.pair("Min", one, other)

    def exp(self, value):
        return self.node("Exp", [value], value.dtype)

    def log(self, value):
        return self.node("Log", [value], value.dtype)

    def abs(self, value):
        return self.node("Abs", [value], value.dtype)

    def sign(self, value):
        return self.node("Sign", [value], value.dtype)

    def floor(self, value):
        return self.node("Floor", [value], value.dtype)

    def round(self, value):
        return self.node("Round", [value], value.dtype)

    def sum(self, value, axes):
        axes = np.array(axes, np.int64)
        return self.node("ReduceSum", [value, axes], value.dtype, keepdims=0)

    def min(self, value, axes):
        return self.node("ReduceMin", [value], value.dtype, axes=axes, keepdims=0)

    def max(self, value, axes):
        return self.node("ReduceMax", [value], value.dtype, axes=axes, keepdims=0)

    def mean(self, value, axis):
        return self.node("ReduceMean", [value], value.dtype, axes=[axis], keepdims=0)

    def argmax(self, value, axis):
        return self.node("ArgMax", [value], "int", axis=axis, keepdims=0)

    def nonzero(self, mask):
        return self.reshape(self.node("NonZero", [mask], "int"), [-1])

    def running_sum(self, value, axis):
        return self.node("CumSum", [value, np.int64(axis)], value.dtype)

    def order(self, values):
        number = self.node("Shape", [values], "int")
        names = [self._name(), self._name()]
        self.writer.node("TopK", [values.name, number.name], names, axis=0, largest=1, sorted=1)
        return Value(self, names[1], "int")

    def highest_around(self, values):
        found = self.node(
            "MaxPool", [self.expand(values, [0, 1])], values.dtype,
            kernel_shape=[3, 3], strides=[1, 1], pads=[1, 1, 1, 1],
        )  # fmt: skip
        return self.node("Squeeze", [found, np.array([0, 1])], values.dtype)

    def suppress(self, corners, scores, overlap, most):
        given = [self.expand(corners, [0]), self.expand(scores, [0, 1]), np.array([most])]
        given.append(np.array([overlap], np.float32))
        found = self.node("NonMaxSuppression", given, "int")
        return self.reshape(self.gather(found, np.array([2]), 1), [-1])

    def survivors(self, beats):
        number = self.length(beats, 0)
        places = self.arange(number)
        everybody = self.node("Greater", [self.node("Add", [places, np.int64(1)], "int"),
                                          np.int64(0)], "bool")  # fmt: skip
        with self._body() as body:
            place, alive = body.input("int", []), None
            body.input("bool", [])
            alive = body.input("bool", [None])
            beaten = self.gather(beats, place) & (places > place) & self.gather(alive, place)
            body.output(self.node("Identity", [np.bool_(True)], "bool"), 0)
            body.output(alive & ~beaten, 1)
        return self._loop(body, number, [everybody], 1)[0]

    def in_batches(self, rows, size, function, shapes):
        number = self.length(rows, 0)
        times = self.node("Div", [self.node("Add", [number, np.int64(size - 1)], "int"),
                                  np.int64(size)], "int")  # fmt: skip
        with self._body() as body:
            turn = body.input("int", [])
            body.input("bool", [])
            start = turn * size
            end = self.minimum(start + size, number)
            made = function(self.gather(rows, self.node("Range", [start, end, np.int64(1)], "int")))
            body.output(self.node("Identity", [np.bool_(True)], "bool"), 0)
            for value, shape in zip(made, shapes, strict=True):
                body.output(self._filled(value, size), 1 + len(shape))
        found = self._loop(body, times, [], len(made))
        flat = [self._without_turns(value) for value in found]
        return tuple(self.gather(value, self.arange(number)) for value in flat)

    def _filled(self, value, size):
        """As many rows as all turns have."""
        shape = self.node("Shape", [value], "int")
        rest = self._from(shape, 1)
        missing = self.reshape(np.int64(size) - self.gather(shape, np.int64(0)), [1])
        empty = self.node("ConstantOfShape", [self.concat([missing, rest], 0)], "float")
        return self.concat([value, empty], 0)

    def _without_turns(self, value):
        """`(turns, size, …)` as `(turns · size, …)`."""
        shape = self.node("Shape", [value], "int")
        shape = self.concat([self._of(np.array([-1])), self._from(shape, 2)], 0)
        return self.node("Reshape", [value, shape], value.dtype)

    def _from(self, shape, first):
        return self.node("Slice", [shape, np.array([first]), np.array([99])], "int")

    @contextlib.contextmanager
    def _body(self):
        """The body of a loop: what is written meanwhile goes into it."""
        body = _Body(self)
        outer, self.writer.nodes = self.writer.nodes, body.nodes
        try:
            yield body
        finally:
            self.writer.nodes = outer

    def _loop(self, body, times, carried, number):
        from onnx import helper

        names = [self._name() for _ in range(number)]
        graph = helper.make_graph(body.nodes, self._name(), body.inputs, body.outputs)
        inputs = [times.name, "", *(value.name for value in carried)]
        self.writer.node("Loop", inputs, names, body=graph)
        kinds = body.kinds[1:]
        return [Value(self, name, kind) for name, kind in zip(names, kinds, strict=True)]


class _Body:
    """Inputs and outputs of the body of a loop."""

    def __init__(self, ops):
        self._ops, self.nodes, self.inputs, self.outputs, self.kinds = ops, [], [], [], []

    def _info(self, name, dtype, shape):
        from onnx import helper

        return helper.make_tensor_value_info(name, self._ops.types[dtype], shape)

    def input(self, dtype, shape):
        name = self._ops._name()
        self.inputs.append(self._info(name, dtype, shape))
        return Value(self._ops, name, dtype)

    def output(self, value, rank):
        self.outputs.append(self._info(value.name, value.dtype, [None] * rank))
        self.kinds.append(value.dtype)


class Value:
    """The output of a node."""

    __array_ufunc__ = None  # NumPy's arrays leave operators to this one

    def __init__(self, ops, name, dtype):
        self._ops, self.name, self.dtype = ops, name, dtype

    def __floordiv__(self, other):
        return self._ops.pair("Div", self, other)  # of whole numbers that are not negative

    def __invert__(self):
        return self._ops.node("Not", [self], "bool")


def _operator(kind, dtype=None, turned=False):
    def operate(self, other):
        pair = (other, self) if turned else (self, other)
        return self._ops.pair(kind, *pair, dtype=dtype)

    return operate


for _method, _kind in {"add": "Add", "sub": "Sub", "mul": "Mul", "truediv": "Div"}.items():
    setattr(Value, f"__{_method}__", _operator(_kind))
    setattr(Value, f"__r{_method}__", _operator(_kind, turned=True))
for _method, _kind in {
    "lt": "Less", "le": "LessOrEqual", "gt": "Greater", "ge": "GreaterOrEqual",
    "eq": "Equal", "and": "And", "or": "Or",
}.items():  # fmt: skip
    setattr(Value, f"__{_method}__", _operator(_kind, "bool"))
