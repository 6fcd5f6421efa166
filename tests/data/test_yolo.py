"""YOLO-pose: layouts, lines and tables, on files written here by the published description."""

import cv2
import numpy as np
import pytest
import yaml

from keras_hourglass.cli import main
from keras_hourglass.data.load import load_records
from keras_hourglass.errors import DataError

WIDTH, HEIGHT = 80, 40
# Class, rectangle (8, 10) to (40, 30), three joints: visible, occluded, not labelled.
LINE = "0 0.3 0.5 0.4 0.5 0.1 0.25 2 0.5 0.75 1 0 0 0"
FACTS = {
    "path": ".",
    "train": "images/train",
    "val": "images/val",
    "kpt_shape": [3, 3],
    "flip_idx": [0, 2, 1],
    "names": {0: "tiger"},
}


def picture(path, width=WIDTH):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((HEIGHT, width, 3), 90, np.uint8))


def write(folder, lines=(LINE,), where="images/{}", **changes):
    """A data set whose splits have a picture with these lines, one without, one of nobody."""
    for split in ("train", "val"):
        place = folder / where.format(split)
        picture(place / "a.png")
        picture(place / "background.jpg")
        labels = folder / where.format(split).replace("images", "labels")
        labels.mkdir(parents=True, exist_ok=True)
        (labels / "a.txt").write_text("\n".join(lines) + "\n")
        (labels / "nobody.txt").write_text("")
        picture(place / "nobody.png")
    facts = {key: value for key, value in (FACTS | changes).items() if value is not None}
    (folder / "data.yaml").write_text(yaml.safe_dump(facts))
    return folder / "data.yaml"


def test_a_line_is_a_person_in_shares_of_the_picture(tmp_path):
    records = load_records(f"yolo:{write(tmp_path)}")
    assert records.joints.tolist() == [[[8, 10], [40, 30], [0, 0]]]
    assert records.visibility.tolist() == [[2, 1, 0]]
    assert records.extra["rectangle"].tolist() == [[8, 10, 32, 20]]
    assert records.boxes.tolist() == [[23.5, 19.5, 40]]  # the longer side times 1.25
    assert records.skeleton.joints == ("1", "2", "3") and records.skeleton.flip_order == (0, 2, 1)
    assert records.ids.tolist() == ["a/1"] and records.extra["category_id"].tolist() == [0]
    assert "the split train is read; choose by yolo:" in records.remarks[-1]
    assert not records.notes


@pytest.mark.parametrize(
    "spec", ["yolo:{}", "yolo:{}/data.yaml", "yolo:{}@val", "yolo:{}@train#1-1"]
)
def test_specs(tmp_path, spec):
    write(tmp_path)
    records = load_records(spec.format(tmp_path))
    assert ("val" in spec) == ("/val/" in records.images[0]) and len(records) == 1


def test_every_command_of_data_takes_it(tmp_path, capsys):
    path = write(tmp_path / "set")
    assert main(["data", "check", str(path), "--out", str(tmp_path / "c")]) == 0
    assert "1 people on 1 pictures, 3 joints (yolo)" in capsys.readouterr().out
    spec = f"yolo:{path}@val"
    assert main(["data", "stats", spec]) == 0
    assert main(["data", "show", spec, "--out", str(tmp_path / "s.png")]) == 0
    assert main(["data", "convert", spec, "--out", str(tmp_path / "t")]) == 0
    assert len(load_records(f"tfrecords:{tmp_path / 't'}")) == 1


@pytest.mark.parametrize(
    "where, changes",
    [
        ("images/{}", {"path": None}),
        ("images/{}", {"path": "/somebody/elses/disk/tigers"}),
        ("images/{}", {"path": "../datasets/tigers"}),
        ("{}/images", {"train": "../train/images", "val": "../valid/images"}),
        ("{}/images", {"train": "train/images/", "val": "val/images"}),
        ("images/{}", {"train": ["images/train"]}),
        ("images/{}", {"train": "images/train/*.png"}),
        ("{}", {"train": "train", "val": "val"}),  # labels beside the pictures
        ("images/{}", {"train": "C:\\tigers\\images\\train"}),
    ],
)
def test_layouts(tmp_path, where, changes):
    write(tmp_path, where=where, **changes)
    records = load_records(f"yolo:{tmp_path}@train")
    assert len(records) == 1 and records.images[0].endswith("a.png")


@pytest.mark.parametrize(
    "entry", ["./images/train/a.png", "images/train/a.png", "/images/train/a.png"]
)
def test_a_split_may_be_a_list_of_pictures(tmp_path, entry):
    write(tmp_path, train="train.txt")
    (tmp_path / "train.txt").write_text(f"{entry}\nimages/train/gone.png\n")
    assert len(load_records(f"yolo:{tmp_path}@train")) == 1


def test_two_numbers_a_joint(tmp_path):
    line = "0 0.3 0.5 0.4 0.5 0.1 0.25 0.5 0.75 0 0"
    records = load_records(f"yolo:{write(tmp_path, [line], kpt_shape=[3, 2])}")
    assert records.visibility.tolist() == [[2, 2, 0]]


