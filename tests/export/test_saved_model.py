"""The SavedModel as a server sees it, and the files beside it."""

import json
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest
import yaml

tf = pytest.importorskip("tensorflow")

from places import HELPERS as HERE  # noqa: E402

from keras_hourglass.export import export_model  # noqa: E402
from keras_hourglass.export.bundle import random_picture  # noqa: E402
from keras_hourglass.zoo.store import load_model, read_manifest  # noqa: E402


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    from keras_hourglass import StackedHourglass

    model = StackedHourglass(
        skeleton="lsp", num_stacks=1, num_features=8, depth=1, input_shape=(32, 48, 3)
    )
    return export_model(model, tmp_path_factory.mktemp("served"), name="pose", preset="tiny")


@pytest.fixture(scope="module")
def as_by_server(exported, tmp_path_factory):
    """What the script in a process of its own prints, and the pictures it was given."""
    folder = tmp_path_factory.mktemp("pictures")
    pictures = []
    for seed, suffix in enumerate((".jpg", ".png", ".jpg")):
        pictures.append(folder / f"{seed}{suffix}")
        pictures[-1].write_bytes(random_picture(seed, suffix))
    script = HERE / "served_as_by_server.py"
    done = subprocess.run(
        [sys.executable, script, exported, *pictures],
        capture_output=True,
        text=True,
        env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", "CUDA_VISIBLE_DEVICES": "-1"},
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1]), pictures


@pytest.mark.full
def test_runs_without_this_package_single_batched_and_in_threads(exported, as_by_server):
    result, pictures = as_by_server
    signatures = tf.saved_model.load(str(exported)).signatures
    encoded = tf.constant([picture.read_bytes() for picture in pictures])
    expected = signatures["serving_default"](image_bytes=encoded)["keypoints"].numpy()
    for found in (result["single"], result["batched"], *result["parallel"]):
        np.testing.assert_allclose(found, expected, atol=1e-2)
    assert result["valid"] == [True, False]


@pytest.mark.full
def test_only_stock_operations_and_no_python(as_by_server):
    result, _ = as_by_server
    assert result["unknown"] == []
    assert not [op for op in result["ops"] if "Py" in op or op.startswith("Xla")]
    assert {"DecodeJpeg", "DecodePng", "Conv2D"} <= set(result["ops"])
    # Everything that batch norms could be folded into was.
    assert "FusedBatchNormV3" not in result["ops"] and "Rsqrt" not in result["ops"]


@pytest.mark.full
def test_warmup_requests_can_be_replayed(exported):
    logs = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    signatures = tf.saved_model.load(str(exported)).signatures
    replayed = set()
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    for record in tf.data.TFRecordDataset(str(file)):
        log = logs.PredictionLog.FromString(record.numpy())
        request = log.predict_log.request
        assert request.model_spec.name == "pose"
        name = request.model_spec.signature_name
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        outputs = signatures[name](**inputs)
        if "valid" in outputs:
            assert outputs["valid"].numpy().all()
        replayed.add((name, len(next(iter(inputs.values())))))
    names = {name for name, _ in replayed}
    assert names == set(signatures)
    assert ("serving_default", 1) in replayed and ("serving_default", 8) in replayed


@pytest.mark.full
def test_server_files(exported):
    root = exported.parents[1]
    compose = yaml.safe_load((root / "compose.yaml").read_text())
    for service in compose["services"].values():
        assert service["image"].startswith(f"tensorflow/serving:${{SERVING_TAG:-{tf.__version__}}}")
        assert service["healthcheck"]["test"][:3] == ["CMD", "bash", "-c"]
        options = [word for word in service["command"] if "/models/" in word]
        named = [word.partition("=/models/")[2] for word in options]
        assert sorted(named) == ["batching.config", "models.config", "monitoring.config"]
        assert all((root / name).is_file() for name in named)
    deployment, service = yaml.safe_load_all((root / "kubernetes.yaml").read_text())
    assert deployment["kind"] == "Deployment" and service["kind"] == "Service"
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"tensorflow/serving:{tf.__version__}"
    ports = {entry["name"] for entry in container["ports"]}
    for kind in ("startupProbe", "livenessProbe", "readinessProbe"):
        [(_, where)] = [e for e in container[kind].items() if e[0] in ("httpGet", "tcpSocket")]
        assert where["port"] in ports and where.get("path", "/v1/models/pose").endswith("/pose")
    for name in ("models.config", "batching.config", "monitoring.config"):
        text = (root / name).read_text()
        assert text.count("{") == text.count("}") > 0 and "{{" not in text


def test_server_files_are_valid_messages(exported):
    from google.protobuf import text_format

    server = pytest.importorskip("tensorflow_serving.config.model_server_config_pb2")
    root = exported.parents[1]
    config = text_format.Parse(
        (root / "models.config").read_text(), server.ModelServerConfig()
    ).model_config_list.config
    assert [(entry.name, entry.base_path) for entry in config] == [("pose", "/models/pose")]


def test_a_second_model_is_added_to_the_list(tmp_path):
    from keras_hourglass.export import bundle

    for name in ("pose", "other", "pose"):
        bundle.write_server_files(tmp_path, {"name": name})
    (tmp_path / "batching.config").write_text("# mine")
    bundle.write_server_files(tmp_path, {"name": "third"})
    listed = (tmp_path / "models.config").read_text()
    assert [listed.count(f'name: "{name}"') for name in ("pose", "other", "third")] == [1, 1, 1]
    assert (tmp_path / "batching.config").read_text() == "# mine"


def test_signature_page_fills_in_everything(exported):
    text = (exported / "assets.extra" / "signature.md").read_text()
    assert "{{" not in text and "input 32×48, 14 joints" in text and "(N, 8, 12, 14)" in text


@pytest.mark.full
def test_command_line(tmp_path, capsys):
    from keras_hourglass import StackedHourglass
    from keras_hourglass.cli import main

    model = StackedHourglass(
        skeleton="lsp", num_stacks=1, num_features=8, depth=1, input_shape=(32, 48, 3)
    )
    model.save_to_preset(tmp_path / "tiny")
    options = ["export", "--model", str(tmp_path / "tiny"), "--out", str(tmp_path / "served")]
    assert main(options) == 0
    assert str(tmp_path / "served" / "tiny" / "1") in capsys.readouterr().out
    assert main([*options, "--max-pixels", "0"]) == 2
    assert main(["export", "--model", str(tmp_path / "none"), "--out", str(tmp_path)]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2


def test_served_pictures_are_not_all_alike():
    first, second = (
        cv2.imdecode(np.frombuffer(random_picture(seed, ".png"), "u1"), 1) for seed in (0, 1)
    )
    assert first.shape != second.shape


@pytest.mark.full
@pytest.mark.parametrize(
    "name", sorted(n for n, record in read_manifest().items() if record["skeleton"] != "boxes")
)
def test_every_shipped_network_can_be_exported(tmp_path, name):
    version = export_model(load_model(name), tmp_path, name="pose", preset=name)
    assert (version / "saved_model.pb").is_file()
