"""Reading, cropping and writing pictures: by OpenCV, and by Pillow what OpenCV does not read."""

import io
import os
import pathlib

import cv2
import numpy as np
from PIL import Image, ImageOps

from keras_hourglass.errors import DataError, optional
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.headers import ORIENTATION, Header, open_picture, read_header
from keras_hourglass.io.structured import one_line
from keras_hourglass.typing import Array, Path, Size

MAX_PIXELS = 50_000_000  # of one picture, wherever pictures are read: here, served, sent
_DIRECT_RGB = hasattr(cv2, "IMREAD_COLOR_RGB")  # OpenCV 4.11 and later
_AS_STORED = cv2.IMREAD_IGNORE_ORIENTATION  # turned here, by the header that was checked
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}
_PART = 2**20  # values of deep pixels that are brought to 8 bits at once
_ENDS = (b"\xff\xd9", b"IEND")  # of a whole JPEG and a whole PNG
# Formats whose pixels may have more than 8 bits; PNG is looked at more closely.
_DEEP = ("tiff", "pnm", "hdr")
_ANY_DEPTH = cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH
_PILLOW_DEEP = ("I", "F")  # and those that begin with "I;16"
# Sizes of integers that cameras and scanners deliver within larger ones.
_BITS = (8, 10, 12, 14, 16)
# What Pillow may open: pictures that cameras and scanners write. Others of its formats start other
# programs (EPS, WMF) or hold pictures in pictures (ICO).
_PILLOW = (
    "AVIF", "BMP", "DDS", "DIB", "GIF", "HEIF", "JPEG", "JPEG2000", "MPO", "PCX", "PNG", "PPM",
    "PSD", "QOI", "SGI", "TGA", "TIFF", "WEBP",
)  # fmt: skip
# How files begin that are none of these, and what they are called.
_OTHERS = {
    b"\xff\x0a": "a JPEG XL picture",
    b"\0\0\0\x0cJXL ": "a JPEG XL picture",
    b"8BPS": "a Photoshop file",
    b"%PDF": "a PDF document",
    b"<svg": "a drawing (SVG)",
    b"<?xml": "a drawing or another XML file",
    b"<!DOCTYPE": "a web page",
    b"<html": "a web page",
    b"II*\0\x10\0\0\0CR": "a raw picture of a camera",
    b"FUJIFILM": "a raw picture of a camera",
    b"\0\0\x01\0": "an icon",
    b"PK\x03\x04": "an archive",
    b"version https://git-lfs": "a pointer of Git LFS instead of the file itself",
}
_HEIF_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")


def read_image(source: Path | bytes, max_pixels: int = MAX_PIXELS) -> np.ndarray:
    """Read a picture as RGB.

    EXIF orientation is applied; grey, palette, alpha and CMYK pictures are converted; those of more
    than 8 bits and of fractions are brought to 8 bits by their range (`to_eight_bits`). HEIC is
    read where `pillow-heif` is installed.

    Args:
        source: a path, or the bytes of a file.
        max_pixels: pictures whose header announces more are refused before decoding.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        DataError: if the file is missing, empty, truncated, not a picture, or too large.

    Example:

    >>> read_image(encode_image(np.zeros((4, 6, 3), np.uint8), ".png")).shape
    (4, 6, 3)
    """
    return read_reduced(source, 1, max_pixels)[0]


