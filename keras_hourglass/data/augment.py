"""Random crops as the paper's authors drew them: flip, rotation, scaling, colour."""

import dataclasses
from typing import Any

import cv2
import numpy as np

from keras_hourglass.errors import UserError, checks_arguments, did_you_mean
from keras_hourglass.geometry import boxes_from_joints
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Array


@checks_arguments
@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Ranges and probabilities of random transforms; never a translation, as in the paper.

    Args:
        flip: probability of mirroring.
        scale: spread of the person's size in octaves: the size is multiplied by `2 ** s`.
        scale_limit: largest `|s|`.
        rotation: spread of the rotation in degrees.
        rotation_limit: largest rotation in degrees.
        rotation_probability: share of crops that are rotated at all.
        distribution: `"normal"`: spreads are standard deviations, clipped to the limits (the
            authors' training code); `"uniform"`: uniform within the limits (the paper's text).
        colour: each colour channel is multiplied by a factor from `1 - colour` to `1 + colour`.
        half_body: probability of showing only the upper or the lower half of a person of whom at
            least three joints of that half are labelled.
        erase: probability of covering a rectangle of 2 to 20 % of the crop with one colour.
        motion_blur: probability of blurring along a line of 3 to 9 px of a 256 px crop.

    Raises:
        UserError: if a value is out of range.

    Example:

    >>> augmentation = Augmentation(flip=0.0, colour=0.0)
    >>> transform = augmentation.draw(np.random.default_rng(1))
    >>> transform.flip, bool(abs(transform.rotation) <= 60)
    (False, True)

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.4, and their code.
    """

    flip: float = 0.5
    scale: float = 0.25
    scale_limit: float = 0.5
    rotation: float = 30.0
    rotation_limit: float = 60.0
    rotation_probability: float = 0.4
    distribution: str = "normal"
    colour: float = 0.4
    half_body: float = 0.0
    erase: float = 0.0
    motion_blur: float = 0.0

    def __post_init__(self):
        shares = ("flip", "rotation_probability", "colour", "half_body", "erase", "motion_blur")
        for name in shares:
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"`{name}` must lie in 0–1. Received: {getattr(self, name)}.")
        # Exponents of 2, and degrees.
        for name, most in (
            ("scale", 8), ("scale_limit", 8), ("rotation", 360), ("rotation_limit", 360),
        ):  # fmt: skip
            value = getattr(self, name)
            if not 0 <= value <= most:
                what = f"be at most {most}" if most < value < np.inf else "not be negative"
                raise UserError(f"`{name}` must {what}. Received: {value}.")
        if self.distribution not in ("normal", "uniform"):
            raise UserError(
                f"`distribution` is 'normal' or 'uniform'. Received: {self.distribution!r}."
                f"{did_you_mean(self.distribution, ('normal', 'uniform'))}"
            )

    def draw(self, rng: np.random.Generator) -> "Transform":
        """One random `Transform` from a `numpy.random.Generator`."""
        octaves = self._spread(rng, self.scale, self.scale_limit)
        turn = self._spread(rng, self.rotation, self.rotation_limit)
        rotated = rng.random() < self.rotation_probability
        flip = bool(rng.random() < self.flip)
        gains = rng.uniform(1 - self.colour, 1 + self.colour, 3)
        return Transform(
            # A larger box shows a smaller person.
            scale=float(2.0**octaves),
            rotation=float(turn) if rotated else 0.0,
            flip=flip,
            gains=tuple(gains) if self.colour else None,
            # Drawn last and only if asked for, so that they do not change the numbers above.
            half=self._draw_half(rng),
            erased=self._draw_rectangle(rng),
            blur=self._draw_blur(rng),
        )

    def _draw_half(self, rng):
        if not self.half_body or rng.random() >= self.half_body:
            return None
        return "upper" if rng.random() < 0.5 else "lower"

    def _draw_rectangle(self, rng):
        if not self.erase or rng.random() >= self.erase:
            return None
        area, shape = rng.uniform(0.02, 0.2), np.exp(rng.uniform(-0.9, 0.9))
        height, width = np.sqrt(area * shape), np.sqrt(area / shape)
        top, left = rng.uniform(0, 1 - height), rng.uniform(0, 1 - width)
        colour = rng.integers(0, 256, 3)
        return (*(float(v) for v in (top, left, height, width)), tuple(colour.tolist()))

    def _draw_blur(self, rng):
        if not self.motion_blur or rng.random() >= self.motion_blur:
            return None
        return float(rng.uniform(3, 9) / 256), float(rng.uniform(0, 180))

    def _spread(self, rng, spread, limit):
        if self.distribution == "uniform":
            return rng.uniform(-limit, limit)
        return min(max(rng.normal(0, spread) if spread else 0.0, -limit), limit)


@dataclasses.dataclass(frozen=True)
class Transform:
    """What was drawn for one crop.

    `scale`, `rotation` and `flip` as in `geometry.crop_affine`; `gains` per RGB channel; `half`:
    `"upper"`, `"lower"` or `None`; `erased`: top, left, height, width as shares of the crop, and
    a colour; `blur`: length as a share of the crop's height, and direction in degrees.

    Example:

    >>> Transform(scale=1.2).rotation
    0.0
    """

    scale: float = 1.0
    rotation: float = 0.0
    flip: bool = False
    gains: tuple | None = None
    half: str | None = None
    erased: tuple | None = None
    blur: tuple | None = None


AUGMENTATIONS = {
    "newell": Augmentation(),
    # The paper's text; 0.75 to 1.25 is about ±0.37 octaves.
    "paper": Augmentation(
        scale_limit=0.37,
        rotation_limit=30.0,
        rotation_probability=1.0,
        distribution="uniform",
        colour=0.0,
    ),
    # Athletes are photographed at every angle, upside down too.
    "sports": Augmentation(rotation=40.0, rotation_limit=180.0, rotation_probability=0.6),
    # Whole photographs, whose boxes would not fit once they are turned.
    "scenes": Augmentation(
        scale_limit=0.8,
        rotation=0.0,
        rotation_limit=0.0,
        rotation_probability=0.0,
        distribution="uniform",
    ),
}


def apply_gains(image: np.ndarray, gains: Array, out: np.ndarray | None = None) -> np.ndarray:
    """Multiply the colour channels of a crop.

    Args:
        image: `(height, width, 3)` uint8 RGB.
        gains: three factors.
        out: array of the same shape to put the result into; a new one by default.

    Returns:
        uint8 array of the same shape, rounded and clipped to 0–255.

    Example:

    >>> apply_gains(np.full((1, 1, 3), 100, np.uint8), (0.5, 1.0, 3.0)).ravel().tolist()
    [50, 100, 255]
    """
    return cv2.transform(image, np.diag(np.asarray(gains, np.float32)), out)


def erase(image: np.ndarray, erased: Any) -> None:
    """Cover a rectangle of a crop, in place.

    Args:
        image: `(height, width, 3)` uint8 RGB.
        erased: `Transform.erased`.

    Example:

    >>> image = np.zeros((2, 4, 3), np.uint8)
    >>> erase(image, (0.5, 0.25, 0.5, 0.5, (9, 9, 9)))
    >>> image[..., 0].tolist()
    [[0, 0, 0, 0], [0, 9, 9, 0]]
    """
    top, left, height, width, colour = erased
    rows, columns = image.shape[:2]
    bottom, right = round((top + height) * rows), round((left + width) * columns)
    image[round(top * rows) : bottom, round(left * columns) : right] = colour


def motion_blur(image: np.ndarray, blur: Any) -> np.ndarray:
    """Blur a crop along a line through each pixel; joints stay where they are.

    Args:
        image: `(height, width, 3)` uint8 RGB.
        blur: `Transform.blur`.

    Returns:
        uint8 array of the same shape.

    Example:

    >>> bool((motion_blur(np.full((8, 9, 3), 70, np.uint8), (0.5, 30.0)) == 70).all())
    True
    """
    length, direction = blur[0] * image.shape[0], np.deg2rad(blur[1])
    radius = max(1, int(np.ceil(length / 2)))
    # Samples along the line, spread bilinearly over the kernel, which stays point-symmetric.
    along = np.linspace(-length / 2, length / 2, 8 * radius + 1)
    x, y = along * np.cos(direction) + radius, along * np.sin(direction) + radius
    grid = np.arange(2 * radius + 1)
    near_x = np.maximum(1 - np.abs(grid - x[:, None]), 0)
    near_y = np.maximum(1 - np.abs(grid - y[:, None]), 0)
    kernel = np.einsum("ny,nx->yx", near_y, near_x)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


_LOWER_PARTS = ("hip", "knee", "ankle", "toe", "heel", "foot")


def half_body_box(
    box: np.ndarray,
    joints: np.ndarray,
    visibility: np.ndarray,
    skeleton: Skeleton,
    half: str,
    padding: float = 1.6,
) -> np.ndarray:
    """The box of the upper or lower half of a person.

    Args:
        box: the person's box, returned if fewer than three joints of the half are labelled.
        joints: `(K, 2)` in source pixels.
        visibility: `(K,)`; joints above 0 count.
        skeleton: the `Skeleton`.
        half: `"upper"` or `"lower"`.
        padding: the side is the longer extent of those joints times this factor.

    Returns:
        `(3,)` box in source pixels.

    Example:

    >>> from keras_hourglass.skeletons import get_skeleton
    >>> box, nobody = np.array([10.0, 20.0, 50.0]), np.zeros(14)
    >>> half_body_box(box, np.zeros((14, 2)), nobody, get_skeleton("lsp"), "upper").tolist()
    [10.0, 20.0, 50.0]
    """
    lower = np.array([name.endswith(_LOWER_PARTS) for name in skeleton.joints])
    chosen = np.where(lower == (half == "lower"), visibility, 0)
    if (chosen > 0).sum() < 3:
        return box
    return boxes_from_joints(joints[None], chosen[None], padding)[0]
