"""Files of arrays: what they announce is what they hold, and it lies in them."""

import io
import random
import struct
import zipfile
import zlib

import h5py
import numpy as np
import pytest
import scipy.io
import scipy.sparse

from keras_hourglass.errors import DataError
from keras_hourglass.io import arrays
from keras_hourglass.io.matlab import checked_mat


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.h5"


def refused(reason, reader, *arguments):
    with pytest.raises(DataError, match=reason) as caught:
        reader(*arguments)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 300 + len(str(arguments[0]))


# HDF5


def test_hdf5_values_of_every_kind(path):
    with h5py.File(path, "w") as file:
        file["numbers"] = np.arange(6.0).reshape(2, 3)
        file["names"] = ["Größe", "b"]
        file["group/fixed"] = np.array([b"ab", b"c"])
        file["link"] = h5py.SoftLink("/numbers")
        file["nowhere"] = h5py.SoftLink("/none")
        file["group/itself"] = h5py.SoftLink("/group")
    found = arrays.read_hdf5(path)
    assert found["names"].tolist() == ["Größe".encode(), b"b"]
    assert found["group/fixed"].tolist() == [b"ab", b"c"]
    assert sum(value.shape == (2, 3) for value in found.values()) == 1
    assert arrays.read_hdf5(path, ("numbers", "lacking")).keys() == {"numbers"}


def test_hdf5_of_other_files(path, tmp_path):
    with h5py.File(tmp_path / "secret.h5", "w") as file:
        file["x"] = np.arange(3.0)

    def virtual(file):
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(str(tmp_path / "secret.h5"), "x", (3,))
        file.create_virtual_dataset("preds", layout)

    def link(file):
        file["preds"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")

    def storage(file):
        file.create_dataset("preds", (3,), external=[(str(tmp_path / "secret.h5"), 0, 24)])

    def deeper(file):
        file["a/b"] = h5py.ExternalLink(str(tmp_path / "secret.h5"), "x")

    for write in (virtual, link, storage, deeper):
        with h5py.File(path, "w") as file:
            write(file)
        refused("in another file", arrays.read_hdf5, path)
        refused("in another file", arrays.read_hdf5, path, ("other",))


def test_hdf5_that_announces_more_than_it_holds(path):
    """Each array within bounds, and together not."""
    with h5py.File(path, "w") as file:
        for number in range(40):
            file.create_dataset(f"x{number}", (2**28,), "f4")
    refused("announces 42,949,672,960 bytes", arrays.read_hdf5, path)


def test_texts_of_hdf5_that_all_lie_in_one_place(path):
    """Ten megabytes, a hundred thousand times."""
    with h5py.File(path, "w") as file:
        file.create_dataset("names", (1000,), h5py.string_dtype())
        file["names"][0] = "x" * 1_000_000
    data = path.read_bytes()
    with h5py.File(path) as file:
        place = file["names"].id.get_offset()
    entry = data[place : place + 16]
    path.write_bytes(data[:place] + entry * 1000 + data[place + 16_000 :])
    refused("are too long", arrays.read_hdf5, path)


@pytest.mark.parametrize("data", [b"", b"no HDF5", b"\x89HDF\r\n\x1a\n" + bytes(2000)])
def test_what_is_no_hdf5(path, data):
    path.write_bytes(data)
    refused("Cannot read the HDF5 file", arrays.read_hdf5, path)


# NumPy


def npy_header(shape, kind="<f8"):
    text = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}}}".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text


def test_npy(tmp_path):
    path = tmp_path / "a.npy"
    np.save(path, np.arange(6).reshape(2, 3).T)
    assert arrays.read_npy(path).tolist() == [[0, 3], [1, 4], [2, 5]]
    for data, reason in (
        (npy_header((10**12,)), "in a file of"),
        (npy_header((2**62, 2**62)), "in a file of"),
        (npy_header((-1,)), "in a file of"),
        (npy_header((3,), "|O") + bytes(24), "Python objects"),
        (npy_header("(" * 500), "Cannot read"),
        (b"PK\x03\x04", "magic"),
        (b"", "Cannot read"),
    ):
        path.write_bytes(data)
        refused(reason, arrays.read_npy, path)


