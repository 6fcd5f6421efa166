"""Presets on the hubs, whose libraries are stand-ins here: nothing is fetched."""

import sys
import types

import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.io.download import sha256_of
from keras_hourglass.zoo import hubs


@pytest.fixture
def folder(tmp_path):
    model = StackedHourglass(5, 1, 8, depth=1, input_shape=(32, 48, 3))
    model.save_to_preset(tmp_path / "preset")
    return tmp_path / "preset", model.get_weights()


def stand_in(monkeypatch, name, **functions):
    """A library of that name with these functions."""
    monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**functions))


def test_hugging_face_is_asked_by_its_library(folder, monkeypatch):
    path, weights = folder
    asked = []

    def snapshot_download(repository, revision=None, allow_patterns=None):
        asked.append((repository, revision, sorted(allow_patterns)))
        return str(path)

    stand_in(monkeypatch, "huggingface_hub", snapshot_download=snapshot_download)
    for address in ("hf://some-one/poses", "hf://some-one/poses@v1"):
        model = StackedHourglass.from_preset(address)
        for mine, theirs in zip(model.get_weights(), weights, strict=True):
            np.testing.assert_array_equal(mine, theirs)
    files = ["README.md", "config.json", "model.weights.h5"]
    assert asked == [("some-one/poses", None, files), ("some-one/poses", "v1", files)]
    digest = sha256_of(path / "model.weights.h5")
    StackedHourglass.from_preset(f"hf://some-one/poses#sha256={digest}")
    with pytest.raises(WeightsError, match="damaged or was changed"):
        StackedHourglass.from_preset(f"hf://some-one/poses#sha256={'0' * 64}")


def test_kaggle_is_asked_by_its_library(folder, monkeypatch):
    asked = []

    def model_download(handle):
        asked.append(handle)
        return str(folder[0])

    stand_in(monkeypatch, "kagglehub", model_download=model_download)
    address = "kaggle://some-one/poses/keras/tiny"
    assert StackedHourglass.from_preset(address, skeleton=list("abc")).num_keypoints == 3
    StackedHourglass.from_preset(address + "/2")
    assert asked == ["some-one/poses/keras/tiny", "some-one/poses/keras/tiny/2"]
    with pytest.raises(UserError, match=r"reads kaggle://owner/model/framework/variation"):
        StackedHourglass.from_preset("kaggle://some-one/poses")


def test_what_a_hub_refuses_is_one_line(monkeypatch):
    def refuse(*args, **kwargs):
        raise RuntimeError("401 Client Error\n\nRepository Not Found for url")

    stand_in(monkeypatch, "kagglehub", model_download=refuse)
    stand_in(monkeypatch, "huggingface_hub", snapshot_download=refuse)
    for address in ("kaggle://a/b/keras/c", "hf://a/b"):
        with pytest.raises(WeightsError, match="401 Client Error") as caught:
            StackedHourglass.from_preset(address)
        assert address in str(caught.value) and "\n" not in str(caught.value)


def test_without_the_libraries(monkeypatch):
    monkeypatch.setitem(sys.modules, "kagglehub", None)
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(UserError, match="pip install kagglehub"):
        StackedHourglass.from_preset("kaggle://a/b/keras/c")
    # Files of Hugging Face are fetched one by one then, as other addresses are.
    assert hubs.preset_folder("hf://a/b") is None
    # A file, or a folder within a repository, is no repository.
    assert hubs.preset_folder("hf://a/b/c.keras") is None


def test_presets_of_the_class():
    table = StackedHourglass.presets
    assert table["hourglass_8s"]["params"] > table["hourglass_4s"]["params"] > 0
    assert table["hourglass_tiny_lsp"] == {
        "description": table["hourglass_tiny_lsp"]["description"],
        "params": 423_420,
        "trained": True,
        "input_size": (128, 128),
        "skeleton": "lsp",
    }
    assert not table["hourglass_2s"]["trained"]
