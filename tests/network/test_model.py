"""The network: sizes, counts, kinds of supervision, precision and refusals."""

import json

import keras
import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.network.config import complete
from keras_hourglass.network.graph import Graph
from keras_hourglass.zoo import weights


def build(**options):
    """A small network with height, width, stacks and joints all different."""
    base = {"num_keypoints": 5, "num_stacks": 2, "num_features": 8, "depth": 3}
    return StackedHourglass(**{**base, "input_shape": (64, 96, 3), **options})


def images(size=(64, 96), count=3):
    return np.random.default_rng(6).integers(0, 256, (count, *size, 3), "uint8")


def heatmaps(model, x):
    return {name: keras.ops.convert_to_numpy(value) for name, value in model(x).items()}


def shapes(model):
    return {name: tuple(value.shape[1:]) for name, value in model.output.items()}


@pytest.mark.slow
def test_one_named_output_per_stack():
    assert shapes(build(num_stacks=1)) == {"stack_1": (16, 24, 5)}
    model = build(num_stacks=3)
    assert shapes(model) == {f"stack_{s}": (16, 24, 5) for s in (1, 2, 3)}
    assert (model.num_stacks, model.num_keypoints, model.input_size) == (3, 5, (64, 96))
    assert model.stride == 4 and model.stack_names == ["stack_1", "stack_2", "stack_3"]
    assert model.output_strides == {"stack_1": 4, "stack_2": 4, "stack_3": 4}


@pytest.mark.full
def test_kinds_of_supervision():
    assert shapes(build(supervision="last")) == {"stack_2": (16, 24, 5)}
    assert shapes(build(supervision="sum")) == {"stack_2": (16, 24, 5)}
    inner = build(supervision="inner", num_stacks=1)
    assert shapes(inner) == {
        "stack_1_stride_16": (4, 6, 5),
        "stack_1_stride_8": (8, 12, 5),
        "stack_1": (16, 24, 5),
    }
    assert inner.stack_names == ["stack_1"]
    assert inner.output_strides == {"stack_1_stride_16": 16, "stack_1_stride_8": 8, "stack_1": 4}
    assert list(inner.output) == list(inner.output_strides)
    shallow = build(supervision="inner", num_stacks=1, depth=2)
    assert sorted(shapes(shallow)) == ["stack_1", "stack_1_stride_8"]


@pytest.mark.full
def test_sum_is_the_sum_of_the_stacks():
    every, added = build(), build(supervision="sum")
    added.set_weights(every.get_weights())
    x = images()
    stacks = heatmaps(every, x)
    total = stacks["stack_1"] + stacks["stack_2"]
    np.testing.assert_allclose(heatmaps(added, x)["stack_2"], total, atol=1e-5)


@pytest.mark.slow
def test_inner_supervision_does_not_touch_the_stacks():
    every, inner = build(num_stacks=1), build(num_stacks=1, supervision="inner")
    weights.assign_arrays(inner, {**weights.arrays_of(inner), **weights.arrays_of(every)})
    x = images()
    np.testing.assert_allclose(
        heatmaps(every, x)["stack_1"], heatmaps(inner, x)["stack_1"], atol=1e-5
    )


@pytest.mark.slow
def test_without_intermediate_supervision_there_are_no_other_heatmaps():
    paths = [v.path for v in build(supervision="last").variables]
    assert any("supervision_2/heatmaps" in path for path in paths)
    assert not any("supervision_1/heatmaps" in path or "merge_heatmaps" in path for path in paths)
    assert any("supervision_1/merge_features" in path for path in paths)


