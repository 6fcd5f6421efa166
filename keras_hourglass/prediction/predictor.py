"""From pictures to poses: read, crop, run, mirror-average, decode."""

import collections
import concurrent.futures
import contextlib
import dataclasses
import functools
import itertools
import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, overload

import numpy as np

from keras_hourglass.codec import codec_of, present_from
from keras_hourglass.errors import UserError, checks_arguments
from keras_hourglass.geometry import apply_affine, box_overlaps, invert_affine
from keras_hourglass.inference.engines import takes_snapshot
from keras_hourglass.inference.processes import PerProcess
from keras_hourglass.inference.runner import HeatmapRunner, with_named_outputs
from keras_hourglass.io.images import warp
from keras_hourglass.network.config import stack_name
from keras_hourglass.network.graph import Snapshot
from keras_hourglass.prediction.boxes import Rectangles, check_overlap, person_affines
from keras_hourglass.prediction.detection import make_detector, of_people
from keras_hourglass.prediction.merging import choose_people
from keras_hourglass.prediction.picture_poses import PicturePoses
from keras_hourglass.prediction.pictures import open_pictures
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.prediction.tracking import PoseTracker
from keras_hourglass.skeletons import Skeleton, skeleton_of
from keras_hourglass.typing import Array, Column, Path, is_number

# Batches whose crops and heatmaps are held at once, and people of a picture who are cut out beside
# the network; more of them wait.
_CROPS_AHEAD, _CROPS_OF_A_PICTURE = 4, 32
# Least mean score of somebody, in shares of the mean threshold of present joints and at most: in a
# box, where nine of ten skeletons that fit are above and nine of ten that do not below (COCO's
# people, three networks); in the whole picture, with 5 % of those that show nobody large.
_SURE, _MOST_SURE = 1.75, 0.2
_SURE_WHOLE, _MOST_SURE_WHOLE = 2.75, 0.35
# Up to so many boxes found, one person who fills the picture may be meant.
FEW = 2
# Share of a box, found or following somebody, within the other, from which both are one person's.
_SAME_BOX = 0.6


