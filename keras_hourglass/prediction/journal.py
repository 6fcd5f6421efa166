"""What a run of `predict` has done so far, kept in its folder, so that another can go on."""

import contextlib
import csv
import json
import os
import pathlib
import threading

from keras_hourglass.errors import UserError, optional
from keras_hourglass.io.files import atomic_path, only_one, refuse_link
from keras_hourglass.io.structured import boundary, check_depth, csv_cell, existing, shorten
from keras_hourglass.prediction.picture_poses import columns_of

NAME = ".unfinished-predict.jsonl"
_WHAT, _REMEDY = "journal of an unfinished run", "Begin anew with --overwrite"
# Rows of a table that are in memory at once.
_ROWS = 10_000


class Journal:
    """The pictures of a run that are done, a line each, and the rows of its tables.

    A line is written when all files of its picture have their names, and in one piece: whatever
    ends the process, a picture is in the journal with all its files, or it is done again. Nothing
    but places in the file is kept in memory, so a million pictures fit.

    Args:
        folder: where the results go, and the hidden file of this class.
        options: dict of what changes results; a run that goes on must have the same.
        resume: go on where the journal in the folder ends, if there is one; else an older journal
            is forgotten.

    Raises:
        UserError: if the journal's run had other options, or another process writes it.
    """

    def __init__(self, folder, options, resume=False):
        self.path = pathlib.Path(folder) / NAME
        # What is compared has been through JSON once.
        self._options = json.loads(json.dumps(options))
        self.stems, self._places, self.resumed = {}, {}, False
        refuse_link(self.path)
        self._locked = contextlib.ExitStack()
        self._locked.enter_context(only_one(self.path.with_suffix(".lock"), "predict"))
        try:
            if resume and self.path.exists():
                self._read()
            self._file = open(self.path, "ab" if self.resumed else "wb")
            self._writing = threading.Lock()
            if not self.resumed:
                self._append({"options": self._options})
        except BaseException:
            self._locked.close()
            raise

    def __len__(self):
        return len(self._places)

    def __contains__(self, stem):
        return stem in self._places

    def _read(self):
        """Places of what is done; a last line that was cut off is forgotten."""
        with open(existing(self.path, _WHAT), "rb+") as file, boundary(self.path, _WHAT, _REMEDY):
            place, taken = 0, set()
            for line in file:
                if not line.endswith(b"\n"):
                    file.truncate(place)
                    break
                entry = check_depth(json.loads(line))
                if place == 0:
                    self._compare(entry["options"])
                elif "names" in entry:
                    for source, stem in entry["names"].items():
                        # Results stay in their folder, and no picture's replace another's.
                        if not stem or os.path.basename(stem) != stem or "\0" in stem:
                            raise ValueError(f"{shorten(stem)!r} is no name of a file")
                        if stem.casefold() in taken and self.stems.get(source) != stem:
                            raise ValueError(f"{shorten(stem)!r} is the name of several results")
                        taken.add(stem.casefold())
                        self.stems[source] = stem
                else:
                    self._places[_checked_rows(entry)["stem"]] = place
                place += len(line)
        self.resumed = bool(place)

    def _compare(self, options):
        for name, value in self._options.items():
            if options.get(name) != value:
                raise UserError(
                    f"The run there had another {name}. Received: {value!r} after "
                    f"{options.get(name)!r}. Go on with the same, or begin anew with --overwrite."
                )

    def _append(self, entry):
        line = json.dumps(entry, allow_nan=False).encode(errors="backslashreplace") + b"\n"
        with self._writing:
            place = self._file.tell()
            self._file.write(line)
            self._file.flush()
        return place

    def plan(self, names):
        """Keep which stem each input has, before any of its files is written.

        Args:
            names: dict of input -> stem, without those of the run that is continued.
        """
        if names:
            self.stems.update(names)
            self._append({"names": names})

    def add(self, stem, rows):
        """A picture, or a frame of a video, is done.

        Args:
            stem: of its files; for a frame anything of its own.
            rows: its people as dicts of column -> value, `[]` where no table is wanted.
        """
        values = [list(row.values()) for row in rows]
        self._places[stem] = self._append({"stem": stem, "rows": values})

    def write_tables(self, paths, skeleton):
        """Write the rows of all pictures, in the order of their stems' plan, then frames.

        Args:
            paths: files `.csv` or `.parquet`, each taken as a whole.
            skeleton: the `Skeleton` of the model.

        Raises:
            UserError: if Parquet is asked for and pyarrow is not installed.
        """
        columns = columns_of(skeleton)
        with contextlib.ExitStack() as stack:
            writers = []
            for path in paths:
                temporary = stack.enter_context(atomic_path(path))
                kind = _Parquet if path.suffix == ".parquet" else _Csv
                writers.append(stack.enter_context(contextlib.closing(kind(temporary, columns))))
            waiting = []
            for row in self._rows(len(columns)):
                waiting.append(row)
                if len(waiting) == _ROWS:
                    _hand_out(writers, waiting)
                    waiting = []
            _hand_out(writers, waiting)

    def _rows(self, count):
        planned = [stem for stem in self.stems.values() if stem in self._places]
        known = set(planned)
        others = [stem for stem in self._places if stem not in known]
        with open(self.path, "rb") as file, boundary(self.path, _WHAT, _REMEDY):
            for stem in [*planned, *others]:
                file.seek(self._places[stem])
                for row in json.loads(file.readline())["rows"]:
                    if len(row) != count:
                        raise ValueError(f"a row of {len(row)} values for {count} columns")
                    yield row

    def close(self, finished=False):
        """Let go of the file; remove it if the run has come to its end."""
        self._file.close()
        if finished:
            self.path.unlink(missing_ok=True)
        self._locked.close()


