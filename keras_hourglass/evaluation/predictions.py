"""From a model and annotated people to joints in source pixels."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import HeatmapCodec, codec_of
from keras_hourglass.data.mixture import match_joints
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError
from keras_hourglass.geometry import apply_affine, invert_affine
from keras_hourglass.inference.runner import HeatmapRunner
from keras_hourglass.metrics import normalized_distances


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Joints of N people from S stacks.

    Args:
        records: the `PoseRecords` of the people, in the model's joint order.
        stacks: names of the S outputs, first to last.
        keypoints: `(S, N, K, 2)` in source pixels.
        scores: `(S, N, K)` heights of the heatmaps' maxima.
        heatmap_means: `(S, N, K)` means of the heatmaps.
        failures: path of each picture that was skipped -> reason.
        milliseconds: per person, by step (`"network"`, `"decode"`); cropping runs beside them.
        settings: how they were made (`flip`, `decoder`, `scales`).

    Example:

    >>> predict_records(model, records).keypoints[-1]  # doctest: +SKIP
    """

    records: PoseRecords
    stacks: tuple
    keypoints: np.ndarray
    scores: np.ndarray
    heatmap_means: np.ndarray
    failures: dict = dataclasses.field(default_factory=dict)
    milliseconds: dict = dataclasses.field(default_factory=dict)
    settings: dict = dataclasses.field(default_factory=dict)

    def __len__(self):
        return len(self.records)

    def distances(self) -> np.ndarray:
        """`(S, N, K)` distances in reference lengths; NaN where not counted."""
        records = self.records
        return np.stack(
            [
                normalized_distances(
                    keypoints, records.joints, records.visibility, records.reference
                )
                for keypoints in self.keypoints
            ]
        )


def predict_records(
    model: Any,
    records: PoseRecords,
    flip: bool = True,
    decoder: str | None = None,
    scales: Sequence[float] = (1.0,),
    progress: Callable | None = None,
    **options,
) -> Predictions:
    """Predict the joints of annotated people with every stack.

    Args:
        model: a `StackedHourglass`.
        records: `PoseRecords`; joints that the model does not predict are left out.
        flip: average with the mirrored crop.
        decoder: `"max"`, `"quarter"` or `"dark"`, see `HeatmapCodec`; by default as the model's
            `preprocessing` says, or `"quarter"`.
        scales: factors on the side of the person box whose heatmaps are averaged.
        progress: called with the number of people done after each batch.
        **options: `stacks`, `batch_size`, `workers`, `engine` of `HeatmapRunner`.

    Returns:
        `Predictions`; people whose picture cannot be read are left out and listed in `failures`.

    Raises:
        DataError: if no picture can be read.
        UserError: if model and data have no joint in common, or an argument is out of range.

    Example:

    >>> predictions = predict_records(model, records, flip=False)  # doctest: +SKIP
    """
    runner = HeatmapRunner(model, records.skeleton, flip, scales, **options)
    codec = codec_of(model, runner.stacks[-1], decoder)
    records = match_joints(records, runner.skeleton)
    collector = Collector(codec, runner.stacks)
    runner.warm_up()
    for people, matrices, heatmaps in runner.run(records, progress):
        collector.add(people, matrices, heatmaps)
    return collector.predictions(records, runner)


class Collector:
    """Decodes batches of heatmaps and keeps only the joints.

    Args:
        codec: the `HeatmapCodec` that decodes.
        stacks: names of the stacks to keep.

    Example:

    >>> collector = Collector(codec, ("stack_1", "stack_2"))  # doctest: +SKIP
    >>> for people, matrices, heatmaps in runner.run(records):  # doctest: +SKIP
    ...     collector.add(people, matrices, heatmaps)
    """

    def __init__(self, codec: HeatmapCodec, stacks: Sequence[str]):
        self.codec, self.stacks = codec, tuple(stacks)
        self.people, self.columns, self.seconds = [], [], 0.0

    def add(
        self, people: np.ndarray, matrices: np.ndarray, heatmaps: dict[str, np.ndarray]
    ) -> None:
        """Decode what `HeatmapRunner.run` yields."""
        start = time.perf_counter()
        back = invert_affine(matrices)
        batch = []
        for name in self.stacks:
            points, scores = self.codec.decode(heatmaps[name])
            batch.append((apply_affine(back, points), scores, heatmaps[name].mean(axis=(1, 2))))
        self.people.append(people)
        self.columns.append(batch)
        self.seconds += time.perf_counter() - start

    def predictions(self, records: PoseRecords, runner: Any) -> Predictions:
        """All that was added, as `Predictions` of the people of `records` that were run.

        Raises:
            DataError: if that is nobody.
        """
        if not self.people:
            first = next(iter(runner.failures.values()), "there is nobody in the data.")
            raise DataError(
                f"None of the {len(records)} people could be cropped. The first reason: {first}"
            )
        people = np.concatenate(self.people)
        keypoints, scores, means = (
            np.stack(
                [
                    np.concatenate([batch[stack][part] for batch in self.columns])
                    for stack in range(len(self.stacks))
                ]
            )
            for part in range(3)
        )
        return Predictions(
            records.select(people),
            self.stacks,
            keypoints,
            scores,
            means,
            failures=dict(runner.failures),
            milliseconds={
                "network": 1000 * runner.seconds / len(people),
                "decode": 1000 * self.seconds / len(people),
            },
            settings={
                "flip": runner.flip,
                "decoder": self.codec.decoder,
                "scales": list(runner.scales),
            },
        )
