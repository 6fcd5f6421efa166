"""A served model in TensorFlow operations: encoded pictures to crops, to heatmaps, to joints.

Nothing in here can make a whole batch fail: a picture that cannot be used yields a black crop
and `valid` false.
"""

import json

import tensorflow as tf

from keras_hourglass.codec import derivatives
from keras_hourglass.inference import fold
from keras_hourglass.inference.tensorflow_graph import Network, constants_pay
from keras_hourglass.io.headers import DEFLATE, EXIF_BYTES, JPEG_RATIO, ORIENTATION
from keras_hourglass.io.images import MAX_PIXELS
from keras_hourglass.network.model import snapshot

_ADOBE = r"\C*Adobe\C*"
PARALLEL = 4  # pictures decoded at the same time, which bounds the memory


class ServedModel(tf.Module):
    """Pictures as bytes in, joints in source pixels out.

    Args:
        model: the `StackedHourglass`.
        codec: the `HeatmapCodec` whose decoding is used.
        flip_order: the mirror permutation to average mirrored heatmaps with, or `None` for none.
        thresholds: K least scores of present joints.
        metadata: dict that the signature `metadata` returns as JSON.
        max_pixels: pictures with more pixels are refused before decoding.
    """

    def __init__(self, model, codec, flip_order, thresholds, metadata=None, max_pixels=MAX_PIXELS):
        super().__init__(name="keras_hourglass")
        program = fold(*snapshot(model))
        self._names = list(program.outputs)
        self._last = f"stack_{model.num_stacks}"
        self._network = Network(program, constants=constants_pay(program))
        self._reader = PictureReader(codec.input_size, max_pixels)
        self._codec, self._flip_order = codec, flip_order
        self._thresholds = [float(value) for value in thresholds]
        self._metadata = json.dumps(metadata or {})
        self._crops = tf.TensorSpec((None, *codec.input_size, 3), tf.float32, "images")

    def signatures(self):
        """Name -> concrete function of every signature."""
        encoded = tf.TensorSpec((None,), tf.string, "image_bytes")
        boxes = tf.TensorSpec((None, 4), tf.float32, "boxes")
        functions = {
            "serving_default": (self.predict, encoded),
            "predict_boxes": (self.predict_boxes, encoded, boxes),
            "heatmaps": (self.heatmaps, self._crops),
            "metadata": (self.metadata, tf.TensorSpec((None,), tf.string, "query")),
        }
        return {
            name: tf.function(function, autograph=False).get_concrete_function(*specs)
            for name, (function, *specs) in functions.items()
        }

    def predict(self, image_bytes):
        """`serving_default`: one person who fills each picture."""
        return self._joints(*self._reader(image_bytes))

    def predict_boxes(self, image_bytes, boxes):
        """`predict_boxes`: the person in a box `x, y, w, h` of each picture."""
        return self._joints(*self._reader(image_bytes, boxes))

    def heatmaps(self, images):
        """`heatmaps`: crops to the maps of every stack, without mirror averaging."""
        return self._run(images, self._names)

    def metadata(self, query):
        """`metadata`: for any strings, the same JSON document each: joint names, sizes, …."""
        return {"json": tf.fill(tf.shape(query), self._metadata)}

    def _joints(self, crops, back, valid):
        heatmaps = self._merged(crops)
        keypoints, scores = decode(self._codec, heatmaps)
        keypoints = keypoints * back[:, None, :1] + back[:, None, 1:]
        scores = tf.where(valid[:, None], scores, float("nan"))
        present = scores >= tf.constant(self._thresholds)
        return {"keypoints": keypoints, "scores": scores, "present": present, "valid": valid}

    def _merged(self, crops):
        if self._flip_order is None:
            return self._run(crops, [self._last])[self._last]
        both = self._run(tf.concat([crops, tf.reverse(crops, [2])], 0), [self._last])
        heatmaps, flipped = tf.split(both[self._last], 2)
        return merge_flipped(heatmaps, flipped, self._flip_order)

    def _run(self, crops, names):
        """The network; an empty batch runs one black crop, since oneDNN's kernels take none."""
        count = tf.shape(crops)[0]
        missing = tf.maximum(1 - count, 0)
        crops = tf.pad(crops, [(0, missing), (0, 0), (0, 0), (0, 0)])
        return {name: maps[:count] for name, maps in self._network(crops, names).items()}