def test_npz(tmp_path):
    path = tmp_path / "a.npz"
    np.savez_compressed(path, a=np.zeros((1000, 1000)), b=["x"])
    assert arrays.read_npz(path)["a"].shape == (1000, 1000)
    assert arrays.read_npz(path, ("b",))["b"].tolist() == ["x"]
    refused("it lacks c", arrays.read_npz, path, ("a", "c"))
    whole = path.read_bytes()
    path.write_bytes(whole[:-40])
    refused("not a zip file", arrays.read_npz, path)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for number in range(20):
            archive.writestr(f"x{number}.npy", npy_header((10**5,)) + bytes(8 * 10**5))
    # The directory says less than is there, then more.
    raw = path.read_bytes()
    size = struct.pack("<I", len(npy_header((10**5,))) + 8 * 10**5)
    path.write_bytes(raw.replace(size, struct.pack("<I", 2**32 - 2)))
    refused("would unpack to", arrays.read_npz, path)
    np.savez(path, a=np.array([{}], dtype=object))
    refused("Python objects", arrays.read_npz, path)


# MATLAB


def matlab_files():
    cell = np.empty((1, 2), object)
    cell[0, 0], cell[0, 1] = np.arange(3.0), "ab"
    values = {
        "numbers": np.arange(6.0).reshape(2, 3), "text": "häß", "cell": cell,
        "none": np.zeros((0, 0)),
        "complex": np.ones((2, 2)) * 1j, "flag": np.array([True]), "small": np.array([7], np.uint8),
        "person": {"x": 1, "points": [1, 2, 3], "image": {"name": "a.jpg"}},
        "sparse": scipy.sparse.csc_matrix(np.eye(3)),
    }  # fmt: skip
    for options in ({}, {"do_compression": True}):
        made = io.BytesIO()
        scipy.io.savemat(made, values, **options)
        yield made.getvalue()
    made = io.BytesIO()
    scipy.io.savemat(made, {"a": np.eye(3), "t": "abc"}, format="4")
    yield made.getvalue()


MATLAB = list(matlab_files())


def test_matlab_files_pass_unchanged(tmp_path):
    for data in MATLAB:
        (tmp_path / "a.mat").write_bytes(data)
        ours, theirs = (
            arrays.read_mat(tmp_path / "a.mat"),
            scipy.io.loadmat(io.BytesIO(data)),
        )
        assert ours.keys() == theirs.keys()
        for name, value in theirs.items():
            if scipy.sparse.issparse(value):
                assert (ours[name] != value).nnz == 0
            elif name not in ("cell", "person"):
                np.testing.assert_array_equal(ours[name], value)
    assert theirs["a"].shape == (3, 3)


def test_functions_and_objects_of_classes_are_left_out(tmp_path):
    """A variable of class 17 before one of numbers."""
    plain = io.BytesIO()
    scipy.io.savemat(plain, {"preds": np.arange(3.0)})
    data = plain.getvalue()
    opaque = struct.pack("<IIIIII", 14, 24, 6, 8, 17, 0) + struct.pack("<II", 1, 0)
    (tmp_path / "a.mat").write_bytes(data[:128] + opaque + data[128:])
    found = arrays.read_mat(tmp_path / "a.mat")
    assert found["preds"].tolist() == [[0, 1, 2]]


# Tags that took the process down: types, lengths and counts that SciPy takes as they come.
@pytest.mark.parametrize(
    "place, value, reason",
    [
        (128, 13, "a variable of type 13"),  # of the variable
        (132, 2**31, "a variable of type 14"),
        (136, 5, "no array flags"),
        (144, 99, "class 99"),
        (152, 70, "type 70"),  # of its dimensions
        (156, 0, "dimensions"),
        (160, 2**31 - 1, "numbers or parts"),
        (176 + 8, 0, "type 0"),  # of its numbers
        (176 + 8, 62, "type 62"),
        (176 + 12, 8, "1 values for 30"),
    ],
)
def test_a_wrong_tag_never_reaches_scipy(tmp_path, monkeypatch, place, value, reason):
    made = io.BytesIO()
    scipy.io.savemat(made, {"preds_of_all": np.arange(30.0).reshape(5, 3, 2)})
    data = bytearray(made.getvalue())
    start = data.index(b"preds_of_all") - 8
    # Three dimensions take 16 bytes; the name and its tag 24.
    place = place if place < 176 else start + 24 + place - 184
    data[place : place + 4] = struct.pack("<I", value)
    (tmp_path / "a.mat").write_bytes(data)
    monkeypatch.setattr(scipy.io, "loadmat", None)
    refused(reason, arrays.read_mat, tmp_path / "a.mat")


