"""Temporal smoothing of poses in videos (NumPy only)."""

import numpy as np

from keras_hourglass.errors import UserError


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

    def __call__(self, value):
        """The smoothed value of the next sample; NaN entries are passed over.

        Args:
            value: array of the same shape in every call.

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
        speed = np.where(known, (value - last) * self.rate, 0)
        speed = _mix(self._speed, speed, _weight(self.derivative_cutoff, self.rate))
        cutoff = self.min_cutoff + self.beta * np.abs(speed)
        smoothed = _mix(last, np.where(known, value, last), _weight(cutoff, self.rate))
        self._value = np.where(known, smoothed, last)
        self._speed = np.where(known, speed, self._speed)
        return np.where(known, smoothed, np.nan)


def _weight(cutoff, rate):
    """Share of the new sample in a first-order low-pass filter."""
    return 1 / (1 + rate / (2 * np.pi * cutoff))


def _mix(old, new, weight):
    return old + weight * (new - old)


class PoseSmoother:
    """Smooth the joints of each person over the frames of a video.

    People are followed from frame to frame by the overlap of their boxes. Positions are filtered
    in units of the box, so that the settings fit near and far people.

    Args:
        fps: frames per second.
        min_cutoff, beta: of `OneEuro`; beta per hundredth of the box's longer side and second.
        min_overlap: least intersection over union of the boxes of one person in two frames.
        patience: frames after which somebody who disappeared is forgotten.
    """

    def __init__(self, fps, min_cutoff=1.0, beta=0.05, min_overlap=0.3, patience=10):
        self.fps, self.min_cutoff, self.beta = fps, min_cutoff, beta
        self.min_overlap, self.patience = min_overlap, patience
        self._tracks = []

    def __call__(self, poses):
        """Smooth the poses of the next frame in place.

        Args:
            poses: its list of `Pose`s.

        Returns:
            The same list.
        """
        pairs = sorted(
            (
                (overlap(track["box"], pose.box), first, second)
                for first, track in enumerate(self._tracks)
                for second, pose in enumerate(poses)
            ),
            reverse=True,
        )
        followed = {}
        for shared, first, second in pairs:
            taken = first in followed.values() or second in followed
            if shared >= self.min_overlap and not taken:
                followed[second] = first
        for track in self._tracks:
            track["missed"] += 1
        for index, pose in enumerate(poses):
            if index in followed:
                track = self._tracks[followed[index]]
            else:
                track = {"filter": None, "unit": max(pose.box[2:]) / 100}
                track["filter"] = OneEuro(self.fps, self.min_cutoff, self.beta)
                self._tracks.append(track)
            track.update(box=pose.box, missed=0)
            points = np.where(pose.present[:, None], pose.keypoints, np.nan) / track["unit"]
            smoothed = track["filter"](points) * track["unit"]
            pose.keypoints = np.where(np.isfinite(smoothed), smoothed, pose.keypoints)
        self._tracks = [track for track in self._tracks if track["missed"] <= self.patience]
        return poses


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