@pytest.mark.slow
def test_pixels_of_any_type_and_the_stacks_differ():
    model, x = build(), images()
    found = heatmaps(model, x)
    assert {value.dtype for value in found.values()} == {np.dtype("float32")}
    assert np.abs(found["stack_1"] - found["stack_2"]).max() > 1e-4
    for other in (x.astype("float32"), x.astype("int32")):
        for name, value in heatmaps(model, other).items():
            np.testing.assert_array_equal(value, found[name])


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_mixed_precision(policy):
    full, mixed = build(num_stacks=1), build(num_stacks=1, dtype=policy)
    mixed.set_weights(full.get_weights())
    x = images()
    one, other = heatmaps(full, x)["stack_1"], heatmaps(mixed, x)["stack_1"]
    assert other.dtype == np.float32
    assert mixed.get_layer("hourglass_1").compute_dtype == policy.removeprefix("mixed_")
    assert mixed.get_layer("normalize").compute_dtype == "float32"
    assert 0 < np.abs(one - other).max() < 0.1 * np.abs(one).max() + 1e-3
    assert json.loads(json.dumps(mixed.get_config()))["dtype"] == policy


def test_normalisation_comes_first():
    model = build(num_stacks=1, scale=0.5, offset=[1, 2, -3])
    x = images(count=2)
    found = keras.ops.convert_to_numpy(model.get_layer("normalize")(x))
    np.testing.assert_allclose(found, x * 0.5 + np.array([1, 2, -3]), rtol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "options",
    [
        {"skeleton": "flic", "num_keypoints": None, "metadata": {"thresholds": {"nose": 0.2}}},
        {
            "stem": (6, (4,), (4, None)),
            "heads": ((8, 4), (6,)),
            "merge": "concat",
            "hourglass": {"filters": 6, "upper": (4, 6), "lower": (4,)},
            "offset": (-0.4, -0.5, -0.6),
            "supervision": "inner",
            "name": "mine",
        },
    ],
)
def test_a_config_makes_the_same_network(options):
    model = build(**options)
    config = json.loads(json.dumps(model.get_config()))
    twin = StackedHourglass.from_config(config)
    assert twin.get_config() == model.get_config() and twin.name == model.name
    assert [v.path for v in twin.variables] == [v.path for v in model.variables]
    twin.set_weights(model.get_weights())
    x = images()
    one, other = heatmaps(model, x), heatmaps(twin, x)
    assert all(np.array_equal(one[name], other[name]) for name in one)
    assert twin.skeleton == model.skeleton and twin.thresholds == model.thresholds


@pytest.mark.slow
def test_keras_saves_and_loads_it_whole(tmp_path):
    model = build(skeleton="lsp", num_keypoints=None)
    model.save(tmp_path / "a.keras")
    loaded = keras.saving.load_model(tmp_path / "a.keras")
    assert type(loaded) is StackedHourglass and loaded.skeleton == model.skeleton
    x = images()
    one, other = heatmaps(model, x), heatmaps(loaded, x)
    assert all(np.array_equal(one[name], other[name]) for name in one)


@pytest.mark.full
def test_trains_every_variable():
    """Fit moves all trainable variables, those of the first stack included."""
    model = build(supervision="inner", merge="concat", depth=2)
    model.compile("adam", loss="mse", run_eagerly=True)
    before = [np.array(v) for v in model.trainable_variables]
    x = images()
    y = {name: np.ones((3, *shape), "float32") for name, shape in shapes(model).items()}
    history = model.fit(x, y, batch_size=3, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]
    assert {f"{name}_loss" for name in y} <= set(history)
    # A bias before a batch norm has no effect, so it need not move.
    cancelled = ("/conv/bias", "/conv1/bias", "/conv2/bias")
    pairs = zip(model.trainable_variables, before, strict=True)
    still = [variable.path for variable, old in pairs if np.array_equal(variable, old)]
    assert [path for path in still if not path.endswith(cancelled)] == []


def test_published_count_of_parameters():
    model = StackedHourglass(num_stacks=1, stem="bearpaw", input_shape=(64, 128, 3))
    assert sum(int(np.prod(v.shape)) for v in model.trainable_variables) == 3_586_960


