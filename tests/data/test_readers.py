"""Readers: on small files of each published form written here, and on real ones."""

import json
import pathlib

import cv2
import fuzz_seeds
import h5py
import numpy as np
import pytest
import scipy.io

from keras_hourglass.data import load
from keras_hourglass.data.coco import read_coco
from keras_hourglass.data.flic import read_flic
from keras_hourglass.data.load import load_records, load_scenes, open_image
from keras_hourglass.data.lsp import read_lsp
from keras_hourglass.data.mixture import match_joints, mix_records
from keras_hourglass.data.mpii import read_mpii
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.data.scenes import read_scenes
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.skeletons import COCO, FLIC, LSP, MPII, PEOPLE, Skeleton


def picture(path, height=30, width=40):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((height, width, 3), 90, np.uint8))


def struct(**fields):
    """A MATLAB struct for `savemat`."""
    return fields


# Kinds

ALIKE = {"lspet": "lsp", "synthetic": "coco"}  # read by the same function


@pytest.mark.parametrize("kind", load._KINDS)
def test_every_kind_is_told_and_fuzzed(kind):
    told = load_scenes.__doc__ if kind == "boxes" else load_records.__doc__
    assert f"`{kind}:` " in " ".join(told.replace("`,", "` ").split())
    seeds = pathlib.Path(fuzz_seeds.__file__).read_text(encoding="utf-8")
    name = ALIKE.get(kind, kind)
    assert f'data_set("{name}")' in seeds or f'"{name}:{{' in seeds
    if kind in load._OWN_READERS:
        readme = pathlib.Path(__file__).parents[2] / "README.md"
        assert f"| `{kind}:" in readme.read_text(encoding="utf-8")


# Leeds Sports Pose


def write_lsp(folder, extended, people=3):
    """joints.mat in the set's own axis order; person n has joint k at (10 + k, 20 + n)."""
    joints = np.zeros((14, 3, people))
    for person in range(people):
        joints[:, 0, person] = 10 + np.arange(14)
        joints[:, 1, person] = 20 + person
        joints[0, 2, person] = 1
        picture(folder / "images" / f"im{person + 1:0{5 if extended else 4}d}.jpg")
    if not extended:
        joints = joints.transpose(1, 0, 2)
    scipy.io.savemat(folder / "joints.mat", {"joints": joints})
    return folder


def test_lsp_flag_one_is_occluded_and_coordinates_become_zero_based(tmp_path):
    records = read_lsp(write_lsp(tmp_path, extended=False))
    assert records.visibility[1].tolist() == [1] + [2] * 13
    assert records.joints[1, 0].tolist() == [9.0, 20.0]  # (10, 21) in MATLAB pixels
    # Extent 13 px, times 1.25.
    assert records.boxes[1].tolist() == [15.5, 20.0, 16.25]
    assert records.reference[1] == 7.0  # left shoulder (joint 9) to right hip (joint 2)


def test_lspet_flag_one_is_labelled_and_zero_is_not(tmp_path):
    records = read_lsp(write_lsp(tmp_path, extended=True), extended=True)
    assert records.visibility[2].tolist() == [2] + [0] * 13
    assert records.joints[2, 1].tolist() == [0.0, 0.0]
    assert np.isnan(records.reference[2])


def test_both_axis_orders_give_the_same_people(tmp_path):
    one = read_lsp(write_lsp(tmp_path / "a", extended=False))
    joints = scipy.io.loadmat(tmp_path / "a" / "joints.mat")["joints"]
    scipy.io.savemat(tmp_path / "a" / "joints.mat", {"joints": joints.transpose(1, 0, 2)})
    assert np.array_equal(read_lsp(tmp_path / "a").joints, one.joints)


def test_unlabelled_people_and_missing_pictures_are_counted(tmp_path):
    write_lsp(tmp_path, extended=True, people=4)
    joints = scipy.io.loadmat(tmp_path / "joints.mat")["joints"]
    joints[:, 2, 1] = 0
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    (tmp_path / "images" / "im00003.jpg").unlink()
    records = load_records(f"lspet:{tmp_path}")
    assert records.ids.tolist() == ["lspet/1", "lspet/4"]
    assert "1 people left out (no joints), the first is number 2" in records.notes[0]
    assert "im00003.jpg" in records.notes[1]
    assert len(load_records(f"lspet:{tmp_path}", need_pictures=False)) == 3


