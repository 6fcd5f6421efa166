"""Data sets as a few large files: crops with a margin, ready to be read at disk speed.

Shards are ordinary TFRecords of `tf.train.Example`; `index.npz` beside them repeats the joints and
says where each JPEG lies, so that reading needs neither TensorFlow nor a pass over the data.
"""

import errno
import io
import json
import os
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from keras_hourglass.data.annotations import numbers
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.arrays import read_npz
from keras_hourglass.io.files import atomic_writes, hidden_mark, new_folder
from keras_hourglass.io.images import read_image
from keras_hourglass.io.structured import existing, one_line, read_json, reads
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Path

PREFIX = "tfrecords:"
_COLUMNS = ("boxes", "joints", "visibility", "reference", "weights")


def write_tfrecords(
    records: PoseRecords,
    folder: Path,
    size: int = 256,
    margin: float = 2.0,
    quality: int = 95,
    per_shard: int = 1024,
    overwrite: bool = False,
    open_image: Callable = read_image,
    progress: Callable = iter,
) -> tuple[int, dict]:
    """Write people as JPEG crops in sharded TFRecords.

    Args:
        records: `PoseRecords`.
        folder: the folder to make.
        size: pixels of the person box's side in the crops; smaller people are not enlarged.
        margin: side of a crop in person boxes; 2 is enough for any rotation with scaling by √2.
        quality: of the JPEGs, 1 to 100.
        per_shard: people per file.
        overwrite: accept a folder with content.
        open_image: turns an entry of `records.images` into an RGB picture.
        progress: wraps the list of people, e.g. `tqdm.tqdm`.

    Returns:
        `(number of people written, {path: reason} of pictures that could not be read)`.

    Raises:
        UserError: if an argument is out of range or the folder holds something already.
        DataError: if no picture could be read.

    Example:

    >>> write_tfrecords(records, "lsp_crops")  # doctest: +SKIP
    (1000, {})
    """
    if size < 8 or not 1 <= margin <= 8 or not 1 <= quality <= 100 or per_shard < 1:
        raise UserError(
            "TFRecords need size >= 8, margin 1 to 8, quality 1 to 100 and per_shard >= 1. "
            f"Received: {size}, {margin}, {quality}, {per_shard}."
        )
    folder = new_folder(folder, overwrite)
    columns = {name: [] for name in (*_COLUMNS, "ids", "shard", "offset", "length")}
    failures = {}
    people = progress(list(range(len(records))))
    with _Shards(folder, per_shard) as writer:
        for person in people:
            try:
                image = open_image(records.images[person])
            except DataError as error:
                failures[records.images[person]] = str(error)
                continue
            row, data = _crop(records, person, image, size, margin, quality)
            row["ids"] = records.ids[person]
            row["shard"], row["offset"], row["length"] = writer.write(_example(row, data), data)
            for name, value in row.items():
                columns[name].append(value)
        if not columns["ids"]:
            raise DataError("None of the pictures could be read, so nothing was written.")
        index = io.BytesIO()
        arrays: dict = {name: np.array(found) for name, found in columns.items()}
        np.savez_compressed(index, **arrays)
    content = {
        "skeleton": records.skeleton.to_dict(),
        "people": len(columns["ids"]),
        "shards": writer.names,
        "size": size,
        "margin": margin,
        "quality": quality,
    }
    files = {"dataset.json": json.dumps(content, indent=1), "index.npz": index.getvalue()}
    atomic_writes(folder, files)
    return len(columns["ids"]), failures


@reads("folder of TFRecords", "Convert the data again")
def read_tfrecords(folder: Path) -> PoseRecords:
    """Records of a folder that `write_tfrecords` made.

    Args:
        folder: the folder.

    Returns:
        `PoseRecords`; "source pixels" are those of the stored crops.

    Raises:
        DataError: if the folder is incomplete or damaged.

    Example:

    >>> len(read_tfrecords("lsp_crops"))  # doctest: +SKIP
    1000
    """
    folder = existing(folder, "folder of TFRecords")
    content = read_json(os.path.join(folder, "dataset.json"))
    index = existing(os.path.join(folder, "index.npz"))
    wanted = (*_COLUMNS, "ids", "shard", "offset", "length")
    skeleton = Skeleton.from_dict(content["skeleton"])
    shards = [os.path.join(folder, os.path.basename(name)) for name in content["shards"]]
    columns: dict[str, Any] = read_npz(index, wanted, "index")
    for path in shards:
        existing(path, "shard")
    places = ("shard", "offset", "length")
    place = [numbers(columns[name], (None,), name, index, np.inf) for name in places]
    if (
        not len(place[0])
        or not np.isfinite(place).all()
        or place[0].max() >= len(shards)
        or min(map(np.min, place)) < 0
    ):
        raise DataError(f"{index} does not fit {folder}. Convert the data again.")
    images = [
        f"{PREFIX}{shards[int(shard)]}@{int(offset)}+{int(length)}"
        for shard, offset, length in zip(*place, strict=True)
    ]
    return PoseRecords(
        skeleton,
        images=images,
        ids=columns["ids"],
        extra={"image_number": np.arange(1, len(images) + 1)},
        **{name: columns[name] for name in _COLUMNS},
    )


