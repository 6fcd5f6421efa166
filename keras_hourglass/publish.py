"""Put trained weights into `weights/`: folder, model card, checksum and record in the manifest."""

import json
import pathlib

from keras_hourglass.errors import WeightsError
from keras_hourglass.fetch import sha256_of
from keras_hourglass.files import atomic_write
from keras_hourglass.manifest import FIELDS, add_record, weights_folder
from keras_hourglass.presets import load_model, save_preset
from keras_hourglass.sources import CONFIG, WEIGHTS

_MEASURED = ("name", "sha256", "size", "skeleton")


def publish(source, name, facts, thresholds=None, dtype="float16", folder=None):
    """Make a trained model a preset that travels with the package.

    Args:
        source: a training run's output folder, or whatever else `load_model` takes.
        name: the preset's name, e.g. `hourglass_small_lsp`.
        facts: what a person must know: `architecture` (the row of `zoo.PRESETS` it fills),
            `training_data`, `licence`, `metric` (`{"name", "value", "data"}`, in percent),
            `command`, and for the model card anything else (`description`, `hours`, `hardware`,
            `tables`, `limits`, …).
        thresholds: joint name -> least score of a present joint; the model's own by default.
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
    card = {**model.metadata.get("card", {}), **facts, "name": name}
    save_preset(model, target, None, thresholds, card, dtype=dtype, overwrite=True)
    weights = target / WEIGHTS
    config = json.loads((target / CONFIG).read_text(encoding="utf-8"))
    # Whoever fetches the folder from elsewhere can then tell that nothing was changed.
    config["weights"] = {"sha256": sha256_of(weights), "size": weights.stat().st_size}
    text = json.dumps(config, indent=1, ensure_ascii=False)
    atomic_write(target / CONFIG, text + "\n")
    record = {field: facts[field] for field in FIELDS if field in facts}
    record["skeleton"] = model.skeleton.name if model.skeleton else None
    if "description" in facts:
        record["description"] = facts["description"]
    add_record({"name": name, "file": f"{name}/{WEIGHTS}", **record}, root)
    return target