@checks_arguments
class Predictor:
    """Predict the joints of people in pictures.

    Pictures are read and cropped in threads while the network runs, and people of several
    pictures share its batches. In a forked child all threads are made anew.

    Args:
        model: a `StackedHourglass`, or another Keras model from crops to heatmaps, which runs
            itself, with the weights it has at each call; or the name, path or address of one, which
            starts sooner and runs faster: Keras is left out where another engine runs the network.
        flip: average the heatmaps of each crop and of its mirror image, as the paper does; not
            done where the joints' sides are not known (`Skeleton.mirrors`).
        decoder: how heatmaps become joints, see `HeatmapCodec`; by default as the model's
            `preprocessing` says, or `"quarter"`.
        batch_size: people per run of the network (twice as many crops with `flip`).
        stack: which stack's heatmaps count, 1 to S; the last by default.
        engine: what runs the network, see `inference.engines`. `"auto"` is the model itself or, of
            a name, `"fastest"`. All but `"keras"` keep the weights of the moment they were made:
            `engine="fastest"` of a model answers from them until `refresh` is called.
        thresholds: least score of a present joint: one number, or a dict by joint name for
            those that differ; by default the model's own, or 0.2.
        skeleton: names the joints; by default the model's own, or, for a model without one, that
            of the package with as many joints.
        detector: finds people where no boxes are given, see `detection.make_detector`: a name, a
            file or a callable. `"auto"` is the package's own where the joints are those of
            people; one person who fills the picture is found as well, and where nobody is, the
            whole picture is the box (`PicturePoses.alone`), of whom no joint is present where that
            is not somebody either. Of `None`, it always is.
        whole: the whole picture is the box where none are given.
        padding: factor by which given or found boxes grow about their centre; 1 takes them as
            they are. The whole picture never grows.
        heatmaps: keep the heatmaps in the poses.
        workers: threads that read and crop.
        spinning: whether threads of ONNX Runtime wait busily for their next operation. It answers
            one picture soonest; a folder goes faster without, since the threads that read it want
            the processors.

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
        model: Any,
        flip: bool = True,
        decoder: str | None = None,
        batch_size: int = 8,
        stack: int | None = None,
        engine: Path | Callable = "auto",
        thresholds: float | dict | None = None,
        skeleton: Skeleton | str | None = None,
        detector: str | Callable | None = "auto",
        padding: float = 1.0,
        heatmaps: bool = False,
        workers: int = 2,
        whole: bool = False,
        spinning: bool = True,
    ):
        self._arguments = {name: value for name, value in locals().items() if name != "self"}
        source = None if hasattr(model, "input_shape") else model
        model = model if source is None else _load(source, engine)
        for name, value in (("batch_size", batch_size), ("workers", workers)):
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise UserError(f"`{name}` must be a positive integer. Received: {value!r}.")
        if not (is_number(padding) and padding > 0):
            raise UserError(f"`padding` must be a positive number. Received: {padding!r}.")
        self._model, self._source, self._choice = model, source, engine
        if isinstance(model, Snapshot):
            self._model = None  # arrays that the engine has made its own
        model = with_named_outputs(model)
        known = model.graph if isinstance(model, Snapshot) else model
        self.output = stack_name(known.output, stack)
        self.batch_size, self.padding = batch_size, float(padding)
        self.keep_heatmaps, self.workers = bool(heatmaps), workers
        self.input_size = tuple(known.input_shape[1:3])
        skeleton = getattr(known, "skeleton", None) if skeleton is None else skeleton
        self.skeleton = skeleton_of(known.output[self.output].shape[-1], skeleton, mirrored=flip)
        self.flip = bool(flip) and self.skeleton.mirrors
        self.codec = codec_of(known, self.output, decoder)
        self.thresholds = present_from(self.skeleton, getattr(known, "thresholds", {}), thresholds)
        self.sure_from, self._whole_from = sure_from(self.thresholds)
        self._finder = _finder(detector, whole, self.skeleton, spinning)
        # Threads for as long as the predictor lives: TensorFlow and OpenCV keep up to a kilobyte
        # of every thread that they ever ran in. Detectors call the network from those that read.
        self._networks = PerProcess(lambda: concurrent.futures.ThreadPoolExecutor(1))
        self._reading = threading.local()
        self._reader_threads = PerProcess(
            lambda: concurrent.futures.ThreadPoolExecutor(
                workers, initializer=setattr, initargs=(self._reading, "here", True)
            )
        )
        order = self.skeleton.flip_order if self.skeleton.mirrors else None
        self._runner = HeatmapRunner(
            model, (self.output,), order, (1.0,), batch_size, engine, spinning=spinning
        )

    @property
    def _network(self):
        return self._networks()

    @property
    def _readers(self):
        return self._reader_threads()

    def __reduce__(self):
        """A predictor travels as what it was made by."""
        if hasattr(self._arguments["model"], "input_shape"):
            raise UserError(
                "A Predictor made by a name or a path can be pickled: it travels as that. "
                "Received: one made of a model in memory. Save the model and name its folder."
            )
        return functools.partial(type(self), **self._arguments), ()

    @property
    def model(self) -> Any:
        """The Keras model, built when it is first asked for; from then on, its weights count."""
        if self._source is not None:
            if self._model is None:
                self._model = _load(self._source, "keras")
            self._source = None
            self.refresh()
        return self._model

    @property
    def detector(self) -> Callable | None:
        """What finds people where no boxes are given; `None` where the whole picture is the box."""
        return self._finder.detector

    def refresh(self) -> None:
        """Take the weights anew, in an engine that keeps those of the moment it was made.

        They are taken from the model; where a path was given and `model` was never asked for, from
        there. The file of an exported network is read again. An engine of your own is left alone.

        Raises:
            UserError: if another network lies under the path now.

        Example:

        >>> from keras_hourglass import StackedHourglass
        >>> model = StackedHourglass(
        ...     num_features=8, num_stacks=1, depth=2, input_shape=(32, 32, 3), skeleton="lsp"
        ... )
        >>> predictor = Predictor(model, engine="fastest")
        >>> model.set_weights([0 * weights for weights in model.get_weights()])
        >>> predictor.refresh()
        >>> float(predictor.predict_crops(np.zeros((1, 32, 32, 3), np.uint8)).max())
        0.0
        """
        model = self._model
        if self._source is not None:
            model = _load(self._source, self._choice)
            self._model = None if isinstance(model, Snapshot) else model
        self._network.submit(self._runner.refresh, model).result()

    # A text mostly names one picture; of a folder or a film, too, the result is a row of poses.
    @overload
    def __call__(
        self, source: str | os.PathLike | bytes | np.ndarray, boxes: Any = None
    ) -> PicturePoses: ...

    @overload
    def __call__(self, source: list, boxes: Any = None) -> list[Pose]: ...

    @overload
    def __call__(self, source: Any, boxes: Any = None) -> Any: ...

    def __call__(
        self, source: Any, boxes: Any = None
    ) -> PicturePoses | list[Pose] | Iterator[Pose]:
        """Predict everybody in a source.

        Args:
            source: path of a picture, video or folder, a glob pattern, an https address, bytes of
                a file, an RGB array, a PIL image, a camera's index, or an iterable of any.
            boxes: the people: `(4,)` or `(P, 4)` rectangles `x, y, w, h` in source pixels (a
                fifth column holds scores), the same in every picture; a dict of such by picture
                (path, or file name); or, for a list of pictures, one entry for each. By default
                the detector's findings, or the whole picture, which is also the box of a picture
                that a dict or a list says nothing of.

        Returns:
            For a picture its `PicturePoses`, a sequence of `Pose`s; for a list of pictures a list
            of `Pose`s; for a folder, a glob, a video, a camera or another iterable an iterator of
            `Pose`s, so that long inputs need no memory.

        Raises:
            DataError: if a picture cannot be read; see `stream` to go on.
            UserError: if the source holds no pictures, or a box is not one.
        """
        pictures = open_pictures(source)
        results = self._stream(pictures, Rectangles(boxes, pictures), "raise")
        if pictures.kind == "picture":
            [result] = results
            return result
        poses = (pose for result in results for pose in result.poses)
        return list(poses) if pictures.kind == "list" else poses

    def stream(
        self, source: Any, boxes: Any = None, on_error: str = "raise"
    ) -> Iterator[PicturePoses]:
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

    def track(
        self,
        source: Any,
        boxes: Any = None,
        every: int = 1,
        smooth: bool = True,
        on_error: str = "raise",
    ) -> Iterator[PicturePoses]:
        """Follow the people of a video: each keeps its number, `Pose.id`, from frame to frame.

        Where people are looked for, that is done in every `every`-th frame; in all of them the
        boxes follow the joints of those who are known. Who is not sure has no number.

        Args:
            source: a video, a camera, or pictures that follow each other.
            boxes: as in a call; every frame is then predicted in these.
            every: frames from one look of the detector to the next.
            smooth: filter the joints over time (One-Euro).
            on_error: as in `stream`.

        Returns:
            An iterator of `PicturePoses`, in order.

        Raises:
            UserError: if `every` is not a positive integer.
        """
        if on_error not in ("raise", "keep"):
            raise UserError(f"`on_error` must be 'raise' or 'keep'. Received: {on_error!r}.")
        if isinstance(every, bool) or not isinstance(every, int) or every < 1:
            raise UserError(f"`every` must be a positive number of frames. Received: {every!r}.")
        pictures = open_pictures(source)
        rectangles = Rectangles(boxes, pictures)
        tracker = PoseTracker(pictures.fps or 25.0, smooth)
        if rectangles.given or self.detector is None:
            return _numbered(self._stream(pictures, rectangles, on_error), tracker)
        return self._follow(pictures, rectangles, every, tracker, on_error)

    def _follow(self, pictures, rectangles, every, tracker, on_error):
        """Frame after frame, since each needs the joints of the one before; the next is read."""
        cropper = _Cropper(rectangles, self._finder, self.input_size, self.padding)
        source = iter(pictures)
        waiting = self._readers.submit(next, source, None)
        try:
            whole = False  # nobody is known, and the whole picture stands for somebody
            for number in itertools.count():
                picture = waiting.result()
                if picture is None:
                    return
                waiting = self._readers.submit(next, source, None)
                look = number % every == 0
                prepared = cropper.follow(picture, number, look, tracker, whole, self._whole_from)
                [poses] = self._network.submit(self._run, [prepared]).result()
                result = self._result(prepared, poses, on_error)
                whole = result.alone if result.error is None else whole
                tracker(result.poses, result.seconds, looked=look)
                yield result
        finally:
            if not waiting.cancel():
                concurrent.futures.wait([waiting])
            if hasattr(source, "close"):
                source.close()

    def predict_crops(self, crops: Array, flip: bool | None = None) -> np.ndarray:
        """Heatmaps of crops.

        Args:
            crops: `(N, H, W, 3)` uint8 RGB in input pixels.
            flip: average with the mirrored crops; the predictor's own choice by default.

        Returns:
            `(N, h, w, K)` float32 heatmaps of the chosen stack.

        Raises:
            UserError: if the crops have another size.
        """
        return self._network.submit(self._heatmaps, crops, flip).result()

    def _heatmaps(self, crops, flip=None):
        return self._runner(crops, self.flip if flip is None else flip)[self.output]

    def _stream(self, pictures, rectangles, on_error):
        """Three things at once: threads read, one runs the network, the caller uses results."""
        # One picture gains nothing; a detector that calls the predictor must not wait for itself.
        alone = pictures.kind == "picture" or hasattr(self._reading, "here")
        cropper = _Cropper(rectangles, self._finder, self.input_size, self.padding)
        ready = _groups(pictures, cropper, _Here() if alone else self._readers, self.batch_size)
        running = started = None
        try:
            for group in ready:
                started = group, self._network.submit(self._run, group)
                if pictures.kind == "camera":  # a picture of now rather than throughput
                    yield from self._finish(*started, on_error)
                    continue
                if running:
                    yield from self._finish(*running, on_error)
                running = started
            if running:
                yield from self._finish(*running, on_error)
        finally:
            ready.close()
            if started and not started[1].cancel():
                concurrent.futures.wait([started[1]])

    def _run(self, group):
        """Run the network on the people of some pictures and make their poses."""
        people = [(one, place) for one in group for place in range(len(one.matrices))]
        poses, step = [], _CROPS_AHEAD * self.batch_size
        # Crops and heatmaps of a crowd, all at once, would fill the memory.
        for start in range(0, len(people), step):
            part = people[start : start + step]
            maps = self._heatmaps(
                np.stack([one.crop(place, self.input_size) for one, place in part])
            )
            points, scores = self.codec.decode(maps)
            for number, (one, place) in enumerate(part):
                kept = maps[number] if self.keep_heatmaps else None
                shown = one.rectangles[place], one.matrices[place]
                poses.append(self._pose(one, *shown, points[number], scores[number], kept))
        made = iter(poses)
        return [list(itertools.islice(made, len(one.matrices))) for one in group]

    def _finish(self, group, future, on_error):
        for prepared, poses in zip(group, future.result(), strict=True):
            yield self._result(prepared, poses, on_error)

    def _result(self, prepared, poses, on_error):
        """The people of a picture, of the skeletons in its boxes."""
        if prepared.error is not None and on_error == "raise":
            raise prepared.error
        picture, alone = prepared.picture, False
        if prepared.looked_for and prepared.error is None:
            whole = poses.pop() if prepared.with_whole else None
            if whole is not None and not poses:
                alone, poses = True, [whole]
                whole.sure = float(whole.scores.mean()) >= self._whole_from
                # Neither was anybody found nor is it somebody: no joint is there.
                whole.present = whole.present & whole.sure
            else:
                # Joints in a box that followed somebody are nobody's where they are not sure.
                found = len(poses) - prepared.followed
                poses = poses[:found] + [pose for pose in poses[found:] if pose.sure]
                poses = choose_people(poses, whole, self._whole_from)
        return PicturePoses(
            picture.name, poses, prepared.image, picture.frame, prepared.error,
            skeleton=self.skeleton, alone=alone, seconds=picture.seconds,
        )  # fmt: skip

    def _pose(self, prepared, rectangle, matrix, points, scores, heatmaps):
        return Pose(
            keypoints=apply_affine(invert_affine(matrix), points),
            scores=scores,
            box=rectangle[:4],
            skeleton=self.skeleton,
            present=scores >= self.thresholds,
            image=prepared.picture.name,
            picture=prepared.picture.kept,
            box_score=float(rectangle[4]) if np.isfinite(rectangle[4:]).any() else None,
            heatmaps=heatmaps,
            sure=float(np.mean(scores)) >= self.sure_from,
            thresholds=self.thresholds,
        )


def sure_from(thresholds: Array) -> tuple[float, float]:
    """Least mean scores at which a skeleton is somebody's: in a box, and in the whole picture.

    Args:
        thresholds: `(K,)` least scores of present joints.

    Returns:
        Two numbers; 0 where every joint counts as present.

    Example:

    >>> [round(least, 3) for least in sure_from([0.05, 0.11])]
    [0.14, 0.22]
    """
    mean = max(float(np.mean(thresholds)), 0.0)
    return min(_SURE * mean, _MOST_SURE), min(_SURE_WHOLE * mean, _MOST_SURE_WHOLE)


def _load(source, engine):
    """The model behind a name, path or address; without Keras where the engine needs none."""
    from keras_hourglass.zoo.store import load_model, load_snapshot

    return load_snapshot(source) if takes_snapshot(engine) else load_model(source)


@dataclasses.dataclass
class _Prepared:
    """A picture that has been read and cropped, or the `error` that prevented it.

    Attributes:
        picture: the opened picture.
        image: `(height, width, 3)` RGB array.
        rectangles: `(P, 4)` or, with scores, `(P, 5)` people in source pixels.
        matrices: `(P, 2, 3)` maps from source to input pixels.
        crops: `(H, W, 3)` arrays of the first of them; of a crowd the others are cut when the
            network is there for them.
        looked_for: a detector made the rectangles.
        with_whole: the last of them is the whole picture, beside what was found.
        followed: how many of them, before the whole picture, follow people of the frame before.
        error: a `UserError`, or `None`.
    """

    picture: object
    image: Column = None
    rectangles: Column = ()
    matrices: Column = ()
    crops: list = dataclasses.field(default_factory=list)
    looked_for: bool = False
    with_whole: bool = False
    followed: int = 0
    error: Exception | None = None

    def crop(self, place, size):
        """The crop of one person."""
        if place < len(self.crops):
            return self.crops[place]
        return warp(self.image, self.matrices[place], size)


@dataclasses.dataclass
class _Finder:
    """Who finds people where no boxes are given.

    Attributes:
        detector: a callable, or `None` for the whole picture.
        asked: somebody chose it, so that its word counts: nobody found is nobody, and pictures
            without an entry in a box file are searched.
    """

    detector: Callable | None
    asked: bool


def _finder(detector, whole, skeleton, spinning):
    """The `_Finder` of a `Predictor`'s arguments."""
    if whole and detector not in (None, "auto"):
        raise UserError(
            f"Either the whole picture is the box, or people are found. Received: whole={whole!r}, "
            f"detector={detector!r}. Leave one out."
        )
    if whole or detector is None or (detector == "auto" and not of_people(skeleton)):
        return _Finder(None, asked=False)
    if detector == "auto":
        return _Finder(_Own(spinning), asked=False)
    return _Finder(make_detector(detector, spinning=spinning), asked=True)