class PictureReader(tf.Module):
    """Decode and crop a batch of JPEG and PNG files.

    Args:
        input_size: `(height, width)` of the crops in input pixels.
        max_pixels: pictures whose header announces more are refused before decoding.
    """

    def __init__(self, input_size, max_pixels=MAX_PIXELS):
        super().__init__(name="picture_reader")
        self.input_size, self.max_pixels = tuple(input_size), max_pixels

    def __call__(self, image_bytes, boxes=None):
        """Crops of one person per file.

        Args:
            image_bytes: `(N,)` strings, whole files.
            boxes: `(N, 4)` float32 `x, y, w, h` in source pixels (after EXIF rotation); without
                them, the whole picture.

        Returns:
            `(N, height, width, 3)` float32 crops of integer values 0–255; `(N, 3)` float32
            `scale, shift x, shift y` that take input pixels to source pixels; `(N,)` bool, true
            where the crop is valid. Crops of invalid ones are black, their numbers NaN.
        """
        count = tf.size(image_bytes, tf.int64)
        if boxes is None:
            boxes = tf.fill([count, 4], tf.constant(float("nan")))
            whole = True
        else:
            boxes = tf.ensure_shape(boxes, (None, 4))
            tf.debugging.assert_equal(
                tf.shape(boxes, tf.int64)[0], count, "One box per picture is needed."
            )
            whole = False
        data = tf.data.Dataset.from_tensor_slices((tf.range(count), image_bytes, boxes))
        data = data.map(
            lambda index, encoded, box: (index, *self._read(encoded, None if whole else box)),
            num_parallel_calls=PARALLEL,
            deterministic=False,
        )
        # The one construct of a TensorFlow graph that contains the failure of a kernel.
        data = data.ignore_errors()
        # A last element of no picture, so that there is always one to return.
        height, width = self.input_size
        nothing = (count, tf.zeros((height, width, 3)), tf.zeros(3))
        data = data.concatenate(tf.data.Dataset.from_tensors(nothing)).batch(count + 1)
        options = tf.data.Options()
        options.autotune.enabled = False
        options.experimental_optimization.apply_default_optimizations = False
        options.deterministic = False
        index, crops, back = data.with_options(options).get_single_element()
        return self._scatter(index[:-1], crops[:-1], back[:-1], count)

    def _scatter(self, index, crops, back, count):
        where = index[:, None]
        height, width = self.input_size
        valid = tf.scatter_nd(where, tf.ones_like(index, tf.int32), [count]) > 0
        back = tf.scatter_nd(where, back, tf.stack([count, 3]))
        back = tf.where(valid[:, None], back, float("nan"))
        shape = tf.stack([count, height, width, 3])
        crops = tf.scatter_nd(where, crops, shape)
        return tf.ensure_shape(crops, (None, height, width, 3)), back, valid

    def _read(self, encoded, box):
        """Crop of one file and the way back; raises where the file or box cannot be used."""
        image, orientation = decode_file(encoded, self.max_pixels)
        size = tf.cast(tf.shape(image)[:2], tf.float32)
        size = tf.where(orientation >= 5, tf.reverse(size, [0]), size)
        if box is None:
            box = tf.stack([0.0, 0.0, size[1], size[0]])
        tf.debugging.assert_all_finite(box, "not finite")
        tf.debugging.assert_positive(box[2:])
        height, width = self.input_size
        # The side of the square, and its centre, as in `geometry`.
        scale = tf.reduce_max(box[2:]) / min(height, width)
        shift = box[:2] + box[2:] / 2 - 0.5
        shift -= scale * tf.constant([(width - 1) / 2, (height - 1) / 2])
        tf.debugging.assert_all_finite(shift, "too large")
        pixels = crop(image, scale, shift, self.input_size, orientation)
        return pixels, tf.stack([scale, shift[0], shift[1]])


