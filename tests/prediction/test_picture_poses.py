"""Everybody in one picture: a sequence, a drawing, documents, tables."""

import csv
import io
import json
import sys

import numpy as np
import pytest

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.images import read_image, write_image
from keras_hourglass.prediction.picture_poses import PicturePoses
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.skeletons import Skeleton

STICK = Skeleton("stick", ("top", "foot"), limbs=(("top", "foot"),))


def person(x, **more):
    values = {"scores": [0.9, 0.7], "box": (x, 4, 10, 30), "image": "street.jpg"}
    return Pose([[x + 5.0, 6], [x + 5.0, 30]], skeleton=STICK, **{**values, **more})


@pytest.fixture
def street():
    poses = [person(10, box_score=0.5, id=4), person(50, scores=[0.9, 0.1], id=7, sure=False)]
    image = np.full((40, 90, 3), 90, np.uint8)
    return PicturePoses("street.jpg", poses, image, frame=3, seconds=0.12)


def test_it_is_a_sequence(street):
    assert len(street) == 2 and list(street) == street.poses and street[1] is street.poses[1]
    assert street == street.poses and street != [] and PicturePoses("a.jpg", []) == []
    assert street[-1:] == [street.poses[1]] and hash(street) is not None
    assert street.boxes.tolist() == [[10, 4, 10, 30], [50, 4, 10, 30]]
    np.testing.assert_allclose(street.scores, [0.8 * 0.5, 0.9], rtol=1e-6)
    assert street.ids == [4, 7] and street.keypoints.shape == (2, 2, 2)
    assert repr(street) == "PicturePoses(2 people (1 unsure) in frame 3 of 'street.jpg')"
    empty = PicturePoses("a.jpg", [], skeleton=STICK)
    assert empty.keypoints.shape == (0, 2, 2) and empty.boxes.shape == (0, 4) and not empty


def test_documents(street):
    document = street.to_dict()
    assert document["frame"] == 3 and document["seconds"] == 0.12 and "alone" not in document
    assert document["keypoint_names"] == ["top", "foot"]
    assert [one["id"] for one in document["people"]] == [4, 7]
    assert [one.get("sure", True) for one in document["people"]] == [True, False]
    assert [entry["bbox"] for entry in street.to_coco(image_id=9)] == street.boxes.tolist()
    assert {entry["image_id"] for entry in street.to_coco(9)} == {9}
    assert PicturePoses("a.jpg", [person(1)], alone=True).to_dict()["alone"] is True


def test_tables(street, tmp_path):
    text = street.to_csv(tmp_path / "street.csv")
    assert (tmp_path / "street.csv").read_text() == text
    first, second = csv.DictReader(io.StringIO(text))
    assert first["image"] == "street.jpg" and first["person"] == "1" and first["frame"] == "3"
    assert [second[f"foot_{name}"] for name in ("x", "y", "score", "present")] == [
        "55.0", "30.0", "0.1", "0",
    ]  # fmt: skip
    assert (first["id"], first["sure"], second["sure"], first["seconds"]) == ("4", "1", "0", "0.12")
    with pytest.raises(UserError, match="exists already"):
        street.to_csv(tmp_path / "street.csv")
    assert PicturePoses("a.jpg", [], skeleton=STICK).to_csv().splitlines() == text.splitlines()[:1]


