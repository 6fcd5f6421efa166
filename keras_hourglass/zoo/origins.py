"""Where a model can come from: preset folders, `.keras` files, addresses, manifest records."""

import io
import json
import math
import pathlib
import urllib.parse
import zipfile

from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.io import download as fetch
from keras_hourglass.network.config import DEFAULTS
from keras_hourglass.zoo.manifest import find_weights, weights_folder

CONFIG, WEIGHTS = "config.json", "model.weights.h5"
_ARGUMENTS = (*DEFAULTS, "name", "dtype")
# Bounds on what is unpacked from an archive, against files made to fill the memory.
_MAX_CONFIG, _MAX_WEIGHTS = 16 * 1024**2, 2 * 1024**3


def open_source(source, load_weights=True):
    """Config and weights of a path or address.

    Args:
        source: preset folder, `.keras` file, or their `https://` or `hf://` address.
        load_weights: whether weights are wanted, too.

    Returns:
        The arguments of `StackedHourglass`, and the weights as path or open file, or `None`.

    Raises:
        UserError: if there is nothing of the kind.
        WeightsError: if it is damaged.
    """
    if fetch.is_address(source):
        return _open_address(source, load_weights)
    path = pathlib.Path(source).expanduser()
    if path.is_dir():
        config, record = read_config(path / CONFIG)
        if load_weights and record:
            fetch.verify(path / WEIGHTS, record.get("sha256"), record.get("size"))
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
    )


def read_config(path):
    """The config of a preset folder.

    Args:
        path: its `config.json`.

    Returns:
        The arguments of `StackedHourglass`, and the record of the weights file (`sha256`, `size`)
        or an empty dict.

    Raises:
        UserError: if the file is missing or is not such a config.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise UserError(
            f"A preset folder holds {CONFIG} and {WEIGHTS}. Received: {path.parent} without "
            f"{CONFIG}. Name the output folder of a training run or of save_to_preset."
        )
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        architecture = dict(config.pop("architecture"))
        record = dict(config.pop("weights", {}))
        for part in config:
            # Preprocessing, thresholds, card: all of them tables.
            config[part] = dict(config[part])
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a preset's config ({type(error).__name__}: {error}). "
            "Write it again with save_to_preset."
        ) from None
    return _known({**architecture, "metadata": config}, path), record


def config_of_record(record):
    """The arguments of `StackedHourglass` for trained weights of the manifest."""
    return read_config(weights_folder() / record["name"] / CONFIG)[0]


def weights_of_record(record):
    """The verified weights file of a record of the manifest."""
    return find_weights(record)


def _open_address(source, load_weights):
    address, _, fragment = source.partition("#")
    sha256 = urllib.parse.parse_qs(fragment).get("sha256", [None])[0]
    address = fetch.resolve_address(address).rstrip("/")
    if address.endswith(".keras"):
        return _open_archive(fetch.download(address, sha256), load_weights)
    config, record = read_config(fetch.download(f"{address}/{CONFIG}"))
    if not load_weights:
        return config, None
    sha256 = sha256 or record.get("sha256")
    return config, fetch.download(f"{address}/{WEIGHTS}", sha256, record.get("size"))


def _open_archive(path, load_weights):
    """A `.keras` file, read as data: no object in it is brought to life."""
    try:
        with zipfile.ZipFile(path) as archive:
            config = json.loads(_member(archive, CONFIG, _MAX_CONFIG))
            weights = _member(archive, WEIGHTS, _MAX_WEIGHTS) if load_weights else None
        name, arguments = config["class_name"], dict(config["config"])
    except (zipfile.BadZipFile, KeyError, ValueError, TypeError, OSError) as error:
        raise WeightsError(
            f"{path} is not a complete .keras file ({error}). Save or download it again."
        ) from None
    if name != "StackedHourglass":
        raise UserError(
            f"{path} must hold a StackedHourglass. Received: a {name}. Name another file."
        )
    return _known(arguments, path), io.BytesIO(weights) if load_weights else None


def _member(archive, name, limit):
    size = archive.getinfo(name).file_size
    if size > limit:
        raise ValueError(f"{name} would unpack to {size} bytes, more than {limit}")
    return archive.read(name)


def _known(arguments, path):
    unknown = sorted(set(arguments) - {*_ARGUMENTS, "trainable"})
    if unknown:
        raise UserError(
            f"{path} has arguments this version does not know. Received: {', '.join(unknown)}. "
            "Update keras_hourglass."
        )
    metadata = arguments.get("metadata") or {}
    settings = metadata.get("preprocessing", {})
    numbers = {
        **metadata.get("thresholds", {}),
        **{name: settings[name] for name in ("sigma", "padding") if name in settings},
    }
    wrong = [f"{name}={value!r}" for name, value in numbers.items() if not _is_finite(value)]
    if wrong:
        raise UserError(
            f"Thresholds, sigma and padding of a preset are numbers. Received: {', '.join(wrong)} "
            f"in {path}. Write it again with save_to_preset."
        )
    return {key: value for key, value in arguments.items() if key != "trainable"}


def _is_finite(value):
    return isinstance(value, (int, float)) and math.isfinite(value)
