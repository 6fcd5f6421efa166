"""Looking at a network while it trains: its log, accuracy in source pixels, warnings."""

import csv
import io
import logging
import pathlib

import keras
import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.errors import DataError
from keras_hourglass.geometry import apply_affine, crop_affine, invert_affine
from keras_hourglass.inference.runner import HeatmapRunner
from keras_hourglass.io.files import atomic_write
from keras_hourglass.metrics import (
    default_threshold,
    normalized_distances,
    normalizer_name,
    summarize,
)

_LOG = logging.getLogger("keras_hourglass")


def measure_source(model, runner, batches, threshold):
    """PCK of every stack on annotated people, in source pixels, without mirroring.

    Args:
        model: a `StackedHourglass`.
        runner: a `HeatmapRunner` of the model.
        batches: a `PoseDataset` without augmentation.
        threshold: largest correct distance in reference lengths.

    Returns:
        A dict stack name -> percent, over all counted joints.
    """
    records = batches.records
    codec = HeatmapCodec(model.input_size, model.stride, batches.codec.sigma)
    names = model.stack_names
    found = {name: np.full((len(records), model.num_keypoints, 2), np.nan) for name in names}
    for start in range(0, len(records), batches.batch_size):
        people = np.arange(start, min(start + batches.batch_size, len(records)))
        heatmaps = runner(np.stack([batches.sample(person)[0] for person in people]))
        for name in names:
            points, _ = codec.decode(heatmaps[name])
            back = np.stack(
                [invert_affine(crop_affine(records.boxes[p], model.input_size)) for p in people]
            )
            found[name][people] = apply_affine(back, points)
    readable = np.array([path not in batches.failures for path in records.images])
    result = {}
    for name in names:
        distances = normalized_distances(
            found[name], records.joints, records.visibility, records.reference
        )
        result[name] = summarize(distances[readable], records.skeleton, threshold).mean
    return result


class SourceValidation(keras.callbacks.Callback):
    """Add `val_NAME_source_pck` of every stack to the logs, a share from 0 to 1 as `pck` is.

    Args:
        batches: the validation `PoseDataset`.
        every: epochs between measurements; the logs of the others say nothing of it.
        averages: the `Averages` of the model.
    """

    def __init__(self, batches, every, averages):
        super().__init__()
        self.batches, self.every, self.averages, self.runner = batches, every, averages, None
        self.threshold = default_threshold(normalizer_name(batches.records))

    def on_epoch_end(self, epoch, logs=None):
        if (epoch + 1) % self.every and epoch + 1 != self.params["epochs"]:
            return
        if self.runner is None:
            self.runner = HeatmapRunner(self.model, batch_size=self.batches.batch_size)
        with self.averages.shown(epoch):
            values = measure_source(self.model, self.runner, self.batches, self.threshold)
        if logs is not None:
            logs.update({f"val_{name}_source_pck": value / 100 for name, value in values.items()})


class Log(keras.callbacks.Callback):
    """A row per epoch in a CSV file, `epoch` from 0 and everything that is logged.

    Keras's own `CSVLogger` takes its columns from the first epoch after each start. Here what was
    written keeps its column, what comes later (after a resume, or measured now and then) gets one
    of its own, and a cell without a value is empty.

    Args:
        path: the file; rows that it has stay.
    """

    def __init__(self, path):
        super().__init__()
        self.path = pathlib.Path(path)

    def on_epoch_end(self, epoch, logs=None):
        rows = []
        if self.path.exists():
            with open(self.path, newline="", encoding="utf-8") as file:
                rows = list(csv.DictReader(file))
        rows.append({"epoch": epoch, **{name: float(v) for name, v in (logs or {}).items()}})
        # A dict for its order: columns stay where they are.
        columns = list(dict.fromkeys(["epoch", *(name for row in rows for name in row)]))
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="", lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        atomic_write(self.path, text.getvalue())


class Warn(keras.callbacks.Callback):
    """Say so when a training goes wrong in a way that is known.

    Each warning comes once, in the first `epochs` epochs for maps that stay empty: with plain
    mean squared errors an empty map is a plateau that small networks leave late or never.

    Args:
        batches: crops to look at, a `PoseDataset`; its first batch is used.
        averages: the `Averages` of the model.
        epochs: how long to look for empty maps.
    """

    # Mean height of the maxima where joints are; a perfect map reaches 1.
    EMPTY = 0.05

    def __init__(self, batches, averages, epochs=5):
        super().__init__()
        self.batches, self.averages, self.epochs = batches, averages, epochs
        self.runner, self.told, self.apart = None, set(), 0

    def on_epoch_end(self, epoch, logs=None):
        logs = logs or {}
        if epoch < self.epochs:
            self._look_for_empty_maps(epoch)
        train, validation = logs.get("loss"), logs.get("val_loss")
        if train and validation:
            # One bad epoch is chance; statistics that lag behind stay bad.
            self.apart = self.apart + 1 if validation > 3 * train else 0
            if self.apart >= 2:
                self._tell(
                    "apart",
                    f"Epoch {epoch + 1}: the validation loss ({validation:.4g}) is more than three "
                    f"times the training loss ({train:.4g}). If it stays so, the moving statistics "
                    "of the batch normalisation do not fit (a larger batch or a lower rate helps), "
                    "or the two data sets differ: `keras-hourglass data show` them.",
                )

    def _look_for_empty_maps(self, epoch):
        model = self.model
        name = model.output_names[-1]
        crops, targets = self.batches.batch(0)
        if targets.ndim != 3:  # maps of boxes, of whose weights most people are a part
            return
        if self.runner is None:
            self.runner = HeatmapRunner(model, (name,), batch_size=len(crops))
        with self.averages.shown(epoch):
            peaks = self.runner(crops)[name].max(axis=(1, 2))
        there = (targets[..., 2] > 0) & (targets[..., 3] > 0)
        if there.any() and peaks[there].mean() < self.EMPTY:
            self._tell(
                "empty",
                f"Epoch {epoch + 1}: the network predicts almost empty heatmaps (mean height "
                f"{max(0.0, peaks[there].mean()):.3f} where joints are). It may leave this plateau "
                "by itself; more steps (a smaller batch), a higher optimizer.learning_rate, a "
                "larger optimizer.loss_scale or data.missing=ignore get it out sooner.",
            )

    def _tell(self, key, message):
        if key not in self.told:
            self.told.add(key)
            _LOG.warning(message)


class ReportFailures(keras.callbacks.Callback):
    """Count and name the pictures that could not be read, in the log and in `skipped.txt`.

    Args:
        out: the run's folder.
        batches: the `PoseDataset`s.
    """

    def __init__(self, out, *batches):
        super().__init__()
        self.out = out
        self.batches = [one for one in batches if one is not None]
        self.known = 0

    def on_epoch_end(self, epoch, logs=None):
        failures = {}
        for batches in self.batches:
            failures.update(batches.failures)
            if failures and set(batches.records.images) <= set(batches.failures):
                reason = next(iter(batches.failures.values()))
                raise DataError(f"None of the pictures can be read. The first reason: {reason}")
        if len(failures) > self.known:
            self.known = len(failures)
            lines = [f"{path}: {reason}" for path, reason in sorted(failures.items())]
            atomic_write(self.out / "skipped.txt", "\n".join(lines) + "\n")
            _LOG.warning(
                "%d unreadable pictures are skipped, the first is %s All are listed in %s.",
                len(failures),
                lines[0],
                self.out / "skipped.txt",
            )
