"""From the name, folder, file or address of a network to the model, and back into a folder.

Names are rows of `PRESETS`, or trained weights that come with the package: `weights/manifest.json`
has a record of each, and each is a preset folder.

A preset folder holds `config.json` (architecture, preprocessing, thresholds, card),
`model.weights.h5` and `README.md`, the model card. A training run's output folder is one, too.
"""

import io
import json
import os
import pathlib
import re
import urllib.parse
import zipfile
from collections.abc import Sequence
from typing import Any

from keras_hourglass.choices import MAX_SIGMA
from keras_hourglass.errors import (
    UserError,
    WeightsError,
    checks_arguments,
    did_you_mean,
    printable,
)
from keras_hourglass.io.download import download, is_address, resolve_address, sha256_of, verify
from keras_hourglass.io.files import atomic_write, atomic_writes
from keras_hourglass.io.structured import boundary, parse_json, read_json, shorten
from keras_hourglass.network.config import DEFAULTS, complete, wrong_metadata
from keras_hourglass.network.graph import Graph, Snapshot
from keras_hourglass.skeletons import PEOPLE, Skeleton, get_skeleton
from keras_hourglass.typing import Path, is_number
from keras_hourglass.zoo import hubs
from keras_hourglass.zoo.presets import PRESETS

CONFIG, WEIGHTS, CARD = "config.json", "model.weights.h5", "README.md"

# Arguments that weights do not depend on.
OVERRIDES = ("input_shape", "synchronized", "dtype", "name")

# What every record says; `file` (beside the manifest) or `address` (https) tells where it is.
FIELDS = {
    "name": "name of the preset",
    "sha256": "checksum of the weights file",
    "size": "its bytes",
    "architecture": "the row of zoo/presets.py it fills",
    "skeleton": "name of the skeleton",
    "training_data": "what it was trained on",
    "licence": "terms of the weights",
    "metric": "measured accuracy: name, value in percent, data",
    "command": "the command that made it",
}
_PLACES = ("file", "address")
# Of presets, and of the folders and files that a record names.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

_ARGUMENTS = (*DEFAULTS, "name", "dtype")
_STATE = ("trainable", "frozen")  # of a model that Keras saved, and no argument
# Bounds on what is unpacked from an archive, against files made to fill the memory.
_MAX_CONFIG, _MAX_WEIGHTS = 16 * 1024**2, 2 * 1024**3


def list_presets() -> list[dict]:
    """All presets, trained ones included.

    Returns:
        A list of dicts with `name`, `description`, `input_size`, `num_keypoints`, `skeleton`,
        `num_stacks`, `num_features`, `parameters`, `gflops` (of one image), and for trained ones
        the record of the manifest under `weights`, else `None`.

    Example:

    >>> [row["gflops"] > 0 for row in list_presets() if row["name"] == "hourglass_tiny"]
    [True]
    """
    records = read_manifest()
    return [describe(name, records) for name in (*PRESETS, *records)]


def preset_table() -> dict[str, dict]:
    """What `StackedHourglass.presets` shows.

    Returns:
        Name -> a dict of `description`, `params` (variables that are trained), `trained` (whether
        weights come with it), `input_size` and `skeleton`.

    Example:

    >>> preset_table()["hourglass_tiny_lsp"]["params"]
    423420
    """
    return {
        row["name"]: {
            "description": row["description"],
            "params": row["parameters"],
            "trained": row["weights"] is not None,
            "input_size": row["input_size"],
            "skeleton": row["skeleton"],
        }
        for row in list_presets()
    }


def preset_named(text: str) -> str:
    """The preset that people mean by a part of its name, in any case and with any separators.

    Args:
        text: what they wrote.

    Returns:
        The name of a trained preset if exactly one has all the words in its name, or exactly one of
        those for everyday people, else the text as it is, which may be a path.

    Example:

    >>> preset_named("Tiny-LSP"), preset_named("tiny"), preset_named("runs/mine")
    ('hourglass_tiny_lsp', 'hourglass_tiny_people', 'runs/mine')
    """
    records = read_manifest()
    if text in records or text in PRESETS or os.path.exists(text):
        return text
    wanted = set(re.split(r"[-_ ]+", text.lower()))
    fitting = [name for name in records if wanted <= set(name.split("_"))]
    if len(fitting) > 1:
        fitting = [name for name in fitting if records[name]["skeleton"] == PEOPLE.name]
    return fitting[0] if len(fitting) == 1 else text


