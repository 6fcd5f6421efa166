"""Drawing one posed figure: limbs as shaded tubes, a torso of rings, then the head."""

import cv2
import numpy as np

from keras_hourglass.data.figures import pose
from keras_hourglass.data.figures.head import HeadPainter
from keras_hourglass.data.figures.pen import TONES, Pen

_AROUND = np.linspace(0, 2 * np.pi, 10, endpoint=False)
_RING = np.stack([np.cos(_AROUND), np.sin(_AROUND)], axis=-1)
# Radii along limbs, from the inner to the outer end, in body heights.
_UPPER_ARM, _FOREARM = (0.032, 0.032, 0.027, 0.023), (0.024, 0.027, 0.021, 0.016)
_THIGH, _SHIN = (0.050, 0.052, 0.043, 0.034), (0.034, 0.038, 0.028, 0.020)
# Rings of the torso: place between pelvis (0) and neck (1), half width, half depth.
_TORSO = ((-0.12, 0.082, 0.058), (0.05, 0.090, 0.062), (0.35, 0.074, 0.052), (0.70, 0.094, 0.062),
          (0.90, 0.096, 0.052), (1.0, 0.052, 0.036))  # fmt: skip
_SIDES = {
    "l": (pose.L_SHOULDER, pose.L_ELBOW, pose.L_WRIST, pose.L_HIP, pose.L_KNEE, pose.L_ANKLE),
    "r": (pose.R_SHOULDER, pose.R_ELBOW, pose.R_WRIST, pose.R_HIP, pose.R_KNEE, pose.R_ANKLE),
}


