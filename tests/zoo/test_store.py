"""What is found behind names, folders and addresses, and the records of what is shipped."""

import json

import numpy as np
import pytest
from file_server import CONTENT, DIGEST

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import WeightsError
from keras_hourglass.io.download import sha256_of
from keras_hourglass.zoo import store, weights


@pytest.mark.full
def test_a_model_by_address(server, tmp_path):
    model = StackedHourglass(3, 1, 8, depth=2, input_shape=(32, 48, 3))
    model.save_to_preset(server.folder / "small", card={"name": "Small"})
    digest = sha256_of(server.folder / "small" / "model.weights.h5")
    address = f"{server.address}/small"
    loaded = StackedHourglass.from_preset(f"{address}#sha256={digest}")
    one, other = weights.arrays_of(model), weights.arrays_of(loaded)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    with pytest.raises(WeightsError, match="damaged or was changed"):
        StackedHourglass.from_preset(f"{address}/#sha256={'1' * 64}")
    model.save(server.folder / "small.keras")
    assert StackedHourglass.from_preset(f"{address}.keras").num_keypoints == 3
    assert server.seen == ["/small/config.json", "/small/model.weights.h5", "/small.keras"]


FACTS = {
    **dict.fromkeys(("architecture", "skeleton", "training_data", "licence", "command"), "x"),
    "metric": {"name": "PCK@0.2", "value": 59.8, "data": "COCO people"},
}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": "../../etc"}, "a name is letters, .* and not '../../etc'"),
        ({"name": "\x1b[31m"}, r"and not '\\x1b\[31m'"),
        ({"name": "a" * 5000}, "and not 'aaa"),
        ({"name": None}, "and not None"),
        ({"file": "../one/model.weights.h5"}, "file='../one/model.weights.h5' of one"),
        ({"file": "/etc/passwd"}, "file='/etc/passwd' of one"),
        ({"file": "one/../../x"}, "file='one/../../x' of one"),
        ({"file": "a\0b"}, r"file='a\\x00b' of one"),
        ({"file": ""}, "file='' of one"),
        ({"file": None}, "file=None of one"),
        ({"address": ["https://a"]}, r"address=\['https://a'\] of one"),
        ({"architecture": {}}, "architecture={} of one"),
        ({"skeleton": 5}, "skeleton=5 of one"),
        ({"metric": "x"}, "metric='x' of one"),
        ({"metric": {**FACTS["metric"], "value": float("nan")}}, "metric=.* of one"),
        ({"sha256": None}, "sha256=None of one"),
        ({"sha256": "../x"}, "sha256=../x and size=1"),
        ({"size": 1e30}, "size=1e.30 of the weights"),
    ],
)
def test_fields_of_a_record_that_are_none(tmp_path, changes, said):
    record = {"name": "one", "file": "one/model.weights.h5", "sha256": "0" * 64, "size": 1, **FACTS}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"weights": [{**record, **changes}]}))
    with pytest.raises(WeightsError, match=f"^Cannot read the list of weights .*{said}") as caught:
        store.read_manifest(tmp_path)
    assert str(caught.value).endswith("Install the package again.")
    assert str(caught.value).isprintable() and len(str(caught.value)) - len(str(path)) < 300
    # What a newer version may write besides is left to that; a checksum may have large letters.
    record.update(sha256="A" * 64, newer=[1])
    path.write_text(json.dumps({"weights": [record], "version": 2}))
    assert store.read_manifest(tmp_path)["one"]["sha256"] == "a" * 64
    path.write_text(json.dumps({"weights": [record, record]}))
    with pytest.raises(WeightsError, match="one stands there twice"):
        store.read_manifest(tmp_path)


def test_records_of_the_manifest(server, tmp_path):
    folder = tmp_path / "weights"
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "model.weights.h5").write_bytes(CONTENT)
    record = {"name": "one", "file": "one/model.weights.h5", **FACTS}
    store.add_record(record, folder)
    found = store.read_manifest(folder)["one"]
    assert (found["sha256"], found["size"]) == (DIGEST, len(CONTENT))
    assert store.find_weights(found, folder) == folder / "one" / "model.weights.h5"

    (folder / "one" / "model.weights.h5").write_bytes(CONTENT + b"more")
    with pytest.raises(WeightsError, match="must have 700000 bytes. Received: 700004"):
        store.find_weights(found, folder)
    (folder / "one" / "model.weights.h5").unlink()
    with pytest.raises(WeightsError, match="weights of one are missing"):
        store.find_weights(found, folder)
    elsewhere = {**found, "address": f"{server.address}/a.weights.h5"}
    assert store.find_weights(elsewhere, folder).read_bytes() == CONTENT

    with pytest.raises(WeightsError, match="without licence"):
        store.add_record(
            {
                k: v
                for k, v in {**record, "file": "../served/a.weights.h5"}.items()
                if k != "licence"
            },
            folder,
        )
    (folder / "manifest.json").write_text('{"weights": [{"name": "one"}]}')
    with pytest.raises(WeightsError, match="Received: one without sha256"):
        store.read_manifest(folder)
    (folder / "manifest.json").write_text("[]")
    with pytest.raises(WeightsError, match="Cannot read the list of weights .*manifest.json"):
        store.read_manifest(folder)


def test_the_shipped_manifest_is_true():
    for name, record in store.read_manifest().items():
        assert (store.weights_folder() / name / "README.md").is_file()
        if "file" in record:
            store.find_weights(record)
