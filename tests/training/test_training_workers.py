"""A training whose batches come from worker processes."""

import json
import os
import pathlib
import signal
import time

import pytest
from deadly import Deadly, at_home
from trainings import start

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.epochs import JointBatches
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.workers import can_start
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.hardware import cores
from keras_hourglass.training import batches
from keras_hourglass.training.recipe import DataSection, load_recipe
from keras_hourglass.training.run import train

pytestmark = pytest.mark.skipif(not can_start(), reason="needs Linux or macOS")


@pytest.mark.parametrize(
    "there, settings, expected",
    [
        (1, {}, (2, False)),
        (2, {}, (2, False)),
        (4, {}, (2, False)),
        (5, {}, (4, True)),
        (16, {}, (15, True)),
        (64, {}, (16, True)),
        (64, {"cache": True}, (16, False)),
        (8, {"cache": True}, (7, False)),
        (8, {"workers": 3}, (3, True)),
        (2, {"workers": 3}, (3, False)),
        (2, {"workers": 3, "worker_kind": "processes"}, (3, True)),
        (2, {"worker_kind": "processes"}, (2, True)),
        (64, {"workers": 12, "worker_kind": "threads"}, (12, False)),
        (64, {"worker_kind": "threads"}, (2, False)),
        (64, {"workers": 200}, (40, True)),  # no more than there are batches
        (64, {"workers": 0}, (0, False)),
        (64, {"workers": 0, "worker_kind": "processes"}, (0, False)),
    ],
)
def test_workers_by_recipe_and_machine(monkeypatch, there, settings, expected):
    monkeypatch.setattr(batches, "cores", lambda: there)
    assert batches.prepared_by(DataSection(**settings), 40) == expected


def test_a_share_of_the_processors_counts(tmp_path):
    for text, most in (("max 100000\n", 10**6), ("150000 100000\n", 2), ("10000 100000", 1)):
        (tmp_path / "cpu.max").write_text(text)
        assert 1 <= cores(tmp_path / "cpu.max") <= most
    assert cores(tmp_path / "none") == cores(tmp_path)


def test_recipes_refuse_what_is_no_number_of_workers():
    for value, message in (
        (-1, "data.workers: must not be negative. Received: -1. The default is auto."),
        ("many", "data.workers: needs int, or auto. Received: 'many'. The default is auto."),
        (True, "data.workers: needs int, or auto. Received: True."),
    ):
        with pytest.raises(RecipeError) as caught:
            load_recipe({"data": {"workers": value}})
        assert str(caught.value).startswith(message)
    with pytest.raises(RecipeError, match="worker_kind: must be one of auto, threads, processes"):
        load_recipe({"data": {"worker_kind": "process"}})


@pytest.mark.slow
def test_a_training_ends_in_a_sentence_where_processes_die(tmp_path):
    at_home()
    (tmp_path / "lives").write_text("1000")
    dataset = Deadly(
        synthetic_records(9, 1, 64), HeatmapCodec((32, 24)), 3, lives=tmp_path / "lives"
    )
    dataset.passes = 3
    data = DataSection(workers=2, worker_kind="processes")
    begun = time.monotonic()
    with batches.Feeder(data, dataset) as feeder:
        with pytest.raises(UserError, match="A worker process ended 3 times"):
            with feeder.plain_errors():
                for _ in feeder.feed(dataset, ["stack_1"]):
                    pass
    assert time.monotonic() - begun < 60


def test_where_there_can_be_no_processes_threads_do_it_or_it_is_said(monkeypatch, capsys):
    resource = pytest.importorskip("resource")
    monkeypatch.setattr(batches, "cores", lambda: 16)
    dataset = JointBatches(synthetic_records(9, 1, 64), HeatmapCodec((32, 24)), batch_size=3)
    open_files = len(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else None
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))  # less than a batch
    try:
        with batches.Feeder(DataSection(), dataset) as feeder:
            assert feeder.processes is None
        with pytest.raises(RecipeError, match="worker_kind: Worker processes cannot be started.*"):
            batches.Feeder(DataSection(worker_kind="processes"), dataset)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = capsys.readouterr().err
    assert said.startswith("note: batches come from threads: Worker processes cannot be started")
    if open_files:
        assert len(os.listdir("/proc/self/fd")) == open_files
    with batches.Feeder(DataSection(), dataset) as feeder:
        assert len(feeder.processes.processes) == 3
    assert "note: batches come from 3 worker processes" in capsys.readouterr().err


def children(parent):
    """Processes that a process has started."""
    found = []
    for path in pathlib.Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(")")[2].split()[1]) == parent:
                found.append(int(path.parent.name))
        except OSError:
            pass  # ended meanwhile
    return found


@pytest.mark.full
@pytest.mark.parametrize("way", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_training_that_is_stopped_leaves_no_process(tmp_path, way):
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("needs Linux's /proc")
    child = start(
        "killed", tmp_path, "training.epochs=1000", "data.worker_kind=processes",
        "data.workers=2", "data.cache=false", KERAS_BACKEND="jax",
    )  # fmt: skip
    state = tmp_path / "killed" / "checkpoint" / "state.json"
    try:
        for _ in range(6000):
            if state.exists() and json.loads(state.read_text())["epoch"] >= 1:
                break
            assert child.poll() is None, child.communicate()[1][-3000:]
            time.sleep(0.05)
        workers = [one for one in children(child.pid) if "workers import serve" in command(one)]
        assert len(workers) == 2
        child.send_signal(way)
        child.communicate(timeout=60)
        assert child.returncode != 0
        for _ in range(100):
            if not [one for one in workers if command(one)]:
                return
            time.sleep(0.1)
        pytest.fail("worker processes are still there")
    finally:
        child.kill()
        child.communicate()


def command(number):
    try:
        return pathlib.Path(f"/proc/{number}/cmdline").read_text()
    except OSError:
        return ""


@pytest.mark.full
def test_processes_train_the_same_network_as_threads(tmp_path):
    values = {
        "model": {"num_stacks": 1, "num_features": 4, "depth": 1, "input_shape": [32, 24, 3]},
        "data": {"train": "synthetic:11@1x64", "validation": "synthetic:5@2x64", "workers": 3},
        "training": {"epochs": 2, "batch_size": 3, "steps_per_epoch": 5},
        "monitoring": {"tensorboard": False},
    }
    histories = [
        train(values, tmp_path / kind, overrides=[f"data.worker_kind={kind}"], verbose=0)[1].history
        for kind in ("threads", "processes")
    ]
    assert histories[0] == histories[1] and len(histories[0]["val_loss"]) == 2
