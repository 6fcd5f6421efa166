"""A minute of mutated files for every reader; `make fuzz` takes an hour."""

import json
import os
import signal
import subprocess
import sys

import fuzz_readers
import pytest


@pytest.mark.full
def test_every_mutated_file_ends_in_a_result_or_a_sentence(tmp_path):
    # A process of its own, since children forked from this one, with its threads, die of those.
    path = tmp_path / "counts.json"
    command = [sys.executable, fuzz_readers.__file__, "--seconds", "60", "--counts", str(path)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]
    counts = json.loads(path.read_text(encoding="utf-8"))
    assert counts.keys() == fuzz_readers.READERS.keys()
    # Both happen, of every reader: what is all refused would test one check alone.
    for name, row in counts.items():
        assert row["read"] + row["refused"] >= fuzz_readers.BATCH, name
        assert row["refused"] and row["read"], name


@pytest.mark.slow
def test_an_input_that_ends_the_process_is_a_failure(monkeypatch):
    def reader(path, folder):
        if reader.calls == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        reader.calls += 1
        if reader.calls == 1:
            raise KeyError("a" * 400)

    reader.calls = 0
    monkeypatch.setitem(fuzz_readers.READERS, "boxes", (".json", [[1]], reader))
    counts, failures = fuzz_readers.fuzz(30, ("boxes",), count=3)
    assert [number for _, number, _ in failures] == [0, 2]
    assert failures[0][2].startswith("KeyError") and failures[1][2] == "died of signal 9"
    assert counts["boxes"]["read"] == 1
    assert fuzz_readers.make("boxes", 7) == fuzz_readers.make("boxes", 7)
