"""Training that recomputes gives what training that keeps everything gives."""

import numpy as np
import pytest
from backends import run_on

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.layers.recomputation import recompute
from keras_hourglass.skeletons import get_skeleton
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import build_model


def trained(policy, on, steps=2):
    """Every variable after some steps: weights, biases, statistics."""
    import keras

    keras.utils.set_random_seed(3)
    model = StackedHourglass(
        num_keypoints=5, num_features=8, depth=1, input_shape=(32, 16, 3), dtype=policy
    )
    recompute(model, on)
    compiled = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.SGD(0.1), "mse", jit_compile=compiled)
    rng = np.random.default_rng(1)
    crops = rng.uniform(0, 255, (3, 32, 16, 3)).astype(np.float32)
    targets = {name: rng.uniform(0, 1, (3, 8, 4, 5)) for name in model.output_names}
    for _ in range(steps):
        model.train_on_batch(crops, targets)
    return {
        variable.path: keras.ops.convert_to_numpy(variable.value) for variable in model.variables
    }


def compare(policy, tolerance, steps=2):
    kept, again = (trained(policy, on, steps) for on in (False, True))
    start = trained(policy, False, steps=0)
    for name, array in kept.items():
        np.testing.assert_allclose(again[name], array, atol=tolerance, err_msg=name)
    moved = {name: np.abs(kept[name] - start[name]).max() for name in kept}
    assert max(by for name, by in moved.items() if "kernel" in name) > 0
    # Statistics that moved twice in a step would be far from those that moved once.
    assert max(by for name, by in moved.items() if "moving_variance" in name) > 3 * tolerance


@pytest.mark.full
def test_the_same_training():
    compare("float32", 1e-5)


@pytest.mark.full
def test_the_same_training_in_half_precision():
    # One step: a second one would multiply what kernels of different processors round differently
    # (after two, the same network in float32 is 0.08 away on one of them).
    compare("mixed_bfloat16", 1e-2, steps=1)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    pytest.importorskip(backend)
    assert run_on(backend, __file__).splitlines()[-1] == f"{backend}: the same"


@pytest.mark.full
def test_only_inputs_are_kept():
    """The graph of a step holds the norms of the residuals a second time."""
    import tensorflow as tf

    def norms(on):
        model = StackedHourglass(
            num_keypoints=5, num_features=8, depth=1, input_shape=(32, 16, 3), num_stacks=1
        )
        recompute(model, on)

        @tf.function
        def gradients(crops):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(model(crops, training=True)["stack_1"])
            return tape.gradient(loss, [v.value for v in model.trainable_variables])

        graph = gradients.get_concrete_function(tf.TensorSpec((2, 32, 16, 3))).graph
        return sum(operation.type == "FusedBatchNormV3" for operation in graph.get_operations())

    # Three norms in each of: 3 residuals of the stem, 5 of the hourglass (upper, lower, bottom,
    # after, and the one before the heatmaps); one in the stem and one before the heatmaps.
    assert norms(False) == 3 * 8 + 2
    assert norms(True) == 2 * 3 * 8 + 2


@pytest.mark.full
def test_in_a_recipe():
    values = {"model": {"num_features": 8, "depth": 1, "input_shape": [32, 32, 3]}}
    found = []
    for on in (False, True):
        recipe = load_recipe({**values, "training": {"recompute": on}})
        model = build_model(recipe, get_skeleton("lsp"))
        found.append([x.recompute for x in model._flatten_layers() if hasattr(x, "recompute")])
    # Three in the stem, four in each hourglass, one in each head.
    assert found == [[False] * 13, [True] * 13]


def test_old_keras(monkeypatch):
    import keras

    monkeypatch.delattr(keras, "remat", raising=False)
    model = StackedHourglass(num_keypoints=5, num_features=8, depth=1, input_shape=(32, 16, 3))
    recompute(model, False)
    with pytest.raises(UserError, match=r"Keras 3\.9 or newer"):
        recompute(model)
    recipe = load_recipe(
        {
            "model": {"num_features": 8, "depth": 1, "input_shape": [32, 32, 3]},
            "training": {"recompute": True},
        }
    )
    with pytest.raises(RecipeError, match=r"training\.recompute: .*keras\.remat"):
        build_model(recipe, get_skeleton("lsp"))


if __name__ == "__main__":
    import keras

    compare("float32", 1e-5)
    print(f"{keras.backend.backend()}: the same")
