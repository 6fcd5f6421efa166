"""Joint tables: orders as the data sets publish them, mirror images from names."""

import numpy as np
import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import SKELETONS, Skeleton, get_skeleton, mirrored_name

# The permutations that other toolkits write down by hand.
FLIP_ORDERS = {
    "mpii": (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10),
    "lsp": (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13),
    "flic": (3, 4, 5, 0, 1, 2, 7, 6, 9, 8, 10),
    "coco": (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15),
}


@pytest.mark.parametrize("name", SKELETONS)
def test_flip_orders(name):
    skeleton = get_skeleton(name)
    assert skeleton.flip_order == FLIP_ORDERS[name]
    order = np.array(skeleton.flip_order)
    assert (order[order] == np.arange(skeleton.num_joints)).all()


@pytest.mark.parametrize("name, joints", [("mpii", 16), ("lsp", 14), ("flic", 11), ("coco", 17)])
def test_numbers_of_joints(name, joints):
    assert get_skeleton(name).num_joints == joints


@pytest.mark.parametrize("name", SKELETONS)
def test_groups_hold_joints_once_and_limbs_mirror(name):
    skeleton = get_skeleton(name)
    members = [joint for _, group in skeleton.groups for joint in group]
    assert len(members) == len(set(members))
    mirrored = {
        frozenset(skeleton.joints[skeleton.flip_order[skeleton.index(joint)]] for joint in limb)
        for limb in skeleton.limbs
    }
    assert mirrored == {frozenset(limb) for limb in skeleton.limbs}


def test_torso_is_left_shoulder_to_right_hip():
    assert {skeleton.reference for skeleton in SKELETONS.values()} == {
        ("left_shoulder", "right_hip")
    }


def test_sides():
    skeleton = get_skeleton("lsp")
    sides = [skeleton.side(joint) for joint in ("right_knee", "left_wrist", "neck")]
    assert sides == ["right", "left", "centre"]


def test_limbs_between_two_sides_are_neutral():
    lsp, mpii = get_skeleton("lsp"), get_skeleton("mpii")
    assert lsp.limb_side(("left_hip", "right_hip")) == "centre"
    assert lsp.limb_side(("neck", "right_shoulder")) == "right"
    assert lsp.limb_side(("left_knee", "left_ankle")) == "left"
    assert lsp.limb_side(("head_top", "neck")) == "centre"
    assert mpii.limb_side(("thorax", "left_shoulder")) == "left"


@pytest.mark.parametrize("name", SKELETONS)
def test_the_mirror_image_of_a_limb_has_the_other_side(name):
    skeleton = get_skeleton(name)
    other = {"left": "right", "right": "left", "centre": "centre"}
    for limb in skeleton.limbs:
        mirrored = tuple(mirrored_name(joint) for joint in limb)
        assert skeleton.limb_side(mirrored) == other[skeleton.limb_side(limb)]


def test_own_skeleton_gets_groups_by_part():
    dog = Skeleton("dog", ("nose", "left_paw", "right_paw", "tail"), [("nose", "tail")])
    assert dog.groups == (
        ("nose", ("nose",)),
        ("paw", ("left_paw", "right_paw")),
        ("tail", ("tail",)),
    )
    assert Skeleton.from_dict(dog.to_dict()) == dog
    assert get_skeleton(dog.to_dict()) == dog


def test_skeletons_survive_json():
    import json

    mpii = get_skeleton("mpii")
    assert Skeleton.from_dict(json.loads(json.dumps(mpii.to_dict()))) == mpii


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"joints": ("a", "a")}, "differ"),
        ({"joints": ()}, "differ"),
        ({"joints": ("left_a",)}, "without 'right_a'"),
        ({"joints": ("a",), "limbs": [("a", "b")]}, "'b'"),
        ({"joints": ("a",), "groups": [("g", ("c",))]}, "'c'"),
        ({"joints": ("a",), "reference": ("a", "d")}, "'d'"),
    ],
)
def test_broken_tables_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Skeleton("broken", **arguments)


def test_unknown_names_list_the_known_ones():
    with pytest.raises(UserError, match="mpii, lsp, flic, coco"):
        get_skeleton("human36m")
    with pytest.raises(UserError, match="colour"):
        Skeleton.from_dict({"name": "x", "joints": ("a",), "colour": 1})