def test_ranges_count_pictures_from_one_with_both_ends(tmp_path):
    write_lsp(tmp_path, extended=False, people=5)
    assert load_records(f"lsp:{tmp_path}#2-4").ids.tolist() == ["lsp/2", "lsp/3", "lsp/4"]
    for bad in ("#0-0", "#4-6", "#6-9", "#4-2"):
        with pytest.raises(DataError, match="numbered 1 to 5"):
            load_records(f"lsp:{tmp_path}{bad}")


@pytest.mark.parametrize("shape", [(14, 3), (3, 13, 5), (2, 14, 5), (5,)])
def test_joints_of_a_wrong_shape_name_the_file(tmp_path, shape):
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": np.ones(shape)})
    with pytest.raises(DataError, match="joints.mat"):
        read_lsp(tmp_path)


def test_nan_joints_count_as_unlabelled(tmp_path):
    write_lsp(tmp_path, extended=False)
    joints = scipy.io.loadmat(tmp_path / "joints.mat")["joints"]
    joints[0, 5, 2] = np.nan
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    assert read_lsp(tmp_path).visibility[2, 5] == 0


@pytest.mark.parametrize("content", [b"", b"not a mat file" * 20, b"MATLAB 5.0" + bytes(200)])
def test_damaged_matlab_file(tmp_path, content):
    (tmp_path / "joints.mat").write_bytes(content)
    with pytest.raises(DataError, match="MATLAB file"):
        read_lsp(tmp_path)


# MPII


def mpii_point(joint, x, y, visible=None):
    point = {"x": float(x), "y": float(y), "id": float(joint)}
    if visible is not None:
        point["is_visible"] = visible
    return point


def write_official(path):
    """Two training pictures, a picture without people, one without joints, and a test picture."""

    def person(points, **more):
        return {
            "x1": 10.0, "y1": 20.0, "x2": 40.0, "y2": 60.0, "scale": 2.0,
            "objpos": {"x": 50.0, "y": 70.0}, "annopoints": {"point": points}, **more,
        }  # fmt: skip

    points = [mpii_point(0, 5, 6, 0), mpii_point(9, 7, 8), mpii_point(15, -3, 4, 1)]
    annolist = np.empty(5, object)
    empty = np.zeros((0, 0))
    two = np.empty(2, object)
    two[0] = person(points)
    two[1] = {"x1": 1.0, "y1": 1.0, "x2": 4.0, "y2": 5.0, "scale": 3.0, "objpos": empty,
              "annopoints": empty}  # fmt: skip
    annolist[0] = {"image": {"name": "a.jpg"}, "annorect": two}
    annolist[1] = {"image": {"name": "b.jpg"}, "annorect": empty}
    annolist[2] = {"image": {"name": "c.jpg"}, "annorect": {"x1": 1.0, "y1": 2.0}}
    annolist[3] = {"image": {"name": "d.jpg"}, "annorect": person([mpii_point(2, 30, 40, "1")])}
    annolist[4] = {"image": {"name": "e.jpg"}, "annorect": person(points)}
    release = {"annolist": annolist, "img_train": np.array([1, 1, 1, 1, 0])}
    scipy.io.savemat(path, {"RELEASE": release})


def test_mpii_official_file_with_its_holes(tmp_path):
    write_official(tmp_path / "mpii_human_pose_v1_u12_1.mat")
    records = read_mpii(tmp_path)
    assert [path.rsplit("/", 1)[1] for path in records.images] == ["a.jpg", "d.jpg"]
    assert records.visibility[0].tolist() == [1] + [0] * 8 + [2] + [0] * 5 + [2]
    # Joints 1-based to 0-based; a negative coordinate of a labelled joint stays.
    assert records.joints[0, [0, 15]].tolist() == [[4.0, 5.0], [-4.0, 3.0]]
    # Centre (50, 70) lowered by 15 × 2; side 200 × 1.25 × 2.
    assert records.boxes[0].tolist() == [49.0, 99.0, 500.0]
    # Head box 30 × 40: diagonal 50, times 0.6.
    assert records.reference[0] == pytest.approx(30.0)


