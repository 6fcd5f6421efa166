"""What a run of `predict` keeps of itself: nothing is done twice, nothing is lost."""

import csv
import json
import os

import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.prediction.journal import NAME, Journal
from keras_hourglass.prediction.picture_poses import columns_of
from keras_hourglass.skeletons import Skeleton

DOT = Skeleton("dot", ("dot",))
OPTIONS = {"model": "m", "flip": True}


def row(image, x=1.5, present=True, sure=False):
    """A row of the table of one joint, in the order of its columns."""
    known = (image, None, 1, 0.0, 0.0, 20.0, 30.0, 0.5)
    values = (*known, x, 2.0, 0.25, 0.75, present, None, sure, None)
    return dict(zip(columns_of(DOT), values, strict=True))


def test_a_line_for_each_picture_and_the_last_may_be_cut(tmp_path):
    journal = Journal(tmp_path, OPTIONS)
    journal.plan({"a.jpg": "a", "b.jpg": "b", "c.jpg": "c"})
    journal.add("b", [])
    journal.add("a", [row("a.jpg")])
    journal.close()
    path = tmp_path / NAME
    whole = path.read_bytes()
    assert len(whole.splitlines()) == 4
    # The process ended within the third picture's line.
    path.write_bytes(whole + b'{"stem": "c", "ro')

    journal = Journal(tmp_path, OPTIONS, resume=True)
    assert journal.resumed and len(journal) == 2 and "a" in journal and "c" not in journal
    assert journal.stems == {"a.jpg": "a", "b.jpg": "b", "c.jpg": "c"}
    journal.add("c", [row("c.jpg", x=9.25, present=False), row("c.jpg", sure=True)])
    journal.write_tables([tmp_path / "t.csv"], DOT)
    table = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    # In the order of the pictures, whatever was ready first.
    assert [line["image"] for line in table] == ["a.jpg", "c.jpg", "c.jpg"]
    assert [line["dot_x"] for line in table] == ["1.5", "9.25", "1.5"]
    assert [line["dot_present"] for line in table] == ["1", "0", "1"]
    assert [line["sure"] for line in table] == ["0", "0", "1"] and table[0]["frame"] == ""
    journal.close(finished=True)
    assert not path.exists() and [p.name for p in tmp_path.iterdir()] == ["t.csv"]


def test_rows_in_parquet_have_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    journal = Journal(tmp_path, OPTIONS)
    journal.plan({"a.jpg": "a"})
    journal.add("a", [row("a.jpg"), {**row("a.jpg"), "frame": 3, "id": 2, "seconds": 0.12}])
    journal.write_tables([tmp_path / "t.parquet", tmp_path / "t.csv"], DOT)
    journal.close()
    table = parquet.read_table(tmp_path / "t.parquet").to_pylist()
    assert table[0] == row("a.jpg")
    assert [line["frame"] for line in table] == [None, 3]
    assert table[0]["sure"] is False and table[1]["seconds"] == 0.12
    assert len((tmp_path / "t.csv").read_text().splitlines()) == 3


