"""OpenVINO's client for TensorFlow Serving, `ovmsclient`, against a server; prints JSON.

Usage: python ovms_child.py grpc|http ADDRESS MODEL PICTURE...

In a process of its own: its protocol buffers have the names of TensorFlow's. Nothing of this
package may be imported.
"""

import json
import pathlib
import sys

import numpy as np
from ovmsclient import make_grpc_client, make_http_client

protocol, address, model, *files = sys.argv[1:]
client = {"grpc": make_grpc_client, "http": make_http_client}[protocol](address)
pictures = [pathlib.Path(file).read_bytes() for file in files]
result = {"status": client.get_model_status(model)}
if protocol == "http":
    result["metadata"] = client.get_model_metadata(model)
outputs = client.predict(inputs={"image_bytes": pictures}, model_name=model)
outputs = outputs.get("outputs", outputs)
result["outputs"] = {name: np.asarray(values).tolist() for name, values in outputs.items()}
broken = client.predict(inputs={"image_bytes": [pictures[0], b"broken"]}, model_name=model)
result["valid"] = np.asarray(broken.get("outputs", broken)["valid"]).tolist()
try:
    client.predict(inputs={"image_bytes": pictures}, model_name="other")
except Exception as error:
    result["refused"] = f"{type(error).__name__}: {error}"
assert "keras_hourglass" not in sys.modules
print(json.dumps(result))