def stored_image(name: str) -> bytes:
    """The bytes of an entry of `read_tfrecords(...).images`.

    Args:
        name: the entry.

    Returns:
        `bytes` of a JPEG file.

    Raises:
        DataError: if the name or the shard cannot be read.

    Example:

    >>> data = stored_image(read_tfrecords("lsp_crops").images[0])  # doctest: +SKIP
    """
    path, _, place = name.removeprefix(PREFIX).rpartition("@")
    try:
        offset, length = (int(number) for number in place.split("+"))
        with open(existing(path, "shard"), "rb") as file:
            # An index may ask for any number.
            length = min(length, os.fstat(file.fileno()).st_size + 1)
            file.seek(offset)
            data = file.read(length)
    except (OSError, ValueError) as error:
        raise DataError(
            f"Cannot read {name}: {one_line(error)}. Convert the data again."
        ) from error
    if len(data) != length:
        raise DataError(f"The shard {path} is shorter than its index says. Convert again.")
    return data


def _crop(records, person, image, size, margin, quality):
    """A person's columns in the frame of the crop, and the crop's JPEG."""
    box = records.boxes[person]
    side = min(size, box[2])  # enlarging would add bytes but no information
    pixels = max(1, round(side * margin))
    matrix = crop_affine((*box[:2], box[2] * margin), (pixels, pixels))
    factor = float(np.hypot(*matrix[0, :2]))
    if factor < 0.5:
        # A bilinear warp looks at four pixels only; shrink smoothly first.
        shrunk = cv2.resize(image, None, fx=2 * factor, fy=2 * factor, interpolation=cv2.INTER_AREA)
        ratio = np.array([shrunk.shape[1] / image.shape[1], shrunk.shape[0] / image.shape[0]])
        inner = matrix.copy()
        inner[:, :2] = matrix[:, :2] / ratio
        inner[:, 2] += inner[:, :2] @ (0.5 - 0.5 * ratio)
        image, used = shrunk, inner
    else:
        used = matrix
    crop = cv2.warpAffine(image, used, (pixels, pixels), flags=cv2.INTER_LINEAR)
    crop = cv2.cvtColor(crop, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", crop, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])
    row = {
        "boxes": np.append(apply_affine(matrix, box[None, :2])[0], box[2] * factor),
        "joints": apply_affine(matrix, records.joints[person]),
        "visibility": records.visibility[person],
        "reference": records.reference[person] * factor,
        "weights": records.weights[person],
    }
    return row, data.tobytes()


def _example(row, data):
    """A serialized `tf.train.Example`."""
    import tensorflow as tf

    def floats(values):
        return tf.train.Feature(float_list=tf.train.FloatList(value=np.ravel(values)))

    def raw(value):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))

    visibility = tf.train.Int64List(value=row["visibility"].tolist())
    features = {
        "image": raw(data),
        "id": raw(row["ids"].encode()),
        "box": floats(row["boxes"]),
        "joints": floats(row["joints"]),
        "visibility": tf.train.Feature(int64_list=visibility),
        "weights": floats(row["weights"]),
        "reference": floats([row["reference"]]),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    return example.SerializeToString(deterministic=True)


class _Shards:
    """Writes examples to numbered files, which take their names when all are complete."""

    def __init__(self, folder, per_shard):
        self.folder, self.per_shard = folder, per_shard
        self.names, self.count = [], 0
        self.writer: Any = None
        self.mark = hidden_mark()

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self._close()
            if kind is None:
                self._publish()
        finally:
            for name in self.names:
                self._hidden(name).unlink(missing_ok=True)

    def _publish(self):
        # An older index must never be read with the new shards.
        (self.folder / "dataset.json").unlink(missing_ok=True)
        for name in self.names:
            os.replace(self._hidden(name), self.folder / name)

    def _hidden(self, name):
        return self.folder / f".{name.removesuffix('.tfrecord')}.{self.mark}.tfrecord"

    def write(self, example, data):
        """Shard number, offset and length of the JPEG within the file."""
        import tensorflow as tf

        if self.count % self.per_shard == 0:
            self._close()
            self.names.append(f"people-{len(self.names):05d}.tfrecord")
            self.writer = tf.io.TFRecordWriter(str(self._hidden(self.names[-1])))
            self.start = 0
        self.writer.write(example)
        # Each record: 8 bytes of length, 4 of checksum, the example, 4 of checksum.
        offset = self.start + 12 + example.index(data)
        self.start += 16 + len(example)
        self.count += 1
        return len(self.names) - 1, offset, len(data)

    def _close(self):
        if self.writer is None:
            return
        self.writer.close()
        self.writer = None
        path = self._hidden(self.names[-1])
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        if (size := path.stat().st_size) != self.start:
            message = f"Only {size:,} of {self.start:,} bytes could be written"
            raise OSError(errno.ENOSPC, message, str(self.folder / self.names[-1]))