class _Own:
    """The package's own detector, loaded when it is first needed."""

    def __init__(self, spinning):
        self._detect, self._locks = None, PerProcess(threading.Lock)
        self._spinning = spinning

    def __call__(self, image, name=None):
        with self._locks():
            if self._detect is None:
                self._detect = make_detector("auto", spinning=self._spinning)
        return self._detect(image, name)


class _Cropper:
    """Reads a picture and cuts out its people; may be called from several threads.

    Args:
        rectangles: the given `Rectangles`.
        finder: the `_Finder` where none are given.
        input_size: `(height, width)` of crops in input pixels.
        padding: factor by which given and found boxes grow.
    """

    def __init__(self, rectangles, finder, input_size, padding):
        self.rectangles, self.finder = rectangles, finder
        self.input_size, self.padding = input_size, padding

    def __call__(self, picture, index):
        """The `_Prepared` picture; `index` is its place in the source."""
        return self._prepare(picture, lambda prepared, image: self._people(prepared, image, index))

    def follow(self, picture, index, look, tracker, whole, surely):
        """A `_Prepared` frame: people who are known, and where `look`, those who are found.

        `whole` says that nobody was in the frame before, and the whole picture the box; `surely` is
        for `PoseTracker.boxes`.
        """

        def people(prepared, image):
            known = tracker.boxes(image.shape[:2], surely)
            prepared.looked_for = True
            if look:
                found, padding = self._people(prepared, image, index)
                return self._with_known(prepared, found, known), padding
            prepared.with_whole = whole and not len(known)
            if prepared.with_whole:
                return _whole(image), 1.0
            prepared.followed = len(known)
            return known, 1.0

        return self._prepare(picture, people)

    def _prepare(self, picture, people):
        """Read a picture and cut out the `people` of it, `(rectangles, padding)`."""
        prepared = _Prepared(picture)
        try:
            prepared.image = image = picture.read()
            found, padding = people(prepared, image)
            check_overlap(found, image, picture.name)
            matrices = person_affines(found, self.input_size, padding)
            # The whole picture, and boxes around joints, do not grow.
            as_they_are = prepared.followed + prepared.with_whole
            if as_they_are:
                matrices[-as_they_are:] = person_affines(found[-as_they_are:], self.input_size)
            ahead = matrices[:_CROPS_OF_A_PICTURE]
            prepared.crops = [warp(image, matrix, self.input_size) for matrix in ahead]
            prepared.rectangles, prepared.matrices = found, matrices
        except UserError as error:
            prepared.error = error
        return prepared

    @staticmethod
    def _with_known(prepared, found, known):
        """Boxes that were found, then people who are known and were not found, then the picture."""
        if prepared.with_whole and len(known):  # somebody is there
            prepared.with_whole, found = False, found[:-1]
        rest = found[len(found) - prepared.with_whole :]
        found = found[: len(found) - prepared.with_whole]
        if len(found) and len(known):
            # Also a box within the other.
            shared = np.maximum(
                box_overlaps(known, found[:, :4], of="first"),
                box_overlaps(found[:, :4], known, of="first").T,
            )
            known = known[shared.max(axis=1) < _SAME_BOX]
        prepared.followed = len(known)
        unknown = np.full((len(known), max(found.shape[1] - 4, 0)), np.nan)
        return np.concatenate([found, np.hstack([known, unknown]), rest])

    def _people(self, prepared, image, index):
        """Rectangles, and by how much they grow."""
        picture, finder, whole = prepared.picture, self.finder, _whole(image)
        given = self.rectangles.of(picture, index)
        if given is not None:
            return given, self.padding
        if finder.detector is None or (self.rectangles.given and not finder.asked):
            return whole, 1.0
        found = np.asarray(finder.detector(image, picture.name), np.float64)
        prepared.looked_for = True
        # Who chose a detector is told what that one says.
        prepared.with_whole = not finder.asked and len(found) <= FEW
        if prepared.with_whole:
            unknown = np.full((1, max(found.shape[1] - 4, 0)), np.nan)
            found = np.concatenate([found, np.concatenate([whole, unknown], axis=1)])
        return found, self.padding


