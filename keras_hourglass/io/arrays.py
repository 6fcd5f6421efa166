"""The boundary for files of arrays of other people's making: HDF5, NumPy's and MATLAB's.

What such a file announces is compared with what it holds before anything is read, nothing is read
of another file, and nothing is unpickled. See `io.structured` for text.
"""

import contextlib
import io
import os
import pathlib
import zipfile
from collections.abc import Iterator
from typing import Any

import numpy as np

from keras_hourglass.errors import DataError
from keras_hourglass.io.matlab import checked_mat
from keras_hourglass.io.structured import boundary, existing, shorten
from keras_hourglass.typing import Path

MAX_BYTES = 4 * 2**30  # of all arrays of a file
# Bytes that one byte of a compressed file may stand for. Annotations, predictions and weights are
# packed to a fifth at best; zlib could make a thousand of it, and two megabytes fill the memory.
_RATIO = 64
_SLACK = 2**26  # what small files may unpack to, of zeros or the same name again and again
_PART = 2**26  # bytes of a column of text that are read at once
_NPY_HEADER = 10_000


@contextlib.contextmanager
def open_hdf5(
    path: Any,
    what: str = "HDF5 file",
    error: type = DataError,
    origin: Any = None,
    remedy: str = "It is damaged or cut short: copy or download it again",
) -> Iterator[Any]:
    """An HDF5 file whose data lie in itself and are no more than it can hold.

    Args:
        path: the file, or an open binary file.
        what: what it should be, for the messages.
        error: the `UserError` to raise.
        origin: what to call the file; its path by default.
        remedy: what to do, as a sentence without its full stop.

    Yields:
        The `h5py.File`, for reading. Whatever fails within the block is the file's fault.

    Raises:
        DataError: naming the file, if it is missing, damaged, refers to another file (by a link,
            external storage or a virtual data set) or announces more than it can hold.

    Example:

    >>> with open_hdf5("valid.h5") as file:  # doctest: +SKIP
    ...     file["part"][()].shape
    (2958, 16, 2)
    """
    import h5py

    path = path if hasattr(path, "read") else existing(path, what)
    name = origin or (getattr(path, "name", "the file") if hasattr(path, "read") else path)
    with boundary(name, what, remedy, error), h5py.File(path, "r") as file:
        size, total = _size(path), 0
        for key, item in hdf5_items(file):
            if item.external or item.is_virtual:
                raise ValueError(f"{shorten(key, 80)} lies in another file")
            total += item.nbytes
        if total > most_unpacked(size):
            raise ValueError(f"it announces {total:,} bytes and has {size:,}")
        yield file


def most_unpacked(size: int, most: int = MAX_BYTES) -> int:
    """The bytes that a file may unpack to.

    Args:
        size: of the file, in bytes.
        most: the limit for a file of any size.

    Returns:
        64 times the file and 64 MB, at most `most`.

    Example:

    >>> most_unpacked(0) == 2**26, most_unpacked(2**20) == 2**27
    (True, True)
    """
    return min(most, _RATIO * size + _SLACK)


def _size(source):
    if hasattr(source, "seek"):
        place = source.tell()
        end = source.seek(0, os.SEEK_END)
        source.seek(place)
        return end
    return os.path.getsize(source)


def hdf5_items(file: Any) -> Iterator[tuple[str, Any]]:
    """Everything in an HDF5 file.

    Args:
        file: the `h5py.File`.

    Yields:
        Path and `h5py.Dataset` of each.

    Raises:
        ValueError: if there is a link to another file.

    Example:

    >>> [key for key, _ in hdf5_items(file)]  # doctest: +SKIP
    ['part', 'visible']
    """
    import h5py

    waiting, seen = [(file, "")], set()
    while waiting:
        group, prefix = waiting.pop()
        for key in group:
            path = f"{prefix}{key}"
            if isinstance(group.get(key, getlink=True), h5py.ExternalLink):
                raise ValueError(f"{shorten(path, 80)} lies in another file")
            item = group.get(key)
            if item is None:  # a soft link to nothing
                continue
            number = h5py.h5o.get_info(item.id).addr
            if number in seen:  # a second name, perhaps of a group that holds this one
                continue
            seen.add(number)
            if isinstance(item, h5py.Group):
                waiting.append((item, f"{path}/"))
            elif isinstance(item, h5py.Dataset):
                yield path, item


def read_hdf5(path: Path, names: tuple | None = None, what: str = "HDF5 file") -> dict:
    """Data sets of an HDF5 file as arrays.

    Args:
        path: the file.
        names: the data sets to read, those the file lacks are left out; by default all.
        what: what it should be, for the messages.

    Returns:
        dict of NumPy arrays.

    Raises:
        DataError: as `open_hdf5`.

    Example:

    >>> read_hdf5("valid.h5", ("part",))["part"].shape  # doctest: +SKIP
    (2958, 16, 2)
    """
    with open_hdf5(path, what) as file:
        if names is None:
            return {key: hdf5_values(item) for key, item in hdf5_items(file)}
        return {name: hdf5_values(file[name]) for name in names if name in file}


