"""What a picture's header announces, read within bounds, before any decoder sees the file.

Each format is read as the library that decodes it reads it: a size that is checked here and
another that is decoded would be no check. Formats that are not known here are left to Pillow,
which then reads the header and the pixels.
"""

import dataclasses
import os
import re
import stat

from keras_hourglass.errors import DataError

MAX_FILE = 2**30  # bytes of one picture's file
EXIF_BYTES = 2**17  # how far into a JPEG the EXIF segment is looked for, as the served graph does
ORIENTATION = 0x0112  # EXIF's number of the tag
_MAX_STEPS = 200_000  # chunks, markers and bytes of fill; a large PNG has 20,000 chunks
_JPEG_SIZES = {0xC0, 0xC1, 0xC2, 0xC3, 0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_ALONE = {0x01, *range(0xD0, 0xD8)}  # markers of JPEG without a length: TEM, RST0 to RST7
# Passes over the pixels of a JPEG; progressive ones have about ten, and each costs a decoder as
# much as a picture of its own, however few bytes it has.
MAX_SCANS = 100
_MARKER = re.compile(rb"\xff[\x02-\xcf\xd9-\xfe]")  # and no part of a scan
# Pixels of a JPEG for each of its bytes, at most: two bits for a block of 64, and a factor of four.
JPEG_RATIO = 1024
DEFLATE = 1032  # bytes that one compressed byte can stand for
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# TIFF's types of whole numbers -> bytes of each. Decoders take those with a sign and offsets, too.
_INTEGERS = {1: 1, 3: 2, 4: 4, 6: 1, 8: 2, 9: 4, 13: 4, 16: 8, 17: 8, 18: 8}
# Bytes of a pixel, at least.
_PNM_VALUES = {
    b"P1": 1, b"P2": 1, b"P3": 3, b"P4": 0.125, b"P5": 1, b"P6": 3, b"Pf": 4, b"PF": 12,
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Header:
    """What a picture's file says before its pixels.

    Args:
        kind: `"jpeg"`, `"png"`, `"bmp"`, `"webp"`, `"tiff"`, `"pnm"` or `"hdr"`.
        height, width: of the pixels as they are stored.
        orientation: EXIF's number for how they are turned, 1 where there is none.
        least: bytes that so many pixels take at least, where that is known.
        fault: why no decoder should see the file, or `None`.
        turned_at: where in the file the orientation stands: position, bytes and their order.
    """

    kind: str
    height: int
    width: int
    orientation: int = 1
    least: int = 0
    fault: str | None = None
    turned_at: tuple = ()


class Window:
    """The bytes of a picture, or those of a file without reading all of them.

    Args:
        source: `bytes`, or an open binary file.
    """

    def __init__(self, source):
        self._data = source if isinstance(source, bytes) else None
        self._file = None if self._data is not None else source.fileno()
        self.size = len(source) if self._data is not None else os.fstat(self._file).st_size

    def __call__(self, start, count):
        """So many bytes from a position; fewer at the end."""
        if start >= self.size:
            return b""
        if self._data is not None:
            return self._data[start : start + count]
        return os.pread(self._file, count, start)

    @property
    def data(self):
        """All bytes where they are in memory, else none."""
        return self._data or b""

    def number(self, start, count, order="big"):
        """An unsigned number; what lies behind the end counts as 0."""
        return int.from_bytes(self(start, count).ljust(count, b"\0"), order)


def open_picture(path):
    """Open a picture's file, if it is one that ends.

    Args:
        path: the file.

    Returns:
        The open binary file.

    Raises:
        DataError: if it is a pipe, a device, a folder or larger than `MAX_FILE`.
        OSError: if it cannot be opened.
    """
    found = os.stat(path)
    if not stat.S_ISREG(found.st_mode):
        what = "a folder (Is a directory)" if stat.S_ISDIR(found.st_mode) else "a pipe or a device"
        raise DataError(
            f"A picture is an ordinary file. Received: {path}, {what}. Save the picture first."
        )
    if found.st_size > MAX_FILE:
        raise DataError(
            f"Files of pictures have at most {MAX_FILE >> 20} MB. Received: {path} with "
            f"{found.st_size >> 20} MB. Make it smaller first."
        )
    return open(path, "rb")


def read_header(source) -> Header | None:
    """The header of a picture, if its format is one of those that are read here.

    Args:
        source: `bytes`, or an open binary file.

    Returns:
        `Header`, or `None` for other formats and for headers that announce no size.

    Example:

    >>> read_header(b"P5 6 4 255 " + bytes(24))
    Header(kind='pnm', height=4, width=6, orientation=1, least=24, fault=None, turned_at=())
    """
    window = Window(source)
    start = window(0, 16)
    for magic, reader in _READERS:
        if re.match(magic, start, re.DOTALL):
            header = reader(window)
            if header is None or header.height < 1 or header.width < 1:
                return None
            if header.fault is None and header.least > window.size:
                fault = f"{window.size} bytes for {header.width}×{header.height} pixels"
                return dataclasses.replace(header, fault=fault)
            return header
    return None


def _jpeg(window):
    """As libjpeg finds its way: bytes between markers are skipped, some markers have no length."""
    position, steps = 2, 0
    while steps < _MAX_STEPS:
        block = window(position, 4096)
        place = block.find(b"\xff")
        if not block:
            return None
        steps += 1
        if place < 0:
            position += len(block)
            continue
        position += place
        while steps < _MAX_STEPS and (marker := window.number(position, 1)) == 0xFF:
            position, steps = position + 1, steps + 1
        position += 1
        if marker == 0 or marker in _ALONE:
            continue
        if marker in (0xD8, 0xD9, 0xDA):  # a second beginning, the end, the scan: no size before
            return None
        if marker in _JPEG_SIZES:
            height, width = window.number(position + 3, 2), window.number(position + 5, 2)
            packed = marker in (0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF)  # arithmetic: no least size
            least = 0 if packed else height * width // JPEG_RATIO
            fault = _too_many_scans(window.data, position)
            return Header("jpeg", height, width, _jpeg_orientation(window), least, fault)
        length = window.number(position, 2)
        if length < 2:
            return None
        position += length
    return None


def _too_many_scans(data, position):
    """Why a JPEG takes longer to decode than its size tells, or `None`."""
    if data.count(b"\xff\xda") <= MAX_SCANS:  # with those in previews and behind the end
        return None
    scans = 0
    for _ in range(_MAX_STEPS):
        found = _MARKER.search(data, position)
        if found is None or data[found.end() - 1] == 0xD9:
            return None
        scans += data[found.end() - 1] == 0xDA
        if scans > MAX_SCANS:
            return f"more than {MAX_SCANS} scans"
        position = found.end() + int.from_bytes(data[found.end() : found.end() + 2], "big")
    return f"more than {_MAX_STEPS} markers"


def _jpeg_orientation(window):
    """EXIF's orientation of a JPEG, step by step as `export.in_graph.exif_orientation` reads it."""
    position, end = 2, min(window.size, EXIF_BYTES)
    for _ in range(1000):
        if position >= end or window.number(position, 1) != 0xFF:
            break
        marker = window.number(position + 1, 1)
        if marker in (0xD9, 0xDA):
            break
        if marker == 0xFF:
            position += 1
            continue
        if marker == 0xE1 and window(position + 4, 6) == b"Exif\0\0":
            return exif_orientation(window(position + 10, end - position - 10))
        position = min(position + 2 + window.number(position + 2, 2), end)
    return 1


def exif_orientation(tiff: bytes) -> int:
    """The orientation that the first directory of EXIF data names.

    Args:
        tiff: the data, from `II` or `MM` on.

    Returns:
        1 to 8; 1 (upright) where there is none.

    Example:

    >>> import struct
    >>> exif_orientation(b"MM" + struct.pack(">HIHHHIHH", 42, 8, 1, 0x0112, 3, 1, 6, 0))
    6
    """
    order, end = "little" if tiff[:1] == b"I" else "big", len(tiff)
    tiff += bytes(16)

    def number(start, count):
        return int.from_bytes(tiff[start : start + count], order)

    # Offsets beyond the end read zeros.
    directory = min(number(4, 4), end)
    for entry in range(min(number(directory, 2), (end - directory - 2) // 12)):
        start = directory + 2 + 12 * entry
        if number(start, 2) == ORIENTATION:
            found = number(start + 8, 2)
            return found if 1 <= found <= 8 else 1
    return 1


def _png(window):
    """All chunks are looked at: a decoder may make room for whatever one announces."""
    if window.number(8, 4) != 13 or window(12, 4) != b"IHDR":
        return None
    width, height = window.number(16, 4), window.number(20, 4)
    bits = window.number(24, 1) * _PNG_CHANNELS.get(window.number(25, 1), 8)
    least = height * (1 + (width * bits + 7) // 8) // DEFLATE
    orientation, fault, position = None, None, 33
    for _ in range(_MAX_STEPS):
        start = window(position, 8)
        if len(start) < 8:
            fault = fault or "it ends before its last chunk"
            break
        length, kind = int.from_bytes(start[:4], "big"), start[4:]
        if kind == b"IEND":
            break
        if position + 12 + length > window.size:
            fault = f"a chunk of {length} bytes in a file of {window.size}"
            break
        if kind == b"eXIf" and orientation is None:
            orientation = exif_orientation(window(position + 8, min(length, EXIF_BYTES)))
        if kind == b"fcTL":  # a frame of an animation
            w, h, x, y = (window.number(position + 12 + 4 * part, 4) for part in range(4))
            if x + w > width or y + h > height:
                fault = f"a frame of {w}×{h} in a picture of {width}×{height}"
                break
        position += 12 + length
    else:
        fault = f"more than {_MAX_STEPS} chunks"
    return Header("png", height, width, orientation or 1, least, fault)


def _bmp(window):
    length = window.number(14, 4, "little")
    if length == 12:
        return Header("bmp", window.number(20, 2, "little"), window.number(18, 2, "little"))
    width, height = (window.number(place, 4, "little") for place in (18, 22))
    # Upside down where negative.
    height, width = (abs(value - 2**32 if value >= 2**31 else value) for value in (height, width))
    bits, packed = window.number(28, 2, "little"), window.number(30, 4, "little")
    return Header("bmp", height, width, least=height * width * bits // 8 * (packed in (0, 3)))


def _webp(window):
    kind = window(12, 4)
    if kind == b"VP8X":
        width, height = 1 + window.number(24, 3, "little"), 1 + window.number(27, 3, "little")
    elif kind == b"VP8L":
        packed = window.number(21, 4, "little")
        width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    else:
        width, height = (window.number(place, 2, "little") & 0x3FFF for place in (26, 28))
    orientation, position = 1, 12
    for _ in range(_MAX_STEPS if kind == b"VP8X" else 0):
        start = window(position, 8)
        length = int.from_bytes(start[4:], "little")
        if len(start) < 8:
            break
        if start[:4] == b"EXIF":
            data = window(position + 8, min(length, EXIF_BYTES))
            orientation = exif_orientation(data.removeprefix(b"Exif\0\0"))
            break
        position += 8 + length + length % 2
    return Header("webp", height, width, orientation)


def _tiff(window):
    order = "little" if window(0, 1) == b"I" else "big"
    large = window.number(2, 2, order) == 43
    if large:
        directory, step = window.number(8, 8, order), 20
        count, first = window.number(directory, 8, order), directory + 8
    else:
        directory, step = window.number(4, 4, order), 12
        count, first = window.number(directory, 2, order), directory + 2
    values: dict = {}
    for place in range(first, first + step * min(count, 4096), step):
        size = _INTEGERS.get(window.number(place + 2, 2, order))
        if size:
            at = place + (12 if large else 8)
            tag = window.number(place, 2, order)
            # The largest of twins, since decoders differ in which they take.
            values.setdefault(tag, []).append((window.number(at, size, order), at, size))

    def largest(tag, default=0):
        return max((value for value, _, _ in values.get(tag, ())), default=default)

    height, width = largest(257), largest(256)
    turned = values.get(ORIENTATION, ())
    orientation = turned[0][0] if turned and 1 <= turned[0][0] <= 8 else 1
    fault = None
    tile = largest(322) * largest(323)
    if tile > max(4 * height * width, 4096**2):
        fault = f"tiles of {largest(322)}×{largest(323)} in a picture of {width}×{height}"
    elif largest(277, 1) > 8:
        fault = f"{largest(277)} values for each pixel"
    places = tuple((at, size, order) for _, at, size in turned)
    return Header("tiff", height, width, orientation, fault=fault, turned_at=places)


def _pnm(window):
    text = window(0, 65536)
    kind = text[:2]
    if kind == b"P7":
        found = {
            name: int(number[:12]) for name, number in re.findall(rb"\n(\w+)[ \t]+(\d+)", text)
        }
        height, width = found.get(b"HEIGHT", 0), found.get(b"WIDTH", 0)
        return Header("pnm", height, width, least=height * width * found.get(b"DEPTH", 1))
    words = re.sub(rb"#[^\n\r]*", b"", text[2:]).split(None, 3)[:3]
    if len(words) < 3 or not (words[0] + words[1]).isdigit():
        return None
    width, height = (int(word[:12]) for word in words[:2])
    deep = 2 if kind in (b"P5", b"P6") and words[2].isdigit() and int(words[2][:12]) > 255 else 1
    return Header("pnm", height, width, least=int(height * width * _PNM_VALUES[kind] * deep))


def _hdr(window):
    size = re.search(rb"\n\n-Y (\d{1,9}) \+X (\d{1,9})\n", window(0, 65536))
    return Header("hdr", int(size[1]), int(size[2])) if size else None


_READERS = (
    (rb"\xff\xd8", _jpeg),
    (rb"\x89PNG\r\n\x1a\n", _png),
    (rb"BM", _bmp),
    (rb"RIFF....WEBPVP8[ LX]", _webp),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"P[1-7Ff]\s", _pnm),
    (rb"#\?R", _hdr),
)
