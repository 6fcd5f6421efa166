"""Files as people and labelling tools really write them, a case each, with its right answer.

All start from the same six figures of 72×72 px, whose joints are known; `change` bends their
annotations into the shape of the case.
"""

import copy
import json

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data.figures import write_dataset
from keras_hourglass.data.load import guess_spec, load_records
from keras_hourglass.errors import DataError
from keras_hourglass.skeletons import LSP


@pytest.fixture(scope="session")
def figures(tmp_path_factory):
    """A folder of six figures in COCO's form, and its content."""
    folder = tmp_path_factory.mktemp("figures")
    write_dataset(folder, 6, seed=4, size=72)
    return folder, json.loads((folder / "person_keypoints.json").read_text())


@pytest.fixture
def case(tmp_path, figures):
    """`case(change)` -> path of an annotation file that `change(content)` has bent."""
    folder, content = figures
    bent = copy.deepcopy(content)

    def write(change=lambda content: None, encode=lambda text: text.encode()):
        change(bent)
        (tmp_path / "images").symlink_to(folder / "images")
        path = tmp_path / "annotations.json"
        path.write_bytes(encode(json.dumps(bent)))
        return path

    return write


def people(content):
    return content["annotations"]


def joints_of(content):
    """What the joints are, `(6, 14, 2)`, NaN where they are not labelled."""
    points = np.reshape([person["keypoints"] for person in people(content)], (6, 14, 3))
    return np.where(points[..., 2:] > 0, points[..., :2].astype(float), np.nan)


def labelled(records):
    return np.where(records.visibility[..., None] > 0, records.joints, np.nan)


def joints_named(names):
    def change(content):
        content["categories"][0]["keypoints"] = list(names)

    return change


def written(style):
    """LSP's joints in a style, given a side or "" and the words of a part."""
    names = []
    for joint in LSP.joints:
        side, _, part = joint.partition("_")
        sided = side in ("left", "right")
        words = part.split("_") if sided else joint.split("_")
        names.append(style(side if sided else "", words))
    return names


SIDES = {
    "camel case": written(
        lambda s, w: s + "".join(map(str.title, w)) if s else w[0] + "".join(map(str.title, w[1:]))
    ),
    "suffix": written(lambda s, w: "_".join([*w, s] if s else w)),
    "letter": written(lambda s, w: s[:1].upper() + "_".join(map(str.title, w))),
    "Label Studio": written(lambda s, w: " ".join([*w, f"({s})"] if s else w).title()),
    "glued": written(lambda s, w: s + "_".join(w)),
}


@pytest.mark.parametrize("style", SIDES)
def test_sides_in_any_style_are_the_joints_themselves(case, capsys, style):
    path = case(joints_named(SIDES[style]))
    assert load_records(f"coco:{path}").skeleton == LSP
    out = path.parent / "out"
    assert main(["data", "check", str(path), "--out", str(out)]) == 0
    assert "6 pairs of left and right: right_ankle/left_ankle, " in capsys.readouterr().out


def test_numbers_mirror_nothing_and_it_is_said(case, capsys):
    path = case(joints_named(str(number) for number in range(1, 15)))
    assert not load_records(f"coco:{path}").skeleton.mirrors
    out = path.parent / "out"
    assert main(["data", "check", str(path), "--out", str(out)]) == 0
    said = "no joint is known as left or right, so nothing is mirrored"
    assert said in capsys.readouterr().out
    assert said in json.loads((out / "check.json").read_text())["mirroring"]


@pytest.mark.parametrize("key", ["pairs", "flip", "flip_pairs", "flip_idx"])
def test_a_category_may_have_a_table_of_pairs(case, key):
    names = [str(number) for number in range(1, 15)]
    pairs = [[one + 1, other + 1] for one, other in enumerate(LSP.flip_order) if one < other]

    def change(content):
        joints_named(names)(content)
        table = list(LSP.flip_order) if key == "flip_idx" else pairs
        content["categories"][0][key] = table

    skeleton = load_records(f"coco:{case(change)}").skeleton
    assert skeleton.joints == tuple(names) and skeleton.flip_order == LSP.flip_order


