"""The server for trials: both protocols, limits, bad input, versions, and its end."""

import base64
import concurrent.futures
import contextlib
import json
import logging
import os
import pathlib
import pickle
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib

import httpx
import numpy as np
import pytest

for package in ("starlette", "uvicorn", "httptools", "prometheus_client"):
    pytest.importorskip(package)
tf = pytest.importorskip("tensorflow")

from crops import EXACT_CROPS  # noqa: E402
from networks import as_trained  # noqa: E402
from running_server import running  # noqa: E402

from keras_hourglass import Predictor, StackedHourglass  # noqa: E402
from keras_hourglass.errors import UserError  # noqa: E402
from keras_hourglass.export import export_model  # noqa: E402
from keras_hourglass.export.bundle import random_picture  # noqa: E402
from keras_hourglass.serving import Client, Limits, RequestRejected, create_app  # noqa: E402

JOINTS = 14
KINDS = ("network", "versions")
LIMITS = Limits(max_request=2**20, timeout=20.0)


@pytest.fixture(scope="module")
def model():
    model = StackedHourglass(
        skeleton="lsp",
        num_stacks=2,
        num_features=8,
        depth=1,
        input_shape=(32, 48, 3),
        metadata={"thresholds": {"neck": -1e9, "head_top": 1e9}},
    )
    return as_trained(model)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """`network/pose` as a preset, `versions/pose/1` as an export."""
    folder = tmp_path_factory.mktemp("served")
    model.save_to_preset(folder / "network" / "pose")
    export_model(model, folder / "versions", name="pose")
    return folder


@pytest.fixture(scope="module")
def addresses(folder):
    with (
        running(folder / "network" / "pose", limits=LIMITS) as (network, _),
        running(folder / "versions" / "pose", limits=LIMITS) as (versions, _),
    ):
        yield {"network": network, "versions": versions}


@pytest.fixture(scope="module")
def signatures(folder):
    """What the exported SavedModel itself says."""
    return tf.saved_model.load(str(folder / "versions" / "pose" / "1")).signatures


def b64(data):
    return {"b64": base64.b64encode(data).decode()}


def post(address, path, document, **options):
    content = document if isinstance(document, bytes) else json.dumps(document).encode()
    return httpx.post(address + path, content=content, timeout=60, trust_env=False, **options)


def get(address, path):
    return httpx.get(address + path, timeout=60, trust_env=False)


def predicted(address, document):
    reply = post(address, "/v1/models/pose:predict", document)
    assert reply.status_code == 200, reply.text
    return json.loads(reply.text)


@pytest.mark.parametrize("kind", KINDS)
def test_answers_are_those_of_the_export(addresses, signatures, kind):
    pictures = [random_picture(0, ".jpg"), random_picture(1, ".png"), random_picture(2, ".jpg")]
    expected = signatures["serving_default"](image_bytes=tf.constant(pictures))
    rows = predicted(addresses[kind], {"instances": [b64(data) for data in pictures]})
    columns = predicted(addresses[kind], {"inputs": {"image_bytes": list(map(b64, pictures))}})
    assert set(columns["outputs"]) == set(rows["predictions"][0]) == set(expected)
    for name, values in expected.items():
        by_column = np.array(columns["outputs"][name])
        by_row = np.array([row[name] for row in rows["predictions"]])
        assert by_column.shape == values.shape and by_column.dtype.kind == values.numpy().dtype.kind
        if name == "keypoints":
            elsewhere = (np.abs(by_column - values.numpy()) > 0.5).any(axis=-1)
            assert elsewhere.sum() <= (0 if EXACT_CROPS else 1)
        else:
            np.testing.assert_allclose(by_column, values, atol=2e-3)
        np.testing.assert_allclose(by_row, by_column, atol=1e-3)
    assert np.array(columns["outputs"]["keypoints"]).shape == (3, JOINTS, 2)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_boxes_heatmaps_and_metadata(addresses, signatures, model, kind):
    data, box = random_picture(1, ".png"), [5.0, -10.0, 80.0, 90.0]
    expected = signatures["predict_boxes"](
        image_bytes=tf.constant([data]), boxes=tf.constant([box])
    )
    row = {"image_bytes": b64(data), "boxes": box}
    request = {"signature_name": "predict_boxes", "instances": [row]}
    [answer] = predicted(addresses[kind], request)["predictions"]
    np.testing.assert_allclose(answer["keypoints"], expected["keypoints"][0], atol=0.5)
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3)).tolist()
    maps = predicted(addresses[kind], {"signature_name": "heatmaps", "inputs": crops})["outputs"]
    wanted = model.predict(np.array(crops), verbose=0)
    assert set(maps) == set(wanted)
    for name in maps:
        np.testing.assert_allclose(maps[name], wanted[name], rtol=1e-3, atol=1e-3)
    query = {"signature_name": "metadata", "inputs": ["a", "b"]}
    documents = predicted(addresses[kind], query)["outputs"]
    assert len(documents) == 2 and documents[0] == documents[1]
    about = json.loads(documents[0])
    assert about["name"] == "pose" and about["input_size"] == [32, 48]
    saved = json.loads(signatures["metadata"](query=tf.constant([b""]))["json"][0].numpy())
    assert {**about, "preset": ""} == {**saved, "preset": ""}