def test_mpii_split_of_the_official_file_is_listed_in_valid_h5(tmp_path):
    write_official(tmp_path / "mpii_human_pose_v1_u12_1.mat")
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["imgname"] = np.array([b"d.jpg"])
        file["person"] = np.array([0.0])
    path = tmp_path / "mpii_human_pose_v1_u12_1.mat"
    assert read_mpii(path, "valid").ids.tolist() == ["mpii/d.jpg/0"]
    assert read_mpii(path, "train").ids.tolist() == ["mpii/a.jpg/0"]
    # In the folder too, where valid.h5 is the only HDF5 file.
    assert load_records(f"mpii:{tmp_path}@train", need_pictures=False).ids.tolist() == (
        ["mpii/a.jpg/0"]
    )
    # The file is whole, but all of it is for validation.
    with h5py.File(tmp_path / "valid.h5", "w") as file:
        file["imgname"] = np.array([b"a.jpg", b"d.jpg"])
        file["person"] = np.array([0.0, 0.0])
    with pytest.raises(DataError, match="holds nobody of the split train with annotated joints"):
        read_mpii(path, "train")


@pytest.mark.parametrize("inner", ["", "mpii_human_pose_v1_u12_2"])
@pytest.mark.parametrize("place", ["", "annot", "mpii_human_pose_v1_u12_2"])
def test_mpii_folder_as_it_is_unpacked(tmp_path, inner, place):
    """The archive's own folder, the authors' `annot`, pictures in `images`: all are found."""
    for folder in ("images", "annot", "mpii_human_pose_v1_u12_2"):
        (tmp_path / folder).mkdir()
    for name in ("a.jpg", "d.jpg"):
        (tmp_path / "images" / name).write_bytes(b"-")
    write_official(tmp_path / inner / "mpii_human_pose_v1_u12_1.mat")
    assert load_records(f"mpii:{tmp_path}").ids.tolist() == ["mpii/a.jpg/0", "mpii/d.jpg/0"]
    with pytest.raises(DataError, match=r"Copy data/MPII/annot/valid.h5 of github.com/princeton"):
        load_records(f"mpii:{tmp_path}@train")
    if place == "mpii_human_pose_v1_u12_2" != inner:
        return  # the list lies neither beside the file nor where the authors have it
    with h5py.File(tmp_path / place / "valid.h5", "w") as file:
        file["imgname"], file["person"] = np.array([b"d.jpg"]), np.array([0.0])
    assert load_records(f"mpii:{tmp_path}@train").ids.tolist() == ["mpii/a.jpg/0"]
    assert len(load_records(f"mpii:{tmp_path}")) == 2  # the list is not taken for the data


def test_mpii_folder_of_parts_asks_for_one(tmp_path):
    (tmp_path / "annot").mkdir()
    for name in ("train.json", "valid.json"):
        (tmp_path / "annot" / name).write_text("[]")
    with pytest.raises(DataError, match=r"annot.valid.json, annot.train.json.*mpii:FOLDER@train"):
        read_mpii(tmp_path)


def test_mpii_hrnet_json(tmp_path):
    joints = [[float(k + 1), float(2 * k + 1)] for k in range(16)]
    joints[0] = [-1.0, -1.0]
    joints[8], joints[9] = [100.0, 100.0], [100.0, 60.0]
    person = {"image": "x.jpg", "joints": joints, "joints_vis": [0] + [1] * 15,
              "center": [60.0, 80.0], "scale": 2.0}  # fmt: skip
    (tmp_path / "annot.json").write_text(json.dumps([person, {**person, "center": [-1, -1]}]))
    records = read_mpii(tmp_path)
    assert len(records) == 1 and "1 people left out" in records.notes[0]
    assert records.visibility[0].tolist() == [0] + [2] * 15
    assert records.boxes[0].tolist() == [59.0, 109.0, 500.0]
    assert records.reference[0] == pytest.approx(30.0)  # 0.75 × 40 px between the head's joints


def test_mpii_validation_split_of_the_paper(shared_data):
    records = load_records("mpii:mpii_annot", shared_data, need_pictures=False)
    assert len(records) == 2958
    missing = records.visibility == 0
    assert missing.sum() == 3088 and (records.joints[~missing] < -1).any()
    assert np.isfinite(records.reference).all()


