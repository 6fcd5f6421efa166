"""How far colours look apart, also to the colour-blind."""

import itertools

import numpy as np

_TO_LMS = np.array([[17.88, 43.52, 4.12], [3.46, 27.16, 3.87], [0.03, 0.18, 1.47]])
# Simulated protanopia and deuteranopia (Viénot et al., 1999).
_VISION = {
    "all": np.eye(3),
    "protanopia": np.array([[0, 2.02344, -2.52581], [0, 1, 0], [0, 0, 1]]),
    "deuteranopia": np.array([[1, 0, 0], [0.494207, 0, 1.24827], [0, 0, 1]]),
}


def least_difference(*colours):
    """Distance of the two RGB colours, 0 to 255, that look most alike to any kind of eye."""
    linear = (np.array(colours) / 255) ** 2.2
    least = np.inf
    for matrix in _VISION.values():
        seen = linear @ (np.linalg.inv(_TO_LMS) @ matrix @ _TO_LMS).T
        seen = np.clip(seen, 0, 1) ** (1 / 2.2) * 255
        for first, second in itertools.combinations(seen, 2):
            least = min(least, np.linalg.norm(first - second))
    return least
