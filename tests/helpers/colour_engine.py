"""A network that cannot be wrong: joints are blobs of pure red, green and blue."""

import cv2
import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.skeletons import Skeleton

SKELETON = Skeleton(
    "blobs",
    ("red", "green", "blue"),
    limbs=(("red", "green"), ("green", "blue")),
    pairs=(),  # each its own mirror image
)
COLOURS = np.eye(3, dtype=int) * 255


class ColourEngine:
    """Heatmaps with a Gaussian at the centre of mass of each colour; remembers batch sizes."""

    def __init__(self, input_size):
        self.codec = HeatmapCodec(input_size)
        self.batches = []

    def __call__(self, crops):
        self.batches.append(len(crops))
        mass = np.where(crops > 100, crops, 0).astype(np.float64)  # no noise of codecs
        total = mass.sum(axis=(1, 2))
        rows = np.arange(crops.shape[1])[None, :, None, None]
        columns = np.arange(crops.shape[2])[None, None, :, None]
        with np.errstate(invalid="ignore", divide="ignore"):
            y = (mass * rows).sum(axis=(1, 2)) / total
            x = (mass * columns).sum(axis=(1, 2)) / total
        joints = np.nan_to_num(np.stack([x, y], axis=-1))
        maps, _ = self.codec.encode(joints, 2 * (total > 0))
        return {"stack_1": maps * 0.5, "stack_2": maps}


def paint(height, width, *points, radius=9):
    """A black RGB picture with one disc per colour; `None` leaves a colour out."""
    image = np.zeros((height, width, 3), np.uint8)
    for point, colour in zip(points, COLOURS, strict=True):
        if point is not None:
            cv2.circle(image, point, radius, colour.tolist(), cv2.FILLED)
    return image