def _whole(image):
    """The whole picture as `(1, 4)` rectangles."""
    return np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])


def _numbered(results, tracker):
    """Results with their people numbered by a `PoseTracker`."""
    with contextlib.closing(results):
        for result in results:
            tracker(result.poses, result.seconds)
            yield result


def _groups(pictures, cropper, readers, batch_size):
    """Lists of whole `_Prepared` pictures, in order, that together fill a batch.

    Args:
        pictures: the opened `Pictures`.
        cropper: prepares one, see `_Cropper`.
        readers: the executor it runs in, ahead of what is asked for.
        batch_size: people that fill a batch.
    """
    ahead = 1 if pictures.kind == "camera" else 2 * batch_size
    waiting: collections.deque = collections.deque()
    group, people = [], 0
    source = enumerate(pictures)
    try:
        while True:
            while len(waiting) < ahead:
                index, picture = next(source, (None, None))
                if picture is None:
                    break
                waiting.append(readers.submit(cropper, picture, index))
            if not waiting:
                break
            prepared = waiting.popleft().result()
            group.append(prepared)
            people += len(prepared.matrices)
            # A camera shows every picture at once; a long row of pictures without anybody
            # should not pile up either.
            if people >= batch_size or len(group) >= ahead:
                yield group
                group, people = [], 0
        if group:
            yield group
    finally:  # also where nobody wants the rest
        concurrent.futures.wait([future for future in waiting if not future.cancel()])


class _Here:
    """An executor without threads: what is handed over is done at once."""

    def submit(self, function, *arguments):
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_result(function(*arguments))
        return future
