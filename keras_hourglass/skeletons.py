"""Joint names, sides, limbs and groups of the common data sets and of anybody's own, as tables."""

import dataclasses
import functools
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from keras_hourglass.errors import UserError, did_you_mean

# RGB of the sides of joints and limbs in every picture: the sides are the person's own. Blue and
# orange differ for every kind of colour vision.
SIDE_COLOURS = {"left": (86, 180, 233), "right": (230, 139, 0), "centre": (240, 240, 240)}


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of a data set: their order, limbs, groups and mirror images.

    Names carry their side, left or right, always the person's own, in any of the forms that
    `read_sides` understands; everything that depends on sides (the mirror permutation, colours)
    is computed from the names. Names in other languages and numbers need `pairs`.

    Args:
        name: short name, e.g. `"mpii"`.
        joints: K joint names in the order of the arrays.
        limbs: pairs of joint names to connect in drawings.
        groups: pairs `(group name, joint names)` over which tables average.
        reference: the two joints whose distance normalises PCK (the torso), or `None`.
        pairs: pairs `(left joint, right joint)`, or another table that `read_pairs` takes, instead
            of those that the names tell; an empty table says that each joint is its own image.

    Raises:
        UserError: if a name is repeated, a sided joint lacks its partner, or a limb, group, pair or
            reference names a joint that is not there.

    Example:

    >>> skeleton = get_skeleton("lsp")
    >>> skeleton.joints[:2], skeleton.flip_order[:3]
    (('right_ankle', 'right_knee'), (5, 4, 3))
    """

    name: str
    joints: tuple
    limbs: tuple = ()
    groups: tuple = ()
    reference: tuple | None = None
    pairs: tuple | None = None

    def __post_init__(self):
        self._check_types()
        object.__setattr__(self, "joints", tuple(str(joint) for joint in self.joints))
        object.__setattr__(self, "limbs", tuple(tuple(limb) for limb in self.limbs))
        if len(set(self.joints)) != len(self.joints) or not self.joints:
            raise UserError(
                f"Joint names must be given and differ. Received: {_short(self.joints)}. "
                "Rename one."
            )
        if self.pairs is not None:
            object.__setattr__(self, "pairs", read_pairs(self.pairs, self.joints))
        groups = tuple((name, tuple(members)) for name, members in self.groups)
        object.__setattr__(self, "groups", groups or _one_group_per_part(self.joints, self._sides))
        if self.reference is not None:
            object.__setattr__(self, "reference", tuple(self.reference))
        used = [joint for limb in self.limbs for joint in limb]
        used += [joint for _, members in self.groups for joint in members]
        used += list(self.reference or ())
        known = set(self.joints)  # by the tuple, hundreds of thousands take minutes
        for joint in used:
            if joint not in known:
                self.index(joint)  # which refuses it

    def _check_types(self):
        """Refuse what files of others may say instead of names."""

        def are_names(values):
            return isinstance(values, (list, tuple)) and all(isinstance(v, str) for v in values)

        def are_pairs(values, meets):
            return isinstance(values, (list, tuple)) and all(
                isinstance(pair, (list, tuple)) and len(pair) == 2 and meets(pair)
                for pair in values
            )

        right = {
            "name": isinstance(self.name, str),
            "joints": isinstance(self.joints, (list, tuple))
            and all(isinstance(joint, (str, int)) for joint in self.joints),
            "limbs": are_pairs(self.limbs, are_names),
            "groups": are_pairs(self.groups, lambda p: isinstance(p[0], str) and are_names(p[1])),
            "reference": self.reference is None or are_names(self.reference),
        }
        for key, is_right in right.items():
            if not is_right:
                raise UserError(
                    "A skeleton has a name, a list of joints, limbs and groups as lists of pairs, "
                    f"and a reference of two joints. Received: {key}={_short(getattr(self, key))}. "
                    "Correct it."
                )

    @property
    def num_joints(self) -> int:
        """K, the number of joints."""
        return len(self.joints)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """For each joint, the index of the joint it becomes in a mirrored picture."""
        order = list(range(self.num_joints))
        places = {key: number for number, key in enumerate(self._sides)}
        for number, (side, part) in enumerate(self._sides):
            if side != "centre":
                order[number] = places[_OTHER[side], part]
        return tuple(order)

    @property
    def mirrors(self) -> bool:
        """Whether it is known what becomes of the joints in a mirrored picture.

        Where neither the names nor `pairs` tell left from right, mirrored pictures would teach and
        average the wrong sides, so nothing is mirrored.
        """
        return self.pairs is not None or any(side != "centre" for side, _ in self._sides)

    def explain_mirroring(self) -> str:
        """What is done in mirrored pictures, and what to do where that is nothing."""
        if not self.mirrors:
            return (
                "no joint is known as left or right, so nothing is mirrored, neither in training "
                f"nor in prediction. Received: {_short(', '.join(self.joints))}. If some mirror "
                "each other, say so by pairs, e.g. [[a, b], [c, d]], on the command line "
                "--pairs a=b,c=d; if each is its own, by []."
            )
        order = self.flip_order
        pairs = [
            f"{joint}/{self.joints[order[number]]}"
            for number, joint in enumerate(self.joints)
            if number < order[number]
        ]
        if not pairs:
            return "no pairs: each joint is its own mirror image"
        return f"{len(pairs)} pair{'s'[: len(pairs) > 1]} of left and right: {', '.join(pairs)}"

    @property
    def _sides(self):
        """`(side, part)` of each joint, as from `read_sides`."""
        if self.pairs is None:
            return read_sides(self.joints)
        sides = {joint: ("centre", joint) for joint in self.joints}
        for left, right in self.pairs:
            part = f"{left}/{right}"
            sides[left], sides[right] = ("left", part), ("right", part)
        return tuple(sides.values())

    def index(self, joint: str) -> int:
        """The position of a joint's name in the arrays."""
        if joint not in self.joints:
            known = _short(", ".join(self.joints), 300)
            raise UserError(
                f"Skeleton {_short(self.name)!r} has no such joint. Received: {_short(joint)!r}. "
                f"Choose one of {known}.{did_you_mean(joint, self.joints)}"
            )
        return self.joints.index(joint)

    def side(self, joint: str) -> str:
        """`"left"`, `"right"` or `"centre"` of a joint's name."""
        return self._sides[self.index(joint)][0]

    def limb_side(self, limb: tuple[str, str]) -> str:
        """The side of a limb: that of its joints, where one at least has a side and no other's.

        What joins left and right, such as the line of the shoulders, is `"centre"`.

        Example:

        >>> lsp = get_skeleton("lsp")
        >>> lsp.limb_side(("neck", "left_shoulder")), lsp.limb_side(("left_hip", "right_hip"))
        ('left', 'centre')
        """
        sides = {self.side(joint) for joint in limb} - {"centre"}
        return sides.pop() if len(sides) == 1 else "centre"

    def to_dict(self) -> dict:
        """A JSON-ready description, the inverse of `from_dict`."""
        values = dataclasses.asdict(self)
        if self.pairs is None:
            del values["pairs"]  # the names tell
        return values

    @classmethod
    def from_dict(cls, values: dict) -> "Skeleton":
        """Build a skeleton from the result of `to_dict`."""
        fields = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict):
            raise UserError(
                "A skeleton is a table with a name and joints. Received: "
                f"{_short(values)}. Write for example {{name: cat, joints: [nose, tail]}}."
            )
        keys = sorted(map(str, values))
        unknown = [key for key in keys if key not in fields]
        if unknown or not {"name", "joints"} <= set(values):
            raise UserError(
                f"A skeleton has the keys {sorted(fields)}, of which name and joints are needed. "
                f"Received: {_short(keys, 80)}. "
                f"Remove or rename {_short(unknown or 'what is missing', 60)}."
                f"{did_you_mean(unknown[0], fields) if unknown else ''}"
            )
        return cls(**values)


