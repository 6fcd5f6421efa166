"""The convolution that trains faster: the same numbers as Keras's own, forward and backward."""

import keras
import numpy as np
import pytest

from keras_hourglass.layers import common
from keras_hourglass.layers.common import Conv2D, kernel_gradient

tf = pytest.importorskip("tensorflow")
if keras.backend.backend() != "tensorflow":
    pytest.skip("of the TensorFlow backend only", allow_module_level=True)


@pytest.fixture(autouse=True)
def fast_way(monkeypatch):
    """As on a processor with AVX2 under the command line, whatever this one is."""
    monkeypatch.setenv("TF_ENABLE_ONEDNN_OPTS", "1")
    monkeypatch.setattr(common, "_products_pay", lambda: True)


def gradients(layer, inputs, weights):
    """Result and gradients of a weighted sum of a layer's result, in training."""
    inputs = tf.constant(inputs)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = layer(inputs, training=True) if weights is None else layer(inputs)
        loss = tf.reduce_sum(
            outputs
            * tf.cast(tf.reshape(tf.range(tf.size(outputs)) % 7, tf.shape(outputs)), tf.float32)
        )
    found = tape.gradient(loss, [inputs, layer.kernel.value, layer.bias.value])
    return [outputs, *found]


def test_gradient_of_a_kernel_by_hand():
    # One pixel of input at row 1, column 2 of 3×4; the loss is 5 times the result at row 0, column
    # 3, which was reached through the kernel's last row and first column.
    inputs, upstream = np.zeros((1, 3, 4, 1), np.float32), np.zeros((1, 3, 4, 2), np.float32)
    inputs[0, 1, 2, 0], upstream[0, 0, 3, 1] = 3, 5
    expected = np.zeros((3, 3, 1, 2))
    expected[2, 0, 0, 1] = 15
    np.testing.assert_array_equal(kernel_gradient(tf.constant(inputs), upstream), expected)


@pytest.mark.parametrize("size, channels, filters", [(1, 5, 3), (3, 64, 2), (3, 6, 4)])
def test_the_same_as_keras(size, channels, filters):
    rng = np.random.default_rng(size)
    inputs = rng.normal(size=(2, 7, 5, channels)).astype(np.float32)
    own, plain = (
        Conv2D(filters, size, padding="same"),
        keras.layers.Conv2D(filters, size, padding="same"),
    )
    for layer in (own, plain):
        layer.build((None, None, None, channels))
    plain.set_weights([rng.normal(size=w.shape) for w in plain.get_weights()])
    own.set_weights(plain.get_weights())
    for ours, theirs in zip(
        gradients(own, inputs, None), gradients(plain, inputs, "given"), strict=True
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-3)


def test_which_convolutions_take_the_fast_way(monkeypatch):
    taken = []
    monkeypatch.setattr(common, "_convolve", lambda x, k: taken.append(x.shape) or x)
    for options, training in [
        ({}, True),
        ({}, False),
        ({"strides": 2}, True),
        ({"dtype": "mixed_bfloat16"}, True),
    ]:
        layer = Conv2D(64, 3, padding="same", **options)
        layer(np.zeros((1, 4, 6, 64), np.float32), training=training)
    assert taken == [(1, 4, 6, 64)]


@pytest.mark.parametrize("flags, answer", [({"avx2"}, True), ({"avx2", "avx512f"}, False)])
def test_processors_whose_own_gradients_are_faster(monkeypatch, flags, answer):
    monkeypatch.undo()
    monkeypatch.setattr(common, "processor_flags", lambda: flags)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [])
    assert common._products_pay.__wrapped__() is answer


@pytest.mark.slow
def test_sizes_may_be_unknown_until_it_runs():
    inputs = keras.Input((None, None, 64))
    model = keras.Model(inputs, Conv2D(2, 3, padding="same")(Conv2D(64, 1, padding="same")(inputs)))
    model.compile("sgd", "mse")
    rng = np.random.default_rng(0)
    crops = rng.normal(size=(2, 6, 4, 64))
    history = model.fit(crops, np.ones((2, 6, 4, 2)), epochs=3, verbose=0).history["loss"]
    assert history[-1] < history[0]
