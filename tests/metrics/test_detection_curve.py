"""Recall, precision and AP50 of boxes: worked out by hand, and against COCO's own tool."""

import contextlib
import io

import numpy as np
import pytest

from keras_hourglass.errors import DataError
from keras_hourglass.metrics.detection import People, detection_curve

# Three people, of whom two are wanted, and a crowd.
PEOPLE = People(
    [[10, 10, 20, 40], [50, 10, 20, 40], [90, 10, 20, 40]], [True, False, True], [[200, 0, 100, 50]]
)


def test_matches_are_one_to_one_best_score_first():
    found = [
        [10, 10, 20, 30, 0.9],  # IoU 600 / 800 with the first
        [10, 10, 20, 40, 0.8],  # the same person again: wrong, although it fits better
        [50, 10, 20, 21, 0.7],  # IoU 420 / 800 with the second, who is not wanted
        [90, 10, 20, 19, 0.6],  # IoU 380 / 800: wrong
        [210, 5, 20, 40, 0.5],  # in the crowd: does not count
        [290, 5, 40, 40, 0.4],  # a quarter in the crowd: wrong
    ]
    curve = detection_curve([found], [PEOPLE])
    assert curve.scores.tolist() == [0.9, 0.8, 0.7, 0.6, 0.4]
    assert curve.right.tolist() == [True, False, True, False, False]
    assert curve.wanted.tolist() == [True, False, False, False, False]
    assert (curve.people, curve.wanted_people) == (3, 2)
    np.testing.assert_allclose(curve.precision, [1, 1 / 2, 2 / 3, 2 / 4, 2 / 5])
    np.testing.assert_allclose(curve.recall, [1 / 2] * 5)


def test_the_lowest_score_of_a_wanted_precision():
    curve = detection_curve(
        [[[10, 10, 20, 40, 0.9], [0, 0, 5, 5, 0.8], [50, 10, 20, 40, 0.7], [90, 10, 20, 40, 0.6]]],
        [PEOPLE],
    )
    # Precision 1, 1/2, 2/3, 3/4: 0.7 is reached again at the end.
    assert curve.at_precision(0.7) == {"score": 0.6, "precision": 0.75, "recall": 1.0}
    assert curve.at_precision(0.8) == {"score": 0.9, "precision": 1.0, "recall": 0.5}
    assert curve.at_score(0.75) == {"score": 0.75, "precision": 0.5, "recall": 0.5}
    nobody = curve.at_score(0.95)
    assert np.isnan(nobody["precision"]) and nobody["recall"] == 0.0
    # Best precision at this recall or higher: 1 up to 1/3 (34 of 101 points), then 3/4.
    assert curve.ap50 == pytest.approx((34 + 67 * 0.75) / 101)


def test_pictures_without_anybody():
    nobody = People(np.zeros((0, 4)))
    curve = detection_curve([[], [[3, 3, 9, 9, 0.4]]], [nobody, nobody])
    assert curve.right.tolist() == [False]
    assert curve.at_precision(0.7)["recall"] == 0.0 and curve.ap50 == 0.0
    empty = detection_curve([[]], [PEOPLE])
    assert empty.at_precision(0.0)["recall"] == 0.0 and empty.ap50 == 0.0
    with pytest.raises(DataError, match="boxes of 1 pictures, people of 2"):
        detection_curve([[]], [nobody, nobody])


def test_average_precision_is_that_of_cocos_own_tool():
    mask = pytest.importorskip("pycocotools.coco")
    from pycocotools.cocoeval import COCOeval

    rng = np.random.default_rng(4)
    found, people, images, annotations, results = [], [], [], [], []
    for number in range(1, 13):
        count = int(rng.integers(0, 6))
        boxes = np.column_stack([rng.uniform(0, 200, (count, 2)), rng.uniform(20, 60, (count, 2))])
        crowd = rng.uniform(0, 1, count) < 0.25
        kept = boxes[rng.uniform(0, 1, count) < 0.8]
        guesses = np.concatenate(
            [kept + rng.normal(0, 4, kept.shape), rng.uniform(20, 150, (3, 4)), kept + 1]
        )
        scores = rng.permutation(len(guesses)) / 50 + number / 1000  # no two alike
        images.append({"id": number, "width": 300, "height": 300})
        for box, is_crowd in zip(boxes, crowd, strict=True):
            annotations.append(
                {"id": len(annotations) + 1, "image_id": number, "category_id": 1,
                 "bbox": box.tolist(), "area": float(box[2] * box[3]), "iscrowd": int(is_crowd)}
            )  # fmt: skip
        results += [
            {"image_id": number, "category_id": 1, "bbox": box.tolist(), "score": float(score)}
            for box, score in zip(guesses, scores, strict=True)
        ]
        found.append(np.column_stack([guesses, scores]))
        people.append(People(boxes[~crowd], crowds=boxes[crowd]))
    with contextlib.redirect_stdout(io.StringIO()):
        truth = mask.COCO()
        truth.dataset = {"images": images, "annotations": annotations, "categories": [{"id": 1}]}
        truth.createIndex()
        measured = COCOeval(truth, truth.loadRes(results), "bbox")
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    assert 0.2 < measured.stats[1] < 0.9
    assert detection_curve(found, people).ap50 == pytest.approx(measured.stats[1], abs=1e-6)
