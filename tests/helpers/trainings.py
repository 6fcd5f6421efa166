"""Trainings in processes of their own."""

import os
import subprocess
import sys

import numpy as np
from places import HELPERS

CHILD = HELPERS / "train_child.py"


def start(mode, folder, *arguments, **environment):
    """Start `train_child.py`."""
    values = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", **environment}
    command = [sys.executable, str(CHILD), mode, str(folder), *arguments]
    return subprocess.Popen(command, env=values, stderr=subprocess.PIPE, text=True)


def finish(*children, timeout=600):
    for child in children:
        errors = child.communicate(timeout=timeout)[1]
        assert child.returncode == 0, errors[-3000:]


def arrays(path):
    with np.load(path) as file:
        return {name: file[name] for name in file.files}
