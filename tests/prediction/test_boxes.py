"""Boxes as users and files give them."""

import json

import numpy as np
import pytest

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.prediction.boxes import (
    NamedBoxes,
    Rectangles,
    as_rectangles,
    check_overlap,
    person_affines,
    read_boxes,
)
from keras_hourglass.prediction.pictures import Picture, Pictures

BOX = [1.0, 2.0, 30.0, 40.0]


def write(tmp_path, content):
    path = tmp_path / "boxes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def plain(found):
    return {name: boxes.tolist() for name, boxes in found.items()}


def test_one_for_every_picture():
    for boxes in (BOX, [BOX], np.array([BOX])):
        rectangles = Rectangles(boxes, Pictures([], None, "video"))
        assert rectangles.of(Picture("a", None), 7).tolist() == [BOX]


def test_names_match_by_path_file_or_stem():
    rectangles = Rectangles({"x/a.jpg": BOX, "b.jpg": [BOX, BOX], "c": []}, Pictures([], 3, "list"))
    assert len(rectangles.of(Picture("x/a.jpg", None), 0)) == 1
    assert len(rectangles.of(Picture("y/b.jpg", None), 1)) == 2
    assert len(rectangles.of(Picture("c.png", None), 2)) == 0
    assert rectangles.of(Picture("y/a.jpg", None), 3) is None


@pytest.mark.parametrize(
    "name",
    ["3fa94c1d-my dog.jpg", "my%20dog.jpg", "MY DOG.JPG", "?d=set%2Fmy%20dog.jpg", "my dog.jpeg",
     "my dog"],
)  # fmt: skip
def test_names_as_upload_pages_and_addresses_have_them(name):
    boxes = NamedBoxes({name: [BOX], "my cat.jpg": [BOX, BOX]}, ["x/my dog.jpg", "x/my cat.jpg"])
    assert boxes.of("x/my dog.jpg") == [BOX] and len(boxes.of("x/my cat.jpg")) == 2
    assert boxes.of("x/my cow.jpg") is None
    # Of two that may be meant, none; and of a picture that has a twin elsewhere.
    assert NamedBoxes({"a1b2c3-x.jpg": [BOX], "d4e5f6-x.jpg": []}).of("x.jpg") is None
    assert NamedBoxes({"a1b2c3-x.jpg": [BOX]}, ["a/x.jpg", "b/x.jpg"]).of("a/x.jpg") is None


def test_four_pictures_are_not_four_numbers():
    pictures = Pictures([], 4, "list")
    assert len(Rectangles([BOX] * 4, pictures).of(Picture("a", None), 2)) == 1
    assert Rectangles(BOX, pictures).of(Picture("a", None), 2).tolist() == [BOX]


def test_person_affines():
    """A box of 20x40 at (10, 5): centre (19.5, 24.5), side 40, doubled by padding."""
    [matrix] = person_affines(np.array([[10.0, 5, 20, 40]]), (32, 16), padding=2)
    np.testing.assert_allclose(matrix, [[0.2, 0, 7.5 - 3.9], [0, 0.2, 15.5 - 4.9]], atol=1e-12)
    assert person_affines(np.zeros((0, 4)), (32, 16)).shape == (0, 2, 3)


def coco(*annotations, categories=({"id": 1, "name": "person"},)):
    return {
        "images": [{"id": 3, "file_name": "a.jpg"}, {"id": 4, "path": "x\\b.jpg"}],
        "annotations": [{"image_id": 3, "category_id": 1, **one} for one in annotations],
        "categories": list(categories),
    }


@pytest.mark.parametrize("bbox", [{}, {"bbox": []}, {"bbox": [0, 0, 0, 0]}, {"bbox": None}])
def test_the_box_of_key_points_where_there_is_none(tmp_path, bbox):
    """Joints from (10, 20) to (50, 40): a side of 40, and a quarter more, about (30, 30)."""
    joints = [10, 20, 2, 0, 0, 0, 50, 40, 1]
    found = plain(read_boxes(write(tmp_path, coco({"keypoints": joints, **bbox}))))
    # The edges of pixels lie half of one before their centres.
    assert found == {"a.jpg": [[5.5, 5.5, 50, 50]]}
    with pytest.raises(DataError, match=r"needs a bbox, or keypoints that tell one|positive width"):
        read_boxes(write(tmp_path, coco({"keypoints": [0] * 9, **bbox})))