@pytest.mark.full
def test_work_is_what_tensorflow_counts():
    tf = pytest.importorskip("tensorflow")
    if keras.backend.backend() != "tensorflow":
        pytest.skip("counts a TensorFlow graph")
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2 as freeze,
    )

    for supervision in ("inner", "last"):
        model = build(supervision=supervision, merge="concat")
        graph = freeze(
            tf.function(model).get_concrete_function(tf.TensorSpec((1, 64, 96, 3)))
        ).graph
        counted = sum(
            2 * int(np.prod(op.outputs[0].shape)) * int(np.prod(op.inputs[1].shape[:3]))
            for op in graph.get_operations()
            if op.type == "Conv2D"
        )
        assert counted == 2 * Graph(model.get_config()).multiplications


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"num_stacks": 0}, "positive integer. Received: num_stacks=0"),
        ({"num_keypoints": True}, "positive integer. Received: num_keypoints=True"),
        ({"num_features": 9}, "even.*Received: 9"),
        ({"num_features": "8"}, "positive integer. Received: num_features='8'"),
        ({"stem": "wide"}, "Unknown stem. Received: stem='wide'. Choose one of"),
        ({"stem": (64, 128)}, "Unknown stem"),
        ({"supervision": "some"}, "Received: supervision='some'"),
        ({"supervision": "inner", "depth": 1}, "depth of 2 or more"),
        ({"merge": None}, "Received: merge=None"),
        ({"heads": ((8,),)}, "widths of each of the 2 stacks"),
        ({"hourglass": {"uper": (8,)}}, "Received: uper"),
        ({"hourglass": {"upper": (8, 6)}}, r"must end in 8 filters.*Received: upper=\[8, 6\]"),
        # 4 × (2001 + 1 + 1) + 1 blocks in each of 2 hourglasses, 2 for each head, 2 in the stem.
        (
            {"hourglass": {"upper": (8,) * 2001}, "depth": 4, "stem": (6, (4,), (4,))},
            "at most 10,000 blocks. Received: 16,032 by",
        ),
        ({"heads": ((8,) * 20_000, (8,))}, "at most 10,000 blocks"),
        ({"heads": ((8,), (-2,))}, "`heads` to be a positive integer. Received: heads=-2"),
        ({"heads": ((True,), (8,))}, "positive integer. Received: heads=True"),
        ({"stem": (10**9, (4,), (4, None))}, "at most 16,384 features. Received: 1000000000"),
        ({"heads": ((8,), (8, 16_386))}, "at most 16,384 features. Received: 16386"),
        ({"skeleton": "lsp"}, "has 14 joints. Received: num_keypoints=5"),
        ({"skeleton": "h36m"}, "Unknown skeleton"),
        ({"input_shape": (64, 96)}, r"\(height, width, channels\)"),
        (
            {"input_shape": (16_384, 16_384, 3)},
            r"at most 16,777,216 pixels in all. Received: 268,435,456 by \(16384, 16384, 3\)",
        ),
        ({"input_shape": (4128, 4096, 3)}, "Received: 16,908,288 by .* Pass a smaller"),
        ({"input_shape": 64}, r"\(height, width, channels\)"),
        (
            {"input_shape": (70, 96, 3)},
            "multiples of 32 .*Received: 70×96. Nearest heights that fit: 64 or 96; widths: 96",
        ),
        ({"input_shape": (20, 96, 3)}, "heights that fit: 32; widths"),
    ],
)
def test_refusals_say_the_rule_and_the_value(options, reason):
    with pytest.raises(UserError, match=reason):
        build(**options)


def test_arguments_without_keras():
    with pytest.raises(UserError, match="Received: colour"):
        complete({"colour": 3})
    config = complete({"skeleton": "coco"})
    assert complete(config) == config and json.loads(json.dumps(config)) == config


def test_keras_does_not_look_through_the_state_of_every_step():
    model = StackedHourglass(5, 1, 8, depth=2, input_shape=(32, 48, 3))
    state = {"trainable_variables": [variable.value for variable in model.trainable_variables]}
    model._jax_state = state
    assert model._jax_state is state
    # What else a model is given is found as in any other: Keras 3.7 looks at none of it.
    plain = keras.Model(model.inputs, model.outputs)
    for one in (plain, model):
        one.beside = [keras.layers.Dense(3)]
    counts = [len(list(one._flatten_layers())) for one in (plain, model)]
    assert counts[0] == counts[1]
