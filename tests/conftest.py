"""Shared fixtures."""

import collections
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
# Programs that JAX runs once or twice are not worth the time it takes to make them fast.
os.environ.setdefault(
    "XLA_FLAGS", "--xla_backend_optimization_level=0 --xla_llvm_disable_expensive_passes=true"
)
# A shell's background jobs start with Ctrl-C ignored; the tests of it need it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items):
    """Files with the slowest tests come first, so that no processor waits for another's last."""
    weights = collections.Counter()
    for item in items:
        slow, full = (item.get_closest_marker(name) is not None for name in ("slow", "full"))
        weights[item.path] += 30 * full + 2 * slow
    items.sort(key=lambda item: -weights[item.path])


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


@pytest.fixture
def without_tracing():
    """Keras and TensorFlow compute step by step: tracing takes longer than a few steps do."""
    tf = pytest.importorskip("tensorflow")
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)
