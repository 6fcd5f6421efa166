"""Compare what was exported with the Keras model."""

import numpy as np
import tensorflow as tf

from keras_hourglass import geometry
from keras_hourglass.errors import UserError
from keras_hourglass.export.bundle import random_picture
from keras_hourglass.io import images


def verify(folder, model, codec, flip, pictures=3):
    """Load a SavedModel and compare its heatmaps and joints with the model's own.

    Args:
        folder: the SavedModel.
        model: the `StackedHourglass` it was made from.
        codec: the `HeatmapCodec` it decodes with.
        flip: whether it averages with the mirrored crop.
        pictures: how many random pictures of different sizes to try.

    Returns:
        Dict of the largest differences: `heatmaps`, as part of the highest absolute value, and
        `keypoints` in input pixels.

    Raises:
        UserError: if they differ by more than rounding.
    """
    loaded = tf.saved_model.load(str(folder))
    encoded = [random_picture(seed, ".png") for seed in range(pictures)]
    crops, affines = zip(*[_crop(data, codec.input_size) for data in encoded], strict=True)
    crops, affines = np.stack(crops), np.stack(affines)
    expected = model.predict(crops, verbose=0)
    actual = loaded.signatures["heatmaps"](images=tf.constant(crops, tf.float32))
    difference = max(
        float(np.abs(expected[key] - actual[key].numpy()).max()) for key in expected
    ) / max(1e-6, *(float(np.abs(maps).max()) for maps in expected.values()))
    half = any("16" in str(layer.compute_dtype) for layer in model.layers)
    tolerance = 0.05 if half else 1e-3
    if not difference <= tolerance:
        _refuse(f"heatmaps differ by {difference:.2g} of their highest value")

    last = f"stack_{model.num_stacks}"
    maps = expected[last]
    if flip:
        mirrored = model.predict(crops[:, :, ::-1], verbose=0)[last]
        maps = codec.merge_flipped(maps, mirrored, model.skeleton.flip_order)
    # The graph's crops may differ from OpenCV's by one grey level: so far may that move a map.
    step = np.random.default_rng(0).integers(-1, 2, crops.shape)
    near = np.clip(crops.astype(int) + step, 0, 255).astype(np.uint8)
    moved = np.abs(model.predict(near, verbose=0)[last] - expected[last]).max()
    served = loaded.signatures["serving_default"](image_bytes=tf.constant(encoded))
    points = geometry.apply_affine(affines, served["keypoints"].numpy())
    distance = _distance(codec, maps, points, max(tolerance * np.abs(maps).max(), moved))
    if not distance <= 0.5 or not served["valid"].numpy().all():
        _refuse(f"joints differ by {distance:.2g} input pixels")
    return {"heatmaps": difference, "keypoints": distance}


def _refuse(what):
    raise UserError(
        f"The exported model does not agree with the Keras model. Received: {what}. "
        "Nothing was published; please report this model's config."
    )


def _distance(codec, maps, points, tolerance):
    """Largest distance to the decoded joints, leaving out maxima with a rival as high."""
    decoded, scores = codec.decode(maps)
    distance = np.linalg.norm(points - decoded, axis=-1)
    place = geometry.input_to_heatmap(points, codec.stride).round().astype(int)
    height, width = codec.heatmap_size
    x, y = np.clip(place[..., 0], 0, width - 1), np.clip(place[..., 1], 0, height - 1)
    people, joints = np.ogrid[: maps.shape[0], : maps.shape[3]]
    rival = (distance > 0.5) & (maps[people, y, x, joints] >= scores - 2 * tolerance)
    return float(np.where(rival, 0, distance).max())


def _crop(data, size):
    image = images.read_image(data)
    box = geometry.boxes_from_xywh((0, 0, image.shape[1], image.shape[0]))
    affine = geometry.crop_affine(box, size)
    return images.warp(image, affine, size), affine
