"""The paper's analyses on constructed data whose answer is known."""

import numpy as np
import pytest

from keras_hourglass.analysis import (
    KINDS,
    best_threshold,
    calibration,
    cautious_threshold,
    confusion,
    cut_person,
    empty_crops,
    person_scores,
    precision_recall,
    presence,
    presence_thresholds,
    published_rows,
    roc_auc,
    sensitivity,
    stack_changes,
    sure_thresholds,
    whole_and_cut,
)
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.scenes import SceneRecords
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import boxes_to_xywh
from keras_hourglass.io.images import write_image
from keras_hourglass.skeletons import FLIC, LSP, MPII, Skeleton

LEGS = Skeleton(
    "legs",
    ("left_knee", "right_knee", "head"),
    groups=(("knee", ("left_knee", "right_knee")), ("head", ("head",))),
)
NAN = float("nan")


def test_what_the_later_stacks_mend():
    first = [[0.5, 0.5, 0.1], [0.1, 0.1, 0.1], [0.1, NAN, 0.1], [NAN, NAN, NAN], [0.5, 0.1, 0.1]]
    last = [[0.1, 0.1, 0.1], [0.1, 0.1, 0.5], [0.1, NAN, 0.1], [NAN, NAN, NAN], [0.4, 0.1, 0.1]]
    middle = np.full((5, 3), 9.0)
    change = stack_changes([first, middle, last], LEGS, threshold=0.2)
    # Knees: 4 of 7 to 6 of 7; heads: 4 of 4 to 3 of 4.
    assert change["difference"]["knee"] == pytest.approx(200 / 7)
    assert change["difference"]["head"] == pytest.approx(-25)
    assert change["difference"]["mean"] == pytest.approx(100 / 11)
    # Person 4 comes nearer without becoming right; person 3 has nothing to count.
    assert change["order"].tolist() == [0, 4, 2, 1]
    assert change["gain"][:3] == pytest.approx([2 / 3, -1 / 3, 0])


def test_people_are_ranked_by_right_joints_then_by_distance():
    scores = person_scores([[0.1, 0.9, 99], [0.1, 0.8, 99], [0.2, 0.2, NAN]], threshold=0.2)
    assert scores[:, 0] == pytest.approx([1 / 3, 1 / 3, 1])
    # A joint far off counts as two reference lengths.
    assert scores[:, 1] == pytest.approx([-1, -2.9 / 3, -0.2])


def test_precision_and_recall_by_hand():
    scores = [0.9, 0.9, 0.7, 0.5, 0.1]
    present = [True, False, True, False, True]
    thresholds, precision, recall = precision_recall(scores, present)
    assert thresholds.tolist() == [0.9, 0.7, 0.5, 0.1]
    assert precision == pytest.approx([1 / 2, 2 / 3, 2 / 4, 3 / 5])
    assert recall == pytest.approx([1 / 3, 2 / 3, 2 / 3, 1])
    with pytest.raises(UserError, match="present"):
        precision_recall([0.5, 0.6], [False, False])


@pytest.mark.parametrize(
    "scores, present, threshold, accuracy",
    [
        ([0.9, 0.8, 0.3, 0.1], [True, True, False, False], 0.55, 1.0),
        ([0.9, 0.8, 0.3, 0.1], [True, False, True, True], 0.05, 0.75),  # best: all present
        ([0.8, 0.4], [False, False], np.nextafter(0.8, 1), 1.0),  # best: none present
        ([0.9, 0.6, 0.6, 0.2], [True, True, False, False], 0.4, 0.75),  # equal scores, lowest
    ],
)
def test_best_threshold(scores, present, threshold, accuracy):
    assert best_threshold(scores, present) == pytest.approx((threshold, accuracy), abs=1e-9)


def test_best_threshold_equals_trying_all():
    random = np.random.default_rng(5)
    for _ in range(50):
        scores = random.integers(0, 8, 20) / 8
        present = random.random(20) < scores
        tried = [((scores >= t) == present).mean() for t in np.linspace(-0.01, 1.01, 200)]
        threshold, accuracy = best_threshold(scores, present)
        assert accuracy == pytest.approx(max(tried))
        assert ((scores >= threshold) == present).mean() == pytest.approx(accuracy)


def test_presence_from_maximum_and_mean():
    visibility = np.array([[2, 1, 2], [0, 2, 2], [2, 0, 2], [0, 0, 2]])
    maximum = np.where(visibility > 0, 0.8, 0.2)
    maximum[0, 1] = 0.1  # a present knee that the maximum misses
    mean = np.where(visibility > 0, 0.02, 0.01)
    result = presence({"maximum": maximum, "mean": mean}, visibility, LEGS)
    # The head is always annotated, so there is nothing to tell.
    assert set(result) == {"left_knee", "right_knee", "knee"}
    knee = result["knee"]
    assert (knee["annotated"], knee["joints"]) == (50, 8)
    assert knee["mean"]["accuracy"] == 100 and knee["mean"]["average_precision"] == 100
    assert knee["mean"]["threshold"] == pytest.approx(0.015)
    assert knee["maximum"]["accuracy"] == 87.5
    assert knee["maximum"]["threshold"] == pytest.approx(0.5)
    # Precision 1 up to recall 3/4, then 4 of 8.
    assert knee["maximum"]["average_precision"] == pytest.approx(100 * (0.75 + 0.25 * 0.5))


