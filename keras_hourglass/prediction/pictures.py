"""Anything that holds pictures, as a stream: files, folders, arrays, videos, cameras."""

import dataclasses
import glob
import itertools
import logging
import os
import pathlib
import re

import numpy as np

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.download import download_picture, is_address
from keras_hourglass.io.structured import existing

_LOG = logging.getLogger("keras_hourglass")
PICTURE_SUFFIXES = {
    ".jpg", ".jpeg", ".jpe", ".jp2", ".png", ".bmp", ".webp", ".tif", ".tiff", ".ppm", ".pgm",
    ".pnm", ".avif", ".gif", ".heic", ".heif",
}  # fmt: skip
# Frames in a row that cannot be decoded, after which a video is at its end.
_LOST_IN_A_ROW = 250
VIDEO_SUFFIXES = {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv"}


@dataclasses.dataclass
class Picture:
    """One picture on its way to the network, not read yet.

    Args:
        name: path, address or what stands for it.
        source: path, address, bytes, RGB array or PIL image.
        frame: index of a video's frame, or `None`.
        seconds: when that frame is shown, from the start, or `None`.
    """

    name: str
    source: object = dataclasses.field(repr=False)
    frame: int | None = None
    seconds: float | None = None

    def read(self):
        """The picture as a `(height, width, 3)` uint8 RGB array.

        Raises:
            DataError: if it cannot be read.
        """
        if isinstance(self.source, DataError):
            raise self.source
        if isinstance(self.source, np.ndarray):
            return check_array(self.source, self.name)
        if hasattr(self.source, "getexif"):
            return _from_pil(self.source)
        from keras_hourglass.io.images import read_image

        source = self.source
        if is_address(source):
            source = download_picture(source)
        try:
            return read_image(source)
        except DataError as error:
            # Bytes do not know their name.
            raise DataError(str(error).replace("Received: bytes", f"Received: {self.name}")) from (
                error
            )

    @property
    def kept(self):
        """What a result keeps to paint on later: the source, unless that is an open PIL image."""
        lost = isinstance(self.source, DataError)
        return None if lost or is_address(self.source) else self.source


@dataclasses.dataclass
class Pictures:
    """A stream of pictures and what is known about it.

    Args:
        items: iterable of `Picture`s.
        count: their number, or `None` if unknown.
        kind: `"picture"`, `"list"`, `"folder"`, `"video"`, `"camera"` or `"stream"`.
        fps: frames per second of a video or camera.
        name: path or name of a video or camera.
        passed_over: of a folder, what lies there and is no picture; hidden files are not told.
    """

    items: object
    count: int | None
    kind: str
    fps: float | None = None
    name: str | None = None
    passed_over: tuple = ()

    def __iter__(self):
        return iter(self.items)


def open_pictures(source):
    """Find out what a source is and open it.

    Args:
        source: path of a picture, video or folder, a glob pattern, an https address, bytes of a
            file or an open file, an RGB array `(height, width, 3)` or `(N, height, width, 3)`, a
            PIL image, a camera's index, or an iterable of any of them. Opened `Pictures` are
            returned as they are.

    Returns:
        `Pictures`.

    Raises:
        UserError: if there is no picture or the type is unknown.
    """
    if isinstance(source, Pictures):
        return source
    if isinstance(source, bool) or source is None:
        raise UserError(_unknown(source))
    if isinstance(source, (int, np.integer)):
        return _open_video(int(source))
    if callable(getattr(source, "read", None)):
        # An open file, from the place where it stands.
        source = _content(source)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return Pictures([Picture("bytes", bytes(source))], 1, "picture")
    if isinstance(source, np.ndarray):
        if source.ndim == 4:
            items = [Picture(f"array[{index}]", array) for index, array in enumerate(source)]
            return Pictures(items, len(items), "list")
        check_array(source, "array")
        return Pictures([Picture("array", source)], 1, "picture")
    if hasattr(source, "getexif"):
        name = getattr(source, "filename", "") or "PIL image"
        return Pictures([Picture(os.fspath(name), source)], 1, "picture")
    if isinstance(source, (str, os.PathLike)):
        return _open_path(source)
    if isinstance(source, (list, tuple)):
        opened = [open_pictures(item) for item in source]
        counts = [part.count for part in opened]
        count = None if None in counts else sum(counts)
        return Pictures(itertools.chain.from_iterable(opened), count, "list")
    if hasattr(source, "__iter__"):
        return Pictures((item for part in source for item in open_pictures(part)), None, "stream")
    raise UserError(_unknown(source))


def _content(file):
    content = file.read()
    if not isinstance(content, (bytes, bytearray)):
        raise UserError(
            "An open file of a picture must be read as bytes. Received: one opened as text. "
            "Open it with mode 'rb'."
        )
    return content


def _unknown(source):
    return (
        "Pictures come from a path, folder, glob, address, bytes, RGB array, PIL image, video, "
        f"camera index, or an iterable of these. Received: {type(source).__name__}."
    )


def _open_path(source):
    text = os.fspath(source)
    if is_address(text):
        return Pictures([Picture(text, text)], 1, "picture")
    path = pathlib.Path(text)
    if path.is_dir():
        there = sorted(child for child in path.iterdir() if not child.name.startswith("."))
        found = [child for child in there if child.suffix.lower() in PICTURE_SUFFIXES]
        others = tuple(str(child) for child in there if child not in set(found))
        if not found:
            raise UserError(
                f"The folder holds no pictures ({', '.join(sorted(PICTURE_SUFFIXES))}). "
                f"Received: {text}. Name another folder."
            )
        items = [Picture(str(child), str(child)) for child in found]
        return Pictures(items, len(items), "folder", passed_over=others)
    if not path.exists() and glob.has_magic(text):
        found = sorted(glob.glob(text, recursive=True))
        if not found:
            raise UserError(f"The pattern matches no file. Received: {text}. Check its quotes.")
        return dataclasses.replace(open_pictures(found), kind="folder")
    if path.suffix.lower() in VIDEO_SUFFIXES and path.exists():
        return _open_video(text)
    # A missing file is reported when it is read, so that the rest of a list still comes.
    return Pictures([Picture(text, text)], 1, "picture")


def _open_video(source):
    """A video file or, for an integer, a camera."""
    import cv2

    if not isinstance(source, int):
        existing(source, "video")
    capture = open_capture(source)
    if not capture.isOpened():
        what = "camera" if isinstance(source, int) else "video"
        raise UserError(
            f"The {what} cannot be opened. Received: {source!r}. Check that it is there, "
            "readable and not in use."
        )
    camera = isinstance(source, int)
    _check_frames(capture, f"camera {source}" if camera else source)
    fps = capture.get(cv2.CAP_PROP_FPS)
    fps = fps if fps and np.isfinite(fps) and fps > 0 else 25.0
    count = capture.get(cv2.CAP_PROP_FRAME_COUNT)
    count = int(count) if np.isfinite(count) and count > 0 and not camera else None
    name = f"camera {source}" if camera else source
    kind = "camera" if camera else "video"
    return Pictures(_frames(capture, name, fps, count), count, kind, fps, name)


def open_capture(source):
    """OpenCV's reader of a video, which says nothing on the error stream of its own.

    FFmpeg prints whatever it finds wrong, and OpenCV's own reader of AVI prints bytes of the file
    as they are. Both look into the environment once, when the first video is opened; who has set
    these variables is obeyed. OpenCV 4 also tells of readers that are for something else.

    Args:
        source: path of a video, or a camera's index.

    Returns:
        A `cv2.VideoCapture`, perhaps not opened.
    """
    import cv2

    wanted = {"OPENCV_FFMPEG_LOGLEVEL": "-8"}
    if re.search(r"FFMPEG:\s+YES", cv2.getBuildInformation()):  # which reads AVI as well
        wanted["OPENCV_VIDEOIO_PRIORITY_CV_MJPEG"] = "0"
    wanted = {name: value for name, value in wanted.items() if name not in os.environ}
    os.environ.update(wanted)
    set_level = getattr(cv2, "setLogLevel", lambda level: level)  # OpenCV 5 has none
    level = set_level(0)
    try:
        return cv2.VideoCapture(source)
    finally:
        set_level(level)
        for name in wanted:
            os.environ.pop(name, None)  # another thread may have been here


def _check_frames(capture, name):
    """Refuse a video whose frames have more pixels than a picture may have."""
    import cv2

    from keras_hourglass.io.images import check_pixels

    edges = [capture.get(edge) for edge in (cv2.CAP_PROP_FRAME_HEIGHT, cv2.CAP_PROP_FRAME_WIDTH)]
    try:
        check_pixels([int(edge) if np.isfinite(edge) else 0 for edge in edges], name=str(name))
    except DataError:
        capture.release()
        raise


def _frames(capture, name, fps, count):
    """The frames of a video; those that cannot be decoded raise when they are read.

    How many there are is the container's word: at the end it may be wrong, so frames that are
    missing there are none.
    """
    import cv2

    lost, last = [], -1.0
    try:
        for index in itertools.count():
            there, frame = capture.read()
            seconds = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000 if count else np.nan
            # Containers without time stamps give none, or the same for all.
            seconds = seconds if np.isfinite(seconds) and seconds > last else (index / fps)
            seconds = round(max(seconds, last + 1e-3), 6)
            if not there:
                if count is None or index >= count or len(lost) == _LOST_IN_A_ROW:
                    _check_end(name, index - len(lost), count)
                    return
                error = DataError(
                    f"A frame of a video must be decodable. Received: frame {index} of {name}. "
                    "The others go on; repair or replace the video."
                )
                lost.append(Picture(name, error, index, seconds))
                continue
            yield from lost
            lost, last = [], seconds
            yield Picture(name, cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), index, seconds)
    finally:
        capture.release()


def _check_end(name, read, count):
    """Refuse a video without any frame; say of one that ends long before its announced end."""
    if not read:
        raise DataError(
            f"A video must hold frames that can be decoded. Received: {name}, which has none. "
            "Repair or replace it."
        )
    # The announced number is often an estimate.
    if count is not None and read < 0.9 * count - 1:
        _LOG.warning(
            "%s ends after %d of %d announced frames: it may be cut short.", name, read, count
        )


def check_array(array, name):
    """An RGB array as it must be.

    Raises:
        DataError: if its shape or type is another.
    """
    if array.ndim != 3 or array.shape[-1] != 3 or array.dtype != np.uint8 or 0 in array.shape:
        raise DataError(
            "A picture is a (height, width, 3) uint8 RGB array, 0-255. Received: "
            f"{name} with shape={array.shape}, dtype={array.dtype}. Convert it first."
        )
    return array


def _from_pil(picture):
    """A PIL image as an RGB array, turned the way its EXIF data say."""
    from keras_hourglass.io.images import from_pillow

    try:
        return from_pillow(picture)
    except Exception as error:  # its decoders share no type
        raise DataError(
            f"The PIL image cannot be decoded ({error}). Replace or leave out that picture."
        ) from error
