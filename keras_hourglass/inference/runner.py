"""Heatmaps of annotated people: crop beside the network, run, mirror, merge."""

import concurrent.futures
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.load import open_image
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import crop_affine
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.io.images import warp
from keras_hourglass.network.config import stack_names
from keras_hourglass.skeletons import Skeleton


class HeatmapRunner:
    """Merged heatmaps of annotated people: crop, network, mirror image, scales.

    Args:
        model: a `StackedHourglass`.
        skeleton: names the joints where the model does not.
        flip: average with the mirrored crop, as the paper does at test time; not done where the
            joints' sides are not known (`Skeleton.mirrors`).
        scales: factors on the side of the person box whose heatmaps are averaged.
        stacks: names of the wanted outputs; all stacks by default.
        batch_size: people per run of the network.
        workers: threads that read and crop pictures while the network runs.
        engine: `"auto"`, another name that `engines.make_engine` knows, or the callable it
            makes, which several runners may share so that the network is compiled once.

    Raises:
        UserError: if an argument is out of range.

    Example:

    >>> runner = HeatmapRunner(model, flip=False)  # doctest: +SKIP
    >>> for people, matrices, heatmaps in runner.run(records):  # doctest: +SKIP
    ...     print(people, heatmaps["stack_1"].shape)
    """

    def __init__(
        self,
        model: Any,
        skeleton: Skeleton | None = None,
        flip: bool = True,
        scales: Sequence[float] = (1.0,),
        stacks: Sequence[str] | None = None,
        batch_size: int = 16,
        workers: int = 2,
        engine: str | Callable = "auto",
    ):
        self.stacks = stack_names(model.output) if stacks is None else tuple(stacks)
        skeleton = model.skeleton or skeleton
        if skeleton is None or skeleton.num_joints != model.num_keypoints:
            raise UserError(
                f"The model predicts {model.num_keypoints} joints and does not name them, so they "
                "must be those of the data. Received: "
                f"{skeleton and skeleton.num_joints} joints. Name them when loading "
                "the model: skeleton=…"
            )
        if batch_size < 1 or workers < 1 or not scales or not all(s > 0 for s in scales):
            raise UserError(
                "Batch size, workers and scales must be positive. Received: "
                f"batch_size={batch_size}, workers={workers}, scales={tuple(scales)}."
            )
        self.skeleton = skeleton
        self.input_size, self.stride = model.input_size, model.stride
        self.flip, self.scales = (
            bool(flip) and skeleton.mirrors,
            tuple(float(scale) for scale in scales),
        )
        self.batch_size, self.workers = batch_size, workers
        self.codec = HeatmapCodec(self.input_size, self.stride)
        self.engine = make_engine(engine, model, self.stacks)
        self.failures, self.seconds = {}, 0.0

    def run(self, records: PoseRecords, progress: Callable | None = None) -> Iterator:
        """Yield the heatmaps of one batch after another.

        Args:
            records: `PoseRecords`.
            progress: called with the number of people done after each batch.

        Yields:
            `(people, matrices, heatmaps)`: indices `(n,)` into the records without those whose
            picture cannot be read (see `failures`), `(n, 2, 3)` maps from source to input
            pixels, and a dict from stack name to `(n, h, w, K)` float32 maps.
        """
        starts = range(0, len(records), self.batch_size)
        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:

            def submit(start):
                people = range(start, min(start + self.batch_size, len(records)))
                return [(person, pool.submit(self._crop, records, person)) for person in people]

            # Two batches ahead, so that memory does not grow with the data set.
            waiting = [submit(start) for start in starts[:2]]
            for number in range(len(starts)):
                jobs = waiting.pop(0)
                if number + 2 < len(starts):
                    waiting.append(submit(starts[number + 2]))
                loaded = [(person, job.result()) for person, job in jobs]
                loaded = [(person, crops) for person, crops in loaded if crops is not None]
                if loaded:
                    people, crops = zip(*loaded, strict=True)
                    matrices = np.stack([matrix for matrix, _ in crops])
                    heatmaps = self._heatmaps(np.stack([scaled for _, scaled in crops]))
                    yield np.array(people), matrices, heatmaps
                if progress is not None:
                    progress(len(jobs))

    def warm_up(self) -> None:
        """Let the network compile for this batch size, so that timings leave it out."""
        self._heatmaps(np.zeros((self.batch_size, len(self.scales), *self.input_size, 3), np.uint8))
        self.seconds = 0.0

    def _crop(self, records, person):
        """The matrix of a person and `(scales, height, width, 3)` crops; `None` if unreadable."""
        path = records.images[person]
        try:
            image = open_image(path)
            matrices = [
                crop_affine(records.boxes[person], self.input_size, scale=scale)
                for scale in (1.0, *self.scales)
            ]
        except UserError as error:
            self.failures[path] = str(error)
            return None
        return matrices[0], np.stack([warp(image, m, self.input_size) for m in matrices[1:]])

    def _heatmaps(self, crops):
        """`(n, scales, H, W, 3)` crops -> stack name -> `(n, h, w, K)` merged maps."""
        start = time.perf_counter()
        count = len(crops)
        total = dict.fromkeys(self.stacks, 0)
        for number, scale in enumerate(self.scales):
            batch = crops[:, number]
            if count < self.batch_size:
                # One shape for every batch: some backends compile anew for each.
                missing = np.zeros((self.batch_size - count, *batch.shape[1:]), batch.dtype)
                batch = np.concatenate([batch, missing])
            maps = self.engine(batch)
            mirrored = self.engine(np.ascontiguousarray(batch[:, :, ::-1])) if self.flip else {}
            for name in self.stacks:
                merged = maps[name][:count]
                if self.flip:
                    merged = self.codec.merge_flipped(
                        merged, mirrored[name][:count], self.skeleton.flip_order
                    )
                total[name] = total[name] + _rescale(merged, scale) / len(self.scales)
        self.seconds += time.perf_counter() - start
        return total


def _rescale(heatmaps, scale):
    """Maps of crops whose box was `scale` times as large, in the frame of the plain crop."""
    if scale == 1.0:
        return heatmaps
    count, height, width, joints = heatmaps.shape
    rows, columns = _interpolation(height, scale), _interpolation(width, scale)
    maps = rows @ heatmaps.reshape(count, height, width * joints)
    return columns @ maps.reshape(count, height, width, joints)


def _interpolation(size, scale):
    """`(size, size)` float32 weights of a linear interpolation about the middle; 0 outside."""
    middle = (size - 1) / 2
    places = middle + (np.arange(size) - middle) / scale
    distance = np.abs(places[:, None] - np.arange(size))
    return np.maximum(0, 1 - distance).astype(np.float32)
