"""DeepLabCut's labels as it writes them: one animal or several, both forms of CSV and of HDF5."""

import pickle

import cv2
import h5py
import numpy as np
import pytest
import yaml

from keras_hourglass.cli import main
from keras_hourglass.data.load import load_records
from keras_hourglass.errors import DataError

PARTS = ("snout", "leftear", "rightear")
NAMES = [f"img{number:04d}.png" for number in (3, 14, 15)]


def numbers(columns):
    """Frame n has n*100 + column; the left ear of the second is not labelled."""
    values = np.arange(3)[:, None] * 100.0 + np.arange(columns)
    values[1, 2:4] = np.nan
    return values


def columns_of(individuals):
    inner = [(part, axis) for part in PARTS for axis in "xy"]
    if individuals:
        return [("Anna", one, *column) for one in individuals for column in inner]
    return [("Anna", *column) for column in inner]


def frames(folder):
    folder.mkdir(parents=True, exist_ok=True)
    for name in NAMES:
        cv2.imwrite(str(folder / name), np.full((40, 60, 3), 80, np.uint8))


def write_csv(folder, individuals=(), parts_of_path=True, encode="utf-8", separator="/"):
    frames(folder)
    columns, path = columns_of(individuals), ["labeled-data", folder.name]
    levels = ["scorer", *(["individuals"] if individuals else []), "bodyparts", "coords"]
    rows = [
        [level, *([""] * 2 if parts_of_path else []), *(column[place] for column in columns)]
        for place, level in enumerate(levels)
    ]
    for name, row in zip(NAMES, numbers(len(columns)), strict=True):
        whole = [*path, name] if parts_of_path else [separator.join([*path, name])]
        rows.append([*whole, *("" if np.isnan(value) else f"{value}" for value in row)])
    text = "\n".join(",".join(row) for row in rows) + "\n"
    (folder / "CollectedData_Anna.csv").write_bytes(text.encode(encode))
    return folder / "CollectedData_Anna.csv"