def test_training_says_what_it_does_not_mirror(case, capsys):
    from keras_hourglass.training.batches import build_data
    from keras_hourglass.training.recipe import load_recipe

    path = case(joints_named(str(number) for number in range(1, 15)))
    recipe = load_recipe({"data": {"train": f"coco:{path}"}, "training": {"batch_size": 2}})
    train, _ = build_data(recipe)
    assert "note: data.train: no joint is known as left or right" in capsys.readouterr().err
    assert train.augmentation.flip == 0.0
    # With a table of the recipe: mirrored, and nothing to say.
    pairs = [[one + 1, other + 1] for one, other in enumerate(LSP.flip_order) if one < other]
    values = {"data": {"train": f"coco:{path}", "validation": f"coco:{path}#1-2", "pairs": pairs}}
    train, validation = build_data(load_recipe(values))
    assert capsys.readouterr().err == "" and train.augmentation.flip == 0.5
    assert train.records.skeleton.flip_order == LSP.flip_order
    assert validation.records.skeleton == train.records.skeleton
    # The same people with names.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"categories": [
        {"id": 1, "name": "person", "keypoints": list(LSP.joints)}]}))  # fmt: skip
    train, _ = build_data(recipe)
    assert capsys.readouterr().err == "" and train.augmentation.flip == 0.5


# Files that mean just what the plain one means


def each(part, **values):
    """Set values of every annotation (or other part) to what `values` makes of it."""

    def change(content):
        for entry in content[part]:
            for key, value in values.items():
                entry[key] = value(entry) if callable(value) else value

    return change


def together(*changes):
    def change(content):
        for one in changes:
            one(content)

    return change


def without(part, *keys):
    def change(content):
        for entry in content[part]:
            for key in keys:
                entry.pop(key, None)

    return change


def unlabelled(value):
    """The first joint of everybody: not labelled, with a value for its place."""

    def change(content):
        for person in people(content):
            person["keypoints"][:3] = [value, value, 0]

    return change


def an_unused_category(content):
    content["categories"].insert(0, {"id": 9, "name": "dog", "keypoints": ["nose", "tail"]})


SAME = {
    "as it is": lambda content: None,
    "category 7": together(each("categories", id=7), each("annotations", category_id=7)),
    "category as text": each("annotations", category_id="1"),
    "category 1.0": each("annotations", category_id=1.0),
    "no category where there is one": without("annotations", "category_id"),
    "an unused category first": an_unused_category,
    "pictures' ids as text": each("images", id=lambda entry: str(entry["id"])),
    "pictures' ids with zeros": each("images", id=lambda entry: f"{entry['id']:012d}"),
    "image_id as a fraction": each("annotations", image_id=lambda entry: float(entry["image_id"])),
    "image_id by name": each("annotations", image_id=lambda entry: f"{entry['image_id']:06d}.jpg"),
    "no ids of people": without("annotations", "id"),
    "one id for all": each("annotations", id=1),
    "iscrowd as text": each("annotations", iscrowd="0"),
    "iscrowd as a word": each("annotations", iscrowd="False"),
    "no more than needed": without("annotations", "area", "iscrowd", "num_keypoints", "bbox"),
    "no sizes": each("images", width=0, height=0),
    "sizes as text": each("images", width="72", height="72"),
    "boxes of no size": each("annotations", bbox=[0, 0, 0, 0]),
    "boxes of a point": each("annotations", bbox=lambda entry: [*entry["keypoints"][:2], 0, 0]),
    "boxes without numbers": each("annotations", bbox=[None] * 4),
    "no boxes": each("annotations", bbox=[]),
    "a row for each joint": each(
        "annotations", keypoints=lambda entry: np.reshape(entry["keypoints"], (-1, 3)).tolist()
    ),
    "numbers as text": each(
        "annotations", keypoints=lambda entry: list(map(str, entry["keypoints"]))
    ),
}


def joints_as(form):
    """Everybody's joints as `form` makes them of rows `x, y, v`."""
    return each(
        "annotations",
        keypoints=lambda entry: form(np.reshape(entry["keypoints"], (-1, 3)).tolist()),
    )


def by_id(part):
    def change(content):
        content[part] = {str(entry.pop("id")): entry for entry in content[part]}

    return change


def names_as(form):
    def change(content):
        category = content["categories"][0]
        category.update(form(category.pop("keypoints")))

    return change


def renamed(form):
    return each("images", file_name=lambda entry: form(entry["file_name"].rsplit("/", 1)[-1]))


