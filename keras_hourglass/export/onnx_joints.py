"""Crop, mirror image and joints as ONNX nodes: pixels and boxes in, joints out.

Everything is float32 and of operators that ONNX Runtime, OpenVINO and TensorRT have in common (no
`GridSample`, no loops, no text, no 64-bit floats). What a function takes and gives are names of
tensors of the `inference.onnx_graph.Nodes` that it appends to.
"""

import numpy as np
from onnx import TensorProto, helper

from keras_hourglass.inference.onnx_graph import Nodes, add_program, finished

_EPSILON = 1e-12


def joints_model(program, codec, flip_order, thresholds, pictures):
    """A network as an ONNX model that returns joints.

    Args:
        program: the `Program`, with one output.
        codec: the `HeatmapCodec` to decode with.
        flip_order: the mirror permutation to average mirrored heatmaps with, or `None`.
        thresholds: K least scores of present joints.
        pictures: whether it takes `picture` `(height, width, 3)` uint8 and `boxes` `(N, 4)`
            float32 `x, y, w, h` in its pixels, rather than `crops` `(N, *input_size, 3)` uint8.

    Returns:
        `onnx.ModelProto` to `keypoints` `(N, K, 2)` float32 in pixels of what came in, `scores`
        `(N, K)` float32 and `present` `(N, K)` bool.
    """
    nodes = Nodes()
    if pictures:
        picture = helper.make_tensor_value_info("picture", TensorProto.UINT8, ["H", "W", 3])
        boxes = helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", 4])
        inputs = [picture, boxes]
        pixels = nodes("Cast", "picture", to=TensorProto.FLOAT)
        scale, shift = box_to_crop(nodes, "boxes", codec.input_size)
        images = crop(nodes, pixels, scale, shift, codec.input_size)
    else:
        shape = ["N", *codec.input_size, 3]
        inputs = [helper.make_tensor_value_info("crops", TensorProto.UINT8, shape)]
        pixels = nodes("Cast", "crops", to=TensorProto.FLOAT)
        images = nodes("Transpose", pixels, perm=[0, 3, 1, 2])
    maps = merged_heatmaps(nodes, program, images, codec.heatmap_size, flip_order)
    points, _ = decode(nodes, maps, codec, scores="scores")
    if pictures:
        scale, shift = nodes("Unsqueeze", scale, _ints(1)), nodes("Unsqueeze", shift, _ints(1))
        nodes("Add", nodes("Mul", points, scale), shift, output="keypoints")
    else:
        nodes("Identity", points, output="keypoints")
    least = np.asarray(thresholds, np.float32)[None]
    nodes("GreaterOrEqual", "scores", least, output="present")
    joints = len(thresholds)
    outputs = [
        helper.make_tensor_value_info("keypoints", TensorProto.FLOAT, ["N", joints, 2]),
        helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", joints]),
        helper.make_tensor_value_info("present", TensorProto.BOOL, ["N", joints]),
    ]
    return finished(nodes, "joints", inputs, outputs)


def box_to_crop(nodes, boxes, size):
    """The square around a box as the way from input to source pixels, as `geometry` has it.

    Args:
        nodes: the `Nodes`.
        boxes: `(N, 4)` float32 `x, y, w, h` in source pixels.
        size: `(height, width)` of the crops in input pixels.

    Returns:
        `(N, 1)` scale and `(N, 2)` shift `x, y`: `source = scale * input + shift`.
    """
    corner, extent = split(nodes, boxes, (2, 2))
    height, width = size
    side = nodes("ReduceMax", extent, axes=[1], keepdims=1)
    scale = nodes("Mul", side, _float(1 / min(height, width)))
    middle = nodes("Add", corner, nodes("Mul", extent, _float(0.5)))
    half = np.array([[(width - 1) / 2, (height - 1) / 2]], np.float32)
    middle = nodes("Sub", middle, _float(0.5))
    return scale, nodes("Sub", middle, nodes("Mul", scale, half))


