"""From pictures to poses: read, crop, run, mirror-average, decode."""

import collections
import concurrent.futures
import dataclasses

import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.engines import make_engine
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.geometry import apply_affine, boxes_from_xywh, crop_affine, invert_affine
from keras_hourglass.images import warp
from keras_hourglass.pictures import open_pictures
from keras_hourglass.pose import PRESENT_FROM, Pose, picture_to_dict
from keras_hourglass.rectangles import Rectangles
from keras_hourglass.skeletons import SKELETONS, Skeleton, get_skeleton


@dataclasses.dataclass
class PicturePoses:
    """The people of one picture.

    Args:
        name: path of the picture, or what stands for it.
        poses: list of `Pose`s; empty if nobody was found or the picture could not be read.
        image: `(height, width, 3)` RGB array, or `None` if it could not be read.
        frame: index within a video, or `None`.
        error: the `UserError` that kept the picture from being read, or `None`.
    """

    name: str
    poses: list
    image: np.ndarray | None = dataclasses.field(default=None, repr=False)
    frame: int | None = None
    error: Exception | None = None


@dataclasses.dataclass
class _Prepared:
    """A picture that has been read and cropped."""

    picture: object
    image: np.ndarray | None = None
    rectangles: np.ndarray | None = None
    matrices: np.ndarray | None = None
    crops: list = dataclasses.field(default_factory=list)
    error: Exception | None = None