SAME |= {
    "two numbers a joint": joints_as(lambda rows: [v for x, y, _ in rows for v in (x, y)]),
    "two numbers in a row": joints_as(lambda rows: [[x, y] for x, y, _ in rows]),
    "joints as objects": joints_as(
        lambda rows: [{"x": x, "y": y, "visibility": v} for x, y, v in rows]
    ),
    "visible or not": joints_as(lambda rows: [[x, y, bool(v)] for x, y, v in rows]),
    "annotations by id": by_id("annotations"),
    "pictures by id": by_id("images"),
    "categories by id": by_id("categories"),
    "names in one text": names_as(lambda names: {"keypoints": ", ".join(names)}),
    "names as objects": names_as(
        lambda names: {"keypoints": [{"id": n, "name": name} for n, name in enumerate(names)]}
    ),
    "names in another field": names_as(lambda names: {"keypoint_names": names}),
    "names with their numbers": names_as(
        lambda names: {"keypoints": [f"{n}: {name}" for n, name in enumerate(names)]}
    ),
    "category by name": each("annotations", category_id="person"),
    "image_id without suffix": together(
        each("images", id=lambda entry: entry["id"] + 100),
        each("annotations", image_id=lambda entry: f"{entry['image_id']:06d}"),
    ),
    "image_id with folders": each(
        "annotations", image_id=lambda entry: f"/x/{entry['image_id']:06d}.jpg"
    ),
    "pictures of another suffix": renamed(lambda name: name.replace("jpg", "PNG")),
    "pictures without suffix": renamed(lambda name: name.replace(".jpg", "")),
    "pictures in a bucket": renamed(lambda name: f"s3://bucket/set/{name}"),
    "pictures with a key": renamed(lambda name: f"https://host.org/set/{name}?key=a/b.jpg"),
    "pictures on a server": renamed(lambda name: f"\\\\server\\share\\{name}"),
}


@pytest.mark.parametrize("name", SAME)
def test_the_same_people(case, figures, name):
    def change(content):
        if name == "image_id by name":
            each("images", file_name=lambda entry: entry["file_name"].rsplit("/")[-1])(content)
        SAME[name](content)

    records = load_records(f"coco:{case(change)}")
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    assert records.skeleton == LSP and not records.notes
    assert len(set(records.ids)) == 6
    plain = np.array([person["bbox"] for person in people(figures[1])])
    if "box" not in name and name != "no more than needed":
        np.testing.assert_allclose(records.extra["rectangle"], plain)
    assert (records.boxes[:, 2] > 20).all() and (records.areas > 0).all()


@pytest.mark.parametrize("value", [np.nan, None, -1, 1e12])
def test_what_stands_at_an_unlabelled_joint_does_not_matter(case, figures, value):
    records = load_records(f"coco:{case(unlabelled(value))}")
    assert (records.visibility[:, 0] == 0).all() and not records.notes
    np.testing.assert_allclose(labelled(records)[:, 1:], joints_of(figures[1])[:, 1:])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-be", "utf-32"])
def test_encodings(case, encoding):
    path = case(encode=lambda text: text.encode(encoding))
    assert len(load_records(f"coco:{path}")) == 6


def test_another_visibility_is_noted(case):
    def change(content):
        for person in people(content):
            person["keypoints"][2] = 3
            person["keypoints"][5] = 0.75

    records = load_records(f"coco:{case(change)}")
    assert (records.visibility[:, :2] == 2).all()
    assert (
        "6 people with a visibility of 3, which counts as labelled and visible"
        in (records.remarks[0])
    )


@pytest.mark.parametrize("box", [True, False])
def test_joints_in_shares_of_the_picture(case, figures, box):
    def change(content):
        joints_as(lambda rows: [[x / 72, y / 72, v] for x, y, v in rows])(content)
        scale = 72 if box else 1
        each("annotations", bbox=lambda entry: [v / scale for v in entry["bbox"]])(content)

    records = load_records(f"coco:{case(change)}")
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]), atol=1e-9)
    plain = [person["bbox"] for person in people(figures[1])]
    np.testing.assert_allclose(records.extra["rectangle"], plain)
    assert "6 people with joints in shares of the picture's size" in records.remarks[0]
    assert (records.areas > 100).all()


@pytest.mark.parametrize("place", [(0, 0), (-1, -1)])
def test_a_labelled_joint_in_no_place_is_not_labelled(case, figures, place):
    def change(content):
        for person in people(content)[:2]:
            person["keypoints"][3:6] = [*place, 2]

    records = load_records(f"coco:{case(change)}")
    assert records.visibility[:3, 1].tolist() == [0, 0, 2]
    assert (
        "2 people with a joint at 0, 0 or -1, -1, which counts as not labelled"
        in (records.remarks[0])
    )
    np.testing.assert_allclose(labelled(records)[:, 2:], joints_of(figures[1])[:, 2:])


