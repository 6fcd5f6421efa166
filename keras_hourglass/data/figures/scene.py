"""Surroundings of generated figures: background, things in front, light, noise."""

import cv2
import numpy as np

from keras_hourglass.data.figures import pose

NUM_OCCLUDERS = 2
# Parts that can hide joints: ends (joint numbers; -1 is the pelvis), radius in body heights.
_PARTS = (
    (pose.L_SHOULDER, pose.L_ELBOW, 0.026), (pose.R_SHOULDER, pose.R_ELBOW, 0.026),
    (pose.L_ELBOW, pose.L_WRIST, 0.022), (pose.R_ELBOW, pose.R_WRIST, 0.022),
    (pose.L_HIP, pose.L_KNEE, 0.042), (pose.R_HIP, pose.R_KNEE, 0.042),
    (pose.L_KNEE, pose.L_ANKLE, 0.03), (pose.R_KNEE, pose.R_ANKLE, 0.03),
    (-1, pose.NECK, 0.08), (pose.NECK, pose.HEAD_TOP, 0.055),
)  # fmt: skip


def sample_occluders(uniform):
    """Things in front of the figures.

    Args:
        uniform: `(N, 7 * NUM_OCCLUDERS)` numbers in [0, 1).

    Returns:
        `(N, NUM_OCCLUDERS, 6)`: present (0 or 1), round (0 or 1), centre x and y, half width and
        half height, in shares of the picture's side. Upright rectangles or ellipses.
    """
    u = uniform.reshape(len(uniform), NUM_OCCLUDERS, 7)
    present = u[..., 0] < 0.14
    rounded = u[..., 1] < 0.4
    slim = (u[..., 2] < 0.5) & ~rounded  # poles and bars
    width = np.where(slim, 0.02 + 0.03 * u[..., 3], 0.06 + 0.1 * u[..., 3])
    height = np.where(slim, 0.6, np.where(rounded, width, 0.06 + 0.12 * u[..., 4]))
    lying = slim & (u[..., 4] < 0.3)
    width, height = np.where(lying, height, width), np.where(lying, width, height)
    return np.stack([present, rounded, u[..., 5], u[..., 6], width, height], axis=-1)


def joint_visibility(figures, occluders):
    """Which joints can be seen.

    Args:
        figures: N posed `Figures`.
        occluders: from `sample_occluders`.

    Returns:
        `(N, 14)` int8: 2 visible, 1 behind the body or a thing in front, 0 outside the picture.
    """
    hidden = _behind_body(figures)
    x, y = figures.joints[:, :, None, 0], figures.joints[:, :, None, 1]
    present, rounded, cx, cy, width, height = np.moveaxis(occluders[:, None], -1, 0)
    dx, dy = np.abs(x - cx) / width, np.abs(y - cy) / height
    covered = np.where(rounded > 0, dx**2 + dy**2 < 1, np.maximum(dx, dy) < 1)
    hidden |= (covered & (present > 0)).any(axis=-1)
    outside = ((figures.joints < 0) | (figures.joints >= 1)).any(axis=-1)
    return np.where(outside, 0, np.where(hidden, 1, 2)).astype(np.int8)


def _behind_body(figures):
    """Joints with another part of the body between them and the viewer."""
    places = np.concatenate(
        [figures.space, figures.points["pelvis"][:, None]], axis=1
    )  # number -1 is the pelvis
    joints = figures.space[:, :, None]
    ends = np.array([part[:2] for part in _PARTS])
    start, end = places[:, None, ends[:, 0]], places[:, None, ends[:, 1]]
    along, across = (end - start)[..., :2], (joints - start)[..., :2]
    share = (across * along).sum(-1) / np.maximum((along**2).sum(-1), 1e-9)
    closest = start + np.clip(share, 0, 1)[..., None] * (end - start)
    near = np.linalg.norm((joints - closest)[..., :2], axis=-1)
    radius = np.array([part[2] for part in _PARTS]) * figures.girth[:, None, None]
    hides = (near < radius * 0.9) & (closest[..., 2] > joints[..., 2] + 0.05)
    own = (np.arange(14)[:, None, None] == ends[None]).any(axis=-1)
    return (hides & ~own).any(axis=-1)


