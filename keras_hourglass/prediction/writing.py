"""Predictions as files: overlays, heatmap sheets, JSON, CSV and videos."""

import concurrent.futures
import contextlib
import errno
import json
import os
import pathlib
import shutil

import cv2

from keras_hourglass.errors import UserError
from keras_hourglass.geometry import apply_affine
from keras_hourglass.io.files import atomic_path
from keras_hourglass.io.images import warp, write_image
from keras_hourglass.prediction.boxes import person_affines
from keras_hourglass.prediction.drawing import (
    draw_heatmap,
    draw_poses,
    heatmap_sheet,
    sheet_tile,
    tile_sheet,
)
from keras_hourglass.prediction.encoding import open_encoder
from keras_hourglass.prediction.pictures import open_capture
from keras_hourglass.prediction.pose import Pose

# Pictures whose files may be waiting to be written; more would fill the memory.
WAITING = 16
# Height that is drawn brightest at least, where maps are shown by their own.
FAINTEST = 0.1
# Pictures on a contact sheet; for more there are several sheets.
TILES = 64


class FileNames:
    """Names of output files: one stem per input, never two inputs with the same.

    Args:
        folder: the output folder.
        overwrite: allow files that exist already.
        sources: paths that are read, which no output may replace.
        taken: stems that are given away.
        hint: what else can be done about files that exist already.

    Attributes:
        keep: whether files that are all there already are those of their input; their stems are
            then in `kept`.
    """

    def __init__(self, folder, overwrite=False, sources=(), taken=(), hint=""):
        self.folder, self.overwrite, self._hint = pathlib.Path(folder), overwrite, hint
        self.keep, self.kept = False, set()
        self._sources = {os.path.realpath(source) for source in sources}
        self._taken = {stem.casefold() for stem in taken}

    def stem(self, name, suffixes):
        """The stem of an input's files.

        Args:
            name: path, address or other name of the input.
            suffixes: of the files that will be written, e.g. `(".png", ".json")`.

        Returns:
            `photo` for the first `photo.jpg`, `photo-2` for the next picture of that name.

        Raises:
            UserError: if a file exists and may not be overwritten.
        """
        wanted = pathlib.PurePath(str(name).split("?")[0]).stem or "picture"
        # Short enough for every file system with a suffix of ours, in bytes; what is no text in
        # the name (Linux takes any bytes) is left out.
        wanted = wanted.encode(errors="surrogatepass")[:180].decode(errors="ignore") or "picture"
        stem, number = wanted, 1
        while stem.casefold() in self._taken:
            number += 1
            stem = f"{wanted}-{number}"
        self._taken.add(stem.casefold())
        if self.keep and suffixes and all((self.folder / f"{stem}{s}").exists() for s in suffixes):
            self.kept.add(stem)
            return stem
        self._check(stem, suffixes)
        return stem

    def _check(self, stem, suffixes):
        for suffix in suffixes:
            path = self.folder / f"{stem}{suffix}"
            if os.path.realpath(path) in self._sources:
                raise UserError(
                    f"The output would replace an input. Received: {path}. Name another folder."
                )
            if path.exists() and not self.overwrite:
                raise UserError(
                    f"The file exists already. Received: {path}. "
                    f"Name another folder, or allow it with --overwrite.{self._hint}"
                )


