"""Optimizers against numbers worked out by hand."""

import math
import re

import keras
import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.training.optimizers import (
    Adam,
    LossScaleOptimizer,
    TorchRMSprop,
    try_optimizer,
)
from keras_hourglass.training.recipe import load_recipe


def _steps(optimizer, start, gradients):
    variable = keras.Variable(np.array(start, "float32"))
    optimizer.build([variable])
    path = []
    for gradient in gradients:
        optimizer.apply([keras.ops.convert_to_tensor(np.array(gradient, "float32"))], [variable])
        path.append(keras.ops.convert_to_numpy(variable).copy())
    return np.array(path)


def test_two_steps_by_hand():
    # v1 = 0.25 * 2² = 1, step 0.1 * 2 / (1 + 1) = 0.1
    # v2 = 0.75 * 1 + 0.25 * 4² = 4.75, step 0.1 * 4 / (√4.75 + 1) = 0.1258009
    path = _steps(TorchRMSprop(0.1, rho=0.75, epsilon=1.0), [1.0], [[2.0], [4.0]])
    second = 0.4 / (math.sqrt(4.75) + 1)
    np.testing.assert_allclose(path[:, 0], [0.9, 0.9 - second], rtol=1e-6)


def test_a_tiny_gradient_still_moves_as_in_torch():
    # v = 0.01 * 1e-12, √v = 1e-7: step 2.5e-4 * 1e-6 / (1e-7 + 1e-8) = 2.5e-4 / 0.11
    path = _steps(TorchRMSprop(), [0.0], [[1e-6]])
    np.testing.assert_allclose(path[0, 0], -2.5e-4 / 0.11, rtol=1e-5)
    # With the epsilon of Keras inside the root it is nearly stopped: 2.5e-4 * 1e-6 / √1e-7.
    path = _steps(keras.optimizers.RMSprop(2.5e-4, rho=0.99), [0.0], [[1e-6]])
    np.testing.assert_allclose(path[0, 0], -2.5e-10 / math.sqrt(1e-7), rtol=1e-5)


def test_momentum_by_hand():
    # rho 0: v = g², step g / (|g| + 1): 1 / 2, then buffer 0.5 * 0.5 + 3 / 4 = 1
    path = _steps(TorchRMSprop(0.1, rho=0.0, momentum=0.5, epsilon=1.0), [0.0], [[1.0], [3.0]])
    np.testing.assert_allclose(path[:, 0], [-0.05, -0.15], rtol=1e-6)


@pytest.mark.full
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"centered": True}])
def test_the_same_path_as_torch(options):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(3)
    start, gradients = rng.normal(size=(3, 2)), rng.normal(size=(6, 3, 2)) * 1e-4
    ours = _steps(TorchRMSprop(1e-3, **options), start, gradients)
    weight = torch.nn.Parameter(torch.tensor(start, dtype=torch.float32))
    theirs = torch.optim.RMSprop([weight], lr=1e-3, alpha=0.99, eps=1e-8, **options)
    for gradient, expected in zip(gradients, ours, strict=True):
        weight.grad = torch.tensor(gradient, dtype=torch.float32)
        theirs.step()
        np.testing.assert_allclose(weight.detach().numpy(), expected, rtol=2e-4, atol=2e-6)


def test_two_steps_of_adam_by_hand():
    # beta_1 0.5, beta_2 0.75. First: m = 1, v = 1; corrected 1 / 0.5 = 2 and 1 / 0.25 = 4,
    # step 0.1 * 2 / 2. Second: m = 0.5 + 2 = 2.5, v = 0.75 + 4 = 4.75; corrected by 0.75, 0.4375.
    path = _steps(Adam(0.1, beta_1=0.5, beta_2=0.75, epsilon=0.0), [1.0], [[2.0], [4.0]])
    second = 0.1 * (2.5 / 0.75) / math.sqrt(4.75 / 0.4375)
    np.testing.assert_allclose(path[:, 0], [0.9, 0.9 - second], rtol=1e-6)


