"""`HeatmapCodec`'s decoding and mirror averaging in TensorFlow operations."""

import tensorflow as tf

from keras_hourglass.codec import derivatives


def merge_flipped(heatmaps, flipped, flip_order):
    """As `HeatmapCodec.merge_flipped`, for tensors."""
    return (heatmaps + tf.gather(tf.reverse(flipped, [2]), list(flip_order), axis=-1)) / 2


def decode(codec, heatmaps):
    """As `HeatmapCodec.decode`, for tensors.

    Args:
        codec: the `HeatmapCodec` to agree with.
        heatmaps: `(N, H, W, K)` float32 with known height, width and K.

    Returns:
        `(N, K, 2)` float32 joints in input pixels and `(N, K)` float32 scores.
    """
    height, width, joints = heatmaps.shape[1:]
    flat = tf.reshape(heatmaps, (-1, height * width, joints))
    place = tf.argmax(flat, axis=1, output_type=tf.int32)
    rows, columns = place // width, place % width
    # A NaN anywhere in a map makes the sum one; maxima may pass it over.
    scores = tf.reduce_max(flat, axis=1) + 0 * tf.reduce_sum(flat, axis=1)
    points = tf.cast(tf.stack([columns, rows], axis=-1), tf.float32)
    if codec.decoder == "quarter":
        points += _quarter_steps(heatmaps, rows, columns)
    elif codec.decoder == "dark":
        points += _newton_steps(heatmaps, rows, columns, codec.sigma)
    points = tf.where(tf.math.is_nan(scores)[..., None], float("nan"), points)
    return (points + 0.5) * codec.stride - 0.5, scores


def _neighbourhood(maps, rows, columns, radius):
    """Values around the maxima, `(N, K, 2r+1, 2r+1)`, edges repeated outwards."""
    height, width, joints = maps.shape[1:]
    steps = tf.range(-radius, radius + 1)
    y = tf.clip_by_value(rows[..., None] + steps, 0, height - 1)[..., :, None]
    x = tf.clip_by_value(columns[..., None] + steps, 0, width - 1)[..., None, :]
    joint = tf.range(joints)[:, None, None]
    flat = tf.reshape(maps, (-1, height * width * joints))
    return tf.gather(flat, (y * width + x) * joints + joint, batch_dims=1)


def _inside(places, count):
    return (places > 0) & (places < count - 1)


def _quarter_steps(maps, rows, columns):
    height, width = maps.shape[1:3]
    around = _neighbourhood(maps, rows, columns, 1)
    step_x = tf.sign(around[..., 1, 2] - around[..., 1, 0])
    step_y = tf.sign(around[..., 2, 1] - around[..., 0, 1])
    step_x = tf.where(_inside(columns, width), step_x, 0)
    step_y = tf.where(_inside(rows, height), step_y, 0)
    return 0.25 * tf.stack([step_x, step_y], axis=-1)


def _newton_steps(maps, rows, columns, sigma):
    height, width = maps.shape[1:3]
    blur = max(1, round(sigma))
    around = tf.cast(_neighbourhood(maps, rows, columns, 1 + blur), tf.float64)
    kernel = tf.exp(tf.range(-blur, blur + 1, dtype=tf.float64) ** 2 / (-2 * (sigma / 2) ** 2))
    kernel /= tf.reduce_sum(kernel)
    taps = range(2 * blur + 1)
    smooth = tf.add_n([kernel[tap] * around[..., tap : tap + 3, :] for tap in taps])
    smooth = tf.add_n([kernel[tap] * smooth[..., tap : tap + 3] for tap in taps])
    smooth = tf.math.log(tf.maximum(smooth, 1e-10))
    dx, dy, dxx, dyy, dxy = derivatives(smooth)
    determinant = dxx * dyy - dxy**2
    usable = _inside(rows, height) & _inside(columns, width)
    usable &= (determinant > 1e-12) & (dxx < 0)
    safe = tf.where(usable, determinant, tf.ones_like(determinant))
    step = tf.stack([(dxy * dy - dyy * dx) / safe, (dxy * dx - dxx * dy) / safe], axis=-1)
    step = tf.where(usable[..., None], tf.clip_by_value(step, -1.0, 1.0), 0)
    return tf.cast(step, tf.float32)
