"""Typical files of users, run as they are by each backend; they assert what their users expect."""

import os
import pathlib
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).parent
BACKENDS = ("tensorflow", "jax", "torch")
# Files that are run in turn in one folder.
PROGRAMS = {
    "processes": ("processes.py",),
    "fine_tuning": ("fine_tuning.py",),
    "task": ("task.py",),
    "saving": ("saving.py", "loading_keras_first.py", "loading_keras_last.py"),
}


def run(script, folder, backend):
    """Run a file as a user would, with warnings as errors where they are about us."""
    done = subprocess.run(
        [sys.executable, str(HERE / script)],
        cwd=folder,
        env={**os.environ, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, f"{script} on {backend}:\n{done.stdout}\n{done.stderr[-4000:]}"
    return done


@pytest.mark.full
@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("program", PROGRAMS)
def test_runs(program, backend, tmp_path):
    pytest.importorskip(backend)
    for script in PROGRAMS[program]:
        done = run(script, tmp_path, backend)
        assert "retracing" not in done.stderr, done.stderr[-2000:]


def test_every_file_is_run():
    named = {script for scripts in PROGRAMS.values() for script in scripts}
    assert named == {path.name for path in HERE.glob("*.py")} - {pathlib.Path(__file__).name}
