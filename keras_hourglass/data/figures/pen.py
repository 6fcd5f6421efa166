"""What generated figures wear, and the pen that draws their parts."""

import dataclasses

import cv2
import numpy as np

_SHIFT = 4  # fractional bits of OpenCV's drawing coordinates
_CAP = np.linspace(0, np.pi, 7)
# Brightness, width and offset towards the light of the layers that shade a part.
TONES = ((0.66, 1.0, 0.0), (0.86, 0.84, 0.12), (1.04, 0.5, 0.34))

_SKINS = ((255, 219, 190), (241, 194, 155), (224, 172, 125), (198, 134, 90), (150, 95, 62),
          (110, 70, 48), (82, 52, 38))  # fmt: skip
_HAIRS = ((32, 24, 20), (58, 38, 26), (95, 62, 36), (140, 96, 52), (205, 168, 98), (150, 60, 30),
          (170, 168, 165))  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Outfit:
    """What a figure wears and looks like; colours are RGB.

    Args:
        skin, hair, shirt, accent, trousers, shoes: colours.
        sleeve: share of the arm that the shirt covers (0 to 1: half of it is the upper arm).
        leg: share of the leg that the trousers cover.
        pattern: 0 plain, 1 stripes, 2 a broad band, 3 a vertical front opening.
        long_hair, bald, cap: kinds of hair and hat.
    """

    skin: np.ndarray
    hair: np.ndarray
    shirt: np.ndarray
    accent: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    sleeve: float
    leg: float
    pattern: int
    long_hair: bool
    bald: bool
    cap: bool


def sample_outfit(rng):
    """A random `Outfit` from a `numpy.random.Generator`."""
    u = rng.random(9)
    kind = rng.integers(0, 60, 4)
    colours = np.stack([_cloth(*triple) for triple in rng.random((4, 3))])
    skin = np.array(_SKINS[kind[0] % 7], float) * (0.92 + 0.14 * u[0])
    return Outfit(
        skin=skin,
        hair=np.array(_HAIRS[kind[1] % 7], float),
        shirt=colours[0],
        accent=colours[1],
        trousers=colours[2] * 0.8,
        shoes=np.array([235.0, 235, 235]) if u[1] < 0.3 else colours[3] * 0.6,
        sleeve=(0.0, 0.28, 0.28, 0.5, 1.0, 1.0)[kind[2] % 6],
        leg=(0.28, 0.45, 1.0, 1.0, 1.0)[kind[3] % 5],
        pattern=int(u[2] * 6) % 4,
        long_hair=u[3] < 0.35,
        bald=u[4] < 0.08,
        cap=u[5] < 0.15,
    )


def _cloth(hue, saturation, value):
    """A clothing colour: saturated, pale or dark."""
    pixel = np.array([[[hue * 179, 255 * saturation**0.7, 60 + 195 * value]]]).astype(np.uint8)
    return cv2.cvtColor(pixel, cv2.COLOR_HSV2RGB)[0, 0].astype(float)


class Pen:
    """Draws one of several posed figures on a picture; lengths are in body heights.

    Args:
        canvas: `(size, size, 3)` uint8 RGB picture, drawn on in place.
        figures: posed `Figures`.
        person: which of them.
        outfit: its `Outfit`.
        light: `(2,)` direction `x, y` on the picture towards the light, of length 1.
    """

    def __init__(self, canvas, figures, person, outfit, light):
        self.canvas, self.outfit, self.light = canvas, outfit, np.asarray(light, float)
        self.figures, self.person = figures, person
        self.frames = {name: frame[person] for name, frame in figures.frames.items()}
        self.space = figures.space[person]
        self.unit = figures.unit[person]
        self.girth = figures.girth[person]
        self.head_scale = figures.head_scale[person]

    def project(self, places):
        """`(n, 3)` places in space -> `(n, 2)` shares of the picture's side."""
        return self.figures.project(places, self.person)

    def line(self, places, width, colour):
        """A line through places in space."""
        pixels = self._pixels(self.project(places))
        thickness = max(1, round(width * self.unit * len(self.canvas)))
        cv2.polylines(self.canvas, [pixels], False, _rgb(colour), thickness, cv2.LINE_AA, _SHIFT)

    def tube(self, places, radii, colour, flat=False):
        """A tube of changing radius with round ends, lit from one side."""
        places = np.asarray(places)
        spots = self.project(places)
        zoom = self.unit / (1 - self.figures.perspective[self.person] * places[:, 2])
        radii = np.asarray(radii) * zoom
        along = spots[-1] - spots[0]
        length = np.hypot(*along)
        along = along / length if length > 1e-6 else np.array([0.0, 1.0])
        for tone, width, offset in ((1.0, 1.0, 0.0),) if flat else TONES:
            outline = _tube_outline(spots, radii * width, along, radii * (1 - width) * 0.8)
            self.fill(outline + offset * radii.mean() * self.light, colour * tone)

    def fill(self, points, colour):
        """A polygon of `(n, 2)` points in shares of the picture's side."""
        pixels = self._pixels(points)
        cv2.fillPoly(self.canvas, [pixels], _rgb(colour), cv2.LINE_AA, _SHIFT)

    def _pixels(self, points):
        """Shares of the picture's side -> fixed-point pixels, first pixel's centre at 0."""
        return np.round((points * len(self.canvas) - 0.5) * (1 << _SHIFT)).astype(np.int32)


def _tube_outline(spots, radii, along, longer):
    """Polygon around places with radii, round at both ends, which reach out `longer`."""
    normal = np.array([-along[1], along[0]])
    left, right = spots + radii[:, None] * normal, spots - radii[:, None] * normal
    turn = np.outer(np.cos(_CAP), normal) + np.outer(np.sin(_CAP), along)
    far = spots[-1] + radii[-1] * turn + longer[-1] * along
    near = spots[0] - radii[0] * turn - longer[0] * along
    return np.concatenate([left[1:-1], far, right[1:-1][::-1], near])


def _rgb(colour):
    return [min(255, int(value)) for value in colour]