def test_a_file_of_one_split_cannot_give_the_other(shared_data, tmp_path):
    for kind, file in (("mpii", "mpii_annot/valid.h5"), ("flic", "flic_annot/valid.h5")):
        with pytest.raises(DataError, match="one split only"):
            load_records(f"{kind}:{file}@train", shared_data, need_pictures=False)
        (tmp_path / "valid.h5").write_bytes((shared_data / file).read_bytes())
        with pytest.raises(DataError, match="train.h5"):
            load_records(f"{kind}:{tmp_path}@train", need_pictures=False)
        assert len(load_records(f"{kind}:{file}@valid", shared_data, need_pictures=False)) > 1000


def test_mpii_forms_agree_on_real_people(shared_data):
    listed = load_records("mpii:mpii_annot", shared_data, need_pictures=False).select(slice(5))
    json_form = load_records("mpii:mpii_sample", shared_data)
    np.testing.assert_allclose(json_form.boxes, listed.boxes, atol=2e-4)
    np.testing.assert_allclose(json_form.reference, listed.reference, atol=1e-4)
    # The HDF5 drops the fractions of the head's joints.
    seen = json_form.visibility > 0
    assert np.abs(json_form.joints - listed.joints)[seen].max() < 1
    assert open_image(json_form.images[0]).shape == (720, 1280, 3)


def test_mpii_head_length_is_three_quarters_of_the_heads_joints(shared_data):
    # 0.6 × the diagonal of the head box; the joints are its corners drawn in to 0.8.
    records = load_records("mpii:mpii_annot", shared_data, need_pictures=False)
    head = records.joints[:, [MPII.index("upper_neck"), MPII.index("head_top")]]
    known = (records.visibility[:, [8, 9]] > 0).all(axis=1)
    ratio = records.reference / np.maximum(np.linalg.norm(head[:, 0] - head[:, 1], axis=1), 1)
    assert np.median(ratio[known]) == pytest.approx(0.75, abs=0.002)


# FLIC


def write_flic_mat(path):
    coords = np.full((2, 29), np.nan)
    coords[:, [0, 1, 2, 3, 4, 5, 6, 9, 12, 13, 16]] = np.stack(
        [np.arange(30, 19, -1.0), np.arange(11.0)]
    )
    away = coords.copy()
    away[0, [12, 13]] = away[0, [13, 12]]
    examples = np.empty(3, object)
    for row, (points, train) in enumerate(((coords, 1), (away, 0), (coords * np.nan, 1))):
        examples[row] = {
            "filepath": f"film-{row}.jpg", "coords": points, "imgdims": [480, 720, 3],
            "torsobox": [100.0, 50.0, 200.0, 250.0], "istrain": train, "istest": 1 - train,
        }  # fmt: skip
    scipy.io.savemat(path, {"examples": examples})


def test_flic_examples_mat(tmp_path):
    write_flic_mat(tmp_path / "examples.mat")
    records = read_flic(tmp_path)
    assert len(records) == 2 and "1 people left out" in records.notes[0]
    # Middle of the torso box along x, of the picture along y, 440 px for everybody.
    assert records.boxes[0].tolist() == [149.0, 239.0, 440.0]
    assert records.joints[0, 0].tolist() == [29.0, -1.0]  # (30, 0) in MATLAB pixels
    # Right shoulder (27, 3) to left hip (24, 6).
    assert records.reference[0] == pytest.approx(np.hypot(3, 3))
    assert read_flic(tmp_path, "train").ids.tolist() == ["flic/0/film-0.jpg"]
    assert read_flic(tmp_path, "valid").ids.tolist() == ["flic/0/film-1.jpg"]


def test_flic_person_centric_labels_swap_limbs_of_people_turned_away(tmp_path):
    write_flic_mat(tmp_path / "examples.mat")
    observer, person = read_flic(tmp_path), read_flic(tmp_path, labels="person")
    left, right = FLIC.index("left_wrist"), FLIC.index("right_wrist")
    assert np.array_equal(person.joints[0], observer.joints[0])
    assert np.array_equal(person.joints[1, left], observer.joints[1, right])
    # Observer-centric eyes are put in the picture's order too.
    eyes = [FLIC.index("left_eye"), FLIC.index("right_eye")]
    assert observer.joints[1, eyes[0], 0] > observer.joints[1, eyes[1], 0]


