"""A network whose answers are known: it finds painted dots, and pictures to go with it."""

import keras
import numpy as np

from keras_hourglass.data.records import PoseRecords
from keras_hourglass.io.images import write_image
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import Skeleton

FACE = Skeleton(
    "face",
    ("left_eye", "nose", "right_eye"),
    limbs=(("left_eye", "nose"), ("nose", "right_eye"), ("left_eye", "right_eye")),
    groups=(("eyes", ("left_eye", "right_eye")), ("nose", ("nose",))),
    reference=("left_eye", "right_eye"),
)
INPUT_SIZE = (64, 96)


class DotNetwork(keras.Model):
    """Red dots are eyes, the left one further to the right; a green dot is the nose.

    Mirroring the picture mirrors the answer exactly. The first stack answers one heatmap pixel
    too low.
    """

    def __init__(self):
        height, width = INPUT_SIZE
        ramp = np.linspace(0.2, 1, width, dtype="float32")[None, None, :, None]
        inputs = keras.Input((height, width, 3))
        x = keras.ops.cast(inputs, "float32") / 255
        red, green = x[..., :1], x[..., 1:2]
        maps = keras.ops.concatenate([red * ramp, green, red * ramp[:, :, ::-1]], axis=-1)
        maps = keras.layers.AveragePooling2D(4)(maps)
        outputs = {"stack_2": maps, "stack_1": keras.ops.roll(maps, 1, axis=1)}
        super().__init__(inputs, outputs)

    skeleton, input_size, stride, num_keypoints = FACE, INPUT_SIZE, 4, 3
    preprocessing = {"sigma": 1.5}
    num_stacks = 2


def paint(joints, size):
    """A black picture `(height, width)` with a Gaussian dot at each joint."""
    picture = np.zeros((*size, 3))
    y, x = np.mgrid[: size[0], : size[1]]
    for (left, top), channel in zip(joints, (0, 1, 0), strict=True):
        dot = np.exp(((x - left) ** 2 + (y - top) ** 2) / (-2 * 6.0**2))
        picture[..., channel] = np.maximum(picture[..., channel], 255 * dot)
    return picture.round().astype(np.uint8)


def face_records(folder, count=7, seed=0):
    """Pictures of faces on disk, each of another size, and their `PoseRecords`."""
    random = np.random.default_rng(seed)
    images, joints, boxes = [], [], []
    for number in range(count):
        size = (150 + number, 201 + 2 * number)
        centre = np.array([100, 75]) + random.uniform(-8, 8, 2)
        offsets = np.array([[16, -9], [0, 11], [-16, -9]]) + random.uniform(-3, 3, (3, 2))
        joints.append(centre + offsets)
        images.append(folder / f"face_{number}.png")
        write_image(images[-1], paint(joints[-1], size))
        boxes.append([*(centre + random.uniform(-4, 4, 2)), 80])
    visibility = np.full((count, 3), 2)
    return PoseRecords(
        FACE,
        images,
        boxes,
        joints,
        visibility,
        reference_lengths(joints, visibility, FACE),
        [f"face/{number}" for number in range(count)],
    )
