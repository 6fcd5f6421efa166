"""Joint tables: orders as the data sets publish them, mirror images from names."""

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import (
    SKELETONS,
    Skeleton,
    get_skeleton,
    own_names,
    own_skeleton,
    read_pairs,
    read_sides,
    skeleton_of,
)

# The permutations that other toolkits write down by hand.
FLIP_ORDERS = {
    "mpii": (5, 4, 3, 2, 1, 0, 6, 7, 8, 9, 15, 14, 13, 12, 11, 10),
    "lsp": (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13),
    "flic": (3, 4, 5, 0, 1, 2, 7, 6, 9, 8, 10),
    "coco": (0, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14, 13, 16, 15),
    "people": (5, 4, 3, 2, 1, 0, 11, 10, 9, 8, 7, 6, 12, 13, 14, 16, 15, 18, 17),
}


NUMBERS = [("mpii", 16), ("lsp", 14), ("flic", 11), ("coco", 17), ("people", 19)]


@pytest.mark.parametrize("name", SKELETONS)
def test_flip_orders(name):
    skeleton = get_skeleton(name)
    assert skeleton.flip_order == FLIP_ORDERS[name]
    order = np.array(skeleton.flip_order)
    assert (order[order] == np.arange(skeleton.num_joints)).all()


@pytest.mark.parametrize("name, joints", NUMBERS)
def test_numbers_of_joints(name, joints):
    assert get_skeleton(name).num_joints == joints


def test_people_have_the_joints_of_both_sets():
    people, lsp, coco = (get_skeleton(name) for name in ("people", "lsp", "coco"))
    assert set(people.joints) == set(lsp.joints) | set(coco.joints)
    assert dict(people.groups)["face"] == coco.joints[:5]
    assert dict(people.groups)["head"] == ("neck", "head_top")
    assert ("left_eye", "nose") in people.limbs and ("right_eye", "right_ear") in people.limbs
    assert own_skeleton(people.joints) is people and skeleton_of(19) is people


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
        mirrored = tuple(skeleton.joints[skeleton.flip_order[skeleton.index(j)]] for j in limb)
        assert skeleton.limb_side(mirrored) == other[skeleton.limb_side(limb)]


# How tools and people write a side (`left`, `right`) and a part of one or two words.
STYLES = {
    "prefix": lambda side, part: f"{side}_{'_'.join(part)}",
    "suffix": lambda side, part: f"{'_'.join(part)}_{side}",
    "hyphens": lambda side, part: f"{'-'.join(part)}-{side}",
    "spaces": lambda side, part: f"{side.title()} {' '.join(part)}",
    "middle": lambda side, part: f"{part[0]} {side} {' '.join(part[1:])} point",
    "camel": lambda side, part: side + "".join(map(str.title, part)),
    "pascal": lambda side, part: side.title() + "".join(map(str.title, part)),
    "pascal suffix": lambda side, part: "".join(map(str.title, part)) + side.title(),
    "brackets": lambda side, part: f"{' '.join(part).title()} ({side})",
    "comma": lambda side, part: f"{' '.join(part)}, {side}",
    "capitals": lambda side, part: f"{side}_{'_'.join(part)}".upper(),
    "glued": lambda side, part: side + "".join(part),
    "glued suffix": lambda side, part: "".join(part) + side,
    "letter": lambda side, part: f"{side[0]}_{'_'.join(part)}",
    "letter suffix": lambda side, part: f"{'_'.join(part)}_{side[0].upper()}",
    "letter and dot": lambda side, part: f"{'_'.join(part)}.{side[0].upper()}.001",
    "letter, pascal": lambda side, part: side[0].upper() + "".join(map(str.title, part)),
    "letter behind": lambda side, part: "".join(map(str.title, part)) + side[0].upper(),
    "glued letter": lambda side, part: side[0] + "".join(part),
    "glued letter behind": lambda side, part: "".join(part) + side[0],
    "one capital": lambda side, part: side[0].upper() + "".join(part),
    "lt": lambda side, part: f"{side[0]}t {' '.join(part)}",
    "rigged": lambda side, part: f"rig:{side.title()}{''.join(map(str.title, part))}",
    "numbered": lambda side, part: f"{'_'.join(part)}_{side[0]}1",
}
PARTS = [
    ("eye",), ("ear",), ("shoulder",), ("elbow",), ("wrist",), ("hip",), ("knee",), ("ankle",),
    ("eye", "inner"), ("big", "toe"), ("index", "finger"), ("front", "paw"), ("hind", "paw"),
    ("wing", "tip"), ("horn",), ("lip", "corner"), ("rib",), ("leg",), ("rear", "leg"), ("ala",),
]  # fmt: skip
CENTRES = ["nose", "Neck", "headTop", "tail", "upper-lip", "rump", "collar", "lower lip", "T1"]


