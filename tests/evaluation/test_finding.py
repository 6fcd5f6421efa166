"""Measuring a detector on photographs, in the package and on the command line."""

import json

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data.scenes import SceneRecords
from keras_hourglass.errors import DataError
from keras_hourglass.evaluation import evaluate_detector
from keras_hourglass.io.images import write_image


@pytest.fixture
def records(tmp_path):
    for name in ("a", "b"):
        write_image(tmp_path / f"{name}.png", np.zeros((150, 200, 3), np.uint8))
    return SceneRecords(
        images=[tmp_path / "a.png", tmp_path / "b.png", tmp_path / "missing.png"],
        # Clear; too small; too few joints; a crowd.
        boxes=[[[0, 0, 50, 100], [100, 0, 20, 59]], [[10, 10, 50, 80], [100, 0, 99, 99]], []],
        ignored=[[False, False], [False, True], []],
        joints=[[8, 17], [7, 0], []],
        ids=["a", "b", "missing"],
    )


ANSWERS = {
    "a": [[0, 0, 50, 90, 0.9], [100, 0, 20, 59, 0.4], [150, 90, 40, 40, 0.3]],
    "b": [[10, 10, 50, 80, 0.8], [110, 10, 20, 40, 0.95]],
}


def detect(image, name):
    assert image.shape == (150, 200, 3)
    return np.array(ANSWERS[name.rsplit("/", 1)[1][0]])


def test_recall_counts_clear_people_and_precision_everybody(records):
    finding = evaluate_detector(detect, records)
    assert finding.ids == ["a", "b"] and len(finding.failures) == 1
    assert finding.curve.scores.tolist() == [0.9, 0.8, 0.4, 0.3]
    assert finding.curve.right.tolist() == [True, True, True, False]
    figures = finding.to_dict()
    assert figures["clear_people"] == 1 and figures["people"] == 3
    assert figures["recall"] == 1.0 and figures["score"] == 0.3 and figures["precision"] == 0.75
    assert figures["milliseconds"] > 0
    first = finding.to_coco()[0]
    assert first == {"image_id": "a", "category_id": 1, "bbox": [0, 0, 50, 90], "score": 0.9}
    assert json.dumps(figures)


def test_without_joints_everybody_tall_enough_is_clear(records):
    plain = records.with_columns(joints=[[0, 0], [0, 0], []])
    finding = evaluate_detector(lambda image, name: np.zeros((0, 5)), plain)
    assert finding.curve.wanted_people == 2
    assert finding.to_dict()["score"] is None


def test_boxes_without_scores_are_all_as_sure(records):
    finding = evaluate_detector(lambda image, name: [[0, 0, 50, 90]], records)
    assert finding.curve.scores.tolist() == [1.0, 1.0]


def test_photographs_that_cannot_be_read(records):
    with pytest.raises(DataError, match="can be read are needed"):
        evaluate_detector(detect, records.select([2]))


def test_on_the_command_line(records, tmp_path, capsys):
    annotations = [
        {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 50, 100], "iscrowd": 0}
    ]
    images = [{"id": 1, "file_name": "a.png"}, {"id": 2, "file_name": "b.png"}]
    data = tmp_path / "scenes.json"
    data.write_text(json.dumps({"images": images, "annotations": annotations}))
    found = tmp_path / "found.json"
    found.write_text(
        json.dumps([{"image_id": "a.png", "category_id": 1, "bbox": [0, 0, 50, 90], "score": 0.7}])
    )
    command = ["evaluate", "--model", str(found), "--data", f"boxes:{data}"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 0
    assert "AP50 100.0 of 1 people; 100.0 % of 1 clear people" in capsys.readouterr().out
    figures = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert figures["photographs"] == 2 and figures["recall"] == 1.0
    [box] = json.loads((tmp_path / "out" / "detections.json").read_text())
    assert box["image_id"] == 1 and box["score"] == 0.7
    assert main([*command, "--out", str(tmp_path / "out")]) == 2
    assert main([*command, "--out", str(tmp_path / "two"), "--limit", "0"]) == 2
