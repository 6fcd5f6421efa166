"""Who is in a picture where no boxes are given, with a network and a detector of coloured discs."""

import logging
import time

import numpy as np
import pytest
from colour_engine import ColourEngine, paint

from keras_hourglass import Predictor, Skeleton, StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.prediction.merging import choose_people, merge_doubles, similarities
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.prediction.predictor import sure_from

SIZE = (128, 64)  # height and width of the crops
# Colours do not change sides in a mirror.
PERSON = Skeleton("three", ("nose", "left_wrist", "right_wrist"), pairs=())
THING = Skeleton("thing", ("hinge", "handle", "spout"))
POINTS = ((40, 30), (120, 90), (150, 20))
BODY = np.array([(20.0, 0.0), (0.0, 50.0), (40.0, 60.0)])


def network(skeleton=PERSON, thresholds=0.2):
    return StackedHourglass(
        num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=skeleton,
        metadata={"thresholds": dict.fromkeys(skeleton.joints, thresholds)},
    )  # fmt: skip


@pytest.fixture
def finds(monkeypatch):
    """Let the package's own detector find what a test says; counts its calls."""
    calls = []

    def prepare(boxes):
        def detect(image, name=None):
            calls.append(image.shape)
            return np.reshape(np.array(boxes, float), (-1, 5))

        def make(detector, spinning):
            assert detector == "auto" and spinning
            return detect

        monkeypatch.setattr("keras_hourglass.prediction.predictor.make_detector", make)
        return calls

    return prepare


def predictor(skeleton=PERSON, **more):
    return Predictor(network(skeleton), engine=ColourEngine(SIZE), decoder="dark", **more)


def test_everybody_is_found_by_default(finds):
    finds([[20, 10, 150, 100, 0.9], [200, 10, 150, 100, 0.8]])
    both = paint(120, 370, *POINTS)
    both = np.maximum(both, paint(120, 370, *[(x + 180, y) for x, y in POINTS]))
    result = predictor()(both)
    assert len(result) == 2 and not result.alone
    np.testing.assert_allclose(result[0].keypoints, POINTS, atol=1.5)
    np.testing.assert_allclose(result[1].keypoints, np.add(POINTS, (180, 0)), atol=1.5)
    assert result[0].box_score == 0.9 and result[0].sure


def test_two_boxes_on_one_person_are_one_person(finds):
    finds([[20, 10, 150, 100, 0.7], [15, 5, 160, 110, 0.9], [18, 0, 150, 120, 0.6]])
    result = predictor(detector="auto")(paint(120, 370, *POINTS))
    [pose] = result
    assert pose.box_score == 0.9 and pose.box.tolist() == [15, 5, 160, 110]


def test_one_person_who_fills_the_picture_is_one(finds):
    """The detector saw only an arm."""
    finds([[110, 80, 30, 30, 0.6]])
    result = predictor()(paint(120, 200, *POINTS))
    [pose] = result
    assert pose.box.tolist() == [0, 0, 200, 120] and pose.box_score is None
    assert pose.present.all() and pose.sure and not result.alone


def test_nobody_found_is_the_whole_picture_and_said(finds):
    finds([])
    result = predictor()(paint(120, 200, *POINTS))
    [pose] = result
    assert result.alone and pose.sure and pose.box.tolist() == [0, 0, 200, 120]
    dark = predictor()(np.zeros((60, 90, 3), np.uint8))
    assert dark.alone and not dark[0].sure and dark[0].box.tolist() == [0, 0, 90, 60]
    assert "unsure" in repr(dark) and dark.to_dict()["alone"] is True
    assert dark.to_dict()["people"][0]["sure"] is False


class Low(ColourEngine):
    """Maps that are high enough for joints, 0.3, and not for somebody in the whole picture."""

    def __call__(self, crops):
        return {name: 0.3 * maps for name, maps in super().__call__(crops).items()}


def test_where_nobody_is_no_joint_is_there(finds):
    finds([])
    picture, model = paint(120, 200, *POINTS), network()
    for whole in (False, True):
        made = Predictor(model, engine=Low(SIZE), decoder="dark", whole=whole)
        [pose] = made(picture)
        np.testing.assert_allclose(pose.scores, 0.3, atol=0.03)
        # Who says that the whole picture is somebody is told which joints are likely.
        assert pose.present.tolist() == [whole] * 3 and pose.sure is whole


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [{"whole": True}, {"detector": None}, {"skeleton": THING}])
def test_the_whole_picture_as_before(finds, arguments):
    """Also where the joints are not those of people, whom nobody need look for."""
    calls = finds([[20, 10, 30, 30, 0.9]])
    result = predictor(**arguments)(paint(120, 200, *POINTS))
    assert [pose.box.tolist() for pose in result] == [[0, 0, 200, 120]]
    assert not calls and not result.alone


def test_given_boxes_are_everybody(finds):
    calls = finds([[20, 10, 30, 30, 0.9]])
    images = [paint(120, 200, *POINTS)] * 2
    boxes = [None, [[20, 10, 150, 100], [20, 10, 150, 100]]]
    found = [pose.box.tolist() for pose in predictor()(images, boxes=boxes)]
    # Twice the same, as asked; and a picture without an entry is the box.
    assert found == [[0, 0, 200, 120], [20, 10, 150, 100], [20, 10, 150, 100]] and not calls


