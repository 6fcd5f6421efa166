"""The client against servers of both protocols, under load and with faults."""

import concurrent.futures
import itertools
import re
import subprocess
import time

import numpy as np
import pytest

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.serving import (
    Client,
    RequestRejected,
    RequestTimeout,
    ServerUnavailable,
    ServingError,
)

tf = pytest.importorskip("tensorflow")
pytest.importorskip("tensorflow_serving.apis")

import fake_server  # noqa: E402

from keras_hourglass.export import export_model  # noqa: E402
from keras_hourglass.export.bundle import random_picture  # noqa: E402

PROTOCOLS = ("grpc", "rest")


@pytest.fixture(scope="module")
def model():
    from keras_hourglass import StackedHourglass

    return StackedHourglass(
        skeleton="lsp",
        num_stacks=1,
        num_features=8,
        depth=1,
        input_shape=(32, 48, 3),
        metadata={"thresholds": {"neck": -1e9, "head_top": 1e9}},
    )


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_model(model, tmp_path_factory.mktemp("served"), name="pose")


@pytest.fixture(scope="module")
def shared_model(exported):
    return fake_server.Served(exported)


@pytest.fixture
def served(shared_model):
    shared_model.fault, shared_model.requests, shared_model.sizes = None, 0, []
    return shared_model


@pytest.fixture(scope="module")
def addresses(shared_model):
    with (
        fake_server.grpc_server(shared_model) as grpc,
        fake_server.rest_server(shared_model) as rest,
    ):
        yield {"grpc": grpc, "rest": rest}


