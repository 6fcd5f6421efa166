"""Data sets by their short name: `lsp:DIR#1-800`, `lspet:DIR`, ….

A spec is `KIND:WHERE`, optionally followed by `#FIRST-LAST`, which keeps pictures FIRST to LAST
(counted from 1, both ends included).
"""

import os
import re

from keras_hourglass.data.coco import read_coco
from keras_hourglass.data.lsp import read_lsp
from keras_hourglass.data.synthetic import PREFIX, render_named, synthetic_records
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.images import read_image
from keras_hourglass.skeletons import LSP

_READERS = {
    "lsp": lambda where: read_lsp(where),
    "coco": lambda where: read_coco(where),
    "lspet": lambda where: read_lsp(where, extended=True),
    "synthetic": lambda where: read_coco(where, skeleton=LSP),
}
_GENERATED = re.compile(r"(?P<num>\d+)@(?P<seed>\d+)(x(?P<size>\d+))?$")
_RANGE = re.compile(r"(?P<rest>.*)#(?P<first>\d+)-(?P<last>\d+)$", re.DOTALL)


def load_records(spec, root=None):
    """Read annotated people.

    Args:
        spec: `lsp:DIR`, `lspet:DIR`, each with an optional `#FIRST-LAST`.
        root: folder that relative paths in `spec` start from; the working folder by default.

    Returns:
        `PoseRecords` in the order of the files.

    Raises:
        UserError: if the spec cannot be understood.
        DataError: if the data cannot be read, or the range selects nobody.

    Example:

    >>> records = load_records("lsp:lsp_dataset#1-800")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    800
    """
    kind, colon, where = str(spec).partition(":")
    if not colon or kind not in _READERS or not where:
        raise UserError(
            f"A data set is named KIND:PATH[#FIRST-LAST] with KIND one of {', '.join(_READERS)}. "
            f"Received: {spec!r}. Write for example lsp:lsp_dataset#1-800."
        )
    match = _RANGE.match(where)
    if match:
        where = match["rest"]
    generated = _GENERATED.match(where) if kind == "synthetic" else None
    if generated:
        numbers = {name: int(text) for name, text in generated.groupdict().items() if text}
        records = synthetic_records(**numbers)
    else:
        path = where if root is None else os.path.join(root, where)
        records = _READERS[kind](path)
    if match:
        records = _select_range(records, int(match["first"]), int(match["last"]), spec)
    return records


def _select_range(records, first, last, spec):
    number = records.extra["image_number"]
    kept = (number >= first) & (number <= last)
    # A range that reaches past the end would quietly measure something else.
    if not kept.any() or last > number.max():
        raise DataError(
            f"The range of {spec!r} must lie within the pictures, which are numbered "
            f"{number.min()} to {number.max()}. Received: {first}-{last}."
        )
    return records.select(kept)


def open_image(path):
    """The picture of a record: a file, or a figure that is drawn when asked for.

    Args:
        path: an entry of `PoseRecords.images`.

    Returns:
        `(height, width, 3)` uint8 RGB.

    Raises:
        DataError: if it cannot be read.
    """
    if path.startswith(PREFIX):
        return render_named(path)
    return read_image(path)
