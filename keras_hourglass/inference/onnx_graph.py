"""A folded network as an ONNX model, written without a converter."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17


def to_onnx(program):
    """The ONNX model of a program.

    Inside, it computes with channels first, as ONNX's operators do; both ends have channels last.

    Args:
        program: a `Program`.

    Returns:
        `onnx.ModelProto` from `images` `(N, height, width, 3)` float32 to one output per stack.
    """
    graph = Nodes()
    graph.node("Transpose", ["images"], "step0", perm=[0, 3, 1, 2])
    outputs = []
    for name, maps in add_program(graph, program, "step0").items():
        graph.node("Transpose", [maps], name, perm=[0, 2, 3, 1])
        outputs.append(
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", None, None, None])
        )
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", *program.input_shape])
    return finished(graph, "hourglass", [images], outputs)


def add_program(graph, program, images, prefix="step"):
    """Add the steps of a program to a graph.

    Args:
        graph: the `Nodes`.
        program: a `Program`.
        images: name of the tensor `(N, 3, height, width)` of pixels 0–255.
        prefix: of the tensors' names, for a second program in one graph another.

    Returns:
        Name of each output -> name of its tensor `(N, K, H, W)`.
    """
    names = [images, *(f"{prefix}{number}" for number in range(1, len(program.steps)))]
    for number, step in enumerate(program.steps[1:], start=1):
        inputs = [names[other] for other in step.inputs]
        _WRITERS[step.kind](graph, inputs, names[number], step)
    return {name: names[number] for name, number in program.outputs.items()}


def finished(graph, name, inputs, outputs):
    """The checked `onnx.ModelProto` of a graph.

    Args:
        graph: the `Nodes`.
        name: of the graph.
        inputs, outputs: lists of `onnx.ValueInfoProto`.
    """
    body = helper.make_graph(graph.nodes, name, inputs, outputs, graph.weights)
    opsets = [helper.make_opsetid("", OPSET)]
    model = helper.make_model(body, opset_imports=opsets, producer_name="keras_hourglass")
    model.ir_version = 8  # what belongs to the opset, so that older runtimes take it
    model = onnx.shape_inference.infer_shapes(model)
    onnx.checker.check_model(model, full_check=True)
    return model


class Nodes:
    """Nodes and weights of an ONNX graph that is being written."""

    def __init__(self):
        self.nodes, self.weights = [], []

    def __call__(self, kind, *inputs, output=None, **attributes):
        """Append a node; arrays among the inputs become weights. Returns the name of its result."""
        output = output or f"{kind.lower()}_{len(self.nodes)}"
        names = [
            value if isinstance(value, str) else self.weight(value, f"{output}_{place}")
            for place, value in enumerate(inputs)
        ]
        self.node(kind, names, output, **attributes)
        return output

    def node(self, kind, inputs, output, **attributes):
        """Append a node of one output, or of a list of them."""
        outputs = output if isinstance(output, list) else [output]
        self.nodes.append(helper.make_node(kind, inputs, outputs, name=outputs[0], **attributes))

    def weight(self, array, name):
        self.weights.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def channels(self, array, name):
        """A weight per channel, to be broadcast over height and width."""
        return self.weight(array.reshape(1, -1, 1, 1), name)


def _conv(graph, inputs, output, step):
    kernel, bias = step.weights
    names = [
        graph.weight(kernel.transpose(3, 2, 0, 1), f"{output}_kernel"),
        graph.weight(bias, f"{output}_bias"),
    ]
    (top, bottom), (left, right) = step.options["pad"]
    stride = step.options["stride"]
    graph.node(
        "Conv",
        [*inputs, *names],
        output,
        kernel_shape=list(kernel.shape[:2]),
        strides=[stride, stride],
        pads=[top, left, bottom, right],
    )


def _affine(graph, inputs, output, step):
    scale, offset = step.weights
    names = graph.channels(scale, f"{output}_scale"), graph.channels(offset, f"{output}_offset")
    graph.node("Mul", [*inputs, names[0]], f"{output}_scaled")
    graph.node("Add", [f"{output}_scaled", names[1]], output)


def _clamp(graph, inputs, output, step):
    low, high = step.weights
    bounds = {"Min": high} if high.min() < 3e38 else {}
    bounds |= {"Max": low} if low.max() > -3e38 or not bounds else {}
    for kind, bound in bounds.items():
        last = kind == list(bounds)[-1]
        name = output if last else f"{output}_first"
        graph.node(kind, [*inputs, graph.channels(bound, f"{output}_{kind.lower()}")], name)
        inputs = [name]


def _shift(graph, inputs, output, step):
    graph.node("Add", [*inputs, graph.channels(step.weights[0], f"{output}_offset")], output)


def _up(graph, inputs, output, step):
    scales = graph.weight(np.array([1, 1, 2, 2], np.float32), f"{output}_scales")
    options = {"mode": "nearest", "nearest_mode": "floor"}
    options["coordinate_transformation_mode"] = "asymmetric"
    graph.node("Resize", [*inputs, "", scales], output, **options)


_WRITERS = {
    "conv": _conv,
    "affine": _affine,
    "clamp": _clamp,
    "shift": _shift,
    "up": _up,
    "relu": lambda graph, inputs, output, _: graph.node("Relu", inputs, output),
    "add": lambda graph, inputs, output, _: graph.node("Add", inputs, output),
    "concat": lambda graph, inputs, output, _: graph.node("Concat", inputs, output, axis=1),
    "pool": lambda graph, inputs, output, _: graph.node(
        "MaxPool", inputs, output, kernel_shape=[2, 2], strides=[2, 2]
    ),
}