class PictureWriter:
    """Write the files of single pictures in threads, while the network goes on.

    Args:
        folder: the output folder.
        skeleton: the `Skeleton` of the model.
        images, documents: write `<stem>.png`, `<stem>.json`.
        heatmaps: write `<stem>-heatmaps.png`, for further people `<stem>-heatmaps-2.png`, ….
        input_size: `(height, width)` of the crops, for the heatmap sheets.
        padding: of the predictor, for the heatmap sheets.
        threads: number of threads.
        sheet: write all pictures, small, on sheets `sheet.png`, `sheet-2.png`, ….
        drawing: options of `drawing.draw_poses`.
        done: called with result and stem when all files of a picture are there, from any thread.
    """

    def __init__(
        self, folder, skeleton, images=True, documents=True, heatmaps=False, input_size=None,
        padding=1.0, threads=2, sheet=None, drawing=None, done=None,
    ):  # fmt: skip
        self.folder, self.skeleton = pathlib.Path(folder), skeleton
        self.images, self.documents, self.heatmaps = images, documents, heatmaps
        self.input_size, self.padding = input_size, padding
        self._pool = concurrent.futures.ThreadPoolExecutor(threads)
        self.sheet, self.drawing, self._tiles, self._sheets = sheet, drawing or {}, [], 0
        self._waiting, self._done = [], done

    def __enter__(self):
        return self

    def __exit__(self, *error):
        """Finish what was handed over, also after an interruption."""
        self._pool.shutdown()
        for job in self._waiting:
            job.result()
        if self._tiles:
            self._write_sheet()

    def add(self, result, stem):
        """Hand over the `PicturePoses` of a picture; waits when too many are unwritten."""
        if self.sheet:
            self._tiles.append(sheet_tile(result, **self.drawing))
            if len(self._tiles) == TILES:
                self._write_sheet()
        self._waiting.append(self._pool.submit(self._write, result, stem))
        while len(self._waiting) > WAITING:
            self._waiting.pop(0).result()

    def _write_sheet(self):
        self._sheets += 1
        suffix = "" if self._sheets == 1 else f"-{self._sheets}"
        write_image(self.folder / f"{self.sheet}{suffix}.png", tile_sheet(self._tiles))
        self._tiles = []

    def _write(self, result, stem):
        if self.images:
            write_image(self.folder / f"{stem}.png", result.draw(**self.drawing))
        if self.heatmaps:
            for number, pose in enumerate(result.poses, start=1):
                suffix = "" if number == 1 else f"-{number}"
                sheet = pose_sheet(result.image, pose, self.input_size, self.padding)
                write_image(self.folder / f"{stem}-heatmaps{suffix}.png", sheet)
        if self.documents:
            result.save(self.folder / f"{stem}.json", overwrite=True)
        if self._done:
            self._done(result, stem)


def pose_sheet(image, pose, input_size, padding=1.0):
    """The heatmap sheet of a person: the crop with the pose, then one tile per joint.

    Args:
        image: `(height, width, 3)` uint8 RGB source picture.
        pose: a `Pose` with heatmaps.
        input_size: `(height, width)` of the crop in input pixels.
        padding: factor by which the box grew.

    Returns:
        RGB array, see `drawing.heatmap_sheet`.
    """
    crop, placed = _crop_with_pose(image, pose, input_size, padding)
    return heatmap_sheet(crop, pose.heatmaps, pose.names, first=draw_poses(crop, [placed]))


def heatmap_tiles(image, pose, input_size, padding=1.0):
    """The heatmaps of a person one by one, each by its own height, which its label says.

    Networks differ in how high their maps are: what shows little of one is sure of another.

    Args:
        image, pose, input_size, padding: as for `pose_sheet`.

    Returns:
        A list of `(label, (H, W, 3) uint8 RGB array)`: the crop with the pose, then each joint.
    """
    crop, placed = _crop_with_pose(image, pose, input_size, padding)
    tiles = [("input", draw_poses(crop, [placed]))]
    for index, (name, score) in enumerate(zip(pose.names, pose.scores, strict=True)):
        painted = draw_heatmap(crop, pose.heatmaps[..., index], max(float(score), FAINTEST))
        tiles.append((f"{name} {score:.2f}", painted))
    return tiles


def _crop_with_pose(image, pose, input_size, padding):
    """What the network saw, at twice its resolution for the reader's eye, and the pose in it."""
    size = tuple(2 * edge for edge in input_size)
    [matrix] = person_affines(pose.box[None], size, padding)
    crop = warp(image, matrix, size)
    placed = Pose(
        keypoints=apply_affine(matrix, pose.keypoints),
        scores=pose.scores,
        box=(0, 0, size[1], size[0]),
        skeleton=pose.skeleton,
        present=pose.present,
        thresholds=pose.thresholds,
    )
    return crop, placed