class Predictor:
    """Predict the joints of people in pictures.

    Pictures are read and cropped in threads while the network runs, and people of several
    pictures share its batches.

    Args:
        model: a `StackedHourglass`, or the name or path of one.
        flip: average the heatmaps of each crop and of its mirror image, as the paper does.
        decoder: how heatmaps become joints, see `HeatmapCodec`.
        batch_size: people per run of the network (twice as many crops with `flip`).
        stack: which stack's heatmaps count, 1 to S; the last by default.
        engine: what runs the network, see `engines`.
        thresholds: least score of a present joint: one number, or a dict by joint name for
            those that differ; by default the model's own, or 0.2.
        skeleton: names the joints; by default the model's own, or, for a model without one, that
            of the package with as many joints.
        detector: finds people where no boxes are given: a name (see `detection`) or a callable
            from an RGB array to `(P, 4)` or, with scores, `(P, 5)` rectangles. Without one, the
            whole picture is the box.
        padding: factor by which given or found boxes grow about their centre; 1 takes them as
            they are. The whole picture never grows.
        heatmaps: keep the heatmaps in the poses.
        workers: threads that read and crop.

    Raises:
        UserError: if an argument is out of range.

    Example:

    >>> from keras_hourglass import StackedHourglass
    >>> model = StackedHourglass(
    ...     num_features=8, num_stacks=1, depth=2, input_shape=(32, 32, 3), skeleton="lsp"
    ... )
    >>> [pose] = Predictor(model)(np.zeros((40, 60, 3), np.uint8))
    >>> pose.box.tolist(), pose.keypoints.shape
    ([0.0, 0.0, 60.0, 40.0], (14, 2))
    """

    def __init__(
        self,
        model,
        flip=True,
        decoder="quarter",
        batch_size=8,
        stack=None,
        engine="keras",
        thresholds=None,
        skeleton=None,
        detector=None,
        padding=1.0,
        heatmaps=False,
        workers=2,
    ):
        if not hasattr(model, "input_shape"):
            from keras_hourglass.presets import load_model

            model = load_model(model)
        for name, value in (("batch_size", batch_size), ("workers", workers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"`{name}` must be a positive integer. Received: {value!r}.")
        if not (np.isscalar(padding) and np.isfinite(padding) and padding > 0):
            raise UserError(f"`padding` must be a positive number. Received: {padding!r}.")
        self.model = model
        self.output = _output_name(model, stack)
        self.flip, self.batch_size, self.padding = bool(flip), batch_size, float(padding)
        self.keep_heatmaps, self.workers = bool(heatmaps), workers
        self.input_size = tuple(model.input_shape[1:3])
        maps = model.output[self.output].shape
        self.skeleton = _find_skeleton(skeleton, model, maps[-1])
        sigma = getattr(model, "preprocessing", {}).get("sigma", 1.5)
        stride = self.input_size[0] // maps[1]
        self.codec = HeatmapCodec(self.input_size, stride, sigma, decoder)
        self.thresholds = _per_joint(thresholds, getattr(model, "thresholds", {}), self.skeleton)
        if isinstance(detector, str):
            from keras_hourglass.detection import make_detector

            detector = make_detector(detector)
        self.detector = detector
        self._engine = make_engine(engine, model, (self.output,))

    def __call__(self, source, boxes=None):
        """Predict everybody in a source.

        Args:
            source: path of a picture, video or folder, a glob pattern, an https address, bytes of
                a file, an RGB array, a PIL image, a camera's index, or an iterable of any.
            boxes: the people: `(4,)` or `(P, 4)` rectangles `x, y, w, h` in source pixels (a
                fifth column holds scores), the same in every picture; a dict of such by picture
                (path, or file name); or, for a list of pictures, one entry for each. By default
                the detector's findings, or the whole picture.

        Returns:
            A list of `Pose`s for a picture or a list of pictures; for a folder, a glob, a video,
            a camera or another iterable an iterator of `Pose`s, so that long inputs need no
            memory.

        Raises:
            DataError: if a picture cannot be read; see `stream` to go on.
            UserError: if the source holds no pictures, or a box is not one.
        """
        pictures = open_pictures(source)
        results = self._stream(pictures, Rectangles(boxes, pictures), "raise")
        poses = (pose for result in results for pose in result.poses)
        return list(poses) if pictures.kind in ("picture", "list") else poses

    def stream(self, source, boxes=None, on_error="raise"):
        """Predict picture by picture, in order and lazily.

        Args:
            source, boxes: as in a call; `source` may also be opened `Pictures`.
            on_error: `"raise"`, or `"keep"` to yield a result with its `error` for a picture that
                cannot be read and go on.

        Returns:
            An iterator of `PicturePoses`.
        """
        if on_error not in ("raise", "keep"):
            raise UserError(f"`on_error` must be 'raise' or 'keep'. Received: {on_error!r}.")
        pictures = open_pictures(source)
        return self._stream(pictures, Rectangles(boxes, pictures), on_error)

    def predict_crops(self, crops):
        """Heatmaps of crops, mirror-averaged if the predictor does that.

        Args:
            crops: `(N, H, W, 3)` uint8 RGB in input pixels.

        Returns:
            `(N, h, w, K)` float32 heatmaps of the chosen stack.
        """
        crops = np.asarray(crops)
        parts = []
        for start in range(0, len(crops), self.batch_size):
            part = crops[start : start + self.batch_size]
            batch = np.concatenate([part, part[:, :, ::-1]]) if self.flip else part
            maps = self._engine(batch)[self.output]
            if self.flip:
                order = self.skeleton.flip_order
                maps = self.codec.merge_flipped(maps[: len(part)], maps[len(part) :], order)
            parts.append(maps)
        return np.concatenate(parts) if len(parts) > 1 else parts[0]

    def to_dict(self, result):
        """A `PicturePoses` as the JSON document that `predict` writes."""
        return picture_to_dict(result.name, result.poses, self.skeleton)

    def _stream(self, pictures, rectangles, on_error):
        """Three things at once: threads read, one runs the network, the caller uses results."""
        readers = concurrent.futures.ThreadPoolExecutor(self.workers)
        network = concurrent.futures.ThreadPoolExecutor(1)
        try:
            running = None
            for group in self._groups(pictures, rectangles, readers):
                started = group, network.submit(self._run, group)
                if pictures.kind == "camera":  # a picture of now rather than throughput
                    yield from _finish(*started, on_error)
                    continue
                if running:
                    yield from _finish(*running, on_error)
                running = started
            if running:
                yield from _finish(*running, on_error)
        finally:
            readers.shutdown(cancel_futures=True)
            network.shutdown(cancel_futures=True)

    def _groups(self, pictures, rectangles, readers):
        """Whole pictures, in order, that together fill a batch."""
        ahead = 1 if pictures.kind == "camera" else 2 * self.batch_size
        waiting = collections.deque()
        group, people = [], 0
        source = enumerate(pictures)
        while True:
            while len(waiting) < ahead:
                index, picture = next(source, (None, None))
                if picture is None:
                    break
                waiting.append(readers.submit(self._prepare, picture, index, rectangles))
            if not waiting:
                break
            prepared = waiting.popleft().result()
            group.append(prepared)
            people += len(prepared.crops)
            # A camera shows every picture at once; a long row of pictures without anybody
            # should not pile up either.
            if people >= self.batch_size or len(group) >= ahead:
                yield group
                group, people = [], 0
        if group:
            yield group

    def _prepare(self, picture, index, rectangles):
        """Read a picture and cut out its people."""
        prepared = _Prepared(picture)
        try:
            prepared.image = image = picture.read()
            found = rectangles.of(picture, index)
            padding = self.padding
            if found is None and self.detector is not None:
                found = np.asarray(self.detector(image), np.float64)
                found = found if found.size else np.zeros((0, 4))
            if found is None:
                found, padding = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]]), 1.0
            squares = boxes_from_xywh(found[:, :4])
            squares[:, 2] *= padding
            _check_overlap(found, image, picture.name)
            prepared.rectangles = found
            prepared.matrices = [crop_affine(square, self.input_size) for square in squares]
            prepared.crops = [warp(image, matrix, self.input_size) for matrix in prepared.matrices]
        except UserError as error:
            prepared.error = error
        return prepared

    def _run(self, group):
        """Run the network on the people of some pictures and make their poses."""
        crops = [crop for prepared in group for crop in prepared.crops]
        if not crops:
            return [[] for _ in group]
        maps = self.predict_crops(np.stack(crops))
        points, scores = self.codec.decode(maps)
        results, person = [], 0
        for prepared in group:
            poses = []
            for rectangle, matrix in zip(
                prepared.rectangles if prepared.crops else (), prepared.matrices or (), strict=True
            ):
                poses.append(
                    self._pose(prepared, rectangle, matrix, points[person], scores[person])
                )
                if self.keep_heatmaps:
                    poses[-1].heatmaps = maps[person]
                person += 1
            results.append(poses)
        return results

    def _pose(self, prepared, rectangle, matrix, points, scores):
        return Pose(
            keypoints=apply_affine(invert_affine(matrix), points),
            scores=scores,
            box=rectangle[:4],
            skeleton=self.skeleton,
            present=scores >= self.thresholds,
            image=prepared.picture.name,
            picture=prepared.picture.kept,
            box_score=float(rectangle[4]) if len(rectangle) > 4 else None,
        )