def draw_background(rng, size):
    """A `(size, size, 3)` uint8 background: outdoors, a room, a court, or mere colours."""
    kind = rng.choice(4, p=(0.4, 0.25, 0.15, 0.2))
    canvas = (_outdoors, _room, _court, _colours)[kind](rng, size)
    _clutter(rng, canvas, int(rng.integers(0, 9)))
    sigma = rng.random() * 1.6 * size / 128
    if sigma > 0.4:
        canvas = cv2.GaussianBlur(canvas, (0, 0), sigma)
    return canvas


def draw_shadow(canvas, joints):
    """Darken the ground under a figure's lowest joint."""
    size = len(canvas)
    x, y = joints[:, 0].mean(), joints[:, 1].max() + 0.03
    if y >= 1:
        return
    reach = 0.1 + 0.3 * (joints[:, 0].max() - joints[:, 0].min())
    top, bottom = int(max(y - 0.05, 0) * size), int(min(y + 0.05, 1) * size)
    strip = canvas[top:bottom]
    dark = np.full(strip.shape[:2], 255, np.uint8)
    centre = (int(x * size), int(y * size) - top)
    cv2.ellipse(dark, centre, (int(reach * size), max(1, int(0.025 * size))), 0, 0, 360, 150, -1)
    dark = cv2.GaussianBlur(dark, (0, 0), 0.4 + size / 128)
    strip[:] = cv2.multiply(strip, cv2.merge([dark] * 3), scale=1 / 255)


def draw_occluders(rng, canvas, occluders, light):
    """Draw the things of `sample_occluders` that one figure has in front of it."""
    size = len(canvas)
    for present, rounded, x, y, width, height in occluders:
        colour = _colour(rng, 40, 230)
        if not present:
            continue
        for tone, share, offset in ((0.7, 1.0, 0.0), (0.95, 0.8, 0.12), (1.15, 0.45, 0.3)):
            spot = (np.array([x, y]) + offset * min(width, height) * np.asarray(light)) * size
            reach = np.array([width, height]) * size
            shade = [min(255, value * tone) for value in colour]
            if rounded:
                spot, reach = ((16 * v).astype(int).tolist() for v in (spot, reach * share))
                cv2.ellipse(canvas, spot, reach, 0, 0, 360, shade, -1, cv2.LINE_AA, 4)
            else:
                reach[np.argmin(reach)] *= share  # bars are lit along their whole length
                low, high = ((spot + sign * reach).astype(int).tolist() for sign in (-1, 1))
                cv2.rectangle(canvas, low, high, shade, -1)