def hdf5_values(item: Any) -> np.ndarray:
    """The values of an HDF5 data set.

    Args:
        item: the `h5py.Dataset`.

    Returns:
        The array.

    Raises:
        ValueError: if it is no data set, or its texts are more than `MAX_BYTES`: each of them may
            lie in one place of the file.

    Example:

    >>> hdf5_values(file["part"])  # doctest: +SKIP
    """
    import h5py

    if not isinstance(item, h5py.Dataset):
        raise ValueError(f"{shorten(item.name)} is no array")
    if h5py.check_vlen_dtype(item.dtype) is None and h5py.check_string_dtype(item.dtype) is None:
        return np.asarray(item[()])
    if item.ndim == 0 or h5py.check_vlen_dtype(item.dtype) is None and item.dtype.kind == "S":
        return np.asarray(item[()])
    if os.path.isfile(item.file.filename):
        _check_heaps(item.file.filename)
    step = max(1, min(_PART // max(item.file.id.get_filesize(), 1), 2**16))
    parts, total = [], 0
    for start in range(0, len(item), step):
        parts.append(item[start : start + step])
        total += sum(len(value) for value in np.ravel(parts[-1]) if hasattr(value, "__len__"))
        if total > MAX_BYTES // 16:
            raise ValueError(f"the texts of {shorten(item.name)} are too long")
    return np.concatenate(parts) if parts else np.asarray(item[()])


def read_npz(
    path: Path, names: tuple | None = None, what: str = ".npz file", error: type = DataError
) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file.

    Args:
        path: the file.
        names: the arrays to read; by default all.
        what: what it should be, for the messages.
        error: the `UserError` to raise.

    Returns:
        dict of NumPy arrays.

    Raises:
        DataError: naming the file, if it is missing, damaged, lacks an array, holds Python objects,
            or its arrays announce more than it can hold.

    Example:

    >>> sorted(read_npz("predictions.npz"))[:2]  # doctest: +SKIP
    ['boxes', 'facts']
    """
    path = existing(path, what)
    with boundary(path, what, error=error), zipfile.ZipFile(path) as archive:
        members = {
            info.filename.removesuffix(".npy"): info
            for info in archive.infolist()
            if info.filename.endswith(".npy")
        }
        wanted = members if names is None else names
        missing = [name for name in wanted if name not in members]
        if missing:
            raise ValueError(f"it lacks {shorten(', '.join(missing))}")
        total = sum(members[name].file_size for name in wanted)
        if total > most_unpacked(os.path.getsize(path)):
            raise ValueError(f"its arrays would unpack to {total:,} bytes")
        arrays = {}
        for name in wanted:
            info = members[name]
            data = archive.read(info)
            arrays[name] = _array(io.BytesIO(data), len(data))
        return arrays


def read_npy(path: Path, what: str = ".npy file") -> np.ndarray:
    """The array of an `.npy` file.

    Args:
        path: the file.
        what: what it should be, for the messages.

    Returns:
        The array.

    Raises:
        DataError: naming the file, if it is missing, damaged, holds Python objects, or announces
            more than it holds.

    Example:

    >>> read_npy("preds.npy").shape  # doctest: +SKIP
    (200, 14, 2)
    """
    path = existing(path, what)
    with boundary(path, what, "Save it again with numpy.save"), open(path, "rb") as file:
        return _array(file, os.path.getsize(path))


def _array(file, size):
    """An array in NumPy's format, if it holds what it announces."""
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0,
               (2, 0): np.lib.format.read_array_header_2_0}  # fmt: skip
    if version not in readers and version != (3, 0):
        raise ValueError(f"version {version} of NumPy's format is not known")
    reader = readers.get(version, np.lib.format.read_array_header_2_0)
    shape, _, dtype = reader(file, max_header_size=_NPY_HEADER)
    if dtype.hasobject:
        raise ValueError("it holds Python objects, which are not read")
    count = 1
    for length in shape:
        count *= length
    if min(shape, default=0) < 0 or count * dtype.itemsize > size - file.tell():
        raise ValueError(f"shape {shorten(shape)} in a file of {size:,} bytes")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False, max_header_size=_NPY_HEADER)


def read_mat(path: Path, what: str = "MATLAB file", **options: Any) -> dict:
    """The variables of a MATLAB file (version 7.2 or older).

    Args:
        path: the file.
        what: what it should be, for the messages.
        **options: passed to `scipy.io.loadmat`.

    Returns:
        dict of what SciPy makes of them.

    Raises:
        DataError: naming the file, if it cannot be read. Every tag is looked at before SciPy sees
            the file, which a wrong one can take down with the whole process.

    Example:

    >>> read_mat("joints.mat")["joints"].shape  # doctest: +SKIP
    (3, 14, 2000)
    """
    import scipy.io

    path = existing(path, what)
    remedy = "It must be of version 7.2 or older and complete; fetch it again"
    with boundary(path, what, remedy), open(path, "rb") as file:
        most = most_unpacked(_size(file))
        return scipy.io.loadmat(checked_mat(file, most), **options)


def _check_heaps(path):
    """Refuse a file whose texts HDF5's library would look for without end.

    Texts lie in collections of objects, each of which says how far it is to the next; free space
    (number 0) that is no longer than its own head never ends.
    """
    content = pathlib.Path(path).read_bytes()
    start = content.find(b"GCOL")
    while start >= 0:
        end = start + int.from_bytes(content[start + 8 : start + 16], "little")
        place = start + 16
        while place + 16 <= min(end, len(content)):
            number = int.from_bytes(content[place : place + 2], "little")
            size = int.from_bytes(content[place + 8 : place + 16], "little")
            if number == 0 and size < 16:
                if size:
                    break
                raise ValueError("its texts have no end")
            place += size if number == 0 else 16 + -(-size // 8) * 8
        start = content.find(b"GCOL", start + 4)