_WORDS = {"left": "left", "right": "right"}
_ABBREVIATIONS = {
    "l": "left", "lt": "left", "lft": "left",
    "r": "right", "rt": "right", "rgt": "right", "rht": "right",
}  # fmt: skip
_OTHER = {"left": "right", "right": "left"}
# What stands in a shape for the side of a name and for a mention of the other side.
_HERE, _THERE = "\0", "\1"
_LETTERS = re.compile(r"[^\W\d_]+")
_BETWEEN = re.compile(r"[\W_]+")
_APART = re.compile(r"[\s_.,:;/|()\[\]{}<>-]+")
# Where a word ends within `leftEye` and `LShoulder`.
_CAMEL = re.compile(r"(?<=[a-zà-ÿ])(?=[A-ZÀ-Þ])|(?<=[A-ZÀ-Þ])(?=[A-ZÀ-Þ][a-zà-ÿ])")


@functools.lru_cache(maxsize=64)
def read_sides(joints: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """Side and part of each joint, understood from the names.

    Left and right are understood as a word (`left_eye`, `eye-right`, `leftEye`, `Eye (left)`), an
    abbreviation (`LEye`, `l_eye`, `eye.R`, `Lt eye`), and glued to the part or to a letter
    (`lefteye`, `leye`, `EYEL`, `LF_paw`, `paw_FR`), in any case and separator. A joint has a side
    only if exactly one other joint is its mirror image, so words that merely begin with an l,
    numbers and names in other languages have none.

    Args:
        joints: K different names.

    Returns:
        K pairs `(side, part)`: the side is `"left"`, `"right"` or `"centre"`. The part of two
        joints that mirror each other is the rest of their names in small letters with `_`, and no
        other pair's; that of a joint in the centre is its name.

    Raises:
        UserError: if a joint's name says its side, and its partner is missing.

    Example:

    >>> read_sides(("LShoulder", "RShoulder", "Nose"))
    (('left', 'shoulder'), ('right', 'shoulder'), ('centre', 'Nose'))
    """
    readings: list = [[] for _ in joints]
    partners, shapes, plain = {}, {}, []
    for reader in (_read_words, _read_abbreviations, _read_glued_words, _read_glued_letters):
        for number, joint in enumerate(joints):
            if number not in partners:
                readings[number] += reader(joint, joints)
        if reader is _read_abbreviations:
            plain = [bool(reading) for reading in readings]
        for key in (str.lower, _loosely):
            for left, right, shape in _twins(readings, partners, key):
                partners[left], partners[right], shapes[left] = right, left, shape
    _refuse_halves(joints, readings, partners, plain)
    sides, taken = [("centre", joint) for joint in joints], set()
    for left, shape in sorted(shapes.items()):
        rest = re.sub(f"[{_HERE}{_THERE}]", " ", shape)
        part = _plain_name(rest) if rest.strip() else "side"
        while part in taken:
            part += "_"  # named twice, in two ways
        taken.add(part)
        sides[left], sides[partners[left]] = ("left", part), ("right", part)
    return tuple(sides)


def _words_of(name):
    """The words of a name with the places where they start: `LShoulder_2` -> L, Shoulder."""
    for run in _LETTERS.finditer(name):
        start = run.start()
        for word in _CAMEL.split(run[0]):
            yield start, word
            start += len(word)


def _shape(name, marks):
    """A side and the name without it; `marks` are `(start, length, side)` within the name."""
    side, shape = marks[0][2], name
    for start, length, mentioned in reversed(marks):
        mark = _HERE if mentioned == side else _THERE
        shape = shape[:start] + mark + shape[start + length :]
    return side, shape


def _read_words(name, _):
    """`left_eye`, `rightEye`, `Eye (left)`."""
    marks = [
        (start, len(word), _WORDS[word.lower()])
        for start, word in _words_of(name)
        if word.lower() in _WORDS
    ]
    return [_shape(name, marks)] if marks else []


def _read_abbreviations(name, names):
    """`l_eye`, `REye`, `eye.L`; not the L1 to L5 of a grid or a spine."""
    readings = []
    for start, word in _words_of(name):
        if word.lower() in _ABBREVIATIONS:
            reading = _shape(name, [(start, len(word), _ABBREVIATIONS[word.lower()])])
            if _LETTERS.search(reading[1]) or _letters_in_place(reading[1], names) <= set("lrcm"):
                readings.append(reading)
    return readings


def _letters_in_place(shape, names):
    """The single letters that names have where a shape has its side."""
    before, after = shape.lower().split(_HERE)
    found = set()
    for name in map(str.lower, names):
        middle = name[len(before) : len(name) - len(after)]
        if name == before + middle + after and len(middle) == 1 and middle.isalpha():
            found.add(middle)
    return found


def _read_glued_words(name, _):
    """`leftear`, `EARRIGHT`."""
    marks = [
        (match.start(), len(match[0]), match[0].lower())
        for match in re.finditer("left|right", name, re.IGNORECASE)
    ]
    return [_shape(name, marks)] if marks else []


def _read_glued_letters(name, _):
    """`lsho`, `EARL`, the first or last letter of a code: `LF_paw`, `paw_fr`."""
    runs = [(run.start(), run[0]) for run in _LETTERS.finditer(name)]
    readings = []
    for start, word in dict.fromkeys([*_words_of(name), *runs]):
        for place in {start, start + len(word) - 1}:
            if name[place] in "lLrR" and len(word) > 1:
                readings.append(_shape(name, [(place, 1, _ABBREVIATIONS[name[place].lower()])]))
    return readings


def _loosely(shape):
    """What two names have in common that say the same in another order and other separators."""
    return _BETWEEN.sub("", shape.lower())


def _twins(readings, partners, key):
    """Pairs `(left, right, shape)` of joints without a partner, each the only one for the other."""
    by_key, matches = {}, {}
    for number, reading in enumerate(readings):
        for side, shape in reading if number not in partners else ():
            by_key.setdefault(key(shape), {}).setdefault(side, {})[number] = shape
    for sides in by_key.values():
        for left, shape in sides.get("left", {}).items():
            for right in sides.get("right", {}):
                if left != right:
                    matches[left, right] = shape
    lefts, rights = (Counter(match[end] for match in matches) for end in (0, 1))
    for (left, right), shape in matches.items():
        if lefts[left] + rights[left] == 1 and lefts[right] + rights[right] == 1:
            yield left, right, shape


def _refuse_halves(joints, readings, partners, plain):
    """Name a joint that says its side as a word, or as joints with partners do, and has none."""
    abbreviated = any(plain[number] for number in partners)
    for number, joint in enumerate(joints):
        if number in partners or not plain[number]:
            continue
        side, shape = readings[number][0]
        start = shape.index(_HERE)
        said = joint[start : start + len(joint) - len(shape) + 1]
        in_words = _WORDS.get(said.lower()) or _THERE in shape
        if in_words or (abbreviated and _LETTERS.search(shape)):
            wanted = _OTHER[side] if in_words else said.translate(str.maketrans("lrLR", "rlRL"))
            wanted = wanted.upper() if said.isupper() else wanted
            wanted = wanted.capitalize() if said.istitle() and len(said) > 1 else wanted
            partner = shape.replace(_HERE, wanted).replace(_THERE, side)
            raise UserError(
                "A joint named left_… or right_… needs its partner. Received: "
                f"{_short(joint, 60)!r} without {_short(partner, 60)!r}. Add the partner, drop the "
                "side, or say by `pairs` what mirrors what."
            )


def own_names(joints: Sequence[str]) -> tuple[str, ...]:
    """Joint names of anybody's making in the form of the tables here: `left_eye`, `head_top`.

    Args:
        joints: K different names.

    Returns:
        K different names: `left_` or `right_` and the part where `read_sides` understands them,
        else small letters with `_` between words. Names that would become the same stay as they
        are.

    Raises:
        UserError: if a joint's name says its side, and its partner is missing.

    Example:

    >>> own_names(("Eye (left)", "Eye (right)", "headTop"))
    ('left_eye', 'right_eye', 'head_top')
    """
    joints = tuple(joints)
    names = [
        _plain_name(part) if side == "centre" else f"{side}_{part}".strip("_")
        for side, part in read_sides(joints)
    ]
    times = Counter(names)
    return tuple(
        name if times[name] == 1 else joint for name, joint in zip(names, joints, strict=True)
    )


def _plain_name(text):
    """`Head-Top`, `headTop`, `head top` -> `head_top`."""
    return _APART.sub("_", _CAMEL.sub("_", text)).strip("_").lower() or text


def own_skeleton(
    joints: Sequence[str],
    limbs: Sequence[tuple[int, int]] = (),
    name: str = "own",
    pairs: Any = None,
) -> Skeleton:
    """The skeleton of joints that somebody named, as every reader of such data makes it.

    Args:
        joints: K names, which become those of `own_names` where these can be understood.
        limbs: pairs of indices into `joints`.
        name: the skeleton's.
        pairs: a table that `read_pairs` takes, instead of the sides that the names tell.

    Returns:
        A `Skeleton`; COCO's, LSP's or both together where the joints are theirs. Where there are a
        left shoulder and a right hip, the torso is its reference.

    Raises:
        UserError: if two joints have one name, a sided one lacks its partner, or the table is
            wrong.

    Example:

    >>> own_skeleton(["Paw (left)", "Paw (right)", "Tail"], limbs=[(0, 2)]).limbs
    (('left_paw', 'tail'),)
    """
    given = tuple(str(joint).strip() for joint in joints)
    told: Skeleton | None = None
    names = given
    try:
        names = own_names(given) if len(set(given)) == len(given) else given
        known = [known for known in _TOOLS if known.joints == names]
        told = known[0] if known else Skeleton(name, names)
    except UserError:
        if pairs is None:
            raise  # with a table, half of the sides will do
    if pairs is not None:
        places = [tuple(map(given.index, pair)) for pair in read_pairs(pairs, given)]
        pairs = tuple((names[left], names[right]) for left, right in places)
    table = None if pairs is None else Skeleton(name, names, pairs=pairs)
    if told and (table is None or (told.mirrors and told.flip_order == table.flip_order)):
        pairs = None  # the names say the same
        if told in _TOOLS:
            return told
    return Skeleton(
        name,
        names,
        tuple((names[start], names[end]) for start, end in limbs),
        reference=_TORSO if set(_TORSO) <= set(names) else None,
        pairs=pairs,
    )


def read_pairs(table: Any, joints: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Which joints mirror each other, from a table that somebody wrote.

    Args:
        table: pairs `(left, right)` as a list or as a dict; text as `"izq=der, 3=4"`; or, as in
            YOLO's `flip_idx`, the list of K indices, from 0, of what each joint becomes. A joint is
            named, or numbered from 1 as in COCO's `skeleton` if no joint has that number for its
            name.
        joints: K names.

    Returns:
        Pairs of names.

    Raises:
        UserError: if the table is of another form, names no joint, or names one twice.

    Example:

    >>> read_pairs({"oreille_g": "oreille_d"}, ("museau", "oreille_g", "oreille_d"))
    (('oreille_g', 'oreille_d'),)
    >>> read_pairs([0, 2, 1], ("museau", "oreille_g", "oreille_d"))
    (('oreille_g', 'oreille_d'),)
    """
    joints = tuple(joints)
    if isinstance(table, str):
        table = [pair.split("=") for pair in re.split(r"[,;]", table) if pair.strip()]
    if isinstance(table, dict):
        table = list(table.items())
    if not isinstance(table, Sequence) or isinstance(table, (str, bytes)):
        raise UserError(_wrong_pairs(table))
    if table and all(type(index) is int for index in table):
        if sorted(table) != list(range(len(joints))) or any(
            table[index] != number for number, index in enumerate(table)
        ):
            raise UserError(
                f"The mirror image of {len(joints)} joints is a list of the numbers 0 to "
                f"{len(joints) - 1} that gives each joint back when it is used twice. "
                f"Received: {_short(table)}. Correct it."
            )
        table = [(joints[a], joints[b]) for a, b in enumerate(table) if a < b]
    pairs, used = {}, {}
    for pair in table:
        if not isinstance(pair, Sequence) or isinstance(pair, (str, bytes)) or len(pair) != 2:
            raise UserError(_wrong_pairs(pair))
        left, right = (_named(end, joints) for end in pair)
        if left == right or (right, left) in pairs:
            continue  # said from both sides
        for joint, other in ((left, right), (right, left)):
            if used.setdefault(joint, other) != other:
                raise UserError(
                    f"A joint has one mirror image. Received: {joint!r} with {used[joint]!r} and "
                    f"with {other!r}. Leave one of the pairs out."
                )
        pairs[left, right] = None
    return tuple(pairs)


def _named(end, joints):
    """A joint by its name, or by its number from 1."""
    text = str(end).strip()
    if text in joints:
        return text
    if type(end) is not bool and text.isdecimal() and 1 <= int(text) <= len(joints):
        return joints[int(text) - 1]
    similar = [joint for joint in joints if _plain_name(joint) == _plain_name(text)]
    if len(similar) == 1:
        return similar[0]
    raise UserError(
        f"Pairs are of the joints {_short(', '.join(joints))}. Received: {_short(end)}. "
        f"Name one of them, or its number from 1.{did_you_mean(text, joints)}"
    )


def _wrong_pairs(table):
    return (
        "Joints that mirror each other are pairs of names, e.g. [[oreille_g, oreille_d]]. "
        f"Received: {_short(table)}. Write each pair as a list of two."
    )


def _short(value, limit=120):
    text = value if isinstance(value, str) else repr(value)
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _one_group_per_part(joints, sides):
    """Left and right of a part together, in order of appearance."""
    parts = {}
    for joint, (_, part) in zip(joints, sides, strict=True):
        parts.setdefault(part, []).append(joint)
    return tuple((part, tuple(members)) for part, members in parts.items())


def _pairs(*parts):
    return tuple((part, (f"right_{part}", f"left_{part}")) for part in parts)


_ARMS_AND_LEGS = tuple(
    (f"{side}_{start}", f"{side}_{end}")
    for side in ("right", "left")
    for start, end in (
        ("shoulder", "elbow"),
        ("elbow", "wrist"),
        ("hip", "knee"),
        ("knee", "ankle"),
    )
)
_TORSO = ("left_shoulder", "right_hip")

MPII = Skeleton(
    name="mpii",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "pelvis", "thorax", "upper_neck", "head_top",
        "right_wrist", "right_elbow", "right_shoulder",
        "left_shoulder", "left_elbow", "left_wrist",
    ),
    limbs=_ARMS_AND_LEGS
    + (
        ("head_top", "upper_neck"), ("upper_neck", "thorax"), ("thorax", "pelvis"),
        ("thorax", "right_shoulder"), ("thorax", "left_shoulder"),
        ("pelvis", "right_hip"), ("pelvis", "left_hip"),
    ),
    groups=(("head", ("upper_neck", "head_top")),)
    + _pairs("shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    reference=_TORSO,
)  # fmt: skip

LSP = Skeleton(
    name="lsp",
    joints=(
        "right_ankle", "right_knee", "right_hip", "left_hip", "left_knee", "left_ankle",
        "right_wrist", "right_elbow", "right_shoulder",
        "left_shoulder", "left_elbow", "left_wrist",
        "neck", "head_top",
    ),
    limbs=_ARMS_AND_LEGS
    + (
        ("head_top", "neck"), ("neck", "right_shoulder"), ("neck", "left_shoulder"),
        ("right_shoulder", "right_hip"), ("left_shoulder", "left_hip"),
        ("right_hip", "left_hip"),
    ),
    groups=(("head", ("neck", "head_top")),)
    + _pairs("shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    reference=_TORSO,
)  # fmt: skip

FLIC = Skeleton(
    name="flic",
    joints=(
        "left_shoulder", "left_elbow", "left_wrist",
        "right_shoulder", "right_elbow", "right_wrist",
        "left_hip", "right_hip", "left_eye", "right_eye", "nose",
    ),
    limbs=tuple(limb for limb in _ARMS_AND_LEGS if "hip" not in limb[0] and "knee" not in limb[0])
    + (
        ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
        ("left_eye", "nose"), ("right_eye", "nose"),
    ),
    groups=(("head", ("left_eye", "right_eye", "nose")),)
    + _pairs("shoulder", "elbow", "wrist", "hip"),
    reference=_TORSO,
)  # fmt: skip

COCO = Skeleton(
    name="coco",
    joints=(
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
        "left_shoulder", "right_shoulder", "left_elbow", "right_elbow",
        "left_wrist", "right_wrist", "left_hip", "right_hip",
        "left_knee", "right_knee", "left_ankle", "right_ankle",
    ),
    limbs=_ARMS_AND_LEGS
    + (
        ("left_eye", "nose"), ("right_eye", "nose"),
        ("left_eye", "left_ear"), ("right_eye", "right_ear"),
        ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
        ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    ),
    groups=(("head", ("nose", "left_eye", "right_eye", "left_ear", "right_ear")),)
    + _pairs("shoulder", "elbow", "wrist", "hip", "knee", "ankle"),
    reference=_TORSO,
)  # fmt: skip

# LSP's joints and COCO's, each once: what both sets together teach.
PEOPLE = Skeleton(
    name="people",
    joints=LSP.joints + COCO.joints[:5],
    limbs=LSP.limbs + COCO.limbs[len(_ARMS_AND_LEGS) : len(_ARMS_AND_LEGS) + 4],
    groups=(LSP.groups[0], ("face", COCO.joints[:5])) + LSP.groups[1:],
    reference=_TORSO,
)

SKELETONS = {skeleton.name: skeleton for skeleton in (MPII, LSP, FLIC, COCO, PEOPLE)}

# Of these files of others hold people.
_TOOLS = (COCO, LSP, PEOPLE)

# What the maps of a network mean that finds people instead of joints, see `codec.BoxCodec`.
BOXES = Skeleton("boxes", ("centre", "log_width", "log_height", "offset_x", "offset_y"))


def get_skeleton(skeleton: "Skeleton | str | dict | Sequence[str]") -> Skeleton:
    """A `Skeleton` from its name, its dict, the names of its joints or itself.

    Args:
        skeleton: `"mpii"`, `"lsp"`, `"flic"`, `"coco"`, `"people"` (LSP's and COCO's joints
            together), `"boxes"` (of a network that finds people), a dict as `Skeleton.to_dict`
            makes it, a list of joints, of which `own_skeleton` makes one as the readers of data do,
            or a `Skeleton`.

    Returns:
        The `Skeleton`.

    Raises:
        UserError: if the name is unknown, or is none.

    Example:

    >>> get_skeleton("coco").num_joints
    17
    >>> get_skeleton(["Ear (left)", "Ear (right)", "tail"]).flip_order
    (1, 0, 2)
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    if isinstance(skeleton, dict):
        return Skeleton.from_dict(skeleton)
    if isinstance(skeleton, (list, tuple)) and all(isinstance(one, str) for one in skeleton):
        return own_skeleton(skeleton)
    if not isinstance(skeleton, str) or skeleton not in SKELETONS:
        if isinstance(skeleton, str) and skeleton == BOXES.name:
            return BOXES
        raise UserError(
            f"Unknown skeleton. Received: {_short(repr(skeleton))}. Choose one of "
            f"{', '.join(SKELETONS)}, or pass a Skeleton or a list of joints of your own."
            f"{did_you_mean(skeleton, SKELETONS)}"
        )
    return SKELETONS[skeleton]


def skeleton_of(
    joints: int,
    skeleton: "Skeleton | str | dict | Sequence[str] | None" = None,
    mirrored: bool = False,
) -> Skeleton:
    """The skeleton of the K joints that a model or an array has.

    Args:
        joints: K.
        skeleton: as for `get_skeleton`; `None` where nobody named the joints. They are then, by
            their number, those of one of the package's skeletons; failing that, `joint_1` to
            `joint_K`.
        mirrored: whether mirrored pictures will be averaged, which needs to know the sides.

    Returns:
        The `Skeleton`.

    Raises:
        UserError: if the skeleton has another number of joints, or sides are needed and not known.

    Example:

    >>> skeleton_of(14).name, skeleton_of(2).joints
    ('lsp', ('joint_1', 'joint_2'))
    """
    if skeleton is None:
        known = [known for known in SKELETONS.values() if known.num_joints == joints]
        if mirrored and not known:
            raise UserError(
                "Mirror averaging needs a skeleton, which says which joints change sides. "
                f"Received: a model of {joints} joints without one. Name them (skeleton=...), or "
                "leave it out (flip=False, on the command line --no-flip)."
            )
        names = tuple(f"joint_{number}" for number in range(1, joints + 1))
        return known[0] if known else Skeleton("unnamed", names)
    skeleton = get_skeleton(skeleton)
    if skeleton.num_joints != joints:
        raise UserError(
            f"The model has {joints} joints. Received: the skeleton {skeleton.name!r} with "
            f"{skeleton.num_joints}. Pass the skeleton that it was trained on."
        )
    return skeleton