def test_entries_of_nothing_are_left_out_and_said(case):
    def change(content):
        people(content).extend([None, None])
        people(content)[2]["category_id"] = 77

    records = load_records(f"coco:{case(change)}")
    assert len(records) == 5 and "2 entries of annotations are empty" in records.remarks[0]
    assert "no category has the id 77" in records.notes[0]


# Categories


def two_categories(content):
    """Half of the people become dogs of two joints."""
    content["categories"].append({"id": 9, "name": "Dog", "keypoints": ["nose", "tail"]})
    for person in people(content)[:4]:
        person["category_id"] = "9"
        person["keypoints"] = person["keypoints"][:6]


def test_the_category_that_most_people_have_is_read_and_named(case, capsys):
    path = case(two_categories)
    records = load_records(f"coco:{path}")
    assert records.skeleton.joints == ("nose", "tail") and len(records) == 4
    assert set(records.extra["category_id"]) == {9}
    assert "category Dog (id 9, 4 people) is read" in records.remarks[0]
    assert f"choose by coco:{path}@NAME" in records.remarks[0]
    for choice in ("person", "1"):
        chosen = load_records(f"coco:{path}@{choice}")
        assert chosen.skeleton == LSP and len(chosen) == 2
        assert len(load_records(f"coco:{path}@{choice}#6-6")) == 1
    assert main(["data", "stats", f"coco:{path}@cat"]) == 2
    assert "Dog (id 9, 4 people)" in capsys.readouterr().err


def test_joints_that_nobody_named_are_numbered(case):
    def change(content):
        content["categories"] = [{"id": 1, "name": "thing"}]

    records = load_records(f"coco:{case(change)}")
    assert records.skeleton.joints == tuple(str(n) for n in range(1, 15))
    assert not records.skeleton.mirrors
    assert "no joint is named, so they are called 1 to 14" in records.remarks[0]


def test_seventeen_joints_that_nobody_named_are_cocos(case):
    def change(content):
        content["categories"] = []
        for person in people(content):
            person["keypoints"] += [0] * 9

    assert load_records(f"coco:{case(change)}").skeleton.name == "coco"


def test_animals_are_measured_by_their_box(case, figures, tmp_path, capsys):
    """Four joints without a torso: the longer side of the rectangle, which is said."""

    def change(content):
        content["categories"][0] |= {
            "name": "cow",
            "keypoints": ["nose", "withers", "tail", "hoof"],
        }
        for person in people(content):
            person["keypoints"] = person["keypoints"][:12]
            person["keypoints"][2::3] = [2] * 4

    path = case(change)
    records = load_records(f"coco:{path}")
    sides = np.max([person["bbox"][2:] for person in people(figures[1])], axis=1)
    np.testing.assert_allclose(records.reference, sides)
    points = records.joints.copy()
    points[:, 0, 0] += 0.06 * sides
    points[:, 1, 1] += 0.04 * sides
    np.save(tmp_path / "preds.npy", points)
    out = tmp_path / "out"
    words = ["score", "--annotations", f"coco:{path}", "--out", str(out)]
    assert main([*words, "--predictions", str(tmp_path / "preds.npy")]) == 0
    told = capsys.readouterr().out
    assert "PCK@0.05 in percent, distances by box; 6 people" in told
    assert f"mean error: {0.1 * sides.mean() / 4:.1f} px of the pictures" in told
    assert "mean object keypoint similarity" in told and "COCO's sigmas, 0.067 for" in told
    numbers = json.loads((out / "metrics.json").read_text())
    assert numbers["normalizer"] == "box" and numbers["joints"] == {
        "nose": 0, "withers": 100, "tail": 100, "hoof": 100}  # fmt: skip
    assert numbers["mean_error_pixels"] == pytest.approx(0.1 * sides.mean() / 4, abs=1e-3)


# Pictures


def test_one_id_for_two_pictures(case):
    def change(content):
        content["images"][3]["id"] = content["images"][2]["id"]

    records = load_records(f"coco:{case(change)}")
    assert records.extra["image_number"].tolist() == [1, 2, 5, 6]
    assert "1 people left out (its image_id 2 is that of several pictures)" in records.notes[0]
    assert "1 people left out (unknown image_id)" in records.notes[1]


