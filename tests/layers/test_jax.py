"""The layers that train faster on JAX: the same numbers as Keras's own, forward and backward."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest


def run(layer, inputs, training):
    """Result, changed statistics, and gradients of a weighted sum by weights and inputs."""
    import jax
    import jax.numpy as jnp

    kept = [variable.value for variable in layer.non_trainable_variables]
    options = {} if training is None else {"training": training}

    def loss(weights, inputs):
        outputs, moved = layer.stateless_call(weights, kept, inputs, **options)
        factors = jnp.cos(jnp.arange(outputs.size, dtype="float32")).reshape(outputs.shape)
        return (outputs.astype("float32") * factors).sum(), (outputs, moved)

    weights = [variable.value for variable in layer.trainable_variables]
    gradients, (outputs, moved) = jax.jit(jax.grad(loss, (0, 1), has_aux=True))(weights, inputs)
    found = [outputs, *moved, *gradients[0], gradients[1]]
    return [np.asarray(one, np.float32) for one in found]


def norms(dtype, channels=5):
    """Ours and Keras's with equal weights, each unlike any other."""
    import keras

    from keras_hourglass.layers.common import BatchNormalization

    own = BatchNormalization(dtype=dtype)
    plain = keras.layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=dtype)
    rng = np.random.default_rng(1)
    for layer in (own, plain):
        layer.build((None, 8, 6, channels))
    plain.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in plain.get_weights()])
    own.set_weights(plain.get_weights())
    return own, plain


def compare(own, plain, inputs, training, tolerance):
    for ours, theirs in zip(run(own, inputs, training), run(plain, inputs, training), strict=True):
        assert ours.shape == theirs.shape
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


def check_norms_in_training():
    inputs = np.random.default_rng(2).normal(1.5, 2, (3, 8, 6, 5)).astype("float16")
    compare(*norms("mixed_float16"), inputs, True, 4e-3)


def check_norms_in_inference():
    inputs = np.random.default_rng(2).normal(1.5, 2, (3, 8, 6, 5)).astype("float16")
    compare(*norms("mixed_float16"), inputs, False, 4e-3)


def check_norms_of_float32_are_those_of_keras():
    inputs = np.random.default_rng(2).normal(1.5, 2, (3, 8, 6, 5)).astype("float32")
    compare(*norms("float32"), inputs, True, 0)


def check_norms_of_half_precision():
    import jax.numpy as jnp

    inputs = np.random.default_rng(2).normal(1.5, 2, (3, 8, 6, 5))
    compare(*norms("mixed_bfloat16"), jnp.asarray(inputs, "bfloat16"), True, 2e-2)


def check_frozen_norms_stay():
    own, _ = norms("mixed_float16")
    own.trainable = False
    before = [np.array(variable) for variable in own.variables]
    own(np.ones((3, 8, 6, 5), np.float32), training=True)
    for variable, array in zip(own.variables, before, strict=True):
        np.testing.assert_array_equal(variable, array)


def check_a_norm_by_hand():
    # Values 1, 3, 5, 7: mean 4, variance (9 + 1 + 1 + 9) / 4 = 5. Of the first statistics, 0 and 1,
    # 0.9 stay: 0.4 and 0.9 + 0.5. Scaled by 2 and moved by 10: 10 + 2 (x - 4) / sqrt(5).
    from keras_hourglass.layers.common import BatchNormalization

    layer = BatchNormalization(epsilon=0.0, dtype="mixed_float16")
    layer.build((None, 2, 1, 1))
    layer.set_weights([np.array([value]) for value in (2.0, 10.0, 0.0, 1.0)])
    inputs = np.array([1, 3, 5, 7], np.float32).reshape(2, 2, 1, 1)
    outputs = np.asarray(layer(inputs, training=True)).ravel()
    expected = 10 + 2 * np.array([-3, -1, 1, 3]) / np.sqrt(5)
    np.testing.assert_allclose(outputs, expected, rtol=1e-3)
    np.testing.assert_allclose(layer.moving_mean, [0.4], rtol=1e-6)
    np.testing.assert_allclose(layer.moving_variance, [1.4], rtol=1e-6)


def check_a_variance_far_from_zero():
    # Squares of a thousand have an error of 0.06 in float32; the variance is 1.
    own, _ = norms("mixed_float16", channels=1)
    own.set_weights([np.array([value]) for value in (1.0, 0.0, 1000.5, 1.0)])
    signs = np.where(np.arange(3 * 8 * 6) % 2, 1, -1)
    inputs = (1000 + signs).reshape(3, 8, 6, 1).astype("float32")
    own.momentum = 0.0
    outputs = own(inputs, training=True)
    np.testing.assert_allclose(own.moving_variance, [1.0], rtol=1e-5)
    np.testing.assert_allclose(np.ravel(outputs), signs, atol=1e-3)


