"""A training that is killed goes on as if nothing had happened."""

import json
import time

import numpy as np
import pytest
from trainings import arrays, finish, start

from keras_hourglass.zoo.store import load_model

LENGTH = ("training.epochs=6", "training.steps_per_epoch=3", "optimizer.name=adam")
LENGTH += ("optimizer.options={use_ema: true, ema_momentum: 0.8}", "optimizer.learning_rate=0.01")
LENGTH += ("monitoring.source_every=6", "monitoring.tensorboard=false")


@pytest.mark.full
def test_kill_and_resume_bit_for_bit(tmp_path):
    (tmp_path / "whole").mkdir()
    (tmp_path / "broken").mkdir()
    finish(start("killed", tmp_path / "whole", *LENGTH))
    out = tmp_path / "broken" / "killed"
    child = start("killed", tmp_path / "broken", *LENGTH)
    state = out / "checkpoint" / "state.json"
    for _ in range(6000):
        if state.exists() and json.loads(state.read_text())["epoch"] >= 2:
            break
        assert child.poll() is None, child.communicate()[1][-3000:]
        time.sleep(0.05)
    child.kill()
    child.communicate()
    done = json.loads(state.read_text())["epoch"]
    assert 2 <= done < 6, "killed too late"
    load_model(out)
    resumed = start("killed", tmp_path / "broken", *LENGTH, KERAS_HOURGLASS_TEST_RESUME="1")
    finish(resumed)
    first, second = (arrays(tmp_path / name / "killed.npz") for name in ("whole", "broken"))
    for name in first:
        np.testing.assert_array_equal(second[name], first[name], err_msg=name)
    logs = [(tmp_path / name / "killed" / "log.csv").read_text() for name in ("whole", "broken")]
    assert logs[0] == logs[1]
