"""The trained weights that come with the package: `weights/manifest.json`, one record each."""

import json
import pathlib

from keras_hourglass.errors import WeightsError
from keras_hourglass.io.download import download, sha256_of, verify
from keras_hourglass.io.files import atomic_write

# What every record says; `file` (beside the manifest) or `address` (https) tells where it is.
FIELDS = {
    "name": "name of the preset",
    "sha256": "checksum of the weights file",
    "size": "its bytes",
    "architecture": "the row of zoo.py it fills",
    "skeleton": "name of the skeleton",
    "training_data": "what it was trained on",
    "licence": "terms of the weights",
    "metric": "measured accuracy: name, value in percent, data",
    "command": "the command that made it",
}
PLACES = ("file", "address")


def weights_folder():
    """The folder of the manifest: inside an installed package, beside the package in a checkout."""
    package = pathlib.Path(__file__).resolve().parents[1]
    inside = package / "weights"
    return inside if (inside / "manifest.json").is_file() else package.parent / "weights"


def read_manifest(folder=None):
    """All records, name -> dict.

    Args:
        folder: the folder of `manifest.json`; the package's own by default.

    Returns:
        A dict, empty where there is no manifest.

    Raises:
        WeightsError: if the manifest is damaged or a record lacks a field.
    """
    path = pathlib.Path(folder or weights_folder()) / "manifest.json"
    if not path.is_file():
        return {}
    try:
        records = json.loads(path.read_text(encoding="utf-8"))["weights"]
        by_name = {record["name"]: record for record in records}
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(
            f'{path} must read {{"weights": [records]}}. Received: {type(error).__name__} '
            f"({error}). Install the package again."
        ) from None
    for name, record in by_name.items():
        lacking = [field for field in FIELDS if field not in record]
        if lacking or not any(place in record for place in PLACES):
            raise WeightsError(
                f"Each record of {path} has the fields {', '.join(FIELDS)} and file or address. "
                f"Received: {name} without {', '.join(lacking) or 'a place'}. Complete it."
            )
    return by_name


def trained_as(architecture, records=None):
    """The names of trained presets that fill a row of `zoo.py`.

    Args:
        architecture: name of the row.
        records: as from `read_manifest`, by default its own.
    """
    records = read_manifest() if records is None else records
    return [name for name, record in records.items() if record["architecture"] == architecture]


def add_record(record, folder=None):
    """Put a record into the manifest, in place of an older one of the same name.

    Args:
        record: the fields of `FIELDS` except `sha256` and `size`, which are measured here, and
            `file`, the path of the weights below the manifest's folder.
        folder: the folder of `manifest.json`; the package's own by default.

    Raises:
        WeightsError: if a field is lacking.
    """
    folder = pathlib.Path(folder or weights_folder())
    path = folder / record["file"]
    record = {**record, "sha256": sha256_of(path), "size": path.stat().st_size}
    lacking = [field for field in FIELDS if field not in record]
    if lacking:
        raise WeightsError(
            f"A record has the fields {', '.join(FIELDS)}. Received one without "
            f"{', '.join(lacking)}. Add what is lacking."
        )
    records = {**read_manifest(folder), record["name"]: record}
    text = json.dumps({"weights": list(records.values())}, indent=1, ensure_ascii=False)
    atomic_write(folder / "manifest.json", text + "\n")


def find_weights(record, folder=None):
    """The verified weights file of a record, downloaded if it does not travel with the package.

    Args:
        record: a record of `read_manifest`.
        folder: the folder of `manifest.json`; the package's own by default.

    Raises:
        WeightsError: if the file is missing, damaged or was changed.
    """
    if "file" in record:
        path = pathlib.Path(folder or weights_folder()) / record["file"]
        if path.is_file():
            verify(path, record["sha256"], record["size"])
            return path
        if "address" not in record:
            raise WeightsError(
                f"The weights of {record['name']} are missing. Received: no file {path}. "
                "Install the package again."
            )
    return download(record["address"], record["sha256"], record["size"])