def test_tables_by_identifier_and_two_numbers_a_joint(tmp_path):
    content = coco({"keypoints": [[10, 20], [0, 0], [50, 40]]})
    content["categories"] = [{"id": 1, "name": "fly", "joints": "head, thorax, tail"}]
    content["images"] = {str(one.pop("id")): one for one in content["images"]}
    content["annotations"].append(None)
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [[5.5, 5.5, 50, 50]]}


def test_pictures_by_name_and_under_other_fields(tmp_path):
    content = coco({"image_id": "a.jpg", "bbox": BOX}, {"image_id": "4", "bbox": BOX})
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [BOX], "b.jpg": [BOX]}


def test_label_studio_has_the_people_s_boxes_in_a_category_of_their_own(tmp_path):
    categories = [{"id": 8, "name": "Person"}, {"id": 9, "keypoints": ["nose", "tail"]}]
    tight = {"category_id": 9, "keypoints": [10, 10, 2, 20, 30, 2], "bbox": [10, 10, 10, 20]}
    boxed = {"category_id": 8, "bbox": BOX}
    content = coco(boxed, tight, categories=categories)
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [BOX]}
    # A box that is more than the joints' own is the person's.
    wide = {**tight, "bbox": [5, 5, 25, 40]}
    content = coco(boxed, wide, categories=categories)
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [[5, 5, 25, 40]]}
    content = coco(tight, categories=categories)
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [[10, 10, 10, 20]]}


def test_overlap():
    image = np.zeros((50, 60, 3), np.uint8)
    check_overlap(np.array([[-29.0, 10, 30, 5], [59, 49, 5, 5]]), image, "a.jpg")
    for box in ([-30.0, 10, 30, 5], [60, 10, 5, 5], [5, 50, 5, 5], [5, -5, 5, 5]):
        with pytest.raises(DataError, match=r"60×50.*a\.jpg"):
            check_overlap(np.array([box]), image, "a.jpg")


def test_plain_file(tmp_path):
    path = write(tmp_path, {"a.jpg": BOX, "b.jpg": [BOX, BOX], "c.jpg": []})
    assert plain(read_boxes(path)) == {"a.jpg": [BOX], "b.jpg": [BOX, BOX], "c.jpg": []}


def test_coco_annotations(tmp_path):
    entry = {"image_id": 7, "bbox": BOX, "category_id": 1, "iscrowd": 0}
    content = {
        "images": [{"id": 7, "file_name": "val/a.jpg"}],
        "annotations": [entry, {**entry, "iscrowd": 1}, {**entry, "category_id": 3}],
    }
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [BOX]}


@pytest.mark.parametrize(
    "categories, wanted",
    [
        ([{"id": 7, "name": "person"}, {"id": 3, "name": "dog"}], 7),
        ([{"id": "7", "name": "dancer", "keypoints": ["nose"]}, {"id": 1, "name": "dog"}], 7),
        ([{"id": 1, "name": "cat"}, {"id": 7, "name": "Person"}], "7"),
    ],
)
def test_the_category_of_people_is_the_file_s(tmp_path, categories, wanted):
    boxes = [{"image_id": "0", "bbox": BOX, "category_id": wanted},
             {"image_id": 0, "bbox": [5, 5, 9, 9], "category_id": 3}]  # fmt: skip
    images = [{"id": 0.0, "file_name": "a.jpg"}]
    content = {"images": images, "annotations": boxes, "categories": categories}
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [BOX]}


def test_the_only_category_there_is_is_taken_and_of_several_none(tmp_path):
    one = [{"image_id": 4, "bbox": BOX, "category_id": 7}]
    assert plain(read_boxes(write(tmp_path, one))) == {"000000000004": [[*BOX, 1.0]]}
    both = [*one, {"image_id": 4, "bbox": BOX, "category_id": 8}]
    with pytest.raises(DataError, match="several categories"):
        read_boxes(write(tmp_path, both))


