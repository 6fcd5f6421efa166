"""People written in other programs' layouts are the same people when they are read again."""

import json

import cv2
import numpy as np
import pytest
import yaml

from keras_hourglass.cli import main
from keras_hourglass.data.convert import write_coco, write_yolo
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.load import load_records, open_image
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.skeletons import Skeleton


def labelled(records):
    return np.where(records.visibility[..., None] > 0, records.joints, np.nan)


def same_people(one, other, tolerance):
    assert one.skeleton == other.skeleton
    assert (one.visibility == other.visibility).all()
    np.testing.assert_allclose(labelled(one), labelled(other), atol=tolerance)
    np.testing.assert_allclose(one.boxes, other.boxes, atol=tolerance)


@pytest.fixture(scope="module")
def figures():
    return synthetic_records(num=7, seed=3, size=64)


def test_coco_and_back(tmp_path, figures):
    assert write_coco({"": figures}, tmp_path / "set") == (7, {})
    again = load_records(f"coco:{tmp_path / 'set'}")
    same_people(figures, again, 6e-4)
    assert not again.notes and not again.remarks
    for old, new in zip(figures.images, again.images, strict=True):
        assert np.array_equal(open_image(old), open_image(new))
    content = json.loads((tmp_path / "set" / "person_keypoints.json").read_text())
    assert [entry["id"] for entry in content["annotations"]] == list(range(1, 8))
    assert content["annotations"][0]["num_keypoints"] == (figures.visibility[0] > 0).sum()


def test_yolo_and_back(tmp_path, figures):
    inside = ((labelled(figures) >= 0) & (labelled(figures) <= 64)) | np.isnan(labelled(figures))
    whole = figures.select(inside.all(axis=(1, 2)))
    assert len(whole) >= 3
    assert write_yolo({"train": whole, "val": whole.select(slice(2))}, tmp_path / "set")[1] == {}
    for split, people in (("train", whole), ("val", whole.select(slice(2)))):
        again = load_records(f"yolo:{tmp_path / 'set'}@{split}")
        assert again.skeleton == people.skeleton and (again.visibility == people.visibility).all()
        np.testing.assert_allclose(labelled(again), labelled(people), atol=1e-5)
    content = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    assert content["kpt_shape"] == [14, 3] and content["flip_idx"] == list(
        whole.skeleton.flip_order
    )
    assert content["train"] == "images/train" and "path" not in content


def test_yolo_holds_what_is_in_the_picture(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), np.zeros((30, 40, 3), np.uint8))
    skeleton = Skeleton("rod", ("tip", "base"))
    records = PoseRecords(skeleton, [str(tmp_path / "a.png")], [[5, 10, 25]],
                          [[[-3, 10], [15, 12]]], [[2, 1]], [np.nan], ["x"])  # fmt: skip
    write_yolo({"train": records}, tmp_path / "set")
    line = (tmp_path / "set/labels/train/a.txt").read_text().split()
    # The rectangle's sides are 20: from -4.5 to 15.5 and 0.5 to 20.5, cut at 0.
    assert line[:5] == ["0", "0.19375", "0.35", "0.3875", "0.66666667"]
    assert line[5:] == ["0", "0", "0", "0.375", "0.4", "1"]
    content = yaml.safe_load((tmp_path / "set" / "data.yaml").read_text())
    assert "flip_idx" not in content  # nobody knows what mirrors what
    again = load_records(f"yolo:{tmp_path / 'set'}")
    assert again.skeleton == skeleton and again.visibility.tolist() == [[0, 1]]


def test_a_table_of_pairs_travels(tmp_path, figures):
    names = tuple(f"point {number}" for number in range(14))
    pairs = [(names[0], names[3]), (names[5], names[2])]
    own = figures.with_columns(skeleton=Skeleton("thing", names, pairs=pairs))
    write_coco({"": own}, tmp_path / "c")
    write_yolo({"train": own}, tmp_path / "y")
    for spec in (f"coco:{tmp_path / 'c'}", f"yolo:{tmp_path / 'y'}"):
        skeleton = load_records(spec).skeleton
        assert skeleton.flip_order == own.skeleton.flip_order and skeleton.mirrors


def test_equal_names_in_two_folders_stay_two_pictures(tmp_path):
    for number, folder in enumerate(("cam1", "cam2")):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "1.png"), np.full((8, 9, 3), number, np.uint8))
    cv2.imwrite(str(tmp_path / "1.jpg"), np.full((8, 9, 3), 7, np.uint8))
    images = [str(tmp_path / name) for name in ("cam1/1.png", "cam2/1.png", "1.jpg", "cam2/1.png")]
    skeleton = Skeleton("dot", ("dot",))
    records = PoseRecords(skeleton, images, [[4, 4, 5]] * 4, [[[n, 3]] for n in range(4)],
                          [[2]] * 4, [np.nan] * 4, list("abcd"))  # fmt: skip
    for form, write in (("coco", write_coco), ("yolo", write_yolo)):
        write({"train": records}, tmp_path / form)
        again = load_records(f"{form}:{tmp_path / form}@train")
        found = {(open_image(path)[0, 0, 0], joints[0, 0].round(3)) for path, joints
                 in zip(again.images, again.joints, strict=True)}  # fmt: skip
        assert found == {(0, 0), (1, 1), (7, 2), (1, 3)}


def test_the_command(tmp_path, figures, capsys):
    spec = ["synthetic:5@3x64", "--val", "synthetic:5@3x64#1-2"]
    for form, listed in (("coco", "annotations/person_keypoints_val.json"), ("yolo", "data.yaml")):
        out = tmp_path / form
        assert main(["data", "convert", *spec, "--format", form, "--out", str(out)]) == 0
        assert f"7 people in {out}; read them as {form}:{out}@train and @val" in (
            capsys.readouterr().out
        )
        assert (out / listed).is_file()
        assert len(load_records(f"{form}:{out}@val")) == 2
        assert len(load_records(f"{form}:{out}@train#4-5")) == 2
        assert main(["data", "convert", *spec, "--format", form, "--out", str(out)]) == 2
    assert main(["data", "convert", *spec, "--out", str(tmp_path / "t")]) == 2
    assert "TFRecords are of one set" in capsys.readouterr().err
    # TFRecords may become a data set of pictures again.
    assert main(["data", "convert", spec[0], "--out", str(tmp_path / "t"), "--size", "64"]) == 0
    back = ["data", "convert", f"tfrecords:{tmp_path / 't'}", "--format", "coco"]
    assert main([*back, "--out", str(tmp_path / "back")]) == 0
    same_people(load_records(f"tfrecords:{tmp_path / 't'}"),
                load_records(f"coco:{tmp_path / 'back'}"), 6e-4)  # fmt: skip


def test_pictures_that_cannot_be_read_are_named(tmp_path, figures):
    (tmp_path / "broken.png").write_bytes(b"no picture")
    images = figures.images.copy()
    images[2] = str(tmp_path / "broken.png")
    count, failures = write_coco({"": figures.with_columns(images=images)}, tmp_path / "set")
    assert count == 6 and list(failures) == [str(tmp_path / "broken.png")]
    with pytest.raises(UserError, match="exists|holds"):
        write_coco({"": figures}, tmp_path / "set")
    with pytest.raises(DataError, match="nothing was written"):
        write_coco({"": figures.with_columns(images=[images[2]] * 7)}, tmp_path / "none")
