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
from keras_hourglass.data.load import load_records
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
    # The same people with names: mirrored, and nothing to say.
    path.write_text(json.dumps(json.loads(path.read_text()) | {"categories": [
        {"id": 1, "name": "person", "keypoints": list(LSP.joints)}]}))  # fmt: skip
    train, _ = build_data(recipe)
    assert capsys.readouterr().err == "" and train.augmentation.flip == 0.5


def test_the_figures_themselves(case, figures):
    records = load_records(f"coco:{case()}")
    content = figures[1]
    points = np.reshape([person["keypoints"] for person in content["annotations"]], (6, 14, 3))
    np.testing.assert_allclose(records.joints, points[..., :2] * (points[..., 2:] > 0))
    assert records.skeleton == LSP and not records.notes
