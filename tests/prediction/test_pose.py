"""Pose results: flags, documents, pictures."""

import json

import numpy as np
import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.io.images import read_image, write_image
from keras_hourglass.prediction.pose import Pose, coco_image_id, picture_to_dict
from keras_hourglass.skeletons import Skeleton

STICK = Skeleton("stick", ("top", "middle", "foot"), limbs=(("top", "middle"), ("middle", "foot")))


def make_pose(**changes):
    values = {
        "keypoints": [[20.12345, 5], [22, 15], [np.nan, np.nan]],
        "scores": [0.9, 0.1, 0.8],
        "box": (1, 2, 30, 40.5),
        "skeleton": STICK,
    }
    return Pose(**{**values, **changes})


def test_present_joints_have_a_score_and_a_place():
    assert make_pose().present.tolist() == [True, False, False]
    assert make_pose(present=[True, True, True]).present.tolist() == [True, True, False]


def test_score_is_the_mean_over_present_joints():
    assert make_pose().score == pytest.approx(0.9)
    assert make_pose(box_score=0.5).score == pytest.approx(0.45)
    assert make_pose(present=[False] * 3).score == 0


def test_to_dict_is_json():
    assert make_pose().to_dict() == {
        "box": [1, 2, 30, 40.5],
        "keypoints": [[20.123, 5, 0.9], [22, 15, 0.1], [None, None, 0.8]],
        "confidences": [0.8182, 0.3333, 0.8],  # 0.9 / (0.9 + 0.2), …
        "present": [True, False, False],
    }
    assert make_pose(thresholds=0.1).to_dict()["confidences"] == [0.9, 0.5, 0.8889]
    own = make_pose(thresholds=[0.9, 0.1, 0.2])
    assert own.to_dict()["confidences"] == [0.5, 0.5, 0.8]
    assert own.present.tolist() == [True, True, False]
    with pytest.raises(UserError, match="thresholds"):
        make_pose(thresholds=[0.9, 0.1])
    assert make_pose(box_score=0.75).to_dict()["box_score"] == 0.75


def test_to_coco():
    assert make_pose(image="val/000000000785.jpg").to_coco() == {
        "image_id": 785,
        "category_id": 1,
        "keypoints": [20.123, 5, 2, 22, 15, 0, 0, 0, 0],
        "bbox": [1, 2, 30, 40.5],
        "score": 0.9,
    }
    assert make_pose().to_coco(image_id=7, category_id=3)["image_id"] == 7
    assert coco_image_id("me.jpg") == "me"


@pytest.mark.parametrize(
    "changes",
    [
        {"keypoints": [[1, 2]]},
        {"scores": [0.5, 0.5]},
        {"box": (1, 2, 3)},
        {"present": [True]},
    ],
)
def test_wrong_shapes(changes):
    with pytest.raises(UserError, match="3 joints needs shape"):
        make_pose(**changes)


def test_draw_takes_any_picture(tmp_path):
    image = np.full((50, 40, 3), 90, np.uint8)
    path = tmp_path / "grey.png"
    write_image(path, image)
    expected = make_pose(picture=image).draw()
    assert expected.shape == (50, 40, 3) and (expected != image).any()
    for pose in (make_pose(image=path), make_pose(picture=path.read_bytes())):
        np.testing.assert_array_equal(pose.draw(), expected)
    np.testing.assert_array_equal(make_pose().draw(path), expected)
    with pytest.raises(UserError, match="does not know its picture"):
        make_pose().draw()


def test_save(tmp_path):
    pose = make_pose(picture=np.zeros((50, 40, 3), np.uint8), image="a.jpg")
    pose.save(tmp_path / "pose.json")
    document = json.loads((tmp_path / "pose.json").read_text())
    assert document == {
        "image": "a.jpg",
        "keypoint_names": ["top", "middle", "foot"],
        "people": [pose.to_dict()],
    }
    pose.save(tmp_path / "pose.png")
    np.testing.assert_array_equal(read_image(tmp_path / "pose.png"), pose.draw())
    with pytest.raises(UserError, match="exists already"):
        pose.save(tmp_path / "pose.png")
    pose.save(tmp_path / "pose.png", overwrite=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["pose.json", "pose.png"]


def test_shows_itself_in_notebooks():
    shown = make_pose(picture=np.zeros((50, 40, 3), np.uint8))._repr_png_()
    assert shown[:4] == b"\x89PNG" and read_image(shown).shape == (50, 40, 3)
    assert make_pose()._repr_png_() is None
    assert repr(make_pose(image="photos/a.jpg")) == (
        "Pose(1 of 3 stick joints, score 0.90, box [1.0, 2.0, 30.0, 40.5], image 'a.jpg')"
    )


def test_nobody_in_a_picture():
    assert picture_to_dict("a.jpg", [], STICK)["people"] == []
