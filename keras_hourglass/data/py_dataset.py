"""Batches for Keras without `tf.data`; the only module of the data part that needs Keras."""

from typing import Any

import keras


class PoseBatches(keras.utils.PyDataset):
    """The batches of a `PoseDataset`, epoch after epoch.

    Args:
        dataset: the `PoseDataset`.
        start_epoch: the epoch to begin with.
        workers: threads that prepare batches.
        start_step: the batch of that epoch to begin with; its epoch is shorter.

    Example:

    >>> model.fit(PoseBatches(dataset, workers=4))  # doctest: +SKIP
    """

    def __init__(self, dataset: Any, start_epoch: int = 0, workers: int = 2, start_step: int = 0):
        super().__init__(workers=workers, use_multiprocessing=False, max_queue_size=2 * workers)
        self.dataset, self.epoch, self.skipped = dataset, start_epoch, start_step

    def __len__(self):
        return len(self.dataset) - self.skipped

    def __getitem__(self, step):
        crops, targets = self.dataset.batch(step + self.skipped, self.epoch)
        return crops, self.dataset.answers(targets)

    def on_epoch_end(self) -> None:
        """Go on to the next epoch: another order, other augmentations."""
        self.epoch, self.skipped = self.epoch + 1, 0
