"""Small networks with values that tests can tell apart."""

import keras
import numpy as np

from keras_hourglass import StackedHourglass
from keras_hourglass.inference import runner

# What is said of weights that are published.
FACTS = {
    "architecture": "hourglass_small",
    "training_data": "nothing",
    "licence": "apache-2.0",
    "metric": {"name": "mean PCK@0.2", "value": 12.5, "data": "nothing"},
    "command": "keras-hourglass train x.yaml",
}


def distinct(model):
    """Give every variable of a model values of its own."""
    from keras_hourglass.zoo.weights import named_variables

    rng = np.random.default_rng(4)
    for variable in named_variables(model).values():
        variable.assign(rng.uniform(0.1, 0.6, variable.shape).astype("float32"))
    return model


def as_trained(model, signs=(1,)):
    """Give normalisations and biases values as training leaves them, gammas one of the signs."""
    rng = np.random.default_rng(5)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.5, 1.5, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(rng.normal(0, 0.2, variable.shape))
        if variable.name == "gamma":
            variable.assign(variable * rng.choice(signs, variable.shape))
    return model


def save_untrained(folder):
    """Write the preset of two tiny stacks for LSP's joints; returns the folder's path."""
    keras.utils.set_random_seed(8)  # of some weights no map is above nothing, so nobody is sure
    model = StackedHourglass(
        num_features=4, depth=1, input_shape=(32, 32, 3), skeleton="lsp", num_stacks=2
    )
    model.save_to_preset(folder)
    return str(folder)


def engines_once(patch):
    """Fold and compile every network once, for tests that are about something else.

    Args:
        patch: a `pytest.MonkeyPatch`.
    """
    kept, make_engine = {}, runner.make_engine

    def once(engine, model, outputs, *options):
        key = repr(engine), id(model), outputs, options
        if key not in kept:
            # The model is kept, too, so that no other gets its number.
            kept[key] = make_engine(engine, model, outputs, *options), model
        return kept[key][0]

    patch.setattr(runner, "make_engine", once)
