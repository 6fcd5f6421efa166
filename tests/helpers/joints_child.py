"""Run a file of joints as somebody does who has a runtime and NumPy.

Usage: python joints_child.py onnxruntime|openvino|litert FILE INPUTS.npz OUTPUTS.npz; nothing of
this package may be imported.
"""

import sys

import numpy as np

NAMES = ("keypoints", "scores", "present")
kind, path, source, target = sys.argv[1:]
with np.load(source) as loaded:
    inputs = dict(loaded)
if kind == "onnxruntime":
    import onnxruntime

    outputs = dict(zip(NAMES, onnxruntime.InferenceSession(path).run(None, inputs), strict=True))
elif kind == "openvino":
    import openvino

    network = openvino.compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    answer = network(inputs)
    outputs = {name: answer[name] for name in NAMES}
else:
    from ai_edge_litert.interpreter import Interpreter

    outputs = Interpreter(path).get_signature_runner()(**inputs)
assert "keras_hourglass" not in sys.modules and "tensorflow" not in sys.modules
np.savez(target, **outputs)
