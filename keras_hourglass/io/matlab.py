"""MATLAB files (version 7.2 and older), looked at tag by tag before SciPy sees them.

SciPy's reader trusts the tags: a wrong type or length takes the whole process down. What has been
walked through here has types that it knows, lengths that fit into each other, and as many numbers,
names and parts as it announces.
"""

import io
import re
import struct
import zlib
from typing import BinaryIO

import numpy as np

_MATRIX, _COMPRESSED = 14, 15
# Types of data -> bytes of a number.
_NUMBERS = {1: 1, 2: 1, 3: 2, 4: 2, 5: 4, 6: 4, 7: 4, 9: 8, 12: 8, 13: 8}
_TEXTS = {1: 1, 2: 1, 4: 2, 16: 1, 17: 2, 18: 4}
_CELL, _STRUCT, _OBJECT, _CHAR, _SPARSE = 1, 2, 3, 4, 5
_ARRAYS = range(6, 16)
_ASIDE = (16, 17)  # functions, and objects of classes: left out
_COMPLEX = 0x800
_MAX_UNPACKED = 2**31
_MAX_DEPTH = 50
_MAX_PARTS = 50_000_000
# One real number, which large files have millions of, in little-endian order:
_LITTLE = (
    # 56 bytes with a full tag of 8 bytes of data, or 48 with a small one of up to four.
    rb"\x38\0\0\0%s(?:\x09|\x0c|\x0d)\0\0\0\x08\0\0\0.{8}",
    rb"\x30\0\0\0%s(?:[\x01\x02]\0\x01\0|[\x03\x04]\0\x02\0|[\x05-\x07]\0\x04\0).{4}",
)
_HEAD = (
    rb"\x06\0\0\0\x08\0\0\0[\x06-\x0f][\0\x02]\0\0\0\0\0\0"
    rb"\x05\0\0\0\x08\0\0\0\x01\0\0\0\x01\0\0\0\x01\0\0\0\0\0\0\0"
)
_SCALAR = re.compile(rb"\x0e\0\0\0(?:" + b"|".join(_LITTLE).replace(b"%s", _HEAD) + b")", re.DOTALL)


def checked_mat(file: BinaryIO, most: int = _MAX_UNPACKED) -> BinaryIO:
    """A MATLAB file's variables as a file that SciPy can be given.

    Args:
        file: the open binary file.
        most: bytes that its compressed variables may unpack to, together.

    Returns:
        A file in memory, without functions and objects of classes.

    Raises:
        ValueError: saying what is wrong.

    Example:

    >>> import scipy.io
    >>> made = io.BytesIO()
    >>> scipy.io.savemat(made, {"joints": [1.0, 2.0]})
    >>> _ = made.seek(0)
    >>> scipy.io.loadmat(checked_mat(made))["joints"].tolist()
    [[1.0, 2.0]]
    """
    data = file.read()
    if len(data) < 20:
        raise ValueError("it ends within its header")
    if 0 in data[:4]:
        _walk_version_4(data)
        return io.BytesIO(data)
    order = {b"IM": "<", b"MI": ">"}.get(data[126:128])
    if order is None:
        raise ValueError("it has no header of a MATLAB file")
    version = data[125 if order == "<" else 124]
    if version != 1:
        raise ValueError("it is of version 7.3, which is HDF5" if version == 2 else "its version")
    kept, position, left = [data[:128]], 128, min(most, _MAX_UNPACKED)
    while position + 8 <= len(data):
        kind, length = struct.unpack_from(f"{order}II", data, position)
        end = position + 8 + length
        if kind not in (_MATRIX, _COMPRESSED) or end > len(data):
            raise ValueError(f"a variable of type {kind} and {length} bytes at byte {position}")
        body = data[position + 8 : end]
        if kind == _COMPRESSED:
            body = _unpacked(body, order, left)
            left -= len(body)
        if _Walk(body, order).variable():
            kept.append(data[position:end])
        position = end
    return io.BytesIO(b"".join(kept))


