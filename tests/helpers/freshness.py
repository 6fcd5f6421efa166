"""Whether a predictor follows the weights of its model, on any backend.

As a program: prints as JSON what `follow_assignments` and `follow_training` find.
"""

import json
import sys

import numpy as np

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.inference.engines import make_engine

SIZE = (16, 24)


def small_model():
    """One stack for three joints whose every weight makes a difference.

    Residuals with and without a convolution beside them are among its layers, few of each kind,
    since some engines are made anew for every weight.
    """
    model = StackedHourglass(
        num_stacks=1,
        num_features=4,
        depth=1,
        input_shape=(*SIZE, 3),
        num_keypoints=3,
        stem=(4, (), (6,)),
    )
    rng = np.random.default_rng(3)
    for variable in model.variables:
        # Positive, so that no ReLU hides what comes before it, and features of the same height
        # everywhere, so that nothing is lost in rounding.
        low, high = (0.7, 1.3) if variable.name in ("gamma", "moving_variance") else (0.1, 0.4)
        values = rng.uniform(low, high, variable.shape)
        fan_in = np.prod(variable.shape[:-1]) if variable.name == "kernel" else 1
        variable.assign(values * (4 / fan_in if variable.name == "kernel" else 1))
    return model


def crops():
    """Two crops of noise."""
    return np.random.default_rng(1).integers(0, 256, (2, *SIZE, 3), np.uint8)


def _change(variable):
    """Values that differ everywhere and are fit for a variance."""
    values = np.array(variable.numpy() if hasattr(variable, "numpy") else variable)
    rng = np.random.default_rng(values.size)
    variable.assign((values + rng.uniform(0.5, 1.5, values.shape)).astype(values.dtype))
    return values


def follow_assignments(engine):
    """Assign each variable of a model in turn and compare a predictor with the model itself.

    Args:
        engine: the predictor's.

    Returns:
        Dict of lists of paths of variables: those that were `assigned`, and of these those that the
        predictor followed `without` and only `after` being told to refresh.
    """
    model, given = small_model(), crops()
    own = make_engine("keras", model, ("stack_1",))
    predictor = Predictor(model, engine=engine, flip=False)
    before, found = own(given)["stack_1"], {"assigned": [], "without": [], "after": []}
    assert close(predictor.predict_crops(given), before)
    for variable in model.variables:
        values = _change(variable)
        expected = own(given)["stack_1"]
        assert not close(expected, before, 10), f"{variable.path} makes no difference"
        found["assigned"].append(variable.path)
        if close(predictor.predict_crops(given), expected):
            found["without"].append(variable.path)
        else:
            predictor.refresh()
            if close(predictor.predict_crops(given), expected):
                found["after"].append(variable.path)
        variable.assign(values)
    return found


def close(first, second, times=1):
    """Whether heatmaps agree but for (some times as much as) rounding."""
    return bool(np.abs(first - second).max() <= times * 2e-5 * np.abs(second).max())


def follow_training():
    """Ask predictors after every step of a training, from a callback that knows nothing of it.

    Returns:
        Dict of the largest changes of the answer from step to step, and from the model's own.
    """
    import keras

    model, given = small_model(), crops()
    live, kept = Predictor(model, flip=False), Predictor(model, flip=False, engine="fastest")
    answers, told = [live.predict_crops(given)], []

    class Ask(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            answers.append(live.predict_crops(given))
            kept.refresh()
            told.append(kept.predict_crops(given))

    model.compile(keras.optimizers.SGD(0.01), "mse")
    maps = {"stack_1": np.ones((6, SIZE[0] // 4, SIZE[1] // 4, 3), np.float32)}
    pictures = np.random.default_rng(2).integers(0, 256, (6, *SIZE, 3), np.uint8)
    model.fit(pictures, maps, batch_size=2, epochs=2, verbose=0, callbacks=[Ask()])
    steps = [float(np.abs(b - a).max()) for a, b in zip(answers, answers[1:], strict=False)]
    agree = [close(second, first) for first, second in zip(answers[1:], told, strict=True)]
    last = model.predict(given, verbose=0)["stack_1"]
    return {"steps": steps, "agree": agree, "last": close(answers[-1], last)}


if __name__ == "__main__":
    report = {engine: follow_assignments(engine) for engine in sys.argv[1:]}
    print(json.dumps({**report, "training": follow_training()}))
