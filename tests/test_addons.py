"""TensorFlow Addons beside TensorFlow 2.15 and Keras 2.15, in an environment of its own."""

import json
import os
import pathlib
import subprocess

import pytest

CHILD = pathlib.Path(__file__).with_name("addons_child.py")


@pytest.mark.full
def test_fit_with_optimizers_of_addons():
    python = os.environ.get("KERAS_HOURGLASS_ADDONS_PYTHON")
    if not python:
        pytest.skip("KERAS_HOURGLASS_ADDONS_PYTHON names no interpreter with the [addons] extra")
    root = str(CHILD.parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *_paths()])}
    done = subprocess.run(
        [python, str(CHILD)], env=environment, capture_output=True, text=True, timeout=900
    )
    assert done.returncode == 0, done.stderr[-3000:]
    losses = json.loads(done.stdout.splitlines()[-1])
    assert set(losses) == {"RectifiedAdam", "Lookahead", "MovingAverage", "LAMB"}
    for name, values in losses.items():
        assert values[-1] < values[0], name


def _paths():
    return [path for path in [os.environ.get("PYTHONPATH")] if path]
