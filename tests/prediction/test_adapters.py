"""Files of other people's detectors: every layout gives the same two people; unknown ones say so.

The networks see 96×64 and the pictures have 192×96, so a picture is halved and 96×48 is left; in
the middle of the square it begins at row 8, in the corner at row 0.
"""

import numpy as np
import pytest
from detector_files import write_frozen_graph, write_onnx, write_saved_model

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.adapters import load_detector, rectangles

PICTURE = np.zeros((96, 192, 3), np.uint8)
# Left, top, right, bottom in source pixels.
PEOPLE = np.array([[20, 10, 60, 90], [100, 20, 140, 80]], np.float64)
SCORES = np.array([0.5, 0.75])
EXPECTED = [[100, 20, 40, 60, 0.75], [20, 10, 40, 80, 0.5]]
CELLS = 8 * 12 + 4 * 6 + 2 * 3


def seen(centred):
    """Corners as the network sees them."""
    return PEOPLE / 2 + (np.tile([0, 8], 2) if centred else 0)


def candidates(centred, count=CELLS, objects=True, classes=80):
    """Rows of candidates: both people (one of them twice), a dog in the place of one, nobody."""
    rows = np.zeros((count, (5 if objects else 4) + classes), np.float32)
    corners, dog = seen(centred), min(16, classes - 1)
    for row, person in ((3, 0), (40, 1), (41, 1), (60, 0)):
        low, high = corners[person, :2], corners[person, 2:]
        rows[row, :4] = [*((low + high) / 2), *(high - low)]
        score = SCORES[person] - (0.05 if row == 41 else 0)
        if objects:
            rows[row, 4], rows[row, 5 + (dog if row == 60 else 0)] = score * 1.25, 0.8
        else:
            rows[row, 4 + (dog if row == 60 else 0)] = score
    return rows


