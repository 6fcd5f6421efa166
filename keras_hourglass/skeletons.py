"""Joint names, limbs and groups of the common data sets, as frozen tables (NumPy only)."""

import dataclasses

from keras_hourglass.errors import UserError

# RGB of the sides of joints and limbs in every picture: the sides are the person's own. Blue and
# orange differ for every kind of colour vision.
SIDE_COLOURS = {"left": (86, 180, 233), "right": (230, 139, 0), "centre": (240, 240, 240)}


@dataclasses.dataclass(frozen=True)
class Skeleton:
    """The joints of a data set: their order, limbs, groups and mirror images.

    Names carry their side, `left_` or `right_`, always the person's own; everything that depends
    on sides (the mirror permutation, colours) is computed from the names.

    Args:
        name: short name, e.g. `"mpii"`.
        joints: K joint names in the order of the arrays.
        limbs: pairs of joint names to connect in drawings.
        groups: pairs `(group name, joint names)` over which tables average.
        reference: the two joints whose distance normalises PCK (the torso), or `None`.

    Raises:
        UserError: if a name is repeated, a sided joint lacks its partner, or a limb, group or
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

    def __post_init__(self):
        object.__setattr__(self, "joints", tuple(str(joint) for joint in self.joints))
        object.__setattr__(self, "limbs", tuple(tuple(limb) for limb in self.limbs))
        groups = tuple((name, tuple(members)) for name, members in self.groups)
        object.__setattr__(self, "groups", groups or _one_group_per_part(self.joints))
        if self.reference is not None:
            object.__setattr__(self, "reference", tuple(self.reference))
        if len(set(self.joints)) != len(self.joints) or not self.joints:
            raise UserError(
                f"Joint names must be given and differ. Received: {self.joints}. Rename one."
            )
        for joint in self.joints:
            if mirrored_name(joint) not in self.joints:
                raise UserError(
                    f"A joint named left_… or right_… needs its partner. Received: {joint!r} "
                    f"without {mirrored_name(joint)!r}. Add the partner or drop the prefix."
                )
        used = [joint for limb in self.limbs for joint in limb]
        used += [joint for _, members in self.groups for joint in members]
        used += list(self.reference or ())
        for joint in used:
            self.index(joint)

    @property
    def num_joints(self) -> int:
        """K, the number of joints."""
        return len(self.joints)

    @property
    def flip_order(self) -> tuple[int, ...]:
        """For each joint, the index of the joint it becomes in a mirrored picture."""
        return tuple(self.joints.index(mirrored_name(joint)) for joint in self.joints)

    def index(self, joint: str) -> int:
        """The position of a joint's name in the arrays."""
        if joint not in self.joints:
            raise UserError(
                f"Skeleton {self.name!r} has no such joint. Received: {joint!r}. "
                f"Choose one of {', '.join(self.joints)}."
            )
        return self.joints.index(joint)

    def side(self, joint: str) -> str:
        """`"left"`, `"right"` or `"centre"` of a joint's name."""
        self.index(joint)
        return joint.split("_", 1)[0] if joint.startswith(("left_", "right_")) else "centre"

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
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, values: dict) -> "Skeleton":
        """Build a skeleton from the result of `to_dict`."""
        fields = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - fields)
        if unknown or not {"name", "joints"} <= set(values):
            raise UserError(
                f"A skeleton has the keys {sorted(fields)}, of which name and joints are needed. "
                f"Received: {sorted(values)}. Remove or rename {unknown or 'what is missing'}."
            )
        return cls(**values)


def mirrored_name(joint: str) -> str:
    """The name of a joint in a mirrored picture.

    Args:
        joint: the name.

    Returns:
        The name with its side exchanged; without a side, the name itself.

    Example:

    >>> mirrored_name("left_knee"), mirrored_name("neck")
    ('right_knee', 'neck')
    """
    if joint.startswith("left_"):
        return "right_" + joint[len("left_") :]
    if joint.startswith("right_"):
        return "left_" + joint[len("right_") :]
    return joint


def _one_group_per_part(joints):
    """Left and right of a part together, in order of appearance."""
    parts = {}
    for joint in joints:
        part = joint.removeprefix("left_").removeprefix("right_")
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

SKELETONS = {skeleton.name: skeleton for skeleton in (MPII, LSP, FLIC, COCO)}


def get_skeleton(skeleton: "Skeleton | str | dict") -> Skeleton:
    """A `Skeleton` from its name, its dict or itself.

    Args:
        skeleton: `"mpii"`, `"lsp"`, `"flic"`, `"coco"`, a dict as `Skeleton.to_dict` makes it, or
            a `Skeleton`.

    Returns:
        The `Skeleton`.

    Raises:
        UserError: if the name is unknown.

    Example:

    >>> get_skeleton("coco").num_joints
    17
    """
    if isinstance(skeleton, Skeleton):
        return skeleton
    if isinstance(skeleton, dict):
        return Skeleton.from_dict(skeleton)
    if skeleton not in SKELETONS:
        raise UserError(
            f"Unknown skeleton. Received: {skeleton!r}. "
            f"Choose one of {', '.join(SKELETONS)}, or pass a Skeleton of your own."
        )
    return SKELETONS[skeleton]