@pytest.fixture
def connect(addresses):
    """A function that makes clients, closed after the test."""
    clients = []

    def make(protocol, **options):
        options = {"model": "pose", "backoff": 0.01, **options}
        clients.append(Client(addresses[protocol], protocol, **options))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_poses_are_the_predictors(connect, served, model, protocol, tmp_path):
    from keras_hourglass import Predictor

    data, boxes = random_picture(1, ".jpg"), [[5, -10, 80, 90], [30, 40, 50.5, 20]]
    (tmp_path / "a.jpg").write_bytes(data)
    predictor, client = Predictor(model, whole=True), connect(protocol)
    for image, given in ((data, None), (tmp_path / "a.jpg", boxes)):
        expected, actual = predictor(image, boxes=given), client.predict(image, boxes=given)
        assert len(actual) == len(expected)
        for one, other in zip(actual, expected, strict=True):
            np.testing.assert_allclose(one.keypoints, other.keypoints, atol=0.5)
            np.testing.assert_allclose(one.scores, other.scores, atol=1e-3)
            np.testing.assert_allclose(one.box, other.box)
            assert (one.present == other.present).all() and one.names == other.names
    assert actual[0].image == str(tmp_path / "a.jpg")
    assert actual[0].draw().shape == (188, 187, 3)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_many_pictures_in_batches(connect, served, protocol):
    images = [random_picture(seed, suffix) for seed in range(3) for suffix in (".jpg", ".png")]
    client = connect(protocol, batch_size=4)
    results = client.predict_many(images)
    assert sorted(served.sizes) == [1, 2, 4]  # metadata, 4 + 2 pictures
    for image, poses in zip(images, results, strict=True):
        np.testing.assert_allclose(poses[0].keypoints, client.predict(image)[0].keypoints, atol=0.1)
    boxes = [[[0, 0, 9, 9]] * count for count in (2, 0, 1, 0, 0, 3)]
    assert [len(poses) for poses in client.predict_many(images, boxes)] == [2, 0, 1, 0, 0, 3]
    assert client.predict_many([]) == []


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_one_bad_picture_among_others(connect, served, protocol):
    whole = random_picture(0, ".jpg")
    client = connect(protocol)
    good, bad = client.predict_many([whole, whole[: len(whole) // 2]])
    assert np.isfinite(good[0].keypoints).all()
    assert np.isnan(bad[0].keypoints).all() and not bad[0].present.any()
    with pytest.raises(DataError, match="server could not read"):
        client.predict(whole[: len(whole) // 2])


@pytest.mark.slow
@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_health_metadata_and_heatmaps(connect, served, model, protocol):
    client = connect(protocol)
    assert client.is_healthy() and client.status() == {3: "AVAILABLE"}
    assert client.metadata["input_size"] == [32, 48]
    assert client.skeleton.joints == model.skeleton.joints
    crops = np.random.default_rng(0).integers(0, 256, (2, 32, 48, 3))
    found, expected = client.heatmaps(crops), model.predict(crops, verbose=0)
    assert set(found) == set(expected)
    np.testing.assert_allclose(found["stack_1"], expected["stack_1"], rtol=1e-3, atol=1e-3)
    assert not connect(protocol, model="other").is_healthy()


@pytest.mark.parametrize(
    "protocol, fault", [("grpc", "UNAVAILABLE"), ("rest", 503), ("rest", "cut")]
)
def test_retries_until_the_server_is_back(connect, served, protocol, fault):
    faults = itertools.chain([fault, fault], itertools.repeat(None))
    client = connect(protocol)
    client.metadata  # noqa: B018
    served.requests, served.fault = 0, lambda: next(faults)
    assert len(client.predict(random_picture(0, ".png"))) == 1
    assert served.requests == 3
    served.fault, served.requests = lambda: fault, 0
    with pytest.raises(ServerUnavailable):
        connect(protocol, retries=2).heatmaps(np.zeros((1, 32, 48, 3)))
    assert served.requests == 3


@pytest.mark.parametrize(
    "protocol, fault, kind",
    [
        ("grpc", "INVALID_ARGUMENT", RequestRejected),
        ("grpc", "RESOURCE_EXHAUSTED", RequestRejected),
        ("grpc", "INTERNAL", ServingError),
        ("grpc", "DEADLINE_EXCEEDED", RequestTimeout),
        ("rest", 400, RequestRejected),
        ("rest", 500, ServingError),
        ("rest", 504, RequestTimeout),
    ],
)
def test_other_errors_are_not_retried(connect, served, protocol, fault, kind):
    served.fault = lambda: fault
    with pytest.raises(kind, match="injected") as caught:
        connect(protocol).heatmaps(np.zeros((1, 32, 48, 3)))
    assert type(caught.value) is kind and caught.value.status == fault
    assert served.requests == 1


@pytest.mark.parametrize(
    "protocol, fault", [("grpc", None), ("rest", None), ("rest", "drip"), ("rest", "stall")]
)
def test_slow_servers_run_into_the_timeout(connect, served, protocol, fault):
    served.fault = lambda: fault or time.sleep(1.5)
    start = time.monotonic()
    with pytest.raises(RequestTimeout):
        connect(protocol, timeout=0.3).heatmaps(np.zeros((1, 32, 48, 3)))
    assert time.monotonic() - start < 1.2


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_no_server_at_all(protocol):
    address = "localhost:1" if protocol == "grpc" else "http://localhost:1"
    with Client(address, protocol, timeout=2, backoff=0.01, retries=1) as client:
        assert not client.is_healthy()
        with pytest.raises(ServerUnavailable, match="Check"):
            client.predict(random_picture(0, ".png"))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_unknown_model_and_wrong_input(connect, served, protocol):
    with pytest.raises(RequestRejected, match="not found"):
        connect(protocol, model="other").predict(random_picture(0, ".png"))
    with pytest.raises(RequestRejected):
        connect(protocol).heatmaps(np.zeros((1, 5, 6, 3)))


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_under_load_with_faults(connect, served, protocol):
    client = connect(protocol, retries=8)
    image = random_picture(0, ".jpg")
    expected = client.predict(image)[0].keypoints
    fault, counter = {"grpc": "UNAVAILABLE", "rest": "cut"}[protocol], itertools.count(1)
    served.fault = lambda: fault if next(counter) % 3 == 0 else None
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: client.predict(image)[0].keypoints, range(24)))
    np.testing.assert_allclose(results, [expected] * 24, atol=1e-3)
    assert served.requests > 30


def test_refused_before_anything_is_sent(connect, served, tmp_path):
    picture = random_picture(0, ".png")
    (tmp_path / "notes.txt").write_text("no picture")
    client = connect("rest", max_bytes=len(picture), max_pixels=40_000)
    for image in (tmp_path / "none.png", tmp_path / "notes.txt", b"", picture + b" "):
        with pytest.raises(DataError):
            client.predict(image)
    with pytest.raises(DataError, match="pixels"):
        connect("rest", max_pixels=1000).predict(picture)
    for box in ([np.nan, 0, 5, 5], [0, 0, 0, 5]):
        with pytest.raises(UserError, match="box"):
            client.predict(picture, boxes=[box])
    with pytest.raises(UserError, match="One entry"):
        client.predict_many([picture], boxes=[])
    assert served.requests == 0


@pytest.mark.parametrize(
    "options", [{"protocol": "soap"}, {"timeout": 0}, {"retries": -1}, {"batch_size": 0}]
)
def test_arguments_are_checked(options):
    with pytest.raises(UserError):
        Client("http://localhost:1", **{"protocol": "rest", **options})
    with pytest.raises(UserError, match="address"):
        Client("localhost:8501", "rest")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    try:
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
            + ["-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
            check=True,
            capture_output=True,
        )
    except FileNotFoundError:
        pytest.skip("openssl is needed to make a certificate")
    return folder


def test_tls(served, certificate):
    import ssl

    import grpc

    key, chain = ((certificate / name).read_bytes() for name in ("key.pem", "cert.pem"))
    picture = random_picture(0, ".png")
    server = grpc.ssl_server_credentials([(key, chain)])
    with fake_server.grpc_server(served, server) as address:
        trusted = grpc.ssl_channel_credentials(chain)
        with Client(address, model="pose", tls=trusted) as client:
            assert len(client.predict(picture)) == 1
        with Client(address, model="pose", tls=True, retries=0, timeout=5) as client:
            with pytest.raises(ServingError):
                client.predict(picture)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    with fake_server.rest_server(served, context) as address:
        trusted = ssl.create_default_context(cafile=certificate / "cert.pem")
        assert len(Client(address, "rest", "pose", tls=trusted).predict(picture)) == 1
        with pytest.raises(ServerUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
            Client(address, "rest", "pose", retries=0).predict(picture)


def test_commands_of_the_signature_page(exported, served, addresses, tmp_path, monkeypatch, capsys):
    import json
    import shutil

    text = (exported / "assets.extra" / "signature.md").read_text()
    shell, python = (re.search(f"```{kind}\n(.*?)```", text, re.S)[1] for kind in ("sh", "python"))
    (tmp_path / "photo.jpg").write_bytes(random_picture(0, ".jpg"))
    monkeypatch.chdir(tmp_path)
    exec(python.replace("localhost:8500", addresses["grpc"]), {})
    assert "'neck': [" in capsys.readouterr().out
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    shell = shell.replace("http://localhost:8501", addresses["rest"])
    answer = json.loads(subprocess.run(shell, shell=True, check=True, capture_output=True).stdout)
    assert np.shape(answer["predictions"][0]["keypoints"]) == (14, 2)
    assert answer["predictions"][0]["valid"] is True