def test_flic_real_annotation_is_observer_centric(shared_data):
    for split, people in (("train", 3987), ("valid", 1016)):
        records = load_records(f"flic:flic_annot@{split}", shared_data, need_pictures=False)
        assert len(records) == people
        for joint in ("shoulder", "hip"):
            left = records.joints[:, FLIC.index(f"left_{joint}"), 0]
            assert (left > records.joints[:, FLIC.index(f"right_{joint}"), 0]).all()
        # Eyes lie above shoulders, hips below: the order of the joints is the skeleton's.
        y = np.median(records.joints[..., 1], axis=0)
        nose, shoulder, hip = (FLIC.index(j) for j in ("nose", "left_shoulder", "left_hip"))
        assert y[nose] < y[shoulder] < y[hip]
        np.testing.assert_allclose(records.boxes[:, 2], 440)


# COCO and own data


def test_boxes_smaller_than_two_pixels_are_no_people(tmp_path):
    """Scales that are a number and above 0, and of which every later division overflows."""
    content = [
        {"image": "a.jpg", "center": [5, 5], "scale": scale, "joints": [[3, 4]] * 16,
         "joints_vis": [1] * 16}
        for scale in (0.01, 1e-300, 0.5)
    ]  # fmt: skip
    (tmp_path / "valid.json").write_text(json.dumps(content))
    records = read_mpii(tmp_path / "valid.json")
    # 200 times 1.25 times the scale: 2.5, next to nothing and 125 px.
    assert records.boxes[:, 2].tolist() == [2.5, 125.0]
    assert "1 people left out (no centre, scale or joints)" in records.notes[0]
    with h5py.File(tmp_path / "train.h5", "w") as file:
        file["part"] = np.ones((2, 11, 2)) * np.arange(1, 12)[:, None]
        file["center"], file["scale"] = np.full((2, 2), 9.0), [1e-300, 2.0]
        file["imgname"] = ["a.jpg", "b.jpg"]
    assert read_flic(tmp_path / "train.h5").boxes[:, 2].tolist() == [400.0]


def test_complex_numbers_are_no_joints(tmp_path, recwarn):
    joints = np.zeros((3, 14, 2), complex)
    joints += 1j
    scipy.io.savemat(tmp_path / "joints.mat", {"joints": joints})
    with pytest.raises(DataError, match="'joints' in .* must be numbers .complex ones received"):
        read_lsp(tmp_path)
    assert not recwarn.list


def coco_content(**changes):
    category = {"id": 7, "name": "puppet", "keypoints": ["Left-Ear", "right ear", "tail"],
                "skeleton": [[1, 3], [2, 3], [9, 1]]}  # fmt: skip
    person = {"id": 1, "image_id": 5, "category_id": 7, "bbox": [2, 4, 10, 20], "area": 55.5,
              "iscrowd": 0, "keypoints": [3, 5, 2, 0, 0, 0, 8, 9, 1]}  # fmt: skip
    images = [{"id": 5, "file_name": "p.png", "width": 40, "height": 30}]
    return {"images": images, "annotations": [{**person, **changes}], "categories": [category]}


def write_coco(folder, content):
    picture(folder / "images" / "p.png")
    (folder / "person_keypoints.json").write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize("reader", [read_coco, read_scenes])
def test_odd_entries_of_pictures_are_said(tmp_path, reader):
    content = coco_content()
    picture(tmp_path / "images" / "p.png")
    path = tmp_path / "person_keypoints.json"

    def said(*images):
        content["images"] = [{"file_name": "p.png", **image} for image in images]
        path.write_text(json.dumps(content))
        records = reader(path)
        lines = (*records.remarks, *records.notes)
        return [line.removeprefix(f"{path}: ") for line in lines]

    # What tools write where they do not know the size is nothing to speak of.
    for width, height in ((40, 30), (0, 0), (None, None), ("40", "30"), (40.0, 0)):
        assert said({"id": 5, "width": width, "height": height}) == []
    wrong = [line] = said({"id": 5, "width": -40, "height": 30})
    assert line == (
        "1 pictures have a width or height that no picture has, the first has the id 5 "
        "(-40 and 30): the picture itself tells"
    )
    for width in (float("nan"), float("inf"), -float("inf"), "wide", [40], 0.5):
        wrong += said({"id": 6, "width": 9, "height": 9}, {"id": 5, "width": 9, "height": width})
    assert len(wrong) == 7 and all("1 pictures have a width or height" in line for line in wrong)
    assert said({"id": 5}, {"id": "5"}, {"id": 6}) == [
        "1 picture ids stand for several entries of images, the first is 5: each needs its own"
    ]


