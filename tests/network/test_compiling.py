"""What `compile` and `fit` do before the first step."""

import keras
import numpy as np
import pytest

from keras_hourglass import HeatmapCodec, StackedHourglass
from keras_hourglass.losses import HeatmapMSE
from keras_hourglass.network import compiling, loss_and_metrics

TARGETS = np.tile(np.array([5.0, 3.0, 1.0, 1.0], "float32"), (2, 3, 1))
PICTURES = np.random.default_rng(1).integers(0, 255, (2, 32, 48, 3)).astype("float32")


class Counting(StackedHourglass):
    """Counts how often its steps are traced."""

    def train_step(self, data):
        self.train_traces = getattr(self, "train_traces", 0) + 1
        return super().train_step(data)

    def test_step(self, data):
        self.test_traces = getattr(self, "test_traces", 0) + 1
        return super().test_step(data)


def build(**options):
    return Counting(3, num_features=8, depth=1, input_shape=(32, 48, 3), **options)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("stacks", "settings"),
    [
        (2, loss_and_metrics(HeatmapCodec((32, 48), sigma=1.0))),
        (1, loss_and_metrics(HeatmapCodec((32, 48), sigma=1.0))),
        (2, {"loss": {"stack_1": HeatmapMSE(), "stack_2": HeatmapMSE()}}),
        (2, {"loss": "mse", "metrics": ["mae"]}),
    ],
    ids=["readme", "one stack", "dict", "words"],
)
def test_steps_are_traced_once(stacks, settings):
    model = build(num_stacks=stacks)
    model.compile("adam", **settings)
    y = TARGETS if settings["loss"] != "mse" else np.zeros((2, 8, 12, 3), "float32")
    y = dict.fromkeys(model.output, y)
    first = model.get_weights()
    history = model.fit(PICTURES, y, epochs=3, validation_data=(PICTURES, y), verbose=0).history
    model.fit(PICTURES, y, verbose=0)
    assert (model.train_traces, model.test_traces) == (1, 1)
    assert model.optimizer.iterations == 4
    assert any((a != b).any() for a, b in zip(first, model.get_weights(), strict=True))
    of_stacks = {"stack_1_loss", "stack_2_loss"} if stacks == 2 else set()
    assert {"loss", "val_loss"} | of_stacks <= set(history)
    if stacks == 2:
        total = np.add(history["stack_1_loss"], history["stack_2_loss"])
        np.testing.assert_allclose(total, history["loss"], rtol=1e-5)


@pytest.mark.slow
def test_a_loss_for_some_outputs_is_left_to_keras():
    model = build(num_stacks=2)
    model.compile("adam", {"stack_2": HeatmapMSE()})
    model.fit(PICTURES, {"stack_2": TARGETS}, verbose=0)
    assert model.optimizer.iterations == 1


@pytest.mark.slow
def test_layers_frozen_after_compile_stay_as_they_are():
    model = build(num_stacks=1)
    model.compile("adam", **loss_and_metrics(HeatmapCodec((32, 48))))
    model.get_layer("stem").trainable = False
    before = model.get_layer("stem").get_weights()
    model.fit(PICTURES, {"stack_1": TARGETS}, verbose=0)
    names = {variable.path for variable in model.get_layer("stem").trainable_variables}
    assert not names
    after = model.get_layer("stem").get_weights()
    assert all((a == b).all() for a, b in zip(before, after, strict=True))


@pytest.mark.slow
def test_how_long_it_takes_is_said_before_the_first_step(capsys, monkeypatch):
    # On a machine a thousand times as slow: 47 s for each variable.
    monkeypatch.setattr(compiling, "_speed", lambda: 1000)
    model = build(num_stacks=1)
    count = len(model.trainable_variables)
    model.compile("adam", **loss_and_metrics(HeatmapCodec((32, 48))))
    y = {"stack_1": TARGETS}

    def said(**options):
        model.fit(PICTURES, y, **options)
        return capsys.readouterr().out

    assert said(verbose=0) == ""
    model.compile("adam", **loss_and_metrics(HeatmapCodec((32, 48))))
    first = said(verbose=2)
    assert first.startswith(f"Tracing the network, about {47 * count} s, once after `compile`")
    assert first.index("Tracing") < first.index("loss")
    assert "Tracing" not in said(verbose=2)
    monkeypatch.setattr(compiling, "_speed", lambda: 0.1)
    model.compile("adam", **loss_and_metrics(HeatmapCodec((32, 48))))
    # Two seconds of silence need no word.
    assert "Tracing" not in said(verbose=2)


def test_a_fresh_optimizer_has_its_variables_before_the_step():
    model = build(num_stacks=1)
    optimizer = keras.optimizers.Adam()
    model.compile(optimizer, **loss_and_metrics(HeatmapCodec((32, 48))))
    assert not optimizer.built
    model.make_train_function()
    assert optimizer.built and optimizer.iterations == 0
