"""Files that mean harm: nothing in them is run, and they get no more than their share of memory."""

import json
import pathlib
import re
import shutil
import zipfile

import h5py
import numpy as np
import pytest
from networks import save_untrained
from places import TESTS

from keras_hourglass import Predictor
from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.zoo import store as presets


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    return save_untrained(tmp_path_factory.mktemp("untrained") / "preset")


@pytest.fixture
def folder(untrained, tmp_path):
    return pathlib.Path(shutil.copytree(untrained, tmp_path / "preset"))


def archive(path, config, weights=b""):
    """A `.keras` file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("metadata.json", "{}")
        file.writestr("config.json", json.dumps(config) if isinstance(config, dict) else config)
        file.writestr("model.weights.h5", weights)
    return path


def test_a_keras_file_runs_nothing(tmp_path):
    import keras

    mark = tmp_path / "mark"
    code = f"lambda x: (__import__('pathlib').Path({str(mark)!r}).touch(), x)[1]"
    trap = keras.Sequential([keras.Input((2,)), keras.layers.Lambda(eval(code))])
    trap.save(tmp_path / "trap.keras")
    mark.unlink()  # building the model has called it
    with pytest.raises(UserError, match="must hold a StackedHourglass. Received: a Sequential"):
        presets.load_model(tmp_path / "trap.keras")
    # Hidden in the arguments of the right class, it stays data.
    config = json.loads(zipfile.ZipFile(tmp_path / "trap.keras").read("config.json"))
    hidden = {"class_name": "StackedHourglass", "config": {"stem": config, "num_stacks": 1}}
    with pytest.raises(UserError, match="Unknown stem"):
        presets.load_model(archive(tmp_path / "hidden.keras", hidden))
    assert not mark.exists()


@pytest.mark.parametrize("place", ["stem", "skeleton", "hourglass", "input_shape"])
def test_a_preset_folder_is_read_as_data(place, folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    trap = {"class_name": "Lambda", "module": "os", "config": {"function": "os.getcwd"}}
    config["architecture"][place] = trap
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="Received:.*(Lambda|class_name)"):
        presets.load_model(folder)


def test_archives_that_unpack_to_more_than_the_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(presets, "_MAX_WEIGHTS", 10_000)
    config = {"class_name": "StackedHourglass", "config": {"num_stacks": 1}}
    path = archive(tmp_path / "bomb.keras", config, bytes(20_000))
    assert path.stat().st_size < 1000
    with pytest.raises(WeightsError, match="unpack to 20000 bytes, more than 10000"):
        presets.load_model(path)
    monkeypatch.setattr(presets, "_MAX_CONFIG", 10)
    with pytest.raises(WeightsError, match="config.json would unpack"):
        presets.load_model(path)


def change_first_array(folder, change):
    """Put another data set in the place of a preset's first array."""
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        shape = file[names[0]].shape
        del file[names[0]]
        change(file, names[0], shape)


def test_weights_that_announce_terabytes(folder):
    change_first_array(
        folder,
        lambda file, name, _: file.create_dataset(name, (2**20, 2**20), "f4", chunks=(64, 64)),
    )
    assert (folder / "model.weights.h5").stat().st_size < 10**6
    with pytest.raises(WeightsError, match="it announces 4,398,0[0-9,]* bytes and has"):
        presets.load_model(folder)


def test_no_room_is_made_for_a_network_that_the_weights_are_not_of(folder, monkeypatch):
    """A config may ask for any width; Keras would fill the memory before the weights are read."""
    from keras_hourglass import StackedHourglass

    config = json.loads((folder / "config.json").read_text())
    config["architecture"]["num_features"] *= 2
    config.pop("weights", None)
    (folder / "config.json").write_text(json.dumps(config))
    monkeypatch.setattr(StackedHourglass, "from_config", None)
    for options in ({}, {"num_keypoints": 3}):
        with pytest.raises(WeightsError, match="must be those of the network.* of another shape"):
            presets.load_model(folder, **options)


def test_packed_weights_stay_near_the_size_of_their_file(tmp_path):
    """Four times the archive and a megabyte: floating-point numbers are not packed smaller."""
    config = {"class_name": "StackedHourglass", "config": {"num_stacks": 1}}
    path = archive(tmp_path / "bomb.keras", config, bytes(2**21))
    limit = 4 * path.stat().st_size + 2**20
    with pytest.raises(WeightsError, match=f"unpack to 2097152 bytes, more than {limit}"):
        presets.load_model(path)