def finish(rng, canvas):
    """Exposure, tint, uneven light and sensor noise, as a new uint8 picture."""
    size = len(canvas)
    gain = rng.uniform(0.62, 1.15) * (1 + rng.uniform(-0.08, 0.08, 3))
    corners = 1 + rng.uniform(-0.18, 0.18, (2, 2))
    uneven = cv2.resize(corners.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    noise = rng.standard_normal((size, size), np.float32) * np.float32(rng.uniform(0.5, 7))
    lit = canvas * (uneven[..., None] * gain.astype(np.float32)) + noise[..., None]
    return np.clip(lit, 0, 255).astype(np.uint8)


def _colour(rng, low=0, high=256):
    return rng.integers(low, high, 3).tolist()


def _gradient(first, second, size, height):
    """`(height, size, 3)` from one colour at the top to another at the bottom."""
    share = np.linspace(0, 1, max(height, 1))[:, None, None]
    rows = (1 - share) * np.array(first, float) + share * np.array(second, float)
    return np.broadcast_to(rows, (max(height, 1), size, 3)).astype(np.uint8)


_SKIES = (((96, 150, 220), (214, 230, 245)), ((70, 110, 190), (250, 210, 170)),
          ((150, 160, 170), (215, 218, 220)), ((30, 40, 80), (220, 120, 90)),
          ((120, 185, 235), (235, 245, 250)))  # fmt: skip
_GROUNDS = (((104, 140, 62), (62, 98, 38)), ((205, 188, 150), (172, 148, 108)),
            ((128, 128, 130), (84, 84, 88)), ((232, 238, 245), (188, 200, 216)),
            ((70, 120, 150), (38, 78, 110)), ((150, 110, 76), (104, 74, 50)))  # fmt: skip


def _outdoors(rng, size):
    horizon = int(size * rng.uniform(0.3, 0.8))
    sky = _SKIES[rng.integers(len(_SKIES))]
    ground = _GROUNDS[rng.integers(len(_GROUNDS))]
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:horizon] = _gradient(*sky, size, horizon)
    canvas[horizon:] = _gradient(*ground, size, size - horizon)
    for layer in range(rng.integers(0, 3)):
        x = np.linspace(0, 1, 24)
        a, b, c = rng.uniform(1, 9, 3)
        waves = 1.1 + np.sin(a * x + b) + 0.4 * np.sin(c * 3 * x)
        tops = horizon / size - (0.1 - 0.03 * layer) * waves
        outline = np.stack([np.append(x, [1, 0]), np.append(tops, [horizon / size] * 2)], -1) * size
        shade = (np.array(ground[1]) * 0.6 + np.array(sky[1]) * (0.4 - 0.12 * layer)).tolist()
        cv2.fillPoly(canvas, [outline.astype(np.int32)], shade, cv2.LINE_AA)
    if rng.random() < 0.4:
        _trees(rng, canvas, horizon)
    elif rng.random() < 0.4:
        _houses(rng, canvas, horizon)
    return canvas