NAMES = {
    "absolute": "/data/upload/1/{}",
    "another place": "..\\..\\label-studio\\media\\upload\\4\\{}",
    "of a project": "images\\1/{}",
    "local files": "data/local-files/set/{}",
    "local files, address": "/data/local-files/?d=set%2F{}",
    "file": "file:///C:/somebody/{}",
    "a data set's folder": "coco/images/train2017/{}",
    "uploaded": "upload/1/3fa94c1d-{}",
}


@pytest.mark.parametrize("name", NAMES)
def test_pictures_are_found(case, figures, name):
    def change(content):
        for picture in content["images"]:
            picture["file_name"] = NAMES[name].format(picture["file_name"].split("/")[-1])

    records = load_records(f"coco:{case(change)}")
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    assert [path.rsplit("/", 1)[1] for path in records.images] == [f"{n:06d}.jpg" for n in range(6)]


@pytest.mark.parametrize("name", ["gone.jpg", "/gone.jpg", "", None, "x\0.jpg"])
def test_a_missing_picture_costs_its_own_people(case, name):
    def change(content):
        content["images"][2]["file_name"] = name

    records = load_records(f"coco:{case(change)}")
    assert records.extra["image_number"].tolist() == [1, 2, 4, 5, 6]
    assert "1 people left out (" in records.notes[0]
    assert ("gone.jpg" in records.notes[0]) == ("gone" in str(name))


def test_pictures_elsewhere_are_named(case, figures, tmp_path, capsys):
    path = case(each("images", file_name=lambda entry: "/gone/" + entry["file_name"][7:]))
    (tmp_path / "images").unlink()
    command = ["data", "check", str(path), "--out", str(tmp_path / "out")]
    assert main(command) == 2
    assert "--images" in capsys.readouterr().err
    assert main([*command, "--images", str(figures[0] / "images")]) == 0


# Pictures that were turned or resized after they were annotated


@pytest.fixture
def photographs(case, figures, tmp_path):
    """`photographs(redo, change)` -> records of the figures after `redo(image)`, which returns a
    Pillow image and its EXIF orientation, has changed their pictures."""
    from PIL import Image

    def write(redo, change=lambda content: None):
        path = case(change)
        (tmp_path / "images").unlink()
        (tmp_path / "images").mkdir()
        for source in sorted((figures[0] / "images").iterdir()):
            picture, orientation = redo(Image.open(source))
            exif = Image.Exif()
            exif[0x0112] = orientation
            picture.save(tmp_path / "images" / source.name, quality=95, exif=exif)
        return load_records(f"coco:{path}")

    return write


def widened(content):
    """Sizes of the figures with eight columns more at the right."""
    each("images", width=80)(content)


def wide(image):
    from PIL import Image

    canvas = Image.new("RGB", (80, 72))
    canvas.paste(image, (0, 0))
    return canvas


# Where pixel (x, y) of 80×72 px is shown.
TURNED = {5: lambda x, y: (y, x), 6: lambda x, y: (71 - y, x),
          7: lambda x, y: (71 - y, 79 - x), 8: lambda x, y: (y, 79 - x)}  # fmt: skip


@pytest.mark.parametrize("orientation", TURNED)
def test_joints_follow_the_exif_turn(photographs, figures, orientation):
    from keras_hourglass.data import open_image

    records = photographs(lambda image: (wide(image), orientation), widened)
    wanted = np.stack(TURNED[orientation](*np.moveaxis(joints_of(figures[1]), -1, 0)), axis=-1)
    np.testing.assert_allclose(labelled(records), wanted)
    assert open_image(records.images[0]).shape == (80, 72, 3)
    assert "6 pictures of another size" in records.notes[0]
    assert (
        "80×72 px in the annotation file, 72×80 as it is read: turned as EXIF says"
        in (records.notes[0])
    )
    x, y, w, h = people(figures[1])[0]["bbox"]
    corners = np.array([TURNED[orientation](x, y), TURNED[orientation](x + w - 1, y + h - 1)])
    low = corners.min(axis=0)
    rectangle = [*low, *(corners.max(axis=0) - low + 1)]
    np.testing.assert_allclose(records.extra["rectangle"][0], rectangle)


def test_annotations_of_the_turned_picture_stay(photographs, figures):
    """Tools that show the picture as EXIF says give the size that is shown."""
    sizes = each("images", width=72, height=80)
    records = photographs(lambda image: (wide(image), 6), sizes)
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    assert not records.notes


