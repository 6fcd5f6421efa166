"""From the name, folder, file or address of a network to the model, and back into a folder.

A preset folder holds `config.json` (architecture, preprocessing, thresholds, card),
`model.weights.h5` and `README.md`, the model card. A training run's output folder is one, too.
"""

import json
import pathlib
from typing import Any

from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.io.files import atomic_writes
from keras_hourglass.network.config import DEFAULTS, complete
from keras_hourglass.network.graph import Graph, Snapshot
from keras_hourglass.skeletons import Skeleton, get_skeleton
from keras_hourglass.typing import Path
from keras_hourglass.zoo.manifest import read_manifest, trained_as
from keras_hourglass.zoo.origins import (
    CONFIG,
    WEIGHTS,
    config_of_record,
    open_source,
    weights_of_record,
)
from keras_hourglass.zoo.presets import PRESETS

CARD = "README.md"

# Arguments that weights do not depend on.
OVERRIDES = ("input_shape", "synchronized", "dtype", "name")


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


def describe(name: str, records: dict | None = None) -> dict:
    """What `keras-hourglass info` says of a preset `name`; see `list_presets`.

    Raises:
        UserError: if there is no preset of that name.
    """
    records = read_manifest() if records is None else records
    if name not in PRESETS and name not in records:
        raise UserError(
            f"No such preset. Received: {name}. Choose one of {', '.join((*PRESETS, *records))}."
        )
    record = records.get(name)
    graph = Graph(_architecture(name, record))
    config = graph.config
    skeleton = config["skeleton"]
    base = PRESETS.get(record["architecture"], {}) if record else PRESETS[name]
    return {
        "name": name,
        "description": (record or {}).get("description", base.get("description", "")),
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
    skeleton: Skeleton | str | dict | None = None,
    load_weights: bool = True,
    **overrides,
) -> Any:
    """Turn a name, path or address into a model.

    Args:
        source: name of a preset (`keras-hourglass list`), a preset folder, a training run's
            output folder, a `.keras` file, or the `https://` or `hf://` address of such a folder
            or file (`#sha256=…` after it pins the weights).
        num_keypoints: K of the model, if other than the source's. The convolutions at the
            heatmaps then start anew, except for joints of the same name.
        skeleton: name, `Skeleton` or dict, if other than the source's; joints of the same name
            keep their weights, and a log message says which.
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
    from keras_hourglass.zoo import transfer as heads
    from keras_hourglass.zoo import weights as loading

    unknown = sorted(set(overrides) - set(OVERRIDES))
    if unknown:
        raise UserError(
            f"Only {', '.join(OVERRIDES)} may differ from the preset's. "
            f"Received: {', '.join(unknown)}. Build a StackedHourglass for another architecture."
        )
    config, weights = resolve(source, load_weights)
    if load_weights and weights is None:
        raise WeightsError(_without_weights(source))
    target = _with_joints(config, num_keypoints, skeleton)
    model = StackedHourglass.from_config({**target, **overrides})
    if load_weights:
        arrays = loading.read_arrays(model, weights, str(source))
        if target is not config:
            arrays = heads.match_heads(model, arrays, joints_of(config), str(source))
        loading.assign_arrays(model, arrays, str(source))
    return model


def load_snapshot(source: Path) -> Snapshot:
    """Turn a name, path or address into a network with weights that Keras has not built.

    Args:
        source: as for `load_model`.

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
        weights = weights_of_record(record) if record and load_weights else None
        return dict(_architecture(text, record)), weights
    return open_source(source, load_weights)


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


def joints_of(config: dict) -> tuple[str, ...] | None:
    """The joints of a model's `config`, see `Skeleton`; `None` where it has no skeleton."""
    skeleton = config.get("skeleton")
    return None if skeleton is None else get_skeleton(skeleton).joints


def _architecture(name, record):
    """The arguments of a named preset: its own folder's config, or its row."""
    if record is None:
        return PRESETS[name]["architecture"]
    return config_of_record(record)


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
