"""Finding people where no boxes are given.

A detector is a callable from an RGB picture to `(P, 5)` rectangles `x, y, w, h, score` in source
pixels. The package's own is a small hourglass that answers with a map of centres and of the sizes
beside it; files of other people's detectors are read by `adapters`, and any callable will do.
"""

import logging
import os
import pathlib
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import BoxCodec
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import MIN_SIDE, fuse_rectangles
from keras_hourglass.inference.engines import ENGINES, takes_snapshot
from keras_hourglass.inference.processes import PerProcess
from keras_hourglass.inference.runner import HeatmapRunner
from keras_hourglass.io.images import paste_scaled
from keras_hourglass.io.structured import shorten
from keras_hourglass.network.config import stack_name
from keras_hourglass.network.graph import Snapshot
from keras_hourglass.prediction.adapters import (
    FAMILIES,
    LEAST_SCORE,
    SUFFIXES,
    load_detector,
    rectangles,
)
from keras_hourglass.prediction.boxes import NamedBoxes, read_boxes
from keras_hourglass.skeletons import BOXES, SKELETONS, Skeleton, own_names
from keras_hourglass.typing import Path

_LOG = logging.getLogger("keras_hourglass")
OWN = "hourglass_detector_coco"
# Inputs in which a detector looks at a picture, and the longest side of one in pixels.
MOST_LOOKS, MAX_SIDE = 4, 2048


def of_people(skeleton: Skeleton) -> bool:
    """Whether joints are those of people: at least half are known from the package's skeletons.

    Whoever predicts hands, animals or machines is not helped by a detector of people.

    Example:

    >>> from keras_hourglass.skeletons import get_skeleton
    >>> of_people(get_skeleton("lsp")), of_people(Skeleton("mouse", ("nose", "back", "tail")))
    (True, False)
    """
    known = {joint for people in SKELETONS.values() for joint in people.joints}
    names = own_names(skeleton.joints) if skeleton.joints else ()
    return 2 * sum(name in known for name in names) >= max(len(names), 1)


def make_detector(
    detector: Any, least_score: float | None = None, spinning: bool = True
) -> Callable:
    """The detector that somebody means.

    Args:
        detector: `"auto"` or `True`: the package's own; its name in the zoo, a folder or an address
            of a network like it; a file of another detector (see `adapters`); a JSON file of boxes
            by picture, as COCO detections or as `boxes.read_boxes` takes them; or a callable from
            an RGB array to `(P, 4)` or, with scores, `(P, 5)` rectangles `x, y, w, h, score`.
        least_score: boxes below are left out; by default what belongs to the detector.
        spinning: of a network like the package's, as for `Predictor`.

    Returns:
        A callable from `(height, width, 3)` uint8 RGB and, optionally, the picture's name to
        `(P, 5)` (from a callable without scores `(P, 4)`) float64 rectangles in source pixels,
        without any that show nothing.

    Raises:
        UserError: if there is no such detector, or its file is of no layout that is known.

    Example:

    >>> detect = make_detector(lambda image: [[2, 3, 20, 40]])
    >>> detect(np.zeros((60, 90, 3), np.uint8)).tolist()
    [[2.0, 3.0, 20.0, 40.0]]
    """
    if detector is True or detector == "auto":
        return HourglassDetector(OWN, least_score, spinning=spinning)
    if callable(detector):
        return _Checked(detector, least_score)
    if not isinstance(detector, (str, os.PathLike)):
        raise UserError(
            "A detector is 'auto', a name, a file, or a callable from a picture to boxes. "
            f"Received: {detector!r}."
        )
    path = os.fspath(detector)
    if path.lower().endswith(".json"):
        return _FromFile(path, least_score)
    if _of_others(path):
        return load_detector(path, *(() if least_score is None else (least_score,)))
    return HourglassDetector(path, least_score, spinning=spinning)


def _of_others(path):
    """Whether a path names a file of somebody else's detector."""
    prefix = path.partition(":")[0]
    is_saved_model = os.path.isfile(os.path.join(path, "saved_model.pb"))
    return prefix in FAMILIES or pathlib.Path(path).suffix in SUFFIXES or is_saved_model


