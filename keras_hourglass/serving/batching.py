"""People of several requests in one run of the network, within a limit of how many may wait."""

import asyncio
import collections
import contextlib
import threading
import time

import numpy as np


class Busy(Exception):
    """As many people wait as may, or as can be answered in time."""


class Job:
    """The rows of one request on their way; threads fill them, the event loop waits.

    Args:
        backend: what they are run by, which stays alive as long as they do.
        count: how many rows there are.
        loop: the event loop that waits.
    """

    def __init__(self, backend, count, loop):
        self.backend, self.count, self.cancelled = backend, count, False
        self.future = loop.create_future()
        self._loop, self._missing = loop, count
        self._rows: list[dict] = [{}] * count
        self._lock = threading.Lock()

    def fill(self, place, row):
        """Enter the outputs of one row; the last one ends the waiting."""
        with self._lock:
            self._rows[place] = row
            self._missing -= 1
            done = not self._missing
        if done:
            names = self._rows[0]
            self.finish({name: np.stack([row[name] for row in self._rows]) for name in names})

    def finish(self, outputs):
        """End the waiting with all outputs, or with an exception."""
        with contextlib.suppress(RuntimeError):  # the loop is gone
            self._loop.call_soon_threadsafe(self._set, outputs)

    def _set(self, outputs):
        if self.future.done():
            return
        if isinstance(outputs, Exception):
            self.future.set_exception(outputs)
        else:
            self.future.set_result(outputs)

    async def wait(self, seconds):
        """The outputs.

        Raises:
            TimeoutError: if they are not there in time; what is left of the job is given up.
        """
        try:
            return await asyncio.wait_for(self.future, seconds)
        except asyncio.TimeoutError as error:
            raise TimeoutError from error
        finally:
            self.cancelled = True  # no work for an answer that nobody waits for


class Batcher:
    """One thread that runs the network on whoever is ready.

    Args:
        max_batch: most people in one run.
        max_delay: seconds to wait for others who are being prepared.
        max_queue: most people accepted and not yet answered.
        patience: seconds within which somebody who is accepted should be answered; by how long
            people took so far.
        watch: called with the number of people of each run.
    """

    def __init__(self, max_batch, max_delay, max_queue, patience=float("inf"), watch=None):
        self.max_batch, self.max_delay, self.max_queue = max_batch, max_delay, max_queue
        self._patience, self._pace = patience, 0.0  # seconds for one person
        self._watch = watch or (lambda count: None)
        self._ready: collections.deque = collections.deque()
        self._change, self._pending, self._stopping = threading.Condition(), 0, False
        self._thread = threading.Thread(target=self._loop, name="network", daemon=True)
        self._thread.start()

    @property
    def seconds(self):
        """How long it will take until all who wait are answered."""
        return self._pace * self._pending

    @property
    def pending(self):
        """People accepted and not yet answered."""
        return self._pending

    def accept(self, count):
        """Take in so many people, each of whom `put` or `leave` must follow.

        Raises:
            Busy: if there is no room for them.
        """
        with self._change:
            waiting = self._pending + count
            too_long = self._pending and self._pace * waiting > self._patience
            if waiting > self.max_queue or too_long:
                raise Busy
            self._pending += count

    def leave(self, count=1):
        """Give up people who were accepted and are not put."""
        with self._change:
            self._pending -= count
            self._change.notify_all()

    def put(self, job, place, kind, item):
        """Have somebody run who is prepared.

        Args:
            job: the `Job`.
            place: which of its rows, or `None` for a call of its own that fills all.
            kind: what may run together.
            item: for `Backend.run`, or the `(signature, inputs)` of a call of its own.
        """
        with self._change:
            self._ready.append((job, place, (id(job.backend), kind), item))
            self._change.notify_all()

    def stop(self):
        """End the thread when all who are ready were run."""
        with self._change:
            self._stopping = True
            self._change.notify_all()
        self._thread.join(30)

    def _loop(self):
        while True:
            with self._change:
                self._change.wait_for(lambda: self._ready or self._stopping)
                if not self._ready:
                    return
                batch = self._gather()
            self._run(batch)
            with self._change:
                self._pending -= sum(job.count if place is None else 1 for job, place, *_ in batch)

    def _gather(self):
        """The first who is ready and others like them, waiting a little for those on their way."""
        end = time.monotonic() + self.max_delay
        while True:
            first = self._ready[0]
            if first[1] is None:
                return [self._ready.popleft()]
            alike = [e for e in self._ready if e[2] == first[2] and e[1] is not None]
            left = end - time.monotonic()
            full = len(alike) >= self.max_batch or self._pending <= len(self._ready)
            if full or left <= 0 or self._stopping:
                break
            self._change.wait(left)
        batch = alike[: self.max_batch]
        chosen = set(map(id, batch))
        self._ready = collections.deque(e for e in self._ready if id(e) not in chosen)
        return batch

    def _run(self, batch):
        wanted = [entry for entry in batch if not entry[0].cancelled]
        if not wanted:
            return
        backend = wanted[0][0].backend
        try:
            if wanted[0][1] is None:
                [(job, _, _, (signature, inputs))] = wanted
                job.finish(backend.call(signature, inputs))
                return
            start = time.monotonic()
            outputs = backend.run([item for *_, item in wanted])
            pace = (time.monotonic() - start) / len(wanted)
            self._pace += (pace - self._pace) / (4 if self._pace else 1)
            self._watch(len(wanted))
            for row, (job, place, *_) in enumerate(wanted):
                job.fill(place, {name: values[row] for name, values in outputs.items()})
        except Exception as error:
            for job, *_ in wanted:
                job.finish(error)