def test_roc_auc_counts_pairs():
    random = np.random.default_rng(3)
    scores = random.integers(0, 6, 40) / 6
    present = random.random(40) < 0.6
    pairs = [(a, b) for a in scores[present] for b in scores[~present]]
    expected = np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a, b in pairs])
    assert roc_auc(scores, present) == pytest.approx(expected)
    assert roc_auc([0.1, 0.9], [True, False]) == 0
    with pytest.raises(UserError, match="some of each. Received: 2 present of 2"):
        roc_auc([0.1, 0.9], [True, True])


@pytest.mark.parametrize(
    "slack, threshold", [(0.0, 0.45), (0.19, 0.45), (0.21, 0.65), (0.41, 0.75)]
)
def test_cautious_threshold_gives_up_no_more_than_its_slack(slack, threshold):
    # From above 0.9 downwards 1, 2, 3, 4, 5 and, below 0.3, 4 of the 5 answers are right.
    scores, present = [0.9, 0.8, 0.7, 0.6, 0.3], [True, True, True, True, False]
    assert cautious_threshold(scores, present, slack) == pytest.approx(threshold)


def test_presence_thresholds_are_tried_on_others_and_shared_by_mirror_images():
    # Two people per fold. The knees of the second fold reverse what the first one teaches.
    visibility = np.array([[2, 2, 2], [0, 0, 2], [0, 0, 2], [2, 1, 2]])
    scores = np.where(visibility > 0, 0.8, 0.4)
    scores[2:, :2] = 1.2 - scores[2:, :2]
    found = presence_thresholds(scores, visibility, LEGS, 0.5, folds=[0, 0, 1, 1])
    # The third joint is always there.
    assert sorted(found) == ["left_knee", "right_knee"]
    assert found["left_knee"] == found["right_knee"]
    knee = found["left_knee"]
    # Above 0.5 are the scores of two present and of two absent knees.
    assert (knee["joints"], knee["always"], knee["default"], knee["auc"]) == (8, 50, 50, 50)
    # Each fold is judged by what the other one teaches.
    assert (knee["accuracy"], knee["kept"], knee["found"]) == (50, 50, 50)
    agreeing = np.where(visibility > 0, 0.8, 0.4)
    knee = presence_thresholds(agreeing, visibility, LEGS, 0.5, folds=[0, 0, 1, 1])["right_knee"]
    assert (knee["accuracy"], knee["kept"], knee["found"], knee["auc"]) == (100, 100, 100, 100)
    assert knee["threshold"] == pytest.approx(0.6)


@pytest.mark.parametrize(
    "side, share, box, stays",
    [
        # 40 deep of 100, at most 20 wide: 1.125 times the depth, up to y = 40 and from y = 60.
        ("top", 0.4, [20, 17.5, 45], [1, 1, 0, 0]),
        ("bottom", 0.4, [20, 82.5, 45], [0, 0, 1, 1]),
        # 10 deep, 100 and 80 high: 1.25 times the height, up to x = 20 and from there.
        ("left", 0.5, [-42.5, 50, 125], [1, 0, 1, 1]),
        ("right", 0.5, [70, 60, 100], [0, 1, 1, 1]),
    ],
)
def test_a_person_is_cut_at_the_edge_of_the_crop(side, share, box, stays):
    joints = np.array([[10, 0], [30, 20], [20, 60], [20, 100]], float)
    found, visibility = cut_person(joints, [1, 1, 1, 1], side, share)
    assert found == pytest.approx(box) and visibility.tolist() == stays
    x, y, edge = found
    inside = (abs(joints - (x, y)) <= edge / 2 + 1e-9).all(axis=1)
    assert inside.tolist() == [bool(flag) for flag in stays]


def test_who_cannot_be_cut():
    joints = np.array([[0, 0], [10, 0], [5, 50]], float)
    assert cut_person(joints, [2, 0, 2], "top", 0.5) is None  # one joint would be left
    assert cut_person(joints[[0, 0, 0]], [2, 2, 2], "top", 0.5) is None  # nothing to cut off


