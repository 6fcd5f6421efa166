"""The head of a generated figure: hair, ears, and a face that tells front from back."""

import cv2
import numpy as np

from keras_hourglass.data.figures import pose
from keras_hourglass.data.figures.pen import TONES, Pen

_CIRCLE = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_RADII = np.array([0.058, 0.079, 0.068])  # half width, height and depth in body heights


class HeadPainter(Pen):
    """Draws the head, see `Pen`; directions are on a unit sphere with x left, z forward."""

    def draw(self):
        frame = self.frames["head"]
        self.middle = self.space[pose.NECK] + frame[:, 1] * 0.116 * self.head_scale
        self.axes = frame * (_RADII * self.head_scale)
        view = frame[2] / _RADII  # the viewer's direction seen from the unit sphere
        self.view = view / np.linalg.norm(view)
        outfit = self.outfit
        behind = outfit.long_hair and not outfit.bald
        if behind and frame[2, 2] > 0:
            self._mane()
        for x in (-1.0, 1.0):
            ear = np.array([x, -0.12, -0.05])
            if ear @ self.view > -0.35:
                self._dot(ear * 1.03, 0.017 * self.head_scale, outfit.skin * 0.8)
        skull = outfit.skin if outfit.bald else outfit.hair
        for tone, width, offset in TONES:
            outline = self.project(self.middle + (self._silhouette() @ self.axes.T) * width)
            self.fill(outline + offset * 0.05 * self.unit * self.light, skull * tone)
        self._face()
        if outfit.cap:
            self._cap_patch(np.array([0, 0.97, 0.1]), 1.02, outfit.accent, 1.05)
            if self.view[2] > -0.2:
                self._cap_patch(np.array([0, 0.5, 0.85]), 0.32, outfit.accent * 0.8, 1.12)
        if behind and frame[2, 2] <= 0:
            self._mane()

    def _mane(self):
        """Long hair down the back of the head."""
        back = self.middle + self.axes @ np.array([0, 0.2, -0.55])
        chest = self.frames["chest"]
        low = self.space[pose.NECK] - 0.05 * chest[:, 1] - 0.045 * chest[:, 2]
        radii = np.array([0.05, 0.052, 0.034]) * self.head_scale
        self.tube([back, (back + low) / 2, low], radii, self.outfit.hair)

    def _silhouette(self):
        """Unit-sphere points of the head's outline."""
        first = np.cross(self.view, [0.0, 1.0, 0.02])
        first /= np.linalg.norm(first)
        second = np.cross(self.view, first)
        return np.outer(np.cos(_CIRCLE), first) + np.outer(np.sin(_CIRCLE), second)

    def _cap_patch(self, axis, angle, colour, lift=1.0):
        """Fill what is seen of a spherical cap of the head about an axis."""
        axis = axis / np.linalg.norm(axis)
        first = np.cross(axis, [1.0, 0.03, 0.05])
        first /= np.linalg.norm(first)
        second = np.cross(axis, first)
        rim = np.outer(np.cos(_CIRCLE), first) + np.outer(np.sin(_CIRCLE), second)
        rim = np.cos(angle) * axis + np.sin(angle) * rim
        outline = self._silhouette()
        seen = np.concatenate([rim[rim @ self.view > 0], outline[outline @ axis > np.cos(angle)]])
        if len(seen) < 3:
            return
        flat = self.project(self.middle + lift * seen @ self.axes.T).astype(np.float32)
        self.fill(cv2.convexHull(flat)[:, 0], colour)

    def _face(self):
        skin = self.outfit.skin
        forehead = -0.2 if self.outfit.bald else -0.42
        self._cap_patch(np.array([0, forehead, 0.9]), 1.28, skin * 0.86)
        self._cap_patch(np.array([0, forehead + 0.05, 0.95]), 1.05, skin)
        size = self.head_scale
        for x in (-0.38, 0.38):
            eye = np.array([x, 0.06, 0.92])
            if eye @ self.view > 0.12:
                self._dot(eye, 0.0125 * size, np.array([250.0, 250, 250]))
                self._dot(eye, 0.0085 * size, np.array([35.0, 28, 25]))
                self._surface_line([[x - 0.16, 0.3, 0.9], [x + 0.16, 0.3, 0.9]], 0.008,
                                   self.outfit.hair * 0.8)  # fmt: skip
        if self.view[2] > -0.15:
            nose = np.array([[0, 0.12, 1.0], [-0.1, -0.2, 1.0], [0, -0.2, 1.22], [0.1, -0.2, 1.0]])
            flat = self.project(self.middle + nose @ self.axes.T).astype(np.float32)
            self.fill(cv2.convexHull(flat)[:, 0], skin * 0.8)
        if self.view[2] > 0.2:
            self._surface_line([[-0.24, -0.5, 0.84], [0, -0.55, 0.86], [0.24, -0.5, 0.84]], 0.010,
                               np.array([150.0, 60, 60]))  # fmt: skip

    def _surface_line(self, places, width, colour):
        self.line(self.middle + np.array(places) @ self.axes.T, width * self.head_scale, colour)

    def _dot(self, place, radius, colour):
        self.tube([self.middle + self.axes @ place] * 2, (radius, radius), colour, flat=True)