@pytest.mark.parametrize("size", [(144, 144), (36, 36), (107, 108)])
def test_joints_follow_a_resized_picture(photographs, figures, size):
    records = photographs(lambda image: (image.resize(size), 1))
    wanted = (joints_of(figures[1]) + 0.5) * np.array(size) / 72 - 0.5
    np.testing.assert_allclose(labelled(records), wanted)
    scale = np.sqrt(size[0] * size[1]) / 72
    plain = np.array([person["bbox"] for person in people(figures[1])])
    np.testing.assert_allclose(
        records.boxes[:, 2], 1.25 * plain[:, 2:].max(axis=1) * scale, rtol=0.01
    )
    np.testing.assert_allclose(
        records.areas, [p["area"] * scale**2 for p in people(figures[1])], rtol=1e-6
    )
    assert "72×72 px in the annotation file" in records.notes[0] and "scaled by" in records.notes[0]


def test_a_turned_and_resized_picture(photographs, figures):
    records = photographs(lambda image: (wide(image).resize((160, 144)), 6), widened)
    x, y = np.moveaxis((joints_of(figures[1]) + 0.5) * 2 - 0.5, -1, 0)
    np.testing.assert_allclose(labelled(records), np.stack([143 - y, x], axis=-1))


def test_a_picture_of_other_proportions_is_said_and_nothing_moves(photographs, figures):
    records = photographs(lambda image: (image.resize((100, 72)), 1))
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    assert "100×72 as it is read: the joints are left as they are" in records.notes[0]


def test_joints_beyond_the_announced_size_are_the_picture_s(photographs, figures):
    """The file's size is of a thumbnail; the joints are not."""
    records = photographs(lambda image: (image, 1), each("images", width=36, height=36))
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    assert "left as they are" in records.notes[0]


# Tools


def test_label_studio_puts_the_box_into_another_category(case, figures):
    """Rectangles and key points are labels of their own there; the box around the points is not
    the person's."""

    def change(content):
        joints_named(SIDES["Label Studio"])(content)
        content["categories"] = [{"id": 0, "name": "Person"}, {**content["categories"][0], "id": 1}]
        content["annotations"] = [
            entry
            for person in people(content)
            for entry in (
                {"id": 2 * person["id"], "image_id": person["image_id"], "category_id": 0,
                 "segmentation": [], "bbox": [0, 0, 70, 71], "iscrowd": 0, "area": 4970.0},
                {**{key: person[key] for key in ("image_id", "keypoints", "num_keypoints")},
                 "id": 2 * person["id"] + 1, "category_id": 1, "bbox": tight(person)},
            )
        ]  # fmt: skip

    records = load_records(f"coco:{case(change)}")
    np.testing.assert_allclose(records.extra["rectangle"], [[0, 0, 70, 71]] * 6)
    assert (
        "6 people with the box of another category that holds their joints" in (records.remarks[0])
    )
    assert not records.notes and records.skeleton == LSP


def tight(person):
    points = np.reshape(person["keypoints"], (-1, 3))
    points = points[points[:, 2] > 0, :2]
    return [*points.min(axis=0).tolist(), *np.ptp(points, axis=0).tolist()]


def test_several_people_s_joints_in_one_annotation_are_left_out(case):
    """Label Studio writes all key points of a picture as one person's."""

    def change(content):
        content["categories"].insert(0, {"id": 0, "name": "Person"})
        boxes = [
            {"id": 100 + number, "image_id": 0, "category_id": 0, "bbox": bbox}
            for number, bbox in enumerate([[0, 0, 72, 20], [0, 50, 72, 20]])
        ]
        for person in people(content):
            person["bbox"] = tight(person)
        people(content).extend(boxes)

    records = load_records(f"coco:{case(change)}")
    assert records.extra["image_number"].tolist() == [2, 3, 4, 5, 6]
    assert "its joints lie in the boxes of several people" in records.notes[0]


def datumaro(content):
    each("images", file_name=lambda entry: f"cam 1/{entry['file_name'][7:]}")(content)
    each("annotations", id=1)(content)
    content["categories"][0]["skeleton"] = [[0, 1], [13, 12]]


