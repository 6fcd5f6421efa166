"""From a model and annotated people to joints in source pixels."""

import concurrent.futures
import dataclasses
import inspect
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import HeatmapCodec, codec_of
from keras_hourglass.data.load import open_image
from keras_hourglass.data.mixture import match_joints
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError, checks_arguments, refuse_unknown
from keras_hourglass.geometry import apply_affine, crop_affine, invert_affine
from keras_hourglass.inference.runner import HeatmapRunner
from keras_hourglass.io.images import warp
from keras_hourglass.metrics import normalized_distances
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Path


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

    def of_joints(self, skeleton: Skeleton) -> "Predictions":
        """The same people with the joints of another skeleton, all of which must be there."""
        own = self.records.skeleton
        order = [own.index(joint) for joint in skeleton.joints]
        return dataclasses.replace(
            self,
            records=match_joints(self.records, skeleton),
            keypoints=self.keypoints[:, :, order],
            scores=self.scores[:, :, order],
            heatmap_means=self.heatmap_means[:, :, order],
        )


@checks_arguments
class RecordHeatmaps:
    """Merged heatmaps of annotated people, who are cut out in threads while the network runs.

    Args:
        model: a `StackedHourglass`.
        records: `PoseRecords`; joints that the model does not predict are left out.
        flip: average with the mirrored crop, as the paper does at test time; not done where the
            joints' sides are not known (`Skeleton.mirrors`).
        scales: factors on the side of the person box whose heatmaps are averaged.
        stacks: names of the wanted outputs; all stacks by default.
        batch_size: people per run of the network.
        workers: threads that read and crop.
        engine: what runs the network, see `inference.engines`.

    Attributes:
        runner: the `HeatmapRunner`.
        records: the `PoseRecords` in the model's joint order.
        failures: path of each picture that could not be read so far -> reason.
        seconds: spent in the network and in merging so far.

    Raises:
        UserError: if model and data have no joint in common, or an argument is out of range.

    Example:

    >>> people = RecordHeatmaps(model, records, flip=False)  # doctest: +SKIP
    >>> for numbers, matrices, heatmaps in people.run():  # doctest: +SKIP
    ...     print(numbers, heatmaps["stack_1"].shape)
    """

    def __init__(
        self,
        model: Any,
        records: PoseRecords,
        flip: bool = True,
        scales: Sequence[float] = (1.0,),
        stacks: Sequence[str] | None = None,
        batch_size: int = 16,
        workers: int = 2,
        engine: Path | Callable = "fastest",
    ):
        skeleton = model.skeleton or records.skeleton
        if skeleton.num_joints != model.num_keypoints:
            raise UserError(
                f"The model predicts {model.num_keypoints} joints and does not name them, so they "
                f"must be those of the data. Received: {skeleton.num_joints} joints. Name them "
                "when loading the model: skeleton=…"
            )
        if workers < 1:
            raise UserError(f"The number of workers must be positive. Received: {workers}.")
        order = skeleton.flip_order if flip and skeleton.mirrors else None
        self.runner = HeatmapRunner(
            model, stacks, order, scales, batch_size, engine, spinning=False
        )
        self.records = match_joints(records, skeleton)
        self.workers, self.failures, self.seconds = workers, {}, 0.0

    def run(self, progress: Callable | None = None) -> Iterator:
        """Yield the heatmaps of one batch after another.

        Args:
            progress: called with the number of people done after each batch.

        Yields:
            `(people, matrices, heatmaps)`: indices `(n,)` into the records without those whose
            picture cannot be read, `(n, 2, 3)` maps from source to input pixels, and a dict from
            stack name to `(n, h, w, K)` float32 maps.
        """
        runner, count = self.runner, len(self.records)
        starts = range(0, count, runner.batch_size)
        with concurrent.futures.ThreadPoolExecutor(self.workers) as pool:

            def submit(start):
                people = range(start, min(start + runner.batch_size, count))
                return [(person, pool.submit(self._crop, person)) for person in people]

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
                    start = time.perf_counter()
                    heatmaps = runner(np.stack([scaled for _, scaled in crops]))
                    self.seconds += time.perf_counter() - start
                    yield np.array(people), matrices, heatmaps
                if progress is not None:
                    progress(len(jobs))

    def _crop(self, person):
        """The matrix of a person and `(scales, height, width, 3)` crops; `None` if unreadable."""
        records, size = self.records, self.runner.input_size
        path, box = records.images[person], records.boxes[person]
        try:
            image = open_image(path)
            matrices = [crop_affine(box, size, scale=scale) for scale in (1.0, *self.runner.scales)]
        except UserError as error:
            self.failures[path] = str(error)
            return None
        return matrices[0], np.stack([warp(image, matrix, size) for matrix in matrices[1:]])


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
        **options: `stacks`, `batch_size`, `workers`, `engine` of `RecordHeatmaps`.

    Returns:
        `Predictions`; people whose picture cannot be read are left out and listed in `failures`.

    Raises:
        DataError: if no picture can be read.
        UserError: if model and data have no joint in common, or an argument is out of range.

    Example:

    >>> predictions = predict_records(model, records, flip=False)  # doctest: +SKIP
    """
    refuse_unknown("predict_records", options, options_of(RecordHeatmaps, predict_records))
    people = RecordHeatmaps(model, records, flip, scales, **options)
    stacks = people.runner.outputs
    collector = Collector(codec_of(model, stacks[-1], decoder), stacks)
    people.runner.warm_up()
    for batch in people.run(progress):
        collector.add(*batch)
    return collector.predictions(people)


def options_of(*functions: Callable) -> tuple[str, ...]:
    """Names of all arguments that functions take between them, without model and records.

    Args:
        functions: functions or classes; what one of them takes by `**` does not count.

    Example:

    >>> options_of(predict_records)
    ('flip', 'decoder', 'scales', 'progress')
    """
    known: dict[str, None] = {}
    for function in functions:
        for name, parameter in inspect.signature(function).parameters.items():
            if parameter.kind is not parameter.VAR_KEYWORD and name not in ("model", "records"):
                known[name] = None
    return tuple(known)


class Collector:
    """Decodes batches of heatmaps and keeps only the joints.

    Args:
        codec: the `HeatmapCodec` that decodes.
        stacks: names of the stacks to keep.

    Example:

    >>> collector = Collector(codec, ("stack_1", "stack_2"))  # doctest: +SKIP
    >>> for batch in people.run():  # doctest: +SKIP
    ...     collector.add(*batch)
    """

    def __init__(self, codec: HeatmapCodec, stacks: Sequence[str]):
        self.codec, self.stacks = codec, tuple(stacks)
        self.people, self.columns, self.seconds = [], [], 0.0

    def add(
        self, people: np.ndarray, matrices: np.ndarray, heatmaps: dict[str, np.ndarray]
    ) -> None:
        """Decode what `RecordHeatmaps.run` yields."""
        start = time.perf_counter()
        back = invert_affine(matrices)
        batch = []
        for name in self.stacks:
            points, scores = self.codec.decode(heatmaps[name])
            batch.append((apply_affine(back, points), scores, heatmaps[name].mean(axis=(1, 2))))
        self.people.append(people)
        self.columns.append(batch)
        self.seconds += time.perf_counter() - start

    def predictions(self, people: RecordHeatmaps) -> Predictions:
        """All that was added, as `Predictions` of those of the people who were run.

        Raises:
            DataError: if that is nobody.
        """
        if not self.people:
            first = next(iter(people.failures.values()), "there is nobody in the data.")
            raise DataError(
                f"None of the {len(people.records)} people could be cropped. "
                f"The first reason: {first}"
            )
        numbers = np.concatenate(self.people)
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
            people.records.select(numbers),
            self.stacks,
            keypoints,
            scores,
            means,
            failures=dict(people.failures),
            milliseconds={
                "network": 1000 * people.seconds / len(numbers),
                "decode": 1000 * self.seconds / len(numbers),
            },
            settings={
                "flip": people.runner.mirrors,
                "decoder": self.codec.decoder,
                "scales": list(people.runner.scales),
            },
        )
