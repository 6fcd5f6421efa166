"""From pictures to joints, with a network that finds coloured discs."""

import io
import threading
import tracemalloc

import cv2
import numpy as np
import pytest
from colour_engine import SKELETON, ColourEngine, paint
from PIL import Image

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.images import write_image

SIZE = (128, 64)  # height and width of the crops
POINTS = ((40, 30), (120, 90), (150, 20))


@pytest.fixture(scope="module")
def model():
    return StackedHourglass(num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=SKELETON)


@pytest.fixture
def predictor(model):
    return Predictor(model, engine=ColourEngine(SIZE), decoder="dark", batch_size=4)


@pytest.fixture
def folder(tmp_path):
    """Pictures of different sizes whose names sort in another order than they are written."""
    for name, shift in (("b.png", 10), ("a.png", 0), ("c.png", 20)):
        points = [(x + shift, y) for x, y in POINTS]
        write_image(tmp_path / name, paint(120 + shift, 200 + shift, *points))
    (tmp_path / "notes.txt").write_text("no picture")
    return tmp_path


def close(pose, points=POINTS, tolerance=1.0):
    np.testing.assert_allclose(pose.keypoints, points, atol=tolerance)
    return True


def test_whole_picture_is_the_box(predictor):
    [pose] = predictor(paint(120, 200, *POINTS))
    assert pose.box.tolist() == [0, 0, 200, 120]
    assert close(pose) and pose.present.all() and pose.names == ("red", "green", "blue")


@pytest.mark.slow
def test_a_model_says_how_it_is_decoded():
    """Prediction, evaluation and export agree; what is asked for comes first."""
    from keras_hourglass.codec import codec_of
    from keras_hourglass.data.figures import synthetic_records
    from keras_hourglass.evaluation import predict_records

    config = {"num_features": 4, "depth": 1, "input_shape": (16, 16, 3), "skeleton": "lsp"}
    records = synthetic_records(num=1, seed=1, size=32)
    for own, expected in (({}, "quarter"), ({"decoder": "max"}, "max")):
        model = StackedHourglass(**config, num_stacks=1, metadata={"preprocessing": own})
        for asked, used in ((None, expected), ("dark", "dark")):
            assert Predictor(model, decoder=asked).codec.decoder == used
            assert predict_records(model, records, decoder=asked).settings["decoder"] == used
            assert codec_of(model, "stack_1", asked).decoder == used


def test_boxes_need_not_be_square_nor_inside(predictor):
    image = paint(120, 200, *POINTS)
    poses = predictor(image, boxes=[[10, 10, 180, 90], [-30, -20, 220, 150]])
    assert [pose.box.tolist() for pose in poses] == [[10, 10, 180, 90], [-30, -20, 220, 150]]
    assert all(close(pose, tolerance=1.5) for pose in poses)


def test_a_box_shows_only_its_part(predictor):
    image = paint(120, 200, *POINTS)
    [pose] = predictor(image, boxes=(20, 10, 40, 40))
    assert pose.present.tolist() == [True, False, False]
    np.testing.assert_allclose(pose.keypoints[0], (40, 30), atol=0.3)


def test_padding_widens_given_boxes_but_not_the_picture(model):
    predictor = Predictor(model, engine=ColourEngine(SIZE), decoder="dark", padding=8.0)
    image = paint(120, 200, *POINTS)
    [pose] = predictor(image, boxes=(20, 10, 40, 40))
    assert pose.present.all() and pose.box.tolist() == [20, 10, 40, 40]
    [whole] = predictor(image)
    assert close(whole)


def test_scores_of_boxes_are_kept(predictor):
    image = paint(120, 200, *POINTS)
    [pose] = predictor(image, boxes=[[0, 0, 200, 120, 0.25]])
    assert pose.box_score == 0.25 and pose.score == pytest.approx(0.25, abs=0.02)


def test_kinds_of_pictures(predictor, folder):
    image = paint(120, 200, *POINTS)
    path = folder / "a.png"
    pil = Image.fromarray(image)
    for source in (str(path), path, path.read_bytes(), image, pil):
        [pose] = predictor(source)
        assert close(pose)
    poses = predictor([path, image, [pil, path.read_bytes()]])
    assert len(poses) == 4 and all(close(pose) for pose in poses)
    assert len(predictor(np.stack([image, image]))) == 2


