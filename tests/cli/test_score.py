"""Scoring files of predictions, and writing them for benchmarks."""

import dataclasses
import json

import h5py
import numpy as np
import pytest
import scipy.io

from keras_hourglass.cli import main
from keras_hourglass.data.load import load_records
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.evaluation import (
    Predictions,
    predict_records,
    predictions_to_dict,
    read_keypoints,
)
from keras_hourglass.evaluation.exchange import coco_results, mpii_test_records, write_mpii
from keras_hourglass.io.images import write_image
from keras_hourglass.skeletons import MPII, Skeleton

HANDS = Skeleton("hands", ("left_hand", "right_hand", "left_thumb", "right_thumb"))


def records_of(count):
    joints = np.arange(count * 8, dtype=float).reshape(count, 4, 2)
    return PoseRecords(
        HANDS, [f"{n}.jpg" for n in range(count)], [[5, 5, 9]] * count, joints,
        np.full((count, 4), 2), np.ones(count), [f"id{n}" for n in range(count)],
    )  # fmt: skip


def save(path, array):
    if path.suffix == ".npy":
        np.save(path, array)
    elif path.suffix == ".mat":
        scipy.io.savemat(path, {"preds": array, "other": np.ones(3)})
    else:
        with h5py.File(path, "w") as file:
            file["preds"] = array


@pytest.mark.parametrize("suffix", [".npy", ".mat", ".h5"])
@pytest.mark.parametrize("axes", [(0, 1, 2), (2, 1, 0), (1, 2, 0)])
def test_arrays_of_any_axis_order(tmp_path, suffix, axes):
    records = records_of(5)
    path = tmp_path / f"preds{suffix}"
    save(path, (records.joints + 1).transpose(axes))
    keypoints, scores = read_keypoints(path, records, first_pixel=1)
    assert (keypoints == records.joints).all() and np.isnan(scores).all()


def test_a_third_number_is_the_score(tmp_path):
    records = records_of(5)
    array = np.concatenate([records.joints, np.full((5, 4, 1), 0.75)], axis=-1)
    save(tmp_path / "preds.npy", array)
    keypoints, scores = read_keypoints(tmp_path / "preds.npy", records)
    assert (keypoints == records.joints).all() and (scores == 0.75).all()


def test_our_json_is_matched_by_identifier(tmp_path):
    records = records_of(5)
    predictions = Predictions(
        records, ("stack_1",), records.joints[None], np.ones((1, 5, 4)), np.ones((1, 5, 4))
    )
    content = predictions_to_dict(predictions)
    content["people"] = content["people"][::-1]
    path = tmp_path / "predictions.json"
    path.write_text(json.dumps(content))
    assert (read_keypoints(path, records)[0] == records.joints).all()
    part = records.select([3, 1])
    assert (read_keypoints(path, part)[0] == part.joints).all()
    del content["people"][1]
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match="lacks 1 of the 5 annotated people, the first is id3"):
        read_keypoints(path, records)


@pytest.mark.parametrize(
    "array, message",
    [
        (np.zeros((4, 4, 2)), r"shape \(5, 4, 2\).*\(4, 4, 2\)"),
        (np.zeros((5, 3, 2)), r"\(5, 3, 2\)"),
        (np.zeros((5, 2)), r"\(5, 2\)"),
        (np.zeros((5, 4, 2), complex), "real"),
    ],
)
def test_arrays_that_do_not_fit(tmp_path, array, message):
    path = tmp_path / "preds.npy"
    np.save(path, array)
    with pytest.raises(DataError, match=message):
        read_keypoints(path, records_of(5))


@pytest.mark.parametrize("name", ["preds.h5", "preds.mat", "preds.npy", "preds.json", "preds.txt"])
def test_files_that_are_something_else(tmp_path, name):
    path = tmp_path / name
    with pytest.raises(DataError, match=name):
        read_keypoints(path, records_of(5))
    path.write_bytes(b"{} nothing of the kind")
    with pytest.raises(DataError, match=name):
        read_keypoints(path, records_of(5))


@pytest.fixture(scope="module")
def mpii(shared_data):
    path = shared_data / "mpii_annot" / "valid.h5"
    with h5py.File(path) as file:
        return path, file["part"][()], file["normalize"][()]


