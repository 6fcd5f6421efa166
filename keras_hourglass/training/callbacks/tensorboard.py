"""TensorBoard files with scalars and pictures, on every backend and without TensorFlow."""

import os
import pathlib
import socket
import time

import cv2
import keras
import numpy as np

from keras_hourglass.inference.runner import HeatmapRunner
from keras_hourglass.io.files import atomic_write
from keras_hourglass.prediction.drawing import draw_poses, heatmap_sheet
from keras_hourglass.prediction.pose import Pose


class EventFile:
    """Appends summaries to a file by TensorBoard's record writer.

    Its `EventFileWriter` loads TensorFlow wherever that is installed, two seconds and 500 MB that a
    training by JAX or PyTorch does without, and writes in a thread, which ends in a traceback when
    the disk is full.

    Args:
        folder: where the file goes; made if missing.
    """

    def __init__(self, folder):
        from tensorboard.compat.proto import event_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        os.makedirs(folder, exist_ok=True)
        name = f"events.out.tfevents.{int(time.time())}.{socket.gethostname()}.{os.getpid()}"
        self._events = event_pb2
        self._file = open(os.path.join(folder, name), "ab")
        self._writer = RecordWriter(self._file)
        self._write(file_version="brain.Event:2")

    def scalars(self, step, values):
        """Write numbers by tag."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        entries = [Summary.Value(tag=tag, simple_value=value) for tag, value in values.items()]
        self._write(step=step, summary=Summary(value=entries))

    def images(self, step, pictures):
        """Write `(height, width, 3)` uint8 RGB pictures by tag."""
        from tensorboard.compat.proto.summary_pb2 import Summary

        entries = []
        for tag, picture in pictures.items():
            _, png = cv2.imencode(".png", np.ascontiguousarray(picture[..., ::-1]))
            height, width = picture.shape[:2]
            image = Summary.Image(
                height=height, width=width, colorspace=3, encoded_image_string=png.tobytes()
            )
            entries.append(Summary.Value(tag=tag, image=image))
        self._write(step=step, summary=Summary(value=entries))

    def _write(self, **fields):
        event = self._events.Event(wall_time=time.time(), **fields)
        self._writer.write(event.SerializeToString())
        self._file.flush()

    def close(self):
        """Finish the file."""
        self._file.close()


def forget_epochs(folder, epoch):
    """Take events of epochs that will be trained again out of TensorBoard's files.

    Args:
        folder: where TensorBoard looks.
        epoch: the first that is trained again.
    """
    from tensorboard.compat.proto import event_pb2

    for path in pathlib.Path(folder).glob("*/events.out.tfevents.*"):
        data, place, kept, events = path.read_bytes(), 0, [], 0
        # Each record: 8 bytes of length, 4 of checksum, the event, 4 of checksum.
        while place + 12 <= len(data):
            length = int.from_bytes(data[place : place + 8], "little")
            record = data[place : place + 16 + length]
            if len(record) < 16 + length:
                break  # of a killed process
            event = event_pb2.Event.FromString(record[12:-4])
            if event.file_version or event.step < epoch:
                kept.append(record)
                events += not event.file_version
            place += 16 + length
        if not events:
            path.unlink()
        elif sum(map(len, kept)) < len(data):
            atomic_write(path, b"".join(kept))


class Profile(keras.callbacks.Callback):
    """TensorFlow's profile of a few steps, for TensorBoard.

    Keras's own callback would write the epochs a second time.

    Args:
        folder: where TensorBoard looks.
        first, last: the steps, counted from 1 from the start of this process.
    """

    def __init__(self, folder, first, last):
        super().__init__()
        self.folder, self.first, self.last = folder, first, last
        self.step, self.runs = 0, False

    def on_train_batch_begin(self, batch, logs=None):
        import tensorflow as tf

        self.step += 1
        if self.step == self.first:
            tf.profiler.experimental.start(self.folder)
            self.runs = True

    def on_train_batch_end(self, batch, logs=None):
        if self.step >= self.last:
            self.close()

    def close(self):
        """Write what was measured."""
        import tensorflow as tf

        if self.runs:
            tf.profiler.experimental.stop()
        self.runs = False


class Board(keras.callbacks.Callback):
    """Scalars of every epoch, and what the network sees in a few people.

    The pictures show the crop with the predicted pose, and the last stack's heatmap of every
    joint; the people and their crops stay the same, so the slider shows them being learned.

    Args:
        folder: where TensorBoard looks.
        batches: a `PoseDataset`; its first `images` people are shown.
        averages: the `Averages` of the model.
        images: how many.
    """

    def __init__(self, folder, batches, averages, images=4):
        super().__init__()
        self.averages = averages
        self.folder, self.batches, self.images = folder, batches, images
        self.files, self.runner = {}, None

    def on_epoch_end(self, epoch, logs=None):
        # TensorBoard compares a value in training and validation if they share a tag.
        parts = {"train": {}, "validation": {}}
        for name, value in (logs or {}).items():
            part = "validation" if name.startswith("val_") else "train"
            if np.isfinite(value):
                parts[part][f"epoch_{name.removeprefix('val_')}"] = float(value)
        parts["train"]["learning_rate"] = float(
            keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
        )
        for part, values in parts.items():
            if values:
                self._file(part).scalars(epoch, values)
        if self.images:
            self._file("validation").images(epoch, self._pictures(epoch))

    def close(self):
        """Finish the files."""
        for file in self.files.values():
            file.close()
        self.files = {}

    def _file(self, part):
        if part not in self.files:
            self.files[part] = EventFile(os.path.join(self.folder, part))
        return self.files[part]

    def _pictures(self, epoch):
        model, batches = self.model, self.batches
        name = model.output_names[-1]
        count = min(self.images, len(batches.records))
        if self.runner is None:
            self.runner = HeatmapRunner(model, (name,), batch_size=count)
        crops = np.stack([batches.sample(person)[0] for person in range(count)])
        with self.averages.shown(epoch):
            maps = self.runner(crops)[name]
        joints, scores = batches.codec.decode(maps)
        height, width = model.input_size
        skeleton = batches.records.skeleton
        pictures = {}
        for person, crop in enumerate(crops):
            pose = Pose(joints[person], scores[person], (0, 0, width, height), skeleton)
            painted = draw_poses(crop, [pose])
            pictures[f"person_{person + 1}"] = heatmap_sheet(
                crop, maps[person], skeleton.joints, first=painted
            )
        return pictures
