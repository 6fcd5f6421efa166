"""Nothing half-written, nothing overwritten."""

import os

import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.io.files import atomic_path, atomic_write, new_folder


def test_write_replaces_whole_files(tmp_path):
    path = tmp_path / "deep" / "größe.txt"
    atomic_write(path, "é")
    atomic_write(path, b"two")
    assert path.read_bytes() == b"two"
    assert os.listdir(path.parent) == ["größe.txt"]


def test_a_failure_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_bytes(b"ne")
        assert temporary.parent == tmp_path and temporary.suffix == ".bin"
        raise RuntimeError
    assert path.read_bytes() == b"old" and os.listdir(tmp_path) == ["kept.bin"]


def test_new_folder_refuses_what_holds_files(tmp_path):
    assert new_folder(tmp_path / "a" / "b").is_dir()
    (tmp_path / "a" / "x").write_text("")
    with pytest.raises(UserError, match="already holds files"):
        new_folder(tmp_path / "a")
    assert new_folder(tmp_path / "a", overwrite=True).is_dir()
    with pytest.raises(UserError, match="the file"):
        new_folder(tmp_path / "a" / "x")