def test_crops_without_anybody_touch_nobody(tmp_path):
    paths = [str(tmp_path / name) for name in ("wide.png", "full.png", "free.png")]
    for path, size in zip(paths, ((60, 200), (80, 80), (50, 90)), strict=True):
        write_image(path, np.zeros((*size, 3), np.uint8))
    boxes = [[[0, 0, 100, 60]], [[5, 5, 70, 70]], []]
    ignored = [[False], [True], []]  # a crowd is nobody's empty place, either
    scenes = SceneRecords(paths, boxes, ignored, [[17], [0], []], ["wide", "full", "free"])
    crops = empty_crops(scenes, LEGS, times=3, seed=5)
    assert crops.skeleton is LEGS and not crops.visibility.any()
    assert crops.extra["photo"].tolist() == [0, 0, 0, 2, 2, 2]
    left, top, wide, high = boxes_to_xywh(crops.boxes).T
    assert (wide == high).all() and (top >= 0).all() and (left >= 0).all()
    # Within their pictures, and right of the person who fills the left half of the first.
    assert (left[:3] >= 100).all() and (left + wide <= np.repeat([200, 90], 3)).all()
    assert (top + high <= np.repeat([60, 50], 3)).all()
    assert (wide >= 0.25 * np.repeat([60, 50], 3)).all() and len(set(left.round(3))) == 6
    assert (empty_crops(scenes, LEGS, times=3, seed=5).boxes == crops.boxes).all()
    with pytest.raises(UserError, match="1 photographs, none of them such"):
        empty_crops(scenes.select([1]), LEGS)


def test_everybody_whole_and_cut():
    records = synthetic_records(num=7, seed=3)
    both = whole_and_cut(records, times=3, seed=2)
    cut, person = both.extra["cut"], both.extra["person"]
    assert (~cut).sum() == 21 and len(set(both.ids)) == len(both)
    assert set(person[:21].tolist()) == set(range(7))
    np.testing.assert_array_equal(both.boxes[7:14], records.boxes)
    np.testing.assert_array_equal(both.visibility[14:21], records.visibility)
    assert both.images[-1] == records.images[person[-1]]
    x, y, edge = both.boxes.T
    centred = np.abs(both.joints - np.stack([x, y], axis=-1)[:, None])
    inside = (centred <= edge[:, None, None] / 2 + 1e-9).all(axis=-1)
    known = records.visibility[person] > 0
    assert cut.sum() > 14
    # Of the cut people exactly the joints in the crop are there, and never all of them.
    np.testing.assert_array_equal((both.visibility > 0)[cut], (inside & known)[cut])
    assert ((both.visibility > 0)[cut].sum(axis=1) < known[cut].sum(axis=1)).all()
    with pytest.raises(UserError, match="4 sides. Received: times=5"):
        whole_and_cut(records, times=5)


def test_calibration_of_scores():
    random = np.random.default_rng(1)
    scores = random.random((20_000, 2))
    distances = np.where(random.random(scores.shape) < scores, 0.1, 0.9)
    distances[:50] = NAN
    honest = calibration(scores, distances, threshold=0.2)
    assert honest["error"] < 0.02 and sum(honest["count"]) == 2 * 19_950
    assert honest["accuracy"] == pytest.approx(honest["score"], abs=0.05)
    boasting = calibration(np.full((4, 1), 1.7), [[0.1], [0.9], [0.9], [0.9]], threshold=0.2)
    assert boasting["error"] == pytest.approx(0.75)  # scores are clipped to 1
    assert boasting["count"] == [0] * 9 + [4] and np.isnan(boasting["score"][0])
    empty = calibration([[0.5]], [[NAN]], 0.2)
    assert np.isnan(empty["error"])
    with pytest.raises(UserError, match="bins"):
        calibration([[0.5]], [[0.5]], 0.2, bins=0)


def test_confusion_sorts_errors():
    joints = np.array(
        [
            [[0, 0], [100, 0], [50, -100]],
            [[300, 0], [400, 0], [350, -100]],
            [[0, 0], [100, 0], [50, -100]],  # another picture, same places
        ],
        float,
    )
    predictions = joints.copy()
    predictions[0, 0] = [98, 0]  # left knee on the right one
    predictions[0, 1] = [50, -95]  # knee on the head
    predictions[0, 2] = [305, 0]  # head on the other person's knee
    predictions[1, 0] = [200, 200]  # nowhere
    predictions[1, 2] = [50, -100]  # head on the first person's head
    predictions[2, 2] = [350, -100]  # nobody else is in this picture
    visibility = np.array([[2, 2, 1], [2, 0, 2], [2, 2, 2]])
    result = confusion(
        predictions, joints, visibility, [50, 50, 50], LEGS, ["a", "a", "b"], threshold=0.2
    )
    assert KINDS == ("correct", "swapped", "other_joint", "other_person", "nowhere")
    assert result["kinds"] == {
        "left_knee": [1, 1, 0, 0, 1],
        "right_knee": [1, 0, 1, 0, 0],
        "head": [0, 0, 0, 2, 1],
    }
    assert result["matrix"].tolist() == [[1, 1, 0], [0, 1, 1], [0, 0, 0]]
    # Somebody without a reference length is not counted, but can be run into.
    result = confusion(
        predictions, joints, visibility, [50, NAN, 50], LEGS, ["a", "a", "b"], threshold=0.2
    )
    assert result["kinds"]["head"] == [0, 0, 0, 1, 1]


