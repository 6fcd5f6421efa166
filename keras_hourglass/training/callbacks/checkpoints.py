"""What a training leaves on disk at any moment: a whole checkpoint and usable weights."""

import io
import json
import pathlib
import signal
import sys
import threading
import zipfile
import zlib

import keras
import numpy as np

from keras_hourglass.compat import build_optimizer, ops, optimizer_variables
from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.io.files import atomic_write
from keras_hourglass.zoo.weights import arrays_of, assign_arrays

STATE = "state.json"
_OPTIMIZER = "optimizer/"
# What Keras's callbacks remember from epoch to epoch.
_MEMORY = ("wait", "best", "best_epoch", "stopped_epoch", "cooldown_counter")


class Keeper(keras.callbacks.Callback):
    """Best and latest weights, and everything needed to go on, after every epoch.

    Weights are written first, the checkpoint after them: under a new name, then `state.json`
    points to it, then the older one is removed. Whatever stops the training in between, the last
    whole checkpoint is found, and going on from it repeats the same steps.

    Args:
        out: the run's folder.
        monitor: the logged value that says which weights are the best.
        recipe: the `Recipe`, for the facts that travel with the weights.
        averages: the `Averages` of the model, which are what is kept as weights.
        others: callbacks whose memory belongs to the checkpoint.
        state: the state to go on from, as `read_state` returned it.
    """

    def __init__(self, out, monitor, recipe, averages, others=(), state=None):
        super().__init__()
        self.out, self.monitor, self.recipe = pathlib.Path(out), monitor, recipe
        self.folder = self.out / "checkpoint"
        self.averages, self.others = averages, list(others)
        self.state = dict(state or {"epoch": 0, "best": None, "memory": {}})

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
            done = self.state["epoch"]
            raise UserError(
                f"The weights could not be written ({_reason(error)}). Received: {self.out}. The "
                f"state after epoch {done} is kept there: free space and go on with --resume."
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
    for variable in [*model.variables, *optimizer_variables(model.optimizer)]:
        values = ops.convert_to_numpy(variable)
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            name = getattr(variable, "path", variable.name)
            raise _diverged(out, f"values that are no finite numbers in {name}")


def _diverged(out, what):
    return UserError(
        f"The training diverged. Received: {what}. The last good state is kept in {out}: go on "
        "with --resume and a lower --set optimizer.learning_rate=…, or clip gradients with "
        "--set optimizer.options.global_clipnorm=1."
    )


def read_state(out):
    """The state that `state.json` of a run holds.

    Raises:
        UserError: if there is none, or it is damaged.
    """
    folder = pathlib.Path(out) / "checkpoint"
    try:
        state = json.loads((folder / STATE).read_text(encoding="utf-8"))
        if not (folder / state["file"]).is_file():
            raise FileNotFoundError(f"{state['file']} is missing")
        return {"best": None, "memory": {}, **state, "epoch": int(state["epoch"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"--resume needs a run with a checkpoint. Received: {out} ({error}). "
            "Start a new training in another folder."
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
        with open(path, "rb") as opened, np.load(opened, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UserError(
            f"The checkpoint cannot be read. Received: {path} ({' '.join(str(error).split())}). "
            "Start a new training in another folder."
        ) from error
    network = {name: array for name, array in arrays.items() if not name.startswith(_OPTIMIZER)}
    assign_arrays(model, network, str(path))
    if not optimizer:
        return
    # Optimizer variables exist only once it was built.
    build_optimizer(model.optimizer, model.trainable_variables)
    variables = optimizer_variables(model.optimizer)
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
    return [f"{_OPTIMIZER}{index}" for index in range(len(optimizer_variables(model.optimizer)))]


def _all_arrays(model):
    """The network's arrays by name, the optimizer's by number."""
    variables = optimizer_variables(model.optimizer)
    values = [np.asarray(ops.convert_to_numpy(variable)) for variable in variables]
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
