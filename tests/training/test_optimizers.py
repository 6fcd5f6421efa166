"""Optimizers against numbers worked out by hand."""

import math
import re

import keras
import numpy as np
import pytest

from keras_hourglass.errors import UserError
from keras_hourglass.training.optimizers import Adam, LossScaleOptimizer, TorchRMSprop


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
