"""What happens between the epochs of a training: checkpoints and weights."""

import json
import pathlib

import keras

from keras_hourglass.errors import UserError
from keras_hourglass.files import atomic_path, atomic_write


class Checkpoint(keras.callbacks.Callback):
    """Everything needed to go on: weights, optimizer and epoch, after every epoch.

    The weights are written under a new name, then `state.json` points to them, then older ones
    are removed; a stop at any moment leaves a whole checkpoint.
    """

    def __init__(self, out):
        super().__init__()
        self.folder = pathlib.Path(out) / "checkpoint"

    def on_epoch_end(self, epoch, logs=None):
        name = f"epoch-{epoch + 1:05d}.weights.h5"
        with atomic_path(self.folder / name) as path:
            # Keras insists on the whole suffix.
            target = path.with_name(path.name.removesuffix(".h5") + ".weights.h5")
            self.model.save_weights(target)
            target.replace(path)
        atomic_write(self.folder / "state.json", json.dumps({"epoch": epoch + 1, "file": name}))
        for old in self.folder.glob("epoch-*.weights.h5"):
            if old.name != name:
                old.unlink()


def restore(model, out):
    """Load the last checkpoint into a compiled model; returns the epochs already done."""
    folder = pathlib.Path(out) / "checkpoint"
    try:
        state = json.loads((folder / "state.json").read_text())
        # Optimizer variables exist only once it was built.
        model.optimizer.build(model.trainable_variables)
        model.load_weights(folder / state["file"])
    except (OSError, ValueError, KeyError) as error:
        raise UserError(
            f"The checkpoint cannot be read. Received: {folder} ({error}). "
            "Start a new training in another folder."
        ) from error
    return int(state["epoch"])


class BestWeights(keras.callbacks.Callback):
    """Preset folders of the best weights (`out`) and of the latest (`out/last`)."""

    def __init__(self, out, monitor, recipe):
        super().__init__()
        self.out, self.monitor, self.recipe = pathlib.Path(out), monitor, recipe

    def on_epoch_end(self, epoch, logs=None):
        value = float((logs or {}).get(self.monitor, float("nan")))
        preprocessing = {"sigma": self.recipe.data.sigma}
        card = {"epoch": epoch + 1, self.monitor: value}
        self.model.save_to_preset(
            self.out / "last", preprocessing=preprocessing, card=card, overwrite=True
        )
        best = self._best()
        if best is None or value > best:
            self.model.save_to_preset(
                self.out, preprocessing=preprocessing, card=card, overwrite=True
            )

    def _best(self):
        try:
            config = json.loads((self.out / "config.json").read_text())
            return config["card"][self.monitor]
        except (OSError, ValueError, KeyError):
            return None