@pytest.mark.parametrize(
    "changes, joints, order",
    [
        ({"kpt_names": {0: ["nose", "left ear", "right ear"]}}, "left_ear", (0, 2, 1)),
        ({"node_names": ["nose", "earL", "earR"], "flip_idx": None}, "left_ear", (0, 2, 1)),
        # SLEAP writes a table without swaps whatever the names.
        ({"node_names": ["nose", "earL", "earR"], "flip_idx": [0, 1, 2]}, "left_ear", (0, 2, 1)),
        ({"kpt_names": {0: ["nez", "or g", "or d"]}}, "or_g", (0, 2, 1)),
        ({"kpt_names": {0: ["nez", "or g", "or d"]}, "flip_idx": [0, 1, 2]}, "or_g", (0, 1, 2)),
        ({"flip_idx": [2, 1, 0]}, "2", (2, 1, 0)),
    ],
)
def test_names_and_mirror_images(tmp_path, changes, joints, order):
    skeleton = load_records(f"yolo:{write(tmp_path, **changes)}").skeleton
    assert skeleton.joints[1] == joints
    assert skeleton.flip_order == order and skeleton.mirrors


@pytest.mark.parametrize("changes", [{"flip_idx": None}, {"flip_idx": []}])
def test_without_names_and_table_nothing_is_mirrored(tmp_path, changes):
    path = write(tmp_path, **changes)
    assert not load_records(f"yolo:{path}").skeleton.mirrors
    assert load_records(f"yolo:{path}", pairs=[[2, 3]]).skeleton.flip_order == (0, 2, 1)


def test_seventeen_joints_of_a_person_are_cocos(tmp_path):
    line = " ".join(["0 0.5 0.5 0.4 0.5", *["0.5 0.5 2"] * 17])
    flip = [0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15]
    path = write(tmp_path, [line], kpt_shape=[17, 3], names=["person"], flip_idx=flip)
    assert load_records(f"yolo:{path}").skeleton.name == "coco"


def test_classes_are_chosen_by_name_or_number(tmp_path):
    path = write(tmp_path, [LINE, "1" + LINE[1:]], names=["tiger", "Lion"])
    assert len(load_records(f"yolo:{path}@val")) == 2
    for choice in ("lion", "1"):
        records = load_records(f"yolo:{path}@val@{choice}")
        assert records.extra["category_id"].tolist() == [1]
    with pytest.raises(DataError, match=r"tiger \(0\), Lion \(1\)"):
        load_records(f"yolo:{path}@val@cow")


@pytest.mark.parametrize(
    "line, reason",
    [
        ("0 0.3 0.5 0.4 0.5", "5 numbers instead of 14"),
        (LINE.replace("0.25", "x"), "no numbers"),
        ("7" + LINE[1:], "a class that has no name"),
        (LINE.replace("0.25", "10"), "no shares"),
        (LINE.replace("0.25", "nan"), "no shares"),
        ("0 0.3 0.5 0.4 0.5" + " 0 0 0" * 3, "no joints"),
    ],
)
def test_lines_that_cannot_be_read_are_named(tmp_path, line, reason):
    records = load_records(f"yolo:{write(tmp_path, [LINE, '', line])}")
    assert len(records) == 1
    assert reason in records.notes[0] and "line 3 of" in records.notes[0]
    with pytest.raises(DataError, match=reason):
        load_records(f"yolo:{write(tmp_path, [line])}")


def test_a_rectangle_of_no_size_is_derived(tmp_path):
    records = load_records(f"yolo:{write(tmp_path, [LINE.replace('0.4 0.5', '0 0')])}")
    assert records.boxes.tolist() == [[24, 20, 40]]  # joints from (8, 10) to (40, 30)


def test_a_picture_that_exif_turns_has_shares_of_what_is_shown(tmp_path):
    from PIL import Image

    path, exif = write(tmp_path), Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "images/train/a.png", exif=exif)
    records = load_records(f"yolo:{path}")
    assert records.joints[0, :2].tolist() == [[4, 20], [20, 60]]


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"kpt_shape": None}, "data set of boxes alone"),
        ({"kpt_shape": [3, 4]}, "kpt_shape"),
        ({"kpt_shape": "3x3"}, "kpt_shape"),
        ({"flip_idx": [0, 2, 2]}, "gives each joint back"),
        ({"flip_idx": [0, 1]}, "3 joints"),
        ({"names": 7}, "names"),
        ({"train": "../../secret"}, "must lie in"),
        ({"train": "/etc"}, "must lie in"),
        ({"train": None, "val": None}, "splits none"),
        ({"train": 5}, "has the splits"),
        ({"train": "labels"}, "no labels"),
    ],
)
def test_a_wrong_data_yaml_is_named(tmp_path, changes, message):
    path = write(tmp_path, **changes)
    with pytest.raises(DataError, match=message) as caught:
        load_records(f"yolo:{path}@train")
    assert str(tmp_path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["a: [", "a: 1\na: 2", "a: &x [1]\nb: *x", "[" * 3000, "\x00"])
def test_what_is_no_plain_yaml_is_named(tmp_path, text):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(DataError, match="data.yaml") as caught:
        load_records(f"yolo:{tmp_path}")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 400


def test_another_folder(tmp_path):
    path = write(tmp_path / "set", path="/gone")
    (tmp_path / "data.yaml").write_text(path.read_text())
    path.unlink()
    with pytest.raises(DataError, match="--images"):
        load_records(f"yolo:{tmp_path / 'data.yaml'}")
    assert len(load_records(f"yolo:{tmp_path / 'data.yaml'}", images=tmp_path / "set")) == 1


def test_a_missing_picture_costs_its_own_people(tmp_path):
    path = write(tmp_path, train="train.txt")
    (tmp_path / "train.txt").write_text("images/train/a.png\nimages/train/gone.png\n")
    (tmp_path / "labels/train/gone.txt").write_text(LINE)
    records = load_records(f"yolo:{path}")
    assert len(records) == 1 and "gone.txt" in records.notes[0]
    assert "the picture is missing" in records.notes[0]
