"""Run a SavedModel as TensorFlow Serving does: C++ loader, v1 Session, tensors by name.

Usage: python served_as_by_server.py SAVED_MODEL PICTURE...; prints JSON. Nothing of this package
may be imported.
"""

import concurrent.futures
import importlib.abc
import json
import sys


class OnlyTensorFlow(importlib.abc.MetaPathFinder):
    """Refuse this package, which a server does not have."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "keras_hourglass":
            raise ImportError(f"{name} is not on the server")


def function_ops(graph_def):
    """Names of all operations, also those inside functions."""
    nodes = [node for function in graph_def.library.function for node in function.node_def]
    return {node.op for node in [*graph_def.node, *nodes]}


def main(folder, pictures):
    sys.meta_path.insert(0, OnlyTensorFlow())
    import tensorflow as tf

    v1 = tf.compat.v1
    encoded = [open(picture, "rb").read() for picture in pictures]
    graph = tf.Graph()
    with graph.as_default(), v1.Session(graph=graph) as session:
        bundle = v1.saved_model.loader.load(session, ["serve"], folder)
        signature = bundle.signature_def["serving_default"]
        feed = signature.inputs["image_bytes"].name
        fetch = {key: info.name for key, info in signature.outputs.items()}

        def run(batch):
            return session.run(fetch, {feed: batch})

        single = [run([picture]) for picture in encoded]
        batched = run(encoded)
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            parallel = list(pool.map(run, [encoded] * 12))
        own = {function.signature.name for function in graph.as_graph_def().library.function}
        ops = function_ops(bundle.graph_def) - own
        unknown = [op for op in ops if not hasattr(tf.raw_ops, op) and not op.startswith("_")]
        broken = run([encoded[0], b"broken"])
        result = {
            "ops": sorted(ops),
            "unknown": unknown,
            "single": [one["keypoints"][0].tolist() for one in single],
            "batched": batched["keypoints"].tolist(),
            "parallel": [one["keypoints"].tolist() for one in parallel],
            "valid": broken["valid"].tolist(),
        }
    assert "keras_hourglass" not in sys.modules
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
