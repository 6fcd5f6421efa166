"""What `test_addons.py` runs beside TensorFlow 2.15, Keras 2.15 and TensorFlow Addons.

python addons_child.py MODE FOLDER
"""

import json
import pathlib
import sys

import numpy as np

from keras_hourglass import HeatmapCodec, StackedHourglass
from keras_hourglass.losses import HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK

TINY = {"num_stacks": 1, "num_features": 4, "depth": 1, "input_shape": [32, 24, 3]}
TINY |= {"stem": [2, [2], [None]]}


def crops(count=3):
    """The same pictures in every environment, `(count, 128, 128, 3)`."""
    return np.random.default_rng(5).integers(0, 256, (count, 128, 128, 3), np.uint8)


def heatmaps(folder):
    """A preset's maps, and the joints that the codec finds in them and in drawn ones."""
    model = StackedHourglass.from_preset("hourglass_tiny_lsp")
    maps = model(crops(), training=False)
    last = np.asarray(maps[model.output_names[-1]])
    codec = HeatmapCodec(model.input_size, sigma=1.0)
    joints, scores = codec.decode(last)
    given = np.random.default_rng(6).uniform(8, 120, (2, 14, 2))
    drawn, _ = codec.encode(given, np.full((2, 14), 2))
    found = codec.decode(drawn)[0]
    arrays = {name: np.asarray(values) for name, values in maps.items()}
    np.savez(folder / "maps.npz", joints=joints, scores=scores, drawn=drawn, found=found, **arrays)


def layers(folder):
    """The layers in a functional model of one's own; its weights for the other environment."""
    model = of_layers()
    model.save_weights(folder / "own.weights.h5")
    np.save(folder / "own.npy", np.asarray(model(crops(2)[:, :32, :24].astype("float32"))))


def of_layers():
    """The layers of the package in a functional model of one's own."""
    import keras

    from keras_hourglass import Hourglass, IntermediateSupervision, Residual

    image = keras.Input((32, 24, 3))
    x = Residual(6)(image)
    x = Hourglass(6, depth=2)(x)
    maps, x = IntermediateSupervision(5, 6)([x, x])
    return keras.Model(image, maps)


def fit(folder):
    """`compile` and `fit` with optimizers of Addons: the losses of each."""
    from tensorflow_addons.optimizers import LAMB, Lookahead, MovingAverage, RectifiedAdam

    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 255, (4, 32, 24, 3), np.uint8)
    codec = HeatmapCodec((32, 24), sigma=1.0)
    targets = codec.targets(rng.uniform(2, 20, (4, 5, 2)), np.full((4, 5), 2))
    size, losses = codec.heatmap_size, {}
    for optimizer in (
        RectifiedAdam(1e-2), Lookahead(RectifiedAdam(1e-2)), MovingAverage(LAMB(1e-2)), LAMB(1e-2),
    ):  # fmt: skip
        model = StackedHourglass(num_keypoints=5, **TINY)
        model.compile(optimizer, HeatmapMSE(size, 1.0), metrics=[HeatmapPCK(size)])
        name = type(optimizer).__name__
        losses[name] = model.fit(pictures, targets, epochs=3, verbose=0).history["loss"]
    (folder / "losses.json").write_text(json.dumps(losses))


def recipe(name, options=None, **training):
    """A recipe of one epoch of two steps."""
    return {
        "model": TINY,
        "augmentation": {"preset": "none"},
        "data": {"train": "synthetic:8@1x64", "validation": "synthetic:4@2x64", "sigma": 1.0},
        "optimizer": {"name": name, "learning_rate": 0.01, "options": options or {}},
        "training": {"epochs": 1, "batch_size": 4, **training},
        "monitoring": {"source_every": 0, "images": 1},
    }


def resume(folder):
    """Lookahead, whose slow weights and period belong to the checkpoint, unbroken and resumed."""
    from keras_hourglass.training.run import train

    options = {"optimizer": "sgd", "sync_period": 3}
    values = recipe("tfa:Lookahead", options, epochs=2)
    whole, _ = train(values, folder / "whole", verbose=0)
    train(values, folder / "parts", overrides=["training.epochs=1"], verbose=0)
    parts, _ = train(values, folder / "parts", resume=True, verbose=0)
    for one, other in zip(whole.weights, parts.weights, strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def averages(folder):
    """With a decay of 1 averages stay what they were at first, and they are what is kept."""
    import keras

    from keras_hourglass.training.run import train

    options = {"optimizer": "tfa:LAMB", "average_decay": 1.0}
    first = {}

    class Remember(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            first["weights"] = [variable.numpy() for variable in self.model.trainable_variables]

        def on_train_batch_end(self, batch, logs=None):
            first["last"] = [variable.numpy() for variable in self.model.trainable_variables]

    values = recipe("tfa:MovingAverage", options)
    model, _ = train(values, folder / "run", verbose=0, callbacks=[Remember()])
    assert not np.array_equal(first["weights"][0], first["last"][0])
    for variable, expected in zip(model.trainable_variables, first["weights"], strict=True):
        np.testing.assert_array_equal(variable.numpy(), expected)


def refuse(folder):
    """What a recipe cannot have here: the messages."""
    from keras_hourglass.compat import fitting
    from keras_hourglass.errors import RecipeError
    from keras_hourglass.training.optimizers import make_optimizer, try_optimizer
    from keras_hourglass.training.recipe import load_recipe

    messages = []
    for values in (
        recipe("torch_rmsprop"),
        recipe("tfa:Nothing"),
        recipe("tfa:Lookahead"),
        recipe("tfa:LAMB", {"period": 3}),
        recipe("tfa:LAMB", {"beta_1": "0.9"}),
        recipe("tfa:Lookahead", {"optimizer": "adam", "sync_period": -1}),
        recipe("tfa:LAMB", precision="mixed_float16"),
        recipe("tfa:LAMB", devices="all"),
    ):
        try:
            loaded = fitting(load_recipe(values))
            try_optimizer(loaded)
            make_optimizer(loaded, steps_per_epoch=2, epochs=1)
        except RecipeError as error:
            messages.append(str(error))
    (folder / "messages.json").write_text(json.dumps(messages))


if __name__ == "__main__":
    {"heatmaps": heatmaps, "layers": layers, "fit": fit, "resume": resume, "averages": averages,
     "refuse": refuse}[sys.argv[1]](pathlib.Path(sys.argv[2]))  # fmt: skip
