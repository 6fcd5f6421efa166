"""Headers of pictures: read within bounds, as the decoders read them, before they decode."""

import io
import os
import struct
import subprocess
import sys
import zlib

import cv2
import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from PIL import Image, features

from keras_hourglass.errors import DataError
from keras_hourglass.io import headers, images

ORIENTATIONS = range(1, 9)
# Asked for it by name, Pillow 10 warns that it knows of no such thing.
AVIF = "avif" in features.get_supported()


def drawn():
    """30×44, every corner another colour."""
    image = np.full((30, 44, 3), 128, np.uint8)
    image[:15, :22], image[15:, 22:], image[:15, 22:] = (250, 10, 20), (10, 20, 250), (20, 240, 10)
    return image


def saved(kind, image=None, **options):
    buffer = io.BytesIO()
    image = Image.fromarray(drawn() if image is None else image)
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def with_orientation(kind, number, **options):
    exif = Image.Exif()
    exif[274] = number
    return saved(kind, exif=exif, **options)


def chunk(kind, data, length=None):
    body = kind + data
    length = len(data) if length is None else length
    return struct.pack(">I", length) + body + struct.pack(">I", zlib.crc32(body))


def png(width, height, *chunks, bits=8, kind=2):
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join((chunk(b"IHDR", header), *chunks, chunk(b"IEND", b"")))


def segment(marker, data):
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def frame(width, height, marker=0xC0):
    return segment(marker, struct.pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0]))


def tiff(*entries, order=">", end=b""):
    body = b"".join(struct.pack(f"{order}HHI", tag, 4, 1) + struct.pack(f"{order}I", value)
                    for tag, value in entries)  # fmt: skip
    start = b"MM\0*" if order == ">" else b"II*\0"
    return start + struct.pack(f"{order}IH", 8, len(entries)) + body + bytes(4) + end


# Each announces 30,000 columns and 20,000 rows within a few bytes.
BOMBS = {
    "png": png(30000, 20000, chunk(b"IDAT", b"")),
    "jpeg": b"\xff\xd8" + frame(30000, 20000) + bytes(300),
    "jpeg, progressive": b"\xff\xd8" + frame(30000, 20000, 0xC2),
    # What a reader of lengths takes for a segment that hides the size, and libjpeg for none.
    "jpeg, marker without length": b"\xff\xd8\xff\x01" + frame(30000, 20000) + frame(10, 10),
    "jpeg, restart before": b"\xff\xd8\xff\xd3" + frame(30000, 20000),
    "jpeg, fill and rubbish": b"\xff\xd8rubbish\xff\xff\xff" + frame(30000, 20000)[1:],
    "jpeg, stuffed zero": b"\xff\xd8\xff\0\0" + frame(30000, 20000),
    "jpeg, lossless": b"\xff\xd8" + frame(30000, 20000, 0xC3),
    "bmp": b"BM" + bytes(12) + struct.pack("<IiiHHII", 40, 30000, -20000, 1, 24, 0, 0) + bytes(16),
    "bmp, old": b"BM" + bytes(12) + struct.pack("<IHHHH", 12, 30000, 20000, 1, 24),
    "webp": b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + (29999).to_bytes(3, "little")
            + (19999).to_bytes(3, "little"),
    "tiff": tiff((256, 30000), (257, 20000)),
    "tiff, twins": tiff((256, 3), (256, 30000), (257, 20000), order="<"),
    "big tiff": b"MM\0+\0\x08\0\0" + struct.pack(">QQ", 16, 2)
                + struct.pack(">HHQQ", 256, 4, 1, 30000 << 32)
                + struct.pack(">HHQQ", 257, 4, 1, 20000 << 32),
    "pnm": b"P6 # a word\n30000\t20000 255\n",
    "pam": b"P7\nWIDTH 30000\nHEIGHT 20000\nDEPTH 3\nMAXVAL 255\nENDHDR\n",
    "pfm": b"PF\n30000 20000\n-1.0\n",
    "hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 30000\n",
    "gif": b"GIF89a" + struct.pack("<HHBBB", 30000, 20000, 0, 0, 0)
           + b",\0\0\0\0\x01\0\x01\0\0\x02\x02\x4c\x01\0;",
}  # fmt: skip


@pytest.mark.parametrize("data", BOMBS.values(), ids=BOMBS)
def test_bombs_of_every_format(data):
    with pytest.raises(DataError, match="at most 50,000,000 pixels.*(30000×20000|600000000)"):
        images.read_image(data)


