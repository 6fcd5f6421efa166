"""Finding people where no boxes are given.

A detector is a callable from an RGB picture to `(P, 5)` rectangles `x, y, w, h, score` in source
pixels, with the margin around the person that the network was trained with.
"""

import cv2
import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.geometry import apply_affine, boxes_from_joints, boxes_to_xywh, invert_affine
from keras_hourglass.io.images import warp
from keras_hourglass.prediction.boxes import person_affines
from keras_hourglass.prediction.tracking import overlap

# Longer edge to which pictures are reduced before the pedestrian detector sees them.
HOG_EDGE = 800
# OpenCV's confidence from which a pedestrian counts.
HOG_SCORE = 0.3


def make_detector(name, predictor):
    """The detector of a name.

    Args:
        name: `"search"` (the pose network itself, nothing extra), `"hog"` (OpenCV's pedestrian
            detector, extra `[detect]`), or `"auto"`, which is `"search"`.
        predictor: the `Predictor` that will use it.

    Raises:
        UserError: if the name is unknown or OpenCV comes without that detector.
    """
    detectors = {"auto": NetworkSearch, "search": NetworkSearch, "hog": _hog}
    if name not in detectors:
        raise UserError(
            f"Unknown detector. Received: {name!r}. Choose one of {', '.join(detectors)}."
        )
    return detectors[name](predictor)


class NetworkSearch:
    """Look for people with the pose network itself, in windows of several sizes.

    Each window whose heatmaps answer is moved to the joints it shows and looked at again; of
    windows that end up on the same person the best is kept. It finds who the network can pose,
    and needs no further package or file.

    Args:
        predictor: the `Predictor`.
        sizes: sides of the square windows as shares of the longer edge of the picture.
        step: distance of windows as a share of their side.
        min_score: least mean score of all joints of a person.
        rounds: how often windows are moved.
        max_people: how many candidates are followed.
        padding: side of a person's square over the extent of their joints.
    """

    def __init__(
        self, predictor, sizes=(1.0, 0.7, 0.5, 0.35, 0.25), step=0.4, min_score=0.25, rounds=2,
        max_people=20, padding=1.25,
    ):  # fmt: skip
        self.predictor, self.sizes, self.step = predictor, sizes, step
        self.min_score, self.rounds, self.max_people = min_score, rounds, max_people
        self.padding = padding

    def __call__(self, image):
        """Find people.

        Args:
            image: `(height, width, 3)` uint8 RGB.

        Returns:
            `(P, 5)` rectangles `x, y, w, h, score` in source pixels, best first.
        """
        windows = self.windows(image.shape[:2])
        found = self._look(image, windows)
        # Half the score may do at first: a window rarely fits.
        found = _best(found[found[:, 4] >= 0.5 * self.min_score], self.max_people, 0.5)
        for _ in range(self.rounds):
            if len(found):
                found = _best(self._look(image, found), self.max_people, 0.4)
        return found[found[:, 4] >= self.min_score]

    def windows(self, shape):
        """Overlapping squares over a picture of `(height, width)`, `(N, 4)` rectangles."""
        height, width = shape
        windows = []
        for size in self.sizes:
            side = size * max(height, width)
            if size < 1 and side < 32:  # too few pixels for a person
                continue
            for y in _places(height, side, self.step):
                windows += [[x, y, side, side] for x in _places(width, side, self.step)]
        return np.array(windows)

    def _look(self, image, windows):
        """Where the person in each window is, and how sure the network is of it."""
        predictor, found = self.predictor, []
        # Few at a time, so that memory does not grow with the number of windows.
        for start in range(0, len(windows), 32):
            part = windows[start : start + 32]
            matrices = person_affines(part, predictor.input_size)
            crops = np.stack([warp(image, matrix, predictor.input_size) for matrix in matrices])
            points, scores = predictor.codec.decode(predictor.predict_crops(crops, flip=False))
            points = apply_affine(invert_affine(matrices), points)
            sure = scores >= 0.5 * scores.max(axis=1, keepdims=True)
            squares = boxes_to_xywh(boxes_from_joints(points, sure, self.padding))
            found.append(np.column_stack([squares, scores.mean(axis=1)]))
        found = np.concatenate(found)
        return found[np.isfinite(found).all(axis=1)]


def _places(extent, side, step):
    """Starts of windows along one axis, spread evenly and centred where one is enough."""
    if side >= extent:
        return [(extent - side) / 2]
    count = int(np.ceil((extent - side) / (side * step))) + 1
    return np.linspace(0, extent - side, count)


def _best(found, count, most):
    """The best rectangles that do not overlap more than `most`."""
    kept = []
    for candidate in found[np.argsort(-found[:, 4], kind="stable")]:
        if all(overlap(candidate[:4], other[:4]) <= most for other in kept):
            kept.append(candidate)
    return np.reshape(kept[:count], (-1, 5))


def _hog(_predictor):
    """OpenCV's pedestrian detector: upright people as a whole, nothing else."""
    if not hasattr(cv2, "HOGDescriptor"):
        raise UserError(
            f"OpenCV {cv2.__version__} comes without its pedestrian detector. Received: "
            "detector='hog'. Run: pip install 'keras_hourglass[detect]', or choose 'search'."
        )
    descriptor = cv2.HOGDescriptor()
    descriptor.setSVMDetector(cv2.HOGDescriptor.getDefaultPeopleDetector())

    def detect(image):
        factor = min(1.0, HOG_EDGE / max(image.shape[:2]))
        small = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        # Its window has a margin, which people who fill the picture would not get.
        margin = round(0.15 * max(small.shape[:2]))
        small = cv2.copyMakeBorder(small, *[margin] * 4, cv2.BORDER_REPLICATE)
        small = cv2.cvtColor(small, cv2.COLOR_RGB2BGR)
        boxes, scores = descriptor.detectMultiScale(small, winStride=(8, 8), scale=1.05)
        boxes = np.reshape(boxes, (-1, 4)).astype(np.float64)
        boxes[:, :2] -= margin
        found = np.column_stack([boxes / factor, np.ravel(scores)])
        found = _best(found[found[:, 4] >= HOG_SCORE], len(found), 0.4)
        found[:, 4] = np.minimum(found[:, 4], 1)
        return found

    return detect
