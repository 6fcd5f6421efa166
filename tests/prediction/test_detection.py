"""Finding people: the package's own detector with a network that cannot be wrong, and others'."""

import json
import logging

import cv2
import numpy as np
import pytest
from colour_engine import SKELETON, ColourEngine
from detector_files import write_onnx

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.codec import BoxCodec
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.prediction.detection import OWN, HourglassDetector, make_detector

SIZE = (64, 96)


def bright_people(crops):
    """An engine that frames every bright patch, as sure as it is bright."""
    maps = []
    for crop in crops:
        mask = (crop.max(axis=-1) > 100).astype(np.uint8)
        _, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
        boxes = stats[1:, :4]
        encoded = BoxCodec(SIZE, least=0).encode(boxes)[..., :5]
        for number, (x, y, width, height) in enumerate(boxes, start=1):
            around = encoded[y // 4 : -(-(y + height) // 4), x // 4 : -(-(x + width) // 4), 0]
            around *= crop[labels == number].max() / 255
        maps.append(encoded)
    return {"stack_1": np.float32(maps)}


@pytest.fixture(scope="module")
def model():
    return StackedHourglass(
        num_stacks=1, num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton="boxes",
        metadata={"thresholds": {"centre": 0.5}},
    )  # fmt: skip


def picture(height, width, people):
    """Black but for people `x, y, w, h, brightness`."""
    image = np.zeros((height, width, 3), np.uint8)
    for x, y, w, h, brightness in people:
        image[y : y + h, x : x + w] = brightness
    return image


@pytest.mark.parametrize(
    ("height", "width", "people"),
    [
        # Halved: 96×64 of a picture that fits exactly.
        (128, 192, [[20, 40, 40, 64, 255], [120, 16, 32, 80, 230]]),
        # Wider: 8 rows above; a third.
        (144, 288, [[30, 30, 60, 90, 255], [210, 12, 36, 120, 230]]),
        # Upright: 37 columns on the left, a quarter of the size.
        (256, 88, [[8, 40, 40, 80, 255], [20, 160, 48, 88, 230]]),
        # Small: enlarged twice.
        (32, 40, [[4, 4, 12, 24, 255], [26, 6, 10, 20, 230]]),
    ],
)
def test_people_are_found_where_they_are(model, height, width, people):
    found = HourglassDetector(model, engine=bright_people)(picture(height, width, people))
    assert found.shape == (2, 5) and found.dtype == np.float64
    found = found[np.argsort(found[:, 0])] if people[0][0] < people[1][0] else found
    # As exact as a pixel of the input.
    pixel = 1 / min(SIZE[0] / height, SIZE[1] / width)
    expected = np.array(people, np.float64)[:, :4]
    found = found[np.argsort(found[:, 1] + found[:, 0])]
    np.testing.assert_allclose(found[:, :4], expected, atol=1.6 * pixel)


def test_who_is_less_sure_than_the_model_says_is_left_out(model):
    image = picture(128, 192, [[20, 40, 40, 64, 255], [120, 16, 32, 80, 120]])
    # 120 / 255 = 0.47 is below the model's own 0.5.
    assert len(HourglassDetector(model, engine=bright_people)(image)) == 1
    sure = HourglassDetector(model, least_score=0.3, engine=bright_people)(image)
    assert len(sure) == 2 and sure[0, 4] > sure[1, 4]
    assert len(HourglassDetector(model, least_score=0.99, engine=bright_people)(image)) == 0


@pytest.mark.parametrize("shape", [(1, 1), (1, 900), (700, 2), (64, 96)])
def test_nobody_is_found_where_nobody_is(model, shape):
    found = HourglassDetector(model, engine=bright_people)(np.zeros((*shape, 3), np.uint8))
    assert found.shape == (0, 5)


def test_a_network_of_joints_finds_nobody():
    pose = StackedHourglass(num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=SKELETON)
    with pytest.raises(UserError, match="A network that finds people has the maps centre, log_w"):
        HourglassDetector(pose)


def test_a_network_that_finds_people_has_no_joints(model):
    with pytest.raises(UserError, match="A network of joints is needed"):
        Predictor(model)


@pytest.mark.slow
def test_what_is_seen_in_inputs_of_several_sizes_counts_more():
    from keras_hourglass.data.figures import render

    image = np.full((400, 600, 3), 120, np.uint8)
    image[20:380, 30:390] = render(7, 27, 360)
    small, large = (HourglassDetector(OWN, 0.05, flip=False, sides=[side]) for side in (256, 384))
    assert [one.codec.input_size for one in (small, large)] == [(256, 256), (384, 384)]
    # The second of several looks is at the mirrored picture.
    mirrored = large(image[:, ::-1].copy())
    mirrored[:, 0] = 600 - mirrored[:, 0] - mirrored[:, 2]
    looks = small(image), mirrored
    both = HourglassDetector(OWN, 0.4, sides=(256, 384))(image)
    # The figure is the best of each: the mean of the boxes by score, and the mean of the scores.
    (first, one), (second, two) = ((boxes[0, :4], boxes[0, 4]) for boxes in looks)
    np.testing.assert_allclose(both[0, 4], (one + two) / 2, atol=1e-4)
    np.testing.assert_allclose(both[0, :4], (first * one + second * two) / (one + two), atol=0.1)
    assert (both[:, 4] >= 0.4).all() and len(both) <= min(map(len, looks))
    plain = HourglassDetector(OWN, 0.4, flip=False, sides=(256, 384))(image)
    straight = (small(image)[0, 4] + large(image)[0, 4]) / 2
    np.testing.assert_allclose(plain[0, 4], straight, atol=1e-4)
    assert abs(straight - both[0, 4]) > 1e-3


@pytest.mark.parametrize(
    ("sides", "reason"),
    [
        ([300], "multiples of 64"),
        ([], "up to 4 numbers of pixels"),
        ([64] * 5, "up to 4 numbers of pixels"),
        ([64.0], "up to 4 numbers of pixels"),
        ([1 << 20], "at most 2048"),
        ("64", "up to 4 numbers of pixels"),
    ],
)
def test_sides_that_no_network_has(sides, reason):
    with pytest.raises(UserError, match=reason):
        HourglassDetector(OWN, sides=sides)


def test_a_model_in_memory_has_its_own_side_alone(model):
    for options in ({}, {"engine": bright_people}):
        with pytest.raises(UserError, match="models by name"):
            HourglassDetector(model, sides=[64], **options)


def test_poses_of_everybody_who_is_found(model):
    pose = StackedHourglass(num_features=4, depth=1, input_shape=(64, 64, 3), skeleton=SKELETON)
    detector = HourglassDetector(model, engine=bright_people)
    predictor = Predictor(pose, engine=ColourEngine((64, 64)), detector=detector)
    people = [[20, 40, 40, 64, 255], [120, 16, 32, 80, 230]]
    poses = predictor(picture(128, 192, people))
    assert len(poses) == 2 and all(pose.box_score > 0.5 for pose in poses)
    assert predictor(np.zeros((128, 192, 3), np.uint8)) == []


def test_detectors_by_file_and_name(tmp_path, model):
    rows = np.array([[[10, 8, 30, 40, 0.75, 0]]], np.float32)  # YOLOv10's final boxes
    path = write_onnx(tmp_path / "ten.onnx", {"output0": rows}, names={0: "person"})
    np.testing.assert_allclose(
        make_detector(str(path))(np.zeros((64, 96, 3), np.uint8)), [[10, 8, 20, 32, 0.75]]
    )
    assert make_detector(path, least_score=0.8)(np.zeros((64, 96, 3), np.uint8)).size == 0
    model.save_to_preset(tmp_path / "own")
    own = make_detector(tmp_path / "own")
    assert isinstance(own, HourglassDetector) and own.least_score == 0.5
    for wrong in (7, {"a": 1}, None):
        with pytest.raises(UserError, match="A detector is 'auto', a name, a file"):
            make_detector(wrong)
    with pytest.raises(UserError, match="magic"):
        make_detector("magic")


def test_boxes_by_picture_from_a_file(tmp_path):
    path = tmp_path / "found.json"
    entries = [
        {"image_id": "a.png", "category_id": 1, "bbox": [4, 5, 20, 30], "score": 0.9},
        {"image_id": "a.png", "category_id": 1, "bbox": [4, 5, 20, 30], "score": 0.2},
        {"image_id": "b.png", "category_id": 1, "bbox": [1, 1, 9, 9], "score": 0.6},
    ]
    path.write_text(json.dumps(entries))
    image = np.zeros((64, 96, 3), np.uint8)
    detect = make_detector(path, least_score=0.5)
    np.testing.assert_allclose(detect(image, "some/a.png"), [[4, 5, 20, 30, 0.9]])
    np.testing.assert_allclose(detect(image, "b.png"), [[1, 1, 9, 9, 0.6]])
    assert len(detect(image, "nobody.png")) == 0
    path.write_text("[{}]")
    with pytest.raises(DataError):
        make_detector(path)


def test_broken_boxes_of_a_callable_cost_nobody_else_their_pose(caplog):
    found = [[2, 3, 20, 40, 0.9], [np.nan, 3, 20, 40, 0.9], [2, 3, np.inf, 40, 0.9],
             [2, 3, -5, 40, 0.9], [500, 3, 20, 40, 0.9], [-30, 3, 20, 40, 0.9], [9, 9, 1, 1, 0.9],
             [-10, -10, 30, 40, 0.4]]  # fmt: skip
    detect = make_detector(lambda image: found)
    with caplog.at_level(logging.WARNING, "keras_hourglass"):
        kept = detect(np.zeros((64, 96, 3), np.uint8), "street.jpg")
    np.testing.assert_allclose(kept, [found[0], found[-1]])
    [record] = caplog.records
    assert "gave 6 of 8 boxes" in record.getMessage() and "street.jpg" in record.getMessage()
    assert "\n" not in record.getMessage()


@pytest.mark.parametrize("answer", [None, 5, [[1, 2, 3]], "boxes", [[[1, 2, 3, 4]]], [["a"] * 4]])
def test_answers_that_are_no_boxes(answer):
    detect = make_detector(lambda image: answer)
    with pytest.raises(UserError, match="must give x, y, w, h") as caught:
        detect(np.zeros((64, 96, 3), np.uint8), "street.jpg")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("answer", [[], np.zeros((0, 4)), np.zeros((0, 5)), ()])
def test_nobody_is_an_answer(answer):
    assert make_detector(lambda image: answer)(np.zeros((9, 9, 3), np.uint8)).shape == (0, 5)
