"""The laws of Keras, by its own tests and KerasHub's; `test_backends` has them run on every one.

What a layer of Keras does with freezing, dtype policies, quantisation and configs, ours do.
"""

import contextlib
import json

import keras
import numpy as np
import pytest
from keras.src import testing

from keras_hourglass import Hourglass, IntermediateSupervision, Residual, StackedHourglass, Stem
from keras_hourglass.layers.common import BatchNormalization, Conv2D

BACKEND = keras.backend.backend()
FEATURES = (2, 16, 24, 6)
LAYERS = {
    "residual": (Residual, {"filters": 10}, FEATURES, (2, 16, 24, 10)),
    "identity": (Residual, {"filters": 6}, FEATURES, FEATURES),
    "hourglass": (Hourglass, {"filters": 8, "depth": 2}, FEATURES, (2, 16, 24, 8)),
    "stem": (
        Stem,
        {"filters": 4, "before": [6], "after": [8], "return_pooled": True},
        (2, 32, 48, 3),
        [(2, 8, 12, 8), (2, 8, 12, 6)],
    ),
    "supervision": (
        IntermediateSupervision,
        {"num_keypoints": 5, "filters": [8], "num_blocks": 1},
        [FEATURES, (2, 16, 24, 7)],
        [(2, 16, 24, 5), (2, 16, 24, 7)],
    ),
    "last": (
        IntermediateSupervision,
        {"num_keypoints": 5, "filters": [8], "merge": None},
        FEATURES,
        (2, 16, 24, 5),
    ),
    "norm": (BatchNormalization, {}, FEATURES, FEATURES),
    "convolution": (
        Conv2D,
        {"filters": 8, "kernel_size": 3, "padding": "same"},
        FEATURES,
        (2, 16, 24, 8),
    ),
}
SMALL = {"num_keypoints": 5, "num_stacks": 2, "num_features": 8, "depth": 1}
SMALL["input_shape"] = (32, 48, 3)


def small(**options):
    return StackedHourglass(**{**SMALL, **options})


def reload(model, folder):
    model.save(folder / "model.keras")
    return keras.models.load_model(folder / "model.keras")


@contextlib.contextmanager
def setting(read, write, value):
    """One of Keras's global settings, for a while."""
    before = read()
    write(value)
    try:
        yield
    finally:
        write(before)


def policy(name):
    return setting(keras.config.dtype_policy, keras.config.set_dtype_policy, name)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:`shuffle=True` was passed")  # by that test itself
@pytest.mark.parametrize("name", LAYERS)
def test_keras_runs_its_layer_test(name):
    layer, arguments, shape, output = LAYERS[name]
    testing.TestCase().run_layer_test(
        layer,
        init_kwargs=arguments,
        input_shape=shape,
        expected_output_shape=output,
        expected_num_seed_generators=0,
        expected_num_losses=0,
        # Heatmaps stay in float32, which the test below tells; the others follow the policy.
        run_mixed_precision_check=layer is not IntermediateSupervision,
        # Keras's own training step there makes data of tensors only, none of lists of them.
        run_training_check=keras.backend.backend() != "tensorflow" or not isinstance(output, list),
    )


@pytest.mark.full
@pytest.mark.filterwarnings("ignore::UserWarning")  # of layers that Keras does not quantise
def test_kerashub_runs_its_backbone_test(monkeypatch):
    from keras_hub.src.tests import test_case as hub

    # It asks every backbone for the embedding of a text.
    monkeypatch.setattr(StackedHourglass, "token_embedding", None, raising=False)
    test = hub.TestCase()
    test.run_vision_backbone_test(
        StackedHourglass,
        init_kwargs=dict(SMALL),
        input_data=np.ones((2, 32, 48, 3), "float32"),
        expected_output_shape={"stack_1": (2, 8, 12, 5), "stack_2": (2, 8, 12, 5)},
        run_mixed_precision_check=False,  # heatmaps are float32, see below
        run_data_format_check=False,  # channels are last whatever keras.json says, see below
    )