@pytest.mark.parametrize(
    "record", [{"size": "y"}, {"size": -1}, {"size": True}, {"sha256": 5}, {"sha256": "../x"}]
)
def test_a_record_of_weights_is_a_checksum_and_a_size(folder, record):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "weights": record}))
    with pytest.raises(UserError, match="64 hexadecimal digits and a number of bytes. Write it"):
        presets.load_model(folder)


@pytest.mark.parametrize(
    ("part", "value", "reason"),
    [
        ("architecture", {"scale": None}, "`scale` to be a number other than 0"),
        ("architecture", {"offset": None}, "`offset` to be a number"),
        ("architecture", {"synchronized": None}, "`synchronized` to be true or false"),
        ("architecture", {"num_keypoints": "x" * 5000}, "num_keypoints='xxx"),
        ("preprocessing", {"sigma": 1e17}, "positive ones up to 100. Received: sigma=1e"),
        ("preprocessing", {"sigma": -1}, "positive ones up to 100. Received: sigma=-1"),
        ("preprocessing", {"padding": 1e300}, "positive ones up to 100. Received: padding=1e"),
        ("preprocessing", {"decoder": "x" * 5000}, "`decoder` must be one of"),
        ("thresholds", {"a" * 5000: "x"}, "Thresholds of a preset are numbers"),
    ],
)
def test_values_of_a_config_that_are_none(folder, part, value, reason):
    config = json.loads((folder / "config.json").read_text())
    config[part] = {**config.get(part, {}), **value}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match=reason) as caught:
        Predictor(folder, whole=True)(np.zeros((32, 48, 3), np.uint8))
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_a_config_has_a_limit(folder, monkeypatch):
    monkeypatch.setattr(presets, "_MAX_CONFIG", 100)
    size = (folder / "config.json").stat().st_size
    with pytest.raises(UserError, match=f"it has {size:,} bytes, more than 100"):
        presets.load_model(folder)


def test_weights_that_lie_in_another_file(folder, tmp_path):
    secret = tmp_path / "secret"
    secret.write_bytes(np.arange(10**5, dtype="float32").tobytes())
    external = [(str(secret), 0, h5py.h5f.UNLIMITED)]
    change_first_array(
        folder,
        lambda file, name, shape: file.create_dataset(name, shape, "f4", external=external),
    )
    with pytest.raises(WeightsError, match="in another file"):
        presets.load_model(folder)
    (folder / "model.weights.h5").unlink()
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = np.zeros(3)
    with h5py.File(folder / "model.weights.h5", "w") as file:
        file["layers"] = h5py.ExternalLink(str(tmp_path / "other.h5"), "x")
    with pytest.raises(WeightsError, match="layers lies in another file"):
        presets.load_model(folder)


def test_pickled_arrays_are_not_read(tmp_path):
    from keras_hourglass.zoo.porting import read_checkpoint

    class Trap:
        def __reduce__(self):
            return (tmp_path / "mark").touch, ()

    np.savez(tmp_path / "trap.npz", a=np.array([Trap()], dtype=object))
    with pytest.raises(WeightsError):
        read_checkpoint(tmp_path / "trap.npz")
    assert not (tmp_path / "mark").exists()


def test_every_promise_and_fault_has_its_test():
    """The tests that `SECURITY.md` and `faults.md` name are there."""
    sources_of = {path.name: path.read_text("utf-8") for path in TESTS.rglob("test_*.py")}
    count = 0
    for page in (TESTS / "faults.md", TESTS.parent / "SECURITY.md"):
        text = page.read_text("utf-8")
        for name in re.findall(r"`(test_\w+\.py)(?:`|::)", text):
            assert name in sources_of, f"{page.name} names {name}"
        for file, name in re.findall(r"`(?:(test_\w+\.py)::)?(test_\w+)`", text):
            assert f"def {name}(" in sources_of[file or "test_faults.py"], f"{page.name}: {name}"
            count += 1
    assert count > 30
    page = (TESTS.parent / "SECURITY.md").read_text("utf-8")
    days = [row for row in page.splitlines() if row.startswith("| ")][1:]
    assert len(days) >= 12 and all("`test_" in row.split("|")[3] for row in days)
    promises = page.split("\n- ")[1:]
    assert len(promises) >= 6 and all("`test_" in promise for promise in promises)