def test_whole_and_a_detector_exclude_each_other():
    with pytest.raises(UserError, match="Leave one out"):
        predictor(whole=True, detector=lambda image: [])


def test_a_detector_that_was_chosen_has_the_last_word():
    picture = paint(120, 200, *POINTS)
    assert list(predictor(detector=lambda image: [])(picture)) == []
    [pose] = predictor(detector=lambda image: [[20, 10, 40, 40]])(picture)
    assert pose.box.tolist() == [20, 10, 40, 40]


@pytest.mark.slow
def test_the_detector_is_loaded_when_it_is_needed(caplog):
    """The package's own weights, on a picture that shows nothing."""
    caplog.set_level(logging.WARNING)
    result = predictor()(np.full((90, 140, 3), 120, np.uint8))
    assert result.alone and len(result) == 1 and not caplog.records


def test_how_sure_is_sure():
    """1.75 and 2.75 times the mean threshold, at most 0.2 and 0.35."""
    np.testing.assert_allclose(sure_from([0.02, 0.06]), (0.07, 0.11))
    assert sure_from([0.5, 0.1, 0.9]) == (0.2, 0.35) and sure_from([0.0]) == (0, 0)


def body(shift=(0, 0), scores=(0.9, 0.9, 0.9), **more):
    points = BODY + shift
    return Pose(points, scores, (*points.min(axis=0), 40, 60), PERSON, **more)


def test_similarity_by_hand():
    """All joints 6 px off: extent 60, area 0.3 · 60² = 1080, sigmas of nose and wrists."""
    spread = 2 * (2 * np.array([0.026, 0.062, 0.062])) ** 2 * 1080
    expected = np.exp(-36 / spread).mean()
    assert similarities(body(), [body((6, 0))])[0] == pytest.approx(expected, rel=1e-6)
    # Two joints in common are too few to tell.
    assert similarities(body(), [body(scores=(0.9, 0.9, 0.1))]).tolist() == [0]


def test_the_surest_of_doubles_stays_and_neighbours_do():
    poses = [body((1, 0), box_score=0.5), body((100, 0), box_score=0.7), body(box_score=0.9)]
    assert merge_doubles(poses) == [poses[2], poses[1]]
    unsure = body((300, 0), box_score=1.0, sure=False)
    assert merge_doubles([unsure, *poses])[-1] is unsure
    assert merge_doubles([]) == []


def test_the_whole_picture_counts_where_it_is_surer():
    whole = body(scores=(0.8, 0.8, 0.8))
    part, beside = body((4, 0), (0.7,) * 3), body((200, 0), (0.6,) * 3)
    doubtful = body((400, 0), (0.3,) * 3, sure=False)
    assert choose_people([part, beside, doubtful], whole, 0.35) == [whole, beside]
    # Somebody elsewhere: 0.8 is not 1.1 times 0.75.
    better = body((200, 0), (0.75,) * 3)
    assert choose_people([better], whole, 0.35) == [better]
    surer = body((4, 0), (0.9,) * 3)
    assert choose_people([surer], whole, 0.35) == [surer]
    assert choose_people([beside], whole, 0.85) == [beside]
    assert choose_people([beside], None, 0.35) == [beside]


@pytest.mark.slow
def test_a_crowd_that_was_found_is_everybody():
    """3,000 boxes in a grid, a fifth of them twice; and it takes no minutes."""
    places = np.stack(np.meshgrid(np.arange(50), np.arange(60)), axis=-1).reshape(-1, 2) * 100.0
    crowd = [body(place, box_score=0.5) for place in places]
    doubles = [body(place + 1, box_score=0.4) for place in places[::5]]
    start = time.process_time()
    kept = merge_doubles([*doubles, *crowd])
    assert len(kept) == 3000 and {id(pose) for pose in kept} == {id(pose) for pose in crowd}
    assert time.process_time() - start < 20


@pytest.mark.parametrize("wrong", ["nonsense", [[1, 2, 3]], [[[1]]], 7])
def test_a_detector_that_gives_nonsense_is_one_line(wrong):
    with pytest.raises(UserError, match="The detector must give x, y, w, h") as caught:
        predictor(detector=lambda image: wrong)(paint(120, 200, *POINTS))
    assert "\n" not in str(caught.value)


def test_broken_boxes_cost_nobody_else_anything(caplog):
    boxes = [
        [np.nan, 1, 20, 20, 0.9],
        [20, 10, 150, 100, 0.8],
        [5, 5, 0, 9, 0.7],
        [999, 0, 9, 9, 1],
    ]
    [pose] = predictor(detector=lambda image: boxes)(paint(120, 200, *POINTS))
    assert pose.box_score == 0.8
    [record] = caplog.records
    assert "3 of 4 boxes" in record.getMessage() and "\n" not in record.getMessage()


@pytest.mark.slow
def test_nobody_in_any_form():
    for nobody in ([], [[]], np.zeros((0, 4)), np.zeros((0, 5)), ()):
        result = predictor(detector=lambda image, nobody=nobody: nobody)(np.zeros((9, 9, 3), "u1"))
        assert len(result) == 0 and result.to_csv().count("\n") == 1 and result.draw().shape