@pytest.mark.parametrize(
    "options",
    [
        {"use_ema": True, "ema_momentum": 0.6},
        {"amsgrad": True},
        {"clipnorm": 1.0, "weight_decay": 0.1},
        {"gradient_accumulation_steps": 2},
    ],
)
def test_adam_goes_the_way_of_keras(options):
    rng = np.random.default_rng(4)
    start, gradients = rng.normal(size=(3, 2)), rng.normal(size=(5, 3, 2))
    ours, theirs = Adam(0.05, **options), keras.optimizers.Adam(0.05, **options)
    paths = [_steps(optimizer, start, gradients) for optimizer in (ours, theirs)]
    np.testing.assert_allclose(*paths, rtol=3e-5, atol=1e-6)  # rounding of 1 - beta
    # The same variables in the same order, so a checkpoint of one continues with the other.
    for mine, other in zip(ours.variables, theirs.variables, strict=True):
        assert re.sub(r"\d+", "", mine.path) == re.sub(r"\d+", "", other.path)
        np.testing.assert_allclose(*map(keras.ops.convert_to_numpy, (mine, other)), rtol=1e-4)


def test_averages_by_hand():
    # Rate 1, rho 0, epsilon 0: every step is 1 long. The average starts with the first result.
    optimizer = TorchRMSprop(1.0, rho=0.0, epsilon=0.0, use_ema=True, ema_momentum=0.75)
    path = _steps(optimizer, [5.0], [[3.0], [2.0], [-1.0]])
    assert path[:, 0].tolist() == [4.0, 3.0, 4.0]
    [average] = [v for v in optimizer.variables if v.path.endswith("average")]
    expected = 0.75 * (0.75 * 4 + 0.25 * 3) + 0.25 * 4
    assert float(average[0]) == pytest.approx(expected)


def test_config_survives():
    optimizer = TorchRMSprop(1e-3, rho=0.9, epsilon=1e-4, clipnorm=2.0)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(optimizer))
    assert type(again) is TorchRMSprop
    assert again.get_config() == optimizer.get_config()


@pytest.mark.parametrize("options", [{"rho": 1.0}, {"rho": -0.1}, {"epsilon": -1e-8}])
def test_values_out_of_range(options):
    with pytest.raises(UserError, match="Received: rho="):
        TorchRMSprop(**options)


def test_an_overflow_skips_the_step_and_halves_the_scale():
    variable = keras.Variable([1.0])
    optimizer = LossScaleOptimizer(keras.optimizers.SGD(0.5), initial_scale=8.0)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor([math.inf])], [variable])
    assert float(variable[0]) == 1.0 and float(optimizer.dynamic_scale) == 4.0
    optimizer.apply([keras.ops.convert_to_tensor([4.0])], [variable])
    assert float(variable[0]) == 0.5  # 1 - 0.5 * 4 / 4


# name, option, value, and how the refusal goes on after the option's path
_WRONG = [
    ("adam", "beta_1", "0.9", "needs a number. Received: '0.9'. The default is 0.9."),
    ("adam", "beta_1", 1.0, "lies between 0 and 1. Received: 1.0. The default is 0.9."),
    ("adam", "beta_1", None, "needs a number. Received: None. The default is 0.9."),
    ("adam", "epsilon", math.nan, "needs a finite number. Received: nan."),
    ("adam", "epsilon", 1e300, "needs a finite number. Received: 1e+300."),
    ("adam", "weight_decay", -1e-4, "must not be negative. Received: -0.0001. Leave it out."),
    ("adam", "weight_decay", True, "needs a number. Received: True."),
    ("adam", "clipnorm", "abc", "needs a number. Received: 'abc'."),
    ("adam", "clipnorm", {"a": [1]}, "needs a number. Received: {'a': [1]}."),
    ("adam", "clipnorm", math.inf, "needs a finite number. Received: inf."),
    ("adam", "global_clipnorm", 0, "must be positive. Received: 0."),
    ("adam", "gradient_accumulation_steps", 2.5, "needs a positive whole number. Received: 2.5."),
    ("adam", "use_ema", "yes", "needs true or false. Received: 'yes'. The default is False."),
    ("adam", "ema_momentum", math.nan, "needs a finite number. Received: nan."),
    ("adam", "name", [1], "needs a text. Received: [1]."),
    ("adam", "betta_1", 0.9, "adam has no such option. Received: 0.9. Did you mean 'beta_1'?"),
    ("adam", "q" * 400, 1, "adam has no such option. Received: 1. It has amsgrad, beta_1, "),
    ("adam", "learning_rate", 5, "is no option. Received: 5. Write optimizer.learning_rate."),
    ("sgd", "momentum", 1.5, "lies between 0 and 1. Received: 1.5."),
    ("ftrl", "l1_regularization_strength", -1, "must not be negative. Received: -1."),
    ("adafactor", "beta_2_decay", 0.8, "must not be positive. Received: 0.8."),
]  # fmt: skip