def by_the_grid(rows):
    """YOLOX's rows as its network gives them, before grid, step and exponential."""
    rows, start = rows.copy(), 0
    for step in (8, 16, 32):
        for y in range(64 // step):
            for x in range(96 // step):
                rows[start, :2] = rows[start, :2] / step - (x, y)
                with np.errstate(divide="ignore"):
                    rows[start, 2:4] = np.log(rows[start, 2:4] / step)
                start += 1
    return np.where(np.isfinite(rows), rows, -9).astype(np.float32)


def final(centred, dog=True):
    """Corners, scores and classes of final boxes; a dog is the surest."""
    corners = np.concatenate([seen(centred), [[5, 9, 30, 30]]])
    return np.float32(corners), np.float32([*SCORES, 0.9]), np.array([0, 0, 16])


def dets_and_labels():
    corners, scores, classes = final(False)
    return {"dets": np.column_stack([corners, scores])[None], "labels": classes[None]}


def four_outputs():
    corners, scores, classes = final(True)
    filled = np.concatenate([corners, [[0, 0, 90, 60]]]).astype(np.float32)
    return {
        "num_dets": np.array([[3]], np.int32),
        "det_boxes": filled[None],
        "det_scores": np.float32([[*scores, 0.99]]),
        "det_classes": np.array([[*classes, 0]], np.int32),
    }


def rows_of_seven():
    corners, scores, classes = final(True)
    return {"output": np.column_stack([np.zeros(3), corners, classes, scores]).astype(np.float32)}


def final_rows():
    corners, scores, classes = final(True)
    return {"output0": np.column_stack([corners, scores, classes])[None].astype(np.float32)}


LAYOUTS = {
    "yolox_tiny.onnx": ({"output": by_the_grid(candidates(False))[None]}, {}),
    "yolox_decoded.onnx": ({"output": candidates(False)[None]}, {"decoded": True}),
    "yolox_own.onnx": (
        {"output": by_the_grid(candidates(False, classes=17))[None]},
        {"names": {0: "person", 16: "dog"}},
    ),
    "rtmdet_nano.onnx": (dets_and_labels(), {}),
    "yolox_m_humanart.onnx": (dets_and_labels(), {}),
    "five.onnx": ({"output": candidates(True, 3 * CELLS)[None]}, {}),
    "yolov6n.onnx": ({"outputs": candidates(True)[None]}, {}),
    "eight.onnx": ({"output0": candidates(True, objects=False).T[None]}, {}),
    "seven.onnx": (rows_of_seven(), {}),
    "six.onnx": (four_outputs(), {}),
    "ten.onnx": (final_rows(), {"names": {0: "person", 16: "dog"}}),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_published_layout(tmp_path, name):
    outputs, options = LAYOUTS[name]
    detect = load_detector(write_onnx(tmp_path / name, outputs, **options))
    np.testing.assert_allclose(detect(PICTURE), EXPECTED, atol=1e-4)


def test_people_may_be_any_class_that_the_file_names(tmp_path):
    rows = candidates(True, objects=False, classes=3)
    rows[:, 4:] = np.roll(rows[:, 4:], 2, axis=1)
    names = ["car", "dog", "Person"]
    path = write_onnx(tmp_path / "own.onnx", {"output0": rows.T[None]}, names=names)
    np.testing.assert_allclose(load_detector(path)(PICTURE), EXPECTED[:2], atol=1e-4)
    path = write_onnx(tmp_path / "cars.onnx", {"output0": rows.T[None]}, names=names[:2])
    with pytest.raises(UserError, match="3 classes, none of them known as 'person'"):
        load_detector(path)(PICTURE)
    path = write_onnx(tmp_path / "unsaid.onnx", {"output0": rows.T[None]})
    with pytest.raises(UserError, match="pass a Python callable"):
        load_detector(path)(PICTURE)


def test_what_each_family_sees(tmp_path):
    """Colours in their order and range, the picture in its place."""
    picture = np.broadcast_to(np.array([200, 100, 50], np.uint8), (96, 192, 3))
    expected = {
        # Blue, green, red of the picture; what surrounds it is 114.
        "yolox": ([50, 100, 200], [114, 114, 114]),
        "rtmdet": (
            [(50 - 103.53) / 57.375, (100 - 116.28) / 57.12, (200 - 123.675) / 58.395],
            [(114 - 103.53) / 57.375, (114 - 116.28) / 57.12, (114 - 123.675) / 58.395],
        ),
        "yolo": ([200 / 255, 100 / 255, 50 / 255], [114 / 255] * 3),
    }
    path = write_onnx(tmp_path / "it.onnx", dets_and_labels())
    for family, (inside, around) in expected.items():
        batch, factor, corner = load_detector(f"{family}:{path}")._show(picture)
        assert batch.shape == (1, 3, 64, 96) and batch.dtype == np.float32
        assert factor == (0.5, 0.5) and corner == ((0, 8) if family == "yolo" else (0, 0))
        shown = np.zeros(64, bool)
        shown[corner[1] : corner[1] + 48] = True
        for row in range(64):
            colour = inside if shown[row] else around
            np.testing.assert_allclose(batch[0, :, row, 37], colour, rtol=1e-5)


def test_an_ambiguous_layout_asks_for_its_family(tmp_path):
    path = write_onnx(tmp_path / "it.onnx", dets_and_labels())
    with pytest.raises(UserError, match="Say which: yolox:FILE, rtmdet:FILE or yolo:FILE"):
        load_detector(path)
    found = load_detector(f"rtmdet:{path}")(PICTURE)
    np.testing.assert_allclose(found, EXPECTED, atol=1e-4)


def test_an_open_input_is_640(tmp_path):
    path = write_onnx(tmp_path / "rtmdet.onnx", dets_and_labels(), size=("height", "width"))
    # 192 px become 640, so the network's pixels are 0.3 of the picture's.
    found = load_detector(path)(PICTURE)
    np.testing.assert_allclose(found[:, 2:4], np.array([[20, 30], [20, 40]]) * 0.3, atol=1e-4)


@pytest.mark.parametrize("size", [(50, 30), (96, 192), (1500, 1000)])
def test_tensorflow_object_detection(tmp_path, size):
    boxes = np.concatenate([PEOPLE, [[0, 0, 50, 50]]])[:, [1, 0, 3, 2]] / (96, 192, 96, 192)
    scores, classes = [*SCORES, 0.9], [1, 1, 18]
    frozen = write_frozen_graph(tmp_path / "graph.pb", boxes, scores, classes)
    saved = write_saved_model(tmp_path / "saved", boxes, scores, classes)
    expected = np.array(EXPECTED) * (size[1] / 192, size[0] / 96, size[1] / 192, size[0] / 96, 1)
    for path in (frozen, saved):
        found = load_detector(path)(np.zeros((*size, 3), np.uint8))
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("outputs", "what"),
    [
        ({"embedding": np.zeros((1, 512), np.float32)}, r"outputs are embedding \(1, 512\)"),
        ({"a": np.zeros((1, 9, 9), np.float32)}, r"a \(1, 9, 9\)"),
        ({"dets": np.zeros((1, 9, 4), np.float32), "labels": np.zeros((1, 9))}, "dets"),
    ],
)
def test_unknown_layouts(tmp_path, outputs, what):
    path = write_onnx(tmp_path / "yolo.onnx", outputs)
    with pytest.raises(UserError, match=what) as caught:
        load_detector(path)
    assert "\n" not in str(caught.value) and "Python callable" in str(caught.value)


def test_files_that_are_no_detectors(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no network")
    with pytest.raises(UserError, match="cannot load it") as caught:
        load_detector(damaged)
    assert "\n" not in str(caught.value)
    graph = tmp_path / "graph.pb"
    graph.write_bytes(b"no graph either")
    with pytest.raises(UserError, match="cannot load it"):
        load_detector(graph)
    write_frozen_graph(graph, [[0, 0, 1, 1]], [1], [1], leave_out=("detection_scores",))
    with pytest.raises(UserError, match="a graph without 'detection_scores'"):
        load_detector(graph)
    for path in (tmp_path / "missing.onnx", tmp_path, tmp_path / "weights.pt"):
        with pytest.raises(UserError, match="A detector file is a frozen graph"):
            load_detector(path)


def test_broken_boxes_are_left_out_and_thousands_thinned():
    corners = np.array(
        [[2, 1, 60, 20], [np.nan, 0, 9, 9], [0, 0, np.inf, 9]]
        + [[5, 5, 5, 9], [9, 9, 3, 20], [-9, -9, -1, -1]]
    )
    found = rectangles(corners, [0.4, 0.9, 0.9, 0.9, 0.9, 0.9], 0.3, (30, 40))
    assert found.tolist() == [[2, 1, 38, 19, 0.4]]
    assert rectangles(corners, [np.nan] * 6, 0.3, (30, 40)).shape == (0, 5)
    rng = np.random.default_rng(3)
    low, scores = rng.uniform(0, 900, (20000, 2)), rng.uniform(0, 1, 20000)
    many = rectangles(np.concatenate([low, low + 50], axis=1), scores, 0.3, (950, 950), 0.5)
    assert 0 < len(many) <= 1000 and (np.diff(many[:, 4]) <= 0).all()
