"""Put trained weights into `weights/`: folder, model card, checksum and record in the manifest."""

import csv
import json
import pathlib
import re
from typing import Any

from keras_hourglass.errors import WeightsError
from keras_hourglass.io.download import sha256_of
from keras_hourglass.io.files import atomic_path, atomic_write
from keras_hourglass.io.structured import read_json
from keras_hourglass.zoo.card import card_text
from keras_hourglass.zoo.store import (
    CARD,
    CONFIG,
    FIELDS,
    WEIGHTS,
    add_record,
    load_model,
    read_manifest,
    save_preset,
    weights_folder,
)

RECIPE, LOG, CURVES = "recipe.yaml", "log.csv", "curves.png"
_MEASURED = ("name", "sha256", "size", "skeleton")


def publish(
    source, name, facts, thresholds=None, preprocessing=None, dtype="float16", folder=None
):  # fmt: skip
    """Make a trained model a preset that travels with the package.

    The recipe and the log of a training run come along, the log also as a picture.

    Args:
        source: a training run's output folder, or whatever else `load_model` takes.
        name: the preset's name, e.g. `hourglass_small_lsp`.
        facts: what a person must know: `architecture` (the row of `presets.PRESETS` it fills),
            `training_data`, `licence`, `metric` (`{"name", "value", "data"}`, in percent),
            `command`, and for the model card anything else (`description`, `hours`, `hardware`,
            `tables`, `limits`, …).
        thresholds: joint name -> least score of a present joint; the model's own by default.
        preprocessing: settings that differ from the model's own, e.g. `{"decoder": "dark"}`.
        dtype: of the stored weights.
        folder: the folder of `manifest.json`; the package's own by default.

    Returns:
        The path of the new preset folder; one of the same name is replaced.

    Raises:
        WeightsError: if a fact is lacking.

    Example:

    >>> publish("runs/small", "hourglass_small_lsp", facts)  # doctest: +SKIP
    """
    lacking = [field for field in FIELDS if field not in (*facts, *_MEASURED)]
    if lacking:
        told = ", ".join(f"{field} ({FIELDS[field]})" for field in lacking)
        raise WeightsError(f"Published weights state their origin. Received none of: {told}.")
    root = pathlib.Path(folder or weights_folder())
    target = root / name
    model = load_model(source)
    card = {**model.metadata.get("card", {}), **_files_of_run(source, target), **facts}
    card["name"] = name
    settings = {**model.preprocessing, **(preprocessing or {})}
    save_preset(model, target, settings, thresholds, card, dtype=dtype, overwrite=True)
    return _record(target, root)


def revise(name, facts=None, thresholds=None, preprocessing=None, folder=None):
    """Change what is said of published weights; the weights themselves stay.

    Args:
        name: the preset's name.
        facts: facts that are new or differ, as for `publish`; `None` removes one.
        thresholds: joint name -> least score of a present joint, in place of all before.
        preprocessing: settings that differ from those before.
        folder: the folder of `manifest.json`; the package's own by default.

    Returns:
        The path of the preset folder, whose card is written anew.

    Raises:
        WeightsError: if there are no published weights of that name.

    Example:

    >>> revise("hourglass_small_lsp", {"hardware": "two processor cores"})  # doctest: +SKIP
    """
    root = pathlib.Path(folder or weights_folder())
    if name not in read_manifest(root):
        raise WeightsError(
            f"Only published weights can be revised. Received: {name}, which "
            f"{root / 'manifest.json'} does not list. Publish them first."
        )
    path = root / name / CONFIG
    config = read_json(path, "preset's config", WeightsError)
    card = {**config.get("card", {}), **(facts or {})}
    config["card"] = {key: value for key, value in card.items() if value is not None}
    if thresholds is not None:
        config["thresholds"] = dict(thresholds)
    if preprocessing is not None:
        config["preprocessing"] = {**config.get("preprocessing", {}), **preprocessing}
    _write_config(path, config)
    return _record(root / name, root)


def _record(target, root):
    """Measure the weights and write config, card and record of the manifest to match."""
    weights, path = target / WEIGHTS, target / CONFIG
    config = read_json(path, "preset's config", WeightsError)
    # Whoever fetches the folder from elsewhere can then tell that nothing was changed.
    config["weights"] = {"sha256": sha256_of(weights), "size": weights.stat().st_size}
    _write_config(path, config)
    architecture, card = config["architecture"], config["card"]
    metadata = {key: value for key, value in config.items() if key != "architecture"}
    atomic_write(target / CARD, card_text(architecture, metadata))
    record = {field: card[field] for field in FIELDS if field in card}
    skeleton = architecture["skeleton"]
    record["skeleton"] = skeleton["name"] if skeleton else None
    if "description" in card:
        record["description"] = card["description"]
    add_record({**record, "name": target.name, "file": f"{target.name}/{WEIGHTS}"}, root)
    return target


def _write_config(path, config):
    atomic_write(path, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def _files_of_run(source, target):
    """Copy a run's recipe and log, draw the log; the facts that name them."""
    run = pathlib.Path(str(source))
    facts: dict[str, Any] = {}
    if run.resolve() != target.resolve():
        for name in (RECIPE, LOG, CURVES):  # of earlier weights of this name
            (target / name).unlink(missing_ok=True)
    if (run / RECIPE).is_file():
        atomic_write(target / RECIPE, (run / RECIPE).read_bytes())
        facts["recipe"] = f"[{RECIPE}]({RECIPE})"
    if (run / LOG).is_file():
        atomic_write(target / LOG, (run / LOG).read_bytes())
        draw_log(target / LOG, target / CURVES)
        caption = f"Loss and accuracy of the validation data after each epoch ([{LOG}]({LOG}))"
        facts["curves"] = {"picture": CURVES, "caption": caption}
    return facts


def draw_log(log, path):
    """Draw a training's loss and accuracy over its epochs.

    Args:
        log: the `log.csv` of a run: a row per epoch with `epoch` (from 0), `loss`, `val_loss`
            and, for each stack, `val_stack_1_pck` and so on, shares from 0 to 1.
        path: the picture to write.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with open(log, newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    epochs = [int(row["epoch"]) + 1 for row in rows]
    figure = Figure(figsize=(7, 2.8), layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    for axis, pattern, factor in ((left, r"(val_)?loss$", 1), (right, r"(val_.*)?pck$", 100)):
        for name in rows[0] if rows else ():
            values = [float(row[name] or "nan") * factor for row in rows if re.match(pattern, name)]
            if values and "source" not in name:
                axis.plot(epochs, values, ".-", label=name.replace("_", " "), linewidth=1)
        axis.set_xlabel("epoch")
        axis.grid(alpha=0.3)
        if axis.lines:
            axis.legend(fontsize=7)
    left.set(ylabel="loss", yscale="log")
    right.set(ylabel="PCK (%)", ylim=(0, 100))
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