@pytest.mark.parametrize(("name", "option", "value", "said"), _WRONG)
def test_an_option_is_refused_by_its_path(name, option, value, said):
    recipe = load_recipe({"optimizer": {"name": name, "options": {option: value}}})
    with pytest.raises(RecipeError) as caught:
        try_optimizer(recipe)
    text = str(caught.value)
    path = option if len(option) < 60 else option[:59] + "…"
    assert text.startswith(f"optimizer.options.{path}: {said}")
    assert len(text) < 320 and "\n" not in text


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"name": "a/b"}, "cannot contain character"),
        ({"clipnorm": 1.0, "clipvalue": 1.0}, "Only one of"),
        ({"gradient_accumulation_steps": 1}, "must be an integer >= 2"),
    ],
)
def test_what_only_the_optimizer_or_its_first_step_finds_out(options, reason):
    with pytest.raises(RecipeError, match=f"^optimizer.options: adam makes no step .*{reason}"):
        try_optimizer(load_recipe({"optimizer": {"name": "adam", "options": options}}))
    # Each is within its limit, their product is beyond float32.
    both = ["optimizer.learning_rate=1e6", "optimizer.options.weight_decay=3e38"]
    with pytest.raises(RecipeError, match=r"a step leads to values that are not finite.*1e\+06"):
        try_optimizer(load_recipe({}, both))


def test_right_options_of_every_optimizer_pass():
    kinds = (
        "torch_rmsprop", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamw", "ftrl",
        "lamb", "lion", "nadam", "rmsprop", "sgd",
    )  # fmt: skip
    everywhere = {
        "clipnorm": 1, "weight_decay": 1e-4, "use_ema": True, "ema_momentum": 0.9,
        "ema_overwrite_frequency": 10, "name": "mine", "loss_scale_factor": 2.0,
    }  # fmt: skip
    own = {
        "adam": {"beta_1": 0.0, "amsgrad": True, "gradient_accumulation_steps": 2},
        "sgd": {"momentum": 1, "nesterov": True},
        "adafactor": {"beta_2_decay": -0.7},
        "ftrl": {"learning_rate_power": -0.5},
        "torch_rmsprop": {"centered": True, "clipnorm": None, "global_clipnorm": 10.0},
    }
    for kind in kinds:
        options = {**everywhere, **own.get(kind, {})}
        try_optimizer(load_recipe({"optimizer": {"name": kind, "options": options}}))


def test_a_training_is_refused_before_anything_is_made(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recipe.yaml").write_text(
        "optimizer: {name: adam, options: {ema_momentum: .nan, use_ema: true}}\n"
        "data: {train: 'coco:missing.json'}\n"
    )
    assert main(["train", "recipe.yaml", "--out", "run"]) == 2
    told = capsys.readouterr().err
    assert told.startswith("keras-hourglass train: optimizer.options.ema_momentum: needs a finite")
    assert [path.name for path in tmp_path.iterdir()] == ["recipe.yaml"]
