"""The model zoo: rows of data, and the way from a name, folder or file to a model.

A preset folder holds `config.json` (architecture, preprocessing, thresholds, card),
`model.weights.h5` and `README.md`, the model card. A training run's output folder is one, too.
"""

import json
import pathlib

from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.files import atomic_write

CONFIG, WEIGHTS, CARD = "config.json", "model.weights.h5", "README.md"
# Arguments of the architecture that weights do not depend on.
OVERRIDES = ("input_shape", "synchronized", "dtype", "name")

# name -> one line, and the arguments of `StackedHourglass`.
PRESETS = {
    **{
        f"hourglass_{stacks}s": {
            "description": f"{stacks} stack{'s' * (stacks > 1)} of 256 features, Torch release",
            "architecture": {"num_stacks": stacks, "stem": "newell", "skeleton": "mpii"},
        }
        for stacks in (1, 2, 4, 8)
    },
}


def load_model(source, num_keypoints=None, skeleton=None, load_weights=True, **overrides):
    """Turn a name or a path into a model.

    Args:
        source: name of a preset (`keras-hourglass list`), a preset folder, a training run's
            output folder, or a `.keras` file.
        num_keypoints: K of the model, if other than the source's.
        skeleton: name, `Skeleton` or dict, if other than the source's.
        load_weights: take the weights along; `False` starts from scratch.
        **overrides: `input_shape`, `synchronized`, `dtype` or `name`, if other than the source's.

    Returns:
        The `StackedHourglass`, not compiled.

    Raises:
        UserError: if there is no such preset or path, or an override changes the architecture.
        WeightsError: if weights are missing, damaged or of another architecture.

    Example:

    >>> load_model("hourglass_1s", load_weights=False).num_keypoints
    16
    """
    from keras_hourglass.model import StackedHourglass

    unknown = sorted(set(overrides) - set(OVERRIDES))
    if unknown:
        raise UserError(
            f"Only {', '.join(OVERRIDES)} may differ from the preset's. "
            f"Received: {', '.join(unknown)}. Build a StackedHourglass for another architecture."
        )
    config, weights = _resolve(source)
    model = StackedHourglass.from_config({**config, **overrides})
    if load_weights:
        if weights is None:
            raise WeightsError(
                f"There are no trained weights for this architecture. Received: {source}. "
                "Train it, or pass load_weights=False to start from scratch."
            )
        from keras_hourglass.weights import load_weights as read

        read(model, weights)
    return model


def save_preset(
    model, folder, preprocessing=None, thresholds=None, card=None, dtype="float32", overwrite=False
):
    """Write a model as a preset folder, each file atomically.

    Args:
        model: the `StackedHourglass`.
        folder: where to; made if missing. Other files in it are left alone.
        preprocessing: how crops are made (`padding`, `sigma`, …); the model's own by default.
        thresholds: joint name -> least score of a present joint; the model's own by default.
        card: facts for the model card; the model's own by default.
        dtype: of the stored weights, `"float32"` or `"float16"`.
        overwrite: replace a preset that is already there.

    Raises:
        UserError: if the folder already holds a preset and `overwrite` is false.
    """
    from keras_hourglass.weights import save_weights

    folder = pathlib.Path(folder)
    there = [name for name in (CONFIG, WEIGHTS) if (folder / name).exists()]
    if there and not overwrite:
        raise UserError(
            f"The folder already holds a preset. Received: {folder} with {', '.join(there)}. "
            "Name a new folder, or pass overwrite=True."
        )
    architecture = model.get_config()
    metadata = dict(architecture.pop("metadata"))
    given = {"preprocessing": preprocessing, "thresholds": thresholds, "card": card}
    metadata.update({key: dict(value) for key, value in given.items() if value is not None})
    config = {"architecture": architecture, **metadata}
    save_weights(model, folder / WEIGHTS, dtype)
    atomic_write(folder / CONFIG, json.dumps(config, indent=1, ensure_ascii=False) + "\n")


def _resolve(source):
    """The config of a source and the path of its weights, or `None`."""
    text = str(source)
    if text in PRESETS:
        return dict(PRESETS[text]["architecture"]), None
    path = pathlib.Path(source)
    if path.is_dir():
        if not (path / CONFIG).is_file():
            raise UserError(
                f"A preset folder holds {CONFIG} and {WEIGHTS}. Received: {path} without "
                f"{CONFIG}. Name the output folder of a training run or of save_to_preset."
            )
        return read_config(path / CONFIG), path / WEIGHTS
    raise UserError(
        f"No such preset, folder or file. Received: {text}. "
        "See `keras-hourglass list`, or give the path of a preset folder or .keras file."
    )


def read_config(path):
    """The arguments of `StackedHourglass` from a preset's `config.json`.

    Raises:
        UserError: if the file is not such a config.
    """
    try:
        config = json.loads(pathlib.Path(path).read_text(encoding="utf-8"))
        architecture = dict(config.pop("architecture"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path} is not a preset's config ({type(error).__name__}: {error}). "
            "Write it again with save_to_preset."
        ) from None
    return {**architecture, "metadata": config}