def describe(name: str, records: dict | None = None) -> dict:
    """What `keras-hourglass info` says of a preset; see `list_presets`.

    Args:
        name: of the zoo, or a preset's folder, `.keras` file or address, as `load_model` takes it.
        records: the manifest of trained weights, if it has been read.

    Returns:
        A dict; `weights` is the record of the manifest, `None` where the zoo has none.

    Raises:
        UserError: if there is no such preset.

    Example:

    >>> describe("hourglass_tiny_lsp")["num_keypoints"]
    14
    """
    records = read_manifest() if records is None else records
    record, description = records.get(name), ""
    if record or name in PRESETS:
        base = PRESETS.get(record["architecture"], {}) if record else PRESETS[name]
        description = (record or {}).get("description", base.get("description", ""))
        arguments = _architecture(name, record)
    elif re.fullmatch(r"[\w-]+", name) and not os.path.exists(name):  # a name, no path or address
        raise UserError(
            f"No such preset. Received: {name}.{did_you_mean(name, (*PRESETS, *records))} "
            f"Choose one of {', '.join((*PRESETS, *records))}, or name a preset's folder."
        )
    else:
        arguments, _ = _open_source(name, load_weights=False)
    graph = Graph({key: value for key, value in arguments.items() if key in DEFAULTS})
    config = graph.config
    skeleton = config["skeleton"]
    return {
        "name": name,
        "description": description,
        "input_size": tuple(config["input_shape"][:2]),
        "num_keypoints": config["num_keypoints"],
        "skeleton": skeleton["name"] if skeleton else None,
        "num_stacks": config["num_stacks"],
        "num_features": config["num_features"],
        "supervision": config["supervision"],
        "parameters": graph.trainable,
        "gflops": graph.gflops,
        "weights": record,
    }


def load_model(
    source: Path,
    num_keypoints: int | None = None,
    skeleton: Skeleton | str | dict | Sequence[str] | None = None,
    load_weights: bool = True,
    **overrides,
) -> Any:
    """Turn a name, path or address into a model.

    Args:
        source: name of a preset (`keras-hourglass list`), a preset folder, a training run's
            output folder, a `.keras` file, or the `https://`, `hf://` or `kaggle://` address of
            such a folder or file (`#sha256=…` after it pins the weights). Repositories of the two
            hubs are fetched by their own libraries, huggingface_hub and kagglehub; without the
            first, its files are fetched one by one.
        num_keypoints: K of the model, if other than the source's. The convolutions at the
            heatmaps then start anew, except for joints of the same name.
        skeleton: name, `Skeleton`, dict or list of joints, if other than the source's; joints of
            the same name keep their weights, and a log message says which.
        load_weights: take the weights along; `False` starts from scratch.
        **overrides: `input_shape`, `synchronized`, `dtype` or `name`, if other than the source's.

    Returns:
        The `StackedHourglass`, not compiled.

    Raises:
        UserError: if there is no such preset or path, or an override changes the architecture.
        WeightsError: if weights are missing, damaged or of another architecture.

    Example:

    >>> load_model("hourglass_tiny", num_keypoints=5, load_weights=False).num_keypoints
    5
    """
    from keras_hourglass.network.model import StackedHourglass
    from keras_hourglass.zoo import weights as loading
    from keras_hourglass.zoo.transfer import match_heads

    unknown = sorted(set(overrides) - set(OVERRIDES))
    if unknown:
        raise UserError(
            f"Only {', '.join(OVERRIDES)} may differ from the preset's. "
            f"Received: {', '.join(unknown)}. Build a StackedHourglass for another architecture."
            f"{did_you_mean(unknown[0], (*OVERRIDES, 'num_keypoints', 'skeleton', 'load_weights'))}"
        )
    config, weights = resolve(source, load_weights)
    if load_weights and weights is None:
        raise WeightsError(_without_weights(source))
    target = _with_joints(config, num_keypoints, skeleton)
    if load_weights:
        # Before Keras makes room for the network that a config of others asks for.
        graph = Graph(config)
        arrays = loading.read_arrays(graph, weights, str(source))
        arrays = loading.checked(graph, arrays, str(source))
    model = StackedHourglass.from_config({**target, **overrides})
    if load_weights:
        if target is not config:
            arrays = match_heads(model, arrays, joints_of(config), str(source))
        loading.assign_arrays(model, arrays, str(source))
    return model