def crop(nodes, pixels, scale, shift, size):
    """Sample a picture bilinearly, black outside, as `in_graph.crop`.

    Args:
        nodes: the `Nodes`.
        pixels: `(height, width, 3)` float32 picture.
        scale: `(N, 1)` source pixels per input pixel.
        shift: `(N, 2)` source `x, y` of the first input pixel's centre.
        size: `(height, width)` of the crops.

    Returns:
        `(N, 3, *size)` float32 of whole numbers.
    """
    shape = nodes("Shape", pixels)
    height, width = (nodes("Gather", shape, _ints(axis)) for axis in (0, 1))
    x, y = split(nodes, shift, (1, 1))
    rows = _taps(nodes, scale, y, size[0], height)
    columns = _taps(nodes, scale, x, size[1], width)
    flat = nodes("Reshape", pixels, _ints(-1, 3))
    total = None
    for row, row_weight in rows:
        start = nodes("Unsqueeze", nodes("Mul", row, width), _ints(2))
        for column, column_weight in columns:
            place = nodes("Add", start, nodes("Unsqueeze", column, _ints(1)))
            weight = nodes(
                "Mul",
                nodes("Unsqueeze", row_weight, _ints(2)),
                nodes("Unsqueeze", column_weight, _ints(1)),
            )
            sample = nodes("Gather", flat, place, axis=0)
            part = nodes("Mul", sample, nodes("Unsqueeze", weight, _ints(3)))
            total = part if total is None else nodes("Add", total, part)
    return nodes("Transpose", nodes("Round", total), perm=[0, 3, 1, 2])


def _taps(nodes, scale, shift, count, extent):
    """Places `(N, count)` of the pixels before and behind each sample, and their weights."""
    limit = nodes("Cast", extent, to=TensorProto.FLOAT)
    steps = np.arange(count, dtype=np.float32)[None]
    position = nodes("Add", nodes("Mul", scale, steps), shift)
    beyond = nodes("Add", limit, _float(1))
    position = nodes("Min", nodes("Max", position, _float(-2)), beyond)
    first = nodes("Floor", position)
    part = nodes("Sub", position, first)
    last = nodes("Sub", extent, _ints(1))
    taps = []
    for place, weight in (
        (first, nodes("Sub", _float(1), part)),
        (nodes("Add", first, _float(1)), part),
    ):
        inside = nodes(
            "And", nodes("GreaterOrEqual", place, _float(0)), nodes("Less", place, limit)
        )
        weight = nodes("Mul", weight, nodes("Cast", inside, to=TensorProto.FLOAT))
        # Whole numbers within the picture whatever the box is, NaN too.
        index = nodes("Cast", place, to=TensorProto.INT64)
        taps.append((nodes("Min", nodes("Max", index, _ints(0)), last), weight))
    return taps


def merged_heatmaps(nodes, program, images, heatmap_size, flip_order, prefix="step"):
    """Run a network on crops, averaged with their mirror images.

    Args:
        nodes: the `Nodes`.
        program: the `Program`, with one output.
        images: `(N, 3, height, width)` float32 pixels 0–255.
        heatmap_size: `(h, w)`.
        flip_order: the mirror permutation, or `None` for none.
        prefix: of the network's tensors, for a second one in the same graph.

    Returns:
        `(N, K, h, w)` heatmaps.
    """
    if flip_order is None:
        [maps] = add_program(nodes, program, images, prefix).values()
        return maps
    both = nodes("Concat", images, _mirrored(nodes, images, program.input_shape[1]), axis=0)
    [maps] = add_program(nodes, program, both, prefix).values()
    straight, turned = (_half(nodes, maps, images, half) for half in (0, 1))
    turned = _mirrored(nodes, turned, heatmap_size[1])
    turned = nodes("Gather", turned, np.asarray(flip_order, np.int64), axis=1)
    return nodes("Mul", nodes("Add", straight, turned), _float(0.5))


def _mirrored(nodes, maps, width):
    """The last axis backwards, by places: slices of negative steps are not known everywhere."""
    return nodes("Gather", maps, np.arange(width - 1, -1, -1, dtype=np.int64), axis=3)


def _half(nodes, maps, images, half):
    """The first or second half of the rows of a batch that was doubled."""
    count = nodes("Slice", nodes("Shape", images), _ints(0), _ints(1))
    start, end = (_ints(0), count) if half == 0 else (count, _ints(2**31 - 1))
    return nodes("Slice", maps, start, end, _ints(0))


def split(nodes, tensor, sizes):
    """A tensor cut along its second axis."""
    parts, start = [], 0
    for size in sizes:
        parts.append(nodes("Slice", tensor, _ints(start), _ints(start + size), _ints(1)))
        start += size
    return parts


def decode(nodes, maps, codec, scores=None):
    """As `HeatmapCodec.decode`, in float32.

    Args:
        nodes: the `Nodes`.
        maps: `(N, K, h, w)` heatmaps.
        codec: the `HeatmapCodec` to agree with.
        scores: what to call the scores.

    Returns:
        `(N, K, 2)` joints in input pixels and `(N, K)` scores.
    """
    height, width = codec.heatmap_size
    counts = nodes("Slice", nodes("Shape", maps), _ints(0), _ints(2))
    flat = nodes("Reshape", maps, _ints(-1, height * width))  # (N K, h w)
    place = nodes("ArgMax", flat, axis=1, keepdims=1)
    best = nodes("ReduceMax", flat, axes=[1], keepdims=0)
    scores = nodes("Reshape", best, counts, output=scores)
    row = nodes("Div", place, _ints(width))
    column = nodes("Sub", place, nodes("Mul", row, _ints(width)))
    points = nodes("Cast", nodes("Concat", column, row, axis=1), to=TensorProto.FLOAT)
    if (steps := _STEPS[codec.decoder]) is not None:
        points = nodes("Add", points, steps(nodes, flat, row, column, codec))
    points = nodes("Mul", nodes("Add", points, _float(0.5)), _float(codec.stride))
    points = nodes("Sub", points, _float(0.5))
    return nodes("Reshape", points, nodes("Concat", counts, _ints(2), axis=0)), scores