class HourglassDetector:
    """Find people with an hourglass trained for it.

    The picture is fitted into the middle of the network's input, small ones enlarged. In inputs of
    several sizes more people are found: boxes that were seen in more of them count more
    (`geometry.fuse_rectangles`).

    Args:
        model: a `StackedHourglass` whose maps are `codec.BOX_MAPS`, or name, folder or address of
            one.
        least_score: least height of the centre map at a person; by default the model's own.
        engine: what runs the network, see `engines`.
        flip: average with the mirrored picture; of several inputs every other one shows the
            mirrored picture instead, which is as good and takes half the time.
        sides: of the square inputs in which a picture is looked at, in input pixels; by default
            what the model's `preprocessing` says under `sides`, or its own input alone. A model in
            memory and an engine of your own have that alone.
        spinning: as for `Predictor`, where there is one input: of several, each would wait busily
            on the processors that the next one needs.

    Raises:
        UserError: if the model finds joints instead of people, or has no input of such a side.

    Example:

    >>> detect = HourglassDetector("hourglass_detector_coco")  # doctest: +SKIP
    >>> detect(photo).shape  # doctest: +SKIP
    (3, 5)

    Reference:
        [Zhou et al., 2019](https://arxiv.org/abs/1904.07850), *Objects as Points*.
    """

    def __init__(
        self,
        model: Any = OWN,
        least_score: float | None = None,
        engine: Path | Callable = "auto",
        flip: bool = True,
        sides: Sequence[int] | None = None,
        spinning: bool = True,
    ):
        named = isinstance(model, (str, os.PathLike))
        first = _load(model, engine) if named else model
        known = _checked_maps(first)
        own = tuple(known.input_shape[1:3])
        preprocessing = getattr(known, "preprocessing", {})
        movable = named and isinstance(engine, str) and engine in ENGINES
        if sides is None:
            sides = preprocessing.get("sides") if movable else None
        elif not movable:
            raise UserError(
                "Inputs of other sides than the model's own are for models by name and engines of "
                f"the package. Received: sides={sides!r}. Leave sides out, or name the model."
            )
        sizes = [own] if sides is None else _sizes(sides)
        several = len(sizes) > 1
        self.looks = [
            _Look(
                first if size == own else _load(model, engine, size),
                engine,
                both=flip and not several,
                mirrored=flip and several and place % 2 == 1,
                spinning=spinning and not several,
            )
            for place, size in enumerate(sizes)
        ]
        centre = getattr(known, "thresholds", {}).get("centre", LEAST_SCORE)
        self.least_score = float(centre if least_score is None else least_score)
        self._locks = PerProcess(threading.Lock)  # pictures are read in several threads

    @property
    def codec(self) -> BoxCodec:
        """How the maps of the first input become boxes."""
        return self.looks[0].codec

    def __call__(self, image: np.ndarray, name: str | None = None) -> np.ndarray:
        """People in a picture.

        Args:
            image: `(height, width, 3)` uint8 RGB.
            name: of the picture, which does not matter here.

        Returns:
            `(P, 5)` float64 rectangles `x, y, w, h, score` in source pixels, best first.
        """
        # What one look alone has seen keeps that share of its score.
        least = self.least_score / 2 if len(self.looks) > 1 else self.least_score
        with self._locks():
            found = [look(image, least) for look in self.looks]
        boxes = found[0]
        if len(found) > 1:
            boxes = fuse_rectangles(found, overlap=self.codec.overlap)
        corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]], axis=1)
        return rectangles(corners, boxes[:, 4], self.least_score, image.shape[:2])