@given(
    st.sampled_from(sorted(STYLES)),
    st.lists(st.sampled_from(PARTS), min_size=1, unique=True),
    st.lists(st.sampled_from(CENTRES), unique=True),
    st.randoms(),
)
@settings(max_examples=200, deadline=None)
def test_sides_in_the_styles_of_tools(style, parts, centres, random):
    write = STYLES[style]
    pairs = [(write("left", part), write("right", part)) for part in parts]
    names = [name for pair in pairs for name in pair] + centres
    random.shuffle(names)
    wanted = {name: name for name in centres}
    wanted.update(pairs)
    wanted.update((right, left) for left, right in pairs)
    for own in (names, own_names(names)):
        skeleton = Skeleton("own", own)
        assert skeleton.mirrors
        assert [names[mirror] for mirror in skeleton.flip_order] == [wanted[n] for n in names]
        lefts = [
            name for name, joint in zip(names, own, strict=True) if skeleton.side(joint) == "left"
        ]
        assert set(lefts) == {left for left, _ in pairs}


@given(st.lists(st.sampled_from(PARTS), min_size=1, unique=True), st.data())
@settings(max_examples=100, deadline=None)
def test_styles_may_be_mixed(parts, data):
    plain = [style for style in STYLES if style not in ("middle", "letter and dot", "rigged")]
    plain = [style for style in plain if "glued letter" not in style and style != "numbered"]
    names, twins = [], {}
    for part in parts:
        left, right = (
            STYLES[data.draw(st.sampled_from(plain))](side, part) for side in ("left", "right")
        )
        names += [left, right]
        twins[left], twins[right] = right, left
    order = Skeleton("own", names).flip_order
    assert [names[mirror] for mirror in order] == [twins[name] for name in names]


@given(st.lists(st.text(alphabet="lrLReEaR_-1. ft", max_size=8), min_size=1, unique=True))
@settings(max_examples=200, deadline=None)
def test_mirroring_twice_changes_nothing(names):
    try:
        sides = read_sides(tuple(names))
    except UserError as error:
        assert "needs its partner" in str(error)
        return
    skeleton = Skeleton("own", names)
    order = np.array(skeleton.flip_order)
    assert (order[order] == np.arange(len(names))).all()
    for part in {part for side, part in sides if side != "centre"}:
        assert sorted(side for side, found in sides if found == part and side != "centre") == [
            "left",
            "right",
        ]
    own = own_names(names)
    assert len(set(own)) == len(names)


@pytest.mark.parametrize(
    "names",
    [
        ("1", "2", "3", "4"),
        ("oreille_g", "oreille_d", "nez"),
        ("links_oor", "rechts_oor"),
        ("左肩", "右肩"),
        ("head",),
        ("A1", "L1", "R1", "T1"),  # a grid
        ("K", "L", "M", "R"),
        ("lower", "lip", "rib", "leg", "tail", "rump", "collar", "heel"),
        ("light", "bright", "upright"),
    ],
)
def test_names_that_tell_no_sides_mirror_nothing(names):
    skeleton = Skeleton("own", names)
    assert not skeleton.mirrors
    assert skeleton.flip_order == tuple(range(len(names)))
    assert {skeleton.side(joint) for joint in names} == {"centre"}
    assert "nothing is mirrored" in skeleton.explain_mirroring()


