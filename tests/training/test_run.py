"""The folder of a run: who may write to it."""

import signal
import subprocess
import sys

import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import Run, _alone

HOLD = """
import pathlib, sys, time
from keras_hourglass.training.run import _alone
with _alone(pathlib.Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(600)
"""


def test_a_folder_is_held_by_one_process_and_free_once_that_is_killed(tmp_path):
    out = tmp_path / "new" / "run"
    child = subprocess.Popen([sys.executable, "-c", HOLD, out], stdout=subprocess.PIPE, text=True)
    try:
        assert child.stdout.readline() == "in\n"
        for _ in range(2):
            with pytest.raises(UserError, match="Another training is writing.*Wait") as caught:
                with _alone(out):
                    pass
            assert str(out) in str(caught.value)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert out.is_dir(), "what was killed leaves the folder"
        with _alone(out):
            Run(load_recipe({}), out)._take_folder()  # what is left over counts as nothing
            (out / "log.csv").touch()
            with pytest.raises(UserError, match="already holds files"):
                Run(load_recipe({}), out)._take_folder()
        assert [path.name for path in out.iterdir()] == ["log.csv"]
    finally:
        child.kill()
        child.communicate()


def test_a_folder_in_which_nothing_was_written_goes_again(tmp_path):
    with _alone(tmp_path / "new" / "run"):
        assert (tmp_path / "new" / "run").is_dir()
    assert not (tmp_path / "new" / "run").exists()


def test_where_the_file_system_knows_no_locks_training_goes_on(tmp_path, monkeypatch):
    import filelock

    def refuse(*args, **kwargs):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(filelock.FileLock, "acquire", refuse)
    with _alone(tmp_path / "run"):
        (tmp_path / "run" / "log.csv").touch()
    assert (tmp_path / "run" / "log.csv").exists()
