"""The folder of a run: who may write to it."""

import signal
import subprocess
import sys
import types

import numpy as np
import pytest

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.errors import UserError
from keras_hourglass.training.callbacks.monitoring import Log
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import Run, _alone, _calibrate

HOLD = """
import pathlib, sys, time
from keras_hourglass.training.run import _alone
with _alone(pathlib.Path(sys.argv[1])):
    print("in", flush=True)
    time.sleep(600)
"""


@pytest.mark.slow
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


def test_the_log_keeps_its_columns_and_makes_room_for_new_ones(tmp_path):
    path = tmp_path / "log.csv"
    Log(path).on_epoch_end(0, {"loss": 0.5, "pck": 0.25})
    again = Log(path)  # after a resume, with another metric first
    again.on_epoch_end(1, {"auc": 0.125, "loss": np.float32(0.25)})
    again.on_epoch_end(2, {"pck": 1.0})
    text = "epoch,loss,pck,auc\n0,0.5,0.25,\n1,0.25,,0.125\n2,,1.0,\n"
    assert path.read_text() == text


@pytest.mark.slow
@pytest.mark.parametrize("missing", ("zero", "ignore"))
def test_thresholds_of_a_run_follow_its_validation_people(tmp_path, missing):
    """The same maps at a tenth of the height are believed from a tenth of the threshold on."""
    records, size = synthetic_records(6, 3, 64), (64, 64, 3)
    model = StackedHourglass(
        skeleton=records.skeleton, num_stacks=1, num_features=8, depth=1, input_shape=size
    )
    head = model.get_layer("supervision_1").heatmaps
    run = Run(load_recipe({"data": {"missing": missing}}), tmp_path)
    run.model = model
    assert _calibrate(run) == {}, "without validation people"
    found = []
    for height in (0.01, 0.001):
        head.kernel.assign(height * np.ones(head.kernel.shape))
        head.bias.assign(np.zeros(head.bias.shape))
        model.save_to_preset(tmp_path, overwrite=True)
        run.validation = types.SimpleNamespace(records=records)
        found.append(_calibrate(run))
        loaded = Predictor(tmp_path)
        assert set(found[-1]) == set(records.skeleton.joints)
        kept = [found[-1][name] for name in records.skeleton.joints]
        np.testing.assert_allclose(loaded.thresholds, kept, rtol=1e-6)
    for name, threshold in found[0].items():
        assert threshold == pytest.approx(10 * found[1][name], rel=1e-3)