def test_own_joint_names_become_a_skeleton(tmp_path):
    records = read_coco(write_coco(tmp_path, coco_content()))
    assert records.skeleton.joints == ("left_ear", "right_ear", "tail")
    assert records.skeleton.limbs == (("left_ear", "tail"), ("right_ear", "tail"))
    assert records.visibility.tolist() == [[2, 0, 1]]
    # Rectangle from (2, 4): centre (6.5, 13.5), longer side 20 × 1.25.
    assert records.boxes[0].tolist() == [6.5, 13.5, 25.0]
    assert records.areas.tolist() == [55.5]


def test_the_layout_of_cvat(tmp_path):
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "person_keypoints_default.json"
    path.write_text(json.dumps(coco_content()))
    picture(tmp_path / "images" / "default" / "p.png")
    records = load_records(f"coco:{tmp_path}")
    assert records.images[0].endswith("images/default/p.png")


@pytest.mark.parametrize(
    "changes, reason",
    [
        ({"iscrowd": 1}, "crowd"),
        ({"bbox": [200, 4, 10, 20]}, "box outside"),
        ({"keypoints": [0] * 9}, "fewer than 1"),
        ({"keypoints": [1, 2, 2]}, "broken"),
        ({"keypoints": [None, 5, 2, 0, 0, 0, 8, 9, 1]}, "not finite"),
        ({"image_id": 99}, "unknown image_id"),
        ({"category_id": 1}, "not a person"),
    ],
)
def test_unusable_people_are_counted_by_reason(tmp_path, changes, reason):
    content = coco_content()
    content["annotations"].append({**content["annotations"][0], "id": 2, **changes})
    records = read_coco(write_coco(tmp_path, content))
    assert len(records) == 1
    assert reason in records.notes[0] and "annotation 2" in records.notes[0]
    with pytest.raises(DataError, match=reason):
        read_coco(write_coco(tmp_path, coco_content(**changes)))


@pytest.mark.parametrize(
    "bbox",
    [None, [], [0, 0, 0, 0], [2, 4, 0, 20], [2, 4, -3, 20], [2, 4, None, 5], [2, 4], "2,4,5,6",
     [0.1, 0.2, 0.5, 0.6], [2, 4, 1e400, 5], {"x": 1}],
)  # fmt: skip
def test_people_without_a_usable_rectangle_get_the_joints_extent(tmp_path, bbox):
    records = read_coco(write_coco(tmp_path, coco_content(bbox=bbox)))
    assert records.boxes[0].tolist() == [5.5, 7.0, 6.25]
    assert not records.notes
    derived = "1 people with a box of no size or none: derived from the joints"
    assert (derived in "".join(records.remarks)) == bool(bbox)