class _Look:
    """One size in which a detector looks at pictures.

    Args:
        model: a model or `Snapshot` of that input.
        engine: as for `HourglassDetector`.
        both: average with the mirrored picture.
        mirrored: look at the mirrored picture instead.
        spinning: as for `HourglassDetector`.
    """

    def __init__(self, model, engine, both, mirrored, spinning=True):
        known = model.graph if isinstance(model, Snapshot) else model
        self._output = stack_name(known.output)
        size = tuple(known.input_shape[1:3])
        prior = getattr(known, "preprocessing", {}).get("size_prior", 0.0)
        self.codec = BoxCodec(size, size[0] // known.output[self._output].shape[1], prior=prior)
        merge = self.codec.merge_flipped if both else None
        outputs, self.both, self.mirrored = (self._output,), both, mirrored
        self._runner = HeatmapRunner(
            model, outputs, batch_size=1, engine=engine, merge=merge, spinning=spinning
        )

    def __call__(self, image, least):
        """`(P, 5)` rectangles in source pixels, perhaps beyond the picture."""
        height, width = image.shape[:2]
        size = self.codec.input_size
        factor = min(size[0] / height, size[1] / width)
        room = size[1] - max(1, round(width * factor)), size[0] - max(1, round(height * factor))
        corner = room[0] // 2, room[1] // 2
        shown, factors = paste_scaled(image, factor, corner, size)
        shown = shown[None, :, ::-1] if self.mirrored else shown[None]
        maps = self._runner(shown)[self._output]
        [found] = self.codec.decode(self.codec.mirror(maps) if self.mirrored else maps, least)
        return np.column_stack(
            [(found[:, :2] - corner) / factors, found[:, 2:4] / factors, found[:, 4]]
        )


def _load(source, engine, size=None):
    """A detector's network by name or path, with an input of another size."""
    from keras_hourglass.zoo.store import load_model, load_snapshot

    other = {} if size is None else {"input_shape": (*size, 3)}
    return (load_snapshot if takes_snapshot(engine) else load_model)(source, **other)


def _checked_maps(model):
    """What is known of a model that finds people."""
    known = model.graph if isinstance(model, Snapshot) else model
    skeleton = getattr(known, "skeleton", None)
    if skeleton is None or skeleton.joints != BOXES.joints:
        joints = ", ".join(skeleton.joints[:3]) + ", …" if skeleton else "unnamed joints"
        raise UserError(
            f"A network that finds people has the maps {', '.join(BOXES.joints)}. "
            f"Received: one of {joints}. Use {OWN!r}, or train one on boxes:FILE.json."
        )
    return known


def _sizes(sides):
    """Sizes of inputs from what somebody, or a file, says of their sides."""
    good = isinstance(sides, (list, tuple)) and 0 < len(sides) <= MOST_LOOKS
    if not good or not all(isinstance(side, int) and 0 < side <= MAX_SIDE for side in sides):
        raise UserError(
            f"The sides of a detector's inputs are up to {MOST_LOOKS} numbers of pixels, at most "
            f"{MAX_SIDE}. Received: {shorten(sides)}. Leave them out for the model's own."
        )
    return [(side, side) for side in sides]


class _Checked:
    """Boxes of a callable of somebody's own, without those that are broken."""

    def __init__(self, detector, least_score):
        self._detector, self.least_score = detector, least_score

    def __call__(self, image, name=None):
        found = self._detector(image)
        return _usable(found, image.shape[:2], self.least_score, "The detector", name)


class _FromFile:
    """Boxes by picture from a JSON file."""

    def __init__(self, path, least_score):
        self._path, self.least_score = path, least_score
        self._boxes = NamedBoxes(read_boxes(path))

    def __call__(self, image, name=None):
        found = self._boxes.of(name or "")
        found = np.zeros((0, 5)) if found is None else found
        return _usable(found, image.shape[:2], self.least_score, self._path, name)


def _usable(found, shape, least_score, origin, name):
    """Boxes as they came, `(P, 4)` or with scores `(P, 5)`, without those that show nothing.

    What is left out is said, in one line, and costs nobody else their pose.
    """
    try:
        boxes = np.asarray(found, np.float64)
    except (TypeError, ValueError, OverflowError):
        boxes = np.zeros(())
    if boxes.size == 0 and boxes.ndim:
        return np.zeros((0, 5))
    boxes = boxes[None] if boxes.ndim == 1 else boxes
    if boxes.ndim != 2 or boxes.shape[1] not in (4, 5):
        raise UserError(
            f"{origin} must give x, y, w, h, with or without a score, for each person. "
            f"Received: {type(found).__name__} of shape {boxes.shape} for {name}. Correct it."
        )
    with np.errstate(invalid="ignore"):
        low, high = boxes[:, :2], boxes[:, :2] + boxes[:, 2:4]
        shown = np.isfinite(boxes).all(axis=1) & (boxes[:, 2:4].max(axis=1) >= MIN_SIDE)
        shown &= (boxes[:, 2:4] > 0).all(axis=1) & (high > 0).all(axis=1)
        shown &= (low < shape[::-1]).all(axis=1)
    if not shown.all():
        _LOG.warning(
            "%s gave %d of %d boxes that are not finite, have no area or lie beside the picture; "
            "they are left out of %s.", origin, (~shown).sum(), len(boxes), name,
        )  # fmt: skip
    boxes = boxes[shown]
    if boxes.shape[1] == 5 and least_score is not None:
        boxes = boxes[boxes[:, 4] >= least_score]
    return boxes
