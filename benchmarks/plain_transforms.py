"""Training samples step by step in NumPy and Pillow, written for `input_pipeline.py`.

The usual way of PyTorch projects for hourglass networks: the whole picture becomes an array of
floats, is mirrored and recoloured, cut out by slicing around centre and scale, turned and resized
by a general image library, and every joint gets a Gaussian patch in a loop. The distributions are
those of the package's own `newell` augmentation; the same person gives the same kind of sample.
"""

import numpy as np
from PIL import Image

MEAN = np.array([0.44, 0.44, 0.40], np.float32)


class PlainSamples:
    """Samples of annotated people.

    Args:
        images, boxes, joints, visibility: columns of `PoseRecords`, see there.
        flip_order: for each joint the one that mirroring puts in its place.
        size: side of the crop in pixels; heatmaps are a quarter of it.
        sigma: of the Gaussians in heatmap pixels.
        augment: draw random transforms.
    """

    def __init__(self, images, boxes, joints, visibility, flip_order, size=256, sigma=1.0,
                 augment=True):  # fmt: skip
        self.images, self.boxes, self.joints = list(images), boxes, joints
        self.visibility, self.flip_order = visibility, list(flip_order)
        self.size, self.sigma, self.augment = size, sigma, augment

    def __call__(self, person, seed=0):
        """`(3, size, size)` normalised floats and `(K, size / 4, size / 4)` float heatmaps."""
        rng = np.random.default_rng([seed, person])
        image = load(self.images[person])
        (x, y), side = self.boxes[person][:2], self.boxes[person][2]
        points, visible = self.joints[person].copy(), self.visibility[person]
        centre, turn = np.array([x, y]), 0.0
        if self.augment:
            side *= 2 ** np.clip(0.25 * rng.standard_normal(), -0.5, 0.5)
            if rng.random() < 0.4:
                turn = np.clip(30 * rng.standard_normal(), -60, 60)
            if rng.random() < 0.5:
                image = image[:, :, ::-1].copy()
                points[:, 0] = image.shape[2] - 1 - points[:, 0]
                points, visible = points[self.flip_order], visible[self.flip_order]
                centre[0] = image.shape[2] - 1 - centre[0]
            for channel in range(3):
                image[channel] = np.clip(image[channel] * rng.uniform(0.6, 1.4), 0, 1)
        crop = cut_out(image, centre, side, self.size, turn)
        crop = crop.transpose(2, 0, 1).astype(np.float32) / 255 - MEAN[:, None, None]
        edge = self.size // 4
        maps = np.zeros((len(points), edge, edge), np.float32)
        for joint, point in enumerate(points):
            if visible[joint] > 0:
                place = np.append(point, 1) @ to_crop(centre, side, edge, turn).T
                draw(maps[joint], place[:2], self.sigma)
        return crop, maps


def load(path):
    """`(3, height, width)` floats from 0 to 1."""
    with Image.open(path) as file:
        pixels = np.asarray(file.convert("RGB"))
    return pixels.transpose(2, 0, 1).astype(np.float32) / 255


def to_crop(centre, side, size, turn=0.0):
    """The 3×3 matrix from source pixels to those of a crop of `size`, turned in degrees."""
    scale = size / side
    matrix = np.array(
        [
            [scale, 0, size / 2 - 0.5 - scale * centre[0]],
            [0, scale, size / 2 - 0.5 - scale * centre[1]],
            [0, 0, 1],
        ]
    )
    if turn:
        angle = np.deg2rad(turn)
        cosine, sine = np.cos(angle), np.sin(angle)
        about = np.eye(3)
        about[:2, 2] = size / 2 - 0.5
        back = np.eye(3)
        back[:2, 2] = -(size / 2 - 0.5)
        rotation = np.array([[cosine, -sine, 0], [sine, cosine, 0], [0, 0, 1]])
        matrix = about @ rotation @ back @ matrix
    return matrix


def cut_out(image, centre, side, size, turn):
    """`(size, size, 3)` bytes around a centre, black outside the picture."""
    pixels = (image.transpose(1, 2, 0) * 255).astype(np.uint8)
    if side / size >= 2:  # shrink first, so that little is cut and turned
        factor = side / size
        height, width = pixels.shape[:2]
        shape = max(1, round(width / factor)), max(1, round(height / factor))
        pixels = np.asarray(Image.fromarray(pixels).resize(shape, Image.BILINEAR))
        centre, side = (centre + 0.5) / factor - 0.5, size
    first = np.round(centre - (side - 1) / 2).astype(int)
    last = first + max(1, round(side))
    pad = int(np.ceil(side * (np.sqrt(2) - 1) / 2)) + 1 if turn else 0
    first, last = first - pad, last + pad
    piece = np.zeros((last[1] - first[1], last[0] - first[0], 3), np.uint8)
    height, width = pixels.shape[:2]
    left, top = np.maximum(first, 0)
    right, bottom = min(last[0], width), min(last[1], height)
    if right > left and bottom > top:
        rows = slice(top - first[1], bottom - first[1])
        columns = slice(left - first[0], right - first[0])
        piece[rows, columns] = pixels[top:bottom, left:right]
    if turn:
        # Pillow turns counter-clockwise for positive angles.
        piece = np.asarray(Image.fromarray(piece).rotate(-turn, Image.BILINEAR))
        piece = piece[pad:-pad, pad:-pad]
    return np.asarray(Image.fromarray(piece).resize((size, size), Image.BILINEAR))


def draw(plane, place, sigma):
    """A Gaussian patch of three sigma on each side around a place `(x, y)`, cut at the border."""
    reach = int(3 * sigma)
    column, row = (int(value + 0.5) for value in place)
    left, right = max(0, column - reach), min(plane.shape[1], column + reach + 1)
    top, bottom = max(0, row - reach), min(plane.shape[0], row + reach + 1)
    if left >= right or top >= bottom:
        return
    axis = np.arange(2 * reach + 1) - reach
    patch = np.exp(-(axis[:, None] ** 2 + axis[None, :] ** 2) / (2 * sigma**2))
    plane[top:bottom, left:right] = patch[
        top - row + reach : bottom - row + reach, left - column + reach : right - column + reach
    ]