FAULTS = {
    "a chunk of 4 GB": (png(60, 48, chunk(b"eXIf", b"", 0xFF000000)), "4278190080 bytes"),
    "a frame larger than the picture":
        (png(60, 48, chunk(b"fcTL", struct.pack(">5I", 0, 9000, 9000, 0, 0))), "9000×9000"),
    "no pixels behind a size": (png(7000, 7000, chunk(b"IDAT", b"")), "bytes for 7000×7000"),
    "jpeg of nothing": (b"\xff\xd8" + frame(7000, 7000) + b"\xff\xd9", "bytes for 7000×7000"),
    "bmp of nothing": (BOMBS["bmp"].replace(struct.pack("<i", 30000), struct.pack("<i", 2000)),
                       "bytes for 2000×20000"),
    "pgm of nothing": (b"P5 7000 7000 255\n", "bytes for 7000×7000"),
    "huge tiles": (tiff((256, 60), (257, 48), (322, 60000), (323, 60000)), "60000×60000"),
    "a thousand channels": (tiff((256, 60), (257, 48), (277, 1000)), "1000 values"),
}  # fmt: skip


@pytest.mark.parametrize("data, reason", FAULTS.values(), ids=FAULTS)
def test_what_is_refused_before_a_decoder_sees_it(data, reason, monkeypatch):
    monkeypatch.setattr(images, "_decode", None)
    monkeypatch.setattr(images, "_decode_with_pillow", None)
    with pytest.raises(DataError, match=reason) as caught:
        images.read_image(data)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_every_scan_of_a_jpeg_costs_as_much_as_a_picture():
    """Hours of a decoder in as many bytes as a server takes."""
    data = saved("JPEG", progressive=True)
    own, last = data.count(b"\xff\xda"), data.rfind(b"\xff\xda")
    scan, most = data[last:-2], headers.MAX_SCANS - own
    assert own == 10  # of Pillow's and everybody's progressive pictures
    assert headers.read_header(data[:-2] + scan * most + data[-2:]).fault is None
    bomb = data[:-2] + scan * (most + 1) + data[-2:]
    with pytest.raises(DataError, match="more than 100 scans"):
        images.read_image(bomb)
    # What stands in a preview or behind the end is none: videos of phones lie there.
    assert headers.read_header(data + scan * 200).fault is None
    preview = b"\xff\xe2" + (2 + 400).to_bytes(2, "big") + b"\xff\xda" * 200
    assert headers.read_header(data[:2] + preview + data[2:]).fault is None


def test_pictures_of_one_colour_are_no_bombs():
    """The least that honest encoders make of so many pixels."""
    blank = np.full((1500, 2000, 3), 255, np.uint8)
    for kind, options in (
        ("PNG", {}), ("JPEG", {"progressive": True, "optimize": True, "quality": 5}),
        ("WEBP", {"lossless": True}), ("BMP", {}), ("PPM", {}), ("GIF", {}), ("TIFF", {}),
    ):  # fmt: skip
        assert images.read_image(saved(kind, blank, **options)).shape == (1500, 2000, 3), kind
    bits = io.BytesIO()
    Image.new("1", (4000, 3000), 1).save(bits, "PNG", optimize=True)
    assert images.read_image(bits.getvalue()).mean() == 255


KINDS = ["PNG", "JPEG", "WEBP", "BMP", "TIFF", "PPM", "GIF", "JPEG2000"]


@pytest.mark.parametrize("kind", KINDS)
def test_sizes_are_those_that_pillow_reads(tmp_path, kind):
    data = saved(kind)
    (tmp_path / "a").write_bytes(data)
    for source in (data, tmp_path / "a"):
        assert images.image_size(source) == (30, 44)
        assert images.stored_size(source) == (30, 44, 1)
    header = headers.read_header(data)
    assert (header is None) == (kind in ("GIF", "JPEG2000"))


TURNED = [("JPEG", {"quality": 95}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {}),
          ("TIFF", {"compression": "tiff_lzw"}), ("TIFF", {"compression": "jpeg"})]  # fmt: skip


@pytest.mark.parametrize("number", ORIENTATIONS)
@pytest.mark.parametrize("kind, options", TURNED, ids=[str(turned) for turned in TURNED])
def test_every_format_is_turned_as_its_size_says(kind, options, number):
    data = with_orientation(kind, number, **options)
    with Image.open(io.BytesIO(data)) as image:
        wanted = images.from_pillow(image)
    read = images.read_image(data)
    assert read.shape[:2] == images.shown_size(data) == ((44, 30) if number > 4 else (30, 44))
    assert images.stored_size(data) == (30, 44, number)
    assert np.abs(read.astype(int) - wanted).mean() < 8