@pytest.mark.parametrize("name", LAYERS)
def test_symbols_tell_the_real_dtypes(name):
    kind, arguments, shape, _ = LAYERS[name]
    layer = kind(**arguments, dtype="mixed_bfloat16")
    shapes = shape if isinstance(shape, list) else [shape]
    arrays = [np.ones(one, "float32") for one in shapes]
    symbols = [keras.KerasTensor(one, "float32") for one in shapes]
    real = layer(arrays if len(arrays) > 1 else arrays[0])
    said = layer.compute_output_spec(symbols if len(symbols) > 1 else symbols[0])
    for one, other in zip(keras.tree.flatten(said), keras.tree.flatten(real), strict=True):
        assert (one.dtype, one.shape) == (
            keras.backend.standardize_dtype(other.dtype),
            tuple(other.shape),
        )


@pytest.mark.parametrize("name", LAYERS)
def test_a_frozen_layer_counts_nothing_as_trainable(name):
    kind, arguments, shape, _ = LAYERS[name]
    inputs = [keras.Input(one[1:]) for one in (shape if isinstance(shape, list) else [shape])]
    layer = kind(**arguments, trainable=False)
    outputs = layer(inputs if len(inputs) > 1 else inputs[0])
    model = keras.Model(inputs, outputs)
    assert (len(layer.trainable_weights), len(model.trainable_weights)) == (0, 0)
    layer.trainable = True
    assert len(model.trainable_weights) == len(layer.trainable_weights) > 0


# Trainable weights: of the stem a convolution and a norm, two each; of its residuals of 128, 128
# and 8 filters three norms and three convolutions each, and where channels change a projection (64
# to 128, 128 to 8); of the hourglass one convolution.
FROZEN = (2 + 2) + 3 * 12 + 2 * 2 + 2


@pytest.mark.slow
def test_freezing_survives_saving(tmp_path):
    model = small()
    every = len(model.trainable_weights)
    model.get_layer("stem").trainable = False
    inner = model.get_layer("hourglass_2").upper[0]
    inner.branch[2].trainable = False  # a convolution, three levels down
    kept = len(model.trainable_weights)
    assert kept == every - FROZEN
    model.compile("adam", "mse")
    maps = {name: np.zeros((2, 8, 12, 5)) for name in model.output}
    model.fit(np.zeros((2, 32, 48, 3)), maps, verbose=0)
    loaded = reload(model, tmp_path)
    assert len(loaded.trainable_weights) == kept
    assert not loaded.get_layer("stem").trainable
    assert not loaded.get_layer("hourglass_2").upper[0].branch[2].trainable
    assert loaded.get_layer("hourglass_2").upper[0].branch[1].trainable
    # The optimizer goes on where it was.
    assert loaded.optimizer.iterations == 1
    for one, other in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(*map(keras.ops.convert_to_numpy, (one, other)))

    frozen = small(trainable=False)
    loaded = reload(frozen, tmp_path)
    assert (loaded.trainable, loaded.trainable_weights) == (False, [])


def test_freezing_survives_in_someone_elses_model(tmp_path):
    inputs = keras.Input((16, 24, 6))
    layer = Hourglass(8, depth=2, name="ours")
    model = keras.Model(inputs, layer(inputs))
    layer.inner[0].trainable = False
    layer.upper[0].skip.trainable = False  # a layer that is made when the shapes are known
    kept = len(model.trainable_weights)
    loaded = reload(model, tmp_path)
    assert len(loaded.trainable_weights) == kept < len(model.weights)
    assert not loaded.get_layer("ours").upper[0].skip.trainable
    twin = Hourglass.from_config(json.loads(json.dumps(layer.get_config())))
    # The twin has no projection before it is built.
    assert layer.get_config()["frozen"] == ["upper1/skip", "inner"]
    assert twin.get_config()["frozen"] == ["inner"]


