"""What a training leaves on disk at any moment, a whole checkpoint and usable weights, and how an
interrupted one goes on from there."""

import contextlib
import importlib.metadata
import io
import json
import os
import pathlib
import platform
import signal
import sys
import threading

import keras
import numpy as np

from keras_hourglass.errors import RecipeError, UserError, WeightsError, listed
from keras_hourglass.io.arrays import read_npz
from keras_hourglass.io.files import atomic_write, clear_leftovers
from keras_hourglass.io.structured import one_line, read_json, read_yaml
from keras_hourglass.training.batches import fingerprints
from keras_hourglass.training.recipe import save_recipe
from keras_hourglass.zoo.weights import arrays_of, assign_arrays

STATE = "state.json"
DATA = "data.json"  # what a run was trained on
_ENVIRONMENT = "environment.json"
_OPTIMIZER = "optimizer/"
# What may differ from the interrupted run without making another training of it.
_MAY_CHANGE = (
    "training.epochs", "data.workers", "data.worker_kind", "data.cache",
    "optimizer.learning_rate", "optimizer.options.clipnorm", "optimizer.options.global_clipnorm",
    "optimizer.options.clipvalue", "schedule.early_stopping", "monitoring",
)  # fmt: skip
# What Keras's callbacks remember from epoch to epoch.
_MEMORY = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")


class Keeper(keras.callbacks.Callback):
    """Best and latest weights, and everything needed to go on, after every epoch.

    Weights are written first, the checkpoint after them: under a new name, then `state.json`
    points to it, then the older one is removed. Whatever stops the training in between, the last
    whole checkpoint is found, and going on from it repeats the same steps.

    Args:
        run: the `Run`: the accuracy it watches says which weights are the best, and its averages
            are what is kept as weights.
        others: callbacks whose memory belongs to the checkpoint.
    """

    def __init__(self, run, others=()):
        super().__init__()
        self.out, self.monitor, self.recipe = run.out, run.watched, run.recipe
        self.folder = self.out / "checkpoint"
        self.averages, self.others = run.averages, list(others)
        self.state = dict(run.state or {"epoch": 0, "best": None, "memory": {}})

    def on_train_begin(self, logs=None):
        # Their own on_train_begin, which came before, forgot everything.
        for callback in self.others:
            for name, value in self.state["memory"].get(type(callback).__name__, {}).items():
                setattr(callback, name, value)
        if not self.state.get("file"):
            self._write(self._checkpoint, 0)

    def on_epoch_end(self, epoch, logs=None):
        value = float((logs or {}).get(self.monitor, float("nan")))
        check_finite(self.model, self.out)
        best = self.state["best"]
        better = best is None or value > best or not np.isfinite(best)
        self._write(self._weights, epoch + 1, value, better)
        if better:
            self.state["best"] = value
        self.state["memory"] = {
            type(callback).__name__: {
                name: _plain(getattr(callback, name)) for name in _MEMORY if hasattr(callback, name)
            }
            for callback in self.others
        }
        self.state["stopped"] = bool(self.model.stop_training)
        self._write(self._checkpoint, epoch + 1)

    def keep_interrupted(self):
        """Write the weights of a moment in the middle of an epoch."""
        check_finite(self.model, self.out)
        none_yet = self.state["best"] is None
        self._write(self._weights, self.state["epoch"], float("nan"), none_yet)

    def _weights(self, epoch, value, better):
        preprocessing = {**self.model.preprocessing, "sigma": self.recipe.data.sigma}
        data = self.recipe.data.train
        card = {
            "training_data": ", ".join(data) if isinstance(data, list) else data,
            "epoch": epoch,
        }
        if np.isfinite(value):
            card[self.monitor] = value
        with self.averages.shown(self.state["epoch"]):
            for folder in [self.out / "last"] + [self.out] * better:
                self.model.save_to_preset(
                    folder, preprocessing=preprocessing, card=card, overwrite=True
                )

    def _checkpoint(self, epoch):
        name = f"epoch-{epoch:05d}.npz"
        buffer = io.BytesIO()
        # Not HDF5, which may take the whole process down when the disk is full.
        np.savez(buffer, **_all_arrays(self.model))
        atomic_write(self.folder / name, buffer.getvalue())
        self.state.update(epoch=epoch, file=name)
        atomic_write(self.folder / STATE, json.dumps(self.state))
        for old in self.folder.glob("*epoch-*.npz"):
            if old.name != name:
                old.unlink()

    def _write(self, function, *args):
        try:
            function(*args)
        except WeightsError:
            raise
        except (OSError, RuntimeError) as error:
            kept = (
                f"The state after epoch {self.state['epoch']} is kept there: free space and go on "
                "with --resume."
                if self.state.get("file")
                else "Nothing of this training is kept yet: free space and give the same command."
            )
            raise UserError(
                f"The weights could not be written ({_reason(error)}). Received: {self.out}. {kept}"
            ) from error