@pytest.mark.full
def test_shifted_truth_of_mpii_gives_exactly_the_expected_percentages(mpii, tmp_path, capsys):
    path, part, head = mpii
    shift = np.zeros(part.shape[:2])
    for name, value in (("left_knee", 0.5), ("right_knee", 0.501), ("head_top", 0.6),
                        ("right_elbow", 0.2)):  # fmt: skip
        shift[:, MPII.index(name)] = value
    shift[::2, MPII.index("left_ankle")] = 9
    predictions = part.copy()
    predictions[..., 0] += shift * head[:, None]
    save(tmp_path / "preds.h5", predictions)
    out = tmp_path / "out"
    words = ["score", "--annotations", f"mpii:{path}", "--out", str(out)]
    assert main([*words, "--predictions", str(tmp_path / "preds.h5")]) == 0
    assert "PCKh@0.5" in capsys.readouterr().out
    metrics = json.loads((out / "metrics.json").read_text())
    assert (metrics["metric"], metrics["threshold"], metrics["normalizer"]) == ("PCKh", 0.5, "head")
    labelled = (part != 0).any(axis=-1)  # (0, 0) stands for a joint that is not annotated
    number = dict(zip(MPII.joints, labelled.sum(axis=0).tolist(), strict=True))
    assert metrics["counts"] == number and metrics["num_people"] == 2958
    wrong_ankles = int(labelled[::2, MPII.index("left_ankle")].sum())
    ankles = number["left_ankle"] + number["right_ankle"]
    knees = number["left_knee"] + number["right_knee"]
    heads = number["head_top"] + number["upper_neck"]
    assert metrics["groups"] == pytest.approx(
        {
            "head": 100 * number["upper_neck"] / heads,
            "shoulder": 100,
            "elbow": 100,
            "wrist": 100,
            "hip": 100,
            "knee": 100 * number["left_knee"] / knees,
            "ankle": 100 * (ankles - wrong_ankles) / ankles,
        },
        abs=1e-3,
    )
    wrong = wrong_ankles + number["right_knee"] + number["head_top"]
    total = sum(number.values())
    assert metrics["mean"] == pytest.approx(100 * (total - wrong) / total, abs=1e-3)
    # What evaluate and score write can be scored again, with the same result.
    again = ["--predictions", str(out / "predictions.json"), "--overwrite"]
    assert main([*words, *again]) == 0
    repeated = json.loads((out / "metrics.json").read_text())
    assert repeated["groups"] == metrics["groups"] and repeated["means"] == metrics["means"]


def test_mistakes_in_scoring_end_in_one_line(mpii, tmp_path, capsys):
    path, part, _ = mpii
    short, broken = tmp_path / "short.h5", tmp_path / "nan.h5"
    save(short, part[:-1])
    part = part.copy()
    part[7, 13] = np.nan
    save(broken, part)
    for file, message in ((short, "(2957, 16, 2)"), (broken, "joint 13 of person 7"),
                          (tmp_path / "no.h5", "no.h5")):  # fmt: skip
        words = ["score", "--annotations", f"mpii:{path}", "--predictions", str(file)]
        assert main([*words, "--out", str(tmp_path / "out")]) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1


def official_mpii(path):
    """A file in the official layout: a training picture and two test pictures."""

    def people(*rows):
        dtype = [("objpos", object), ("scale", object)]
        array = np.empty((1, len(rows)), dtype)
        for number, (x, y, scale) in enumerate(rows):
            place = np.empty((1, 1), [("x", object), ("y", object)])
            place[0, 0] = (float(x), float(y))
            array[0, number] = (place, float(scale))
        return array

    def image(name):
        array = np.empty((1, 1), [("name", object)])
        array[0, 0] = (name,)
        return array

    annolist = np.empty((1, 3), [("image", object), ("annorect", object)])
    annolist[0, 0] = (image("train.jpg"), people((9, 9, 1)))
    annolist[0, 1] = (image("one.jpg"), people((11, 21, 1), (40, 50, 2), (60, 70, 3)))
    annolist[0, 2] = (image("two.jpg"), people((81, 91, 2)))
    single = np.empty((3, 1), object)
    single[:, 0] = [np.array([[1]]), np.array([[1], [3]]), np.array([[1]])]
    release = {"annolist": annolist, "img_train": np.array([[1, 0, 0]]), "single_person": single}
    scipy.io.savemat(path, {"RELEASE": release})


def test_the_mpii_test_set_in_the_benchmarks_structure(tmp_path):
    official = tmp_path / "official.mat"
    official_mpii(official)
    records = mpii_test_records(official)
    assert [path.rsplit("/", 1)[-1] for path in records.images] == ["one.jpg", "one.jpg", "two.jpg"]
    # 0-based, lower by 15 × scale, sides 200 × 1.25 × scale.
    assert records.boxes.tolist() == [[10, 35, 250], [59, 114, 750], [80, 120, 500]]
    assert not records.visibility.any()
    keypoints = np.arange(3 * 16 * 2, dtype=float).reshape(3, 16, 2)
    np.save(tmp_path / "preds.npy", keypoints + 1)
    out = tmp_path / "pred.mat"
    words = ["submit", "--format", "mpii", "--annotations", str(official), "--out", str(out)]
    assert main([*words, "--predictions", str(tmp_path / "preds.npy")]) == 0
    pred = scipy.io.loadmat(out, struct_as_record=False, squeeze_me=True)["pred"]
    assert [picture.image.name for picture in pred] == ["one.jpg", "two.jpg"]
    first = pred[0].annorect
    assert len(first) == 3 and first[1].annopoints.size == 0
    points = first[2].annopoints.point
    assert [point.id for point in points] == list(range(16))
    assert (points[5].x, points[5].y) == tuple(keypoints[1, 5] + 1)
    assert pred[1].annorect.annopoints.point[15].y == keypoints[2, 15, 1] + 1
    with pytest.raises(UserError, match="finite"):
        write_mpii(out, official, keypoints * np.nan, records)
    assert main([*words, "--predictions", str(tmp_path / "preds.npy")]) == 2  # exists already


def test_coco_results_reach_an_average_precision_of_100(shared_data, tmp_path, capsys):
    pytest.importorskip("pycocotools")
    path = shared_data / "coco_sample" / "person_keypoints.json"
    records = load_records(f"coco:{path}", need_pictures=False)
    scores = np.linspace(0.9, 0.3, len(records))[None, :, None].repeat(17, axis=2)
    predictions = Predictions(records, ("stack_1",), records.joints[None], scores, scores)
    results = coco_results(predictions)
    assert {result["category_id"] for result in results} == {1}
    other = records.with_columns(
        extra={**records.extra, "category_id": np.full(len(records), 7, object)}
    )
    other = coco_results(dataclasses.replace(predictions, records=other))
    assert {result["category_id"] for result in other} == {7}
    assert results[0]["image_id"] == records.extra["image_id"][0]
    assert results[0]["score"] == pytest.approx(0.9) and len(results[0]["keypoints"]) == 51
    file = tmp_path / "results.json"
    file.write_text(json.dumps(results))
    words = ["score", "--annotations", f"coco:{path}", "--predictions", str(file)]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert "AP" in capsys.readouterr().out
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["metric"] == "AP" and metrics["keypoints"]["AP"] == pytest.approx(100)
    # All joints of everybody moved by half a person: nothing is found any more.
    moved = json.loads(file.read_text())
    for result in moved:
        result["keypoints"] = (np.array(result["keypoints"]) + 400).tolist()
    file.write_text(json.dumps(moved))
    assert main([*words, "--out", str(tmp_path / "far")]) == 0
    metrics = json.loads((tmp_path / "far" / "metrics.json").read_text())
    assert metrics["keypoints"]["AP"] < 5


def submitted(tmp_path, people, names=("nose", "left_hip", "right_hip")):
    """What `submit` writes of predictions of two people in a file of COCO's layout."""
    annotations = {
        "images": [{"id": 1, "file_name": "a.jpg", "width": 80, "height": 60}],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": 1, "bbox": [5, 5, 30, 40],
             "keypoints": [10, 10, 2, 20, 20, 1, 30, 40, 2]} for number in (5, 6)
        ],
        "categories": [{"id": 1, "name": "person", "keypoints": ["nose", "left_hip", "right_hip"]}],
    }  # fmt: skip
    (tmp_path / "gt.json").write_text(json.dumps(annotations))
    (tmp_path / "p.json").write_text(json.dumps({"keypoint_names": names, "people": people}))
    command = ["submit", "--format", "coco", "--annotations", str(tmp_path / "gt.json")]
    command += ["--predictions", str(tmp_path / "p.json"), "--out", str(tmp_path / "o.json")]
    return main(command)


