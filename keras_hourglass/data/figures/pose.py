"""Poses of generated figures: joint angles, a skeleton in space, its projection (NumPy only).

Body lengths are in units of the body's height. In the body's own frame x points to the person's
left, y up and z forward; after the camera's rotation x points right, y up and z to the viewer.
"""

import dataclasses

import numpy as np

# Order of the joints computed here: that of the LSP skeleton.
R_ANKLE, R_KNEE, R_HIP, L_HIP, L_KNEE, L_ANKLE = range(6)
R_WRIST, R_ELBOW, R_SHOULDER, L_SHOULDER, L_ELBOW, L_WRIST, NECK, HEAD_TOP = range(6, 14)

# Angle names; those in pairs are left, right.
_ANGLES = (
    "bend", "side", "twist", "nod", "tilt", "turn",
    "arm_flex_l", "arm_flex_r", "arm_out_l", "arm_out_r", "arm_twist_l", "arm_twist_r",
    "elbow_l", "elbow_r", "hip_flex_l", "hip_flex_r", "hip_out_l", "hip_out_r",
    "knee_l", "knee_r", "ankle_l", "ankle_r",
)  # fmt: skip
# Degrees: means and standard deviations of the angles above in each manner of posing, and the
# range a body can reach.
_LOW = (-15, -25, -35, -30, -20, -50) + (-50,) * 2 + (2,) * 2 + (-80,) * 2 + (2,) * 2 + (-30,) * 2
_LOW += (0,) * 2 + (0,) * 2 + (-30,) * 2
_HIGH = (70, 25, 35, 30, 20, 50) + (170,) * 2 + (165,) * 2 + (80,) * 2 + (140,) * 2 + (115,) * 2
_HIGH += (55,) * 2 + (130,) * 2 + (40,) * 2
_STYLES = (  # share, means, deviations
    (0.22, (2, 0, 0, 0, 0, 0, 5, 5, 12, 12, 0, 0, 18, 18, 3, 3, 6, 6, 5, 5, 0, 0),
     (4, 4, 8, 8, 5, 18, 14, 14, 10, 10, 25, 25, 22, 22, 7, 7, 5, 5, 7, 7, 5, 5)),
    (0.24, (9, 0, 0, 0, 0, 0, 38, -28, 10, 10, 0, 0, 65, 55, -14, 42, 3, 3, 28, 48, 12, 0),
     (7, 4, 12, 8, 5, 14, 26, 18, 8, 8, 15, 15, 32, 32, 12, 24, 4, 4, 22, 30, 12, 12)),
    (0.24, (2, 0, 0, 0, 0, 0, 20, 20, 85, 75, -20, -20, 40, 40, 6, 6, 12, 12, 8, 8, 0, 0),
     (6, 8, 12, 10, 8, 22, 40, 40, 48, 48, 50, 50, 38, 38, 12, 12, 11, 11, 12, 12, 8, 8)),
    (0.10, (28, 0, 0, -8, 0, 0, 45, 45, 18, 18, 0, 0, 45, 45, 82, 82, 16, 16, 88, 88, 5, 5),
     (15, 6, 10, 10, 5, 15, 32, 32, 20, 20, 30, 30, 35, 35, 20, 20, 12, 12, 24, 24, 10, 10)),
    (0.20, (14, 0, 0, 0, 0, 0, 60, 60, 60, 60, 0, 0, 55, 55, 32, 32, 20, 20, 45, 45, 10, 10),
     (22, 12, 18, 15, 10, 25, 65, 65, 52, 52, 60, 60, 42, 42, 42, 42, 18, 18, 38, 38, 18, 18)),
)  # fmt: skip
_FREE = len(_STYLES) - 1
_SHARES = np.cumsum([style[0] for style in _STYLES])
_MEANS, _DEVIATIONS = (np.array([style[k] for style in _STYLES], float) for k in (1, 2))
# The same pose of a mirrored body: pairs swap, sideways angles change sign.
_SWAPPED = np.array([0, 1, 2, 3, 4, 5] + [6 + (k ^ 1) for k in range(16)])
_SIGNS = np.array([1, -1, -1, 1, -1, -1] + [1] * 16)

