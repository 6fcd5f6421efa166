"""Downloads from a server on this machine: verified, whole, once, and over https only."""

import numpy as np
import pytest
from file_server import CONTENT, DIGEST

from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.io import download as fetch


def cached(tmp_path):
    return sorted(p.name for p in (tmp_path / "cache").rglob("*") if p.is_file())


def test_a_file_is_fetched_once(server, tmp_path, capsys):
    address = f"{server.address}/a.weights.h5"
    path = fetch.download(address, DIGEST, len(CONTENT))
    assert path.read_bytes() == CONTENT and path.is_relative_to(tmp_path / "cache")
    assert "a.weights.h5: 100%" in capsys.readouterr().err
    assert fetch.download(address, DIGEST.upper()) == path
    assert server.seen == ["/a.weights.h5"]
    # Changed in the cache, it is refused, pinned or not.
    path.write_bytes(CONTENT[:-1] + b"?")
    for pinned in (DIGEST, None):
        with pytest.raises(WeightsError, match="damaged or was changed.*Delete it"):
            fetch.download(address, pinned)


@pytest.mark.parametrize(
    ("path", "sha256", "size", "reason"),
    [
        ("a.weights.h5", "0" * 64, None, "not the one that was published"),
        ("cut/a.weights.h5", DIGEST, None, "broke off: it must have 700000 bytes"),
        ("cut/a.weights.h5", None, None, "Received: 350000. Nothing was kept"),
        ("a.weights.h5", DIGEST, 699_999, "larger than it may be"),
        ("none.h5", None, None, "answers 404"),
    ],
)
def test_what_is_not_whole_and_right_is_not_kept(server, tmp_path, path, sha256, size, reason):
    with pytest.raises(WeightsError, match=reason):
        fetch.download(f"{server.address}/{path}", sha256, size)
    assert [name for name in cached(tmp_path) if not name.endswith(".sha256")] == []
    # What failed does not stand in the way of the right file.
    assert fetch.download(f"{server.address}/a.weights.h5", DIGEST).read_bytes() == CONTENT


def test_a_silent_server_is_named(server):
    address = server.address
    server.shutdown()
    server.server_close()
    with pytest.raises(WeightsError, match="cannot be reached"):
        fetch.download(f"{address}/a.weights.h5")


@pytest.mark.parametrize(
    "address",
    [
        "http://example.org/a.h5",
        "ftp://example.org/a.h5",
        "file:///etc/hostname",
        "https:///a.h5",
        "http://127.0.0.1.example.org/a.h5",
    ],
)
def test_other_addresses_are_refused(server, address):
    with pytest.raises(UserError, match="https:// and hf://"):
        fetch.download(address)


def test_plain_http_needs_the_allowance(server, monkeypatch):
    monkeypatch.delenv(fetch.ALLOW_LOCAL)
    with pytest.raises(UserError, match="https:// and hf://"):
        fetch.download(f"{server.address}/a.weights.h5")


def test_redirects_stay_secure(server):
    server.target = "http://example.org/a.h5"
    with pytest.raises(UserError, match="Received: http://example.org"):
        fetch.download(f"{server.address}/to/elsewhere")
    server.target = f"{server.address}/a.weights.h5"
    assert fetch.download(f"{server.address}/to/here", DIGEST).read_bytes() == CONTENT


def test_hub_addresses():
    base = "https://huggingface.co/a/b.c/resolve"
    assert fetch.resolve_address("hf://a/b.c") == f"{base}/main"
    assert fetch.resolve_address("hf://a/b.c@v2/d/e.keras") == f"{base}/v2/d/e.keras"
    for address in ("hf://a", "hf://a/b/../c", "hf://a/b?x=1"):
        with pytest.raises(UserError, match="A hub address reads"):
            fetch.resolve_address(address)


@pytest.mark.full
def test_a_model_by_address(server, tmp_path):
    from keras_hourglass import StackedHourglass
    from keras_hourglass.zoo import weights

    model = StackedHourglass(3, 1, 8, depth=2, input_shape=(32, 48, 3))
    model.save_to_preset(server.folder / "small", card={"name": "Small"})
    digest = fetch.sha256_of(server.folder / "small" / "model.weights.h5")
    address = f"{server.address}/small"
    loaded = StackedHourglass.from_preset(f"{address}#sha256={digest}")
    one, other = weights.arrays_of(model), weights.arrays_of(loaded)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    with pytest.raises(WeightsError, match="damaged or was changed"):
        StackedHourglass.from_preset(f"{address}/#sha256={'1' * 64}")
    model.save(server.folder / "small.keras")
    assert StackedHourglass.from_preset(f"{address}.keras").num_keypoints == 3
    assert server.seen == ["/small/config.json", "/small/model.weights.h5", "/small.keras"]


def test_records_of_the_manifest(server, tmp_path):
    from keras_hourglass.zoo import manifest

    folder = tmp_path / "weights"
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "model.weights.h5").write_bytes(CONTENT)
    facts = dict.fromkeys(
        ("architecture", "skeleton", "training_data", "licence", "metric", "command"), "x"
    )
    record = {"name": "one", "file": "one/model.weights.h5", **facts}
    manifest.add_record(record, folder)
    found = manifest.read_manifest(folder)["one"]
    assert (found["sha256"], found["size"]) == (DIGEST, len(CONTENT))
    assert manifest.find_weights(found, folder) == folder / "one" / "model.weights.h5"

    (folder / "one" / "model.weights.h5").write_bytes(CONTENT + b"more")
    with pytest.raises(WeightsError, match="must have 700000 bytes. Received: 700004"):
        manifest.find_weights(found, folder)
    (folder / "one" / "model.weights.h5").unlink()
    with pytest.raises(WeightsError, match="weights of one are missing"):
        manifest.find_weights(found, folder)
    elsewhere = {**found, "address": f"{server.address}/a.weights.h5"}
    assert manifest.find_weights(elsewhere, folder).read_bytes() == CONTENT

    with pytest.raises(WeightsError, match="without licence"):
        manifest.add_record(
            {
                k: v
                for k, v in {**record, "file": "../served/a.weights.h5"}.items()
                if k != "licence"
            },
            folder,
        )
    (folder / "manifest.json").write_text('{"weights": [{"name": "one"}]}')
    with pytest.raises(WeightsError, match="Received: one without sha256"):
        manifest.read_manifest(folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(WeightsError, match="must read"):
        manifest.read_manifest(folder)


def test_the_shipped_manifest_is_true():
    from keras_hourglass.zoo import manifest

    for name, record in manifest.read_manifest().items():
        assert (manifest.weights_folder() / name / "README.md").is_file()
        if "file" in record:
            manifest.find_weights(record)
