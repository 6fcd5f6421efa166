"""Processes that prepare batches beside a training, and batches made before they are asked for.

Threads share one Python with `fit`; on many cores the two keep each other waiting. Processes of the
standard library it is, since of what was tried (numbers in `benchmarks/README.md`) Grain's workers
import the program that trains, seconds at each start, and Keras's are copies of a process full of
threads; both send every batch through a pipe. These here are started by a command of their own, so
that they hold NumPy and OpenCV only; batches travel in memory that has no name, so that none can be
left behind; and each process ends as soon as the other end of its line is gone.
"""

import collections
import concurrent.futures
import io
import json
import mmap
import multiprocessing.connection
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import types
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_hourglass.errors import UserError, note

# Slots, and threads to wait for them, beyond one for each process: it computes while its last
# batch is still being copied.
_SPARE = 2
# How often a batch is begun anew because the process that prepared it is gone.
_ATTEMPTS = 3
_ALIGNED = 64  # bytes; where arrays begin
_START = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from keras_hourglass.data.workers import serve; serve(*map(int, sys.argv[2:]))"
)


class WorkerProcesses:
    """Processes that prepare the batches of one or more data sets.

    Each batch is the one that the data set would make itself. A process that is killed is replaced
    and its batch made again.

    Args:
        datasets: `CropDataset`s; changes to them after this are not seen.
        workers: how many processes.

    Raises:
        UserError: if there can be none, or they cannot be sent the data sets.

    Example:

    >>> from keras_hourglass.data import PoseDataset, synthetic_records
    >>> dataset = PoseDataset(synthetic_records(num=3, seed=1, size=64), batch_size=2)
    >>> with WorkerProcesses([dataset], 2) as processes:  # doctest: +SKIP
    ...     crops, targets = processes.batch(dataset, 0)
    """

    def __init__(self, datasets: Sequence[Any], workers: int):
        if not can_start():
            raise UserError(
                f"Worker processes need Linux or macOS. Received: {workers} of them on "
                f"{sys.platform}. Use threads."
            )
        self.datasets, self.workers = tuple(datasets), workers
        self.failure: UserError | None = None
        content = _pickled(self.datasets)
        slot = max(map(_most_bytes, self.datasets))
        self._content = slot * self.threads  # where the data sets lie, behind the slots
        self._slots: queue.SimpleQueue = queue.SimpleQueue()
        for number in range(self.threads):
            self._slots.put(number * slot)
        self._idle: queue.SimpleQueue = queue.SimpleQueue()
        self._alive: set = set()
        self.close: Any = None
        try:
            self._file = _nameless(self._content + len(content))
            self.close = weakref.finalize(self, _close, self._alive, self._idle, self._file)
            self._memory = mmap.mmap(self._file, self._content + len(content))
            self._memory[self._content :] = content
            for _ in range(workers):
                self._idle.put(self._start())
        except OSError as error:  # limits of memory, of open files, of processes
            if self.close is not None:
                self.close()
            raise UserError(
                f"Worker processes cannot be started here ({error.strerror}). Received: {workers} "
                "of them. Use fewer (data.workers), or threads (data.worker_kind)."
            ) from error

    @property
    def threads(self) -> int:
        """How many threads should ask for batches to keep every process busy."""
        return self.workers + _SPARE

    @property
    def processes(self) -> list[int]:
        """Their numbers, as the system counts processes."""
        return sorted(worker.process.pid for worker in self._alive)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _start(self):
        worker = _Worker(self._file, self._content)
        self._alive.add(worker)
        return worker

    def batch(self, dataset: Any, step: int, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """`dataset.batch(step, epoch)`, prepared by one of the processes; for any thread.

        Args:
            dataset: one of `datasets`.
            step: number of the batch within the epoch.
            epoch: number of the epoch.

        Returns:
            Inputs and targets. Pictures that cannot be read are in the data set's `failures`.

        Raises:
            UserError: if the process died again and again, or what the data set raised.
        """
        place = next(i for i, one in enumerate(self.datasets) if one is dataset)
        start = self._slots.get()
        try:
            shapes, failures, error = self._ask((place, step, epoch, start))
            dataset.failures.update(failures)
            if error is not None:
                raise error
            return tuple(array.copy() for array in _arrays(self._memory, start, shapes))
        except UserError as error:
            self.failure = error
            raise
        finally:
            self._slots.put(start)

    def _ask(self, task):
        """The answer of some process."""
        worker = self._idle.get()
        try:
            for _ in range(_ATTEMPTS):
                if worker is None or not self.close.alive:
                    raise RuntimeError("The worker processes have been closed.")
                try:
                    worker.line.send(task)
                    return worker.line.recv()
                except (EOFError, OSError):
                    worker = self._replace(worker)
        except BaseException:
            # Of an answer that nobody waited for: the next one would take it for its own.
            if worker is not None:
                worker.end()
            raise
        finally:
            self._idle.put(worker)
        raise UserError(
            f"A worker process ended {_ATTEMPTS} times while it prepared one batch. Received: "
            f"{self.workers} processes. If memory is short use fewer (data.workers), or threads "
            "(data.worker_kind)."
        )

    def _replace(self, worker):
        """A new process for one that is gone."""
        status = worker.end()
        if not self.close.alive:
            return worker
        reason = f"killed by signal {-status}" if status < 0 else f"with status {status}"
        try:
            new = self._start()
        except OSError as error:
            raise UserError(
                f"A worker process ended ({reason}), and no other can be started "
                f"({error.strerror}). Received: {self.workers} processes. Use fewer "
                "(data.workers), or threads (data.worker_kind)."
            ) from error
        self._alive.discard(worker)
        note(f"a worker process ended ({reason}) and is replaced.")
        return new


class _Worker:
    """A process and the line to it."""

    def __init__(self, file, content):
        self.line, theirs = multiprocessing.connection.Pipe()
        places = [one for one in sys.path if isinstance(one, str)]
        words = [theirs.fileno(), file, content, os.getpid()]
        try:
            # Not from the user's script, as `multiprocessing` does, which would begin again; and
            # out of reach of Ctrl-C, which is for the training.
            self.process = subprocess.Popen(
                [sys.executable, "-c", _START, json.dumps(places), *map(str, words)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=(theirs.fileno(), file),
                start_new_session=True,
            )
        finally:
            theirs.close()

    def end(self):
        """End the process if it is there; its exit status, negative for a signal."""
        self.line.close()
        self.process.kill()
        return self.process.wait()


def _close(workers, idle, file):
    for worker in list(workers):
        # Those who wait for an answer are told by the end of its line, see `_Worker.end`.
        worker.process.kill()
    for worker in list(workers):
        worker.process.wait()
    idle.put(None)
    os.close(file)


def can_start() -> bool:
    """Whether this system can start worker processes."""
    return os.name == "posix" and bool(sys.executable)


class _Pickler(pickle.Pickler):
    def reducer_override(self, obj):
        if isinstance(obj, (type, types.FunctionType)) and obj.__module__ == "__main__":
            raise UserError(
                "Worker processes import what a data set is made of, and do not run the program "
                f"that started them. Received: {obj.__qualname__} of that program. Put it into a "
                "module, or use threads."
            )
        return NotImplemented


def _pickled(datasets):
    buffer = io.BytesIO()
    try:
        _Pickler(buffer, pickle.HIGHEST_PROTOCOL).dump(datasets)
    except (pickle.PicklingError, TypeError, AttributeError) as error:
        raise UserError(
            f"Worker processes must be sent the data set. Received: one that cannot be ({error}). "
            "Use threads."
        ) from error
    return buffer.getvalue()


def _most_bytes(dataset):
    """What the largest batch takes."""
    crops = dataset.largest * int(np.prod(dataset.codec.input_size)) * 3
    targets = dataset.largest * int(np.prod(dataset.target_shape)) * 4
    return sum(size + -size % _ALIGNED for size in (crops, targets))


def _nameless(size):
    """A file in memory that nobody else can find, which is gone with the last who has it open."""
    if hasattr(os, "memfd_create"):
        file = os.memfd_create("keras_hourglass_batches")
    else:
        with tempfile.TemporaryFile() as opened:
            file = os.dup(opened.fileno())
    try:
        os.ftruncate(file, size)
    except OSError:
        os.close(file)
        raise
    return file


def _arrays(memory, start, shapes):
    """The inputs and targets that begin at a place of the memory."""
    for shape, kind in zip(shapes, (np.uint8, np.float32), strict=True):
        array = np.ndarray(shape, kind, memory, start)
        start += array.nbytes + -array.nbytes % _ALIGNED
        yield array


def serve(line: int, file: int, content: int, parent: int) -> None:
    """What a worker process does: prepare batches until the line to its parent is cut.

    Args:
        line: descriptor of the line.
        file: descriptor of the memory: slots for batches, then the data sets.
        content: where those begin.
        parent: the process that started this one.
    """
    import cv2

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)  # processes share out batches, not the rows of one picture
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    connection: Any = multiprocessing.connection.Connection(line)
    memory = mmap.mmap(file, 0)
    with memoryview(memory) as whole, whole[content:] as pickled:
        datasets = pickle.loads(pickled)
    try:
        while True:
            place, step, epoch, start = connection.recv()
            connection.send(_answer(datasets[place], step, epoch, memory, start))
    except (EOFError, OSError):  # the parent has ended, in whatever way
        return


def _answer(dataset, step, epoch, memory, start):
    """Shapes of inputs and targets that were put into the memory, new failures, the error."""
    known, shapes, error = set(dataset.failures), [], None
    try:
        batch = dataset.batch(step, epoch)
        shapes = [array.shape for array in batch]
        for array, place in zip(batch, _arrays(memory, start, shapes), strict=True):
            place[...] = array
    except UserError as raised:
        # As a plain one where its own kind cannot be made again from its message.
        error = raised if _can_be_sent(raised) else UserError(str(raised))
    except Exception:
        # Where it happened would be lost on the way.
        error = RuntimeError(f"In a worker process: {traceback.format_exc()}")
    new = {path: why for path, why in dataset.failures.items() if path not in known}
    return shapes, new, error


def _can_be_sent(error):
    try:
        return bool(pickle.loads(pickle.dumps(error)).args)
    except Exception:
        return False


def _end_with(parent):
    """End this process with its parent, also while a copy of the parent holds the line."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


class Ahead:
    """Batches by number, which are asked for in order and made before they are.

    Args:
        make: a function of the number, for any thread.
        threads: how many make them at the same time.
        ahead: how many lie ready at most.

    Example:

    >>> squares = Ahead(lambda number: number**2, threads=2, ahead=3)
    >>> squares(4), squares(5), squares(2)
    (16, 25, 4)
    >>> squares.close()
    """

    def __init__(self, make: Callable[[int], Any], threads: int, ahead: int):
        self._make, self._ahead = make, ahead
        self._pool = concurrent.futures.ThreadPoolExecutor(threads, "batches")
        self._made: collections.OrderedDict = collections.OrderedDict()

    def __call__(self, number: int) -> Any:
        """The batch of a number; those after it are begun."""
        wanted = range(number, number + self._ahead + 1)
        for other in [other for other in self._made if other not in wanted]:
            self._made.pop(other).cancel()
        for one in wanted:
            if one not in self._made:
                self._made[one] = self._pool.submit(self._make, one)
        return self._made.pop(number).result()

    def close(self) -> None:
        """Begin nothing more."""
        self._pool.shutdown(wait=False, cancel_futures=True)
        self._made.clear()