@pytest.mark.skipif("avif" not in features.get_supported(), reason="Pillow without AVIF")
@pytest.mark.parametrize("number", ORIENTATIONS)
def test_avif_is_turned_as_its_size_says(number):
    data = with_orientation("AVIF", number, quality=95)
    with Image.open(io.BytesIO(data)) as image:
        wanted = images.from_pillow(image)
    read = images.read_image(data)
    assert read.shape[:2] == images.shown_size(data)
    np.testing.assert_array_equal(read, wanted)


def test_a_deep_tiff_is_turned_once():
    deep = np.zeros((30, 44), np.uint16)
    deep[:15, :22] = 65535
    exif = Image.Exif()
    exif[274] = 6
    read = images.read_image(saved("TIFF", deep, exif=exif))
    assert read.shape == (44, 30, 3) and read[5, 24, 0] == 255 and read[38, 5, 0] == 0


def damaged_avif():
    if "avif" not in features.get_supported():
        pytest.skip("Pillow without AVIF")
    data = saved("AVIF")
    return data[:-200] + bytes(200)


def damaged_dds():
    return b"DDS " + struct.pack("<7I", 124, 0x1007, 48, 60, 0, 0, 0) + bytes(44) + bytes(2000)


@pytest.mark.parametrize("make", [damaged_avif, damaged_dds])
def test_whatever_a_decoder_raises_is_the_fault_of_that_picture(tmp_path, make):
    (tmp_path / "bad.jpg").write_bytes(make())
    with pytest.raises(DataError, match=r"bad.jpg") as caught:
        images.read_image(tmp_path / "bad.jpg")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))


@pytest.mark.parametrize("error", [RuntimeError, NotImplementedError, MemoryError, struct.error])
def test_any_error_of_a_decoder(monkeypatch, error):
    def fails(*_):
        raise error("as it pleases")

    files = [saved(kind) for kind in ("PNG", "TIFF", "GIF")]
    monkeypatch.setattr(cv2, "imdecode", fails)
    monkeypatch.setattr(Image.Image, "convert", fails)
    for data in files:
        with pytest.raises(DataError, match="as it pleases"):
            images.read_image(data)


def test_pipes_and_devices_are_no_pictures(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    for path in (tmp_path / "pipe.jpg", "/dev/zero"):
        for read in (images.read_image, images.image_size, images.stored_size):
            with pytest.raises(DataError, match="a pipe or a device"):
                read(path)


def test_files_without_end_are_not_read(tmp_path):
    with open(tmp_path / "huge.jpg", "wb") as file:
        file.write(b"\xff\xd8")
        file.truncate(3 * 2**30)
    with pytest.raises(DataError, match="at most 1024 MB.*with 3072 MB"):
        images.read_image(tmp_path / "huge.jpg")


def test_no_program_is_started_for_a_picture(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "check_call", None)
    monkeypatch.setattr(subprocess, "Popen", None)
    (tmp_path / "a.jpg").write_bytes(
        b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 60 48\n%%EndComments\nshowpage\n%%EOF\n"
    )
    with pytest.raises(DataError, match="none or is damaged"):
        images.read_image(tmp_path / "a.jpg")


def test_the_limit_of_others_is_left_alone():
    """Other users of Pillow in the process keep its guard."""
    code = (
        "from PIL import Image; before = Image.MAX_IMAGE_PIXELS;"
        "import keras_hourglass.io.images; assert Image.MAX_IMAGE_PIXELS == before > 0"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


SEEDS = [saved(kind) for kind in (*KINDS, "AVIF" if AVIF else "DDS", "DDS")]
SEEDS += [with_orientation("JPEG", 6), with_orientation("PNG", 6), with_orientation("TIFF", 6)]
places = st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), max_size=8)


@hypothesis.settings(
    max_examples=300, deadline=None, derandomize=True,
    suppress_health_check=list(hypothesis.HealthCheck),
)  # fmt: skip
@hypothesis.given(st.sampled_from(SEEDS), places, st.integers(0, 400))
@hypothesis.example(SEEDS[-1], [(12, 6)], 400)  # a width with a sign
@hypothesis.example(SEEDS[-1], [(24, 13)], 400)  # a height that is an offset
def test_any_picture_is_read_or_refused_in_one_line(data, changes, cut):
    data = bytearray(data)
    for place, value in changes:
        data[place % min(len(data), 600)] = value
    data = bytes(data[: len(data) - (cut if cut < 100 else 0)])
    try:
        image = images.read_image(data)
    except DataError as error:
        assert "\n" not in str(error) and len(str(error)) < 300
    else:
        assert image.dtype == np.uint8 and image.shape == (*images.shown_size(data), 3)
