"""Pictures of every kind, whole and broken."""

import struct
import sys
import tracemalloc
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from keras_hourglass.errors import DataError
from keras_hourglass.geometry import crop_affine
from keras_hourglass.io import images


@pytest.fixture
def picture():
    """30×44 RGB with a red top left and a blue bottom right quarter."""
    image = np.full((30, 44, 3), 128, np.uint8)
    image[:15, :22] = (250, 10, 20)
    image[15:, 22:] = (10, 20, 250)
    return image


def _saved(path, image, **options):
    Image.fromarray(image).save(path, **options)
    return path


def test_png_round_trip(tmp_path, picture):
    images.write_image(tmp_path / "a.png", picture)
    np.testing.assert_array_equal(images.read_image(tmp_path / "a.png"), picture)
    np.testing.assert_array_equal(images.read_image((tmp_path / "a.png").read_bytes()), picture)
    assert images.image_size(tmp_path / "a.png") == (30, 44)


def test_channels_are_rgb_in_jpeg(tmp_path, picture):
    image = images.read_image(_saved(tmp_path / "a.jpg", picture, quality=95))
    assert np.abs(image[5, 5].astype(int) - (250, 10, 20)).max() < 12


@pytest.mark.parametrize(
    "orientation, corner",
    [(1, (5, 5)), (3, (24, 38)), (6, (5, 24)), (8, (38, 5)), (2, (5, 38))],
)
def test_exif_orientation_is_applied(tmp_path, picture, orientation, corner):
    exif = Image.Exif()
    exif[274] = orientation
    path = _saved(tmp_path / "turned.jpg", picture, quality=95, exif=exif)
    image = images.read_image(path)
    assert image.shape == ((44, 30, 3) if orientation in (6, 8) else (30, 44, 3))
    # Where the red quarter lies once the camera is held upright.
    assert np.abs(image[corner].astype(int) - (250, 10, 20)).max() < 12


