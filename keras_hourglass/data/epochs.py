"""Epochs of any length, shared among devices and processes."""

import dataclasses

import numpy as np

from keras_hourglass.data.pipeline import CropDataset, PoseDataset, SceneDataset
from keras_hourglass.errors import UserError


@dataclasses.dataclass(frozen=True)
class Share:
    """Which part of each batch is one process's own.

    Args:
        devices: number of devices that share each batch.
        process, processes: number of this process and how many there are.
    """

    devices: int = 1
    process: int = 0
    processes: int = 1


class Batches(CropDataset):
    """A data set whose epochs may be cut shorter or longer than the data.

    Args:
        records, codec, **options: as for `CropDataset`.
        steps: batches per epoch; a pass over the data by default. The order of the people goes on
            from epoch to epoch, so everybody is seen equally often.
        layout: a `Share`, such as a training's `Layout`; every batch can be shared evenly among
            its devices, and each process loads its own share only.
    """

    def __init__(self, records, codec=None, steps=None, layout=None, **options):
        super().__init__(records, codec, **options)
        # Without what else a `Layout` has, which no other process could be sent.
        one = layout or Share()
        self.layout = Share(one.devices, one.process, one.processes)
        self.steps = steps
        if self.layout.processes > 1 or self.drop_last:
            # A small data set may not fill one batch, which is then smaller but still even.
            self.batch_size -= self.batch_size % self.layout.devices
            self.batch_size = max(self.batch_size, self.layout.devices)
        if not self.passes:
            raise UserError(
                f"{self.layout.devices} devices need a person each. Received: {len(records)} "
                "annotated people. Use more data or fewer devices."
            )

    def __len__(self):
        return self.steps or self.passes

    @property
    def passes(self):
        """Batches in one pass over the data."""
        return super().__len__()

    @property
    def largest(self):
        """As in `CropDataset`, for the batch of all processes."""
        return self.batch_size + -self.batch_size % self.layout.devices

    def batch(self, step, epoch=0):
        """As in `CropDataset`, this process's share; a last batch that the devices cannot share
        evenly is filled up with empty crops whose weights are 0."""
        epoch, step = divmod(epoch * len(self) + step, self.passes)
        people = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        count, parts = len(people), self.layout.processes
        missing = -count % self.layout.devices
        size = (count + missing) // parts
        own = people[self.layout.process * size : (self.layout.process + 1) * size]
        # Losses divide by the batch's size, so the weights make up for the filling.
        factor = np.float32((count + missing) / count)
        crops = np.zeros((size, *self.codec.input_size, 3), np.uint8)
        targets = np.zeros((size, *self.target_shape), np.float32)
        if len(own):
            columns = zip(*(self.sample(person, epoch) for person in own), strict=True)
            shown, *labels = (np.stack(column) for column in columns)
            crops[: len(own)] = shown
            targets[: len(own)] = self.targets(*labels)
            if missing:
                self.weigh(targets, factor)
        return crops, targets


class JointBatches(Batches, PoseDataset):
    """People and their joints, see `Batches` and `PoseDataset`."""


class SceneBatches(Batches, SceneDataset):
    """Photographs and everybody's boxes, see `Batches` and `SceneDataset`."""