def _trees(rng, canvas, horizon):
    size = len(canvas)
    for x in rng.uniform(0, size, rng.integers(1, 5)):
        height = rng.uniform(0.15, 0.4) * size
        green = np.array([50, 95, 40]) * rng.uniform(0.6, 1.4)
        foot = (int(x), horizon + int(0.03 * size))
        top = (int(x), int(horizon - height * 0.5))
        cv2.line(canvas, foot, top, (82, 60, 42), max(1, size // 40), cv2.LINE_AA)
        for dx, dy, share in rng.uniform((-0.25, 0.4, 0.15), (0.25, 1, 0.35), (5, 3)):
            spot = (int(x + dx * height), int(horizon - dy * height))
            shade = (green * (0.7 + share)).clip(0, 255).tolist()
            cv2.circle(canvas, spot, int(share * height), shade, -1, cv2.LINE_AA)


def _houses(rng, canvas, horizon):
    size = len(canvas)
    for x in rng.uniform(-0.1, 0.9, rng.integers(2, 5)) * size:
        width, height = rng.uniform(0.15, 0.35) * size, rng.uniform(0.15, 0.5) * size
        left, top = int(x), int(horizon - height)
        cv2.rectangle(canvas, (left, top), (int(x + width), horizon), _colour(rng, 90, 220), -1)
        pane = max(2, size // 24)
        glass = _colour(rng, 40, 150)
        for column in range(left + pane, int(x + width) - pane, 2 * pane):
            for row in range(top + pane, horizon - pane, 2 * pane):
                corner = (column + pane // 2, row + pane - 1)
                cv2.rectangle(canvas, (column, row), corner, glass, -1)


def _room(rng, size):
    floor = int(size * rng.uniform(0.6, 0.9))
    wall = np.array(_colour(rng, 110, 245))
    wood = np.array([150, 108, 70]) * rng.uniform(0.5, 1.4)
    canvas = np.empty((size, size, 3), np.uint8)
    canvas[:floor] = _gradient(wall, wall * 0.85, size, floor)
    canvas[floor:] = _gradient((wood * 0.8).clip(0, 255), wood.clip(0, 255), size, size - floor)
    for x in np.linspace(-0.6, 1.6, 12) * size:
        start = (int(size / 2 + (x - size / 2) * 0.5), floor)
        cv2.line(canvas, start, (int(x), size), (wood * 0.6).tolist(), 1, cv2.LINE_AA)
    cv2.rectangle(canvas, (0, floor - max(1, size // 50)), (size, floor), (wall * 0.6).tolist(), -1)
    for x, y in rng.uniform(0, 0.9, (rng.integers(0, 4), 2)) * (size, floor * 0.7):
        width, height = rng.uniform(0.1, 0.3, 2) * size
        low, high = (int(x), int(y)), (int(x + width), int(min(y + height, floor)))
        cv2.rectangle(canvas, low, high, _colour(rng, 20, 255), -1)
        cv2.rectangle(canvas, low, high, _colour(rng, 20, 120), max(1, size // 64))
    return canvas


def _court(rng, size):
    base = np.array(_GROUNDS[rng.integers(len(_GROUNDS))][0]) * rng.uniform(0.7, 1.2)
    canvas = _gradient((base * 0.8).clip(0, 255), base.clip(0, 255), size, size).copy()
    white = (235, 235, 235) if rng.random() < 0.7 else _colour(rng)
    for _ in range(rng.integers(1, 5)):
        ends = rng.uniform(-0.3, 1.3, (2, 2)) * size
        width = max(1, int(size * rng.uniform(0.008, 0.03)))
        cv2.line(canvas, ends[0].astype(int).tolist(), ends[1].astype(int).tolist(), white, width,
                 cv2.LINE_AA)  # fmt: skip
    if rng.random() < 0.4:
        spot = (rng.uniform(0, 1, 2) * size).astype(int).tolist()
        cv2.circle(canvas, spot, int(size * rng.uniform(0.1, 0.4)), white, max(1, size // 70),
                   cv2.LINE_AA)  # fmt: skip
    return canvas


def _colours(rng, size):
    cells = int(rng.integers(2, 12))
    spread = rng.integers(30, 220)
    coarse = rng.integers(0, spread, (cells, cells, 3)) + rng.integers(0, 256 - spread, 3)
    return cv2.resize(coarse.astype(np.uint8), (size, size), interpolation=cv2.INTER_CUBIC)


def _clutter(rng, canvas, count):
    """Boxes, balls, bars and limb-like rods behind the figure."""
    size = len(canvas)
    places = rng.uniform(0, 1, (count, 4))
    kinds = rng.integers(0, 4, count)
    muted = 0.4 * canvas[::8, ::8].mean(axis=(0, 1))
    for (x, y, a, b), kind in zip(places, kinds, strict=True):
        colour = _colour(rng, 30, 230) if kind else _colour(rng)
        colour = [
            0.6 * value + 0.4 * float(mean) for value, mean in zip(colour, muted, strict=True)
        ]
        spot = (int(x * size), int(y * size))
        reach = int((0.02 + 0.1 * a) * size) + 1
        if kind == 0:
            cv2.circle(canvas, spot, reach, colour, -1, cv2.LINE_AA)
        elif kind == 1:
            corner = (spot[0] + reach * 2, spot[1] + int((0.02 + 0.2 * b) * size))
            cv2.rectangle(canvas, spot, corner, colour, -1)
        else:
            angle, length = 6.28 * b, (0.1 + 0.3 * a) * size
            end = (int(spot[0] + length * np.cos(angle)), int(spot[1] + length * np.sin(angle)))
            width = max(1, int(size * (0.01 + 0.04 * x)))
            cv2.line(canvas, spot, end, colour, width, cv2.LINE_AA)