def _finish(group, future, on_error):
    for prepared, poses in zip(group, future.result(), strict=True):
        if prepared.error is not None and on_error == "raise":
            raise prepared.error
        picture = prepared.picture
        yield PicturePoses(picture.name, poses, prepared.image, picture.frame, prepared.error)


def _check_overlap(rectangles, image, name):
    """Refuse boxes that show nothing of the picture."""
    low, high = rectangles[:, :2], rectangles[:, :2] + rectangles[:, 2:4]
    outside = (high <= 0).any(axis=1) | (low >= (image.shape[1], image.shape[0])).any(axis=1)
    if outside.any():
        raise DataError(
            f"A box must overlap its picture of {image.shape[1]}×{image.shape[0]}. Received: "
            f"{rectangles[outside][0, :4].tolist()} for {name}. Correct or leave out that box."
        )


def _output_name(model, stack):
    """The name of the wanted output, the last stack's by default."""
    stacks = [name for name in model.output if "stride" not in name]
    if stack is None:
        return stacks[-1]
    if f"stack_{stack}" not in stacks:
        raise UserError(
            f"The model has no such stack. Received: stack={stack}. "
            f"Choose one of {', '.join(name.removeprefix('stack_') for name in stacks)}."
        )
    return f"stack_{stack}"


def _find_skeleton(skeleton, model, joints):
    """The named skeleton, the model's, the package's with as many joints, or one without names."""
    found = skeleton if skeleton is not None else getattr(model, "skeleton", None)
    if found is None:
        known = [known for known in SKELETONS.values() if known.num_joints == joints]
        names = tuple(f"joint_{index}" for index in range(1, joints + 1))
        found = known[0] if known else Skeleton("unnamed", names)
    found = get_skeleton(found)
    if found.num_joints != joints:
        raise UserError(
            f"The model has {joints} joints. Received: the skeleton {found.name!r} with "
            f"{found.num_joints}. Pass the skeleton that it was trained on."
        )
    return found


def _per_joint(thresholds, own, skeleton):
    """`(K,)` least scores of present joints."""
    if thresholds is not None and not isinstance(thresholds, dict):
        if not np.isscalar(thresholds) or not np.isfinite(thresholds):
            raise UserError(
                f"`thresholds` is a number or a dict by joint name. Received: {thresholds!r}."
            )
        return np.full(skeleton.num_joints, float(thresholds))
    merged = {**own, **(thresholds or {})}
    for joint in thresholds or ():
        skeleton.index(joint)
    return np.array([float(merged.get(joint, PRESENT_FROM)) for joint in skeleton.joints])