def decode_file(encoded, max_pixels):
    """A JPEG or PNG file as it is stored; raises where it cannot be used.

    Args:
        encoded: scalar string, the whole file.
        max_pixels: pictures whose header announces more are refused before decoding.

    Returns:
        `(height, width, 3)` uint8, and the EXIF orientation, 1 to 8.
    """
    is_png = tf.strings.substr(encoded, 0, 4) == b"\x89PNG"
    size, usable = tf.cond(is_png, lambda: _png_header(encoded), lambda: _jpeg_header(encoded))
    pixels = tf.reduce_prod(tf.cast(size, tf.int64))
    usable &= tf.reduce_all(size > 0) & (pixels <= tf.constant(max_pixels, tf.int64))
    # What must not be decoded is not there to be: a check beside it would order nothing.
    encoded = tf.where(usable, encoded, tf.constant(b""))
    tf.debugging.assert_equal(usable, True)
    image = tf.cond(
        is_png,
        lambda: _decode_png(encoded),
        # As accurate as other decoders; the default trades accuracy for speed.
        lambda: tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE"),
    )
    orientation = tf.cond(
        is_png, lambda: png_orientation(encoded)[0], lambda: exif_orientation(encoded)
    )
    return image, orientation


def upright(image, orientation):
    """A stored `(height, width, 3)` picture as it is shown."""
    image = tf.cond(orientation >= 5, lambda: tf.transpose(image, (1, 0, 2)), lambda: image)
    down, across = _any_of(orientation, 3, 4, 7, 8), _any_of(orientation, 2, 3, 6, 7)
    image = tf.cond(down, lambda: tf.reverse(image, [0]), lambda: image)
    return tf.cond(across, lambda: tf.reverse(image, [1]), lambda: image)


def crop(image, scale, shift, size, orientation=1):
    """Sample a picture bilinearly at `scale * pixel + shift`, black outside.

    Args:
        image: `(height, width, 3)` uint8, as stored in the file.
        scale: source pixels per input pixel.
        shift: `(2,)` source `x, y` of the first input pixel's centre.
        size: `(height, width)` of the crop in input pixels.
        orientation: EXIF orientation, 1 to 8; the crop is turned upright.

    Returns:
        `(*size, 3)` float32 integers, equal to `images.warp` of the upright picture up to rounding.
    """
    turned = orientation >= 5
    extents = tf.shape(image)[:2]
    extents = tf.where(turned, tf.reverse(extents, [0]), extents)
    rows, y_weights = _taps(scale, shift[1], size[0], extents[0])
    columns, x_weights = _taps(scale, shift[0], size[1], extents[1])
    # The few samples are turned upright, not the picture.
    rows = tf.where(_any_of(orientation, 3, 4, 7, 8), extents[0] - 1 - rows, rows)
    columns = tf.where(_any_of(orientation, 2, 3, 6, 7), extents[1] - 1 - columns, columns)
    values = tf.cond(
        turned,
        lambda: tf.transpose(_sample(image, columns, rows), (1, 0, 2)),
        lambda: _sample(image, rows, columns),
    )
    values = tf.ensure_shape(values, (2 * size[0], 2 * size[1], 3))
    values *= x_weights[:, None]
    values = values[:, : size[1]] + values[:, size[1] :]
    values *= y_weights[:, None, None]
    return tf.round(values[: size[0]] + values[size[0] :])


def _sample(image, rows, columns):
    return tf.cast(tf.gather(tf.gather(image, rows), columns, axis=1), tf.float32)


def _any_of(value, *candidates):
    return tf.reduce_any(value == tf.constant(candidates))


def _taps(scale, shift, count, extent):
    """Indices of the first, then the second pixel that each sample falls between, and weights."""
    limit = tf.cast(extent, tf.float32)
    position = scale * tf.range(count, dtype=tf.float32) + shift
    position = tf.clip_by_value(position, -2.0, limit + 1)
    first = tf.floor(position)
    part = position - first
    taps = tf.concat([first, first + 1], 0)
    inside = tf.cast((taps >= 0) & (taps < limit), tf.float32)
    weights = tf.concat([1 - part, part], 0) * inside
    return tf.cast(tf.clip_by_value(taps, 0.0, limit - 1), tf.int32), weights