def load_snapshot(source: Path, input_shape: Sequence[int] | None = None) -> Snapshot:
    """Turn a name, path or address into a network with weights that Keras has not built.

    Args:
        source: as for `load_model`.
        input_shape: `(height, width, 3)` in input pixels, if other than the source's.

    Returns:
        The `Snapshot`, a graph and its arrays, which `Predictor` runs by other runtimes than Keras.

    Raises:
        UserError: if there is no such preset or path.
        WeightsError: if weights are missing, damaged or of another architecture.

    Example:

    >>> load_snapshot("hourglass_tiny_lsp").graph.input_shape
    (None, 128, 128, 3)
    """
    from keras_hourglass.zoo import weights as loading

    config, weights = resolve(source)
    if weights is None:
        raise WeightsError(_without_weights(source))
    if input_shape is not None:
        config = {**config, "input_shape": list(input_shape)}
    graph = Graph(config)
    arrays = loading.read_arrays(graph, weights, str(source))
    return Snapshot(graph, loading.checked(graph, arrays, str(source)))


def resolve(source: Path, load_weights: bool = True) -> tuple[dict, Any]:
    """The config behind a source and its weights.

    Args:
        source: as for `load_model`.
        load_weights: whether the weights are wanted, which may mean a download.

    Returns:
        The arguments of `StackedHourglass`, and the weights as a path or open binary file, or
        `None` if there are none or they are not wanted.

    Example:

    >>> config, weights = resolve("hourglass_tiny")
    >>> config["num_features"], weights
    (64, None)
    """
    text = str(source)
    records = read_manifest()
    if text in records or text in PRESETS:
        record = records.get(text)
        weights = find_weights(record) if record and load_weights else None
        return dict(_architecture(text, record)), weights
    return _open_source(source, load_weights)