def test_matlab_bombs(tmp_path, monkeypatch):
    def write(announced, body):
        packed = zlib.compress(struct.pack("<II", 14, announced) + body, 9)
        header = MATLAB[0][:128]
        (tmp_path / "a.mat").write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
        return 128 + 8 + len(packed)

    write(3 * 2**20 + 1, bytes(3 * 2**20))  # a byte less than it says
    refused("compressed variable cut short", arrays.read_mat, tmp_path / "a.mat")
    write(2**20, bytes(2**21))  # a megabyte more
    refused("or of more than 1,048,576 bytes", arrays.read_mat, tmp_path / "a.mat")
    # What is announced is refused before it is unpacked: 64 times the file and 64 MB are the limit.
    size = write(2**31, bytes(3 * 2**20))
    refused(f"2,147,483,648 bytes, more than {64 * size + 2**26:,}", arrays.read_mat,
            tmp_path / "a.mat")  # fmt: skip


def test_small_files_do_not_unpack_to_the_memory(tmp_path, monkeypatch):
    """A file may unpack to 64 times its size and a little, however it is packed."""
    monkeypatch.setattr(arrays, "_SLACK", 1000)
    for kind, write, read in (
        ("h5", lambda path, a: _write_hdf5(path, a), arrays.read_hdf5),
        ("npz", lambda path, a: np.savez_compressed(path, preds=a), arrays.read_npz),
        ("mat", lambda path, a: scipy.io.savemat(path, {"preds": a}, do_compression=True),
         arrays.read_mat),
    ):  # fmt: skip
        path = tmp_path / f"a.{kind}"
        # Zeros are packed to a thousandth, whole numbers up to 100 to less than an eighth.
        write(path, np.random.default_rng(1).integers(0, 100, (1000, 16)).astype(float))
        assert read(path)["preds"].shape == (1000, 16)
        write(path, np.zeros((10**6, 4)))
        assert path.stat().st_size < 10**5
        refused("32,000,0[0-9]{2}|32,000,[0-9]{3} bytes", read, path)


def _write_hdf5(path, array):
    with h5py.File(path, "w") as file:
        file.create_dataset("preds", data=array, compression="gzip")


def mutated(data, draw):
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 2, 4])):
        place, kind = draw.randrange(len(data)), draw.random()
        word = place & ~3
        if kind < 0.4:
            data[place] = draw.choice([0, 1, 5, 6, 9, 14, 15, 255, draw.randrange(256)])
        elif kind < 0.7:
            number = draw.choice([0, 1, 2, 6, 8, 17, 56, 2**31 - 1, 2**32 - 1, draw.randrange(200)])
            data[word : word + 4] = struct.pack("<I", number)
        elif kind < 0.9:
            del data[place : place + draw.choice([1, 4, 8, 16])]
        else:
            del data[place:]
        data = data or bytearray(4)
    return bytes(data)


def test_matlab_variables_unpack_to_no_more_than_the_limit(tmp_path, monkeypatch):
    # 200 numbers of 8 bytes, and 56 of tags; zlib makes a few of them.
    scipy.io.savemat(tmp_path / "a.mat", {"a": np.zeros(200)}, do_compression=True)
    assert arrays.read_mat(tmp_path / "a.mat")["a"].shape == (1, 200)
    monkeypatch.setattr("keras_hourglass.io.matlab._MAX_UNPACKED", 1500)
    with pytest.raises(DataError, match="more than 1,500"):
        arrays.read_mat(tmp_path / "a.mat")


def test_what_passes_is_read_by_scipy():
    """Two thousand files with wrong bytes; one that gets through would end this process."""
    passed = 0
    for seed in range(2000):
        draw = random.Random(seed)
        data = mutated(draw.choice(MATLAB), draw)
        try:
            file = checked_mat(io.BytesIO(data))
        except (ValueError, struct.error, zlib.error):
            continue
        try:
            for value in scipy.io.loadmat(file).values():
                if scipy.sparse.issparse(value):
                    value.toarray()
            passed += 1
        except (ValueError, TypeError, NotImplementedError, UnicodeError):
            continue
    assert passed > 100


def test_texts_without_end_are_refused_where_the_library_would_search_for_ever(path):
    with h5py.File(path, "w") as file:
        file["names"] = ["one.png", "another.png"]
    content = path.read_bytes()
    read = arrays.read_hdf5(path, ("names",), "file")
    assert [bytes(name) for name in read["names"]] == [b"one.png", b"another.png"]
    heap = content.index(b"GCOL") + 16
    # Past the two texts, each a head of 16 bytes and its letters up to a multiple of 8.
    free = heap + (16 + 8) + (16 + 16)
    assert content[free : free + 2] == b"\0\0"
    path.write_bytes(content[: free + 8] + bytes(8) + content[free + 16 :])
    refused("texts have no end", arrays.read_hdf5, path, ("names",), "file")