def test_datumaro_counts_limbs_from_zero_and_has_folders_of_splits(case, figures, tmp_path):
    path = case(datumaro)
    (tmp_path / "set/annotations").mkdir(parents=True)
    (tmp_path / "set/images/train").mkdir(parents=True)
    (tmp_path / "set/images/train/cam 1").symlink_to(figures[0] / "images")
    for name in ("person_keypoints_train.json", "instances_train.json"):
        (tmp_path / "set/annotations" / name).write_text(path.read_text())
    records = load_records(f"coco:{tmp_path / 'set'}")
    assert records.ids.tolist() == ["1", "1#2", "1#3", "1#4", "1#5", "1#6"]
    assert records.skeleton == LSP and not records.notes
    assert "1 annotation ids stand for several people, the first is 1" in records.remarks[0]


def test_limbs_counted_from_zero(case):
    def change(content):
        joints_named([f"part {letter}" for letter in "abcdefghijklmn"])(content)
        datumaro(content)
        each("images", file_name=lambda entry: entry["file_name"][6:])(content)

    skeleton = load_records(f"coco:{case(change)}").skeleton
    assert skeleton.limbs == (("part_a", "part_b"), ("part_n", "part_m"))


@pytest.mark.parametrize(
    "files, choices",
    [
        (["annotations/person_keypoints_train.json", "annotations/person_keypoints_val.json",
          "annotations/instances_train.json"], ["train", "val"]),
        (["train/_annotations.coco.json", "valid/_annotations.coco.json"], ["train", "valid"]),
        (["train.json", "test.json"], ["train", "test"]),
    ],
)  # fmt: skip
def test_a_folder_of_several_splits_asks_for_one(case, figures, tmp_path, files, choices):
    text = case().read_text()
    folder = tmp_path / "set"
    for name in files:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    (folder / "images").symlink_to(figures[0] / "images")
    with pytest.raises(DataError, match=f"coco:{folder}@({'|'.join(choices)})"):
        load_records(f"coco:{folder}")
    for choice in choices:
        assert len(load_records(f"coco:{folder}@{choice}#1-3")) == 3
    with pytest.raises(DataError, match="needs one JSON file"):
        load_records(f"coco:{folder}@night@person")


# What tools wrote when they were run for this, each in the least that shows it: FiftyOne 1.22.1,
# supervision 0.31.2, labelme2coco 0.2.6, Label Studio SDK 2.1.2, sleap-io 0.9.5.


def test_fiftyone_names_no_joints_and_cuts_off_fractions(case, figures):
    def change(content):
        content["categories"] = [{"id": 1, "name": "person", "supercategory": None}]
        each("images", license=None, coco_url=None)(content)
        without("annotations", "bbox", "area")(content)
        for person in people(content):
            person["keypoints"] = [int(value) for value in person["keypoints"]]

    records = load_records(f"coco:{case(change)}")
    wanted = joints_of(figures[1])
    assert np.nanmax(np.abs(labelled(records) - wanted)) < 1
    assert records.skeleton.joints == tuple(map(str, range(1, 15)))


def test_boxes_alone_are_refused(case):
    """supervision reads key points of COCO, and writes its boxes."""

    def change(content):
        content["categories"] = [{"id": 1, "name": "person", "supercategory": "common-objects"}]
        without("annotations", "keypoints", "num_keypoints")(content)

    with pytest.raises(DataError, match="names its keypoints"):
        load_records(f"coco:{case(change)}")


def points_as_boxes(boxes=True):
    """What labelme2coco makes of rectangles and points: boxes, those of points 1 by 1."""

    def change(content):
        names = ["person", *LSP.joints] if boxes else LSP.joints
        content["categories"] = [
            {"id": number, "name": name, "supercategory": name} for number, name in enumerate(names)
        ]
        found = []
        for person in people(content):
            rows = np.reshape(person["keypoints"], (-1, 3)).tolist()
            shapes = [(0, person["bbox"])] if boxes else []
            shapes += [
                (joint + boxes, [x, y, 1.0, 1.0]) for joint, (x, y, v) in enumerate(rows) if v
            ]
            found += [
                {"image_id": person["image_id"], "category_id": category, "bbox": bbox,
                 "segmentation": [], "iscrowd": 0, "area": int(bbox[2] * bbox[3])}
                for category, bbox in shapes
            ]  # fmt: skip
        content["annotations"] = [{**one, "id": number} for number, one in enumerate(found)]

    return change