SPINE, HEAD = 0.29, 0.195
UPPER_ARM, FOREARM, THIGH, SHIN, FOOT = 0.165, 0.15, 0.245, 0.235, 0.10
NUM_UNIFORM, NUM_NORMAL = 24, 40


@dataclasses.dataclass(frozen=True)
class Figures:
    """N posed figures before drawing; coordinates in pictures of side 1.

    Args:
        joints: `(N, 14, 2)`, LSP order, `x, y` as shares of the picture's side, the outer edge
            of the picture being 0 and 1.
        frames: dict of `(N, 3, 3)` rotations: pelvis, chest, head, and shins `shin_l`, `shin_r`.
        points: dict of `(N, 3)` points in space: pelvis.
        unit: `(N,)` picture sides per body height.
        centre: `(N, 2)` the body frame's origin in the picture.
        perspective: `(N,)` strength of the perspective.
        girth: `(N,)` factor on the thickness of limbs and torso.
        head_scale: `(N,)` factor on the head.
        space: `(N, 14, 3)` joints in space.
    """

    joints: np.ndarray
    frames: dict
    points: dict
    unit: np.ndarray
    centre: np.ndarray
    perspective: np.ndarray
    girth: np.ndarray
    head_scale: np.ndarray
    space: np.ndarray

    def project(self, points, person=0):
        """`(..., 3)` points in space of one figure -> `(..., 2)` shares of the picture's side."""
        zoom = self.unit[person] / (1 - self.perspective[person] * points[..., 2:])
        flat = points[..., :2] * zoom
        flat[..., 1] *= -1
        return flat + self.centre[person]


def pose_figures(uniform, normal):
    """Turn random numbers into posed figures.

    Args:
        uniform: `(N, NUM_UNIFORM)` numbers in [0, 1).
        normal: `(N, NUM_NORMAL)` standard normal numbers.

    Returns:
        `Figures`.
    """
    angles, style = _sample_angles(uniform, normal)
    camera = _sample_camera(uniform, normal, style)
    body = _sample_body(uniform, normal)
    space, frames, pelvis = _place_joints(angles, camera, body)
    perspective = 0.05 + 0.3 * uniform[:, 10]
    zoom = 1 / (1 - perspective[:, None] * space[..., 2])
    flat = space[..., :2] * np.array([1, -1]) * zoom[..., None]
    low, high = flat.min(axis=1), flat.max(axis=1)
    # Heads, hands and feet reach beyond the joints.
    extent = (high - low).max(axis=1) + 0.16
    cut = uniform[:, 11] < 0.14  # too large for the picture, or partly beside it
    share = np.where(cut, 0.85 + 0.6 * uniform[:, 12], 0.5 + 0.46 * np.sqrt(uniform[:, 12]))
    unit = share / extent
    size = (high - low) * unit[:, None] + 0.1 * share[:, None]
    slack = np.maximum(1 - size, 0) / 2
    shift = (2 * uniform[:, 13:15] - 1) * np.where(cut[:, None], slack + 0.3 * size, slack)
    centre = 0.5 + shift - (low + high) / 2 * unit[:, None]
    joints = flat * unit[:, None, None] + centre[:, None]
    return Figures(
        joints, frames, {"pelvis": pelvis}, unit, centre, perspective,
        body["girth"], body["head"], space,
    )  # fmt: skip


def _sample_angles(uniform, normal):
    style = np.searchsorted(_SHARES[:-1], uniform[:, 0], side="right")
    angles = _MEANS[style] + _DEVIATIONS[style] * normal[:, : len(_ANGLES)]
    mirrored = uniform[:, 1] < 0.5
    angles[mirrored] = angles[mirrored][:, _SWAPPED] * _SIGNS
    return np.deg2rad(np.clip(angles, _LOW, _HIGH)), style


def _sample_camera(uniform, normal, style):
    """Rotations body -> camera: all around, mostly upright, sometimes upside down."""
    around = np.where(uniform[:, 2] < 0.7, 32 * normal[:, 22], 360 * uniform[:, 3])
    yaw = around + np.where(uniform[:, 4] < 0.3, 180, 0)
    pitch = 10 * normal[:, 23]
    tumbling = uniform[:, 5] < np.where(style == _FREE, 0.3, 0.06)
    roll = np.where(tumbling, 360 * uniform[:, 6] - 180, 8 * normal[:, 24])
    yaw, pitch, roll = np.deg2rad([yaw, pitch, roll])
    return _turn("z", roll) @ _turn("x", pitch) @ _turn("y", yaw)