def _unpacked(packed, order, most):
    """What a compressed variable holds behind its tag, which says how much that is."""
    reader = zlib.decompressobj()
    head = reader.decompress(packed, 8)
    kind, length = struct.unpack_from(f"{order}II", head)
    if kind != _MATRIX:
        raise ValueError(f"a compressed variable of type {kind}, {length} bytes")
    if length > most:  # before the memory is taken
        raise ValueError(f"a variable of {length:,} bytes, more than {most:,}")
    # A few more, to come to the checksum behind the compressed bytes.
    body = reader.decompress(reader.unconsumed_tail, length + 64)
    if len(body) < length or not reader.eof:
        raise ValueError(f"a compressed variable cut short, or of more than {length:,} bytes")
    return body if len(body) == length else body[:length]


class _Walk:
    """One variable's bytes, without its outermost tag."""

    def __init__(self, data, order):
        self.data, self.order, self.parts = data, order, 0
        self.pair = struct.Struct(f"{order}II")

    def variable(self):
        """Walk through; false if the variable is to be left out."""
        if len(self.data) < 16:
            raise ValueError("an empty variable")
        if self._flags(0)[0] in _ASIDE:
            return False
        self._matrix(0, len(self.data), 0)
        return True

    def _flags(self, position):
        if self.pair.unpack_from(self.data, position) != (6, 8):
            raise ValueError(f"no array flags at byte {position} of a variable")
        flags = struct.unpack_from(f"{self.order}I", self.data, position + 8)[0]
        return flags & 0xFF, flags

    def _matrix(self, position, end, depth):
        """Walk through the content of a matrix, which must end where it says."""
        if position == end:  # an empty one
            return
        if depth > _MAX_DEPTH:
            raise ValueError("nested too deeply")
        if end - position < 16:
            raise ValueError("a part without room for its flags")
        kind, flags = self._flags(position)
        position, size, shape = self._element(position + 16, end, {5: 4, 6: 4})
        dims = struct.unpack_from(f"{self.order}{size // 4}i", self.data, shape)
        if not 2 <= len(dims) <= 32 or min(dims) < 0:
            raise ValueError(f"{len(dims)} dimensions, the least of length {min(dims, default=0)}")
        count = 1
        for length in dims:
            count *= length
        if count > max(len(self.data), 2**20):
            raise ValueError(f"{count:,} numbers or parts in {len(self.data):,} bytes")
        position, _, _ = self._element(position, end, {1: 1, 2: 1})  # the name
        if kind in (_CELL, _STRUCT, _OBJECT):
            position = self._children(kind, count, position, end, depth)
        elif kind == _SPARSE:
            position = self._sparse(dims, flags, position, end)
        elif kind == _CHAR or kind in _ARRAYS:
            for _ in range(2 if flags & _COMPLEX and kind != _CHAR else 1):
                position = self._values(kind, count, position, end)
        else:
            raise ValueError(f"an array of class {kind}")
        if position != end:
            raise ValueError(f"{end - position} bytes too many in a part")

    def _element(self, position, end, kinds):
        """Behind an element, its bytes and where they are; its type must be one of some."""
        if position + 8 > end:
            raise ValueError("an element behind the end")
        kind, size = self.pair.unpack_from(self.data, position)
        start = position + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, position + 4
            if size > 4:
                raise ValueError(f"a small element of {size} bytes")
            after = position + 8
        else:
            after = start + size + -size % 8
        if kind not in kinds or size % kinds[kind] or after > end:
            raise ValueError(f"an element of type {kind} and {size} bytes at byte {position}")
        return after, size, start

    def _values(self, kind, count, position, end):
        kinds = _TEXTS if kind == _CHAR else _NUMBERS
        tag = self.pair.unpack_from(self.data, position)[0] if position + 8 <= end else 0
        tag = tag & 0xFFFF if tag >> 16 else tag
        after, size, _ = self._element(position, end, kinds)
        there = size // kinds[tag]
        # Letters of UTF-8 may be several bytes; an empty text may have a length.
        if there != count and not (kind == _CHAR and (tag == 16 and count < there or not there)):
            raise ValueError(f"{there} values for {count}")
        return after

    def _children(self, kind, count, position, end, depth):
        fields = 1
        if kind != _CELL:
            if kind == _OBJECT:
                position, _, _ = self._element(position, end, {1: 1, 2: 1})
            position, size, start = self._element(position, end, {5: 4, 6: 4})
            length = struct.unpack_from(f"{self.order}i", self.data, start)[0] if size == 4 else 0
            position, size, _ = self._element(position, end, {1: 1, 2: 1})
            if length < 1 or size % length:
                raise ValueError(f"names of fields of {length} bytes within {size}")
            fields = size // length
        self.parts += count * fields
        if self.parts > _MAX_PARTS or count * fields * 8 > end - position:
            raise ValueError(f"{count * fields} parts in {end - position} bytes")
        match = _SCALAR.match if self.order == "<" else None
        for _ in range(count * fields):
            found = match(self.data, position, end) if match else None
            if found:
                position = found.end()
                continue
            if position + 8 > end:
                raise ValueError("fewer parts than announced")
            inner, size = self.pair.unpack_from(self.data, position)
            after = position + 8 + size
            if inner != _MATRIX or after > end:
                raise ValueError(f"a part of type {inner} and {size} bytes at byte {position}")
            self._matrix(position + 8, after, depth + 1)
            position = after
        return position

    def _sparse(self, dims, flags, position, end):
        rows = self._integers(position, end)
        columns = self._integers(rows[0], end)
        position = columns[0]
        starts, places = columns[1], rows[1]
        if len(dims) != 2 or len(starts) < dims[1] + 1 or (np.diff(starts) < 0).any():
            raise ValueError("columns of a sparse array")
        used = int(starts[dims[1]])
        if starts.min(initial=0) < 0 or used > len(places):
            raise ValueError("columns of a sparse array")
        if used and not 0 <= places[:used].min() <= places[:used].max() < dims[0]:
            raise ValueError("rows of a sparse array")
        for _ in range(2 if flags & _COMPLEX else 1):
            tag = self.pair.unpack_from(self.data, position)[0] if position + 8 <= end else 0
            tag = tag & 0xFFFF if tag >> 16 else tag
            position, size, _ = self._element(position, end, _NUMBERS)
            if size // _NUMBERS[tag] < used:
                raise ValueError("fewer numbers than a sparse array announces")
        return position

    def _integers(self, position, end):
        after, size, start = self._element(position, end, {5: 4, 6: 4})
        return after, np.frombuffer(self.data, f"{self.order}i4", size // 4, start)


_BYTES_4 = (8, 4, 4, 2, 2, 1)  # of the types of version 4


def _walk_version_4(data):
    """The variables of the oldest format; sparse ones are refused."""
    order = "<" if 0 <= struct.unpack_from("<i", data)[0] <= 5000 else ">"
    position = 0
    while position + 20 <= len(data):
        kind, rows, columns, imaginary, length = struct.unpack_from(f"{order}5i", data, position)
        machine, rest = divmod(kind, 1000)
        precision, form = rest // 10 % 10, rest % 10
        if machine not in (0, 1) or rest >= 100 or precision > 5 or form > 1 or length < 1:
            raise ValueError(f"a variable of type {kind} at byte {position}")
        if min(rows, columns) < 0 or imaginary not in (0, 1):
            raise ValueError(f"an array of {rows}×{columns} at byte {position}")
        position += 20 + length + rows * columns * _BYTES_4[precision] * (1 + imaginary)
        if length > 1000 or position > len(data):
            raise ValueError("it ends within a variable")
    if position != len(data):
        raise ValueError("it ends within a header")
