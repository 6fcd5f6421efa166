"""Random crops as the paper's authors drew them: flip, rotation, scaling, colour."""

import dataclasses

import numpy as np

from keras_hourglass.errors import UserError


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

    def __post_init__(self):
        for name in ("flip", "rotation_probability", "colour"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"`{name}` must lie in 0–1. Received: {getattr(self, name)}.")
        for name in ("scale", "scale_limit", "rotation", "rotation_limit"):
            if not 0 <= getattr(self, name) < np.inf:
                raise UserError(f"`{name}` must not be negative. Received: {getattr(self, name)}.")
        if self.distribution not in ("normal", "uniform"):
            raise UserError(
                f"`distribution` is 'normal' or 'uniform'. Received: {self.distribution!r}."
            )

    def draw(self, rng):
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
        )

    def _spread(self, rng, spread, limit):
        if self.distribution == "uniform":
            return rng.uniform(-limit, limit)
        return np.clip(rng.normal(0, spread) if spread else 0.0, -limit, limit)


@dataclasses.dataclass(frozen=True)
class Transform:
    """What was drawn for one crop, see `geometry.crop_affine`; `gains` are per RGB channel."""

    scale: float = 1.0
    rotation: float = 0.0
    flip: bool = False
    gains: tuple | None = None


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
}


def apply_gains(image, gains):
    """Multiply the colour channels of a crop.

    Args:
        image: `(height, width, 3)` uint8 RGB.
        gains: three factors.

    Returns:
        uint8 array of the same shape, rounded and clipped to 0–255.
    """
    levels = np.arange(256, dtype=np.float32)[:, None] * np.asarray(gains, np.float32)
    table = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
    return np.stack([table[image[..., channel], channel] for channel in range(3)], axis=-1)