def test_exif_orientation(predictor):
    """Stored sideways, with the note to turn it clockwise by a quarter for viewing."""
    stored = np.ascontiguousarray(np.rot90(paint(120, 200, *POINTS)))
    exif = Image.Exif()
    exif[0x0112] = 6
    file = io.BytesIO()
    Image.fromarray(stored).save(file, "JPEG", exif=exif, quality=95, subsampling=0)
    for source in (file.getvalue(), Image.open(file)):
        [pose] = predictor(source)
        assert pose.box.tolist() == [0, 0, 200, 120]
        # JPEG's ringing shifts the centres of mass.
        assert close(pose, tolerance=3)


def test_folders_and_globs_are_lazy_and_sorted(predictor, folder):
    poses = predictor(str(folder))
    assert iter(poses) is poses
    poses = list(poses)
    assert [pose.image for pose in poses] == [str(folder / f"{name}.png") for name in "abc"]
    for pose, shift in zip(poses, (0, 10, 20), strict=True):
        assert close(pose, [(x + shift, y) for x, y in POINTS])
    assert [pose.image for pose in predictor(f"{folder}/[bc].png")] == [
        str(folder / "b.png"),
        str(folder / "c.png"),
    ]


def test_reads_no_more_than_is_asked_for(predictor):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield paint(60, 80, (10, 10), (40, 40), (60, 20), radius=3)

    poses = predictor(endless())
    assert close(next(poses), ((10, 10), (40, 40), (60, 20)))
    poses.close()
    # Three batches are under way at most: used, running, waiting.
    assert len(asked) <= 6 * predictor.batch_size


def test_pictures_share_batches(model):
    engine = ColourEngine(SIZE)
    image = paint(120, 200, *POINTS)
    assert len(Predictor(model, engine=engine, batch_size=4, flip=False)([image] * 10)) == 10
    assert engine.batches == [4, 4, 2]
    engine.batches.clear()
    assert len(Predictor(model, engine=engine, batch_size=4, flip=True)([image] * 5)) == 5
    assert engine.batches == [8, 2]


def test_boxes_by_name_and_by_position(predictor, folder):
    box = [[20, 10, 150, 100]]
    named = list(predictor(str(folder), boxes={"b.png": box, str(folder / "c.png"): box * 2}))
    assert [pose.image[-5:] for pose in named] == ["a.png", "b.png", "c.png", "c.png"]
    assert [pose.box[2] for pose in named] == [200, 150, 150, 150]
    paths = [folder / "a.png", folder / "b.png"]
    listed = predictor(paths, boxes=[None, box])
    assert [pose.box[2] for pose in listed] == [200, 150]
    with pytest.raises(UserError, match="2 pictures, 1 entries"):
        predictor(paths, boxes=[box])


def test_no_person_in_a_picture(model):
    detector = {200: [[20, 10, 150, 100, 0.5]], 210: np.zeros((0, 5)), 220: [[0, 0, 50, 60]] * 2}
    predictor = Predictor(
        model, engine=ColourEngine(SIZE), detector=lambda image: detector[image.shape[1]]
    )
    images = [paint(90, width, *POINTS) for width in (210, 200, 220, 210)]
    results = list(predictor.stream(images))
    assert [len(result.poses) for result in results] == [0, 1, 2, 0]
    assert results[1].poses[0].box_score == 0.5
    assert results[3].image.shape == (90, 210, 3)