@pytest.mark.parametrize("boxes", [True, False])
def test_labelme2coco_writes_points_as_boxes_of_a_pixel(case, figures, boxes):
    records = load_records(f"coco:{case(points_as_boxes(boxes))}")
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    assert records.skeleton == LSP and not records.notes
    assert "the 14 categories whose boxes have one pixel are read as joints" in records.remarks[0]
    if boxes:
        plain = [person["bbox"] for person in people(figures[1])]
        np.testing.assert_allclose(records.extra["rectangle"], plain)


def test_names_that_count_from_where_the_converter_was_started(case, figures, tmp_path):
    text = case(points_as_boxes()).read_text().replace('"images/0', '"work/set/shots/0')
    out = tmp_path / "work" / "set" / "out"
    out.mkdir(parents=True)
    (out / "dataset.json").write_text(text)
    (tmp_path / "work" / "set" / "shots").symlink_to(figures[0] / "images")
    records = load_records(f"coco:{out / 'dataset.json'}")
    np.testing.assert_allclose(labelled(records), joints_of(figures[1]))
    # Another folder's name leads nowhere, and none leads past the folder above.
    (tmp_path / "work" / "shots").symlink_to(figures[0] / "images")
    for names in ("sets/shots", "work/shots"):
        (out / "dataset.json").write_text(text.replace("work/set/shots", names))
        with pytest.raises(DataError, match="None of the pictures|Nobody"):
            load_records(f"coco:{out / 'dataset.json'}")


def test_points_of_several_people_go_into_their_boxes(case):
    """Two in one picture: what lies in both boxes, in none, or twice in one is nobody's."""

    def change(content):
        content["images"] = content["images"][:1]
        content["categories"] = [
            {"id": 1, "name": "nose"}, {"id": 2, "name": "person"}, {"id": 3, "name": "tail"},
        ]  # fmt: skip
        shapes = [(2, [0, 0, 40, 30]), (2, [30, 0, 40, 30]), (2, [0, 40, 20, 20]),
                  (1, [10, 8, 1, 1]), (3, [60, 9, 0, 0]), (1, [55, 5, 1, 1]), (3, [35, 9, 1, 1]),
                  (3, [50, 60, 1, 1]), (1, [5, 50, 1, 1]), (1, [8, 50, 1, 1])]  # fmt: skip
        content["annotations"] = [
            {"id": number, "image_id": 0, "category_id": category, "bbox": bbox}
            for number, (category, bbox) in enumerate(shapes)
        ]

    records = load_records(f"coco:{case(change)}")
    assert records.skeleton.joints == ("nose", "tail")
    assert records.visibility.tolist() == [[2, 0], [2, 2]]
    assert records.joints.tolist() == [[[10, 8], [0, 0]], [[55, 5], [60, 9]]]
    assert [line.split("(", 1)[1].split(")")[0] for line in records.remarks[1:]] == [
        "in the boxes of several people", "in nobody's box", "several of one kind in one box",
    ]  # fmt: skip


def test_a_folder_tells_what_lies_in_it(tmp_path):
    """SLEAP's one file, YOLO's under another name, Label Studio's YOLO without any."""
    for folder, names in {
        "slp": ["flies.slp"],
        "two": ["flies.slp", "mice.SLP"],
        "yolo": ["coco8-pose.yaml", "notes.json"],
        "studio": ["labels/1.txt", "classes.txt", "notes.json"],
        "coco": ["person_keypoints.json", "compose.yaml", "labels/1.txt"],
        "datumaro": ["annotations/person_keypoints_train.json"],
    }.items():
        for name in names:
            path = tmp_path / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("kpt_shape: [14, 3]" if name.startswith("coco8") else "{}")
    found = {folder.name: guess_spec(folder) for folder in tmp_path.iterdir()}
    assert found == {
        "slp": f"slp:{tmp_path}/slp/flies.slp",
        "two": f"coco:{tmp_path}/two",
        "yolo": f"yolo:{tmp_path}/yolo/coco8-pose.yaml",
        "studio": f"yolo:{tmp_path}/studio",
        "coco": f"coco:{tmp_path}/coco",
        "datumaro": f"coco:{tmp_path}/datumaro",
    }
    assert guess_spec("slp", root=tmp_path) == "slp:slp/flies.slp"
    assert guess_spec(f"{tmp_path}/yolo@val") == f"yolo:{tmp_path}/yolo/coco8-pose.yaml@val"
    with pytest.raises(DataError, match="kpt_shape"):
        load_records(found["studio"])
