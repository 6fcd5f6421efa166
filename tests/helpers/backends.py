"""Test files that are programs as well, run on another backend."""

import os
import subprocess
import sys


def run_on(backend, file):
    """What a file prints on a backend; it must end well."""
    done = subprocess.run(
        [sys.executable, file],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout
