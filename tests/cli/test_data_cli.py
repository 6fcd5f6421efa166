"""`keras-hourglass data ...`: checks, sheets, TFRecords, tables."""

import json
import os
import shutil

import cv2
import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.cli.common import limited_records
from keras_hourglass.data.check import check_records, describe_records
from keras_hourglass.data.figures import synthetic_records, write_dataset
from keras_hourglass.data.load import load_records, open_image
from keras_hourglass.data.tfrecords import read_tfrecords, stored_image, write_tfrecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.skeletons import LSP


@pytest.fixture(scope="module")
def figures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    write_dataset(folder, 6, seed=4, size=72, overwrite=True)
    return folder


def with_mistakes(folder, figures):
    """A copy of the figures with one mistake of each kind."""
    (folder / "images").mkdir(parents=True)
    for path in (figures / "images").iterdir():
        (folder / "images" / path.name).write_bytes(path.read_bytes())
    content = json.loads((figures / "person_keypoints.json").read_text())
    people = content["annotations"]
    left, right = (LSP.index(f"{side}_shoulder") for side in ("left", "right"))
    hips = [LSP.index(f"{side}_hip") for side in ("left", "right")]
    points = np.array(people[0]["keypoints"]).reshape(14, 3)
    points[[left, right, *hips]] = [(45, 20, 2), (25, 20, 2), (28, 45, 2), (44, 45, 2)]
    people[0]["keypoints"] = points.ravel().tolist()  # hips the other way round
    people[1]["keypoints"][0:3] = [500, 4, 2]
    people.append({**people[2], "id": 77})
    (folder / "images" / "000003.jpg").unlink()
    (folder / "images" / "000004.jpg").write_bytes(b"")
    (folder / "images" / "000005.jpg").write_bytes((folder / "images" / "000002.jpg").read_bytes())
    (folder / "person_keypoints.json").write_text(json.dumps(content))
    return folder


def test_check_decodes_every_picture(tmp_path, figures):
    """Headers say nothing of a picture that was cut short or damaged behind them."""
    folder = tmp_path / "cut"
    shutil.copytree(figures, folder)
    pictures = sorted((folder / "images").iterdir())
    data = pictures[1].read_bytes()
    pictures[1].write_bytes(data[: len(data) // 2])
    pictures[2].write_bytes(cv2.imencode(".png", cv2.imread(str(pictures[2])))[1].tobytes()[:-400])
    assert main(["data", "check", str(folder), "--out", str(tmp_path / "out")]) == 1
    report = json.loads((tmp_path / "out" / "check.json").read_text())
    found = report["findings"]["unreadable"]
    assert [os.path.basename(one["image"]) for one in found] == [p.name for p in pictures[1:3]]
    assert all("truncated or damaged" in one["what"] for one in found)


def test_check_finds_each_kind_of_mistake(tmp_path, figures, capsys):
    folder = with_mistakes(tmp_path / "bad", figures)
    status = main(["data", "check", str(folder), "--out", str(tmp_path / "out")])
    assert status == 1
    captured = capsys.readouterr()
    assert "1 people left out (picture missing)" in captured.err
    report = json.loads((tmp_path / "out" / "check.json").read_text())
    found = {
        name: [entry["id"] for entry in entries] for name, entries in report["findings"].items()
    }
    assert found["unreadable"] == ["5"]
    assert found["joints_outside"] == ["2"]
    assert "1" in found["swapped_sides"]
    assert found["duplicate_person"] == ["77"]
    assert found["duplicate_picture"] == ["6"]
    sheet = cv2.imread(str(tmp_path / "out" / "sheet.png"))
    assert sheet.shape == (192, 6 * 192, 3) and sheet.max() > 0
    for name in ("unreadable", "joints outside", "swapped sides", "duplicate person"):
        assert name in captured.out


def test_check_of_good_data(tmp_path, figures, capsys):
    assert main(["data", "check", str(figures), "--out", str(tmp_path / "out")]) == 0
    assert "6 people on 6 pictures, 14 joints" in capsys.readouterr().out
    assert main(["data", "check", str(figures), "--out", str(tmp_path / "out")]) == 2
    assert "--overwrite" in capsys.readouterr().err


def test_check_of_nothing(tmp_path, capsys):
    assert main(["data", "check", str(tmp_path / "none"), "--out", str(tmp_path / "o")]) == 2
    error = capsys.readouterr().err.strip()
    assert "none" in error and "\n" not in error
    assert not (tmp_path / "o").exists()


def test_boxes_outside_and_tiny_people():
    records = synthetic_records(num=3, seed=1, size=40)
    assert [row for row, _ in check_records(records)["tiny"]] == [
        row for row in range(3) if records.boxes[row, 2] < 32
    ]


def test_swaps_are_rare_on_real_people(shared_data):
    found = check_records(load_records("lsp:lsp_train#1-300", shared_data))
    assert not found["unreadable"] and not found["box_outside"]
    assert len(found["swapped_sides"]) < 6


def test_show_draws_crops_beside_their_targets(tmp_path, capsys):
    out = tmp_path / "sheet.png"
    recipe = tmp_path / "r.yaml"
    recipe.write_text("model: {input_shape: [64, 128, 3]}\naugmentation: {erase: 1.0}\n")
    options = ["data", "show", "synthetic:9@2", "--out", str(out), "--people", "6"]
    assert main([*options, "--recipe", str(recipe)]) == 0
    # Pairs of 128 px, four in a row.
    assert cv2.imread(str(out)).shape == (2 * 64, 4 * 256, 3)
    assert main(options) == 2
    assert "exists already" in capsys.readouterr().err


def test_stats_table(tmp_path, capsys):
    path = tmp_path / "numbers.json"
    assert main(["data", "stats", "synthetic:50@3x100", "--json", str(path)]) == 0
    out = capsys.readouterr().out
    assert "50 people on 50 pictures" in out and "left_wrist" in out
    assert json.loads(path.read_text())["people"] == 50


def test_the_path_alone_says_what_data_of_ones_own_is(figures, capsys, monkeypatch):
    """As `train --data` and `data check` take it; in Python the remedy is what to write."""
    monkeypatch.chdir(figures)
    assert len(limited_records("person_keypoints.json")) == 6
    assert len(limited_records("person_keypoints.json", str(figures), limit=2)) == 2
    mixed = limited_records([str(figures), "synthetic:4@3x60"], skeleton="lsp")
    assert len(mixed) == 10
    with pytest.raises(UserError, match="Write for example coco:person_keypoints.json"):
        load_records("person_keypoints.json")
    with pytest.raises(UserError, match="Write for example lsp:lsp_dataset#1-800"):
        limited_records("person_keypoint.json")
    with pytest.raises(UserError, match=r"named KIND:PATH.* Received: ''\. Write for example lsp:"):
        limited_records("", str(figures))


def test_stats_by_hand():
    records = synthetic_records(num=2, seed=3, size=100)
    joints, visibility = records.joints.copy(), np.zeros((2, 14))
    visibility[:, 0] = 2, 1
    joints[:, 0] = records.boxes[:, :2] + records.boxes[:, 2:] * [[0.5, -0.25], [0.0, 0.25]]
    numbers = describe_records(records.with_columns(joints=joints, visibility=visibility))
    ankle = numbers["joints"]["right_ankle"]
    assert (ankle["visible"], ankle["occluded"], ankle["unlabelled"]) == (50.0, 50.0, 0.0)
    np.testing.assert_allclose(ankle["mean"], [0.25, 0.0], atol=1e-12)
    np.testing.assert_allclose(ankle["spread"], [0.25, 0.25])
    assert numbers["joints"]["neck"]["mean"] is None


# TFRecords


@pytest.mark.full
def test_converted_people_are_the_same_people(tmp_path):
    records = synthetic_records(num=7, seed=8, size=160)
    written, failures = write_tfrecords(
        records, tmp_path / "t", size=48, margin=1.5, per_shard=3, open_image=open_image
    )
    assert (written, failures) == (7, {})
    assert len(list((tmp_path / "t").glob("*.tfrecord"))) == 3
    read = load_records(f"tfrecords:{tmp_path / 't'}")
    assert read.ids.tolist() == records.ids.tolist() and read.skeleton == LSP
    np.testing.assert_array_equal(read.visibility, records.visibility)
    # Crops of 1.5 boxes of 48 px; smaller people keep their size.
    side = np.minimum(records.boxes[:, 2], 48)
    np.testing.assert_allclose(read.boxes[:, 2], side, rtol=0.02)
    for frame in (records, read):
        frame_joints = (frame.joints - frame.boxes[:, None, :2]) / frame.boxes[:, None, 2:]
        np.testing.assert_allclose(
            frame_joints,
            (records.joints - records.boxes[:, None, :2]) / records.boxes[:, None, 2:],
            atol=1e-9,
        )
    np.testing.assert_allclose(
        read.reference / read.boxes[:, 2], records.reference / records.boxes[:, 2]
    )
    assert open_image(read.images[4]).shape[:2] == (round(side[4] * 1.5),) * 2


def test_a_converted_crop_shows_what_the_original_shows(tmp_path):
    from keras_hourglass.codec import HeatmapCodec
    from keras_hourglass.data.pipeline import PoseDataset

    records = synthetic_records(num=3, seed=8, size=400)
    write_tfrecords(records, tmp_path / "t", size=64, quality=98, open_image=open_image)
    codec = HeatmapCodec((64, 64))
    for person in range(3):
        crop, joints, *_ = PoseDataset(records, codec).sample(person)
        other, other_joints, *_ = PoseDataset(read_tfrecords(tmp_path / "t"), codec).sample(person)
        np.testing.assert_allclose(joints, other_joints, atol=1e-9)
        blurred, other = (cv2.GaussianBlur(c, (0, 0), 2).astype(float) for c in (crop, other))
        assert np.abs(blurred - other).mean() < 2.5


def test_tensorflow_reads_the_shards(tmp_path):
    import tensorflow as tf

    records = synthetic_records(num=4, seed=8, size=64)
    write_tfrecords(records, tmp_path / "t", size=32, per_shard=9, open_image=open_image)
    features = {
        "image": tf.io.FixedLenFeature([], tf.string),
        "id": tf.io.FixedLenFeature([], tf.string),
        "visibility": tf.io.FixedLenFeature([14], tf.int64),
    }
    shard = str(tmp_path / "t" / "people-00000.tfrecord")
    rows = [
        tf.io.parse_single_example(r, features)
        for r in tf.data.TFRecordDataset(shard, num_parallel_reads=1)
    ]
    assert [row["id"].numpy().decode() for row in rows] == records.ids.tolist()
    assert rows[2]["visibility"].numpy().tolist() == records.visibility[2].tolist()
    # The index points at the very bytes of each record.
    for row, name in zip(rows, read_tfrecords(tmp_path / "t").images, strict=True):
        assert row["image"].numpy() == stored_image(name)


def test_damaged_tfrecords_name_the_folder(tmp_path):
    records = synthetic_records(num=2, seed=8, size=64)
    folder = tmp_path / "t"
    write_tfrecords(records, folder, size=32, open_image=open_image)
    good = read_tfrecords(folder)
    shard = folder / "people-00000.tfrecord"
    shard.write_bytes(shard.read_bytes()[:100])
    with pytest.raises(DataError, match="shorter"):
        open_image(good.images[1])
    shard.unlink()
    with pytest.raises(DataError, match="shard"):
        read_tfrecords(folder)
    (folder / "index.npz").write_bytes(b"PK")
    with pytest.raises(DataError, match="Fetch or export it again"):
        read_tfrecords(folder)
    with pytest.raises(UserError, match="margin"):
        write_tfrecords(records, tmp_path / "u", margin=0.5)


def test_convert_skips_and_names_unreadable_pictures(tmp_path, figures, capsys):
    folder = with_mistakes(tmp_path / "bad", figures)
    out = tmp_path / "t"
    status = main(["data", "convert", f"synthetic:{folder}", "--out", str(out), "--size", "32"])
    captured = capsys.readouterr()
    assert status == 1 and "000004.jpg" in captured.err
    assert len(read_tfrecords(out)) == 5 and "5 people" in captured.out