def test_a_table_says_what_names_do_not():
    names = ("museau", "oreille_g", "oreille_d", "patte_g", "patte_d")
    wanted = (("oreille_g", "oreille_d"), ("patte_g", "patte_d"))
    tables = [
        [["oreille_g", "oreille_d"], ("patte_g", "patte_d")],
        {"oreille_g": "oreille_d", "patte_g": "patte_d", "patte_d": "patte_g"},
        "oreille_g=oreille_d, patte_g = patte_d",
        [[2, 3], ["4", "PATTE_D"]],
        [0, 2, 1, 4, 3],
    ]
    for table in tables:
        assert read_pairs(table, names) == wanted
        skeleton = Skeleton("chat", names, pairs=table)
        assert skeleton.mirrors and skeleton.flip_order == (0, 2, 1, 4, 3)
        assert [skeleton.side(name) for name in names[:3]] == ["centre", "left", "right"]
        assert Skeleton.from_dict(skeleton.to_dict()) == skeleton
    assert skeleton.groups[1] == ("oreille_g/oreille_d", ("oreille_g", "oreille_d"))
    # A table stands instead of the names, also an empty one: each joint is its own image.
    seen_from_the_left = Skeleton("cow", ("left_ear", "nose"), pairs=())
    assert seen_from_the_left.mirrors and seen_from_the_left.flip_order == (0, 1)
    # Numbers that are names are those joints.
    assert read_pairs([[2, 1]], ("3", "1", "2")) == (("2", "1"),)


@pytest.mark.parametrize(
    "table, message",
    [
        ([["a", "b"], ["a", "c"]], "'a' with 'b' and with 'c'"),
        ([["a", "x"]], "joints a, b, c. Received: x"),
        ([["a", 4]], "Received: 4"),
        (["ab"], "list of two"),
        ([["a"]], "list of two"),
        ([0, 2, 2], "gives each joint back"),
        ([1, 2, 0], "gives each joint back"),
        ([0, 1], "3 joints"),
        (7, "pairs of names"),
        (None, "pairs of names"),
    ],
)
def test_broken_tables_of_pairs(table, message):
    with pytest.raises(UserError, match=message):
        read_pairs(table, ("a", "b", "c"))


@pytest.mark.parametrize(
    "names, message",
    [
        (("LeftEye", "nose"), "'LeftEye' without 'RightEye'"),
        (("EYE_RIGHT", "nose"), "'EYE_RIGHT' without 'EYE_LEFT'"),
        (("l_eye", "r_eye", "L_ear"), "'L_ear' without 'R_ear'"),
    ],
)
def test_half_a_pair_is_named(names, message):
    with pytest.raises(UserError, match=message):
        Skeleton("own", names)
    assert Skeleton("own", names, pairs=[]).mirrors


def test_what_is_mirrored_is_said():
    text = Skeleton("own", ("LEye", "nose", "REye")).explain_mirroring()
    assert text == "1 pair of left and right: LEye/REye"
    assert "2 pairs" in Skeleton("own", ("LEye", "earR", "REye", "earL")).explain_mirroring()
    alone = Skeleton("own", ("tip",), pairs=())
    assert alone.explain_mirroring() == "no pairs: each joint is its own mirror image"


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


def test_joints_that_nobody_named():
    found = [skeleton_of(count).name for count in (11, 14, 16, 17)]
    assert found == ["flic", "lsp", "mpii", "coco"]
    assert skeleton_of(3).joints == ("joint_1", "joint_2", "joint_3")
    named = Skeleton("hand", ("left_thumb", "right_thumb"))
    assert skeleton_of(2, named, mirrored=True) is named
    with pytest.raises(UserError, match="a model of 3 joints without one"):
        skeleton_of(3, mirrored=True)
    with pytest.raises(UserError, match="16 joints. Received: the skeleton 'coco' with 17"):
        skeleton_of(16, "coco")


def test_many_joints_take_no_minutes():
    names = [f"joint {number}" for number in range(100_000)]
    start = time.monotonic()
    assert Skeleton("many", names).index("joint 99999") == 99_999
    assert time.monotonic() - start < 20  # each looked for among all: two minutes
    with pytest.raises(UserError, match="must be given and differ") as caught:
        Skeleton("twice", [*names, "joint 7"])
    assert len(str(caught.value)) < 300