class VideoWriter:
    """A video of painted frames and the JSON of all its people.

    Both are written to hidden files first and take their names when the block ends, also when it
    was interrupted, so that what was done until then is kept. The video is opened again before, and
    its frames are counted: OpenCV says nothing of a disk that is full. If they are not all there,
    leaving the block raises an `OSError`, and an older video stays.

    Args:
        folder, stem: name the files `<stem>.mp4` and `<stem>.json`.
        name: name of the source.
        skeleton: the `Skeleton` of the model.
        fps: frames per second, kept from the source.
        video, document: which of the two to write.
        drawing: options of `drawing.draw_poses`.
    """

    def __init__(self, folder, stem, name, skeleton, fps, video=True, document=True, drawing=None):
        self._drawing = drawing or {}
        self._folder, self._stem, self._fps = pathlib.Path(folder), stem, fps
        self._want_video, self._want_document = video, document
        self._head = {"image": name, "keypoint_names": list(skeleton.joints), "fps": fps}
        self._video, self._document, self._shape, self._last = None, None, None, None
        self._started = False
        self.codec = None  # of the video, once there is one
        self._files, self._movie, self._frames = contextlib.ExitStack(), contextlib.ExitStack(), 0

    def __enter__(self):
        if self._want_document:
            path = self._files.enter_context(atomic_path(self._folder / f"{self._stem}.json"))
            self._document = self._files.enter_context(
                open(path, "w", encoding="utf-8", errors="backslashreplace")
            )
            self._document.write(json.dumps(self._head)[:-1] + ', "frames": [')
        return self

    def __exit__(self, *error):
        if self._document:
            self._document.write("]}\n")
        # Without the error: what was written so far is kept.
        try:
            self._movie.close()
        finally:
            self._files.close()

    def add(self, result):
        """Append the `PicturePoses` of a frame; one that is lost shows the frame before again."""
        if self._document:
            content = {"frame": result.frame, "seconds": result.seconds}
            content |= {"lost": True} if result.error is not None else {}
            content |= {"alone": True} if result.alone else {}
            content["people"] = [pose.to_dict() for pose in result.poses]
            start = "," if self._started else ""
            self._document.write(f"{start}\n{json.dumps(content, allow_nan=False)}")
            self._started = True
        if self._want_video:
            painted = self._last if result.error is not None else result.draw(**self._drawing)
            if painted is None:
                return  # the first frames are lost
            if self._video is None:
                self._open(painted.shape)
            if painted.shape != self._shape:  # a stream that changes its size
                painted = cv2.resize(painted, self._shape[1::-1], interpolation=cv2.INTER_AREA)
            self._video.write(painted)
            self._last = painted
            self._frames += 1

    def _check(self, path):
        """Refuse a video that does not hold every frame."""
        there = _count_frames(path)
        if there != self._frames:
            free = shutil.disk_usage(path.parent).free
            raise OSError(
                errno.ENOSPC,
                f"Only {there} of {self._frames} frames could be written; {free >> 20} MB are free "
                "on that disk",
                str(self._folder / f"{self._stem}.mp4"),
            )

    def _open(self, shape):
        path = self._movie.enter_context(atomic_path(self._folder / f"{self._stem}.mp4"))
        self._movie.callback(self._check, path)
        self._video, self._shape = open_encoder(path, shape[1::-1], self._fps), shape
        self._movie.callback(self._video.close)
        self.codec = self._video.codec


def _count_frames(path):
    """The frames that can be read of a video; none of a file that is no video."""
    capture, count = open_capture(str(path)), 0
    try:
        while capture.grab():
            count += 1
    finally:
        capture.release()
    return count
