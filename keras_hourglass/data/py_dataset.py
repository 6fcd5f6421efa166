"""Batches for Keras without `tf.data`; the only module of the data part that needs Keras."""

from typing import Any

import keras

from keras_hourglass.data.workers import Ahead, WorkerProcesses


class PoseBatches(keras.utils.PyDataset):
    """The batches of a `PoseDataset`, epoch after epoch.

    Args:
        dataset: the `PoseDataset`.
        start_epoch: the epoch to begin with.
        workers: batches prepared at the same time; 0 prepares each when it is asked for.
        start_step: the batch of that epoch to begin with; its epoch is shorter.
        processes: whether workers are processes instead of threads, or the `WorkerProcesses`.
        in_order: batches will be asked for one after the other, as by `fit(..., shuffle=False)`:
            those of the next epoch are begun before this one ends.

    Example:

    >>> model.fit(PoseBatches(dataset, workers=4))  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: Any,
        start_epoch: int = 0,
        workers: int = 2,
        start_step: int = 0,
        processes: bool | WorkerProcesses = False,
        in_order: bool = False,
    ):
        self._make, threads = dataset.made_by(workers, processes)
        own = 0 if in_order else threads
        super().__init__(workers=own, use_multiprocessing=False, max_queue_size=2 * max(own, 1))
        self.dataset, self.epoch, self.skipped = dataset, start_epoch, start_step
        self._ahead = None
        if in_order and threads:
            self._ahead = Ahead(self._numbered, threads, ahead=max(threads, 4))

    def __len__(self):
        return len(self.dataset) - self.skipped

    def __getitem__(self, step):
        number = self.epoch * len(self.dataset) + self.skipped + step
        crops, targets = (self._ahead or self._numbered)(number)
        return crops, self.dataset.answers(targets)

    def _numbered(self, number):
        epoch, step = divmod(number, len(self.dataset))
        return self._make(step, epoch)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch: another order, other augmentations."""
        self.epoch, self.skipped = self.epoch + 1, 0

    def close(self) -> None:
        """Begin no further batches."""
        if self._ahead is not None:
            self._ahead.close()
