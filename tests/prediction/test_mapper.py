"""Batches of pictures to tables of poses, as workers of Ray Data hand them over."""

import importlib.util
import json
import os
import pathlib
import pickle
import subprocess
import sys

import cv2
import numpy as np
import pytest
from colour_engine import SKELETON, ColourEngine, paint

from keras_hourglass import PoseMapper, Predictor, StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.inference import engines
from keras_hourglass.io.images import encode_image, read_image

JOB = pathlib.Path(__file__).parents[1] / "helpers" / "ray_job.py"
SIZE = (128, 64)  # height and width of the crops
POINTS = ((40, 30), (120, 90), (150, 20))
FURTHER = tuple((x - 10, y + 10) for x, y in POINTS)
ADDED = ["height", "width", "keypoint_names", "people", "alone", "error"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The preset of a network that finds coloured discs, once `ColourEngine` runs it."""
    folder = tmp_path_factory.mktemp("colours")
    StackedHourglass(
        num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=SKELETON,
        metadata={"preprocessing": {"decoder": "dark"}},
    ).save_to_preset(folder)  # fmt: skip
    return str(folder)


@pytest.fixture
def make(folder):
    return lambda **options: PoseMapper(folder, engine=ColourEngine(SIZE), batch_size=4, **options)


def close(person, points, tolerance=1.5):
    np.testing.assert_allclose(np.array(person["keypoints"])[:, :2], points, atol=tolerance)
    return True


def test_files_of_a_batch_become_rows_in_order(make):
    files = [
        encode_image(paint(120, 200, *POINTS), ".png"),
        encode_image(paint(130, 240, *FURTHER), ".png"),
    ]
    batch = {"id": np.array([7, 3]), "bytes": np.array(files, object), "path": ["a.png", "b.png"]}
    first, second = make().rows(batch)
    assert list(first) == ["id", "path", *ADDED]
    assert (first["id"], first["path"], first["height"], first["width"]) == (7, "a.png", 120, 200)
    assert (second["id"], second["path"], second["height"], second["width"]) == (
        3, "b.png", 130, 240,
    )  # fmt: skip
    assert first["keypoint_names"] == ["red", "green", "blue"] and first["error"] is None
    [person], [other] = first["people"], second["people"]
    assert close(person, POINTS) and close(other, FURTHER)
    assert person["box"] == [0, 0, 200, 120] and other["box"] == [0, 0, 240, 130]
    assert person["present"] == [True, True, True] and person["box_score"] is None
    assert person["sure"] and person["score"] == pytest.approx(
        np.mean([score for *_, score in person["keypoints"]]), abs=1e-3
    )


@pytest.mark.parametrize("kind", ["one array", "array of arrays", "list"])
def test_decoded_pictures_are_taken_as_they_are(make, kind):
    pictures = [paint(120, 200, *POINTS), paint(120, 200, *FURTHER)]
    if kind == "one array":
        column = np.stack(pictures)
    elif kind == "list":
        column = pictures
    else:
        column = np.empty(2, object)
        column[:] = pictures
    rows = make().rows({"image": column})
    assert [list(row) for row in rows] == [ADDED, ADDED]
    assert close(rows[0]["people"][0], POINTS) and close(rows[1]["people"][0], FURTHER)


def test_pictures_that_cannot_be_read_are_rows_with_their_error(make, tmp_path):
    good = encode_image(paint(120, 200, *POINTS), ".jpg")
    (tmp_path / "here.png").write_bytes(encode_image(paint(120, 200, *FURTHER), ".png"))
    cells = {
        "good": (good, None),
        "none": (None, "Received: nothing."),
        "empty": (b"", "Received: empty, which is empty."),
        "text": (b"no picture at all", "Received: text, which is none or is damaged."),
        "cut": (good[: len(good) // 2], "Received: cut, which is truncated or damaged"),
        "grey": (np.zeros((9, 8), np.uint8), "Received: grey with shape=(9, 8), dtype=uint8."),
        "float": (np.zeros((9, 8, 3)), "Received: float with shape=(9, 8, 3), dtype=float64."),
        "number": (3.5, "Received: float. Replace or leave it out. It is the picture of number."),
        "path": (str(tmp_path / "here.png"), None),
        "gone": (str(tmp_path / "gone.png"), "gone.png (No such file or directory)."),
        "view": (memoryview(good), None),
    }
    column = np.empty(len(cells), object)
    column[:] = [cell for cell, _ in cells.values()]
    rows = make(picture="photo").rows({"photo": column, "path": np.array(list(cells))})
    assert [row["path"] for row in rows] == list(cells)
    for row, (_, error) in zip(rows, cells.values(), strict=True):
        if error is None:
            assert row["error"] is None and row["width"] == 200
            assert close(row["people"][0], FURTHER if row["path"] == "path" else POINTS)
        else:
            assert error in row["error"] and "\n" not in row["error"]
            assert row["people"] == [] and row["height"] is None and row["width"] is None


def test_boxes_of_a_column(make):
    """Of two people, of one, of nobody, of the whole picture, of a box that is none."""
    picture = paint(120, 200, *POINTS)
    boxes = np.empty(5, object)
    boxes[:] = [[[0, 0, 200, 120], [10, 5, 180, 110, 0.5][:4]], [20, 0, 180, 120], [], None, [1, 2]]
    rows = make(boxes="people_boxes", padding=1.0).rows(
        {"image": [picture] * 5, "people_boxes": boxes, "path": list("abcde")}
    )
    assert [len(row["people"]) for row in rows] == [2, 1, 0, 1, 0]
    assert [person["box"] for row in rows for person in row["people"]] == [
        [0, 0, 200, 120], [10, 5, 180, 110], [20, 0, 180, 120], [0, 0, 200, 120],
    ]  # fmt: skip
    assert all(close(person, POINTS) for row in rows for person in row["people"])
    assert [row["error"] is None for row in rows] == [True] * 4 + [False]
    assert "A box is x, y, w, h" in rows[4]["error"] and "picture of e." in rows[4]["error"]
    # As Arrow's lists of lists come back, with scores.
    nested = np.empty(1, object)
    nested[0] = np.array([np.array([0.0, 0, 200, 120, 0.5]), np.array([9.0, 9, 90, 99, 0.25])])
    ragged = np.empty(2, object)
    ragged[:] = list(nested[0])
    nested[0] = ragged
    [row] = make(boxes="b").rows({"image": [picture], "b": nested})
    assert [person["box_score"] for person in row["people"]] == [0.5, 0.25]


def test_one_row_and_no_row(make):
    mapper = make()
    [row] = mapper.rows({"image": paint(120, 200, *POINTS)[None]})
    assert close(row["people"][0], POINTS)
    assert mapper.rows({"image": np.zeros((0, 120, 200, 3), np.uint8), "path": []}) == []


def test_nobody_is_a_row_too():
    """A detector that was chosen and finds nobody in the second picture."""

    def detect(image, name=None):
        return [[0, 0, 30, 40, 0.75]] if image.max() else []

    mapper = PoseMapper("hourglass_tiny_synthetic", detector=detect)
    pictures = np.zeros((2, 40, 30, 3), np.uint8)
    pictures[0] = 200
    rows = mapper.rows({"image": pictures})
    assert [len(row["people"]) for row in rows] == [1, 0]
    assert rows[1]["error"] is None and rows[1]["width"] == 30 and not rows[1]["alone"]


def test_tables_have_the_same_types_whatever_is_in_them(make):
    """Else the files of a data set would not go together."""
    pyarrow = pytest.importorskip("pyarrow")
    mapper, picture = make(), paint(120, 200, *POINTS)
    day = np.array([3], np.int16)
    several = mapper({"day": day, "image": [picture], "place": np.zeros((1, 2, 2))})
    error = mapper({"day": day, "image": [b""], "place": np.zeros((1, 2, 2))})
    nothing = mapper({"day": day[:0], "image": [], "place": np.zeros((0, 2, 2))})
    assert several.column_names == ["day", "place", *ADDED]
    assert several.schema.field("day").type == pyarrow.int16()
    assert several.schema == error.schema
    assert several.select(ADDED).schema == nothing.select(ADDED).schema
    assert (several.num_rows, error.num_rows, nothing.num_rows) == (1, 1, 0)
    [row] = several.to_pylist()
    assert row["place"] == [[0, 0], [0, 0]] and close(row["people"][0], POINTS)
    assert row == {**row, **json.loads(json.dumps(row))}
    assert error["error"][0].as_py().startswith("A picture is needed. Received: row 0 of its batch")
    with pytest.raises(UserError, match=r"Received: 'odd', which cannot be .* Drop it first"):
        mapper({"image": [picture, picture], "odd": [3, "three"]})


@pytest.mark.parametrize(
    ("batch", "message"),
    [
        ([b"", b""], "A batch is a dict of columns. Received: list. Leave out `batch_format`"),
        ({"picture": []}, r"needs a column 'bytes' or 'image'. Received: picture. .* `picture`"),
        ({"image": [], "error": []}, "Received: a batch with error. Rename them first"),
        ({"image": [b""], "path": []}, r"one length. Received: \{'image': 1, 'path': 0\}"),
    ],
)
def test_batches_that_are_none_are_refused(make, batch, message):
    with pytest.raises(UserError, match=message):
        make().rows(batch)
    with pytest.raises(UserError, match="needs a column 'bbox'. Received: image. .* `boxes`"):
        make(boxes="bbox").rows({"image": []})


@pytest.mark.slow
def test_the_class_travels_and_no_object_of_it(make):
    assert pickle.loads(pickle.dumps(PoseMapper)) is PoseMapper
    with pytest.raises(UserError, match=r"Hand over the class: map_batches\(PoseMapper"):
        pickle.dumps(make())
    model = StackedHourglass(num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=SKELETON)
    with pytest.raises(UserError, match="Received: a model in memory. Save it by `save_to_preset`"):
        PoseMapper(model)
    with pytest.raises(TypeError, match="PoseMapper has no argument 'flp'. Did you mean 'flip'"):
        PoseMapper(flp=False)


@pytest.mark.parametrize(
    ("said", "threads"),
    [(None, (None, os.cpu_count())), ("3", (3, 3)), ("2,5", (2, 2)), ("0", (None, os.cpu_count())),
     ("many", (None, os.cpu_count()))],
)  # fmt: skip
def test_a_worker_takes_the_threads_it_is_given(monkeypatch, said, threads):
    """Ray says how many in a variable that ONNX Runtime does not read."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    asked, load = [], engines.load_network

    def spy(path, outputs, number, spinning, runtime):
        asked.append(number)
        return load(path, outputs, number, spinning, runtime)

    monkeypatch.setattr(engines, "load_network", spy)
    Predictor("hourglass_tiny_synthetic", engine="onnxruntime")
    assert asked == [threads[0]]
    assert engines._threads("litert") == threads[1]


def _photographs(source, folder, count):
    """Small copies of photographs, of which a few are damaged; returns their names."""
    folder.mkdir()
    damaged = []
    for number, path in enumerate(sorted(source.glob("*.webp"))[:count]):
        image = read_image(path)
        size = tuple(max(1, 160 * edge // max(image.shape)) for edge in image.shape[1::-1])
        data = encode_image(cv2.resize(image, size, interpolation=cv2.INTER_AREA), ".jpg")
        name = folder / f"{path.stem}.jpg"
        if number % 100 == 7:
            damaged.append(str(name))
            data = (data[: len(data) // 2], b"", b"no picture")[number // 100 % 3]
        name.write_bytes(data)
    return damaged


@pytest.mark.full
@pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
def test_a_worker_that_is_killed_loses_nothing_and_doubles_nothing(shared_data, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    damaged = _photographs(shared_data / "coco_people/images", tmp_path / "in", 2000)
    # Else Ray keeps a token in the user's folder, and its workers give way to everything else.
    settings = {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    root = str(pathlib.Path(engines.__file__).parents[2])
    log, out, model = tmp_path / "log", tmp_path / "out", "hourglass_tiny_synthetic"
    done = subprocess.run(
        [sys.executable, JOB, tmp_path / "in", log, out, model],
        env={**os.environ, **settings, "PYTHONPATH": root}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    killed = done.stdout.split("killed [")[1].split("]")[0]
    workers = [line.split()[0] for line in log.read_text().splitlines()]
    # Two, and the one in place of the killed, which had done some.
    assert killed in workers and len(set(workers)) == 3
    rows = parquet.read_table(out).to_pylist()
    assert sorted(row["path"] for row in rows) == sorted(map(str, (tmp_path / "in").iterdir()))
    assert len(rows) == 2000 and len(damaged) == 20
    assert {row["path"] for row in rows if row["error"]} == set(damaged)
    assert all(len(row["people"]) == (row["error"] is None) for row in rows)
    predictor = Predictor(model, whole=True)
    for row in sorted(rows, key=lambda row: row["path"])[::333]:
        [pose] = predictor(row["path"])
        found = np.array(row["people"][0]["keypoints"])[:, :2]
        np.testing.assert_allclose(found, pose.keypoints, atol=2e-3)
