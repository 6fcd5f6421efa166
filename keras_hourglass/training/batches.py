"""The batches of a recipe: epochs of any length, shared among devices and processes."""

import os
import re
import sys
import zlib

import keras
import numpy as np

from keras_hourglass.codec import BoxCodec, HeatmapCodec
from keras_hourglass.data.load import is_own, is_scenes, load_records, load_scenes
from keras_hourglass.data.pipeline import CropDataset, PoseDataset, SceneDataset
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.training.distribution import Layout
from keras_hourglass.training.recipe import model_config

_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,3})?)\s*%\s*")
# Fewest steps of an epoch of `auto`.
_LEAST_STEPS = 25


class Batches(CropDataset):
    """A data set whose epochs may be cut shorter or longer than the data.

    Args:
        records, codec, **options: as for `CropDataset`.
        steps: batches per epoch; a pass over the data by default. The order of the people goes on
            from epoch to epoch, so everybody is seen equally often.
        layout: the `Layout`; every batch can be shared evenly among its devices, and each
            process loads its own share only.
    """

    def __init__(self, records, codec=None, steps=None, layout=None, **options):
        super().__init__(records, codec, **options)
        self.layout = layout or Layout()
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


def build_data(recipe, data_root=None, layout=None):
    """The batches to train on and to validate with.

    Args:
        recipe: a `Recipe`.
        data_root: folder that relative paths of data sets start from.
        layout: the `Layout` of the training.

    Returns:
        Two `Batches`; the second is `None` without `data.validation`.
    """
    data, training = recipe.data, recipe.training
    size = model_config(recipe)["input_shape"][:2]
    scenes = is_scenes(data.train)
    kind: type[Batches] = SceneBatches if scenes else JointBatches
    codec = BoxCodec(size) if scenes else HeatmapCodec(size, sigma=data.sigma, missing=data.missing)
    skeleton = recipe.model.get("skeleton")
    records = _records("train", data, data_root, scenes, skeleton)
    augmentation = recipe.augmentation.build()
    if not scenes and augmentation and augmentation.flip and not records.skeleton.mirrors:
        print(f"note: data.train: {records.skeleton.explain_mirroring()}", file=sys.stderr)
    share = held_out_share(data.validation)
    held_out = None
    if share:
        records, held_out = hold_out(records, share)
    elif data.validation is not None:
        held_out = _records("validation", data, data_root, scenes, records.skeleton)
    size, steps = _sizes(training, len(records), layout)
    shared = {"codec": codec, "batch_size": size, "cache": data.cache, "layout": layout}
    train = kind(
        records,
        steps=steps,
        augmentation=augmentation,
        shuffle=True,
        seed=training.seed,
        **shared,
    )
    return train, None if held_out is None else kind(held_out, **shared)


def fingerprints(records):
    """What tells whether annotations or pictures were changed, of each person or photograph.

    Args:
        records: `PoseRecords` or `SceneRecords`.

    Returns:
        A dict identifier -> text of the annotation's checksum and the picture's size in bytes.
    """
    sizes: dict = {}
    found = {}
    for row, (name, path) in enumerate(zip(records.ids, records.images, strict=True)):
        if path not in sizes:
            try:
                sizes[path] = os.path.getsize(path)
            except OSError:  # drawn when asked for, or a part of a larger file
                sizes[path] = 0
        columns = (records.boxes[row], records.joints[row])
        data = b"".join(np.round(np.asarray(one, np.float64), 3).tobytes() for one in columns)
        if isinstance(records, PoseRecords):
            data += np.asarray(records.visibility[row], np.int8).tobytes()
        found[f"{name}" if name not in found else f"{name}/{row}"] = (
            f"{zlib.crc32(data):08x}-{sizes[path]}"
        )
    return found


def held_out_share(spec):
    """The fraction that a validation set such as `20%` names, or `None` of any other."""
    found = _PERCENT.fullmatch(spec) if isinstance(spec, str) else None
    if not found:
        return None
    share = float(found[1]) / 100
    if not 0 < share < 1:
        raise RecipeError(
            f"data.validation: a share lies between 0 and 100 %. Received: {spec}. Try 20%."
        )
    return share


def hold_out(records, share):
    """Split a data set by pictures, the same way every time.

    Args:
        records: `PoseRecords` or `SceneRecords`.
        share: fraction of the pictures that is held out, evenly from all of them.

    Returns:
        Those to train on, and those held out: at least one picture each.

    Raises:
        RecipeError: if there is only one picture.
    """
    pictures = list(dict.fromkeys(records.images))
    if len(pictures) < 2:
        raise RecipeError(
            "data.validation: a share of the pictures needs two of them. Received: "
            f"{len(pictures)}. Name other pictures."
        )
    count = min(max(round(share * len(pictures)), 1), len(pictures) - 1)
    chosen = {pictures[int((index + 0.5) * len(pictures) / count)] for index in range(count)}
    held = np.array([path in chosen for path in records.images])
    return records.select(np.flatnonzero(~held)), records.select(np.flatnonzero(held))


def _sizes(training, people, layout):
    """Batch size and batches per epoch, `auto` decided by how many people there are.

    Small data need many small steps: with a batch of all of them an epoch is one step.
    """
    size, steps = training.batch_size, training.steps_per_epoch
    devices = 1 if layout is None else layout.devices
    if size == "auto":
        size = min(max(people // 10, 4), 16)
        size += -size % devices
    if steps == "auto":
        steps = max(-(-people // size), _LEAST_STEPS)
    if "auto" in (training.batch_size, training.steps_per_epoch):
        passes = "as many as there are" if steps is None else steps
        print(
            f"note: batches of {size} and {passes} of them in an epoch, for {people} people "
            "(training.batch_size, training.steps_per_epoch)",
            file=sys.stderr,
        )
    return size, steps


def _records(key, data, data_root, scenes, skeleton):
    """The people of a data set of the recipe; whatever is wrong with it, the key is named."""
    spec = getattr(data, key)
    try:
        if scenes:
            records = load_scenes(spec, data_root)
        else:
            # One of the two sets may be a published one, of which there is nothing to say.
            own = {"images": data.images, "pairs": data.pairs} if is_own(spec) else {}
            records = load_records(spec, data_root, skeleton=skeleton, **own)
    except UserError as error:
        raise type(error)(
            f"data.{key}: {error} Recipes take other data by --set data.{key}=KIND:PATH, whose "
            "path starts from --data-root."
        ) from error
    for note in (*records.remarks, *records.notes):
        print(f"note: data.{key}: {note}", file=sys.stderr)
    return records


def feed(batches, outputs, workers, first=None):
    """Batches in the form that `fit` takes on this backend.

    Args:
        batches: a `Batches`.
        outputs: names of the model's outputs, which all get the same targets.
        workers: threads that prepare batches.
        first: the epoch to begin with, followed by all others; `None` for a single pass.

    Returns:
        A `tf.data.Dataset`, or a `keras.utils.PyDataset` without TensorFlow.
    """
    batches.outputs = tuple(outputs)
    if keras.backend.backend() == "tensorflow":
        return batches.as_tf_dataset(first or 0, first is not None, workers)
    return batches.as_py_dataset(first or 0, workers)
