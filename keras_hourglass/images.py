"""Reading, cropping and writing pictures (OpenCV; Pillow for headers)."""

import io
import os
import pathlib

import cv2
import numpy as np
from PIL import Image

from keras_hourglass.errors import DataError
from keras_hourglass.files import atomic_write

# Pillow's own guard against image bombs warns; the limit is checked here instead, before decoding.
Image.MAX_IMAGE_PIXELS = None
MAX_PIXELS = 50_000_000
_ENDS = (b"\xff\xd9", b"IEND")  # of a whole JPEG and a whole PNG


def read_image(source, max_pixels=MAX_PIXELS):
    """Read a picture as RGB.

    EXIF orientation is applied; grey, 16-bit, palette, alpha and CMYK pictures are converted.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: pictures whose header announces more are refused before decoding.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        DataError: if the file is missing, empty, truncated, not a picture, or too large.
    """
    data, name = _load(source)
    height, width = image_size(data, name)
    if height * width > max_pixels:
        raise DataError(
            f"Pictures may have at most {max_pixels:,} pixels. Received: {name} with "
            f"{width}×{height}. Make it smaller first."
        )
    _check_complete(data, name)
    # imdecode prints to stderr and returns None, or raises, depending on what is wrong.
    try:
        image = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        image = None
    if image is None:
        return _decode_with_pillow(data, name)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def image_size(source, name=None):
    """Height and width from a picture's header, before EXIF rotation, without decoding it.

    Args:
        source: a path, or the bytes of a file.
        name: what to call it in errors.

    Returns:
        `(height, width)` in pixels.

    Raises:
        DataError: if the file is missing, empty or not a picture.
    """
    data, found = _load(source)
    try:
        with Image.open(io.BytesIO(data)) as header:
            return header.height, header.width
    except (OSError, ValueError, SyntaxError) as error:
        raise DataError(
            f"A picture (JPEG, PNG, …) is needed. Received: {name or found}, which is none or is "
            "damaged. Replace or leave out that file."
        ) from error


def warp(image, matrix, size):
    """Resample a picture through an affine map, bilinearly, once; black outside.

    Args:
        image: `(height, width, 3)` uint8 source picture.
        matrix: `(2, 3)` map from source to input pixels, see `geometry.crop_affine`.
        size: `(height, width)` of the crop in input pixels.

    Returns:
        `(*size, 3)` uint8 crop.
    """
    return cv2.warpAffine(
        image, np.asarray(matrix, np.float64), (size[1], size[0]), flags=cv2.INTER_LINEAR
    )


def encode_image(image, suffix):
    """An RGB picture as the bytes of a file.

    Args:
        image: `(height, width, 3)` uint8 RGB array.
        suffix: names the format, e.g. `".png"`.

    Raises:
        DataError: if the suffix names no format that can be written.
    """
    try:
        done, data = cv2.imencode(suffix, cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    except cv2.error:
        done = False
    if not done:
        raise DataError(
            f"Pictures are written as .png, .jpg, … Received: {suffix!r}. Change the suffix."
        )
    return data.tobytes()


def write_image(path, image):
    """Write an RGB picture atomically; the suffix names the format.

    Args:
        path: the file, e.g. `pose.png`.
        image: `(height, width, 3)` uint8 RGB array.

    Raises:
        DataError: if the suffix names no format that can be written.
    """
    atomic_write(path, encode_image(image, pathlib.Path(path).suffix))


def _load(source):
    """The bytes of a source and its name in messages."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "bytes"
    else:
        name = os.fspath(source)
        try:
            with open(name, "rb") as file:
                data = file.read()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise DataError(
                f"A readable picture is needed. Received: {name} ({reason}). "
                "Correct the path or its permissions."
            ) from error
    if not data:
        raise DataError(
            f"A picture is needed. Received: {name}, which is empty. Replace or leave it out."
        )
    return data, name


def _check_complete(data, name):
    """Refuse truncated files, which OpenCV would fill up with grey."""
    if any(end in data[-1024:] for end in _ENDS):
        return
    if data[:2] == b"\xff\xd8" or data[:4] == b"\x89PNG":
        _decode_with_pillow(data, name)


def _decode_with_pillow(data, name):
    """Decode strictly and slowly what OpenCV refuses or takes too lightly."""
    try:
        with Image.open(io.BytesIO(data)) as image:
            return np.array(image.convert("RGB"))
    except (OSError, ValueError, SyntaxError, EOFError) as error:
        raise DataError(
            f"A whole picture is needed. Received: {name}, which is truncated or damaged. "
            "Replace or leave out that file."
        ) from error
