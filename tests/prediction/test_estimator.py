"""The task on raw pictures: what it takes for pictures and joints, and what it says otherwise."""

import numpy as np
import PIL.Image
import pytest

from keras_hourglass import PoseEstimator, StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.prediction.estimator import FURTHEST, PosePreprocessor

JOINTS = np.array([[[30.0, 20], [3, 4]], [[10, 10], [np.nan, 5]]])


@pytest.fixture(scope="module")
def estimator():
    backbone = StackedHourglass(
        None, 1, 8, depth=1, input_shape=(32, 48, 3), skeleton=["tail", "nose"]
    )
    made = PoseEstimator(backbone)
    made.compile("adam")
    return made


@pytest.fixture
def pictures():
    return np.random.default_rng(5).integers(0, 256, (2, 40, 60, 3), np.uint8)


def test_targets_are_the_joints_in_the_crop(pictures):
    crops, targets = PosePreprocessor((32, 48))(pictures, JOINTS)
    assert crops.shape == (2, 32, 48, 3) and targets.shape == (2, 2, 4)
    # The square around 60 by 40 pixels fills the crop's shorter edge, 32 / 60 for a pixel, middle
    # on middle: (30 - 29.5) * 32 / 60 + 23.5 = 23.767 in the crop, and a map has a pixel for four.
    assert targets[0, 0, :2] == pytest.approx([24.26667 / 4 - 0.5, 16.26667 / 4 - 0.5], abs=1e-5)
    # Seen, seen, seen, not labelled.
    assert targets[..., 2].tolist() == [[1, 1], [1, 0]]
    # The third number of a joint says whether it is labelled, whatever stands before it.
    marked = np.concatenate([np.nan_to_num(JOINTS), [[[2], [0]], [[1], [1]]]], axis=-1)
    assert PosePreprocessor((32, 48))(pictures, marked)[1][..., 2].tolist() == [[1, 0], [1, 1]]


@pytest.mark.slow
def test_fit_changes_what_predict_says(estimator, pictures, capsys):
    before = estimator.predict(pictures)
    history = estimator.fit(
        pictures, JOINTS, validation_data=(pictures[:1], JOINTS[:1]), epochs=3, verbose=0
    )
    after = estimator.predict(pictures)
    assert before.shape == after.shape == (2, 2, 3)
    assert np.isfinite(history.history["val_loss"]).all()
    assert not np.array_equal(before[..., 2], after[..., 2])
    assert estimator.evaluate(pictures, JOINTS, verbose=0, return_dict=True)["loss"] > 0


def test_one_picture_alone_is_a_list_of_one(estimator, pictures, tmp_path):
    path = tmp_path / "dog.png"
    PIL.Image.fromarray(pictures[1]).save(path)
    expected = estimator.predict(pictures[1:])
    for alone in (pictures[1], str(path), path, PIL.Image.open(path), path.read_bytes()):
        assert estimator.predict(alone) == pytest.approx(expected, abs=1e-4)
    assert estimator.predict(picture for picture in pictures).shape == (2, 2, 3)
    assert estimator.predict([]).shape == (0, 2, 3)


@pytest.mark.parametrize(
    ("x", "y", "boxes", "message"),
    [
        ([], [], None, "There must be a picture at least. Received: none"),
        (None, JOINTS, None, "Pictures come from a path, .* Received: NoneType"),
        (2, None, None, "need joints. Received: None"),
        (2, JOINTS[:1], None, "a row of joints for each picture. Received: 1 for 2"),
        (2, JOINTS[:, :1], None, "The network has 2 joints. Received: 1"),
        (2, [["left"]] * 2, None, "`joints` of N pictures are .* Received: list"),
        (2, JOINTS * 1e305, None, r"at most 1e\+06 from their corner. Received: 3e\+306"),
        (2, JOINTS, [[0, 0, 9, 9]], "a row of boxes for each picture. Received: 1 for 2"),
        (2, JOINTS, [[0, 0, 9, np.nan]] * 2, "needs finite numbers"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(estimator, pictures, x, y, boxes, message):
    x = pictures[:x] if isinstance(x, int) else x
    for call in (estimator.fit, estimator.evaluate):
        with pytest.raises(UserError, match=message):
            call(x, y, boxes, verbose=0)


def test_joints_that_are_not_labelled_may_lie_anywhere(pictures):
    marked = np.array([[[FURTHEST * 1e300, -np.inf, 0]], [[10, 10, 1]]])
    with np.errstate(all="raise"):
        _, targets = PosePreprocessor((32, 48))(pictures, marked)
    assert targets[:, 0, 2].tolist() == [0, 1] and np.isfinite(targets).all()


@pytest.mark.parametrize("value", [3, np.zeros((2, 40, 60, 3)), (1, 2, 3, 4), ([],)])
def test_validation_data_is_a_pair(estimator, pictures, value):
    with pytest.raises(UserError, match=r"validation_data is \(pictures, joints\)"):
        estimator.fit(pictures, JOINTS, validation_data=value, verbose=0)


def test_a_name_is_not_a_backbone():
    with pytest.raises(UserError, match="Received: 'hourglass_tiny_lsp'. .*from_preset"):
        PoseEstimator("hourglass_tiny_lsp")
