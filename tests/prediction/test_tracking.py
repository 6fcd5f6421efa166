"""The One-Euro filter and following people from frame to frame."""

import math

import numpy as np
import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.prediction.tracking import OneEuro, PoseSmoother, overlap
from keras_hourglass.skeletons import Skeleton

SKELETON = Skeleton("two", ("top", "foot"))


def pose(x, y, size=100.0, present=(True, True)):
    """A person at x, y whose joints are 10 and 90 pixels below the top left corner."""
    return Pose(
        [[x + 10, y + 10], [x + 10, y + 90]], [1, 1], (x, y, size, size), SKELETON, list(present)
    )


def test_first_sample_passes():
    assert OneEuro(30)([3.0, -4.0]).tolist() == [3, -4]


def test_at_rest_it_is_a_low_pass_filter():
    """Without beta each step closes the share a = 1 / (1 + rate / (2 pi cutoff)) of the gap."""
    smooth = OneEuro(rate=20, min_cutoff=2, beta=0)
    smooth([0.0])
    share = 1 / (1 + 20 / (2 * math.pi * 2))
    assert smooth([1.0])[0] == pytest.approx(share)
    assert smooth([1.0])[0] == pytest.approx(share + (1 - share) * share)


def test_speed_opens_the_filter():
    """One step of 0.5 at 10 Hz: speed 5, of which 1 / (1 + 10 / 2 pi) passes."""
    smooth = OneEuro(rate=10, min_cutoff=1, beta=3, derivative_cutoff=1)
    smooth([0.0])
    speed = 5 / (1 + 10 / (2 * math.pi))
    cutoff = 1 + 3 * speed
    assert smooth([0.5])[0] == pytest.approx(0.5 / (1 + 10 / (2 * math.pi * cutoff)))


def test_jitter_shrinks_and_motion_is_followed():
    rng = np.random.default_rng(0)
    still = rng.normal(0, 1, 200)
    smooth = OneEuro(30, min_cutoff=1, beta=0.05)
    calm = np.array([smooth([value])[0] for value in still])
    assert calm[50:].std() < 0.5 * still[50:].std()
    smooth = OneEuro(30, min_cutoff=1, beta=0.05)
    moving = [smooth([10.0 * step])[0] for step in range(100)]
    assert 990 - moving[-1] < 10


def test_missing_values_do_not_spread():
    smooth = OneEuro(30, min_cutoff=1, beta=0)
    smooth([1.0, np.nan])
    second = smooth([np.nan, 5.0])
    assert np.isnan(second[0]) and second[1] == 5
    assert smooth([1.0, 5.0]).tolist() == [1, 5]


@pytest.mark.parametrize(
    "arguments", [{"rate": 0}, {"rate": 30, "min_cutoff": 0}, {"rate": 30, "beta": -1}]
)
def test_impossible_settings(arguments):
    with pytest.raises(UserError, match="Received"):
        OneEuro(**arguments)


def test_overlap():
    assert overlap([0, 0, 4, 4], [2, 2, 4, 4]) == pytest.approx(4 / 28)
    assert overlap([0, 0, 4, 4], [4, 0, 4, 4]) == 0
    assert overlap([0, 0, 4, 4], [0, 0, 4, 4]) == 1


def test_people_keep_their_filters_when_their_order_changes():
    smooth = PoseSmoother(fps=30)
    smooth([pose(0, 0), pose(300, 0)])
    first, second = smooth([pose(301, 0), pose(1, 0)])
    # Each moved by one pixel of its own track, not by 300.
    assert 310 < first.keypoints[0, 0] < 311 and 10 < second.keypoints[0, 0] < 11


def test_a_newcomer_is_not_smoothed():
    smooth = PoseSmoother(fps=30)
    smooth([pose(0, 0)])
    assert smooth([pose(300, 50)])[0].keypoints[0].tolist() == [310, 60]


def test_somebody_who_left_is_forgotten():
    smooth = PoseSmoother(fps=30, patience=2)
    for there, x in ((True, 10), (False, 0), (False, 0), (False, 0), (True, 11)):
        poses = smooth([pose(x, 0)] if there else [])
    assert poses[0].keypoints[0, 0] == 21


def test_smoothing_does_not_depend_on_size():
    moved = []
    for size in (100.0, 400.0):
        smooth = PoseSmoother(fps=30)
        smooth([pose(0, 0, size)])
        moved.append((smooth([pose(0.1 * size, 0, size)])[0].keypoints[0, 0] - 10) / size)
    assert moved[0] == pytest.approx(moved[1]) and 0 < moved[0] < 0.1


def test_absent_joints_are_not_followed():
    smooth = PoseSmoother(fps=30)
    smooth([pose(0, 0, present=(True, False))])
    [later] = smooth([pose(5, 0)])
    assert later.keypoints[1].tolist() == [15, 90] and later.keypoints[0, 0] < 15
