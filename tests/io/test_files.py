"""Nothing half-written, nothing overwritten."""

import os
import signal
import subprocess
import sys

import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.io.files import atomic_path, atomic_write, clear_leftovers, new_folder


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


def test_what_a_killed_process_has_left_is_cleared(tmp_path):
    code = (
        "import os, signal, sys\n"
        "from keras_hourglass.io.files import atomic_path\n"
        "with atomic_path(os.path.join(sys.argv[1], 'a b.tar.gz')) as hidden:\n"
        "    hidden.write_bytes(b'half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path], check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert left.name.startswith(".a b.tar.") and left.name.endswith(".gz")
    (tmp_path / f".writing-{2**22 + 1:08x}beef").mkdir()
    (tmp_path / f".writing-{2**22 + 1:08x}beef" / "saved_model.pb").write_bytes(b"half")
    assert new_folder(tmp_path) == tmp_path and not list(tmp_path.iterdir())


def test_what_is_no_leftover_stays(tmp_path):
    names = [".hidden", ".a.deadbeef.txt", f".a.{os.getppid():08x}beef.txt", "a.deadbeefbeef.txt"]
    for name in names:
        (tmp_path / name).write_text("mine")
    clear_leftovers(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    with pytest.raises(UserError, match="already holds files.*Go home[.]$"):
        new_folder(tmp_path, remedy="Go home")
    clear_leftovers(tmp_path / "missing")