@pytest.mark.parametrize(
    ("name", "cell"),
    [
        ('=HYPERLINK("http://a")', '\'=HYPERLINK("http://a")'),
        ("+cmd|' /C calc'!A0.jpg", "'+cmd|' /C calc'!A0.jpg"),
        ("-2+3.jpg", "'-2+3.jpg"),
        ("@SUM(1).png", "'@SUM(1).png"),
        ("\t=1.png", "'\t=1.png"),
        ("\uff1d1.png", "'\uff1d1.png"),
        ("-12.5", "-12.5"),  # a number is none
        ("+1e3", "+1e3"),
        ("a=b-1.jpg", "a=b-1.jpg"),
        ("'quoted.jpg", "'quoted.jpg"),
    ],
)
def test_no_name_is_a_formula(name, cell):
    """Spreadsheets run what begins so, of pictures and joints alike."""
    skeleton = Skeleton("own", (name, "foot"))
    pose = Pose(np.array([[1, 2], [-3, 4]]), [0.5, 0.5], (0, 0, 9, 9), skeleton)
    head, row = csv.reader(io.StringIO(PicturePoses(name, [pose]).to_csv()))
    assert row[0] == cell
    assert [column for column in head if column[:1] in "=+-@\t\uff1d"] == []
    assert row[head.index("foot_x")] == "-3.0"  # numbers stay numbers


def test_pandas(street, monkeypatch):
    frame = pytest.importorskip("pandas") and street.to_pandas()
    assert frame.shape == (2, 8 + 2 * 5 + 3) and frame.id.tolist() == [4, 7]
    assert frame.top_x.tolist() == [15, 55] and frame.foot_present.tolist() == [True, False]
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UserError, match="pip install pandas"):
        street.to_pandas()


def test_supervision(street, monkeypatch):
    supervision = pytest.importorskip("supervision")
    points = street.to_supervision()
    assert isinstance(points, supervision.KeyPoints) and len(points) == 2
    assert points.xy.tolist() == [[[15, 6], [15, 30]], [[55, 6], [0, 0]]]
    assert points.data["tracker_id"].tolist() == [4, 7]
    assert points.visible.tolist() == [[True, True], [True, False]]
    np.testing.assert_allclose(points.detection_confidence, [0.4, 0.9], rtol=1e-6)
    expected = [pose.scores / (pose.scores + 0.2) for pose in street]
    np.testing.assert_allclose(points.keypoint_confidence, expected, rtol=1e-6)
    painted = supervision.VertexAnnotator(radius=2).annotate(street.image.copy(), points)
    assert (painted[6, 55] != 90).any() and (painted[30, 55] == 90).all()
    assert PicturePoses("a.jpg", []).to_supervision().is_empty()
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(UserError, match=r"keras_hourglass\[supervision\]"):
        street.to_supervision()


def test_crops_are_cut_to_the_picture(street):
    street.image[:, 50:60] = 200
    crops = street.crops(padding=1.0)
    assert [crop.shape for crop in crops] == [(30, 10, 3), (30, 10, 3)]
    assert (crops[0] == 90).all() and (crops[1] == 200).all()
    # 15 by 45 about (15, 19), cut at the upper and lower edge: 8 to 23, 0 to 40.
    assert street.crops(padding=1.5)[0].shape == (40, 16, 3)


def test_files(street, tmp_path):
    street.save(tmp_path / "street.json")
    assert json.loads((tmp_path / "street.json").read_text()) == street.to_dict()
    street.save(tmp_path / "street.csv")
    assert (tmp_path / "street.csv").read_text() == street.to_csv()
    street.save(tmp_path / "street.png", boxes=True)
    np.testing.assert_array_equal(read_image(tmp_path / "street.png"), street.draw(boxes=True))
    with pytest.raises(UserError, match="exists already"):
        street.save(tmp_path / "street.png")
    street.save(tmp_path / "street.png", overwrite=True)
    np.testing.assert_array_equal(read_image(street._repr_png_()), street.draw())


def test_a_picture_that_was_not_kept(tmp_path):
    path = tmp_path / "one.png"
    write_image(path, np.full((40, 90, 3), 90, np.uint8))
    again = PicturePoses(str(path), [person(10, image=str(path))])
    assert again.draw().shape == (40, 90, 3)
    gone = PicturePoses("a.jpg", [])
    assert gone._repr_png_() is None
    with pytest.raises(UserError, match="not known"):
        gone.draw()
    with pytest.raises(DataError, match="broken"):
        PicturePoses("a.jpg", [], error=DataError("broken")).draw()
