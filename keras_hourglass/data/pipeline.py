"""From records to batches: one sample function, fed to `fit` in two forms."""

import abc
import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import BOX_MAPS, BoxCodec, HeatmapCodec
from keras_hourglass.data.augment import (
    Augmentation,
    Transform,
    apply_gains,
    erase,
    half_body_box,
    motion_blur,
)
from keras_hourglass.data.load import open_reduced
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.scenes import SceneRecords
from keras_hourglass.data.workers import WorkerProcesses
from keras_hourglass.errors import DataError, UserError, checks_arguments
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.images import paste_scaled, warp
from keras_hourglass.typing import Array

# Share of photographs that show somebody's surroundings; the others may show any part of them.
_AT_PEOPLE = 0.6


@checks_arguments
class CropDataset(abc.ABC):
    """Batches of inputs and targets; what is shown and asked for is up to the kinds below.

    Every input is a function of `(seed, epoch, place in the records)` alone, so the batches are the
    same on any number of workers and after a resume.

    Args:
        records: what to show, with a length and `images`.
        codec: fixes the size of inputs and makes targets.
        batch_size: inputs per batch.
        augmentation: an `Augmentation`, or `None` for plain inputs in order.
        shuffle: draw a new order every epoch; by default where there is an augmentation.
        seed: of order and augmentation.
        drop_last: leave out a last batch that is smaller than the others.
        outputs: names of the model outputs that get the targets.
        cache: keep decoded pictures in memory.

    Raises:
        UserError: if there is nothing to show, or `batch_size` is not positive.

    Example:

    >>> [kind.__name__ for kind in CropDataset.__subclasses__()][:1]
    ['PoseDataset']
    """

    def __init__(
        self,
        records: Any,
        codec: Any,
        batch_size: int = 16,
        augmentation: Augmentation | None = None,
        shuffle: bool | None = None,
        seed: int = 0,
        drop_last: bool | None = None,
        outputs: Sequence[str] = ("stack_1",),
        cache: bool = False,
    ):
        if not len(records):
            raise UserError("At least one annotated person is needed. Received: none.")
        if batch_size < 1:
            raise UserError(f"`batch_size` must be positive. Received: {batch_size}.")
        self.records, self.codec = records, codec
        self.batch_size = min(batch_size, len(records))
        self.augmentation, self.seed = augmentation, seed
        self.shuffle = augmentation is not None if shuffle is None else shuffle
        self.drop_last = self.shuffle if drop_last is None else drop_last
        self.outputs = tuple(outputs)
        self.failures = {}
        self._cache = {} if cache else None
        self._orders = {}

    def __getstate__(self):
        """What another process needs to make the same batches."""
        kept = {"_cache": None if self._cache is None else {}, "_orders": {}, "failures": {}}
        return {**self.__dict__, **kept}

    @property
    def largest(self) -> int:
        """Inputs in the largest batch."""
        return self.batch_size

    def __len__(self):
        whole, rest = divmod(len(self.records), self.batch_size)
        return whole if self.drop_last else whole + bool(rest)

    def order(self, epoch: int) -> np.ndarray:
        """The people of an epoch in the order they are shown."""
        count = len(self.records)
        if not self.shuffle:
            return np.arange(count)
        order = self._orders.get(epoch)
        if order is None:
            order = np.random.default_rng([self.seed, epoch]).permutation(count)
            # Two are enough: threads work at most on two epochs at a time.
            self._orders = {**dict(list(self._orders.items())[-1:]), epoch: order}
        return order

    @property
    @abc.abstractmethod
    def target_shape(self) -> tuple:
        """Shape of the targets of one input."""

    @abc.abstractmethod
    def sample(self, person: int, epoch: int = 0, out: np.ndarray | None = None) -> tuple:
        """The input of one place in the records and what `targets` makes targets of."""

    @abc.abstractmethod
    def targets(self, *labels: Any) -> np.ndarray:
        """The targets of samples, `(n, *target_shape)` float32."""

    @staticmethod
    @abc.abstractmethod
    def weigh(targets: np.ndarray, factor: float) -> None:
        """Multiply the weights of targets in place."""

    def samples(self, people: Sequence[int] | np.ndarray, epoch: int = 0) -> tuple:
        """Several samples as arrays.

        Args:
            people: n indices into the records.
            epoch: picks the augmentation.

        Returns:
            `(n, height, width, 3)` uint8 inputs, and what else `sample` returns, stacked.
        """
        crops = np.empty((len(people), *self.codec.input_size, 3), np.uint8)
        rows = [self.sample(person, epoch, out) for person, out in zip(people, crops, strict=True)]
        _, *columns = zip(*rows, strict=True)
        return crops, *(np.stack(column) for column in columns)

    def _image(self, path, reduction):
        """A picture and the divisor of its size."""
        cache = self._cache  # which another thread may forget meanwhile
        if cache is not None and path in cache:
            return cache[path], 1
        if path in self.failures:
            return None, 1
        try:
            image, reduction = open_reduced(path, 1 if cache is not None else reduction)
        except DataError as error:
            self.failures[path] = str(error)
            return None, 1
        if cache is not None:
            cache[path] = image
        return image, reduction

    def forget_pictures(self) -> None:
        """Let go of the pictures in memory; who is asked for again is read again.

        TensorFlow keeps whatever a `tf.data.Dataset` calls until `keras.backend.clear_session()`.
        """
        if self._cache is not None:
            self._cache = {}

    def batch(self, step: int, epoch: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """One batch.

        Args:
            step: number of the batch within the epoch.
            epoch: number of the epoch.

        Returns:
            `(n, height, width, 3)` uint8 inputs and `(n, *target_shape)` float32 targets.
        """
        people = self.order(epoch)[step * self.batch_size : (step + 1) * self.batch_size]
        crops, *labels = self.samples(people, epoch)
        return crops, self.targets(*labels)

    def answers(self, targets: Any) -> Any:
        """Targets in the form the model's outputs want them."""
        return dict.fromkeys(self.outputs, targets)

    def made_by(
        self, workers: int, processes: bool | WorkerProcesses = False
    ) -> tuple[Callable, int]:
        """What makes the batches: this data set itself, or processes.

        Args:
            workers: batches prepared at the same time, 0 for none in the background.
            processes: as for `as_tf_dataset`.

        Returns:
            A function of step and epoch, for any thread, and how many threads should call it.
        """
        if not workers or not processes:
            return self.batch, workers
        if processes is True:
            processes = WorkerProcesses([self], workers)
        return functools.partial(processes.batch, self), processes.threads

    def as_tf_dataset(
        self,
        start_epoch: int = 0,
        endless: bool = True,
        workers: int = 2,
        start_step: int = 0,
        processes: bool | WorkerProcesses = False,
    ) -> Any:
        """A `tf.data.Dataset` of batches, prepared by `workers`, in a fixed order.

        Args:
            start_epoch: the epoch to begin with.
            endless: go on with the following epochs, for `fit(..., steps_per_epoch=len(self))`;
                otherwise one epoch.
            workers: batches prepared at the same time; 0 prepares each when it is asked for.
            start_step: the batch of that epoch to begin with, to go on in its middle.
            processes: whether workers are processes, for many cores, instead of threads; or the
                `WorkerProcesses` to use, whatever `workers` says.

        Returns:
            Dataset of `(crops, {output: targets})`, the same for any workers.
        """
        import tensorflow as tf

        steps = len(self)
        first = start_epoch * steps + start_step
        last = tf.int64.max if endless else (start_epoch + 1) * steps
        make, threads = self.made_by(workers, processes)

        def load(number):
            return make(int(number % steps), int(number // steps))

        height, width = self.codec.input_size

        def prepare(number):
            crops, targets = tf.numpy_function(load, [number], (tf.uint8, tf.float32))
            size = self.batch_size if self.drop_last else None
            crops.set_shape((size, height, width, 3))
            targets.set_shape((size, *self.target_shape))
            return crops, targets

        at_once = {"num_parallel_calls": threads, "deterministic": True} if threads else {}
        dataset = tf.data.Dataset.range(first, last).map(prepare, **at_once)
        dataset = dataset.map(self._tf_answers)
        if not threads:
            return dataset
        if processes:
            # Those who wait for a process must not take the threads that the network computes in.
            options = tf.data.Options()
            options.threading.private_threadpool_size = threads + 1
            dataset = dataset.with_options(options)
        return dataset.prefetch(2)

    def _tf_answers(self, crops, targets):
        return crops, self.answers(targets)

    def as_py_dataset(
        self,
        start_epoch: int = 0,
        workers: int = 2,
        start_step: int = 0,
        processes: bool | WorkerProcesses = False,
        in_order: bool = False,
    ) -> Any:
        """A `keras.utils.PyDataset` of the same batches, for any backend.

        Args:
            start_epoch: the epoch to begin with.
            workers: batches prepared at the same time; 0 prepares each when it is asked for.
            start_step: the batch of that epoch to begin with; its epoch is shorter.
            processes: as for `as_tf_dataset`.
            in_order: the batches will be asked for one after the other, as by
                `fit(..., shuffle=False)`: those of the next epoch are begun in time, too.
        """
        from keras_hourglass.data.py_dataset import PoseBatches

        return PoseBatches(self, start_epoch, workers, start_step, processes, in_order)


class PoseDataset(CropDataset):
    """Batches of crops and targets of annotated people.

    Args:
        records: `PoseRecords`.
        codec: the `HeatmapCodec` that fixes sizes and targets.
        batch_size, augmentation, **options: as for `CropDataset`.
        heatmaps: yield ready heatmaps per stack name instead of compact targets, for plain
            `MeanSquaredError`.
        reduced: decode JPEGs that are much larger than the crop at 1/2, 1/4 or 1/8 of their
            size, never below the crop's own resolution; by default where there is an
            augmentation and no cache.

    Raises:
        UserError: if there is nobody to show, or `batch_size` is not positive.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> dataset = PoseDataset(synthetic_records(num=3, seed=1, size=64), batch_size=2)
    >>> crops, targets = dataset.batch(0)
    >>> len(dataset), crops.shape, targets.shape
    (2, (2, 256, 256, 3), (2, 14, 4))
    """

    def __init__(
        self,
        records: PoseRecords,
        codec: HeatmapCodec | None = None,
        batch_size: int = 16,
        augmentation: Augmentation | None = None,
        *,
        heatmaps: bool = False,
        reduced: bool | None = None,
        **options: Any,
    ):
        if augmentation is not None and not records.skeleton.mirrors:
            augmentation = dataclasses.replace(augmentation, flip=0.0)
        super().__init__(records, codec or HeatmapCodec(), batch_size, augmentation, **options)
        self.heatmaps = heatmaps
        cached = self._cache is not None
        self._reduced = augmentation is not None and not cached if reduced is None else reduced
        self._flip_order = list(records.skeleton.flip_order)

    @property
    def target_shape(self) -> tuple:
        """Shape of the targets of one person, see `HeatmapCodec.targets`."""
        return self.records.skeleton.num_joints, 4

    def targets(self, *labels: Array) -> np.ndarray:
        """The targets of samples: `(n, K, 4)` float32, see `HeatmapCodec.targets`."""
        return self.codec.targets(*labels)

    @staticmethod
    def weigh(targets: np.ndarray, factor: float) -> None:
        """Multiply the weights of targets in place."""
        targets[..., 3] *= factor

    def sample(self, person: int, epoch: int = 0, out: np.ndarray | None = None) -> tuple:
        """One crop and its joints.

        Args:
            person: index into the records.
            epoch: picks the augmentation.
            out: `(height, width, 3)` uint8 array to put the crop into, e.g. a row of a batch.

        Returns:
            `(height, width, 3)` uint8 crop, `(K, 2)` joints in input pixels, `(K,)` visibility
            and `(K,)` weights. A picture that cannot be read gives a black crop of weight 0 and
            is remembered in `failures`.
        """
        records, size = self.records, self.codec.input_size
        transform = Transform()
        if self.augmentation is not None:
            rng = np.random.default_rng([self.seed, epoch, person, 1])
            transform = self.augmentation.draw(rng)
        box = records.boxes[person]
        if transform.half is not None:
            box = half_body_box(
                box, records.joints[person], records.visibility[person], records.skeleton,
                transform.half,
            )  # fmt: skip
        matrix = crop_affine(box, size, transform.rotation, transform.flip, transform.scale)
        joints = apply_affine(matrix, records.joints[person])
        visibility, weights = records.visibility[person], records.weights[person]
        if transform.flip:
            order = self._flip_order
            joints, visibility, weights = joints[order], visibility[order], weights[order]
        crop = self._crop(records.images[person], matrix)
        if crop is None:
            crop, weights, transform = np.zeros((*size, 3), np.uint8), weights * 0, Transform()
        return recolour(crop, transform, out), joints, visibility, weights

    def _crop(self, path, matrix):
        """The picture resampled once into the input frame, `None` if it cannot be read."""
        wanted = 1
        if self._reduced:
            # Input pixels per source pixel: at 1/4 and below a quarter of the picture will do.
            factor = float(np.hypot(matrix[0, 0], matrix[0, 1]))
            wanted = next((r for r in (8, 4, 2) if factor * r <= 1), 1)
        image, reduction = self._image(path, wanted)
        if image is None:
            return None
        if reduction > 1:
            matrix = matrix.copy()
            matrix[:, 2] += matrix[:, :2].sum(axis=1) * ((reduction - 1) / 2)
            matrix[:, :2] *= reduction
        return warp(image, matrix, self.codec.input_size)

    def answers(self, targets: Any) -> Any:
        """Targets in the form the model's outputs want them."""
        return super().answers(self.codec.draw(targets) if self.heatmaps else targets)

    def _tf_answers(self, crops, targets):
        if not self.heatmaps:
            return super()._tf_answers(crops, targets)
        import tensorflow as tf

        maps = tf.numpy_function(
            lambda values: next(iter(self.answers(values).values())), [targets], tf.float32
        )
        maps.set_shape((crops.shape[0], *self.codec.heatmap_size, targets.shape[1]))
        return crops, dict.fromkeys(self.outputs, maps)


class SceneDataset(CropDataset):
    """Batches of photographs and of the maps that a network that finds people should answer.

    Without an augmentation every photograph is shown whole, fitted into the middle of the input;
    with one, at a random size and place, most often near somebody.

    Args:
        records: `SceneRecords`.
        codec: the `BoxCodec` that fixes sizes and maps.
        augmentation: an `Augmentation` without rotation and half bodies, or `None`.
        **options: as for `CropDataset`.

    Raises:
        UserError: if the augmentation would turn photographs, whose boxes would no longer fit.

    Example:

    >>> dataset = SceneDataset(load_scenes("boxes:train.json"))  # doctest: +SKIP
    >>> photographs, maps = dataset.batch(0)  # doctest: +SKIP
    >>> photographs.shape, maps.shape  # doctest: +SKIP
    ((16, 256, 256, 3), (16, 64, 64, 7))
    """

    def __init__(
        self,
        records: SceneRecords,
        codec: BoxCodec | None = None,
        augmentation: Augmentation | None = None,
        **options,
    ):
        drawn = augmentation
        if drawn is not None and (drawn.half_body or drawn.rotation * drawn.rotation_probability):
            raise UserError(
                "Photographs with boxes are neither turned nor cut to half bodies. Received: "
                f"rotation={drawn.rotation}, half_body={drawn.half_body}. "
                "In a recipe, set augmentation.preset to scenes."
            )
        super().__init__(records, codec or BoxCodec(), augmentation=augmentation, **options)

    @property
    def target_shape(self) -> tuple:
        """Shape of the maps of one photograph with their weights, see `BoxCodec.encode`."""
        return (*self.codec.heatmap_size, len(BOX_MAPS) + 2)

    def sample(self, person: int, epoch: int = 0, out: np.ndarray | None = None) -> tuple:
        """One photograph and its maps.

        Args:
            person: index into the records.
            epoch: picks the augmentation.
            out: `(height, width, 3)` uint8 array to put the input into.

        Returns:
            `(height, width, 3)` uint8 input and `(h, w, 7)` maps. A photograph that cannot be read
            gives a black input of weight 0 and is remembered in `failures`.
        """
        rng = np.random.default_rng([self.seed, epoch, person, 1])
        transform = self.augmentation.draw(rng) if self.augmentation else Transform()
        size = self.codec.input_size
        image, reduction = self._image(self.records.images[person], 1)
        if image is None:
            return recolour(np.zeros((*size, 3), np.uint8), Transform(), out), np.zeros(
                self.target_shape, np.float32
            )
        height, width = image.shape[:2]
        factor = min(size[0] / height, size[1] / width) / transform.scale
        boxes, ignored = self.records.boxes[person] / reduction, self.records.ignored[person]
        corner = self._corner(rng, factor, image.shape, boxes[~ignored])
        crop, factors = paste_scaled(image, factor, corner, size)
        boxes = boxes * np.tile(factors, 2)
        boxes[:, :2] += corner
        if transform.flip:
            crop = crop[:, ::-1]
            boxes[:, 0] = size[1] - boxes[:, 0] - boxes[:, 2]
        crop = recolour(np.ascontiguousarray(crop), transform, out)
        return crop, self.codec.encode(boxes, ignored)

    def _corner(self, rng, factor, shape, people):
        """Where the upper left corner of the scaled picture lies in the input, `(x, y)`."""
        size = np.array(self.codec.input_size[::-1])
        room = size - np.round(np.array(shape[1::-1]) * factor)  # negative: the picture is larger
        if self.augmentation is None:
            return np.floor(room / 2).astype(int)
        if len(people) and rng.random() < _AT_PEOPLE:
            box = people[rng.integers(len(people))]
            there = (box[:2] + box[2:] * rng.uniform(0, 1, 2)) * factor
            corner = rng.uniform(0.2, 0.8, 2) * size - there
        else:
            corner = rng.uniform(0, 1, 2) * room
        # No more of the surroundings than there must be.
        return np.round(np.clip(corner, np.minimum(room, 0), np.maximum(room, 0))).astype(int)

    def targets(self, *labels: np.ndarray) -> np.ndarray:
        """What the model's outputs are compared with: the maps as they are."""
        return labels[0]

    @staticmethod
    def weigh(targets: np.ndarray, factor: float) -> None:
        """Multiply the weights of targets in place."""
        targets[..., len(BOX_MAPS) :] *= factor


def recolour(crop: np.ndarray, transform: Transform, out: np.ndarray | None) -> np.ndarray:
    """What a transform does to the pixels of a crop, put into `out` without a further copy.

    Args:
        crop: `(height, width, 3)` uint8 RGB.
        transform: a `Transform`, of which flip, rotation and scale are someone else's.
        out: array of the same shape, or `None`.

    Returns:
        `out`, or a crop of its own.

    Example:

    >>> brighter = Transform(gains=(1.0, 1.5, 2.0))
    >>> recolour(np.full((1, 1, 3), 100, np.uint8), brighter, None).ravel().tolist()
    [100, 150, 200]
    """
    if transform.blur is not None:
        crop = motion_blur(crop, transform.blur)
    if transform.gains is not None:
        crop = apply_gains(crop, transform.gains, out)
    elif out is not None:
        out[:] = crop
        crop = out
    if transform.erased is not None:
        erase(crop, transform.erased)
    return crop
