"""Pictures in the served graph: the crop that Python makes, or none; nothing decoded unchecked."""

import io
import resource
import struct
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_hourglass.geometry import crop_affine
from keras_hourglass.io import images

tf = pytest.importorskip("tensorflow")

from keras_hourglass.export.in_graph import PictureReader  # noqa: E402

SIZE = (64, 96)


@pytest.fixture(scope="module")
def read():
    """The reader as it is served: a function of encoded pictures."""
    reader = PictureReader(SIZE)
    return tf.function(reader, autograph=False, input_signature=[tf.TensorSpec((None,), tf.string)])


def drawn():
    coarse = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (80, 60), interpolation=cv2.INTER_LINEAR)


def saved(kind, image=None, mode=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(drawn() if image is None else image)
    (image.convert(mode) if mode else image).save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(kind, number):
    exif = Image.Exif()
    exif[274] = number
    return saved(kind, exif=exif, **({"quality": 95} if kind == "JPEG" else {}))


def chunk(kind, data):
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def assert_as_python(read, data, tolerance=0.6):
    """The same crop, level for level on average."""
    crops, _, valid = (part.numpy() for part in read(tf.constant([data])))
    assert valid.tolist() == [True]
    image = images.read_image(data)
    height, width = image.shape[:2]
    # The whole picture, centred.
    box = ((width - 1) / 2, (height - 1) / 2, max(width, height))
    wanted = images.warp(image, crop_affine(box, SIZE), SIZE)
    assert np.abs(crops[0] - wanted).mean() < tolerance


@pytest.mark.slow
@pytest.mark.parametrize("number", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_pictures_are_turned_as_exif_says(read, kind, number):
    assert_as_python(read, with_orientation(kind, number))


KINDS = [
    ("PNG", None), ("PNG", "L"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "RGBA"), ("PNG", "1"),
    ("JPEG", None), ("JPEG", "L"), ("JPEG", "CMYK"),
]  # fmt: skip


@pytest.mark.parametrize("kind, mode", KINDS)
def test_pictures_of_every_mode(read, kind, mode):
    assert_as_python(read, saved(kind, mode=mode))


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_pictures_of_more_than_eight_bits(read, bits):
    steps = np.linspace(0, 2**bits - 1, 60 * 80).reshape(60, 80).astype(np.uint16)
    assert_as_python(read, saved("PNG", steps))


def unsure():
    """Pictures that are read in more than one way."""
    turned = with_orientation("PNG", 6)
    start = turned.index(b"eXIf") - 4
    length = 12 + struct.unpack_from(">I", turned, start)[0]
    exif, plain = turned[start : start + length], turned[:start] + turned[start + length :]
    cmyk = saved("JPEG", mode="CMYK")
    adobe = cmyk.index(b"\xff\xee")
    unmarked = cmyk[:adobe] + cmyk[adobe + 2 + struct.unpack_from(">H", cmyk, adobe + 2)[0] :]
    return {
        "EXIF behind the pixels": plain[:-12] + exif + plain[-12:],
        "four inks that may be inverted": unmarked,
        "a chunk longer than the file": plain[:33] + struct.pack(">I", 2**32 - 9) + plain[37:],
    }


@pytest.mark.parametrize("name", unsure())
def test_what_is_read_in_several_ways_is_not_valid(read, name):
    data = unsure()[name]
    assert read(tf.constant([data]))[2].numpy().tolist() == [False]


def test_nothing_is_decoded_before_its_header_was_checked(read):
    """Four pictures of 20,000×20,000 and of 7,000×7,000 pixels in a few hundred bytes."""
    small = saved("JPEG", mode="L")
    place = small.index(b"\xff\xc0") + 5

    def jpeg(side):
        return small[:place] + struct.pack(">HH", side, side) + small[place + 4 :]

    def png(side):
        body = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        pixels = chunk(b"IDAT", zlib.compress(bytes(1000)))
        return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body) + pixels + chunk(b"IEND", b"")

    read(tf.constant([small]))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    _, _, valid = read(tf.constant([jpeg(20_000), png(20_000), jpeg(7_000), png(7_000)] * 4))
    assert not valid.numpy().any()
    # Decoded, one of the smallest alone takes 49 MB, the others 400 each and more.
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40 * 1024


def test_bad_pictures_leave_their_neighbours(read):
    good = saved("PNG")
    batch = [b"", good, b"GIF89a", next(iter(unsure().values())), good]
    assert read(tf.constant(batch))[2].numpy().tolist() == [False, True, False, False, True]
