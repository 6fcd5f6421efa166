"""Finding people: the windows, the search with a network that cannot be wrong, OpenCV's own."""

import cv2
import numpy as np
import pytest
from colour_engine import SKELETON, ColourEngine, paint

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.prediction.detection import NetworkSearch, make_detector
from keras_hourglass.prediction.tracking import overlap

SIZE = (64, 64)


class OnePersonEngine(ColourEngine):
    """Sure of a crop with one disc of each colour and of a fitting size, and of nothing else."""

    def __call__(self, crops):
        heatmaps = super().__call__(crops)
        for number, crop in enumerate(crops):
            heatmaps["stack_2"][number] *= 1.0 if _one_person(crop) else 0.05
        return heatmaps


def _one_person(crop):
    places = []
    for channel in range(3):
        mask = (crop[..., channel] > 100).astype(np.uint8)
        count, _, _, centres = cv2.connectedComponentsWithStats(mask)
        if count != 2:
            return False
        places.append(centres[1])
    extent = np.ptp(places, axis=0).max()
    return 20 < extent < 60


@pytest.fixture(scope="module")
def model():
    return StackedHourglass(num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=SKELETON)


@pytest.fixture
def predictor(model):
    return Predictor(model, engine=OnePersonEngine(SIZE), decoder="dark", detector="search")


def picture():
    """Two people of different size, 60 and 120 pixels tall."""
    image = np.zeros((240, 400, 3), np.uint8)
    small = paint(240, 400, (60, 60), (60, 120), (90, 90), radius=5)
    large = paint(240, 400, (280, 70), (280, 190), (340, 130), radius=9)
    return image + small + large


def test_everybody_is_found_at_their_size(predictor):
    poses = sorted(predictor(picture()), key=lambda pose: pose.box[0])
    assert len(poses) == 2
    # The square around each person's joints, 1.25 times their larger extent.
    for pose, expected in zip(poses, ([37.5, 52.5, 75, 75], [235, 55, 150, 150]), strict=True):
        assert overlap(pose.box, expected) > 0.85, pose.box
        assert pose.box_score > 0.8
    np.testing.assert_allclose(poses[0].keypoints, [(60, 60), (60, 120), (90, 90)], atol=1.5)
    np.testing.assert_allclose(poses[1].keypoints, [(280, 70), (280, 190), (340, 130)], atol=2)


def test_nobody_is_found_where_nobody_is(predictor):
    assert predictor(np.zeros((100, 150, 3), np.uint8)) == []
    assert predictor(np.zeros((5, 7, 3), np.uint8)) == []


def test_windows_cover_the_picture(predictor):
    windows = NetworkSearch(predictor).windows((120, 300))
    sides = np.unique(windows[:, 2])
    np.testing.assert_allclose(sides, [75, 105, 150, 210, 300])
    for side in sides:
        own = windows[windows[:, 2] == side]
        for axis, extent in ((0, 300), (1, 120)):
            starts = np.unique(own[:, axis])
            # From edge to edge without a gap of more than 0.4 sides; centred if one is enough.
            assert (np.diff(starts) <= 0.4 * side + 1e-9).all()
            assert starts[0] == pytest.approx(min(0, (extent - side) / 2))
            assert starts[-1] + side == pytest.approx(max(extent, (extent + side) / 2))


def test_unknown_detector(model):
    with pytest.raises(UserError, match="Choose one of auto, search, hog"):
        Predictor(model, detector="magic")


def test_pedestrians_with_opencv(predictor):
    if hasattr(cv2, "HOGDescriptor"):
        found = make_detector("hog", predictor)(np.full((200, 300, 3), 127, np.uint8))
        assert found.shape == (0, 5)
    else:
        with pytest.raises(UserError, match="without its pedestrian detector"):
            make_detector("hog", predictor)