class StopCleanly(keras.callbacks.Callback):
    """On Ctrl-C, finish the step, keep the weights, then stop; a second one stops at once."""

    def __init__(self, keeper=None):
        super().__init__()
        self.keeper, self.asked, self.previous = keeper, False, None

    def on_train_begin(self, logs=None):
        if threading.current_thread() is threading.main_thread():
            self.previous = signal.signal(signal.SIGINT, self._ask)

    def release(self):
        """Give Ctrl-C its former meaning back."""
        if self.previous is not None:
            signal.signal(signal.SIGINT, self.previous)
            self.previous = None

    def _ask(self, number, frame):
        self.release()
        self.asked = True
        print("\nStopping after this step; press again to stop at once.", file=sys.stderr)

    def on_train_batch_end(self, batch, logs=None):
        if self.asked:
            if self.keeper is not None:
                self.keeper.keep_interrupted()
                print(f"Usable weights: {self.keeper.out / 'last'}.", file=sys.stderr)
            raise KeyboardInterrupt

    def on_epoch_end(self, epoch, logs=None):
        if self.asked:
            raise KeyboardInterrupt


class StopOnNaN(keras.callbacks.Callback):
    """End the training, with a remedy, as soon as the loss is no number any more."""

    def __init__(self, out):
        super().__init__()
        self.out = out

    def on_train_batch_end(self, batch, logs=None):
        if not np.isfinite((logs or {}).get("loss", 0.0)):
            raise _diverged(self.out, f"a loss of {logs['loss']} at step {batch + 1}")


def check_finite(model, out):
    """Refuse to keep weights or optimizer state that are not finite numbers.

    Raises:
        UserError: naming the variable.
    """
    for variable in [*model.variables, *model.optimizer.variables]:
        values = np.asarray(variable.numpy())
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            name = getattr(variable, "path", variable.name)
            raise _diverged(out, f"values that are no finite numbers in {name}")


def _diverged(out, what):
    return UserError(
        f"The training diverged. Received: {what}. The last good state is kept in {out}: go on "
        "with --resume and a lower --set optimizer.learning_rate=…, or clip gradients with "
        "--set optimizer.options.global_clipnorm=1."
    )


def check_resume(recipe, out):
    """Refuse a recipe that is not the interrupted one; whether its learning rate changed."""
    path = out / "recipe.yaml"
    try:
        before = _flat(read_yaml(path, "run's recipe", UserError))
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(
            f"--resume needs the run's recipe. Received: {path} ({one_line(error)}). Start anew."
        ) from error
    now = _flat(recipe.to_dict())
    for key in sorted({*before, *now}):
        allowed = any(key == name or key.startswith(f"{name}.") for name in _MAY_CHANGE)
        if not allowed and before.get(key) != now.get(key):
            raise RecipeError(
                f"{key}: --resume continues the same recipe. Received: {now.get(key)!r} after "
                f"{before.get(key)!r}. Start a new run, or resume with {path}."
            )
    return before.get("optimizer.learning_rate") != now["optimizer.learning_rate"]