def test_joints_in_one_spot_get_the_whole_picture(tmp_path):
    one = {"bbox": None, "keypoints": [0, 0, 0, 7, 9, 2, 0, 0, 0]}
    records = read_coco(write_coco(tmp_path, coco_content(**one)))
    assert records.boxes[0].tolist() == [19.5, 14.5, 40.0]  # of 40×30 px
    assert "the whole picture" in records.remarks[0]
    # The size is the picture's own where the file has none; without a picture nobody knows it.
    content = coco_content(**one)
    content["images"][0] |= {"width": 0, "height": "?"}
    assert read_coco(write_coco(tmp_path, content)).boxes[0].tolist() == [19.5, 14.5, 40.0]
    (tmp_path / "images" / "p.png").unlink()
    (tmp_path / "person_keypoints.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match="do not tell its size"):
        read_coco(tmp_path)


def test_fewer_keypoints_than_asked_for_are_left_out(tmp_path):
    with pytest.raises(DataError, match="fewer than 3"):
        read_coco(write_coco(tmp_path, coco_content()), min_keypoints=3)


@pytest.mark.parametrize("name", ["/etc/passwd", "../../secret.png", "a/../../b.png", "C:\\x.png"])
def test_picture_names_must_stay_in_the_folder(tmp_path, name):
    content = coco_content()
    content["images"][0]["file_name"] = name
    with pytest.raises(DataError, match="must stay inside"):
        read_coco(write_coco(tmp_path, content))


def test_half_a_pair_of_sides_is_refused_by_name(tmp_path):
    content = coco_content()
    content["categories"][0]["keypoints"] = ["left_ear", "nose", "tail"]
    with pytest.raises(DataError, match="left_ear"):
        read_coco(write_coco(tmp_path, content))


def test_coco_sample(shared_data):
    records = load_records("coco:coco_sample", shared_data)
    assert len(records) == 12 and len(set(records.images)) == 4
    assert "2 people left out (fewer than 1 keypoints)" in records.notes[0]
    assert records.skeleton.name == "coco" and (records.areas > 0).all()


# Specs and mixtures


def one_person(skeleton, joint, place):
    joints, visibility = np.zeros((1, skeleton.num_joints, 2)), np.zeros((1, skeleton.num_joints))
    joints[0, skeleton.index(joint)] = place
    visibility[0, skeleton.index(joint)] = 2
    return PoseRecords(
        skeleton, ["x.png"], [[5, 5, 10]], joints, visibility, [np.nan], [skeleton.name]
    )


def test_mixtures_match_joints_by_name():
    mixed = mix_records(
        [(one_person(LSP, "left_wrist", (3, 4)), 1), (one_person(FLIC, "left_wrist", (5, 6)), 2)]
    )
    assert len(mixed) == 3 and len(set(mixed.ids)) == 3
    wrist, eye = mixed.skeleton.index("left_wrist"), mixed.skeleton.index("left_eye")
    assert mixed.joints[:, wrist].tolist() == [[3, 4], [5, 6], [5, 6]]
    assert mixed.weights[:, eye].tolist() == [0, 1, 1]
    assert mixed.weights[:, mixed.skeleton.index("left_knee")].tolist() == [1, 0, 0]
    assert mixed.extra["part"].tolist() == [0, 1, 1]


def test_athletes_and_everybody_together_have_the_joints_of_people():
    parts = [one_person(LSP, "neck", (3, 4)), one_person(COCO, "left_ear", (5, 6))]
    assert mix_records([(part, 1) for part in parts]).skeleton is PEOPLE
    # The other way round the joints have another order and no name.
    assert mix_records([(part, 1) for part in parts[::-1]]).skeleton.name == "coco+lsp"


def test_mixtures_in_a_given_skeleton_and_with_fractions(tmp_path):
    write_lsp(tmp_path, extended=False, people=4)
    mixed = load_records([f"lsp:{tmp_path}*1.5", f"lsp:{tmp_path} × 0.25"], skeleton="mpii")
    assert mixed.skeleton == MPII and len(mixed) == 4 + 2 + 1
    assert mixed.weights[0].sum() == 13  # MPII has no joint of LSP's name "neck"
    assert [key.split(":")[1] for key in mixed.ids] == [
        "lsp/1", "lsp/2", "lsp/3", "lsp/4", "lsp/1#2", "lsp/3#2", "lsp/1",
    ]  # fmt: skip


def test_skeletons_without_a_common_joint_are_refused():
    with pytest.raises(UserError, match="no joint in common"):
        match_joints(one_person(LSP, "neck", (1, 1)), Skeleton("other", ("beak",)))


@pytest.mark.parametrize("spec", ["", "lsp", "lsp:", "zoo:x", "synthetic", "lsp:/nowhere#1-2"])
def test_specs_that_cannot_be_understood(spec):
    with pytest.raises(UserError):
        load_records(spec)


def test_records_refuse_boxes_without_size():
    person = one_person(LSP, "neck", (1, 1))
    for box in ([5, 5, 0], [5, 5, -2], [5, np.nan, 3]):
        with pytest.raises(DataError, match="positive side"):
            person.with_columns(boxes=[box])


def test_real_leeds_sports_pose(shared_data):
    lsp, lspet = (load_records(spec, shared_data) for spec in ("lsp:lsp_train", "lspet:lspet"))
    assert (len(lsp), len(lspet)) == (1000, 10000)
    # LSP marks 990 occluded joints, all with valid places; LSPET leaves 16,787 without label.
    assert np.bincount(lsp.visibility.ravel()).tolist() == [0, 990, 13010]
    assert np.bincount(lspet.visibility.ravel()).tolist() == [16787, 0, 123213]
    # People of sport stand upright more often than not.
    for records in (lsp, lspet):
        seen = (records.visibility[:, [0, 13]] > 0).all(axis=1)
        upright = records.joints[seen, 13, 1] < records.joints[seen, 0, 1]
        assert 0.65 < upright.mean() < 1
