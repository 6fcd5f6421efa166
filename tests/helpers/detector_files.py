"""Files in the layouts of other people's detectors, whose answer does not depend on the picture."""

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def write_onnx(path, outputs, size=(64, 96), names=None, decoded=False):
    """A network that answers every picture with the same arrays.

    Args:
        path: the file.
        outputs: name -> array.
        size: height and width of its input; text for an open one.
        names: class names for the metadata.
        decoded: put an exponential into the graph, as decoding would.
    """
    nodes, infos = [], []
    inputs = [helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 3, *size])]
    nodes.append(helper.make_node("ReduceMean", ["images"], ["mean"], keepdims=0))
    zero = numpy_helper.from_array(np.float32(0), "zero")
    nodes.append(helper.make_node("Mul", ["mean", "zero"], ["nothing"]))
    if decoded:
        nodes.append(helper.make_node("Exp", ["nothing"], ["one"]))
        nodes.append(helper.make_node("Mul", ["one", "zero"], ["nothing_again"]))
    constants = [zero]
    for name, array in outputs.items():
        array = np.asarray(array)
        constants.append(numpy_helper.from_array(array, f"{name}_value"))
        kind = helper.np_dtype_to_tensor_dtype(array.dtype)
        nodes.append(helper.make_node("Cast", ["nothing"], [f"{name}_zero"], to=kind))
        nodes.append(helper.make_node("Add", [f"{name}_value", f"{name}_zero"], [name]))
        infos.append(helper.make_tensor_value_info(name, kind, array.shape))
    graph = helper.make_graph(nodes, "detector", inputs, infos, constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    if names:
        helper.set_model_props(model, {"names": repr(names)})
    onnx.save(model, path)
    return path


def write_frozen_graph(path, boxes, scores, classes, leave_out=()):
    """A frozen graph of TensorFlow Object Detection with a fixed answer."""
    import tensorflow as tf

    graph = tf.Graph()
    with graph.as_default():
        images = tf.compat.v1.placeholder(tf.uint8, (None, None, None, 3), name="image_tensor")
        nothing = 0 * tf.reduce_mean(tf.cast(images, tf.float32))
        for name, value in (
            ("detection_boxes", boxes), ("detection_scores", scores), ("detection_classes", classes)
        ):  # fmt: skip
            if name not in leave_out:
                tf.add(tf.constant(value, tf.float32)[None], nothing, name=name)
    path.write_bytes(graph.as_graph_def().SerializeToString())
    return path


def write_saved_model(folder, boxes, scores, classes):
    """A SavedModel of TensorFlow Object Detection with a fixed answer."""
    import tensorflow as tf

    module = tf.Module()

    @tf.function(input_signature=[tf.TensorSpec((1, None, None, 3), tf.uint8)])
    def detect(input_tensor):
        nothing = 0 * tf.reduce_mean(tf.cast(input_tensor, tf.float32))
        return {
            "detection_boxes": tf.constant(boxes, tf.float32)[None] + nothing,
            "detection_scores": tf.constant(scores, tf.float32)[None] + nothing,
            "detection_classes": tf.constant(classes, tf.float32)[None] + nothing,
        }

    tf.saved_model.save(module, str(folder), signatures={"serving_default": detect})
    return folder