def _around(nodes, flat, row, column, size, radius):
    """Values around the maxima, `(N K, (2r+1)²)`, edges repeated outwards."""
    height, width = size
    y, x = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, 1, -1).astype(np.int64)
    rows = nodes("Min", nodes("Max", nodes("Add", row, y), _ints(0)), _ints(height - 1))
    columns = nodes("Min", nodes("Max", nodes("Add", column, x), _ints(0)), _ints(width - 1))
    place = nodes("Add", nodes("Mul", rows, _ints(width)), columns)
    return nodes("GatherElements", flat, place, axis=1)


def _weighted(nodes, values, weights):
    """Sums of values `(N K, n)` by constant weights `(n, m)`, `(N K, m)`."""
    return nodes("MatMul", values, np.asarray(weights, np.float32))


def _inside(nodes, place, count):
    """`(N K, 1)`, 1 where a place is not at the border, else 0."""
    within = nodes("And", nodes("Greater", place, _ints(0)), nodes("Less", place, _ints(count - 1)))
    return nodes("Cast", within, to=TensorProto.FLOAT)


def _quarter_steps(nodes, flat, row, column, codec):
    height, width = codec.heatmap_size
    around = _around(nodes, flat, row, column, codec.heatmap_size, 1)
    difference = np.zeros((9, 2))
    difference[[5, 3], 0] = difference[[7, 1], 1] = 1, -1  # right less left, below less above
    step = nodes("Sign", _weighted(nodes, around, difference))
    inside = nodes("Concat", _inside(nodes, column, width), _inside(nodes, row, height), axis=1)
    return nodes("Mul", nodes("Mul", step, inside), _float(0.25))


def _newton_steps(nodes, flat, row, column, codec):
    """One Newton step on the logarithm of the smoothed map, see `codec`."""
    height, width = codec.heatmap_size
    blur = max(1, round(codec.sigma))
    around = _around(nodes, flat, row, column, codec.heatmap_size, 1 + blur)
    kernel = np.exp(np.arange(-blur, blur + 1) ** 2 / (-2 * (codec.sigma / 2) ** 2))
    kernel /= kernel.sum()
    band = np.stack([np.pad(kernel, (shift, 2 - shift)) for shift in range(3)])
    smoothing = np.einsum("ay,bx->yxab", band, band).reshape(-1, 9)
    smooth = _weighted(nodes, around, smoothing)
    smooth = nodes("Log", nodes("Max", smooth, _float(1e-10)))
    parts = _weighted(nodes, smooth, _derivatives())
    dx, dy, dxx, dyy, dxy = split(nodes, parts, (1, 1, 1, 1, 1))
    determinant = nodes("Sub", nodes("Mul", dxx, dyy), nodes("Mul", dxy, dxy))
    usable = nodes(
        "And",
        nodes("Greater", determinant, _float(_EPSILON)),
        nodes("Less", dxx, _float(0)),
    )
    safe = nodes("Where", usable, determinant, _float(1))
    step_x = nodes("Sub", nodes("Mul", dxy, dy), nodes("Mul", dyy, dx))
    step_y = nodes("Sub", nodes("Mul", dxy, dx), nodes("Mul", dxx, dy))
    step = nodes("Div", nodes("Concat", step_x, step_y, axis=1), safe)
    step = nodes("Min", nodes("Max", step, _float(-1)), _float(1))
    inside = nodes("Mul", _inside(nodes, column, width), _inside(nodes, row, height))
    counts = nodes("Mul", inside, nodes("Cast", usable, to=TensorProto.FLOAT))
    return nodes("Mul", step, counts)


# As in `codec`, as nodes.
_STEPS: dict = {"max": None, "quarter": _quarter_steps, "dark": _newton_steps}


def _derivatives():
    """`codec.derivatives` of 3×3 values as weights `(9, 5)`."""
    from keras_hourglass.codec import derivatives

    return np.stack(derivatives(np.eye(9).reshape(9, 3, 3)), axis=-1)


def _ints(*values):
    return np.array(values, np.int64)


def _float(value):
    return np.array([value], np.float32)
