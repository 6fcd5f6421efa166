"""SLEAP's labels: `.slp` files and packages, read by the project's own library `sleap-io`.

Reference: https://io.sleap.ai. A file holds skeletons, videos (files, lists of pictures, or frames
inside the file itself) and the animals that somebody labelled in their frames.
"""

import functools
import os
import threading
from typing import Any

import numpy as np

from keras_hourglass.data.annotations import Tally, person_box
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.records import PoseRecords, unique_ids
from keras_hourglass.errors import DataError, UserError, optional
from keras_hourglass.io.arrays import open_hdf5
from keras_hourglass.io.structured import existing, one_line, reads
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import own_skeleton
from keras_hourglass.typing import Path

# Of an entry of `PoseRecords.images`: a frame of a video, or one that lies in the file of labels.
PREFIX = "sleap:"
_READING = threading.Lock()  # decoders of videos are not for several threads


@reads("file of SLEAP's labels", "Save it again")
def read_sleap(path: Path, images: Path | None = None, pairs: Any = None) -> PoseRecords:
    """Read the labelled frames of SLEAP.

    Args:
        path: a file `.slp`, with or without its frames.
        images: folder of the pictures or videos; by default where the file says, or near it.
        pairs: joints that mirror each other, as `skeletons.read_pairs` takes them, instead of the
            file's symmetries and the names.

    Returns:
        `PoseRecords` in source pixels, a row for each animal that somebody labelled. Points that
        are placed and visible count as visible, all others as not labelled. There are no boxes in
        these files: they are the joints' extent times 1.25, or the whole frame where only one spot
        is labelled. `images` are paths of pictures or `sleap:FILE@VIDEO/FRAME`, which
        `load.open_image` reads. `extra` holds `image_number`, `frame` and `rectangle`.

    Raises:
        UserError: if `sleap-io` is not installed.
        DataError: if the file cannot be read, has several skeletons in use, or holds nobody.

    Example:

    >>> read_sleap("flies.slp").images[0]  # doctest: +SKIP
    'sleap:/data/flies.slp@0/1203'
    """
    path = os.path.abspath(existing(path, "SLEAP file"))
    labels = _load(path)
    predicted = sum(len(frame.predicted_instances) for frame in labels.labeled_frames)
    if not any(frame.user_instances for frame in labels.labeled_frames):
        raise DataError(
            f"Nobody in {path} was labelled by hand. Received: {predicted} predictions. "
            "Correct some of them in SLEAP and save."
        )
    skeleton, nodes = _skeleton(labels, pairs, path)
    left_out, derived, rows, remarks = Tally(), Tally(), [], []
    sources = [_Source(path, number, video, images) for number, video in enumerate(labels.videos)]
    numbers, ids = {}, []
    for frame in labels.labeled_frames:
        video = labels.videos.index(frame.video)
        number = numbers.setdefault((video, int(frame.frame_idx)), len(numbers) + 1)
        image, size = sources[video].frame(int(frame.frame_idx))
        for instance in frame.user_instances:
            where = f"frame {frame.frame_idx} of video {video}"
            if instance.skeleton.node_names != nodes:
                left_out.add("another skeleton", where)
                continue
            points = np.array(instance.numpy(), np.float64)[:, :2]
            labelled = np.isfinite(points.sum(axis=1))
            if not labelled.any():
                left_out.add("no joints", where)
                continue
            joints = np.where(labelled[:, None], points, 0.0)
            visibility = np.where(labelled, 2, 0)
            box, rectangle = person_box(None, joints, visibility)
            if box is None:
                box, rectangle = person_box(None, joints, visibility, size)
                if box is None:
                    left_out.add("joints in one spot, and no frame of known size", where)
                    continue
                derived.add("joints in one spot: the box is the whole frame", where)
            ids.append(f"{video}/{frame.frame_idx}")
            rows.append((image, number, frame.frame_idx, joints, visibility, box, rectangle))
    if not rows:
        raise DataError(f"Nobody in {path} can be used ({left_out}). Correct the labels.")
    if predicted:
        remarks.append(f"{path}: {predicted} predictions are left aside, labels are read")
    image, number, frame, joints, visibility, box, rectangle = zip(*rows, strict=True)
    joints, visibility = np.stack(joints), np.stack(visibility)
    return PoseRecords(
        skeleton,
        images=image,
        boxes=np.stack(box),
        joints=joints,
        visibility=visibility,
        reference=reference_lengths(joints, visibility, skeleton, box),
        ids=unique_ids(ids),
        extra={
            "image_number": np.array(number),
            "frame": np.array(frame),
            "rectangle": np.stack(rectangle),
        },
        notes=left_out.lines(path, "animals left out ({})"),
        remarks=(*remarks, *derived.lines(path, "animals with {}")),
    )


