"""What is found behind names, folders and addresses, and the records of what is shipped."""

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


def test_records_of_the_manifest(server, tmp_path):
    folder = tmp_path / "weights"
    (folder / "one").mkdir(parents=True)
    (folder / "one" / "model.weights.h5").write_bytes(CONTENT)
    facts = dict.fromkeys(
        ("architecture", "skeleton", "training_data", "licence", "metric", "command"), "x"
    )
    record = {"name": "one", "file": "one/model.weights.h5", **facts}
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