def test_grey_sixteen_bit_alpha_palette_and_cmyk(tmp_path, picture):
    grey = np.arange(30 * 44).reshape(30, 44)
    cv2.imwrite(str(tmp_path / "deep.png"), (grey * 40).astype(np.uint16))
    deep = images.read_image(tmp_path / "deep.png")
    assert deep.shape == (30, 44, 3) and abs(int(deep[29, 43, 0]) - 1319 * 40 // 256) <= 1
    plain = images.read_image(_saved(tmp_path / "grey.jpg", (grey % 256).astype(np.uint8)))
    assert (plain[..., 0] == plain[..., 2]).all()
    alpha = np.dstack([picture, np.full((30, 44), 200, np.uint8)])
    np.testing.assert_array_equal(images.read_image(_saved(tmp_path / "a.png", alpha)), picture)
    Image.fromarray(picture).quantize(8).save(tmp_path / "palette.png")
    assert images.read_image(tmp_path / "palette.png").shape == (30, 44, 3)
    Image.fromarray(picture).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    cmyk = images.read_image(tmp_path / "cmyk.jpg")
    assert np.abs(cmyk[5, 5].astype(int) - (250, 10, 20)).max() < 20


BITS = [(np.uint16, 10), (np.uint16, 12), (np.uint16, 14), (np.uint16, 16), (np.int32, 24)]


@pytest.mark.parametrize("kind, bits", BITS)
def test_more_than_eight_bits_by_their_range(tmp_path, kind, bits):
    """By a path and by a Pillow image alike; white is the largest number of so many bits."""
    steps = np.linspace(0, 2**bits - 1, 30 * 44).reshape(30, 44).astype(kind)
    wanted = (steps * (255 / (2**bits - 1))).round().astype(np.uint8)
    for suffix in (".png", ".tif") if kind == np.uint16 else (".tif",):
        path = tmp_path / f"a{suffix}"
        Image.fromarray(steps).save(path)
        for image in (images.read_image(path), images.from_pillow(Image.open(path))):
            assert image.shape == (30, 44, 3) and image.dtype == np.uint8
            np.testing.assert_array_equal(image[..., 0], wanted)
            assert (image[..., 0] == image[..., 2]).all()
    if bits <= 16:
        colour = np.stack([steps, steps[::-1], steps // 2], axis=-1).astype(np.uint16)
        cv2.imwrite(str(tmp_path / "c.png"), colour[..., ::-1])
        read = images.read_image(tmp_path / "c.png")
        np.testing.assert_array_equal(read[..., 0], wanted)
        np.testing.assert_array_equal(read[..., 1], wanted[::-1])


@pytest.mark.parametrize(
    "low, high, wanted",
    [(0, 1, 255), (0, 0.5, 128), (0, 200, 200), (0, 4095, 255), (0, 60000, 233), (-1, 1, 255)],
)
def test_fractions_by_their_range(tmp_path, low, high, wanted):
    values = np.linspace(low, high, 30 * 44, dtype=np.float32).reshape(30, 44)
    Image.fromarray(values).save(tmp_path / "f.tif")
    read = images.read_image(tmp_path / "f.tif")
    assert read[0, 0, 0] == 0 and read[-1, -1, 0] == wanted
    np.testing.assert_array_equal(read, images.from_pillow(Image.open(tmp_path / "f.tif")))


def test_what_is_not_finite_is_black():
    values = np.array([np.nan, np.inf, 0.5, -np.inf])
    assert images.to_eight_bits(values).tolist() == [0, 0, 128, 0]
    assert images.to_eight_bits(np.zeros((0, 3))).shape == (0, 3)
    assert images.to_eight_bits(np.array([True, False])).tolist() == [255, 0]


def test_deep_pictures_are_turned_as_exif_says(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    deep = np.zeros((30, 44), np.uint16)
    deep[:15, :22] = 60000
    Image.fromarray(deep).save(tmp_path / "a.png", exif=exif)
    read = images.read_image(tmp_path / "a.png")
    assert read.shape == (44, 30, 3) and read[5, 24, 0] == 233 and read[38, 5, 0] == 0
    assert images.stored_size(tmp_path / "a.png") == (30, 44, 6)
    assert images.shown_size(tmp_path / "a.png") == (44, 30)


def test_heic(tmp_path, picture, monkeypatch):
    heif = pytest.importorskip("pillow_heif")
    heif.from_pillow(Image.fromarray(picture)).save(tmp_path / "a.HEIC", quality=95)
    read = images.read_image(tmp_path / "a.HEIC")
    assert np.abs(read.astype(int) - picture).mean() < 6
    for size in (images.image_size, images.shown_size):
        assert size(tmp_path / "a.HEIC") == (30, 44)
    # Without the library, and Pillow not taught by it, there is one line.
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(Image, "ID", [name for name in Image.ID if name != "HEIF"])
    for read in (images.read_image, images.image_size, images.shown_size):
        with pytest.raises(DataError, match=r"a.HEIC. Install it with: pip install .*\[heif\]"):
            read(tmp_path / "a.HEIC")


@pytest.mark.parametrize("suffix", [".jpg", ".png"])
def test_truncated_pictures_are_refused(tmp_path, suffix):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    path = _saved(tmp_path / f"whole{suffix}", noise)
    cut = tmp_path / f"cut{suffix}"
    cut.write_bytes(path.read_bytes()[:-1500])
    with pytest.raises(DataError, match=f"cut{suffix}, which is truncated"):
        images.read_image(cut)


def test_what_is_no_picture_is_refused(tmp_path):
    (tmp_path / "text.jpg").write_text("not a picture")
    (tmp_path / "empty.jpg").write_bytes(b"")
    for path, reason in (
        (tmp_path / "text.jpg", "text.jpg, which is none or is damaged"),
        (tmp_path / "empty.jpg", "empty.jpg, which is empty"),
        (tmp_path / "missing.jpg", "No such file"),
        (tmp_path, "Is a directory"),
        ("nul\0byte.jpg", "null byte"),
    ):
        with pytest.raises(DataError, match=reason):
            images.read_image(path)


def test_image_bombs_are_refused_before_decoding():
    def chunk(kind, data):
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", 30000, 30000, 8, 2, 0, 0, 0)
    bomb = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
    with pytest.raises(DataError, match="30000×30000"):
        images.read_image(bomb)


def test_warp_takes_pixel_centres_and_is_black_outside(picture):
    # The whole width of 44 onto 44: rows 0..29 land in the middle of 44.
    crop = images.warp(picture, crop_affine((21.5, 14.5, 44), (44, 44)), (44, 44))
    np.testing.assert_array_equal(crop[7:37], picture)
    assert not crop[:7].any() and not crop[37:].any()


def test_warp_halves_by_the_middle_of_four_pixels():
    image = np.zeros((4, 6, 3), np.uint8)
    image[0, 0] = 200
    # Bilinear at (0.5, 0.5) is the mean of four pixels.
    crop = images.warp(image, crop_affine((2.5, 1.5, 4), (2, 3)), (2, 3))
    assert crop.shape == (2, 3, 3) and crop[0, 0].tolist() == [50, 50, 50]


def test_writing_an_unknown_kind_is_refused(tmp_path, picture):
    with pytest.raises(DataError, match="Change the suffix"):
        images.write_image(tmp_path / "a.unknown", picture)
    assert not list(tmp_path.iterdir())


def test_real_photographs(shared_data):
    folder = shared_data / "lspet" / "images"
    for number in (1, 77, 5000):
        path = folder / f"im{number:05d}.jpg"
        assert images.read_image(path).shape[:2] == images.image_size(path)


@pytest.mark.parametrize(
    "content, what",
    [(b"\xff\x0a1234", "a JPEG XL picture"), (b"8BPS\0\1", "a Photoshop file"),
     (b"%PDF-1.7 ...", "a PDF document"), (b"<svg xmlns=''/>", r"a drawing \(SVG\)"),
     (b"<!DOCTYPE html><html>", "a web page"), (b"PK\x03\x04abc", "an archive"),
     (b"version https://git-lfs.github.com/spec/v1", "a pointer of Git LFS"),
     (b"hello, world, this is text", "none or is damaged")],
)  # fmt: skip
def test_what_is_no_picture_is_called_by_its_name(content, what):
    with pytest.raises(DataError, match=f"which is {what}"):
        images.read_image(content)


def test_integers_above_16_bits_have_their_largest_as_white():
    values = np.array([0, 2_000_000, 8_000_000], np.int32)
    assert images.to_eight_bits(values).tolist() == [0, 64, 255]
    assert images.to_eight_bits(values.astype(np.float64)).tolist() == [0, 64, 255]


def test_deep_pixels_do_not_take_many_times_their_memory(monkeypatch):
    """50 million pixels of 16 bits took four gigabytes on their way to 8."""
    monkeypatch.setattr(images, "_PART", 1000)
    rng = np.random.default_rng(2)
    deep = rng.integers(0, 4096, (400, 250, 3), np.uint16)
    deep[399, 249, 2] = 4095
    tracemalloc.start()
    eight = images.to_eight_bits(deep)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * deep.nbytes
    # The largest value of all is in the last row, and the first rows go by it, too.
    assert eight.tolist() == (deep * (255 / 4095)).round().astype(np.uint8).tolist()
    deep = np.zeros((9, 500))
    deep[0, 0], deep[8, 1], deep[4, 2] = -1, 3, np.nan
    eight = images.to_eight_bits(deep)
    # -1 is black, 3 is white, 0 a quarter of the way: 63.75.
    assert [eight[0, 0], eight[8, 1], eight[4, 2], eight[5, 5]] == [0, 255, 64, 64]
    assert images.to_eight_bits(np.uint16(255)).tolist() == 255