def test_unreadable_pictures(predictor, folder):
    (folder / "a.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"a\.png"):
        list(predictor(str(folder)))
    results = list(predictor.stream(str(folder), on_error="keep"))
    assert [result.error is None for result in results] == [False, True, True]
    assert [len(result.poses) for result in results] == [0, 1, 1]


@pytest.mark.parametrize(
    ("boxes", "reason"),
    [
        ([1, 2, 3], "four or five numbers"),
        ([[1, 2, 0, 5]], "positive width"),
        ([[np.nan, 2, 3, 5]], "finite"),
        ([[300, 2, 3, 5]], "overlap"),
        ("everybody", "A box is"),
    ],
)
def test_boxes_that_are_none(predictor, boxes, reason):
    with pytest.raises(UserError, match=reason):
        predictor(paint(120, 200, *POINTS), boxes=boxes)


@pytest.mark.parametrize("source", [None, True, 2.5, object()])
def test_sources_that_are_none(predictor, source):
    with pytest.raises(UserError, match="Pictures come from"):
        predictor(source)


@pytest.mark.parametrize(
    "array",
    [np.zeros((5, 5), np.uint8), np.zeros((5, 5, 3)), np.zeros((5, 5, 4), np.uint8)],
)
def test_arrays_that_are_no_pictures(predictor, array):
    with pytest.raises(DataError, match="uint8 RGB"):
        predictor(array)


def test_video(predictor, tmp_path):
    path = str(tmp_path / "film.avi")
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*"MJPG"), 12.5, (200, 120))
    for shift in range(5):
        frame = paint(120, 200, *[(x + 5 * shift, y) for x, y in POINTS])
        writer.write(frame[..., ::-1].copy())
    writer.release()
    results = list(predictor.stream(path))
    assert [result.frame for result in results] == list(range(5))
    for shift, result in enumerate(results):
        assert close(result.poses[0], [(x + 5 * shift, y) for x, y in POINTS], 4)
    assert sum(1 for _ in predictor(path)) == 5


def test_camera_shows_each_picture_at_once(predictor, monkeypatch):
    class Camera:
        taken, released = 0, False

        def __init__(self, index):
            assert index == 3

        def isOpened(self):
            return True

        def get(self, _):
            return 0.0

        def read(self):
            Camera.taken += 1
            return True, paint(120, 200, *POINTS)[..., ::-1].copy()

        def release(self):
            Camera.released = True

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    results = predictor.stream(3)
    for number in range(3):
        result = next(results)
        assert result.frame == number and close(result.poses[0])
        # No picture waits for others: at most one is being read ahead.
        assert Camera.taken <= number + 2
    results.close()
    assert Camera.released


def test_mirror_average_swaps_sides(model):
    """What the network sees as left in a mirrored crop is the person's right."""
    from keras_hourglass.skeletons import Skeleton

    skeleton = Skeleton("sided", ("left_hand", "right_hand", "nose"))
    height, width = 16, 8
    plain = np.zeros((1, height, width, 3), np.float32)
    plain[0, 3, 1] = (1, 0, 0)
    plain[0, 5, 6] = (0, 1, 0)
    plain[0, 9, 2] = (0, 0, 1)
    mirrored = np.zeros_like(plain)
    mirrored[0, 3, 6] = (0, 1, 0)  # the left hand, now at 7 - 1, looks like a right hand
    mirrored[0, 5, 1] = (1, 0, 0)
    mirrored[0, 9, 5] = (0, 0, 1)
    seen = []

    def engine(crops):
        seen.append(crops)
        return {"stack_2": np.concatenate([plain, mirrored])}

    predictor = Predictor(model, engine=engine, skeleton=skeleton)
    crops = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    np.testing.assert_array_equal(predictor.predict_crops(crops), plain)
    np.testing.assert_array_equal(seen[0], np.concatenate([crops, crops[:, :, ::-1]]))


def test_stack_thresholds_and_heatmaps(model):
    image = paint(120, 200, *POINTS)
    first = Predictor(model, engine=ColourEngine(SIZE), stack=1, heatmaps=True)
    [pose] = first(image)
    assert pose.scores.max() < 0.51 and pose.heatmaps.shape == (32, 16, 3)
    for thresholds, present in (
        (0.6, [False] * 3),
        ({"green": 0.6}, [True, False, True]),
        (None, [True] * 3),
    ):
        [pose] = Predictor(model, engine=ColourEngine(SIZE), stack=1, thresholds=thresholds)(image)
        assert pose.present.tolist() == present and pose.heatmaps is None


def test_thresholds_travel_with_the_model():
    model = StackedHourglass(
        num_features=4,
        depth=1,
        input_shape=(*SIZE, 3),
        skeleton=SKELETON,
        metadata={"thresholds": {"red": 2.0}},
    )
    [pose] = Predictor(model, engine=ColourEngine(SIZE))(paint(120, 200, *POINTS))
    assert pose.present.tolist() == [False, True, True]


