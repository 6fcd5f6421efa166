"""The data of a recipe, and how their batches reach `fit`."""

import contextlib
import os
import re
import zlib
from typing import NamedTuple

import keras
import numpy as np

from keras_hourglass.codec import BoxCodec, HeatmapCodec
from keras_hourglass.data.epochs import Batches, JointBatches, SceneBatches
from keras_hourglass.data.load import is_own, is_scenes, load_records, load_scenes
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.workers import WorkerProcesses, can_start
from keras_hourglass.errors import RecipeError, UserError, note
from keras_hourglass.hardware import cores
from keras_hourglass.training.recipe import model_config
from keras_hourglass.training.teacher import look_over

_PERCENT = re.compile(r"\s*(\d{1,3}(?:\.\d{1,3})?)\s*%\s*")
# Fewest steps of an epoch of `auto`.
_LEAST_STEPS = 25
# Up to so many processors, threads are as fast as processes and need less memory.
_FEW_CORES = 4
# Most processes of `auto`: 250 samples a second from each keep any one accelerator busy.
_MOST_PROCESSES = 16


def build_data(recipe, data_root=None, layout=None, folder=None):
    """The batches to train on and to validate with.

    Args:
        recipe: a `Recipe`.
        data_root: folder that relative paths of data sets start from.
        layout: the `Layout` of the training.
        folder: where the answers of a teacher are kept.

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
        note(f"data.train: {records.skeleton.explain_mirroring()}")
    share = held_out_share(data.validation)
    held_out = None
    if share:
        records, held_out = hold_out(records, share)
    elif data.validation is not None:
        held_out = _records("validation", data, data_root, scenes, records.skeleton)
    if not scenes:
        records = look_over(records, data, folder)
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
        note(
            f"batches of {size} and {passes} of them in an epoch, for {people} people "
            "(training.batch_size, training.steps_per_epoch)"
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
    for line in (*records.remarks, *records.notes):
        note(f"data.{key}: {line}")
    return records


class Feeder:
    """Hands batches to `fit`, prepared by threads or processes as a recipe says; a context.

    Args:
        data: the `DataSection`.
        sets: the `Batches` there are, to train on and to validate with.

    Raises:
        RecipeError: if processes are asked for and cannot be had.
    """

    def __init__(self, data, *sets):
        self._sets = sets = [one for one in sets if one is not None]
        self.workers, self.processes = prepared_by(data, max(one.passes for one in sets)), None
        self._given = []
        if not self.workers.processes:
            return
        what = f"batches come from {self.workers.count} worker processes"
        try:
            self.processes = WorkerProcesses(sets, self.workers.count)
        except UserError as error:
            if data.worker_kind != "auto":
                raise RecipeError(f"data.worker_kind: {error}") from error
            what = f"batches come from threads: {error}"
        if "auto" in (data.workers, data.worker_kind):
            note(f"{what} (data.workers, data.worker_kind)")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self._given:
            one.close()
        if self.processes is not None:
            self.processes.close()
        # Or the next training of this process would have this one's pictures in memory, too.
        for one in self._sets:
            one.forget_pictures()

    def feed(self, batches, outputs, first=None):
        """Batches in the form that `fit` takes on this backend.

        Args:
            batches: a `Batches`.
            outputs: names of the model's outputs, which all get the same targets.
            first: the epoch to begin with, followed by all others; `None` for a single pass.

        Returns:
            A `tf.data.Dataset`, or a `keras.utils.PyDataset` without TensorFlow.
        """
        batches.outputs = tuple(outputs)
        by = {"workers": self.workers.count, "processes": self.processes or False}
        if keras.backend.backend() == "tensorflow":
            return batches.as_tf_dataset(first or 0, first is not None, **by)
        self._given.append(batches.as_py_dataset(first or 0, in_order=True, **by))
        return self._given[-1]

    @contextlib.contextmanager
    def plain_errors(self):
        """Raise what went wrong in a process, which TensorFlow wraps in errors of its own."""
        try:
            yield
        except Exception as error:
            failure = None if self.processes is None else self.processes.failure
            if failure is None or failure is error:
                raise
            raise failure from error


class Workers(NamedTuple):
    """How many batches are prepared at the same time, and whether by processes."""

    count: int
    processes: bool


def prepared_by(data, batches):
    """The `Workers` of a recipe, `auto` decided by the processors of this machine.

    Args:
        data: the `DataSection`.
        batches: how many there are in a pass over the data; no more processes are started.

    Example:

    >>> from keras_hourglass.training.recipe import DataSection
    >>> prepared_by(DataSection(workers=3, worker_kind="processes"), 40)
    Workers(count=3, processes=True)
    """
    count, kind, there = data.workers, data.worker_kind, cores()
    if kind == "auto":
        # Each process would have a cache of its own.
        few = there <= _FEW_CORES or data.cache or count == 0 or not can_start()
        kind = "threads" if few else "processes"
    processes = kind == "processes"
    if count == "auto":
        most = _MOST_PROCESSES if processes or data.cache else 2
        count = max(2, min(there - 1, most))
    if processes:
        count = min(count, batches)
    return Workers(count, processes and count > 0)
