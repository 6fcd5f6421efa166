"""Carry out a recipe: data, model, `fit`, weights."""

import dataclasses
import os
import pathlib

import keras

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.data.sources import load_records
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.files import new_folder
from keras_hourglass.losses import HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK
from keras_hourglass.model import StackedHourglass
from keras_hourglass.presets import load_model
from keras_hourglass.training.callbacks import BestWeights, Checkpoint, restore
from keras_hourglass.training.recipe import load_recipe, save_recipe


def train(recipe, out, data_root=None, resume=False, overrides=(), verbose="auto"):
    """Train a network as a recipe says.

    Args:
        recipe: a `Recipe`, or what `load_recipe` takes.
        out: folder for weights and logs. It becomes a preset folder of the best weights
            (`config.json`, `model.weights.h5`), with the latest ones in `last/`, the resolved
            `recipe.yaml`, `log.csv`, `tensorboard/` and `checkpoint/`.
        data_root: folder that relative paths of the recipe's data sets start from.
        resume: go on from the last checkpoint in `out`.
        overrides: `section.key=value` strings.
        verbose: as in `keras.Model.fit`.

    Returns:
        The trained `StackedHourglass` and its `keras.callbacks.History`.

    Raises:
        UserError: if the recipe, the data or the folder cannot be used.
    """
    if not dataclasses.is_dataclass(recipe):
        recipe = load_recipe(recipe, overrides)
    out = pathlib.Path(out)
    if not resume:
        new_folder(out)
    elif not (out / "checkpoint").is_dir():
        raise UserError(f"--resume needs a folder with a checkpoint. Received: {out}.")
    train_data, validation = build_data(recipe, data_root)
    keras.utils.set_random_seed(recipe.training.seed)
    with _precision(recipe.training.precision):
        model = build_model(recipe, train_data.records.skeleton)
    compile_model(model, recipe, len(train_data))
    save_recipe(recipe, out / "recipe.yaml")
    first = restore(model, out) if resume else 0
    monitor = f"{model.output_names[-1]}_pck"
    callbacks = _callbacks(recipe, out, monitor, validation)
    feed = _feed(train_data, recipe, first)
    history = model.fit(
        feed,
        initial_epoch=first,
        epochs=recipe.training.epochs,
        steps_per_epoch=len(train_data),
        validation_data=None if validation is None else _feed(validation, recipe, 0, False),
        callbacks=callbacks,
        verbose=verbose,
    )
    return model, history


def build_data(recipe, data_root=None):
    """The training and validation `PoseDataset`s of a recipe (the second may be `None`)."""
    data, training = recipe.data, recipe.training
    stacks = recipe.model.get("num_stacks", 2)
    size = tuple(recipe.model.get("input_shape", (256, 256, 3)))[:2]
    codec = HeatmapCodec(size, sigma=data.sigma, missing=data.missing)
    outputs = tuple(f"stack_{number}" for number in range(1, stacks + 1))
    records = load_records(data.train, data_root)
    shared = {"codec": codec, "outputs": outputs, "heatmaps": data.heatmaps, "cache": data.cache}
    train_data = PoseDataset(
        records,
        batch_size=training.batch_size,
        augmentation=recipe.augmentation.build(),
        shuffle=True,
        seed=training.seed,
        **shared,
    )
    if data.validation is None:
        return train_data, None
    validation = PoseDataset(
        load_records(data.validation, data_root), batch_size=training.batch_size, **shared
    )
    return train_data, validation


def build_model(recipe, skeleton):
    """The network of a recipe, with starting weights if it names any."""
    arguments = dict(recipe.model)
    if recipe.training.weights:
        return load_model(recipe.training.weights, skeleton=skeleton)
    try:
        return StackedHourglass(**{"skeleton": skeleton, **arguments})
    except TypeError as error:
        raise RecipeError(f"model: {error}.") from error


def compile_model(model, recipe, steps_per_epoch):
    """Optimizer, one loss and one PCK per stack."""
    size = tuple(edge // model.stride for edge in model.input_size)
    loss = {
        name: HeatmapMSE(size, recipe.data.sigma, recipe.optimizer.loss_scale)
        for name in model.output_names
    }
    metrics = {name: [HeatmapPCK(heatmap_size=size, name="pck")] for name in model.output_names}
    weights = recipe.training.stack_weights
    model.compile(
        optimizer=_optimizer(recipe, steps_per_epoch),
        loss=loss,
        loss_weights=dict(zip(model.output_names, weights, strict=True)) if weights else None,
        metrics=metrics,
        jit_compile=recipe.training.jit_compile,
    )


def _optimizer(recipe, steps_per_epoch):
    settings, schedule = recipe.optimizer, recipe.schedule
    rate = settings.learning_rate
    if schedule.name == "cosine":
        warmup = round(schedule.warmup * steps_per_epoch)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 100 if warmup else rate,
            max(1, recipe.training.epochs * steps_per_epoch - warmup),
            alpha=schedule.final if not warmup else schedule.final,
            warmup_target=rate if warmup else None,
            warmup_steps=warmup,
        )
    try:
        optimizer = keras.optimizers.get(
            {
                "class_name": settings.name,
                "config": {"learning_rate": 1e-3, **settings.options},
            }
        )
        optimizer.learning_rate = rate
        return optimizer
    except (ValueError, TypeError) as error:
        raise RecipeError(f"optimizer: {' '.join(str(error).split())}") from error


def _feed(dataset, recipe, first, endless=True):
    if keras.backend.backend() == "tensorflow":
        return dataset.as_tf_dataset(first, endless, recipe.data.workers)
    return dataset.as_py_dataset(first, recipe.data.workers)


def _callbacks(recipe, out, monitor, validation):
    """In this order: the checkpoint holds the raw weights, then averaged ones are swapped in."""
    watched = monitor if validation is None else f"val_{monitor}"
    callbacks = [Checkpoint(out)]
    if recipe.optimizer.options.get("use_ema"):
        callbacks.append(keras.callbacks.SwapEMAWeights(swap_on_epoch=True))
    callbacks += [
        BestWeights(out, watched, recipe),
        keras.callbacks.CSVLogger(os.fspath(out / "log.csv"), append=True),
    ]
    if keras.backend.backend() == "tensorflow":
        callbacks.append(keras.callbacks.TensorBoard(os.fspath(out / "tensorboard")))
    if recipe.schedule.name == "plateau":
        callbacks.append(
            keras.callbacks.ReduceLROnPlateau(
                watched,
                factor=1 / recipe.schedule.divide_by,
                patience=recipe.schedule.patience,
                mode="max",
                verbose=1,
            )
        )
    return callbacks


class _precision:
    """The global dtype policy within a block."""

    def __init__(self, policy):
        self.policy = policy

    def __enter__(self):
        self.previous = keras.mixed_precision.dtype_policy()
        keras.mixed_precision.set_dtype_policy(self.policy)

    def __exit__(self, *unused):
        keras.mixed_precision.set_dtype_policy(self.previous)
