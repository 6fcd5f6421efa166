"""The One-Euro filter and following people from frame to frame."""

import math

import numpy as np
import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.prediction.tracking import OneEuro, PoseSmoother, PoseTracker, overlap
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


BODY = Skeleton(
    "body",
    ("nose", "left_wrist", "right_wrist", "left_knee", "right_knee"),
)


def body(x, swapped=(), present=(True,) * 5, **more):
    """A person of 100 px whose wrists are 60 and knees 40 px apart."""
    points = np.array([(50, 0), (80, 40), (20, 40), (70, 90), (30, 90)], float) + (x, 0)
    order = np.arange(5)
    for left in swapped:
        order[[left, left + 1]] = left + 1, left
    values = {"scores": [0.9] * 5, "box": (x, 0, 100, 100), "present": list(present), **more}
    return Pose(points[order], skeleton=BODY, **values)


def test_everybody_keeps_a_number():
    tracker = PoseTracker(fps=25)
    for step in range(25):  # two who walk towards and past each other, 12 px a frame
        poses = [body(12 * step), body(300 - 12 * step)]
        poses = tracker(poses[:: 1 if step % 2 else -1])
        if step in (12, 13):  # they cover each other
            continue
        numbers = {round(pose.box[0]): pose.id for pose in poses}
        # The first list begins with the one at the right.
        assert numbers == {12 * step: 2, 300 - 12 * step: 1}


def test_who_is_not_sure_has_no_number_and_newcomers_a_new_one():
    tracker = PoseTracker(fps=25, patience=2)
    one, doubtful = tracker([body(0), body(400, sure=False)])
    assert one.id == 1 and doubtful.id is None
    [again, new] = tracker([body(3), body(400)])
    assert (again.id, new.id) == (1, 2)
    for _ in range(3):
        tracker([])
    assert tracker([body(3)])[0].id == 3  # the first is forgotten


def test_sides_are_put_right_by_the_motion():
    tracker = PoseTracker(fps=25, smooth=False)
    for step in range(4):
        tracker([body(5 * step)])
    [pose] = tracker([body(20, swapped=(1,), scores=[0.9, 0.8, 0.7, 0.9, 0.9])])
    np.testing.assert_allclose(pose.keypoints, body(20).keypoints)
    # Scores go with their joints.
    np.testing.assert_allclose(pose.scores, [0.9, 0.7, 0.8, 0.9, 0.9], rtol=1e-6)
    [pose] = tracker([body(25, swapped=(1, 3))])
    np.testing.assert_allclose(pose.keypoints, body(25).keypoints)


def test_who_insists_on_other_sides_is_believed():
    tracker = PoseTracker(fps=25, smooth=False, patience=3)
    tracker([body(0)])
    turned = [tracker([body(0, swapped=(1, 3))])[0].keypoints[1, 0] for _ in range(6)]
    # 80 is the left wrist as it was, 20 as the network says: from the fourth time on.
    assert turned == [80, 80, 80, 20, 20, 20]


def test_joints_that_really_cross_are_left_alone():
    """Wrists that meet in front of the body and go on: the motion itself exchanges the places."""
    tracker = PoseTracker(fps=25, smooth=False)
    for step in range(13):
        pose = body(0)
        pose.keypoints[1:3, 0] = 80 - 5 * step, 20 + 5 * step
        [found] = tracker([pose])
    assert found.keypoints[1:3, 0].tolist() == [20, 80]


def test_boxes_follow_the_joints():
    tracker = PoseTracker(fps=25)
    assert tracker.boxes((200, 300)).shape == (0, 4)
    tracker([body(0)])
    tracker([body(10)])
    [box] = tracker.boxes((200, 300))
    # Moved by the 10 px of the joints; a tenth of the way to their middle, y 45 instead of 50.
    np.testing.assert_allclose(box, (20, -0.5, 100, 100))
    # One wrong joint of five does not carry it away.
    wrong = body(20)
    wrong.keypoints[3] = 500, 400
    tracker([wrong])
    assert abs(tracker.boxes((600, 600))[0] - (30, 0, 100, 100)).max() < 25
    tracker([body(290)])  # a newcomer at the right edge; the other is not seen
    assert len(tracker.boxes((200, 300))) == 1
    tracker([])
    assert len(tracker.boxes((200, 300))) == 0


def test_whom_the_detector_keeps_missing_must_be_surer():
    tracker = PoseTracker(fps=25)
    tracker([body(0, box_score=0.9)], looked=True)
    for _ in range(3):
        tracker([body(0)], looked=True)
        assert len(tracker.boxes((200, 300), surely=0.95)) == 1
    tracker([body(0)], looked=True)
    assert len(tracker.boxes((200, 300), surely=0.95)) == 0
    assert len(tracker.boxes((200, 300), surely=0.85)) == 1


def test_time_stamps_count():
    """A second of 10 px between two frames is slow, a frame's time fast: more of it passes."""
    moved = []
    for seconds in (1.0, 0.04):
        tracker = PoseTracker(fps=25, beta=0)
        tracker([body(0)], 0.0)
        moved.append(tracker([body(10)], seconds)[0].keypoints[0, 0] - 50)
    assert moved[0] == pytest.approx(10 / (1 + 1 / (2 * math.pi)))
    assert moved[1] == pytest.approx(10 / (1 + 25 / (2 * math.pi)))
    tracker([body(10)], -3.0)  # a damaged stamp goes on by a frame
