"""Files of published checkpoints, read as data."""

import sys

import numpy as np
import pytest

from keras_hourglass.errors import WeightsError
from keras_hourglass.zoo.porting import read_checkpoint

torch = pytest.importorskip("torch")

KERNEL = np.arange(6, dtype="float32").reshape(2, 3, 1, 1)


class Program:
    """Pickled as a call of a function."""

    def __reduce__(self):
        return print, ("run",)


def saved(folder, content, **options):
    torch.save(content, folder / "a.pth", **options)
    return folder / "a.pth"


@pytest.mark.parametrize("key", ["state_dict", "model_state_dict"])
def test_arrays_are_taken_out_of_what_is_around_them(tmp_path, key):
    state = {"a.weight": torch.nn.Parameter(torch.tensor(KERNEL).half()), "steps": 7}
    found = read_checkpoint(saved(tmp_path, {"epoch": 5, key: state}))
    assert list(found) == ["a.weight", "steps"] and found["steps"] == 7
    assert found["a.weight"].dtype == np.float32
    np.testing.assert_array_equal(found["a.weight"], KERNEL)


def test_what_only_is_called_like_it_is_left_where_it_is(tmp_path):
    content = {"state_dict": "hg2", "a.weight": torch.tensor(KERNEL)}
    found = read_checkpoint(saved(tmp_path, content))
    assert found["state_dict"] == "hg2" and found["a.weight"].shape == (2, 3, 1, 1)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("number", [np.float64(0.875), np.float32(0.5), np.int64(3)])
def test_numbers_of_numpy_are_as_plain_as_others(tmp_path, number, zipped):
    content = {"best_acc": number, "a.weight": torch.tensor(KERNEL)}
    path = saved(tmp_path, content, _use_new_zipfile_serialization=zipped)
    assert read_checkpoint(path)["best_acc"] == number


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([torch.zeros(2)], r"is a dict of arrays. Received: .*a.pth with a list"),
        ({"a": torch.zeros(2), "b": Program()}, r"\(no PyTorch file, or one with code in it\)"),
    ],
)
def test_what_is_no_checkpoint_is_refused(tmp_path, capsys, content, said):
    with pytest.raises(WeightsError, match=said):
        read_checkpoint(saved(tmp_path, content))
    assert not capsys.readouterr().out


def test_half_a_file_is_refused_with_what_is_wrong_with_it(tmp_path):
    whole = saved(tmp_path, {"a": torch.zeros(500)}).read_bytes()
    (tmp_path / "half.pth").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(WeightsError, match=r"can be read safely \((?!no PyTorch file).{9,200}\)\."):
        read_checkpoint(tmp_path / "half.pth")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("none.pth", "No checkpoint at"),
        ("text.t7", "no maintained reader"),
        ("text.npz", ".npz file of arrays"),
        ("text.safetensors", "is damaged"),
        ("text.pth", "no PyTorch file"),
        ("text.bin", "no PyTorch file"),
    ],
)
def test_files_of_every_kind_that_hold_something_else(tmp_path, name, said):
    if ".safetensors" in name:
        pytest.importorskip("safetensors")
    if name.startswith("text"):
        (tmp_path / name).write_text("no arrays")
    with pytest.raises(WeightsError, match=said):
        read_checkpoint(tmp_path / name)


def test_arrays_of_numpys_files(tmp_path):
    np.savez(tmp_path / "a.npz", kernel=KERNEL)
    found = read_checkpoint(tmp_path / "a.npz")
    assert list(found) == ["kernel"]
    np.testing.assert_array_equal(found["kernel"], KERNEL)
    np.savez(tmp_path / "b.npz", program=np.array([Program()], dtype=object))
    with pytest.raises(WeightsError, match=".npz file of arrays"):
        read_checkpoint(tmp_path / "b.npz")


def test_arrays_of_safetensors(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"kernel": KERNEL}, tmp_path / "a.safetensors")
    found = read_checkpoint(tmp_path / "a.safetensors")
    assert list(found) == ["kernel"]
    np.testing.assert_array_equal(found["kernel"], KERNEL)


@pytest.mark.parametrize(
    ("name", "package", "remedy"),
    [
        ("a.pth", "torch", r"keras_hourglass\[torch\]"),
        ("a.safetensors", "safetensors", "pip install safetensors"),
    ],
)
def test_what_reads_a_file_must_be_there(tmp_path, monkeypatch, name, package, remedy):
    (tmp_path / name).write_bytes(b"")
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(WeightsError, match=remedy):
        read_checkpoint(tmp_path / name)