@pytest.mark.parametrize(
    "arguments",
    [
        {"stack": 3},
        {"stack": 0},
        {"decoder": "best"},
        {"batch_size": 0},
        {"workers": 1.5},
        {"padding": -1},
        {"thresholds": "high"},
        {"thresholds": {"knee": 0.5}},
        {"thresholds": {"red": "high"}},
        {"thresholds": float("nan")},
        {"skeleton": "coco"},
        {"engine": "abacus"},
    ],
)
def test_impossible_arguments(model, arguments):
    with pytest.raises(UserError, match=r"Received"):
        Predictor(model, **arguments)


def test_a_model_without_skeleton():
    model = StackedHourglass(num_keypoints=3, num_features=4, depth=1, input_shape=(*SIZE, 3))
    with pytest.raises(UserError, match="3 joints without one"):
        Predictor(model)
    [pose] = Predictor(model, engine=ColourEngine(SIZE), flip=False)(paint(120, 200, *POINTS))
    assert pose.names == ("joint_1", "joint_2", "joint_3")


@pytest.mark.slow
def test_the_number_of_joints_names_the_common_skeletons():
    model = StackedHourglass(num_keypoints=16, num_features=4, depth=1, input_shape=(*SIZE, 3))
    assert Predictor(model).skeleton.name == "mpii"


@pytest.mark.slow
def test_real_network(model):
    """The whole way through Keras agrees with the same steps by hand."""
    from keras_hourglass.geometry import crop_affine
    from keras_hourglass.io.images import warp

    image = np.random.default_rng(0).integers(0, 256, (90, 70, 3), np.uint8)
    [pose] = Predictor(model, heatmaps=True, flip=False)(image, boxes=(5, 10, 40, 60))
    # The square around x 5..44, y 10..69 has its centre at (24.5, 39.5) and a side of 60.
    crop = warp(image, crop_affine((24.5, 39.5, 60), SIZE), SIZE)
    expected = model.predict(crop[None], verbose=0)["stack_2"][0]
    np.testing.assert_allclose(pose.heatmaps, expected, atol=1e-5)


def test_threads_live_as_long_as_the_predictor(model):
    """Libraries keep memory of every thread they ran in, so a call must not start new ones."""
    engine, names = ColourEngine(SIZE), {"read": set(), "run": set()}

    def watched(crops):
        names["run"].add(threading.current_thread().name)
        return engine(crops)

    def detector(image):
        names["read"].add(threading.current_thread().name)
        return [[0, 0, 200, 120]]

    predictor = Predictor(model, engine=watched, detector=detector, workers=2)
    picture = paint(120, 200, *POINTS)
    for _ in range(5):
        assert len(predictor([picture] * 3)) == 3
    assert len(names["run"]) == 1 and len(names["read"]) <= 2
    assert threading.current_thread().name not in names["run"] | names["read"]
    # A single picture is read where it is asked for.
    predictor(picture)
    assert threading.current_thread().name in names["read"] and len(names["run"]) == 1


def test_a_detector_may_call_the_predictor(model):
    def detector(image):
        [pose] = predictor([image], boxes=[[[0, 0, 200, 120]]])
        return [[*(pose.keypoints.min(axis=0) - 20), 160, 110]]

    predictor = Predictor(
        model, engine=ColourEngine(SIZE), detector=detector, decoder="dark", workers=1
    )
    poses = predictor([paint(120, 200, *POINTS)] * 3)
    assert len(poses) == 3 and all(close(pose) for pose in poses)
    np.testing.assert_allclose(poses[0].box, [20, 0, 160, 110], atol=1)


@pytest.mark.slow
def test_a_crowd_is_everybody_in_little_memory(model):
    """4,000 boxes: nobody is lost, and the network never sees more than a few batches at once."""
    largest = 0

    class Watched(ColourEngine):
        def __call__(self, crops):
            nonlocal largest
            largest = max(largest, len(crops))
            return super().__call__(crops)

    rng = np.random.default_rng(2)
    boxes = np.column_stack([rng.uniform(0, 300, (4000, 2)), rng.uniform(20, 60, (4000, 2))])
    image = np.zeros((400, 400, 3), np.uint8)
    predictor = Predictor(model, engine=Watched(SIZE), batch_size=8, flip=False)
    tracemalloc.start()
    poses = predictor(image, boxes=boxes)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_allclose([pose.box for pose in poses], boxes)
    assert largest <= 8
    # All crops and heatmaps at once would be more than 4,000 × 64 × 64 × 3 bytes.
    assert peak < 30e6