def read_config(path: Path) -> tuple[dict, dict]:
    """The config of a preset folder.

    Args:
        path: its `config.json`.

    Returns:
        The arguments of `StackedHourglass`, and the record of the weights file (`sha256`, `size`)
        or an empty dict.

    Raises:
        UserError: if the file is missing or is not such a config.

    Example:

    >>> config, record = read_config(weights_folder() / "hourglass_tiny_lsp" / CONFIG)
    >>> config["num_stacks"], sorted(record)
    (2, ['sha256', 'size'])
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(
            f"A preset folder holds {CONFIG} and {WEIGHTS}. Received: {path.parent} without "
            f"{CONFIG}. Name the output folder of a training run or of save_to_preset."
        )
    remedy = "Write it again with save_to_preset"
    with boundary(path, "preset's config", remedy, UserError):
        if (size := path.stat().st_size) > _MAX_CONFIG:
            raise ValueError(f"it has {size:,} bytes, more than {_MAX_CONFIG:,}")
        config = read_json(path, "preset's config", UserError)
        architecture = dict(config.pop("architecture"))
        record = _checked_record(dict(config.pop("weights", {})))
        for part in config:
            # Preprocessing, thresholds, card: all of them tables.
            config[part] = dict(config[part])
        return _known({**architecture, "metadata": config}, path), record


def _checked_record(record):
    """The record of a file of weights, whose checksum and size are such where it has them."""
    sha256, size = record.get("sha256", "0" * 64), record.get("size", 0)
    if not re.fullmatch("[0-9a-fA-F]{64}", str(sha256)) or type(size) is not int or size < 0:
        raise ValueError(
            f"sha256={shorten(sha256)} and size={shorten(size)} of the weights, which are 64 "
            "hexadecimal digits and a number of bytes"
        )
    return {**record, "sha256": sha256.lower()} if "sha256" in record else record


def weights_folder() -> pathlib.Path:
    """The folder of the manifest: inside an installed package, beside the package in a checkout.

    Returns:
        The path of the folder.

    Example:

    >>> (weights_folder() / "manifest.json").is_file()
    True
    """
    package = pathlib.Path(__file__).resolve().parents[1]
    inside = package / "weights"
    return inside if (inside / "manifest.json").is_file() else package.parent / "weights"


def read_manifest(folder: Path | None = None) -> dict[str, dict]:
    """All records, name -> dict.

    Args:
        folder: the folder of `manifest.json`; the package's own by default.

    Returns:
        A dict, empty where there is no manifest.

    Raises:
        WeightsError: if the manifest is damaged or a record lacks a field.

    Example:

    >>> read_manifest()["hourglass_tiny_lsp"]["architecture"]
    'hourglass_tiny'
    """
    path = pathlib.Path(folder or weights_folder()) / "manifest.json"
    if not path.is_file():
        return {}
    with boundary(path, "list of weights", "Install the package again", WeightsError):
        by_name: dict = {}
        for record in read_json(path, "list of weights", WeightsError)["weights"]:
            _check_facts(record, path)
            if record["name"] in by_name:
                raise ValueError(f"{record['name']} stands there twice")
            by_name[record["name"]] = _checked_record(record)
    return by_name


def _check_facts(record, path):
    """Refuse a record of the manifest that lacks a field, or has one of another type."""
    name = record["name"]
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"a name is letters, digits, _, - and ., and not {_shown(name)}")
    lacking = [field for field in FIELDS if field not in record]
    if lacking or not any(place in record for place in _PLACES):
        raise WeightsError(
            f"Each record of {path} has the fields {', '.join(FIELDS)} and file or address. "
            f"Received: {name} without {', '.join(lacking) or 'a place'}. Complete it."
        )
    wrong = [
        field
        for field in (*FIELDS, *_PLACES, "description")
        if field not in ("size", "metric") and not isinstance(record.get(field, ""), str)
    ]
    if not wrong and not all(map(_NAME.fullmatch, record.get("file", name).split("/"))):
        wrong = ["file"]  # outside of the manifest's folder, for one
    metric = record["metric"]
    if not isinstance(metric, dict) or not (
        isinstance(metric.get("name"), str)
        and isinstance(metric.get("data"), str)
        and is_number(metric.get("value"))
    ):
        wrong.append("metric")
    if wrong:
        raise ValueError(
            f"{wrong[0]}={_shown(record[wrong[0]])} of {name}, where fields are texts, a file lies "
            "beside the manifest, and a metric has name, value and data"
        )


def _shown(value):
    """A value for messages, that commands no terminal."""
    return printable(shorten(repr(value)))


def trained_as(architecture: str, records: dict | None = None) -> list[str]:
    """The names of trained presets that fill a row of `PRESETS`.

    Args:
        architecture: name of the row.
        records: as from `read_manifest`, by default its own.

    Returns:
        The names.

    Example:

    >>> "hourglass_tiny_lsp" in trained_as("hourglass_tiny")
    True
    """
    records = read_manifest() if records is None else records
    return [name for name, record in records.items() if record["architecture"] == architecture]


def find_weights(record: dict, folder: Path | None = None) -> pathlib.Path:
    """The verified weights file of a record, downloaded if it does not travel with the package.

    Args:
        record: a record of `read_manifest`.
        folder: the folder of `manifest.json`; the package's own by default.

    Returns:
        The path of the file.

    Raises:
        WeightsError: if the file is missing, damaged or was changed.

    Example:

    >>> find_weights(read_manifest()["hourglass_tiny_lsp"]).name
    'model.weights.h5'
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


@checks_arguments
def save_preset(
    model: Any,
    folder: Path,
    preprocessing: dict | None = None,
    thresholds: dict | None = None,
    card: dict | None = None,
    dtype: str = "float32",
    overwrite: bool = False,
) -> None:
    """Write a model as a preset folder: all files are on the disk before the first is replaced.

    Args:
        model: the `StackedHourglass`.
        folder: where to; made if missing. Other files in it are left alone.
        preprocessing: how crops are made (`padding`, `sigma`, …); the model's own by default.
        thresholds: joint name -> least score of a present joint; the model's own by default.
        card: facts for the model card (`description`, `training_data`, `licence`, `metric`,
            `command`, …); the model's own by default.
        dtype: of the stored weights, `"float32"` or `"float16"`.
        overwrite: replace a preset that is already there.

    Raises:
        UserError: if the folder already holds a preset and `overwrite` is false.
        WeightsError: if weights are not finite; nothing is written then.

    Example:

    >>> save_preset(model, "my_preset", thresholds={"head_top": 0.3})  # doctest: +SKIP
    """
    from keras_hourglass.zoo.card import card_text
    from keras_hourglass.zoo.weights import weights_file

    folder = pathlib.Path(folder)
    there = [name for name in (CONFIG, WEIGHTS) if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f"The folder already holds a preset. Received: {folder} with {', '.join(there)}. "
            "Name a new folder, or pass overwrite=True."
        )
    given = {"preprocessing": preprocessing, "thresholds": thresholds, "card": card}
    metadata = {**model.metadata, **{k: dict(v) for k, v in given.items() if v is not None}}
    # How precisely to compute is for whoever runs the model to say.
    architecture = {key: model.get_config()[key] for key in DEFAULTS if key != "metadata"}
    config = {"architecture": architecture, **metadata}
    text = json.dumps(config, indent=1, ensure_ascii=False)
    files = {WEIGHTS: weights_file(model, dtype), CONFIG: text + "\n"}
    atomic_writes(folder, {**files, CARD: card_text(architecture, metadata)})