def sleap_frame(name: str) -> np.ndarray:
    """The picture of an entry `sleap:FILE@VIDEO/FRAME` of `read_sleap(...).images`.

    Args:
        name: the entry.

    Returns:
        `(height, width, 3)` uint8 RGB.

    Raises:
        DataError: if the file or the video cannot be read.

    Example:

    >>> sleap_frame("sleap:flies.slp@0/1203").shape  # doctest: +SKIP
    (1024, 1024, 3)
    """
    file, source, place = _parts(name)
    try:
        video, frame = (int(number) for number in place.split("/"))
        with _READING:
            picture = np.asarray(_opened(file, video, source)[frame])
    # Decoders raise whatever a damaged video leads to.
    except Exception as error:
        raise DataError(f"Cannot read {name}: {one_line(error)}. Check the video.") from error
    if picture.dtype != np.uint8 or picture.ndim not in (2, 3):
        raise DataError(f"Frames are of 8 bits. Received: {picture.dtype} of {name}.")
    picture = picture.reshape(*picture.shape[:2], -1)
    return np.ascontiguousarray(np.broadcast_to(picture[..., :3], (*picture.shape[:2], 3)))


def frame_is_there(name: str) -> bool:
    """Whether the file that holds a frame is there, see `sleap_frame`."""
    file, source, _ = _parts(name)
    return os.path.isfile(source or file)


def _parts(name):
    """The file of labels, the video if it is another file, and `VIDEO/FRAME`."""
    path, _, place = name.removeprefix(PREFIX).rpartition("@")
    file, bar, source = path.partition("|")
    return file, source if bar else "", place


@functools.lru_cache(maxsize=16)
def _opened(file, video, source):
    """A video of a file of labels, ready to be read."""
    found = _load(file).videos[video]
    if source:
        found.replace_filename(source, open=False)
    found.open()
    return found


def _load(path):
    """The file's `Labels`, without opening videos, which may lie anywhere."""
    try:
        sleap_io = optional("sleap_io")
    except ImportError:
        raise UserError(
            "SLEAP's files are read by sleap-io, which is not installed. "
            'Install it with: pip install "keras_hourglass[sleap]"'
        ) from None
    with open_hdf5(path, "file of SLEAP's labels"):
        pass  # nothing in it lies in another file, or is more than it holds
    return sleap_io.load_slp(path, open_videos=False)


def _skeleton(labels, pairs, path):
    """The skeleton that most animals have, and the names of its nodes in the file."""
    used: dict = {}
    for frame in labels.labeled_frames:
        for instance in frame.user_instances:
            key = tuple(instance.skeleton.node_names)
            used.setdefault(key, [0, instance.skeleton])[0] += 1
    found = max(used.values(), key=lambda pair: pair[0])[1]
    names, table = list(found.node_names), pairs
    if table is None and found.symmetries:
        sides = [sorted(names.index(node.name) for node in pair.nodes) for pair in found.symmetries]
        table = [[names[left], names[right]] for left, right in sides]
    try:
        return own_skeleton(names, found.edge_inds, found.name or "animal", table), names
    except UserError as error:
        raise DataError(f"{path}: {error}") from error


class _Source:
    """Where the frames of a video are."""

    def __init__(self, path, number, video, images):
        self._path, self._number = path, number
        self._listed = video.filename if isinstance(video.filename, list) else None
        shape = video.shape
        self._size = None if shape is None else (float(shape[2]), float(shape[1]))
        inside = video.backend_metadata.get("has_embedded_images")
        names = self._listed or ([] if inside else [video.filename])
        self._paths = PicturePaths(path, images, names)
        self._source = None
        if self._listed is None and not inside:
            there = self._paths.find(video.filename)[0]
            self._source = there or os.path.join(self._paths.folder, _last(video.filename))

    def frame(self, frame):
        """The entry of `images` for a frame, and the frame's width and height, if known."""
        if self._listed is not None:
            name = self._listed[frame] if 0 <= frame < len(self._listed) else f"frame {frame}"
            path, _ = self._paths.find(name)
            return path or os.path.join(self._paths.folder, _last(name)), self._size
        source = f"|{self._source}" if self._source else ""
        return f"{PREFIX}{self._path}{source}@{self._number}/{frame}", self._size


def _last(name):
    """The last part of a path of any machine."""
    return str(name).replace("\\", "/").rsplit("/", 1)[-1]