def test_equal_names_keep_their_folders(tmp_path):
    names = ["cam1/1.jpg", "cam2\\1.jpg", "cam2/2.jpg"]
    content = {
        "images": [{"id": number, "file_name": name} for number, name in enumerate(names)],
        "annotations": [
            {"image_id": number, "bbox": [number + 1, 2, 30, 40]} for number in range(3)
        ],
    }
    found = read_boxes(write(tmp_path, content))
    assert list(found) == ["cam1/1.jpg", "cam2/1.jpg", "2.jpg"]
    paths = [f"/data/set/{name}" for name in ("cam1/1.jpg", "cam2/1.jpg", "cam2/2.jpg")]
    named = NamedBoxes(found, paths)
    assert [named.of(path)[0, 0] for path in paths] == [1, 2, 3]
    # Another camera's boxes are not taken, nor those of a bare name that two pictures have.
    assert named.of("/data/set/cam3/1.jpg") is None
    bare = NamedBoxes({"1.jpg": BOX, "2": BOX, "gone.jpg": BOX}, paths)
    assert bare.meet(paths) == (paths[:2], ["1.jpg", "gone.jpg"])
    assert NamedBoxes({"1.jpg": BOX}).of(paths[0]) == BOX


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_any_encoding(tmp_path, encoding):
    path = tmp_path / "boxes.json"
    path.write_bytes(json.dumps({"ä.jpg": BOX}).encode(encoding))
    assert plain(read_boxes(path)) == {"ä.jpg": [BOX]}


def test_coco_detections(tmp_path):
    content = [
        {"image_id": 785, "bbox": BOX, "category_id": 1, "score": 0.9},
        {"image_id": 785, "bbox": BOX, "category_id": 2, "score": 0.9},
        {"image_id": 785, "bbox": BOX, "category_id": 1, "score": 0.2},
        {"image_id": "me.jpg", "bbox": BOX, "score": 0.5},
    ]
    found = plain(read_boxes(write(tmp_path, content), min_score=0.3))
    assert found == {"000000000785": [[*BOX, 0.9]], "me.jpg": [[*BOX, 0.5]]}


def test_output_of_predict(tmp_path):
    content = {"image": "x/a.jpg", "keypoint_names": [], "people": [{"box": BOX, "keypoints": []}]}
    assert plain(read_boxes(write(tmp_path, content))) == {"a.jpg": [BOX]}


def test_real_file(shared_data):
    found = read_boxes(shared_data / "coco_sample" / "person_keypoints.json")
    assert set(found) == {f"{number:012d}.jpg" for number in (785, 40083, 196141, 197388)}
    assert all(boxes.shape[1] == 4 for boxes in found.values())


@pytest.mark.parametrize(
    "content",
    ["", "[", "3", '"a"', [3], {"a.jpg": "b"}, {"a.jpg": [[1, 2]]}, {"a.jpg": [[1, 2, -3, 4]]},
     [{"bbox": BOX}], {"annotations": [{}], "images": []}, {"a.jpg": [[1, 2, 3, None]]}],
)  # fmt: skip
def test_damaged_files(tmp_path, content):
    with pytest.raises(DataError, match=r"boxes\.json"):
        read_boxes(write(tmp_path, content))


def test_missing_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_boxes(tmp_path / "none.json")


@pytest.mark.parametrize("box", [[3, 4, 1, 1], [0.1, 0.2, 0.5, 0.7], [0, 0, 1.9, 1.9, 0.8]])
def test_single_pixels_and_fractions(box):
    """The second is half a picture wide, as fractions; nobody asks for the joints of a pixel."""
    with pytest.raises(UserError, match=rf"at least 2. Received: \[{float(box[0])}.*Multiply"):
        as_rectangles([BOX + [1.0] * (len(box) - 4), box])


def test_a_thin_box_is_one():
    """Its longer side makes the square: 2 and 40 pixels."""
    assert as_rectangles([[3, 4, 0.5, 2], [3, 4, 40, 1]]).shape == (2, 4)


def test_a_file_names_the_picture_of_a_wrong_box(tmp_path):
    path = write(tmp_path, {"a.jpg": BOX, "b.jpg": [BOX, [5, 6, 1, 1]]})
    with pytest.raises(DataError, match=r"boxes\.json: boxes of b\.jpg: .*\[5.0, 6.0, 1.0, 1.0\]"):
        read_boxes(path)


@pytest.mark.parametrize("boxes", [1, "x", [[1, 2, 3]], [1] * 6, [[[1, 2, 3, 4]]], [{}]])
def test_no_rectangles(boxes):
    with pytest.raises(UserError, match="A box is"):
        as_rectangles(boxes)