class FigurePainter(Pen):
    """Draws a whole figure, see `Pen`."""

    def draw(self):
        """Draw all parts, far ones first."""
        z = self.space[:, 2]
        parts: list = []
        for side in ("l", "r"):
            shoulder, elbow, wrist, hip, knee, ankle = _SIDES[side]
            parts += [
                ((z[shoulder] + z[elbow]) / 2 + 0.02, self._upper_arm, side),
                ((z[elbow] + z[wrist]) / 2 + 0.025, self._forearm, side),
                ((z[hip] + z[knee]) / 2 - 0.005, self._thigh, side),
                ((z[knee] + z[ankle]) / 2, self._shin, side),
            ]
        trunk = (self.figures.points["pelvis"][self.person][2] + z[pose.NECK]) / 2
        parts += [(trunk, self._torso, None), (z[pose.NECK] - 0.012, self._neck, None)]
        parts += [((z[pose.NECK] + z[pose.HEAD_TOP]) / 2 + 0.012, self._head, None)]
        for _, paint, side in sorted(parts, key=lambda part: part[0]):
            paint(side)

    # Limbs

    def _upper_arm(self, side):
        shoulder, elbow = self.space[list(_SIDES[side][:2])]
        sleeve = min(self.outfit.sleeve * 2, 1)
        self._covered(shoulder, elbow, _UPPER_ARM, sleeve, self.outfit.shirt)

    def _forearm(self, side):
        elbow, wrist = self.space[list(_SIDES[side][1:3])]
        along = (wrist - elbow) / pose.FOREARM
        self.tube([wrist, wrist + 0.03 * along, wrist + 0.055 * along], (0.015, 0.021, 0.014),
                   self.outfit.skin)  # fmt: skip
        sleeve = max(self.outfit.sleeve * 2 - 1, 0)
        self._covered(elbow, wrist, _FOREARM, sleeve, self.outfit.shirt)

    def _thigh(self, side):
        hip, knee = self.space[list(_SIDES[side][3:5])]
        self._covered(hip, knee, _THIGH, min(self.outfit.leg * 2, 1), self.outfit.trousers)

    def _shin(self, side):
        knee, ankle = self.space[list(_SIDES[side][4:6])]
        foot = self.frames[f"shin_{side}"]
        toe = ankle + foot @ np.array([0, -0.032, pose.FOOT])
        heel = ankle + foot @ np.array([0, -0.026, -0.018])
        self._covered(knee, ankle, _SHIN, max(self.outfit.leg * 2 - 1, 0), self.outfit.trousers)
        self.tube([heel, (heel + toe) / 2, toe], (0.024, 0.023, 0.016), self.outfit.shoes)

    def _covered(self, start, end, radii, share, colour):
        """A limb of skin with cloth over the first `share` of it."""
        radii = np.array(radii) * self.girth
        places = start + np.linspace(0, 1, 4)[:, None] * (end - start)
        if share < 1:
            self.tube(places, radii, self.outfit.skin)
        if share > 0:
            steps = np.linspace(0, share, 4)
            places = start + steps[:, None] * (end - start)
            self.tube(places, np.interp(steps, np.linspace(0, 1, 4), radii) * 1.12, colour)

    # Trunk

    def _ring(self, place, width, depth):
        """`(10, 3)` points around the trunk at a place between pelvis (0) and neck (1)."""
        pelvis, neck = self.figures.points["pelvis"][self.person], self.space[pose.NECK]
        share = min(max(place, 0), 1)
        across = (1 - share) * self.frames["pelvis"] + share * self.frames["chest"]
        centre = pelvis + place * (neck - pelvis)
        offsets = _RING * np.array([width, depth]) * self.girth**0.7
        return centre + offsets @ across[:, [0, 2]].T

    def _band(self, low, high, colour):
        """Fill the trunk between two places."""
        table = np.array(_TORSO)
        inner = [place for place in table[:, 0] if low < place < high]
        places = [low, *inner, high]
        widths, depths = (np.interp(places, table[:, 0], table[:, k]) for k in (1, 2))
        rings = [self._ring(*ring) for ring in zip(places, widths, depths, strict=True)]
        flat = [self.project(ring) for ring in rings]
        reach = 0.055 * self.unit * self.girth * self.light
        for tone, width, offset in TONES:
            slices = [ring.mean(axis=0) * (1 - width) + ring * width for ring in flat]
            for first, second in zip(slices[:-1], slices[1:], strict=True):
                hull = cv2.convexHull(np.concatenate([first, second]).astype(np.float32))[:, 0]
                self.fill(hull + offset * reach, colour * tone)

    def _torso(self, _):
        outfit = self.outfit
        self._band(-0.12, 0.14, outfit.trousers)
        shoulders = self.space[[pose.L_SHOULDER, pose.NECK, pose.R_SHOULDER]]
        cloth = outfit.shirt if outfit.sleeve > 0 else outfit.skin
        lowered = shoulders - 0.005 * self.frames["chest"][:, 1]
        self.tube(lowered, np.array([0.031, 0.036, 0.031]) * self.girth, cloth)
        self._band(0.08, 0.98, outfit.shirt)
        if outfit.pattern == 1:
            for place in (0.25, 0.45, 0.65, 0.82):
                self._band(place, place + 0.09, outfit.accent)
        elif outfit.pattern == 2:
            self._band(0.5, 0.72, outfit.accent)
        self._front()

    def _front(self):
        """What tells front from back on the trunk: neckline, opening, crest on the left breast."""
        chest = self.frames["chest"]
        if chest[2, 2] < 0.1:
            return
        neck = self.space[pose.NECK]
        size = self.girth**0.7

        def spot(x, y, z=0.055):
            return neck + chest @ np.array([x * size, -pose.SPINE * y, z * size])

        collar = [spot(-0.035, -0.02, 0.03), spot(0.035, -0.02, 0.03), spot(0, 0.17, 0.056)]
        self.fill(self.project(np.array(collar)), self.outfit.skin * 0.92)
        if self.outfit.pattern == 3:
            line = np.array([spot(0, 0.17), spot(0, 0.5, 0.06), spot(0, 0.88, 0.056)])
            self.line(line, 0.010, self.outfit.accent)
        if self.outfit.pattern in (0, 3):
            crest = [spot(0.028, 0.27), spot(0.062, 0.27), spot(0.058, 0.4), spot(0.032, 0.4)]
            self.fill(self.project(np.array(crest)), self.outfit.accent)

    def _neck(self, _):
        neck = self.space[pose.NECK]
        up = self.frames["head"][:, 1]
        places = [neck - 0.01 * up, neck + 0.035 * up, neck + 0.08 * up]
        self.tube(places, (0.034, 0.027, 0.028), self.outfit.skin * 0.92)

    def _head(self, _):
        HeadPainter(self.canvas, self.figures, self.person, self.outfit, self.light).draw()
