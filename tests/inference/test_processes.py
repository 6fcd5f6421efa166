"""What a forked child makes anew."""

import multiprocessing
import os

import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.inference.processes import PerProcess, stays_in_process

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")


class Pool:
    """Whoever frees it in another process waits for ever."""

    def __init__(self):
        self.process = os.getpid()

    def __del__(self):
        assert os.getpid() == self.process
        with open(f"freed_{os.getpid()}", "w"):
            pass


def test_a_child_makes_its_own_and_frees_nothing_of_its_parent(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = PerProcess(Pool)
    assert made() is made() and made().process == os.getpid()
    refuses = stays_in_process(lambda number: number + 1, "TensorFlow")
    assert refuses(2) == 3
    reader, writer = multiprocessing.Pipe(duplex=False)

    def child():
        processes = made().process, made().process, os.getpid()
        try:
            refuses(2)
        except UserError as error:
            writer.send((processes, str(error)))

    process = multiprocessing.get_context("fork").Process(target=child)
    process.start()
    (first, second, its_own), message = reader.recv()
    process.join(60)
    assert process.exitcode == 0 and first == second == its_own != os.getpid()
    assert message.startswith("TensorFlow cannot compute in a fork")
    assert str(os.getpid()) in message and str(its_own) in message
    # In the parent it is what it was.
    assert made().process == os.getpid()
    assert not list(tmp_path.iterdir())
    made.leave()  # what a child does: nothing is freed by that
    assert not list(tmp_path.iterdir())
