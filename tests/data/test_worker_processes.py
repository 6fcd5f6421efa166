"""Worker processes: the same batches, none left behind, and what happens to those that die."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import cv2
import numpy as np
import pytest
from deadly import Deadly, Refusing, at_home

from keras_hourglass.codec import BoxCodec, HeatmapCodec
from keras_hourglass.data.augment import AUGMENTATIONS, Augmentation
from keras_hourglass.data.epochs import JointBatches, SceneBatches, Share
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.data.scenes import SceneRecords
from keras_hourglass.data.workers import Ahead, WorkerProcesses, can_start
from keras_hourglass.errors import RecipeError, UserError

pytestmark = pytest.mark.skipif(not can_start(), reason="needs Linux or macOS")
# Thirteen people in batches of three, inputs of 32 × 48: no two sizes are the same.
STEPS = 4


def make(kind=PoseDataset, **options):
    records = synthetic_records(num=13, seed=5, size=40)
    codec = HeatmapCodec((32, 48))
    return kind(records, codec, batch_size=3, augmentation=Augmentation(), seed=4, **options)


def assert_same(batch, other):
    assert len(batch) == len(other) == 2
    for one, two in zip(batch, other, strict=True):
        two = next(iter(two.values())) if isinstance(two, dict) else two
        assert one.dtype == np.asarray(two).dtype and one.shape == two.shape
        np.testing.assert_array_equal(one, two)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [0, 1, 2, 3])
def test_any_number_of_processes_makes_the_same_batches(workers):
    dataset = make()
    expected = [dataset.batch(step, epoch) for epoch in (0, 1, 2) for step in range(STEPS)]
    assert not np.array_equal(expected[0][0], expected[STEPS][0])
    stream = dataset.as_tf_dataset(workers=workers, processes=True).take(2 * STEPS)
    for number, batch in enumerate(stream):
        assert_same(expected[number], batch)
    for in_order in (False, True):
        batches = dataset.as_py_dataset(workers=workers, processes=True, in_order=in_order)
        for epoch in (0, 1, 2):
            assert len(batches) == STEPS
            for step in range(STEPS):
                assert_same(expected[STEPS * epoch + step], batches[step])
            batches.on_epoch_end()
        batches.close()


@pytest.mark.slow
@pytest.mark.parametrize("workers, processes", [(2, False), (3, True)])
def test_going_on_in_the_middle_of_an_epoch(workers, processes):
    dataset = make()
    unbroken = [dataset.batch(step, epoch) for epoch in (1, 2) for step in range(STEPS)]
    by = {"workers": workers, "processes": processes}
    for number, batch in enumerate(dataset.as_tf_dataset(1, True, start_step=3, **by).take(5)):
        assert_same(unbroken[3 + number], batch)
    batches = dataset.as_py_dataset(1, start_step=3, in_order=True, **by)
    assert len(batches) == 1
    assert_same(unbroken[3], batches[0])
    batches.on_epoch_end()
    assert len(batches) == STEPS
    for step in range(STEPS):
        assert_same(unbroken[STEPS + step], batches[step])
    batches.close()


@pytest.mark.parametrize("process", [0, 1])
def test_shares_of_batches_and_photographs_with_boxes(tmp_path, process):
    """Several data sets in the same processes; a last batch that is filled up."""
    path = tmp_path / "one.png"
    cv2.imwrite(str(path), np.random.default_rng(2).integers(0, 256, (50, 70, 3), np.uint8))
    boxes = [[[10, 12, 30, 22]], [], [[1, 2, 9, 8], [20, 5, 11, 40]]]
    scenes = SceneRecords(
        [str(path)] * 3, boxes, [[False] * len(one) for one in boxes],
        [[0] * len(one) for one in boxes], "abc",
    )  # fmt: skip
    photographs = SceneBatches(
        scenes, BoxCodec((64, 32)), batch_size=2, augmentation=AUGMENTATIONS["scenes"], seed=1
    )
    people = JointBatches(
        synthetic_records(5, 1, 64), HeatmapCodec((32, 48)), batch_size=4, drop_last=False,
        layout=Share(2, process, 2),
    )  # fmt: skip
    with WorkerProcesses([people, photographs], 2) as processes:
        for dataset in (people, photographs):
            for step in range(len(dataset)):
                assert_same(dataset.batch(step, 1), processes.batch(dataset, step, 1))
    assert len(people) == 2 and not people.batch(1)[0].any() == (process == 1)


def test_a_process_has_numpy_and_opencv_only():
    dataset = make()
    with WorkerProcesses([dataset], 1) as processes:
        processes.batch(dataset, 0)
        [number] = processes.processes
        if not os.path.exists(f"/proc/{number}/maps"):
            pytest.skip("needs Linux's /proc")
        loaded = pathlib.Path(f"/proc/{number}/maps").read_text()
        for heavy in ("tensorflow", "jaxlib", "libtorch", "onnxruntime", "h5py", "scipy/"):
            assert heavy not in loaded
        status = pathlib.Path(f"/proc/{number}/status").read_text()
        assert int(status.split("VmRSS:")[1].split()[0]) < 150_000  # KiB; measured: 67,000


def gone(numbers, seconds=10):
    """Whether none of these processes is there any more, waiting a while for it."""
    for _ in range(seconds * 50):
        left = [one for one in numbers if running(one)]
        if not left:
            return True
        time.sleep(0.02)
    return False


def running(number):
    try:
        os.kill(number, 0)
        state = pathlib.Path(f"/proc/{number}/stat")
        return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def shared_names():
    there = pathlib.Path("/dev/shm")
    return {path.name for path in there.iterdir()} if there.is_dir() else set()


BUSY = """
import os, sys, time
from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.data.workers import WorkerProcesses
dataset = PoseDataset(synthetic_records(13, 5, 40), HeatmapCodec((32, 48)), batch_size=3)
processes = WorkerProcesses([dataset], 3)
if sys.argv[1] == "forked" and not os.fork():  # a copy of this process holds the lines, too
    time.sleep(60)
    os._exit(0)
