"""A client of others, OpenVINO's `ovmsclient`, gets the joints that the export gives."""

import importlib.util
import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest

tf = pytest.importorskip("tensorflow")
if importlib.util.find_spec("ovmsclient") is None:
    pytest.skip("ovmsclient is not installed", allow_module_level=True)

from networks import as_trained  # noqa: E402

from keras_hourglass import StackedHourglass  # noqa: E402
from keras_hourglass.export import export_model  # noqa: E402
from keras_hourglass.export.bundle import random_picture  # noqa: E402

CHILD = pathlib.Path(__file__).parents[1] / "helpers" / "ovms_child.py"


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    model = StackedHourglass(
        skeleton="lsp", num_stacks=1, num_features=8, depth=1, input_shape=(32, 48, 3)
    )
    return export_model(as_trained(model), tmp_path_factory.mktemp("served"), name="pose")


def asked(protocol, address, exported, folder):
    """What the client says, and what the export itself does."""
    pictures = [random_picture(0, ".jpg"), random_picture(1, ".png")]
    files = [folder / "0.jpg", folder / "1.png"]
    for file, data in zip(files, pictures, strict=True):
        file.write_bytes(data)
    command = [sys.executable, CHILD, protocol, address, "pose", *files]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    signature = tf.saved_model.load(str(exported)).signatures["serving_default"]
    expected = signature(image_bytes=tf.constant(pictures))
    result = json.loads(done.stdout)
    assert set(result["outputs"]) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(result["outputs"][name], values, atol=1e-3)
    assert np.shape(result["outputs"]["keypoints"]) == (2, 14, 2)
    assert result["valid"] == [True, False] and "NotFound" in result["refused"]
    return result


@pytest.mark.slow
def test_ovmsclient_over_http(exported, tmp_path):
    pytest.importorskip("uvicorn")
    from running_server import running

    with running(exported.parent) as (address, _):
        result = asked("http", address.removeprefix("http://"), exported, tmp_path)
    assert result["status"] == {"1": {"state": "AVAILABLE", "error_code": 0, "error_message": ""}}
    signatures = result["metadata"]["metadata"]["signature_def"]["signature_def"]
    assert signatures["serving_default"]["inputs"]["image_bytes"]["dtype"] == "DT_STRING"


@pytest.mark.slow
def test_ovmsclient_over_grpc(exported, tmp_path):
    pytest.importorskip("tensorflow_serving.apis")
    import fake_server

    with fake_server.grpc_server(fake_server.Served(exported)) as address:
        result = asked("grpc", address, exported, tmp_path)
    assert result["status"]["3"]["error_code"] == 0