def write_fixed(folder, individuals=(), parts_of_path=True):
    """pandas' fixed form: axes as levels and labels."""
    frames(folder)
    columns = columns_of(individuals)
    names = [("labeled-data", folder.name, name) for name in NAMES]
    names = names if parts_of_path else [("/".join(name),) for name in names]
    with h5py.File(folder / "CollectedData_Anna.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group.attrs["nblocks"] = 1

        def axis(name, rows):
            if len(rows[0]) == 1:
                group[name] = np.array([row[0].encode() for row in rows])
                return
            group.attrs[f"{name}_nlevels"] = len(rows[0])
            for level, texts in enumerate(zip(*rows, strict=True)):
                known = sorted(set(texts))
                group[f"{name}_level{level}"] = np.array([text.encode() for text in known])
                labels = np.array([known.index(text) for text in texts], np.int8)
                group[f"{name}_label{level}"] = labels

        axis("axis0", columns)
        axis("axis1", names)
        axis("block0_items", columns)
        group["block0_values"] = numbers(len(columns))
    return folder / "CollectedData_Anna.h5"


def write_table(folder, individuals=(), protocol=0):
    """pandas' table form: names of columns in a pickled attribute."""
    frames(folder)
    columns = columns_of(individuals)
    kind = [("index", "S60"), ("values_block_0", "<f8", (len(columns),))]
    table = np.zeros(3, kind)
    table["index"] = [f"labeled-data/{folder.name}/{name}".encode() for name in NAMES]
    table["values_block_0"] = numbers(len(columns))
    with h5py.File(folder / "CollectedData_Anna.h5", "w") as file:
        group = file.create_group("df_with_missing")
        group["table"] = table
        axes = pickle.dumps([(1, columns)], protocol=protocol)
        group.attrs["non_index_axes"] = np.void(axes) if protocol else np.bytes_(axes)
    return folder / "CollectedData_Anna.h5"


WRITERS = {
    "csv": write_csv,
    "csv, one column": lambda folder, *a: write_csv(folder, *a, parts_of_path=False),
    "csv, Windows": lambda folder, *a: write_csv(folder, *a, parts_of_path=False, separator="\\"),
    "csv, byte order mark": lambda folder, *a: write_csv(folder, *a, encode="utf-8-sig"),
    "fixed": write_fixed,
    "fixed, one column": lambda folder, *a: write_fixed(folder, *a, parts_of_path=False),
    "table": write_table,
    "table, newer pickle": lambda folder, *a: write_table(folder, *a, protocol=4),
}


@pytest.mark.parametrize("form", WRITERS)
def test_one_animal(tmp_path, form):
    path = WRITERS[form](tmp_path / "labeled-data" / "mouse 1")
    records = load_records(f"dlc:{path}")
    assert records.skeleton.joints == ("snout", "left_ear", "right_ear")
    assert records.skeleton.flip_order == (0, 2, 1)
    assert records.joints[0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert records.joints[2].tolist() == [[200, 201], [202, 203], [204, 205]]
    assert records.visibility.tolist() == [[2, 2, 2], [2, 0, 2], [2, 2, 2]]
    assert records.boxes[0].tolist() == [2, 3, 5]  # from (0, 1) to (4, 5), times 1.25
    assert [name.rsplit("/", 1)[1] for name in records.images] == NAMES
    assert not records.notes and records.extra["image_number"].tolist() == [1, 2, 3]


@pytest.mark.parametrize("form", WRITERS)
def test_several_animals(tmp_path, form):
    path = WRITERS[form](tmp_path / "labeled-data" / "mice", ("one", "two"))
    records = load_records(f"dlc:{path}")
    assert len(records) == 6
    assert records.extra["individual"].tolist() == ["one", "two"] * 3
    assert records.joints[1].tolist() == [[6, 7], [8, 9], [10, 11]]
    assert records.extra["image_number"].tolist() == [1, 1, 2, 2, 3, 3]


def project(folder):
    limbs = [["snout", "leftear"], ["snout", "rightear", "tail"]]
    facts = {"Task": "walk", "scorer": "Anna", "bodyparts": list(PARTS), "skeleton": limbs}
    for video in ("a", "b"):
        write_csv(folder / "labeled-data" / video)
        write_fixed(folder / "labeled-data" / video)
    (folder / "config.yaml").write_text(
        yaml.safe_dump(facts) + "video_sets:\n  ? C:\\videos\\a.avi\n  : crop: 0, 60, 0, 40\n"
    )
    return folder


def test_a_project(tmp_path, capsys):
    folder = project(tmp_path / "walk-Anna-2026-11-26")
    for place in (folder, folder / "config.yaml"):
        assert len(load_records(f"dlc:{place}")) == 6
    records = load_records(f"dlc:{folder}@b")
    assert len(records) == 3 and "/b/" in records.images[0]
    assert records.skeleton.limbs == (("snout", "left_ear"),)
    # The limbs are known of a single file and its folder, too.
    for place in ("labeled-data/a", "labeled-data/a/CollectedData_Anna.csv"):
        assert load_records(f"dlc:{folder / place}").skeleton.limbs == (("snout", "left_ear"),)
    with pytest.raises(DataError, match="with the video c"):
        load_records(f"dlc:{folder}@c")
    assert main(["data", "check", str(folder), "--out", str(tmp_path / "out")]) in (0, 1)
    assert "6 people on 6 pictures, 3 joints (dlc)" in capsys.readouterr().out


def test_frames_elsewhere_and_missing(tmp_path):
    path = write_csv(tmp_path / "labeled-data" / "a")
    (path.parent / NAMES[1]).rename(tmp_path / NAMES[1])
    records = load_records(f"dlc:{path}")
    assert len(records) == 2 and NAMES[1] in records.notes[0]
    for name in (NAMES[0], NAMES[2]):
        (path.parent / name).rename(tmp_path / name)
    assert len(load_records(f"dlc:{path}", images=tmp_path)) == 3


def test_one_labelled_spot_gets_the_whole_frame(tmp_path):
    path = write_csv(tmp_path / "a")
    lines = path.read_text().splitlines()
    lines[3] = ",".join(lines[3].split(",")[:5]) + ",,,,"
    path.write_text("\n".join(lines))
    records = load_records(f"dlc:{path}")
    assert records.boxes[0].tolist() == [29.5, 19.5, 60]
    assert "the box is the whole frame" in records.remarks[0]


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "must begin with rows named scorer"),
        ("a,b\n1,2\n", "must begin with rows named scorer"),
        ("scorer,A,A\nbodyparts,n,n\ncoords,x,y\n", "rows of frames"),
        ("scorer,A,A,A\nbodyparts,n,n,n\ncoords,x,y,likelihood\n0,1,2,0.9\n", "predictions"),
        ("scorer,A,A\nbodyparts,n,n\ncoords,x,z\na.png,1,2\n", "named by scorer"),
        ("scorer,A,A\nbodyparts,n,m\ncoords,x,y\na.png,1,2\n", "without x or without y"),
        ("scorer,A,A\nbodyparts,n\ncoords,x,y\na.png,1,2\n", "different lengths"),
        ("scorer,A,A\nbodyparts,n,n\ncoords,x,y\na.png,one,\n", "labelled"),
        ("scorer,A,A\nbodyparts,n,n\ncoords,x,y\na.png,1e300,1\n", "no pixels"),
    ],
)
def test_other_csv_files_are_named(tmp_path, text, message):
    path = tmp_path / "CollectedData_A.csv"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_records(f"dlc:{path}")
    assert "\n" not in str(caught.value)


def test_other_hdf5_files_are_named_and_nothing_is_unpickled(tmp_path):
    path = tmp_path / "CollectedData_A.h5"
    with pytest.raises(DataError, match="CollectedData"):
        load_records(f"dlc:{tmp_path}")
    path.write_bytes(b"no HDF5")
    with pytest.raises(DataError, match="Name the .csv beside it"):
        load_records(f"dlc:{path}")

    class Trap:
        def __reduce__(self):
            return (open, (str(tmp_path / "opened"), "w"))

    write_table(tmp_path)
    with h5py.File(tmp_path / "CollectedData_Anna.h5", "r+") as file:
        axes = pickle.dumps([(1, columns_of(())), Trap()])
        file["df_with_missing"].attrs["non_index_axes"] = np.void(axes)
    with pytest.raises(DataError, match="names of columns hold"):
        load_records(f"dlc:{tmp_path / 'CollectedData_Anna.h5'}")
    assert not (tmp_path / "opened").exists()
