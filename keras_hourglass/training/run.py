"""Carry out a recipe: data, model, `fit`, weights."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Sequence

import keras

from keras_hourglass import compat
from keras_hourglass.data.pipeline import SceneDataset
from keras_hourglass.errors import RecipeError
from keras_hourglass.io.files import new_folder
from keras_hourglass.network.model import StackedHourglass
from keras_hourglass.training.batches import build_data, feed
from keras_hourglass.training.building import build_model, compile_model, finds_people
from keras_hourglass.training.callbacks.averages import Averages, ValidateAverages
from keras_hourglass.training.callbacks.checkpoints import (
    Keeper,
    StopCleanly,
    StopOnNaN,
    read_state,
    restore,
)
from keras_hourglass.training.callbacks.monitoring import ReportFailures, SourceValidation, Warn
from keras_hourglass.training.distribution import layout
from keras_hourglass.training.folder import alone, check_resume, prepare_folder
from keras_hourglass.training.precision import with_precision
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.sections import Recipe
from keras_hourglass.typing import Path


def train(
    recipe: Recipe | Path | dict,
    out: Path,
    data_root: Path | None = None,
    resume: bool = False,
    overrides: Sequence[str] = (),
    verbose: str | int = "auto",
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> tuple[StackedHourglass, keras.callbacks.History]:
    """Train a network as a recipe says.

    Args:
        recipe: a `Recipe`, or what `load_recipe` takes.
        out: folder for weights and logs. It becomes a preset folder of the best weights
            (`config.json`, `model.weights.h5`), with the latest ones in `last/`, the resolved
            `recipe.yaml`, `environment.json` (versions and seed), `log.csv`, `tensorboard/`,
            `checkpoint/` and, where pictures could not be read, `skipped.txt`.
        data_root: folder that relative paths of the recipe's data sets start from.
        resume: go on from the last checkpoint in `out`.
        overrides: `section.key=value` strings.
        verbose: as in `keras.Model.fit`.
        callbacks: further Keras callbacks.

    Returns:
        The trained `StackedHourglass` (averaged weights where the recipe asks for them) and its
        `keras.callbacks.History`.

    Raises:
        UserError: if the recipe, the data or the folder cannot be used, or the training diverges.
        KeyboardInterrupt: after Ctrl-C; the weights of that moment are in `out/last`.

    Example:

    >>> values = {"data": {"train": "synthetic:40@1"}, "training": {"epochs": 2}}
    >>> model, history = train(values, "runs/first")  # doctest: +SKIP
    """
    if not dataclasses.is_dataclass(recipe):
        recipe = load_recipe(recipe, overrides)
    compat.check_recipe(recipe)
    out = pathlib.Path(out)
    state = read_state(out) if resume else None
    with layout(recipe) as found, alone(out) if found.chief else contextlib.nullcontext():
        # Only now: processes must have found each other before JAX looks at its devices.
        recipe = with_precision(recipe)
        rate_changed = check_resume(recipe, out) if resume else False
        if found.chief and not resume:
            new_folder(out)  # before minutes are spent on reading data
        if found.processes > 1 and recipe.training.frozen:
            raise RecipeError(
                "training.frozen: cannot be used in several processes. Received: "
                f"{recipe.training.frozen}. Train the frozen part first, on one machine."
            )
        return _train(
            recipe, out, data_root, state, rate_changed, verbose, list(callbacks), found
        )  # fmt: skip


def _train(recipe, out, data_root, state, rate_changed, verbose, callbacks, found):
    keras.utils.set_random_seed(recipe.training.seed)
    if recipe.training.deterministic:
        _make_deterministic()
    train_data, validation = build_data(recipe, data_root, found)
    with found.scope():
        model = build_model(recipe, train_data.records.skeleton)
    _check_frozen(model, recipe)
    history = keras.callbacks.History()
    for first, last, frozen in _phases(recipe):
        if state and state["epoch"] >= last and last < recipe.training.epochs:
            continue
        _freeze(model, recipe.training.frozen or (), frozen)
        with found.scope():
            compile_model(model, recipe, len(train_data), last - first)
            compat.build_optimizer(model.optimizer, model.trainable_variables)
            if state:
                # A phase has an optimizer of its own.
                same = state["epoch"] > first or first == 0
                restore(model, out, state, optimizer=same)
                if rate_changed and recipe.schedule.name != "cosine":
                    model.optimizer.learning_rate = recipe.optimizer.learning_rate
        if found.chief:
            prepare_folder(recipe, out, state)
        state = _fit(
            model, recipe, out, (train_data, validation), (first, last), state, found,
            history, verbose, callbacks,
        )  # fmt: skip
        if state and state.get("stopped"):
            break
    model.trainable = True
    return model, history


def _fit(
    model, recipe, out, data, span, state, found, history, verbose, callbacks
):  # fmt: skip
    """One phase; returns the state it ended in."""
    train_data, validation = data
    first = max(span[0], state["epoch"] if state else 0)
    # Keras leaves out the output's name where there is only one.
    watched = "overlap" if finds_people(model) else "pck"
    watched = watched if len(model.output_names) == 1 else f"{model.output_names[-1]}_{watched}"
    watched = watched if validation is None else f"val_{watched}"
    # A network spread over processes cannot be run by one of them alone.
    averages = Averages(model, train_data if found.processes == 1 else None)
    listed, keeper, stop = _callbacks(recipe, out, watched, data, state, found, averages)
    workers, outputs = recipe.data.workers, model.output_names
    try:
        model.fit(
            feed(train_data, outputs, workers, first),
            initial_epoch=first,
            epochs=span[1] if not (state or {}).get("stopped") else first,
            steps_per_epoch=len(train_data),
            validation_data=None if validation is None else feed(validation, outputs, workers),
            # Shuffled by the data set itself, the same way after a resume.
            shuffle=False,
            callbacks=[*listed, *callbacks, history, stop],
            verbose=verbose if found.chief else 0,
        )
    finally:
        stop.release()
        # Keras closes them at the end of a training only, not when it fails.
        for callback in listed:
            if getattr(callback, "csv_file", None) is not None:
                callback.csv_file.close()
            if hasattr(callback, "close"):
                callback.close()
    reached = keeper.state if keeper else {"epoch": span[1]}
    # Keras has put averages there, too, but without statistics of their own.
    averages.put(reached["epoch"] - 1)
    return reached


def _callbacks(recipe, out, watched, data, state, found, averages):
    """All callbacks of a run in order, the `Keeper` among them, and the one for Ctrl-C."""
    train_data, validation = data
    monitoring, schedule = recipe.monitoring, recipe.schedule
    shown = train_data if validation is None else validation
    scenes = isinstance(shown, SceneDataset)
    listed, remembering = [], []
    if averages.active:
        listed.append(ValidateAverages(averages))
    if found.processes == 1:
        if validation is not None and monitoring.source_every and not scenes:
            listed.append(SourceValidation(validation, monitoring.source_every, averages))
        listed.append(Warn(shown, averages))
    if schedule.name == "plateau":
        remembering.append(
            keras.callbacks.ReduceLROnPlateau(
                watched,
                factor=1 / schedule.divide_by,
                patience=schedule.patience,
                mode="max",
                min_lr=recipe.optimizer.learning_rate / schedule.divide_by**schedule.times,
                verbose=1,
            )
        )
    if schedule.early_stopping:
        remembering.append(
            keras.callbacks.EarlyStopping(
                watched, patience=schedule.early_stopping, mode="max", verbose=1
            )
        )
    listed += remembering
    listed.append(StopOnNaN(out))
    if not found.chief:
        return listed, None, StopCleanly()
    listed.append(ReportFailures(out, train_data, validation))
    listed += _logs(recipe, out, shown, found, averages)
    keeper = Keeper(out, watched, recipe, averages, remembering, state)
    return [*listed, keeper], keeper, StopCleanly(keeper)


def _logs(recipe, out, shown, found, averages):
    monitoring = recipe.monitoring
    listed = [keras.callbacks.CSVLogger(os.fspath(out / "log.csv"), append=True)]
    if monitoring.tensorboard:
        from keras_hourglass.training.callbacks.tensorboard import Board

        joints = not isinstance(shown, SceneDataset)
        images = monitoring.images if found.processes == 1 and joints else 0
        listed.append(Board(os.fspath(out / "tensorboard"), shown, averages, images))
    if monitoring.profile:
        if keras.backend.backend() != "tensorflow":
            raise RecipeError(
                "monitoring.profile: needs the TensorFlow backend. Received: "
                f"{keras.backend.backend()}. Leave the key out."
            )
        listed.append(
            keras.callbacks.TensorBoard(
                os.fspath(out / "tensorboard"),
                profile_batch=tuple(monitoring.profile),
                write_graph=False,
            )
        )
    return listed


def _phases(recipe):
    """First epoch, end, and whether layers are frozen, of each part of a training."""
    epochs, frozen = recipe.training.epochs, recipe.training.frozen_epochs
    phases = [(0, frozen, True), (frozen, epochs, False)]
    return [phase for phase in phases if phase[0] < phase[1]]


def _check_frozen(model, recipe):
    names = [layer.name for layer in model.layers if layer.weights]
    unknown = sorted(set(recipe.training.frozen or ()) - set(names))
    if unknown:
        raise RecipeError(
            f"training.frozen: names layers, {', '.join(names)}. Received: {unknown[0]!r}."
        )


def _freeze(model, names, frozen):
    for layer in model.layers:
        layer.trainable = not (frozen and layer.name in names)


def _make_deterministic():
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()
    elif keras.backend.backend() == "torch":
        import torch

        torch.use_deterministic_algorithms(True)