@pytest.mark.full
def test_a_network_of_more_joints_is_submitted_in_the_order_of_the_file(tmp_path, capsys):
    from keras_hourglass.network.model import StackedHourglass

    assert submitted(tmp_path, []) == 2  # makes the annotations
    picture = np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8)
    write_image(tmp_path / "a.jpg", picture)
    names = ["neck", "right_hip", "nose", "left_hip"]
    model = StackedHourglass(
        num_stacks=1, num_features=8, depth=2, input_shape=(32, 48, 3), skeleton=names
    )
    model.save_to_preset(tmp_path / "preset")
    command = ["submit", "--format", "coco", "--annotations", str(tmp_path / "gt.json")]
    out = tmp_path / "o.json"
    assert main([*command, "--model", str(tmp_path / "preset"), "--out", str(out)]) == 0
    rows = json.loads(out.read_text())
    own = predict_records(model, load_records(f"coco:{tmp_path / 'gt.json'}"))
    points = np.reshape([row["keypoints"] for row in rows], (2, 3, 3))[..., :2]
    assert points == pytest.approx(own.keypoints[-1][:, [2, 3, 1]], abs=0.01)
    model = StackedHourglass(
        num_features=8, depth=2, input_shape=(32, 48, 3), skeleton=["neck", "nose"]
    )
    model.save_to_preset(tmp_path / "fewer")
    command += ["--model", str(tmp_path / "fewer"), "--out", str(tmp_path / "p.json")]
    assert main([*command, "--overwrite"]) == 2
    assert "wants the joints nose, left_hip, right_hip" in capsys.readouterr().err


def test_joints_that_were_not_found_are_submitted_as_none(tmp_path, capsys):
    """Neither NaN nor a certainty; whoever has no joint is left out."""
    nobody = [[None] * 3] * 3
    people = [
        {"id": 5, "keypoints": [[1, 2, 0.5], [None, None, None], [5, 6, 0.7]]},
        {"id": 6, "keypoints": nobody},
    ]
    assert submitted(tmp_path, people) == 0
    assert "with 1 people" in capsys.readouterr().out
    [row] = json.loads((tmp_path / "o.json").read_text(), parse_constant=pytest.fail)
    assert row["keypoints"] == [1.0, 2.0, 0.5, 0.0, 0.0, 0.0, 5.0, 6.0, 0.7]
    assert row["score"] == 0.6


def test_numbers_that_no_picture_reaches_are_one_line(tmp_path, capsys):
    """They overflow where they are rounded, and JSON has no infinity."""

    def both(*row):
        return [{"id": key, "keypoints": [row, [1, 2, 0.5], [5, 6, 1e9]]} for key in (5, 6)]

    for row in ((1e308, 2, 0.5), (1, -1e308, 0.5), (1, 2, 1e308), (1, 2, float("inf"))):
        assert submitted(tmp_path, both(*row)) == 2
        line = capsys.readouterr().err
        assert "at most 1e+09, which no picture reaches" in line and line.count("\n") == 1
        assert not (tmp_path / "o.json").exists()
    # A place at infinity is that of a joint that was not found.
    assert submitted(tmp_path, both(float("inf"), 2, 0.5)) == 0
    row = json.loads((tmp_path / "o.json").read_text(), parse_constant=pytest.fail)[0]
    assert row["keypoints"] == [0.0, 0.0, 0.0, 1.0, 2.0, 0.5, 5.0, 6.0, 1e9]


@pytest.mark.parametrize(
    "people, names",
    [
        ([], (1, 2)),
        ([], ["nose"]),
        ([[]], ("nose", "left_hip", "right_hip")),
        ([{"id": 5, "keypoints": 7}], ("nose", "left_hip", "right_hip")),
        ([{"id": 5, "keypoints": [[10**300, "x", []]] * 3}], ("nose", "left_hip", "right_hip")),
        ({}, ("nose", "left_hip", "right_hip")),
        (None, ("nose", "left_hip", "right_hip")),
    ],
)
def test_predictions_with_wrong_fields_are_one_line(tmp_path, capsys, people, names):
    assert submitted(tmp_path, people, names) == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1 and len(line) < 300 + 2 * len(str(tmp_path))
    assert not (tmp_path / "o.json").exists()