def _flat(values, path=""):
    """Nested dicts as one, `section.key` -> value."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{path}{key}."))
        elif value is not None:
            flat[f"{path}{key}"] = value
    return flat


def prepare_folder(recipe, out, state):
    """Write the recipe; after an interruption, clear what was half-written.

    Args:
        recipe: the `Recipe`.
        out: the run's folder, made if missing.
        state: the state to go on from, or `None` for a new run.
    """
    out.mkdir(parents=True, exist_ok=True)
    if state is None:
        # Before the recipe, which alone could be the user's, see `begun_only`.
        atomic_write(out / _ENVIRONMENT, json.dumps(environment(recipe), indent=1) + "\n")
    save_recipe(recipe, out / "recipe.yaml")
    if state is None:
        return
    for folder in (out, out / "last", out / "checkpoint"):
        clear_leftovers(folder)
    if (out / "tensorboard").is_dir():
        from keras_hourglass.training.callbacks.tensorboard import forget_epochs

        forget_epochs(out / "tensorboard", state["epoch"])
    log = out / "log.csv"
    if log.exists():
        # An epoch that was logged but not kept is trained, and logged, again.
        header, *rows = log.read_bytes().splitlines(keepends=True) or [b""]
        epochs = [row.split(b",")[0] for row in rows]
        kept = [
            row
            for row, epoch in zip(rows, epochs, strict=True)
            if epoch.isdigit() and int(epoch) < state["epoch"] and row.endswith(b"\n")
        ]
        atomic_write(log, header + b"".join(kept))


def begun_only(out, ignored=()):
    """Whether a folder has nothing but the beginnings of a training that kept no checkpoint.

    Args:
        out: the folder, cleared of what was half-written.
        ignored: names that do not count.
    """
    names = {path.name for path in out.iterdir()} - set(ignored)
    if not names & {_ENVIRONMENT} or names - {_ENVIRONMENT, "recipe.yaml", DATA, "checkpoint"}:
        return False
    folder = out / "checkpoint"
    return not folder.exists() or not (folder / STATE).exists()


def check_data(out, sets):
    """Remember what a run is trained on, and say what is not as it was when the run began.

    Args:
        out: the run's folder.
        sets: `"train"` and `"validation"` -> `Batches`, or `None`.

    Returns:
        A list of texts, each naming the key and the first differences.
    """
    now = {key: fingerprints(one.records) for key, one in sets.items() if one is not None}
    path, changes = out / DATA, []
    if path.exists():
        before = read_json(path, "record of the run's data", UserError)
        for key, people in now.items():
            changes += _changes(f"data.{key}", dict(before.get(key) or {}), people)
    atomic_write(path, json.dumps(now))
    return changes


def _changes(key, before, now):
    told = [
        f"{len(names)} {what} ({listed(names, 3)})"
        for what, names in (
            ("new", [name for name in now if name not in before]),
            ("gone", [name for name in before if name not in now]),
            ("changed", [name for name in now if before.get(name, now[name]) != now[name]]),
        )
        if names
    ]
    if not before or not told:
        return []
    return [
        f"{key}: the data are not those that the run began with: of {len(before)} people "
        f"{', '.join(told)}. It goes on with them as they are now"
    ]


def environment(recipe):
    """What a result may depend on besides the recipe, JSON-ready."""
    versions = {"python": platform.python_version()}
    for name in (
        "keras_hourglass", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy",
        "opencv-python-headless",
    ):  # fmt: skip
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "seed": recipe.training.seed,
        "backend": keras.backend.backend(),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    }


def read_state(out):
    """The state that `state.json` of a run holds.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    folder = pathlib.Path(out) / "checkpoint"
    try:
        state = read_json(folder / STATE, "state of the run", UserError)
        if not (folder / state["file"]).is_file():
            raise FileNotFoundError(f"{state['file']} is missing")
        return {"best": None, "memory": {}, **state, "epoch": int(state["epoch"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = "in another folder"
        if pathlib.Path(out).is_dir() and begun_only(pathlib.Path(out)):
            where = "there, without --resume"  # nothing is lost
        raise UserError(
            f"--resume needs a run with a checkpoint. Received: {out} ({one_line(error)}). "
            f"Start a new training {where}."
        ) from error


def restore(model, out, state, optimizer=True):
    """Load a checkpoint into a compiled model.

    Args:
        model: the compiled model.
        out: the run's folder.
        state: from `read_state`.
        optimizer: the optimizer's variables, too, otherwise the network's only.

    Raises:
        UserError: if the checkpoint does not fit.
    """
    path = pathlib.Path(out) / "checkpoint" / state["file"]
    try:
        arrays = read_npz(path, what="checkpoint")
    except (OSError, UserError) as error:
        raise UserError(
            f"The checkpoint cannot be read. Received: {path} ({one_line(error)}). "
            "Start a new training in another folder."
        ) from error
    network = {name: array for name, array in arrays.items() if not name.startswith(_OPTIMIZER)}
    assign_arrays(model, network, str(path))
    if not optimizer:
        return
    # Optimizer variables exist only once it was built.
    model.optimizer.build(model.trainable_variables)
    variables = model.optimizer.variables
    shapes = [tuple(variable.shape) for variable in variables]
    found = [arrays[name] for name in _optimizer_names(model) if name in arrays]
    if [array.shape for array in found] != shapes or len(arrays) - len(network) != len(shapes):
        raise UserError(
            f"The checkpoint belongs to another optimizer. Received: {path}. "
            "Start a new training in another folder."
        )
    for variable, array in zip(variables, found, strict=True):
        variable.assign(array)


def _optimizer_names(model):
    return [f"{_OPTIMIZER}{index}" for index in range(len(model.optimizer.variables))]


def _all_arrays(model):
    """The network's arrays by name, the optimizer's by number."""
    values = [np.asarray(variable.numpy()) for variable in model.optimizer.variables]
    return {**arrays_of(model), **dict(zip(_optimizer_names(model), values, strict=True))}


def _plain(value):
    """A number as JSON keeps it exactly."""
    return value.item() if isinstance(value, np.generic) else value


def _reason(error):
    text = " ".join(str(error).split())
    for known in ("No space left on device", "File too large", "Disk quota exceeded"):
        if known in text:
            return known
    return getattr(error, "strerror", None) or text