def reductions(jaxpr, size):
    """How often something of that many numbers is summed up."""
    import jax.extend

    found = 0
    for equation in jaxpr.eqns:
        found += equation.primitive.name == "reduce_sum" and equation.invars[0].aval.size == size
        found += sum(
            reductions(inner.jaxpr, size)
            for inner in equation.params.values()
            if isinstance(inner, jax.extend.core.ClosedJaxpr)
        )
    return found


def check_statistics_read_their_inputs_once():
    import jax

    counts = []
    for layer in norms("mixed_bfloat16"):
        inputs = jax.ShapeDtypeStruct((3, 8, 6, 5), "bfloat16")
        kept = [variable.value for variable in layer.non_trainable_variables]

        def loss(weights, inputs, layer=layer, kept=kept):
            return layer.stateless_call(weights, kept, inputs, training=True)[0].sum()

        weights = [variable.value for variable in layer.trainable_variables]
        jaxpr = jax.make_jaxpr(jax.grad(loss, (0, 1)))(weights, inputs)
        counts.append(reductions(jaxpr.jaxpr, 3 * 8 * 6 * 5))
    # The mean, the mean square, the loss itself, and the gradients of scale and offset.
    assert counts[0] == 5 < counts[1], counts


def check_a_pool_by_hand():
    # Of equal numbers the first, by rows, gets the gradient.
    import jax
    import jax.numpy as jnp

    from keras_hourglass.layers.common import MaxPooling2D

    inputs = jnp.array([[1, 5, 2, 2], [7, 3, 2, 2], [0, 0, -1, -3], [0, 4, -2, -1]], "float32")
    inputs = inputs.reshape(1, 4, 4, 1)
    outputs, back = jax.vjp(MaxPooling2D(2), inputs)
    np.testing.assert_array_equal(outputs[0, :, :, 0], [[7, 2], [4, -1]])
    [gradient] = back(jnp.array([[10, 20], [30, 40]], "float32").reshape(1, 2, 2, 1))
    expected = [[0, 0, 20, 0], [10, 0, 0, 0], [0, 0, 40, 0], [0, 30, 0, 0]]
    np.testing.assert_array_equal(gradient[0, :, :, 0], expected)
    # Forward, too: the change of the largest.
    moved = jnp.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    _, change = jax.jvp(MaxPooling2D(2), (inputs,), (moved,))
    np.testing.assert_array_equal(change[0, :, :, 0], [[4, 2], [13, 10]])


def check_pools():
    import keras

    from keras_hourglass.layers.common import MaxPooling2D

    rng = np.random.default_rng(4)
    for shape, options in [
        ((3, 8, 6, 5), {}),
        ((3, 7, 6, 5), {}),  # the last row belongs to no window
        ((3, 8, 6, 5), {"strides": 1}),
        ((3, 7, 5, 4), {"padding": "same"}),
        ((3, 4, 8, 6), {"data_format": "channels_first"}),
    ]:
        # Small whole numbers: many windows hold the largest twice.
        inputs = rng.integers(0, 4, shape).astype("float32")
        layers = MaxPooling2D(2, **options), keras.layers.MaxPooling2D(2, **options)
        for layer in layers:
            layer.build(shape)
        compare(*layers, inputs, None, 0)


def check_the_step_adds_nothing_number_by_number():
    import jax
    import keras

    from keras_hourglass import StackedHourglass

    model = StackedHourglass(5, 1, 8, depth=2, input_shape=(32, 48, 3))
    model.compile("sgd", "mse")
    model.optimizer.build(model.trainable_variables)
    data = np.zeros((2, 32, 48, 3), np.uint8), {"stack_1": np.zeros((2, 8, 12, 5), np.float32)}
    model._symbolic_build(data_batch=data)
    state = model._get_jax_state(
        trainable_variables=True,
        non_trainable_variables=True,
        optimizer_variables=True,
        metrics_variables=True,
    )
    text = jax.jit(model.train_step).lower(state, data).as_text()
    assert "stablehlo.reduce" in text and keras.backend.backend() == "jax"
    assert "select_and_scatter" not in text and "reduce_window" not in text


CHECKS = {name.removeprefix("check_"): c for name, c in list(globals().items()) if "check_" in name}


@pytest.fixture(scope="module")
def outcomes():
    """What each check says, in a process whose Keras computes by JAX."""
    pytest.importorskip("jax")
    done = subprocess.run(
        [sys.executable, __file__],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": "jax"},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.full
@pytest.mark.parametrize("name", CHECKS)
def test_on_jax(outcomes, name):
    assert outcomes[name] == ""


if __name__ == "__main__":
    import traceback

    found = {}
    for name, check in CHECKS.items():
        try:
            check()
            found[name] = ""
        except Exception:
            found[name] = traceback.format_exc()
    print(json.dumps(found))