def test_a_correct_joint_is_correct_even_where_others_are_near():
    joints = np.array([[[0, 0], [3, 0], [2, 0]]], float)
    result = confusion(joints + [1, 0], joints, [[2, 2, 2]], [50], LEGS, ["a"], threshold=0.2)
    assert [counts[0] for counts in result["kinds"].values()] == [1, 1, 1]
    assert result["matrix"].tolist() == np.eye(3).astype(int).tolist()


def test_sensitivity_of_known_predictors():
    random = np.random.default_rng(2)
    joints = random.uniform(100, 200, (5, 3, 2))
    records = PoseRecords(
        LEGS, ["a"] * 5, [[150, 150, 100]] * 5, joints, [[2, 2, 2]] * 4 + [[2, 0, 2]],
        [40.0] * 5, range(5),
    )  # fmt: skip
    still = sensitivity(lambda moved: joints, records, threshold=0.2)
    assert {row["mean"] for row in still} == {100.0} and {row["moved"] for row in still} == {0.0}

    def follow(moved):  # the joints ride on the box
        return joints + (moved.boxes - records.boxes)[:, None, :2]

    rows = sensitivity(follow, records, 0.2, shifts=(-0.05, 0.1), scales=(1.5,))
    found = {(row["change"], row["amount"]): row for row in rows}
    assert list(found) == [("none", 0), ("x", -0.05), ("x", 0.1), ("y", -0.05), ("y", 0.1),
                           ("scale", 1.5)]  # fmt: skip
    # 5 px and 10 px of a box of 100; a fifth of the reference is 8 px.
    assert found["x", -0.05]["moved"] == pytest.approx(5)
    assert (found["x", -0.05]["mean"], found["x", -0.05]["jumped"]) == (100, 0)
    assert (found["y", 0.1]["mean"], found["y", 0.1]["jumped"]) == (0, 100)
    assert found["y", 0.1]["moved"] == pytest.approx(10)
    assert found["scale", 1.5]["moved"] == 0
    assert records.boxes.tolist() == [[150, 150, 100]] * 5  # untouched


def test_published_numbers_stand_beside_equal_metrics_only():
    mpii = published_rows(MPII, "PCKh", 0.5)
    assert mpii["Newell et al. 2016, test"]["mean"] == 90.9
    validation = mpii["Newell et al. 2016, validation"]
    expected = {"shoulder": 94.6, "elbow": 88.5, "wrist": 83.4, "hip": 87.5, "knee": 83.0,
                "ankle": 79.0}  # fmt: skip
    assert validation == expected
    assert published_rows(FLIC, "PCK", 0.2)["Newell et al. 2016"] == {"elbow": 99.0, "wrist": 97.0}
    for arguments in ((MPII, "PCKh", 0.4), (MPII, "PCK", 0.5), (LSP, "PCK", 0.2)):
        assert published_rows(*arguments) == {}


def test_scores_are_believed_from_where_they_were_right():
    skeleton = Skeleton("three", ("nose", "left_eye", "right_eye"))
    nan = np.nan
    # Low maps in the right places: eyes above 0.1 were found, the nose above 0.03.
    scores = [[0.05, 0.2, 0.15], [0.04, 0.08, 0.3], [0.02, 0.5, 0.06], [0.9, 0.12, 0.9]]
    right = [[1, 1, 1], [1, 0, 1], [0, 1, 0], [nan, 1, nan]]
    found = sure_thresholds(scores, right, skeleton, least=3)
    assert found == pytest.approx({"nose": 0.03, "left_eye": 0.1, "right_eye": 0.1})
    # With fewer than 4 noses known all ten joints decide: right are 0.04, 0.05, and from 0.12 on.
    pooled = sure_thresholds(scores, right, skeleton, least=4)
    # From 0.1 two are wrongly left out, from 0.03 two wrongly taken; the lower of equals counts.
    assert pooled == pytest.approx({"nose": 0.03, "left_eye": 0.1, "right_eye": 0.1})
    never = sure_thresholds(scores, np.zeros((4, 3)), skeleton, least=3)
    assert never["nose"] > 0.9 and never["left_eye"] > 0.9
    assert sure_thresholds(scores, np.full((4, 3), nan), skeleton) == {}
    always = sure_thresholds(scores, np.ones((4, 3)), skeleton, least=3)
    assert always["nose"] <= 0.02 and always["left_eye"] <= 0.06