def read_reduced(
    source: Path | bytes, reduction: int, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, int]:
    """Read a picture as RGB, a JPEG at a fraction of its size, which is faster.

    Pixel `x` of the result is the mean of the source's pixels `r x` to `r x + r - 1`, so its
    centre lies at `r x + (r - 1) / 2` in source pixels.

    Args:
        source: a path, or the bytes of a file.
        reduction: wanted divisor of width and height: 1, 2, 4 or 8.
        max_pixels: pictures whose header announces more are refused before decoding.

    Returns:
        `(height, width, 3)` uint8 RGB array and the divisor `r` that was used: 1 for other
        formats and for pictures that EXIF turns.

    Raises:
        DataError: if the file is missing, empty, truncated, not a picture, or too large.

    Example:

    >>> image, divisor = read_reduced(encode_image(np.zeros((40, 60, 3), np.uint8), ".jpg"), 2)
    >>> image.shape, divisor
    ((20, 30, 3), 2)
    """
    data, name = _load(source)
    header = read_header(data)
    if header is None:
        return _decode_with_pillow(data, name, max_pixels), 1
    check_pixels((header.height, header.width), max_pixels, name)
    if header.fault:
        raise _damaged(name, header.fault)
    if header.kind != "jpeg" or header.orientation != 1:
        reduction = 1
    image = _decode(data, header, reduction) if _ends(data, header) else None
    if image is None:
        image, reduction = _decode_with_pillow(data, name, max_pixels, header), 1
    stored = tuple(-(-length // reduction) for length in (header.height, header.width))
    if image.shape[:2] != stored:
        raise _damaged(name, f"its header says {header.width}×{header.height}")
    return _turned(image, header.orientation), reduction


def to_eight_bits(values: np.ndarray) -> np.ndarray:
    """Pixels of any type as 8 bits, by the range that they use.

    Integers are taken for as many bits as the largest needs: 8, 10, 12, 14 or 16; fractions for
    shares of white where none is above 1, else like integers. Above 16 bits, where no camera has
    its white, the largest is white; with negative numbers the least becomes black as well.

    Args:
        values: array of real numbers; what is not finite counts as 0.

    Returns:
        uint8 array of the same shape.

    Example:

    >>> to_eight_bits(np.array([0, 2048, 4095], np.uint16)).tolist()  # 12 bits
    [0, 128, 255]
    >>> to_eight_bits(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 128, 255]
    """
    values = np.asarray(values)
    if values.dtype == np.uint8 or not values.size:
        return values.astype(np.uint8)
    fractions = values.dtype.kind in "fb"
    # A part at a time: as numbers of 64 bits a picture of 50 million pixels takes gigabytes.
    flat = values.reshape(-1)
    parts = [slice(start, start + _PART) for start in range(0, flat.size, _PART)]
    ends = [(part.min(), part.max()) for part in (_finite(flat[part]) for part in parts)]
    low, high = min(0.0, *(float(end) for end, _ in ends)), max(float(end) for _, end in ends)
    if low < 0:
        white = high
    elif fractions and high <= 1:
        white = 1.0
    else:
        white = next((2.0**bits - 1 for bits in _BITS if high <= 2.0**bits - 1), high)
    result = np.empty(flat.shape, np.uint8)
    for part in parts:
        result[part] = ((_finite(flat[part]) - low) * (255 / max(white - low, 1e-300))).round()
    return result.reshape(values.shape)


def _finite(values):
    """Numbers of 64 bits, 0 in the place of what is no number."""
    return np.nan_to_num(values.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)


def _decode(data, header, reduction):
    """OpenCV's decoder, pixels as they are stored; `None` where it gives up, whatever it raises."""
    deep = header.kind in _DEEP or (header.kind == "png" and data[24:25] == b"\x10")
    flags = (cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH) if deep else _REDUCED[reduction]
    if _DIRECT_RGB and not deep:
        flags = (flags & ~cv2.IMREAD_COLOR) | cv2.IMREAD_COLOR_RGB
    # imdecode prints to stderr and returns None, or raises, depending on what is wrong.
    try:
        image = cv2.imdecode(np.frombuffer(_upright(data, header), np.uint8), flags | _AS_STORED)
    except Exception:
        return None
    if image is None:
        return None
    if not deep:
        return image if _DIRECT_RGB else cv2.cvtColor(image, cv2.COLOR_BGR2RGB)
    image = to_eight_bits(image)
    if image.ndim == 2:
        return np.repeat(image[..., None], 3, axis=2)
    return np.ascontiguousarray(image[..., 2::-1])


def _upright(data, header):
    """The file, of a TIFF with another orientation: OpenCV turns these, whatever it is told."""
    if header.orientation == 1 or not header.turned_at:
        return data
    changed = bytearray(data)
    for at, size, order in header.turned_at:
        changed[at : at + size] = (1).to_bytes(size, order)
    return changed


def _turned(image, orientation):
    """Stored pixels the way EXIF's orientation shows them."""
    if orientation == 1:
        return image
    image = image.transpose(1, 0, 2) if orientation >= 5 else image
    image = image[:, ::-1] if orientation in (2, 3, 6, 7) else image
    return np.ascontiguousarray(image[::-1] if orientation in (3, 4, 7, 8) else image)


def image_size(source: Path | bytes, name: str | None = None) -> Size:
    """Height and width from a picture's header, before EXIF rotation, without decoding it.

    Args:
        source: a path, or the bytes of a file.
        name: what to call it in errors.

    Returns:
        `(height, width)` in pixels.

    Raises:
        DataError: if the file is missing, empty or not a picture.

    Example:

    >>> image_size(encode_image(np.zeros((4, 6, 3), np.uint8), ".png"))
    (4, 6)
    """
    return _announced(source, name)[:2]


def check_pixels(size: Size, max_pixels: int = MAX_PIXELS, name: str = "a picture") -> None:
    """Refuse a picture with too many pixels, before it is decoded.

    Args:
        size: `(height, width)` from its header, in pixels.
        max_pixels: the most it may have.
        name: what to call it in errors.

    Raises:
        DataError: if there are more.

    Example:

    >>> check_pixels((20_000, 20_000))
    Traceback (most recent call last):
    ...
    keras_hourglass.errors.DataError: Pictures may have at most 50,000,000 pixels. ...
    """
    height, width = size
    if height * width > max_pixels:
        raise DataError(
            f"Pictures may have at most {max_pixels:,} pixels. Received: {name} with "
            f"{width}×{height}. Make it smaller first."
        )


def stored_size(source: Path | bytes) -> tuple[int, int, int]:
    """Height and width of a picture as its pixels are stored, and how EXIF turns it.

    Of a file only the header is read.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        `(height, width, orientation)`: pixels, and EXIF's number, 1 where there is none.

    Raises:
        DataError: if the file is missing, empty or not a picture.

    Example:

    >>> stored_size(encode_image(np.zeros((4, 6, 3), np.uint8), ".png"))
    (4, 6, 1)
    """
    return _announced(source)


def _announced(source, name=None):
    """Height, width and orientation from the header, of a file without reading the rest."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = _load(source)[0], name or "bytes"
        header = read_header(data)
    else:
        found = os.fspath(source)
        name = name or found
        with _opened(found) as file:
            header = read_header(file)
            data = file.read() if header is None else b""
    if header is not None:
        return header.height, header.width, header.orientation
    with _open_with_pillow(data, name) as image:
        return image.height, image.width, _orientation(image)


def shown_size(source: Path | bytes) -> Size:
    """Height and width of a picture as `read_image` returns it, that is after EXIF rotation.

    Args:
        source: a path, or the bytes of a file.

    Returns:
        `(height, width)` in pixels.

    Raises:
        DataError: if the file is missing, empty or not a picture.

    Example:

    >>> shown_size(encode_image(np.zeros((4, 6, 3), np.uint8), ".png"))
    (4, 6)
    """
    height, width, orientation = stored_size(source)
    return (width, height) if orientation >= 5 else (height, width)


def warp(image: np.ndarray, matrix: Array, size: Size) -> np.ndarray:
    """Resample a picture through an affine map, bilinearly, once; black outside.

    Args:
        image: `(height, width, 3)` uint8 source picture.
        matrix: `(2, 3)` map from source to input pixels, see `geometry.crop_affine`.
        size: `(height, width)` of the crop in input pixels.

    Returns:
        `(*size, 3)` uint8 crop.

    Example:

    >>> to_the_right = [[1, 0, 2], [0, 1, 0]]
    >>> warp(np.full((1, 3, 3), 9, np.uint8), to_the_right, (1, 4))[0, :, 0].tolist()
    [0, 0, 9, 9]
    """
    return cv2.warpAffine(
        image, np.asarray(matrix, np.float64), (size[1], size[0]), flags=cv2.INTER_LINEAR
    )


def paste_scaled(
    image: np.ndarray, factor: float, corner: Array, size: Size, fill: int = 0
) -> tuple[np.ndarray, tuple[float, float]]:
    """A picture at another size on a canvas; where it shrinks, areas are averaged.

    Args:
        image: `(height, width, 3)` uint8 picture.
        factor: canvas pixels per source pixel; the scaled picture has whole pixels.
        corner: `x, y` of its upper left corner on the canvas, whole pixels, perhaps outside.
        size: `(height, width)` of the canvas.
        fill: value of the canvas elsewhere.

    Returns:
        `(*size, 3)` uint8 canvas, and the factors along x and y that whole pixels led to.

    Example:

    >>> canvas, factors = paste_scaled(np.full((2, 4, 3), 9, np.uint8), 0.5, (1, 0), (2, 4))
    >>> canvas[..., 0].tolist(), factors
    ([[0, 9, 9, 0], [0, 0, 0, 0]], (0.5, 0.5))
    """
    height, width = image.shape[:2]
    scaled = max(1, round(width * factor)), max(1, round(height * factor))
    way = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    small = cv2.resize(image, scaled, interpolation=way)
    canvas = np.full((*size, 3), fill, np.uint8)
    left, top = (int(value) for value in corner)
    right, bottom = min(left + scaled[0], size[1]), min(top + scaled[1], size[0])
    x, y = max(left, 0), max(top, 0)
    if x < right and y < bottom:
        canvas[y:bottom, x:right] = small[y - top : bottom - top, x - left : right - left]
    return canvas, (scaled[0] / width, scaled[1] / height)


def encode_image(image: np.ndarray, suffix: str) -> bytes:
    """An RGB picture as the bytes of a file.

    Args:
        image: `(height, width, 3)` uint8 RGB array.
        suffix: names the format, e.g. `".png"`.

    Returns:
        `bytes`.

    Raises:
        DataError: if the suffix names no format that can be written.

    Example:

    >>> encode_image(np.zeros((4, 6, 3), np.uint8), ".png")[1:4]
    b'PNG'
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


def write_image(path: Path, image: np.ndarray) -> None:
    """Write an RGB picture atomically; the suffix names the format.

    Args:
        path: the file, e.g. `pose.png`.
        image: `(height, width, 3)` uint8 RGB array.

    Raises:
        DataError: if the suffix names no format that can be written.

    Example:

    >>> write_image("black.png", np.zeros((4, 6, 3), np.uint8))  # doctest: +SKIP
    """
    atomic_write(path, encode_image(image, pathlib.Path(path).suffix))


def _load(source):
    """The bytes of a source and its name in messages."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        data, name = bytes(source), "bytes"
    else:
        name = os.fspath(source)
        with _opened(name) as file:
            data = file.read()
    if not data:
        raise _empty(name)
    return data, name


def _opened(name):
    try:
        file = open_picture(name)
    except (OSError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        reason = getattr(error, "strerror", None) or str(error)
        raise DataError(
            f"A readable picture is needed. Received: {name} ({reason}). "
            "Correct the path or its permissions."
        ) from error
    if not os.fstat(file.fileno()).st_size:
        file.close()
        raise _empty(name)
    return file


def _empty(name):
    return DataError(
        f"A picture is needed. Received: {name}, which is empty. Replace or leave it out."
    )


def _damaged(name, reason):
    return DataError(
        f"A whole picture is needed. Received: {name}, which is truncated or damaged "
        f"({one_line(reason, 80)}). Replace or leave out that file."
    )


def _ends(data, header):
    """Whether a JPEG or PNG has its end; OpenCV would fill up the rest with grey."""
    return header.kind not in ("jpeg", "png") or any(end in data[-1024:] for end in _ENDS)


def _orientation(image):
    """EXIF's number for how a Pillow image is turned."""
    try:
        found = image.getexif().get(ORIENTATION, 1)
    except Exception:  # of damaged data
        return 1
    return found if found in range(1, 9) else 1


def from_pillow(image: Image.Image) -> np.ndarray:
    """A Pillow image as RGB, turned the way its EXIF data say, as `read_image` gives its file.

    Args:
        image: a `PIL.Image.Image` of any mode.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        OSError, ValueError, SyntaxError, EOFError: if it cannot be decoded.

    Example:

    >>> from_pillow(Image.new("I;16", (6, 4), 4095))[0, 0].tolist()
    [255, 255, 255]
    """
    return _rgb(ImageOps.exif_transpose(image))


def _rgb(image):
    """Pixels of a Pillow image as they are stored."""
    if image.mode in _PILLOW_DEEP or image.mode.startswith("I;16"):
        return np.repeat(to_eight_bits(np.asarray(image))[..., None], 3, axis=2)
    return np.array(image.convert("RGB"))


def _open_with_pillow(data, name):
    """Pillow's image of a file, its header read.

    Raises:
        DataError: if Pillow cannot, whatever its decoders raise.
    """
    _prepare(data, name)
    try:
        return Image.open(io.BytesIO(data), formats=_known_to_pillow())
    except Image.DecompressionBombError as error:
        raise DataError(
            f"Pictures may have at most {MAX_PIXELS:,} pixels. Received: {name} "
            f"({one_line(error)}). Make it smaller first."
        ) from error
    except Exception as error:
        what = next((what for start, what in _OTHERS.items() if data.startswith(start)), None)
        remedy = (
            "Replace or leave out that file." if what is None else "Convert it, or leave it out."
        )
        raise DataError(
            "A picture (JPEG, PNG, …) is needed. Received: "
            f"{name}, which is {what or 'none or is damaged'}. {remedy}"
        ) from error


def _known_to_pillow():
    Image.init()
    return [kind for kind in _PILLOW if kind in Image.OPEN]


def _decode_with_pillow(data, name, max_pixels, header: Header | None = None):
    """Decode strictly and slowly what OpenCV refuses or takes too lightly.

    With a header the pixels as they are stored; without, turned as Pillow's EXIF says.
    """
    with _open_with_pillow(data, name) as image:
        size = image.size
        check_pixels(size[::-1], max_pixels, name)
        # Decoders of damaged files raise a dozen types, and nothing that they share.
        try:
            image.load()
            if image.size != size:
                raise ValueError(f"{image.width}×{image.height} pixels, {size} announced")
            return from_pillow(image) if header is None else _rgb(image)
        except Exception as error:
            raise _damaged(name, error) from error


def _prepare(data, name):
    """Make Pillow able to read HEIC, or say what would be.

    Raises:
        DataError: if it is HEIC and nothing here reads it.
    """
    if data[4:8] != b"ftyp" or data[8:12] not in _HEIF_BRANDS:
        return
    length = min(int.from_bytes(data[:4], "big"), 256)
    if data[8:10] == b"mi" and b"avif" in data[12:length]:
        return
    try:
        pillow_heif = optional("pillow_heif")
    except ImportError:
        raise DataError(
            f"HEIC pictures are read by pillow-heif, which is not installed. Received: {name}. "
            'Install it with: pip install "keras_hourglass[heif]", or convert the file to JPEG.'
        ) from None
    pillow_heif.register_heif_opener()