@pytest.mark.slow
def test_the_precision_survives_saving(tmp_path):
    with policy("mixed_bfloat16"):
        half = small()
        half.save(tmp_path / "half.keras")
    single = small()
    single.save(tmp_path / "single.keras")
    loaded = keras.models.load_model(tmp_path / "half.keras")
    assert loaded.get_layer("stem").compute_dtype == "bfloat16"
    with policy("mixed_bfloat16"):
        loaded = keras.models.load_model(tmp_path / "single.keras")
    assert loaded.get_layer("stem").compute_dtype == "float32"


@pytest.mark.slow
def test_a_map_of_policies_survives_saving(tmp_path):
    policies = keras.dtype_policies.DTypePolicyMap("float32")
    # Keras 3.7 looks for a key anywhere in a path, later releases compare the whole path.
    policies["^stem$"] = policies["^stem/.*"] = keras.DTypePolicy("mixed_bfloat16")
    model = small(dtype=policies)
    for one in (model, reload(model, tmp_path)):
        assert one.get_layer("stem").compute_dtype == "bfloat16"
        assert one.get_layer("stem").first[1].compute_dtype == "bfloat16"
        assert one.get_layer("hourglass_1").compute_dtype == "float32"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning")  # of layers that Keras does not quantise
def test_quantize_works_where_it_would_without_ours():
    for filters in (8, 6):  # with and without a projection
        inputs = keras.Input((8, 12, 6))
        x = keras.layers.GlobalAveragePooling2D()(Residual(filters)(inputs))
        model = keras.Model(inputs, keras.layers.Dense(3)(x))
        model.quantize("int8")
        assert model.layers[-1].quantization_mode == "int8"
    model = small()
    assert [layer.name for layer in model._flatten_layers() if not layer.built] == []


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless it is switched on")
def test_float64():
    with policy("float64"):
        layer = Residual(6)
        found = layer(np.ones((1, 8, 12, 6)))
        model = small(num_stacks=1)
        maps = model(np.ones((1, 32, 48, 3)))["stack_1"]
    assert keras.backend.standardize_dtype(found.dtype) == layer.compute_dtype == "float64"
    assert keras.backend.standardize_dtype(maps.dtype) == "float32"


@pytest.mark.slow
def test_channels_are_last_whatever_keras_json_says():
    x = np.random.default_rng(3).uniform(0, 255, (1, 32, 48, 3)).astype("float32")
    options = {"offset": [0.1, -0.2, 0.3], "merge": "concat", "supervision": "inner", "depth": 2}
    plain = small(**options)
    with setting(
        keras.config.image_data_format, keras.config.set_image_data_format, "channels_first"
    ):
        assert Residual(4)(np.ones((1, 16, 16, 4), "float32")).shape == (1, 16, 16, 4)
        assert Stem(8, [], [8])(x).shape == (1, 8, 12, 8)
        model = small(**options)
        model.set_weights(plain.get_weights())
        one, other = plain(x), model(x)
    for name in one:
        np.testing.assert_allclose(
            *map(keras.ops.convert_to_numpy, (one[name], other[name])), atol=1e-5
        )


def test_configs_are_copies():
    model = small(hourglass={"upper": [8]}, metadata={"preprocessing": {"sigma": 1.0}})
    before = json.dumps(model.get_config())
    config = model.get_config()
    config["metadata"]["preprocessing"]["sigma"] = 9.0
    config["hourglass"]["upper"].append(6)
    config["input_shape"][0] = 999
    assert json.dumps(model.get_config()) == before
    layer = Hourglass(8, upper=[6, 8])
    layer.get_config()["upper"].append(4)
    assert layer.get_config()["upper"] == [6, 8]


@pytest.mark.skipif("renorm" not in BatchNormalization().get_config(), reason="an older Keras")
def test_renorm_is_not_ignored():
    x = np.random.default_rng(4).normal(3, 2, (4, 8, 6, 5)).astype("float32")
    results = []
    for kind in (BatchNormalization, keras.layers.BatchNormalization):
        layer = kind(momentum=0.9, epsilon=1e-5, renorm=True)
        for _ in range(3):
            found = layer(x, training=True)
        results.append(keras.ops.convert_to_numpy(found))
    np.testing.assert_allclose(*results, atol=1e-4)
