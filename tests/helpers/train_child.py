"""Trainings in processes of their own, for `test_distribution.py` and `test_backends.py`.

python train_child.py MODE FOLDER
"""

import json
import os
import pathlib
import sys
from importlib.machinery import PathFinder

MODE, FOLDER = sys.argv[1], pathlib.Path(sys.argv[2])
RECIPE = {
    "model": {
        "num_stacks": 1, "num_features": 4, "depth": 1, "input_shape": [32, 24, 3],
        "stem": [2, [2], [2, 4]],
    },
    "data": {
        "train": "synthetic:8@1x64", "validation": "synthetic:5@2x64", "sigma": 1.0, "cache": True,
    },
    "optimizer": {"name": "sgd", "learning_rate": 0.1},
    "training": {"epochs": 2, "batch_size": 4},
    "monitoring": {"source_every": 2},
}  # fmt: skip


class WithoutTensorFlow:
    """Finds all modules but TensorFlow, as where it is not installed."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] == "tensorflow":
            return None
        return PathFinder.find_spec(name, path, target)


def without_tensorflow():
    """Importing TensorFlow fails from here on."""
    sys.meta_path[:] = [
        WithoutTensorFlow if finder is PathFinder else finder for finder in sys.meta_path
    ]


def save(model, name):
    import numpy as np

    from keras_hourglass.zoo.weights import arrays_of

    np.savez(FOLDER / name, **arrays_of(model))


def run(name, *overrides):
    """Train into FOLDER/name and keep weights and log."""
    from keras_hourglass.training.recipe import load_recipe
    from keras_hourglass.training.run import train

    resume = bool(os.environ.get("KERAS_HOURGLASS_TEST_RESUME"))
    recipe = load_recipe(RECIPE, overrides)
    model, history = train(recipe, FOLDER / name, resume=resume, verbose=0)
    save(model, f"{name}.npz")
    (FOLDER / f"{name}.json").write_text(json.dumps(history.history))
    return model


def mirrored():
    import tensorflow as tf

    cpu = tf.config.list_physical_devices("CPU")[0]
    parts = [tf.config.LogicalDeviceConfiguration()] * 2
    tf.config.set_logical_device_configuration(cpu, parts)
    run("one", "model.synchronized=true")
    run("all", "model.synchronized=true", "training.devices=all")
    # Of these nothing but the training itself is looked at.
    short = ("training.epochs=1", "training.steps_per_epoch=1", "monitoring.source_every=0",
             "monitoring.tensorboard=false")  # fmt: skip
    run("apart", "training.devices=all", *short)
    run("together", *short)
    run("half", "training.devices=all", "training.precision=mixed_float16", *short)
    overflow()


def overflow():
    """An infinite gradient on the second replica only."""
    import keras
    import tensorflow as tf

    from keras_hourglass.training.distribution import layout
    from keras_hourglass.training.optimizers import LossScaleOptimizer
    from keras_hourglass.training.recipe import load_recipe

    with layout(load_recipe(RECIPE, ["training.devices=all"])) as found:
        strategy = found.strategy
    with strategy.scope():
        variable = keras.Variable([1.0])
        optimizer = LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=8.0)
        optimizer.build([variable])

    @tf.function
    def step(bad):
        def replica():
            second = tf.distribute.get_replica_context().replica_id_in_sync_group == 1
            gradient = tf.where(second, bad, [4.0])
            optimizer.apply([gradient], [variable])

        strategy.run(replica)

    step(tf.constant([float("inf")]))
    skipped = [float(variable.numpy()[0]), float(optimizer.dynamic_scale.numpy())]
    step(tf.constant([4.0]))
    after = float(variable.numpy()[0])
    (FOLDER / "overflow.json").write_text(json.dumps([*skipped, after]))


def parallel():
    without_tensorflow()
    run("one")
    run("all", "training.devices=all")


def process():
    without_tensorflow()
    from keras_hourglass.training.recipe import load_recipe
    from keras_hourglass.training.run import train

    recipe = load_recipe(RECIPE, ["training.devices=all"])
    model, _ = train(recipe, FOLDER / "processes", verbose=0)
    save(model, f"process{os.environ['KERAS_DISTRIBUTION_PROCESS_ID']}.npz")


def alone():
    without_tensorflow()
    run("alone", "optimizer.options.use_ema=true", "monitoring.tensorboard=true")
    assert not [name for name in sys.modules if name.split(".")[0] == "tensorflow"]


def killed():
    """Train for many epochs, to be killed at any moment."""
    run("killed", *sys.argv[3:])


if __name__ == "__main__":
    {
        "mirrored": mirrored,
        "parallel": parallel,
        "process": process,
        "alone": alone,
        "killed": killed,
    }[MODE]()