processes.batch(dataset, 0)
print(*processes.processes, flush=True)
step = 0
while sys.argv[1] != "ends":
    step += 1
    processes.batch(dataset, step % 4, step // 4)
"""


@pytest.mark.slow
@pytest.mark.parametrize("way", ["ends", "SIGINT", "SIGTERM", "SIGKILL", "forked"])
def test_no_process_and_no_memory_outlives_the_one_that_started_them(way):
    before = shared_names()
    child = subprocess.Popen(
        [sys.executable, "-c", BUSY, way],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    try:
        numbers = list(map(int, child.stdout.readline().split()))
        assert len(numbers) == 3
        if way == "SIGINT":  # of a terminal, for the whole group
            os.killpg(child.pid, signal.SIGINT)
        elif way == "forked":
            child.kill()
        elif way != "ends":
            child.send_signal(getattr(signal, way))
        child.wait(20)
        assert (child.returncode == 0) == (way == "ends")
        assert gone(numbers)
    finally:
        child.kill()
        if way == "forked":
            os.killpg(child.pid, signal.SIGKILL)
        child.communicate()
    assert shared_names() <= before


def test_closing_ends_them_while_threads_wait():
    dataset = make()
    processes = WorkerProcesses([dataset], 2)
    stream = Ahead(lambda number: processes.batch(dataset, number % STEPS, number), 4, 9)
    stream(0)
    numbers = processes.processes
    assert len(numbers) == 2
    stream.close()
    processes.close()
    assert gone(numbers) and not processes.processes == []
    with pytest.raises(RuntimeError, match="have been closed"):
        processes.batch(dataset, 0)


@pytest.mark.slow
def test_a_killed_process_is_replaced(capfd):
    dataset = make()
    with WorkerProcesses([dataset], 2) as processes:
        for step in range(2 * STEPS):
            if step in (1, 5):
                os.kill(processes.processes[0], signal.SIGKILL)
            assert_same(dataset.batch(step % STEPS), processes.batch(dataset, step % STEPS))
        assert len(processes.processes) == 2
    note = "note: a worker process ended (killed by signal 9) and is replaced."
    assert capfd.readouterr().err.splitlines() == [note, note]


@pytest.mark.slow
@pytest.mark.parametrize("lives", [2, 1000])
def test_a_batch_that_kills_is_tried_three_times(tmp_path, lives):
    at_home()
    (tmp_path / "lives").write_text(str(lives))
    dataset = make(Deadly, lives=tmp_path / "lives")
    with WorkerProcesses([dataset], 2) as processes:
        if lives == 2:
            assert_same(dataset.batch(1), processes.batch(dataset, 1))
            return
        for _ in range(2):
            with pytest.raises(UserError, match="ended 3 times.*Received: 2 proc.*data.worker_k"):
                processes.batch(dataset, 1)
        assert int((tmp_path / "lives").read_text()) == 1000 - 6
        assert isinstance(processes.failure, UserError)
        assert_same(dataset.batch(2), processes.batch(dataset, 2))  # others go on


def test_errors_arrive_as_they_were_raised():
    dataset = make(Refusing)
    with WorkerProcesses([dataset], 1) as processes:
        with pytest.raises(RecipeError, match=r"^data.train: no good. Received: this.$"):
            processes.batch(dataset, 0)
        with pytest.raises(UserError, match=r"^A rule. Received: a value.$"):
            processes.batch(dataset, 1)
        with pytest.raises(RuntimeError, match=r"(?s)In a worker process: .*KeyError: 'a defect'"):
            processes.batch(dataset, 2)
        assert_same(dataset.batch(3), processes.batch(dataset, 3))


def test_unreadable_pictures_are_black_and_named_as_without_processes(tmp_path):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"\xff\xd8 no picture")
    paths = [str(bad), "synthetic:40x/5/1", str(tmp_path / "none.jpg"), "", "synthetic:40x/5/2"]
    records = synthetic_records(num=5, seed=5, size=40).with_columns(images=paths)
    plain = PoseDataset(records, HeatmapCodec((32, 48)), batch_size=3)
    other = PoseDataset(records, HeatmapCodec((32, 48)), batch_size=3)
    with WorkerProcesses([other], 2) as processes:
        for step in (0, 1, 0, 1):
            assert_same(plain.batch(step), processes.batch(other, step))
    assert other.failures == plain.failures and set(other.failures) == {
        str(bad), str(tmp_path / "none.jpg"), ""
    }  # fmt: skip


OWN = """
from keras_hourglass.data import PoseDataset, synthetic_records
class Mine(PoseDataset):
    pass
try:
    Mine(synthetic_records(3, 1, 40), batch_size=2).made_by(2, processes=True)
except ValueError as error:
    print(error)
"""


def test_what_the_program_itself_defines_is_refused(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    done = subprocess.run(
        [sys.executable, tmp_path / "own.py"], capture_output=True, text=True, check=True
    )
    assert "Received: Mine of that program. Put it into a module, or use threads." in done.stdout


def test_batches_in_order_are_made_once_and_ahead_and_others_when_asked_for():
    made = []
    stream = Ahead(lambda number: made.append(number) or number**2, threads=1, ahead=2)
    assert [stream(number) for number in (3, 4, 5)] == [9, 16, 25]
    stream.close()
    assert made[:3] == [3, 4, 5] and len(made) == len(set(made)) <= 5
    stream = Ahead(lambda number: number**2, threads=2, ahead=2)
    assert [stream(number) for number in (5, 1, 9, 9, 10)] == [25, 1, 81, 81, 100]
    stream.close()