def save_thresholds(folder: Path, thresholds: dict[str, float]) -> None:
    """Keep the least score of a present joint in a preset, for `Pose.present`.

    Args:
        folder: a preset folder; only its config changes.
        thresholds: joint name -> least score. Joints that are not named keep what they had.

    Raises:
        UserError: if the folder holds no preset, or the preset has no such joint.

    Example:

    >>> save_thresholds("my_preset", {"left_ankle": 0.25})  # doctest: +SKIP
    """
    path = pathlib.Path(folder) / CONFIG
    names = joints_of(read_config(path)[0]) or tuple(thresholds)
    unknown = sorted(set(thresholds) - set(names))
    if unknown:
        raise UserError(
            f"Thresholds are of the preset's own joints. Received: {', '.join(unknown)} for "
            f"{folder}, which has {', '.join(names)}."
        )
    config = read_json(path, "preset's config", UserError)
    config["thresholds"] = {**config.get("thresholds", {}), **thresholds}
    atomic_write(path, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def add_record(record: dict, folder: Path | None = None) -> None:
    """Put a record into the manifest, in place of an older one of the same name.

    Args:
        record: the fields of `FIELDS` except `sha256` and `size`, which are measured here, and
            `file`, the path of the weights below the manifest's folder.
        folder: the folder of `manifest.json`; the package's own by default.

    Raises:
        WeightsError: if a field is lacking.

    Example:

    >>> add_record({"name": "mine", "file": "mine/model.weights.h5"})  # doctest: +SKIP
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
    # Networks for everybody come first wherever networks are listed.
    ordered = sorted(records.values(), key=lambda row: row["skeleton"] != PEOPLE.name)
    text = json.dumps({"weights": ordered}, indent=1, ensure_ascii=False)
    atomic_write(folder / "manifest.json", text + "\n")


def joints_of(config: dict) -> tuple[str, ...] | None:
    """The joints of a model's `config`, see `Skeleton`; `None` where it has no skeleton."""
    skeleton = config.get("skeleton")
    return None if skeleton is None else get_skeleton(skeleton).joints


def _architecture(name, record):
    """The arguments of a named preset: its own folder's config, or its row."""
    if record is None:
        return PRESETS[name]["architecture"]
    return _config_of_record(record)


def _config_of_record(record):
    """The arguments of `StackedHourglass` for trained weights of the manifest.

    Raises:
        UserError: if the config is missing or none.
        WeightsError: if it belongs to other weights than the record's.
    """
    path = weights_folder() / record["name"] / CONFIG
    config, own = read_config(path)
    # Weights of another version may fit the network and still want other crops.
    if (sha256 := own.get("sha256", record["sha256"])) != record["sha256"]:
        raise WeightsError(
            f"{path} is of another version of {record['name']}: its weights must have the sha256 "
            f"{record['sha256']}. Received: {sha256}. Install the package again."
        )
    return config


def _open_source(source, load_weights=True):
    """Config and weights of a path or address."""
    if folder := hubs.preset_folder(source):
        pinned = hubs.pinned(source)
        if load_weights and pinned:
            verify(pathlib.Path(folder) / WEIGHTS, pinned)
        return _open_source(folder, load_weights)
    if is_address(source):
        return _open_address(source, load_weights)
    path = pathlib.Path(source).expanduser()
    if path.is_dir():
        config, record = read_config(path / CONFIG)
        if load_weights and record:
            verify(path / WEIGHTS, record.get("sha256"), record.get("size"))
        return config, path / WEIGHTS if load_weights else None
    if path.suffix == ".keras" and path.is_file():
        return _open_archive(path, load_weights)
    if path.name.endswith(".weights.h5") and path.is_file():
        raise UserError(
            f"A file of weights alone does not say which network they are for. Received: {path}. "
            "Name the preset folder it is in, or build the model and use its load_weights."
        )
    raise UserError(
        f"No such preset, folder or .keras file. Received: {source}. "
        "See `keras-hourglass list`, or check the path."
        f"{did_you_mean(source, (*PRESETS, *read_manifest()))}"
    )


def _open_address(source, load_weights):
    address, _, fragment = source.partition("#")
    sha256 = urllib.parse.parse_qs(fragment).get("sha256", [None])[0]
    address = resolve_address(address).rstrip("/")
    if address.endswith(".keras"):
        return _open_archive(download(address, sha256), load_weights)
    config, record = read_config(download(f"{address}/{CONFIG}", limit=_MAX_CONFIG))
    if not load_weights:
        return config, None
    sha256 = sha256 or record.get("sha256")
    return config, download(f"{address}/{WEIGHTS}", sha256, record.get("size"))


def _open_archive(path, load_weights):
    """A `.keras` file, read as data: no object in it is brought to life."""
    remedy = "Save or download it again"
    with boundary(path, ".keras file", remedy, WeightsError), zipfile.ZipFile(path) as archive:
        config = parse_json(_member(archive, CONFIG, _MAX_CONFIG), path, CONFIG, WeightsError)
        weights = _member(archive, WEIGHTS, _MAX_WEIGHTS) if load_weights else None
        name, arguments = str(config["class_name"]), dict(config["config"])
    if name != "StackedHourglass":
        raise UserError(
            f"{path} must hold a StackedHourglass. Received: a {shorten(name)}. Name another file."
        )
    with boundary(path, ".keras file", remedy, WeightsError):
        return _known(arguments, path), None if weights is None else io.BytesIO(weights)


def _member(archive, name, limit):
    size = archive.getinfo(name).file_size
    # Weights are as good as not packed smaller, and Keras does not try.
    limit = min(limit, 4 * archive.fp.seek(0, io.SEEK_END) + 2**20)
    if size > limit:
        raise ValueError(f"{name} would unpack to {size} bytes, more than {limit}")
    return archive.read(name)


def _known(arguments, path):
    unknown = sorted(map(str, set(arguments) - {*_ARGUMENTS, *_STATE}))
    if unknown:
        raise UserError(
            f"{path} has arguments this version does not know. Received: "
            f"{shorten(', '.join(unknown))}. Update keras_hourglass."
        )
    metadata = arguments.get("metadata") or {}
    wrong = wrong_metadata(metadata)
    if wrong:
        raise UserError(
            "Thresholds of a preset are numbers, sigma and padding positive ones up to "
            f"{MAX_SIGMA:g}. Received: {shorten(', '.join(wrong))} in {path}. Write it again with "
            "save_to_preset."
        )
    known = {key: value for key, value in arguments.items() if key not in _STATE}
    complete({key: value for key, value in known.items() if key in DEFAULTS})
    return known


def _without_weights(source):
    """What to do where a row of the zoo is named and trained weights are wanted."""
    trained = trained_as(str(source))
    which = "Trained networks of this form" if trained else "Presets with weights"
    return (
        f"There are no trained weights for this architecture. Received: {source}. "
        f"{which}: {', '.join(trained or read_manifest()) or 'none'}. To train it, write "
        f"model: {{preset: {source}, pretrained: false}} into a recipe for `keras-hourglass "
        "train`; in Python, load_weights=False starts from scratch."
    )


def _with_joints(config, num_keypoints, skeleton):
    """The config with other joints, or the same object where none change."""
    if num_keypoints is None and skeleton is None:
        return config
    before = complete({key: config[key] for key in config if key in DEFAULTS})
    if skeleton is None and num_keypoints == before["num_keypoints"]:
        return config
    after = complete({"num_keypoints": num_keypoints, "skeleton": skeleton})
    metadata = dict(before["metadata"])
    joints = set((after["skeleton"] or {}).get("joints", ()))
    thresholds = metadata.get("thresholds", {})
    metadata["thresholds"] = {name: thresholds[name] for name in thresholds if name in joints}
    # What was measured for other joints does not hold for these.
    metadata.pop("card", None)
    changed = {key: after[key] for key in ("num_keypoints", "skeleton")}
    return {**config, **changed, "metadata": metadata}