def _checked_rows(entry):
    """An entry of a picture that is done, if its rows are of plain values, as tables have them."""
    plain = (str, int, float, type(None))
    rows = entry["rows"]
    if not isinstance(entry["stem"], str) or not all(
        isinstance(row, list) and all(isinstance(value, plain) for value in row) for row in rows
    ):
        raise ValueError(f"a line that is no picture: {shorten(entry)}")
    return entry


def _hand_out(writers, rows):
    for writer in writers:
        writer.write(rows)


class _Csv:
    """Rows of a table as text."""

    def __init__(self, path, columns):
        self._file = open(path, "w", encoding="utf-8", errors="backslashreplace", newline="")
        self._writer = csv.writer(self._file, lineterminator="\n")
        self._writer.writerow(map(csv_cell, columns))

    def write(self, rows):
        self._writer.writerows([csv_cell(value) for value in row] for row in rows)

    def close(self):
        self._file.close()


class _Parquet:
    """Rows of a table in Parquet, a group for each hand-out."""

    def __init__(self, path, columns):
        pyarrow, parquet = load_parquet()
        kinds = {"image": pyarrow.string(), "sure": pyarrow.bool_()}
        whole = dict.fromkeys(("frame", "person", "id"), pyarrow.int64())
        kinds = {**kinds, **whole}
        fields = []
        for column in columns:
            kind = pyarrow.bool_() if column.endswith("_present") else pyarrow.float64()
            fields.append((column, kinds.get(column, kind)))
        self._schema, self._table = pyarrow.schema(fields), pyarrow.table
        self._file = parquet.ParquetWriter(os.fspath(path), self._schema)

    def write(self, rows):
        columns = list(zip(*rows, strict=True)) or [()] * len(self._schema)
        named = dict(zip(self._schema.names, map(list, columns), strict=True))
        self._file.write_table(self._table(named, schema=self._schema))

    def close(self):
        self._file.close()


def load_parquet():
    """pyarrow and its writer of Parquet.

    Raises:
        UserError: if it is not installed.
    """
    try:
        return optional("pyarrow"), optional("pyarrow.parquet")
    except ImportError as error:
        raise UserError(
            f"Parquet is written by pyarrow, which is not installed ({error}). "
            "Run: pip install 'keras_hourglass[parquet]', or use --save csv."
        ) from error