def _sample_body(uniform, normal):
    """Proportions: thickness, head, and the lengths of limbs relative to the average."""
    child = uniform[:, 7] < 0.12
    lengths = 1 + 0.06 * np.clip(normal[:, 25:30], -2, 2)
    lengths[:, 4] = np.where(child, 0.9, 1) * lengths[:, 4]
    return {
        "girth": 0.85 + 0.5 * uniform[:, 8] ** 2,
        "head": np.where(child, 1.3, 1.0) * (0.94 + 0.12 * uniform[:, 9]),
        "spine": lengths[:, 0],
        "shoulders": lengths[:, 1],
        "hips": lengths[:, 2],
        "arm": lengths[:, 3],
        "leg": lengths[:, 4],
    }


def _place_joints(angles, camera, body):
    """Joints in space, the rotations that drawing needs, and the middle of the pelvis."""
    angle = dict(zip(_ANGLES, angles.T, strict=True))
    chest = camera @ _turn("x", angle["bend"]) @ _turn("z", angle["side"])
    chest = chest @ _turn("y", angle["twist"])
    head = chest @ _turn("x", angle["nod"]) @ _turn("z", angle["tilt"]) @ _turn("y", angle["turn"])
    half = camera @ _turn("x", angle["bend"] / 2) @ _turn("z", angle["side"] / 2)
    frames = {"pelvis": camera, "chest": chest, "head": head}

    space = np.empty((len(angles), 14, 3))
    pelvis = np.zeros((len(angles), 3))
    neck = half[:, :, 1] * (SPINE * body["spine"])[:, None]
    space[:, NECK] = neck
    space[:, HEAD_TOP] = neck + head[:, :, 1] * (HEAD * body["head"])[:, None]
    for side, sign in (("l", 1), ("r", -1)):
        left = side == "l"
        shoulder = neck - 0.02 * chest[:, :, 1]
        shoulder = shoulder + sign * chest[:, :, 0] * (0.108 * body["shoulders"])[:, None]
        upper = chest @ _turn("z", sign * angle[f"arm_out_{side}"])
        upper = upper @ _turn("x", -angle[f"arm_flex_{side}"])
        upper = upper @ _turn("y", sign * angle[f"arm_twist_{side}"])
        fore = upper @ _turn("x", -angle[f"elbow_{side}"])
        elbow = shoulder - upper[:, :, 1] * (UPPER_ARM * body["arm"])[:, None]
        wrist = elbow - fore[:, :, 1] * (FOREARM * body["arm"])[:, None]

        hip = sign * camera[:, :, 0] * (0.062 * body["hips"])[:, None]
        thigh = camera @ _turn("z", sign * angle[f"hip_out_{side}"])
        thigh = thigh @ _turn("x", -angle[f"hip_flex_{side}"])
        shin = thigh @ _turn("x", angle[f"knee_{side}"])
        knee = hip - thigh[:, :, 1] * (THIGH * body["leg"])[:, None]
        ankle = knee - shin[:, :, 1] * (SHIN * body["leg"])[:, None]
        frames[f"shin_{side}"] = shin @ _turn("x", angle[f"ankle_{side}"])
        order = (L_SHOULDER, L_ELBOW, L_WRIST, L_HIP, L_KNEE, L_ANKLE) if left else (
            R_SHOULDER, R_ELBOW, R_WRIST, R_HIP, R_KNEE, R_ANKLE)  # fmt: skip
        for joint, place in zip(order, (shoulder, elbow, wrist, hip, knee, ankle), strict=True):
            space[:, joint] = place
    return space, frames, pelvis


def _turn(axis, angle):
    """`(N, 3, 3)` right-handed rotations about a coordinate axis."""
    matrix = np.zeros((*angle.shape, 3, 3))
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    third = 3 - first - second
    cosine, sine = np.cos(angle), np.sin(angle)
    matrix[..., third, third] = 1
    matrix[..., first, first] = matrix[..., second, second] = cosine
    matrix[..., first, second] = -sine
    matrix[..., second, first] = sine
    return matrix