def test_nobody_anywhere_is_a_table_with_a_head(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    journal = Journal(tmp_path, OPTIONS)
    journal.add("a", [])
    journal.write_tables([tmp_path / "t.parquet", tmp_path / "t.csv"], DOT)
    journal.close()
    assert parquet.read_table(tmp_path / "t.parquet").shape == (0, 16)
    assert (tmp_path / "t.csv").read_text().splitlines() == [",".join(columns_of(DOT))]


def test_another_run_is_not_continued(tmp_path):
    Journal(tmp_path, OPTIONS).close()
    with pytest.raises(UserError, match="another flip. Received: False after True"):
        Journal(tmp_path, {**OPTIONS, "flip": False}, resume=True)
    # Refused, it is still there; begun anew, it is not.
    same = Journal(tmp_path, OPTIONS, resume=True)
    assert same.resumed
    same.close()
    fresh = Journal(tmp_path, {**OPTIONS, "flip": False})
    assert not fresh.resumed and len(fresh) == 0
    fresh.close()


def test_a_second_process_is_kept_out(tmp_path):
    first = Journal(tmp_path, OPTIONS)
    with pytest.raises(UserError, match="Another predict is writing to this folder"):
        Journal(tmp_path, OPTIONS, resume=True)
    first.close()
    Journal(tmp_path, OPTIONS, resume=True).close()


@pytest.mark.parametrize(
    "lines", ["[]\n", "{}\n", '{"options": 3}\n', '{"options": {}}\n{"a": 1}\n', "\0\n", "{\n"]
)
def test_a_damaged_journal_is_a_sentence(lines, tmp_path):
    (tmp_path / NAME).write_text(lines)
    with pytest.raises(UserError) as caught:
        Journal(tmp_path, {} if "{}}" in lines else OPTIONS, resume=True)
    assert "\n" not in str(caught.value) and "--overwrite" in str(caught.value)


def test_no_result_leaves_its_folder(tmp_path):
    for stem in ("../elsewhere", "/tmp/elsewhere", 3):
        lines = [{"options": OPTIONS}, {"names": {"a.jpg": "a", "b.jpg": stem}}]
        (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
        with pytest.raises(UserError, match="journal of an unfinished run.*--overwrite"):
            Journal(tmp_path, OPTIONS, resume=True)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
@pytest.mark.parametrize(
    "names",
    [
        {"a.jpg": ""}, {"a.jpg": "a\0b"}, {"a.jpg": 5}, {"a.jpg": None}, {"a.jpg": "a/"},
        {"a.jpg": "x", "b.jpg": "X"}, ["x"],
    ],
)  # fmt: skip
def test_names_of_results_are_names_and_of_one_picture_each(names, tmp_path):
    lines = [{"options": {}}, {"names": names}]
    (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match="Begin anew with --overwrite"):
        Journal(tmp_path, {}, resume=True)


@pytest.mark.parametrize("rows", [5, None, "ab", [5], [{"a": 1}], [[[1]]], [[1, {}]]])
def test_rows_are_plain_values(rows, tmp_path):
    lines = [{"options": {}}, {"names": {"a.jpg": "a"}}, {"stem": "a", "rows": rows}]
    (tmp_path / NAME).write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(UserError, match="Begin anew with --overwrite"):
        Journal(tmp_path, {}, resume=True)


def test_rows_of_other_columns_are_a_sentence_and_no_table(tmp_path):
    journal = Journal(tmp_path, {})
    journal.plan({"a.jpg": "a"})
    journal.add("a", [{"image": "a.jpg"}])
    with pytest.raises(UserError, match="a row of 1 values for .* Begin anew with --overwrite"):
        journal.write_tables([tmp_path / "poses.csv"], DOT)
    journal.close()
    assert not (tmp_path / "poses.csv").exists()


@pytest.mark.parametrize("name", [NAME, NAME.replace(".jsonl", ".lock")])
def test_nothing_is_written_through_a_link(name, tmp_path):
    """A folder that came in an archive, with a link in the place of the journal."""
    (tmp_path / "mine").write_text("precious")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / name).symlink_to(tmp_path / "mine")
    for resume in (False, True):
        with pytest.raises(UserError, match="a link to another place. Remove the link"):
            Journal(tmp_path / "out", {}, resume)
    assert (tmp_path / "mine").read_text() == "precious"


def test_a_pipe_in_the_place_of_a_journal_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / NAME)
    with pytest.raises(UserError, match="a pipe or a device"):
        Journal(tmp_path, OPTIONS, resume=True)


def test_an_empty_journal_is_a_beginning(tmp_path):
    (tmp_path / NAME).write_bytes(b"")
    journal = Journal(tmp_path, OPTIONS, resume=True)
    assert not journal.resumed
    journal.close()
    assert json.loads((tmp_path / NAME).read_text()) == {"options": OPTIONS}
