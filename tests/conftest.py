"""Shared fixtures."""

import os
import pathlib
import signal

import hypothesis
import pytest
from file_server import server  # noqa: F401 - a fixture

# No test depends on how busy the machine is.
hypothesis.settings.register_profile("any machine", deadline=None)
hypothesis.settings.load_profile("any machine")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# A shell's background jobs start with Ctrl-C ignored; the tests of it need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def _data_folder():
    named = os.environ.get("KERAS_HOURGLASS_DATA")
    here = pathlib.Path(__file__).resolve().parents[1]
    return pathlib.Path(named) if named else here.parent / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data():
    """The folder of real photographs and annotations; the test skips where it is absent."""
    folder = _data_folder()
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder} (set KERAS_HOURGLASS_DATA)")
    return folder