def _jpeg_header(encoded):
    """Height and width of a JPEG, and whether its bytes can be so many pixels that are read alike.

    Of four inks without Adobe's marker nobody knows whether they are inverted.
    """
    shape = tf.image.extract_jpeg_shape(encoded)
    size = shape[:2]
    length = tf.strings.length(encoded)
    enough = _pixels(size) <= JPEG_RATIO * (tf.cast(length, tf.int64) + 1)
    marker = tf.strings.regex_full_match(tf.strings.substr(encoded, 0, EXIF_BYTES), _ADOBE)
    return size, enough & ((shape[2] < 4) | marker)


def _png_header(encoded):
    """Height and width from the first chunk of a PNG, and whether it can be read as Python does."""
    numbers = _number(tf.reshape(_bytes(encoded, 16, 8), (2, 4)))
    size = tf.reverse(numbers, [0])  # a slice of negative stride stops graph optimisation
    length = tf.cast(tf.strings.length(encoded), tf.int64)
    # One bit at least for each pixel of a row, and a byte for the row.
    least = tf.cast(size[0], tf.int64) * (1 + tf.cast(size[1], tf.int64) // 8)
    return size, (least <= DEFLATE * (length + 1)) & png_orientation(encoded)[1]


def _pixels(size):
    return tf.reduce_prod(tf.cast(size, tf.int64))


def _decode_png(encoded):
    """Pixels of a PNG; those of 16 bits by the range that they use, as `images.to_eight_bits`."""

    def deep():
        values = tf.io.decode_png(encoded, channels=3, dtype=tf.uint16)
        high = tf.cast(tf.reduce_max(values), tf.int32)
        whites = tf.constant([2**bits - 1 for bits in (8, 10, 12, 14, 16)])
        white = tf.reduce_min(tf.boolean_mask(whites, whites >= high))
        values = tf.cast(values, tf.float32) * (255 / tf.cast(white, tf.float32))
        return tf.cast(tf.round(values), tf.uint8)

    is_deep = tf.strings.substr(encoded, 24, 1) == b"\x10"
    return tf.cond(is_deep, deep, lambda: tf.io.decode_png(encoded, channels=3))


def png_orientation(encoded):
    """The orientation that a PNG's EXIF chunk names.

    Args:
        encoded: scalar string, the file.

    Returns:
        Scalar int32, 1 to 8, 1 (upright) where there is none; and a scalar bool, false where
        there is an EXIF chunk that does not stand before the pixels, or a chunk that is longer
        than the file.
    """
    data = tf.pad(_bytes(encoded, 0, EXIF_BYTES), [(0, 16)])
    end, size = tf.size(data) - 16, tf.strings.length(encoded)

    def kind(position, name):
        return tf.reduce_all(tf.slice(data, [position + 4], [4]) == list(name))

    def length(position):
        return _number(tf.slice(data, [position], [4]))

    def is_before(position):
        return (position + 8 <= end) & ~kind(position, b"IDAT") & ~kind(position, b"eXIf")

    def step(position):
        # Chunks that are longer than the file end the walk behind it.
        return (position + 12 + tf.minimum(length(position), size),)

    (position,) = tf.while_loop(is_before, step, (tf.constant(8),), maximum_iterations=1000)
    position = tf.minimum(position, end)
    found = kind(position, b"eXIf")
    fits = position + 12 + tf.minimum(length(position), size) <= size
    tiff = tf.where(found, position + 8, end)
    stop = tf.minimum(tiff + tf.minimum(length(position), end), end)
    there = tf.strings.regex_full_match(encoded, r"\C*eXIf\C*")
    return _orientation_at(data, tiff, stop), fits & (found | ~there)


def exif_orientation(encoded):
    """The orientation that a JPEG's EXIF segment names.

    Args:
        encoded: scalar string, the file.

    Returns:
        Scalar int32, 1 to 8; 1 (upright) where there is none.
    """
    # Zeros behind the end, so that damaged offsets read no orientation instead of failing.
    data = tf.pad(_bytes(encoded, 0, EXIF_BYTES), [(0, 16)])
    end = tf.size(data) - 16

    def at(position, count):
        return tf.slice(data, [position], [count])

    def is_segment(position, _):
        marker = data[position + 1]
        return (position < end) & (data[position] == 0xFF) & (marker != 0xDA) & (marker != 0xD9)

    def step(position, tiff):
        marker, length = data[position + 1], _number(at(position + 2, 2))
        exif = tf.reduce_all(at(position + 4, 6) == list(b"Exif\0\0"))
        tiff = tf.where((marker == 0xE1) & exif & (tiff < 0), position + 10, tiff)
        # Any number of 0xFF may stand before a marker.
        length = tf.where(marker == 0xFF, 1, length + 2)
        return tf.minimum(position + length, end), tiff

    start = (tf.constant(2), tf.constant(-1))
    _, tiff = tf.while_loop(is_segment, step, start, maximum_iterations=1000)
    return _orientation_at(data, tf.where((tiff < 0) | (tiff > end), end, tiff), end)


def _orientation_at(data, tiff, end):
    """The orientation in EXIF data that begin at one place of padded bytes and stop at another."""

    def at(position, count):
        return tf.slice(data, [position], [count])

    little = data[tiff] == ord("I")

    def number(values):
        return _number(tf.where(little, tf.reverse(values, [-1]), values))

    directory = tf.minimum(tiff + tf.clip_by_value(number(at(tiff + 4, 4)), 0, end), end)
    count = tf.minimum(number(at(directory, 2)), (end - directory - 2) // 12)
    count = tf.maximum(count, 0)
    entries = tf.reshape(data[directory + 2 : directory + 2 + 12 * count], (-1, 12))
    found = number(entries[:, 8:10])[number(entries[:, :2]) == ORIENTATION]
    found = tf.concat([found, [1]], 0)[0]
    return tf.where((found >= 1) & (found <= 8), found, 1)


def _bytes(encoded, start, count):
    return tf.cast(tf.io.decode_raw(tf.strings.substr(encoded, start, count), tf.uint8), tf.int32)


def _number(values):
    """Big-endian numbers along the last axis; those beyond 31 bits become the largest one."""
    count = values.shape[-1]
    powers = tf.constant([2.0 ** (8 * (count - 1 - index)) for index in range(count)], tf.float64)
    numbers = tf.reduce_sum(tf.cast(values, tf.float64) * powers, axis=-1)
    return tf.cast(tf.minimum(numbers, 2.0**31 - 1), tf.int32)


def merge_flipped(heatmaps, flipped, flip_order):
    """As `HeatmapCodec.merge_flipped`, for tensors."""
    return (heatmaps + tf.gather(tf.reverse(flipped, [2]), list(flip_order), axis=-1)) / 2


def decode(codec, heatmaps, precision=tf.float64):
    """As `HeatmapCodec.decode`, for tensors.

    Args:
        codec: the `HeatmapCodec` to agree with.
        heatmaps: `(N, H, W, K)` float32 with known height, width and K.
        precision: type of the refinement; LiteRT has no kernels for the default's.

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
    if (steps := _STEPS[codec.decoder]) is not None:
        points += steps(heatmaps, rows, columns, codec.sigma, precision)
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


def _quarter_steps(maps, rows, columns, *_):
    height, width = maps.shape[1:3]
    around = _neighbourhood(maps, rows, columns, 1)
    step_x = tf.sign(around[..., 1, 2] - around[..., 1, 0])
    step_y = tf.sign(around[..., 2, 1] - around[..., 0, 1])
    step_x = tf.where(_inside(columns, width), step_x, 0)
    step_y = tf.where(_inside(rows, height), step_y, 0)
    return 0.25 * tf.stack([step_x, step_y], axis=-1)


def _newton_steps(maps, rows, columns, sigma, precision):
    height, width = maps.shape[1:3]
    blur = max(1, round(sigma))
    around = tf.cast(_neighbourhood(maps, rows, columns, 1 + blur), precision)
    kernel = tf.exp(tf.range(-blur, blur + 1, dtype=precision) ** 2 / (-2 * (sigma / 2) ** 2))
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


# As in `codec`, for tensors.
_STEPS: dict = {"max": None, "quarter": _quarter_steps, "dark": _newton_steps}
