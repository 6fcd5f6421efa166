"""Following people through a video: numbers, sides and smooth joints (NumPy only)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.geometry import box_overlaps
from keras_hourglass.prediction.merging import similarities
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.typing import Column

# Joints that must be present to move a box; by how much it may grow in a frame, and what share of
# the way its middle goes to that of the joints.
_LEAST_JOINTS, _MOST_GROWTH, _PULL = 3, 1.04, 0.1
# Looks of a detector that may miss somebody who is followed.
_MISSED_LOOKS = 3
# Limbs swap sides together: part of a name -> the limb.
_LIMBS = {
    "shoulder": "arms", "elbow": "arms", "wrist": "arms",
    "hip": "legs", "knee": "legs", "ankle": "legs",
}  # fmt: skip
# Sides are exchanged where that leaves less than this share of the distance to where the joints
# were bound to be, and the two sides were further apart than this share of the person's size.
_SWAP, _APART = 0.5, 0.08


class OneEuro:
    """The One-Euro filter over arrays: little jitter at rest, little lag in motion.

    Args:
        rate: samples per second.
        min_cutoff: cutoff frequency at rest in Hz; lower is smoother.
        beta: how fast the cutoff grows with the speed, per unit of the signal.
        derivative_cutoff: cutoff frequency of the speed in Hz.

    Raises:
        UserError: if the rate or a cutoff is not positive or beta is negative.

    Example:

    >>> smooth = OneEuro(rate=30, min_cutoff=1.0, beta=0.0)
    >>> smooth([0.0]).tolist(), smooth([1.0]).round(4).tolist()
    ([0.0], [0.1732])

    Reference:
        [Casiez et al., 2012](https://doi.org/10.1145/2207676.2208639).
    """

    def __init__(self, rate, min_cutoff=1.0, beta=0.05, derivative_cutoff=1.0):
        if min(rate, min_cutoff, derivative_cutoff) <= 0 or beta < 0:
            raise UserError(
                "Rate and cutoffs must be positive, beta not negative. Received: "
                f"rate={rate}, min_cutoff={min_cutoff}, beta={beta}, "
                f"derivative_cutoff={derivative_cutoff}."
            )
        self.rate, self.min_cutoff, self.beta = rate, min_cutoff, beta
        self.derivative_cutoff = derivative_cutoff
        self._value, self._speed = None, None

    def __call__(self, value, rate=None):
        """The smoothed value of the next sample; NaN entries are passed over.

        Args:
            value: array of the same shape in every call.
            rate: samples per second at this one, where they vary.

        Returns:
            Float64 array of that shape; NaN where `value` is NaN. A filter that has seen NaN goes
            on from the last known value.
        """
        value = np.asarray(value, np.float64)
        if self._value is None:
            self._value, self._speed = value.copy(), np.zeros_like(value)
            return value.copy()
        known = np.isfinite(value)
        new = known & ~np.isfinite(self._value)
        last = np.where(new, value, self._value)
        rate = self.rate if rate is None else rate
        speed = np.where(known, (value - last) * rate, 0)
        speed = _mix(self._speed, speed, _weight(self.derivative_cutoff, rate))
        cutoff = self.min_cutoff + self.beta * np.abs(speed)
        smoothed = _mix(last, np.where(known, value, last), _weight(cutoff, rate))
        self._value = np.where(known, smoothed, last)
        self._speed = np.where(known, speed, self._speed)
        return np.where(known, smoothed, np.nan)


def _weight(cutoff, rate):
    """Share of the new sample in a first-order low-pass filter."""
    return 1 / (1 + rate / (2 * np.pi * cutoff))


def _mix(old, new, weight):
    return old + weight * (new - old)


@dataclasses.dataclass
class _Track:
    """One person so far.

    Attributes:
        id: number, from 1.
        box: `x, y, w, h` of the last sight.
        pose: the last sight.
        unit: hundredth of the first box's longer side, in source pixels.
        filter: the `OneEuro` of the joints in that unit.
        points: `(K, 2)` last known joints as the network gave them, sides put right.
        speed: `(K, 2)` source pixels per second.
        seconds: time of the last sight.
        missed: frames since.
        against: frames in a row in which sides were exchanged.
        shift: `(2,)` source pixels that the joints moved from the sight before to the last.
        growth: factor by which they spread meanwhile.
        unconfirmed: looks of a detector in a row that missed the person.
    """

    id: int
    box: Column
    pose: Pose
    unit: float
    filter: OneEuro
    points: Column
    speed: Column
    seconds: float
    missed: int = 0
    against: int = 0
    shift: Column = 0.0
    growth: float = 1.0
    unconfirmed: int = 0

    def bound_for(self, seconds):
        """`(K, 2)` where the joints are if they go on."""
        return self.points + self.speed * np.clip(seconds - self.seconds, 0, 0.2)

    def moved(self, seconds):
        """`(2,)` how far the person is if that goes on."""
        return np.median(self.speed * np.clip(seconds - self.seconds, 0, 0.2), axis=0)


class PoseTracker:
    """Follow the people of a video from frame to frame.

    Who is who follows from object keypoint similarity and the overlap of boxes, whichever is
    larger, the best pairs first. Where the sides of arms or legs are exchanged from one frame to
    the next and their motion says otherwise, they are put right; if the network insists for
    `patience` frames, it is believed. Positions are filtered in units of the box, so that the
    settings fit near and far people.

    Args:
        fps: frames per second.
        smooth: filter the joints (`OneEuro`).
        min_cutoff, beta: of `OneEuro`; beta per hundredth of the box's longer side and second.
        min_overlap: least similarity or intersection over union of one person in two frames.
        patience: frames after which somebody who disappeared is forgotten.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> stick = Skeleton("stick", ("top", "foot"))
    >>> tracker = PoseTracker(fps=25)
    >>> for x in (0, 1):
    ...     [pose] = tracker([Pose([[x, 0], [x, 90]], [1, 1], (x, 0, 50, 90), stick)])
    >>> pose.id
    1
    """

    def __init__(self, fps, smooth=True, min_cutoff=1.0, beta=0.05, min_overlap=0.3, patience=10):
        self.fps, self.smooth, self.min_cutoff, self.beta = fps, smooth, min_cutoff, beta
        self.min_overlap, self.patience = min_overlap, patience
        self._tracks: list[_Track] = []
        self._next, self._seconds = 1, None

    def __call__(
        self, poses: Sequence[Pose], seconds: float | None = None, looked: bool = False
    ) -> Sequence[Pose]:
        """Number, and smooth, the poses of the next frame in place; who is not sure stays as is.

        Args:
            poses: its `Pose`s.
            seconds: when the frame is shown; by default one frame after the last.
            looked: a detector has seen it; the boxes that it found have a score.

        Returns:
            The same poses.
        """
        before = -1 / self.fps if self._seconds is None else self._seconds
        seconds = before + 1 / self.fps if seconds is None else float(seconds)
        # Time stamps of damaged videos may stand still or jump back.
        step = seconds - before if seconds > before else 1 / self.fps
        self._seconds = before + step
        sure = [pose for pose in poses if pose.sure]
        for track in self._tracks:
            track.missed += 1
            track.unconfirmed += looked
        matches = self._match(sure)
        for place, pose in enumerate(sure):
            track = matches.get(place)
            if track is None:
                track = self._begin(pose)
            else:
                self._put_sides_right(track, pose)
                self._go_on(track, pose)
            pose.id = track.id
            track.unconfirmed = 0 if pose.box_score is not None else track.unconfirmed
            if self.smooth:
                points = np.where(pose.present[:, None], pose.keypoints, np.nan) / track.unit
                smoothed = track.filter(points, 1 / step) * track.unit
                pose.keypoints = np.where(np.isfinite(smoothed), smoothed, pose.keypoints)
        self._tracks = [track for track in self._tracks if track.missed <= self.patience]
        return poses

    def boxes(self, image_size: tuple, surely: float = 0.0) -> np.ndarray:
        """Where the people of the last frame are bound to be in the next, by their joints.

        A box moves and grows with the joints in it, so that one wrong joint does not carry it away.

        Args:
            image_size: `(height, width)`; who has left it is left out.
            surely: least mean score of those whom a detector has missed a few times.

        Returns:
            `(P, 4)` rectangles `x, y, w, h` in source pixels.
        """
        found = []
        for track in self._tracks:
            pose = track.pose
            shown = pose.present & np.isfinite(track.points).all(axis=1)
            few = shown.sum() < min(_LEAST_JOINTS, len(shown))
            doubted = track.unconfirmed > _MISSED_LOOKS and float(pose.scores.mean()) < surely
            if track.missed or few or doubted:
                continue
            low, high = track.points[shown].min(axis=0), track.points[shown].max(axis=0)
            size, middle = track.box[2:] * track.growth, track.box[:2] + track.box[2:] / 2
            middle = middle + _PULL * ((low + high) / 2 - middle) + track.shift
            low, high = middle - size / 2, middle + size / 2
            if (high > 0).all() and (low < np.array(image_size[1::-1])).all():
                found.append([*low, *size])
        return np.array(found, np.float64).reshape(-1, 4)

    def _match(self, poses):
        """Place of a pose -> its track."""
        if not poses or not self._tracks:
            return {}
        # Both go on as they moved: people who pass each other keep their numbers.
        boxes = [track.box + (*track.moved(self._seconds), 0, 0) for track in self._tracks]
        likeness = box_overlaps(boxes, [pose.box for pose in poses])
        for row, track in enumerate(self._tracks):
            moved = dataclasses.replace(track.pose, keypoints=track.bound_for(self._seconds))
            mirror = self._mirrored(moved)
            for likely in filter(None, (moved, mirror)):
                likeness[row] = np.maximum(likeness[row], similarities(likely, poses))
        matches: dict = {}
        taken: set = set()
        for flat in np.argsort(-likeness, axis=None, kind="stable"):
            row, place = divmod(int(flat), len(poses))
            if likeness[row, place] < self.min_overlap:
                break
            if row not in taken and place not in matches:
                taken.add(row)
                matches[place] = self._tracks[row]
        return matches

    @staticmethod
    def _mirrored(pose):
        """The pose with its sides exchanged, or `None` where they are not known."""
        if not pose.skeleton.mirrors:
            return None
        order = list(pose.skeleton.flip_order)
        return dataclasses.replace(
            pose, keypoints=pose.keypoints[order], scores=pose.scores[order],
            present=pose.present[order],
        )  # fmt: skip

    def _begin(self, pose):
        track = _Track(
            id=self._next,
            box=pose.box,
            pose=pose,
            unit=float(max(pose.box[2:])) / 100,
            filter=OneEuro(self.fps, self.min_cutoff, self.beta),
            points=pose.keypoints.copy(),
            speed=np.zeros_like(pose.keypoints),
            seconds=self._seconds,
        )
        self._next += 1
        self._tracks.append(track)
        return track

    def _go_on(self, track, pose):
        """Take a sight into the track: place, speed, time."""
        step = max(self._seconds - track.seconds, 1e-6)
        known = pose.present[:, None] & np.isfinite(track.points)
        speed = np.where(known, (pose.keypoints - track.points) / step, 0.0)
        track.speed = _mix(track.speed, np.nan_to_num(speed), 0.5)
        track.shift, track.growth = _motion(track, pose)
        seen = np.isfinite(pose.keypoints)
        track.points = np.where(seen, pose.keypoints, track.points)
        track.box, track.missed, track.seconds = pose.box, 0, self._seconds
        track.pose = dataclasses.replace(pose, keypoints=track.points.copy(), heatmaps=None)

    def _put_sides_right(self, track, pose):
        """Exchange left and right of arms or legs that jumped to each other's place."""
        if not pose.skeleton.mirrors:
            return
        exchanged = []
        for limb in _limbs_of(pose.skeleton):
            if self._is_against(track, pose, limb):
                exchanged += limb
        track.against = track.against + 1 if exchanged else 0
        if track.against > self.patience:  # the network has said so long enough
            track.against = 0
            return
        if exchanged:
            order = np.arange(len(pose.names))
            for left, right in exchanged:
                order[[left, right]] = right, left
            pose.keypoints, pose.scores = pose.keypoints[order], pose.scores[order]
            pose.present = pose.present[order]
            if pose.heatmaps is not None:
                pose.heatmaps = pose.heatmaps[..., order]

    def _is_against(self, track, pose, limb):
        """Whether the motion of pairs of joints says that their sides are exchanged."""
        bound = track.bound_for(self._seconds)
        pairs = [
            (left, right) for left, right in limb
            if pose.present[[left, right]].all() and np.isfinite(bound[[left, right]]).all()
        ]  # fmt: skip
        if not pairs:
            return False
        left, right = np.array(pairs).T
        apart = np.linalg.norm(bound[left] - bound[right], axis=1).mean()
        kept, swapped = (
            np.linalg.norm(pose.keypoints[one] - bound[left], axis=1).sum()
            + np.linalg.norm(pose.keypoints[other] - bound[right], axis=1).sum()
            for one, other in ((left, right), (right, left))
        )
        return apart > _APART * max(track.box[2:]) and swapped < _SWAP * kept


def _motion(track, pose):
    """How a person's joints moved, `(2,)` source pixels, and the factor by which they spread."""
    both = pose.present & track.pose.present & np.isfinite(track.points).all(axis=1)
    if both.sum() < min(_LEAST_JOINTS, len(both)):
        return np.zeros(2), 1.0
    before, after = track.points[both], pose.keypoints[both]
    spread = [
        np.median(np.linalg.norm(points - np.median(points, axis=0), axis=1))
        for points in (before, after)
    ]
    growth = spread[1] / spread[0] if spread[0] > 0 else 1.0
    return np.median(after - before, axis=0), float(np.clip(growth, 1 / _MOST_GROWTH, _MOST_GROWTH))


def _limbs_of(skeleton):
    """Lists of pairs `(left joint, right joint)`: arms, legs, and every other pair by itself."""
    limbs: dict = {}
    for joint, partner in enumerate(skeleton.flip_order):
        name = skeleton.joints[joint].lower()
        if joint < partner:
            limb = next((value for part, value in _LIMBS.items() if part in name), name)
            limbs.setdefault(limb, []).append((joint, partner))
    return list(limbs.values())


class PoseSmoother(PoseTracker):
    """Smooth the joints of each person over the frames of a video; see `PoseTracker`.

    Args:
        fps: frames per second.
        min_cutoff, beta: of `OneEuro`; beta per hundredth of the box's longer side and second.
        min_overlap: least similarity or intersection over union of one person in two frames.
        patience: frames after which somebody who disappeared is forgotten.
    """

    def __init__(self, fps, min_cutoff=1.0, beta=0.05, min_overlap=0.3, patience=10):
        super().__init__(fps, True, min_cutoff, beta, min_overlap, patience)


def overlap(first, second):
    """Intersection over union of two rectangles `x, y, w, h`.

    Example:

    >>> overlap([0, 0, 10, 10], [5, 0, 10, 10])
    0.3333333333333333
    """
    first, second = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low = np.maximum(first[:2], second[:2])
    high = np.minimum(first[:2] + first[2:], second[:2] + second[2:])
    shared = float(np.prod(np.maximum(high - low, 0)))
    union = float(np.prod(first[2:]) + np.prod(second[2:])) - shared
    return shared / union if union > 0 else 0.0