@pytest.mark.parametrize("kind", KINDS)
def test_descriptions_of_both_protocols(addresses, signatures, kind):
    address = addresses[kind]
    state = {"version": "1", "state": "AVAILABLE"}
    for path in ("/v1/models/pose", "/v1/models/pose/versions/1"):
        [entry] = get(address, path).json()["model_version_status"]
        assert entry == {**state, "status": {"error_code": "OK", "error_message": ""}}
    document = get(address, "/v1/models/pose/metadata").json()
    assert document["model_spec"] == {"name": "pose", "signature_name": "", "version": "1"}
    described = document["metadata"]["signature_def"]["signature_def"]
    assert set(described) == set(signatures)
    outputs = described["serving_default"]["outputs"]
    assert outputs["keypoints"]["dtype"] == "DT_FLOAT" and outputs["valid"]["dtype"] == "DT_BOOL"
    sizes = [int(entry["size"]) for entry in outputs["keypoints"]["tensor_shape"]["dim"]]
    assert sizes == [-1, JOINTS, 2]
    for path in ("live", "ready"):
        assert get(address, f"/v2/health/{path}").status_code == 200
    for path in ("/v2/models/pose/ready", "/v2/models/pose/versions/1/ready"):
        assert get(address, path).status_code == 200
    document = get(address, "/v2/models/pose").json()
    assert document["versions"] == ["1"]
    assert document["inputs"] == [{"name": "image_bytes", "datatype": "BYTES", "shape": [-1]}]
    kinds = {entry["name"]: (entry["datatype"], entry["shape"]) for entry in document["outputs"]}
    assert kinds["present"] == ("BOOL", [-1, JOINTS]) and kinds["scores"][0] == "FP32"


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("protocol", ("rest", "kserve"))
def test_the_client_gets_the_predictors_poses(addresses, model, kind, protocol):
    data, boxes = random_picture(1, ".jpg"), [[5, -10, 80, 90], [30, 40, 50.5, 20]]
    predictor = Predictor(model, whole=True)
    with Client(addresses[kind], protocol, model="pose") as client:
        assert client.is_healthy() and client.status() == {1: "AVAILABLE"}
        assert client.skeleton.joints == model.skeleton.joints
        for given in (None, boxes):
            expected, actual = predictor(data, boxes=given), client.predict(data, boxes=given)
            assert len(expected) == len(actual)
            for one, other in zip(actual, expected, strict=True):
                np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.5)
                np.testing.assert_allclose(one.scores, other.scores, atol=2e-3)
                assert (one.present == other.present).all()
        good, bad = client.predict_many([data, data[: len(data) // 2]])
        assert np.isfinite(good[0].keypoints).all() and np.isnan(bad[0].keypoints).all()
        maps = client.heatmaps(np.zeros((3, 32, 48, 3)))
        assert set(maps) == {"stack_1", "stack_2"} and maps["stack_2"].shape == (3, 8, 12, JOINTS)
    with Client(addresses[kind], protocol, model="pose", version=1) as client:
        assert len(client.predict(data)) == 1
    with Client(addresses[kind], protocol, model="other") as client:
        assert not client.is_healthy()


def test_kserve_in_json_and_by_name(addresses):
    """Base64 for pictures, numbers flat or nested, some of the outputs, the request's id."""
    address, data = addresses["network"], random_picture(0, ".jpg")
    tensor = {"name": "image_bytes", "shape": [1], "datatype": "BYTES"}
    texts = [base64.b64encode(data).decode()], [b64(data)]
    answers = []
    for text in texts:
        for box in ([0, 0, 60, 80], [[0, 0, 60, 80]]):
            boxes = {"name": "boxes", "shape": [1, 4], "datatype": "FP32", "data": box}
            request = {
                "id": "a7",
                "inputs": [{**tensor, "data": text}, boxes],
                "outputs": [{"name": "keypoints"}, {"name": "valid"}],
            }
            reply = post(address, "/v2/models/pose/versions/1/infer", request).json()
            assert (reply["id"], reply["model_name"], reply["model_version"]) == ("a7", "pose", "1")
            assert [entry["name"] for entry in reply["outputs"]] == ["keypoints", "valid"]
            assert reply["outputs"][0]["shape"] == [1, JOINTS, 2]
            assert len(reply["outputs"][0]["data"]) == 2 * JOINTS
            answers.append(reply["outputs"])
    assert all(answer == answers[0] for answer in answers)
    broken = {"inputs": [{**tensor, "data": [base64.b64encode(b"no").decode()]}]}
    reply = post(address, "/v2/models/pose/infer", broken)
    assert "NaN" not in reply.text and "null" in reply.text  # strict JSON
    named = {entry["name"]: entry["data"] for entry in reply.json()["outputs"]}
    assert named["valid"] == [False] and named["keypoints"] == [None] * 2 * JOINTS


@pytest.mark.parametrize("kind", KINDS)
def test_a_bad_picture_costs_its_own_answer_only(addresses, kind):
    good = random_picture(0, ".jpg")
    bomb = bytearray(random_picture(1, ".png"))
    bomb[16:24] = (60_000).to_bytes(4, "big") * 2
    bomb[29:33] = zlib.crc32(bomb[12:29]).to_bytes(4, "big")
    bad = [b"", b"no picture", good[: len(good) // 2], bytes(bomb), pickle.dumps(open), b"GIF89a"]
    rows = [good, *bad, good]
    answers = predicted(addresses[kind], {"instances": [b64(data) for data in rows]})["predictions"]
    assert [row["valid"] for row in answers] == [True, *[False] * len(bad), True]
    np.testing.assert_allclose(answers[0]["keypoints"], answers[-1]["keypoints"], atol=1e-3)
    for row in answers[1:-1]:
        assert np.isnan(row["keypoints"]).all() and np.isnan(row["scores"]).all()
        assert not any(row["present"])
    bad = [[0, 0, -1, 9], [float("nan"), 0, 9, 9], [1e308, 0, 9, 9], [0, 0, 9, float("inf")]]
    far = [[1e30, -1e30, 1e-30, 1e-30], [0, 0, 1e37, 1e37]]  # nothing of the picture, perhaps
    boxes = [[0, 0, 50, 60], *bad, *far, [0, 0, 50, 60]]
    request = {
        "signature_name": "predict_boxes",
        "inputs": {"image_bytes": [b64(good)] * len(boxes), "boxes": boxes},
    }
    answer = predicted(addresses[kind], request)["outputs"]
    assert answer["valid"][:5] == [True, *[False] * 4] and answer["valid"][-1]
    np.testing.assert_allclose(answer["keypoints"][0], answer["keypoints"][-1], atol=1e-3)


PICTURE = b64(b"x")
BAD_REQUESTS = {
    "not JSON": (b"{", "is a JSON object"),
    "a picture": (b"\xff\xd8\xff\xe0", "invalid start byte. Correct the body."),
    "not text": (b"\xff\xfe\x00", "is a JSON object"),
    "a pickle": (pickle.dumps({"instances": [1]}), "is a JSON object"),
    "a list": ([], "is a JSON object. Received: list"),
    "too deep": (b"[" * 60 + b"]" * 60, "nested too deeply"),
    "a key twice": (b'{"inputs": 1, "inputs": 2}', "stands twice"),
    "an unknown key": ({"instance": [PICTURE]}, "Did you mean 'instances'"),
    "nothing": ({}, "either instances .* Received: neither"),
    "both": ({"instances": [PICTURE], "inputs": []}, "Received: both"),
    "no rows": ({"instances": []}, "a row for each picture"),
    "no list": ({"instances": PICTURE}, "Received: dict"),
    "a path": ({"instances": ["/etc/passwd"]}, "no path and no address is opened"),
    "an address": ({"inputs": ["https://example.org/a.jpg"]}, "no path and no address"),
    "a path by name": ({"inputs": {"image_bytes": ["/etc/passwd"]}}, "no path and no address"),
    "no base64": ({"instances": [{"b64": "***"}]}, "image_bytes 0: .* Encode them again"),
    "unknown signature": (
        {"signature_name": "predict_box", "instances": [PICTURE]},
        "Did you mean 'predict_boxes'",
    ),
    "boxes without a signature": (
        {"instances": [{"image_bytes": PICTURE, "boxes": [0, 0, 9, 9]}]},
        "another signature_name|Pictures travel",
    ),
    "fewer boxes": (
        {
            "signature_name": "predict_boxes",
            "inputs": {"image_bytes": [PICTURE] * 2, "boxes": [[0, 0, 9, 9]]},
        },
        "as many rows",
    ),
    "boxes of three": (
        {
            "signature_name": "predict_boxes",
            "inputs": {"image_bytes": [PICTURE], "boxes": [[0, 0, 9]]},
        },
        r"shape \(N, 4\)",
    ),
    "boxes of text": (
        {
            "signature_name": "predict_boxes",
            "inputs": {"image_bytes": [PICTURE], "boxes": [["a", 0, 9, 9]]},
        },
        r"shape \(N, 4\)",
    ),
    "crops of another size": (
        {"signature_name": "heatmaps", "inputs": np.zeros((1, 5, 6, 3)).tolist()},
        r"shape \(N, 32, 48, 3\). Received: \(1, 5, 6, 3\)",
    ),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", BAD_REQUESTS)
def test_bad_requests_name_rule_value_and_remedy(addresses, kind, name):
    body, message = BAD_REQUESTS[name]
    reply = post(addresses[kind], "/v1/models/pose:predict", body)
    said = reply.json()["error"]
    assert reply.status_code == 400 and re.search(message, said), said
    assert "Received: " in said and len(said) < 700 and "\n" not in said


def test_signatures_whose_rows_are_no_pictures():
    """Such as everybody in each picture: five people of two pictures."""
    from keras_hourglass.serving.backends import Signature, Spec
    from keras_hourglass.serving.messages import read_v1, read_v2

    people = {"valid": Spec("bool", (None,)), "boxes": Spec("float32", (None, 4))}
    signature = Signature({"image_bytes": Spec("string", (None,))}, people)
    assert not signature.batches
    outputs = {"valid": np.array([True, False]), "boxes": np.arange(20.0).reshape(5, 4)}
    both = [b64(b"a"), b64(b"b")]
    rows = read_v1(json.dumps({"instances": both}).encode(), {"serving_default": signature})
    with pytest.raises(RequestRejected, match="'valid': 2, 'boxes': 5.*Send inputs instead"):
        rows.write(outputs, 1)
    columns = read_v1(json.dumps({"inputs": both}).encode(), {"serving_default": signature})
    assert columns.inputs == {"image_bytes": [b"a", b"b"]}
    answer = json.loads(columns.write(outputs, 1)[0])["outputs"]
    assert len(answer["valid"]) == 2 and len(answer["boxes"]) == 5
    # Two signatures with the same inputs: the default, or the one that is named.
    known = {"people": signature, "serving_default": signature}
    asked = tensor()
    assert read_v2(json.dumps(asked).encode(), None, known, "m").signature == "serving_default"
    asked["parameters"] = {"signature": "people"}
    assert read_v2(json.dumps(asked).encode(), None, known, "m").signature == "people"


def tensor(**changes):
    given = {"name": "image_bytes", "shape": [1], "datatype": "BYTES", "data": [PICTURE["b64"]]}
    return {"inputs": [{**given, **changes}]}


BAD_INFERENCES = {
    "no inputs": ({}, None, "Inputs are a list"),
    "no shape": ({"inputs": [{"name": "image_bytes"}]}, None, "Inputs are a list"),
    "a negative shape": (tensor(shape=[-1]), None, "Inputs are a list"),
    "another name": (tensor(name="image"), None, "those of one signature"),
    "a name twice": ({"inputs": tensor()["inputs"] * 2}, None, "each of them once"),
    "another datatype": (tensor(datatype="TEXT"), None, "A datatype is one of"),
    "a path": (tensor(data=["/etc/passwd"]), None, "Bytes are written as base64"),
    "an address": (tensor(data=[{"url": "http://a"}]), None, "no path and no address"),
    "another count": (tensor(shape=[2]), None, "1 for .2."),
    "a huge shape": (tensor(shape=[2**31 - 1] * 3), None, "as many values as its shape"),
    "no data": (tensor(data=None), None, "A tensor has data"),
    "an unknown output": ({**tensor(), "outputs": [{"name": "x"}]}, None, "The outputs are"),
    "outputs by text": ({**tensor(), "outputs": ["valid"]}, None, "The outputs are"),
    "a length beyond the body": (tensor(), "99999", "number of bytes of JSON"),
    "a length that is none": (tensor(), "-1", "number of bytes of JSON"),
    "a length without end": (tensor(), "1" * 5000, "number of bytes of JSON"),
    "numbers beyond the type": (
        {"inputs": [{"name": "images", "shape": [1], "datatype": "FP16", "data": [1e9]}]},
        None,
        r"shape \(N, 32, 48, 3\)",
    ),
    "binary that is not there": (
        tensor(parameters={"binary_data_size": 9}, data=None),
        None,
        "bytes behind the JSON",
    ),
}


@pytest.mark.parametrize("name", BAD_INFERENCES)
def test_bad_inferences(addresses, name):
    body, length, message = BAD_INFERENCES[name]
    headers = {} if length is None else {"Inference-Header-Content-Length": length}
    reply = post(addresses["network"], "/v2/models/pose/infer", body, headers=headers)
    said = reply.json()["error"]
    assert reply.status_code == 400 and re.search(message, said), said


def test_a_shape_of_many_axes_costs_nothing(addresses):
    tensor = {"name": "images", "datatype": "FP32", "data": [1], "shape": [2**31 - 1] * 80_000}
    start = time.monotonic()
    reply = post(addresses["network"], "/v2/models/pose/infer", {"inputs": [tensor]})
    assert reply.status_code == 400 and "name, shape and datatype" in reply.json()["error"]
    assert time.monotonic() - start < 2  # the product of these has 746,000 digits
    tensor["shape"] = [2**31 - 1] * 32
    reply = post(addresses["network"], "/v2/models/pose/infer", {"inputs": [tensor]})
    assert "images has as many values as its shape" in reply.json()["error"]
    assert len(reply.json()["error"]) < 300


def test_binary_tensors_that_do_not_come_out_even(addresses):
    given = {"name": "image_bytes", "shape": [1], "datatype": "BYTES"}
    for tail, message in (
        ((9).to_bytes(4, "little") + b"abc", "do not come out even"),
        ((1).to_bytes(4, "little") + b"a" + b"bc", "do not come out even"),
        (b"", "0 for .1."),
    ):
        parameters = {"binary_data_size": len(tail)}
        head = json.dumps({"inputs": [{**given, "parameters": parameters}]}).encode()
        headers = {"Inference-Header-Content-Length": str(len(head))}
        reply = post(addresses["network"], "/v2/models/pose/infer", head + tail, headers=headers)
        assert reply.status_code == 400 and re.search(message, reply.text)
        more = post(
            addresses["network"], "/v2/models/pose/infer", head + tail + b"z", headers=headers
        )
        assert more.status_code == 400


def test_curl_as_the_readme_has_it(addresses, tmp_path):
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    readme = (pathlib.Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    [command] = re.findall(r"```sh\n(.*?curl.*?)```", readme, re.DOTALL)
    command = command.replace("http://127.0.0.1:8501", addresses["network"])
    command = command.replace("hourglass_tiny_people", "pose")
    (tmp_path / "photo.jpg").write_bytes(random_picture(0, ".jpg"))
    run = {"shell": True, "cwd": tmp_path, "capture_output": True, "timeout": 60}
    answer = json.loads(subprocess.run(command, **run).stdout)
    [row] = answer["predictions"]
    assert set(row) == {"keypoints", "scores", "present", "valid"} and row["valid"]
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    [row] = json.loads(subprocess.run(command, **run).stdout)["predictions"]
    assert not row["valid"] and np.isnan(row["keypoints"]).all()


def test_addresses_that_are_not_there(addresses):
    address, request = addresses["network"], {"instances": [PICTURE]}
    for path, status, message in (
        ("/v1/models/other:predict", 404, "model of this server is pose. Received: other"),
        ("/v1/models/pose/versions/2:predict", 404, "version that is served is 1. Received: 2"),
        ("/v1/models/pose/versions/x:predict", 404, "Received: x"),
        ("/v2/models/other/infer", 404, "Received: other"),
        ("/v1/models/pose:classify", 405, "Requests go to /v1/models/pose:predict"),
        ("/v1/models/../../etc/passwd", 404, "Requests go to"),
        ("/nothing", 404, "Requests go to"),
    ):
        reply = post(address, path, request)
        assert reply.status_code == status and message in reply.json()["error"], reply.text
    reply = get(address, "/v1/models/pose:predict")
    assert reply.status_code == 404 and "by POST. Received: GET" in reply.json()["error"]
    assert get(address, "/v1/models/pose/versions/7").status_code == 404
    # Nobody is sent to the host that a request names.
    reply = httpx.get(f"{address}/v2/", headers={"Host": "stranger.example"}, trust_env=False)
    assert reply.status_code == 404 and "location" not in reply.headers


@pytest.mark.slow
def test_sizes_of_requests(addresses):
    address = addresses["network"]
    # 1 MiB is the limit here.
    reply = post(address, "/v1/models/pose:predict", b" " * (2**20 + 1))
    assert reply.status_code == 413 and "at most 1,048,576 bytes" in reply.json()["error"]

    def endless():  # without an announced length
        for _ in range(40):
            yield b" " * 2**15

    reply = httpx.post(f"{address}/v1/models/pose:predict", content=endless(), trust_env=False)
    assert reply.status_code == 413
    # Values, which take a hundred times their length in memory.
    many = b'{"inputs": [' + b"0," * 300_000 + b"0]}"
    reply = post(address, "/v1/models/pose:predict", many)
    assert reply.status_code == 413 and "values" in reply.json()["error"]
    # A batch of crops has 36,864: four times these and 10,000; half as many lists.
    for body, said in (
        (b'{"inputs": [' + b"0," * 157_457, "157,456 values. Received: 157,457"),
        (b'{"inputs": ' + b"[" * 78_729, "78,728 lists. Received: 78,729"),
        (b'{"inputs": [' + b'{"a":1}' * 10_000, "10,000 objects. Received: 10,001"),
    ):
        reply = post(address, "/v1/models/pose:predict", body)
        assert reply.status_code == 413 and said in reply.json()["error"], reply.text
    # Pixels are no values, whatever their bytes.
    data = (200_000).to_bytes(4, "little") + b"," * 200_000
    head = {"name": "image_bytes", "shape": [1], "datatype": "BYTES"}
    head = json.dumps({"inputs": [{**head, "parameters": {"binary_data_size": len(data)}}]})
    headers = {"Inference-Header-Content-Length": str(len(head))}
    reply = post(address, "/v2/models/pose/infer", head.encode() + data, headers=headers)
    assert reply.status_code == 200
    reply = post(address, "/v1/models/pose:predict", {"instances": [PICTURE] * 129})
    assert reply.status_code == 413 and "at most 128 rows" in reply.json()["error"]
    crops = np.zeros((9, 32, 48, 3), int).tolist()
    reply = post(
        address, "/v1/models/pose:predict", {"signature_name": "heatmaps", "inputs": crops}
    )
    assert reply.status_code == 413 and "at most 8 rows" in reply.json()["error"]
    packed = post(address, "/v1/models/pose:predict", b"x", headers={"Content-Encoding": "gzip"})
    assert packed.status_code == 415


def test_pixels_are_counted_before_anything_is_decoded(folder, monkeypatch):
    from keras_hourglass.serving import backends

    decoded = []
    monkeypatch.setattr(
        backends, "read_image", lambda data, most: decoded.append(len(data)) or np.zeros((9, 9, 3))
    )
    limits = Limits(max_pixels=150 * 211 - 1)  # one less than the picture's
    with running(folder / "network" / "pose", limits=limits) as (address, _):
        [row] = predicted(address, {"instances": [b64(random_picture(0, ".jpg"))]})["predictions"]
    assert row["valid"] is False and decoded == []


def test_a_full_queue_refuses_cleanly_and_forgets_nothing(folder, monkeypatch):
    limits = Limits(max_batch=2, max_queue=4)
    with running(folder / "network" / "pose", limits=limits) as (address, app):
        server = app.state.server
        backend, gate = server.versions.current, threading.Event()
        run = backend.run
        monkeypatch.setattr(backend, "run", lambda items: gate.wait(30) and run(items))
        request = {"instances": [b64(random_picture(0, ".jpg"))] * 2}
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            accepted = [
                pool.submit(post, address, "/v1/models/pose:predict", request) for _ in "ab"
            ]
            while server.batcher.pending < 4:
                time.sleep(0.01)
            refused = list(
                pool.map(lambda _: post(address, "/v1/models/pose:predict", request), range(6))
            )
            assert get(address, "/v2/health/live").status_code == 200
            gate.set()
            assert [future.result().status_code for future in accepted] == [200, 200]
        for reply in refused:
            assert reply.status_code == 429 and reply.headers["Retry-After"] == "1"
            assert "At most 4 people" in reply.json()["error"]
        while server.batcher.pending:
            time.sleep(0.01)
        assert predicted(address, request)["predictions"][1]["valid"]
        text = get(address, "/metrics").text
        assert 'keras_hourglass_refused_total{reason="queue"} 6.0' in text
        assert "keras_hourglass_waiting_people 0.0" in text
        assert 'requests_total{kind="predict_v1",status="429"} 6.0' in text
        assert 'keras_hourglass_people_total{valid="true"} 6.0' in text


@pytest.mark.slow
def test_who_could_not_be_answered_in_time_is_refused_at_once(folder, monkeypatch):
    with running(folder / "network" / "pose", limits=Limits(timeout=8.0)) as (address, app):
        backend = app.state.server.versions.current
        run = backend.run
        # 0.6 s for each: nine can be answered in the 5.6 s that are left for the network.
        monkeypatch.setattr(backend, "run", lambda i: time.sleep(0.6 * len(i)) or run(i))
        request = {"instances": [b64(random_picture(0, ".jpg"))]}
        assert len(predicted(address, request)["predictions"]) == 1
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = list(
                pool.map(lambda _: post(address, "/v1/models/pose:predict", request), range(16))
            )
    statuses = [reply.status_code for reply in replies]
    assert set(statuses) == {200, 429} and 4 <= statuses.count(200) <= 12
    for reply in replies:
        assert reply.status_code == 200 or int(reply.headers["Retry-After"]) >= 1


@pytest.mark.slow
def test_people_of_several_requests_run_together(folder):
    limits = Limits(max_delay=0.2)
    with running(folder / "network" / "pose", limits=limits) as (address, app):
        backend, sizes = app.state.server.versions.current, []
        run, entered = backend.run, threading.Event()

        def watched(items):
            sizes.append(len(items))
            if not entered.is_set():
                entered.set()
                time.sleep(0.5)  # the others gather meanwhile
            return run(items)

        backend.run = watched
        pictures = [random_picture(seed, ".jpg") for seed in range(3)]
        alone = predicted(address, {"instances": [b64(pictures[0])]})["predictions"][0]
        entered.clear()
        sizes.clear()
        with concurrent.futures.ThreadPoolExecutor(13) as pool:
            answers = list(
                pool.map(
                    lambda place: predicted(address, {"instances": [b64(pictures[place % 3])]}),
                    range(13),
                )
            )
        assert sum(sizes) == 13 and max(sizes) > 1 and max(sizes) <= 8
        for place in range(0, 13, 3):  # everybody got the answer to their own picture
            [row] = answers[place]["predictions"]
            np.testing.assert_allclose(row["keypoints"], alone["keypoints"], atol=0.05)


@pytest.mark.slow
def test_what_takes_too_long_is_given_up(folder, monkeypatch):
    with running(folder / "network" / "pose", limits=Limits(timeout=0.4)) as (address, app):
        server = app.state.server
        backend, gate = server.versions.current, threading.Event()
        run = backend.run
        monkeypatch.setattr(backend, "run", lambda items: gate.wait(30) and run(items))
        request = {"instances": [b64(random_picture(0, ".jpg"))]}
        reply = post(address, "/v1/models/pose:predict", request)
        assert reply.status_code == 504 and "within 0.4 s" in reply.json()["error"]
        gate.set()
        while server.batcher.pending:
            time.sleep(0.01)
        # A body that does not come.
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(
                b"POST /v1/models/pose:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"
            )
            connection.settimeout(30)
            assert b" 408 " in connection.recv(4096)


@pytest.mark.slow
def test_connections_that_say_nothing_or_too_much_are_closed(folder, monkeypatch):
    from keras_hourglass.serving import connections

    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.3)
    with running(folder / "network" / "pose") as (address, _):
        host, port = address.removeprefix("http://").split(":")

        def closed(*parts, pause=0.1):
            with socket.create_connection((host, int(port))) as connection:
                connection.settimeout(30)
                with_answer = b""
                try:
                    for part in parts:
                        connection.sendall(part)
                        time.sleep(pause)
                    while part := connection.recv(65536):
                        with_answer += part
                except ConnectionError:
                    pass
            return with_answer

        assert closed() == b""
        assert closed(b"GET /v2 HTT") == b""
        assert closed(*[b"\r\n"] * 8) == b""
        assert closed(*[b"GET / HTTP/1.1\r\n", *[b"A: b\r\n"] * 8]) == b""
        assert closed(b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000, pause=0) == b""
        answer = closed(b"\x16\x03\x01 no HTTP\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 400")
        assert "is HTTP/1.1" in json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert get(address, "/v2/health/ready").status_code == 200
        # One that is used for a while stays.
        with httpx.Client(base_url=address, trust_env=False) as client:
            for _ in range(4):
                assert client.get("/v2/health/live").status_code == 200
                time.sleep(0.2)


def spoken(address, data, more=b""):
    """What comes back until the connection is closed, perhaps in the middle of `more`."""
    host, port = address.removeprefix("http://").split(":")
    answer = b""
    with (
        socket.create_connection((host, int(port))) as connection,
        contextlib.suppress(ConnectionError),
    ):
        connection.settimeout(30)
        connection.sendall(data)
        if more:
            time.sleep(0.2)
            connection.sendall(more)
        while part := connection.recv(65536):
            answer += part
    return answer


def test_headers_have_a_limit_wherever_they_stand(addresses):
    address, start = addresses["network"], b"GET /v2 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n"
    answer = spoken(address, start + b"A: " + b"b" * 30_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    # With the request line, Host and Connection 198 more are 201 lines.
    for headers in (b"A: " + b"b" * 32_768 + b"\r\n", b"A: b\r\n" * 198):
        answer = spoken(address, start + headers + b"\r\n")
        assert answer.startswith(b"HTTP/1.1 431")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert "32,768 bytes in 200 lines" in json.loads(body)["error"]
        assert f"Content-Length: {len(body)}".encode() in head
    assert spoken(address, start + b"A: b\r\n" * 197 + b"\r\n").startswith(b"HTTP/1.1 200")
    # Behind a body in pieces nobody reads them: five bytes took a hundred of memory, without end.
    pieces = b"POST /v1/models/pose:predict HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n"
    pieces += b"Connection: close\r\n\r\n2\r\n{}\r\n0\r\n"
    assert b"either instances" in spoken(address, pieces + b"A: b\r\n" * 9 + b"\r\n")
    assert spoken(address, pieces + b"A: b\r\n" * 250).startswith(b"HTTP/1.1 431")
    start = time.monotonic()
    assert b"200" not in spoken(address, pieces + b"A: ", b"b" * 100_000)
    assert time.monotonic() - start < 5


def test_requests_that_come_before_answers_have_a_limit(addresses):
    """uvicorn takes in as many as there are: one connection took gigabytes."""
    address, one = addresses["network"], b"GET /v2/health/live HTTP/1.1\r\nHost: a\r\n\r\n"
    last = one.replace(b"Host", b"Connection: close\r\nHost")
    # Each has two lines: 91 of them and one more make 183, 101 of them 202.
    assert spoken(address, one * 90 + last).count(b"HTTP/1.1 200 OK") == 91
    assert spoken(address, one * 101).count(b"HTTP/1.1 200 OK") == 0
    assert get(address, "/v2/health/live").status_code == 200


@pytest.mark.slow
def test_too_many_connections(folder, monkeypatch):
    from keras_hourglass.serving import connections

    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 3)
    with running(folder / "network" / "pose") as (address, _):
        host, port = address.removeprefix("http://").split(":")
        first = [socket.create_connection((host, int(port))) for _ in range(3)]
        time.sleep(0.3)
        with socket.create_connection((host, int(port))) as one:
            one.settimeout(30)
            answer = one.recv(4096)
        assert answer.startswith(b"HTTP/1.1 503") and b"Retry-After: 1" in answer
        length = int(re.search(rb"Content-Length: (\d+)", answer)[1])
        assert (
            json.loads(answer.partition(b"\r\n\r\n")[2])
            and len(answer.partition(b"\r\n\r\n")[2]) == length
        )
        for connection in first:
            connection.close()
        time.sleep(0.3)
        assert get(address, "/v2/health/ready").status_code == 200


def test_bytes_of_all_requests_together(folder):
    with running(folder / "network" / "pose", limits=Limits(max_bytes=500_000)) as (address, app):
        host, port = address.removeprefix("http://").split(":")
        head = b"POST /v1/models/pose:predict HTTP/1.1\r\nHost: a\r\nContent-Length: 400000\r\n\r\n"
        with socket.create_connection((host, int(port))) as slow:
            slow.sendall(head + b" " * 300_000)
            end = time.monotonic() + 20
            while app.state.server._bytes < 300_000 and time.monotonic() < end:
                time.sleep(0.01)
            reply = post(address, "/v1/models/pose:predict", b" " * 300_000)
            assert reply.status_code == 429 and "500,000 bytes wait" in reply.json()["error"]
        # They count no longer than the connection lasts; the body is no JSON.
        while app.state.server._bytes and time.monotonic() < end:
            time.sleep(0.01)
        assert post(address, "/v1/models/pose:predict", b" " * 300_000).status_code == 400
        start = time.monotonic()  # headers without end, long before their ten seconds are over
        with socket.create_connection((host, int(port))) as endless:
            endless.settimeout(30)
            endless.sendall(b"GET / HTTP/1.1\r\nA: " + b"b" * 40_000)
            with contextlib.suppress(ConnectionError):
                assert endless.recv(4096) == b""
        assert time.monotonic() - start < 5


@pytest.mark.slow
def test_answers_that_nobody_takes_are_given_up(folder, monkeypatch):
    from keras_hourglass.serving import connections

    limited = connections.timed_protocol
    monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
    monkeypatch.setattr(connections, "timed_protocol", lambda _: limited(1.5))
    limits = Limits(max_bytes=2**20)
    with running(folder / "network" / "pose", limits=limits) as (address, app):
        host, port = address.removeprefix("http://").split(":")
        told: list = []
        handler = logging.Handler()
        handler.emit = told.append
        logging.getLogger("uvicorn.error").addHandler(handler)
        # Each of 128 rows is the description: a quarter of a megabyte an answer.
        rows = json.dumps({"signature_name": "metadata", "inputs": [b64(b"")] * 128}).encode()
        head = "POST /v1/models/pose:predict HTTP/1.1\r\nHost: a\r\nContent-Length: "
        asked = f"{head}{len(rows)}\r\n\r\n".encode() + rows
        with socket.socket() as greedy:
            greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            greedy.connect((host, int(port)))
            greedy.settimeout(30)
            greedy.sendall(asked * 60)
            end = time.monotonic() + 20
            while app.state.server.unsent() < 2**16 and time.monotonic() < end:
                time.sleep(0.01)
            assert app.state.server.unsent() >= 2**16
            # What waits counts as the bytes of a request do.
            monkeypatch.setattr(connections, "MAX_CONNECTIONS", 2)
            app.state.server.unsent = lambda: 2**20 + 1
            reply = post(address, "/v1/models/pose:predict", {"instances": [PICTURE]})
            assert reply.status_code == 429 and "1,048,576 bytes wait" in reply.json()["error"]
            monkeypatch.setattr(connections, "MAX_CONNECTIONS", 1)
            assert get(address, "/v2/health/live").status_code == 503
            end = time.monotonic() + 20
            while get(address, "/v2/health/live").status_code == 503 and time.monotonic() < end:
                time.sleep(0.1)
            assert get(address, "/v2/health/live").status_code == 200
            taken = b""
            with contextlib.suppress(ConnectionError):
                while part := greedy.recv(2**16):
                    taken += part
            assert 0 < taken.count(b"HTTP/1.1 200 OK") < 60  # the others were never written
    assert [record.getMessage() for record in told] == []  # nothing of the requests behind it


def test_a_failing_engine_is_told_of_and_survived(folder, monkeypatch, caplog):
    with running(folder / "network" / "pose") as (address, app):
        backend = app.state.server.versions.current
        run = backend.run

        def fails(items):
            raise RuntimeError("out of order")

        monkeypatch.setattr(backend, "run", fails)
        request = {"instances": [b64(random_picture(0, ".jpg"))]}
        reply = post(address, "/v1/models/pose:predict", request)
        assert reply.status_code == 500 and "out of order" not in reply.text
        assert "out of order" in caplog.text
        monkeypatch.setattr(backend, "run", run)
        assert predicted(address, request)["predictions"][0]["valid"]


def test_the_page_shows_what_is_served(addresses):
    reply = get(addresses["network"], "/")
    assert reply.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in reply.headers["content-security-policy"]
    for needed in ("/v2/models/", 'type="file"', "image_bytes", "boxes"):
        assert needed in reply.text
    assert "http://" not in reply.text and "https://" not in reply.text  # nothing from elsewhere
    assert get(addresses["network"], "/v2").json()["models"] == ["pose"]


def test_the_health_check_beside_an_export(folder, addresses):
    """What `compose.yaml` runs within the image, against the same interface here."""
    import yaml

    compose = yaml.safe_load((folder / "versions" / "compose.yaml").read_text())
    _, *command = compose["services"]["serving"]["healthcheck"]["test"]
    port = addresses["versions"].rpartition(":")[2]
    for changes, fine in (
        ({"8501": port}, True),
        ({"8501": port, "models/pose": "models/other"}, False),
        ({"8501": "1"}, False),
    ):
        words = command
        for old, new in changes.items():
            assert old in words[-1]
            words = [word.replace(old, new) for word in words]
        done = subprocess.run(words, capture_output=True, timeout=60)
        assert (done.returncode == 0) is fine, done.stderr


def wait_for(condition):
    end = time.monotonic() + 120
    while not condition():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.05)


def states(address):
    entries = get(address, "/v1/models/pose").json()["model_version_status"]
    return {int(entry["version"]): entry for entry in entries}


@pytest.mark.slow
def test_new_versions_are_taken_whole_and_broken_ones_named(folder, model, tmp_path, caplog):
    pose = tmp_path / "pose"
    shutil.copytree(folder / "versions" / "pose" / "1", pose / "1")
    request = {"instances": [b64(random_picture(0, ".jpg"))]}
    with running(pose, poll=0.1) as (address, app):
        before = predicted(address, request)["predictions"][0]
        # Being copied: the graph is there, the last files are not.
        half = pose / "2"
        shutil.copytree(pose / "1", half, ignore=shutil.ignore_patterns("assets.extra"))
        wait_for(lambda: 2 in states(address))
        said = states(address)
        assert said[2]["state"] == "END" and said[1]["state"] == "AVAILABLE"
        assert "metadata.json" in said[2]["status"]["error_message"]
        assert predicted(address, request)["predictions"][0] == before
        # A file that differs from what was exported.
        shutil.copytree(pose / "1" / "assets.extra", half / "assets.extra")
        graph = (half / "saved_model.pb").read_bytes()
        (half / "saved_model.pb").write_bytes(graph[: len(graph) // 2])
        wait_for(lambda: "checksum" in states(address)[2]["status"]["error_message"])
        # Whole at last.
        (half / "saved_model.pb").write_bytes(graph)
        wait_for(lambda: states(address).get(2, {}).get("state") == "AVAILABLE")
        assert set(states(address)) == {2}
        assert post(address, "/v1/models/pose/versions/2:predict", request).status_code == 200
        assert post(address, "/v1/models/pose/versions/1:predict", request).status_code == 404
        assert predicted(address, request)["predictions"][0] == before
        assert "keras_hourglass_version 2.0" in get(address, "/metrics").text
        # Whole by its own word, and no graph: 2 goes on.
        broken = pose / ".writing-3"
        shutil.copytree(pose / "1", broken)
        (broken / "saved_model.pb").write_bytes(b"no graph")
        about = json.loads((broken / "assets.extra" / "metadata.json").read_text())
        import hashlib

        about["sha256"]["saved_model.pb"] = hashlib.sha256(b"no graph").hexdigest()
        (broken / "assets.extra" / "metadata.json").write_text(json.dumps(about))
        os.rename(broken, pose / "3")
        wait_for(lambda: states(address).get(3, {}).get("state") == "END")
        assert "Export it again" in states(address)[3]["status"]["error_message"]
        assert str(tmp_path) not in get(address, "/v1/models/pose").text
        assert "saved_model.pb" in caplog.text
        assert states(address)[2]["state"] == "AVAILABLE"
        assert predicted(address, request)["predictions"][0] == before
        # The served one goes away, and so does the broken one: what is left is served.
        for number in ("3", "2"):
            os.rename(pose / number, tmp_path / number)
        wait_for(lambda: states(address).get(1, {}).get("state") == "AVAILABLE")
        # Nothing is left: the one in memory goes on.
        os.rename(pose / "1", tmp_path / "1")
        time.sleep(0.5)
        assert predicted(address, request)["predictions"][0] == before


def test_what_cannot_be_served_is_said_at_once(folder, tmp_path):
    for model, message in (
        ("no_such_model", "No such|preset"),
        (folder / "versions" / "pose" / "1", "One|one version. Name .*pose"),
        (folder / "versions", "One model is served at a time.*the folder of pose.*Name .*pose"),
    ):
        with pytest.raises(UserError, match=message):
            create_app(model)
    (tmp_path / "pose" / "1").mkdir(parents=True)
    with pytest.raises(UserError, match="none can be served .1: .*metadata.json"):
        create_app(tmp_path / "pose")
    with pytest.raises(UserError, match="`poll` must be positive"):
        create_app(folder / "network" / "pose", poll=0)
    with pytest.raises(UserError, match="Received: 'a/b'. Give another with --name"):
        create_app(folder / "network" / "pose", name="a/b")
    with pytest.raises(UserError, match="as it was exported"):
        create_app(folder / "versions" / "pose", flip=False)
    with pytest.raises(UserError, match="`timeout` must be positive. Received: 0"):
        Limits(timeout=0)
    with pytest.raises(UserError, match="at least `max_batch`"):
        Limits(max_batch=9, max_queue=8)


def test_paths_in_a_description_stay_in_the_version(folder, tmp_path):
    from keras_hourglass.serving.versions import what_is_missing

    shutil.copytree(folder / "versions" / "pose" / "1", tmp_path / "1")
    assert what_is_missing(tmp_path / "1") is None
    path = tmp_path / "1" / "assets.extra" / "metadata.json"
    about = json.loads(path.read_text())
    about["sha256"]["../secret"] = "0" * 64
    path.write_text(json.dumps(about))
    assert "outside" in what_is_missing(tmp_path / "1")
    path.write_text("{")
    said = what_is_missing(tmp_path / "1")  # everybody may ask for it
    assert "metadata.json cannot be read" in said and str(tmp_path) not in said
    path.unlink()
    assert "is not there" in what_is_missing(tmp_path / "1")
    os.mkfifo(path)  # which nobody writes, so that reading it would wait for ever
    assert "a pipe or a device" in what_is_missing(tmp_path / "1")


def started(*arguments):
    """The command in a process of its own, and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "keras_hourglass", "serve", *map(str, arguments), "--port", "0"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    line = process.stdout.readline()
    return process, re.search(r"http://[\d.:]+", line)[0], line


@pytest.mark.slow
@pytest.mark.parametrize("kind", (signal.SIGTERM, signal.SIGINT))
def test_it_answers_what_it_accepted_before_it_ends(folder, kind):
    process, address, line = started(folder / "network" / "pose")
    try:
        assert line.startswith("pose, version 1, by ")
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            assert client.get("/v2/health/ready").status_code == 200

            def ask(_):
                request = {"instances": [b64(random_picture(0, ".jpg"))] * 100}
                return post(address, "/v1/models/pose:predict", request).status_code

            with concurrent.futures.ThreadPoolExecutor(1) as pool:
                answer = pool.submit(ask, 0)
                metric = "keras_hourglass_waiting_people 0.0"
                wait_for(lambda: metric not in client.get("/metrics").text or answer.done())
                process.send_signal(kind)
                assert answer.result() == 200
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0 and out.endswith("stopped\n") and err == ""
        with pytest.raises(httpx.ConnectError):
            get(address, "/v2")
    finally:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_mistakes_on_the_command_line():
    for arguments, message in (
        (["no_such"], "No such|no_such"),
        (["hourglass_tiny_lsp", "--host", "203.0.113.1"], "Choose another --host or --port"),
        (["hourglass_tiny_lsp", "--timeout", "0"], "must be positive"),
        (["hourglass_tiny"], "weights"),
    ):
        command = [sys.executable, "-m", "keras_hourglass", "serve", *arguments]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 2 and re.search(message, done.stderr), done.stderr
        assert done.stderr.count("\n") == 1
