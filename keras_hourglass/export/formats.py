"""Formats of other runtimes: crops in, heatmaps of every stack out."""

import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_hourglass.errors import UserError, did_you_mean
from keras_hourglass.export import FORMATS
from keras_hourglass.export.saved_model import check_name
from keras_hourglass.inference import fold
from keras_hourglass.inference.conversion import write_program
from keras_hourglass.inference.runtimes import load_network
from keras_hourglass.network.model import snapshot
from keras_hourglass.typing import Path


def export_format(
    model: Any,
    out: Path,
    format: str,
    name: str | None = None,
    calibration: np.ndarray | None = None,
    overwrite: bool = False,
) -> tuple[pathlib.Path, float]:
    """Write a model for another runtime, load it again and compare it with the Keras model.

    Args:
        model: the `StackedHourglass`.
        out: folder to write into.
        format: `"onnx"`, `"openvino"` (an `.xml` and a `.bin` file), `"litert"`, or
            `"litert-int8"`, whose weights and activations are 8-bit integers.
        name: of the file, without suffix; the Keras model's name by default.
        calibration: `(N, height, width, 3)` crops of typical pictures, from which 8-bit ranges
            are taken; needed for `"litert-int8"`.
        overwrite: replace files that are already there.

    Returns:
        The file's path, and the greatest difference of heatmaps as part of their highest
        absolute value (on the calibration crops, or on random ones).

    Raises:
        UserError: if a package is missing, a file exists, or heatmaps differ by more than
            rounding (8-bit ones may differ).

    Example:

    >>> export_format(model, "out", "onnx")  # doctest: +SKIP
    (PosixPath('out/hourglass.onnx'), 3.1e-07)
    """
    if format not in FORMATS:
        raise UserError(
            f"Unknown format. Received: {format!r}. Choose one of {', '.join(FORMATS)}."
            f"{did_you_mean(format, FORMATS)}"
        )
    path = pathlib.Path(out) / f"{check_name(name or model.name)}{FORMATS[format]}"
    if path.exists() and not overwrite:
        raise UserError(f"The file exists already. Received: {path}. Allow it with --overwrite.")
    if format == "litert-int8" and (calibration is None or not len(calibration)):
        raise UserError(
            "8-bit ranges are taken from typical pictures. Received: none. "
            "Name a folder with some with --calibration."
        )
    program = fold(*snapshot(model), clamp=format != "litert-int8")
    try:
        write_program(program, path, calibration if format == "litert-int8" else None)
        difference = compare(load_engine(path), model, calibration)
    except ImportError as error:
        raise UserError(
            f"The format {format} needs another package. Received: {error}. "
            f"Run `pip install keras_hourglass[{format.split('-')[0]}]`."
        ) from error
    if format != "litert-int8" and not difference <= 0.01:
        raise UserError(
            "The exported model does not agree with the Keras model. Received: heatmaps that "
            f"differ by {difference:.2g} of their highest value. Please report this model's config."
        )
    return path, difference


def compare(engine: Callable, model: Any, crops: np.ndarray | None = None) -> float:
    """Greatest difference of heatmaps as part of their highest absolute value.

    Args:
        engine: as `load_engine` returns.
        model: the Keras model.
        crops: `(N, height, width, 3)`; two random ones by default.

    Returns:
        A float; 0 where both agree in every bit.

    Example:

    >>> compare(load_engine("out/hourglass.onnx"), model)  # doctest: +SKIP
    3.1e-07
    """
    if crops is None:
        shape = (2, *model.input_size, 3)
        crops = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    expected, actual = model.predict(crops, verbose=0), engine(crops)
    highest = max(float(np.abs(maps).max()) for maps in expected.values())
    worst = max(float(np.abs(expected[name] - actual[name]).max()) for name in expected)
    return worst / max(highest, 1e-6)


def load_engine(
    path: Path, threads: int | None = None
) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """Load an exported file; `Predictor(model, engine=...)` takes the result.

    Args:
        path: an `.onnx`, `.xml` or `.tflite` file, or the folder of a SavedModel.
        threads: of the runtime (not for a SavedModel); its own choice by default.

    Returns:
        A callable from `(N, height, width, 3)` crops to a dict of float32 heatmaps of every stack.

    Raises:
        UserError: if the path is none of these.

    Example:

    >>> load_engine("out/hourglass.onnx")(crops)["stack_2"].shape  # doctest: +SKIP
    (2, 64, 64, 14)
    """
    return load_network(path, threads=threads)
