"""The building blocks: numbers worked out by hand, serialization, precision, refusals."""

import json

import keras
import numpy as np
import pytest

from keras_hourglass.layers import Hourglass, IntermediateSupervision, Residual, Stem
from keras_hourglass.layers.nodes import Tensor, describe

# Height, width and channels all differ; heights and widths divide by 8.
FEATURES = (2, 16, 24, 6)
LAYERS = {
    "residual": (lambda **k: Residual(10, **k), [FEATURES], [(2, 16, 24, 10)]),
    "residual-identity": (lambda **k: Residual(6, **k), [FEATURES], [FEATURES]),
    "hourglass": (lambda **k: Hourglass(8, depth=3, **k), [FEATURES], [(2, 16, 24, 8)]),
    "hourglass-paper": (
        lambda **k: Hourglass(
            8, depth=2, upper=[4, 4, 8], lower=[4, 4], bottom=[8], after=[8], **k
        ),
        [FEATURES],
        [(2, 16, 24, 8)],
    ),
    "hourglass-inner": (
        lambda **k: Hourglass(8, depth=3, return_inner=2, **k),
        [FEATURES],
        [(2, 16, 24, 8), (2, 8, 12, 8), (2, 4, 6, 8)],
    ),
    "stem": (lambda **k: Stem(4, [6], [6, 8], **k), [(2, 32, 48, 3)], [(2, 8, 12, 8)]),
    "stem-pooled": (
        lambda **k: Stem(4, [6], [8], return_pooled=True, **k),
        [(2, 32, 48, 3)],
        [(2, 8, 12, 8), (2, 8, 12, 6)],
    ),
    "supervision-add": (
        lambda **k: IntermediateSupervision(5, 8, num_blocks=1, **k),
        [FEATURES, (2, 16, 24, 7)],
        [(2, 16, 24, 5), (2, 16, 24, 7)],
    ),
    "supervision-concat": (
        lambda **k: IntermediateSupervision(5, (8, 4), merge="concat", **k),
        [FEATURES, (2, 16, 24, 7)],
        [(2, 16, 24, 5), (2, 16, 24, 11)],
    ),
    "supervision-last": (
        lambda **k: IntermediateSupervision(5, 8, merge=None, **k),
        [FEATURES],
        [(2, 16, 24, 5)],
    ),
    "supervision-none": (
        lambda **k: IntermediateSupervision(None, 8, **k),
        [FEATURES, (2, 16, 24, 7)],
        [(2, 16, 24, 7)],
    ),
}


def as_list(value):
    return list(value) if isinstance(value, (list, tuple)) else [value]


def numbers(shapes, seed=0):
    rng = np.random.default_rng(seed)
    arrays = [rng.uniform(-1, 1, shape).astype("float32") for shape in shapes]
    return arrays if len(arrays) > 1 else arrays[0]


def to_numpy(tensors):
    return [keras.ops.convert_to_numpy(tensor) for tensor in as_list(tensors)]


@pytest.fixture(params=LAYERS)
def case(request):
    return LAYERS[request.param]


def test_shapes_are_as_promised(case):
    make, inputs, outputs = case
    layer = make()
    found = layer(numbers(inputs))
    assert [tuple(tensor.shape) for tensor in as_list(found)] == outputs
    shapes = inputs if len(inputs) > 1 else inputs[0]
    promised = layer.compute_output_shape(shapes)
    promised = promised if isinstance(promised[0], (list, tuple)) else [promised]
    assert [tuple(shape) for shape in promised] == outputs


@pytest.mark.slow
def test_a_config_makes_the_same_layer(case):
    make, inputs, _ = case
    layer = make(name="given", synchronized=True)
    config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
    twin = keras.saving.deserialize_keras_object(config)
    assert twin.get_config() == layer.get_config()
    data = numbers(inputs)
    layer(data), twin(data)
    twin.set_weights(layer.get_weights())
    for one, other in zip(to_numpy(layer(data)), to_numpy(twin(data)), strict=True):
        np.testing.assert_array_equal(one, other)


def test_mixed_precision_keeps_heatmaps_in_float32(case):
    make, inputs, _ = case
    layer = make(dtype="mixed_bfloat16")
    found = [keras.backend.standardize_dtype(t.dtype) for t in as_list(layer(numbers(inputs)))]
    expected = ["bfloat16"] * len(found)
    if isinstance(layer, IntermediateSupervision) and layer.num_keypoints:
        expected[0] = "float32"
    assert found == expected
    assert {keras.backend.standardize_dtype(v.dtype) for v in layer.weights} == {"float32"}
    policy = make(dtype="mixed_bfloat16").get_config()["dtype"]
    assert "mixed_bfloat16" in json.dumps(policy)


def test_weights_are_those_of_the_nodes(case):
    make, inputs, outputs = case
    layer = make()
    layer(numbers(inputs))
    tensors = tuple(Tensor(f"x{index}", shape) for index, shape in enumerate(inputs))
    nodes, found = describe(type(layer).__name__, tensors, layer.arguments())
    assert [tensor.shape for tensor in found] == outputs
    shapes, waiting = [], list(nodes)
    while waiting:
        node = waiting.pop()
        waiting += node.inside
        shapes += [weight.shape for weight in node.weights]
    assert sorted(shapes) == sorted(tuple(weight.shape) for weight in layer.weights)


@pytest.mark.full
def test_in_someone_elses_model(case, tmp_path):
    make, inputs, _ = case
    entries = [keras.Input(shape[1:]) for shape in inputs]
    found = as_list(make(name="ours")(entries if len(entries) > 1 else entries[0]))
    model = keras.Model(entries, [keras.layers.Conv2D(2, 1)(tensor) for tensor in found])
    model.save(tmp_path / "theirs.keras")
    loaded = keras.saving.load_model(tmp_path / "theirs.keras")
    data = as_list(numbers(inputs))
    for one, other in zip(
        as_list(model.predict(data, verbose=0)),
        as_list(loaded.predict(data, verbose=0)),
        strict=True,
    ):  # noqa: E501
        np.testing.assert_array_equal(one, other)
    # Everything trainable takes part: no variable is left without a gradient.
    model.compile("sgd", loss="mse", run_eagerly=True)
    before = [np.array(v) for v in model.trainable_variables]
    model.fit(data, [np.ones((2, *t.shape[1:]), "float32") for t in model.outputs], verbose=0)
    assert unmoved(model, before) == []


def unmoved(model, before):
    """Variables as they were before a step, but for biases that a batch norm takes out again."""
    cancelled = ("/conv/bias", "/conv1/bias", "/conv2/bias")
    pairs = zip(model.trainable_variables, before, strict=True)
    still = [variable.path for variable, old in pairs if np.array_equal(variable, old)]
    return [path for path in still if not path.endswith(cancelled)]


def silence(layer):
    """Zero the last convolution of every residual inside, which then returns its skip."""
    for inner in layer._flatten_layers():
        if isinstance(inner, Residual):
            kernel, bias = inner.branch[-1].weights
            kernel.assign(np.zeros(kernel.shape)), bias.assign(np.zeros(bias.shape))


def pool(x):
    n, h, w, c = x.shape
    return x.reshape(n, h // 2, 2, w // 2, 2, c).max((2, 4))


def up(x):
    return x.repeat(2, axis=1).repeat(2, axis=2)


def test_residual_adds_to_its_input():
    x = numbers([FEATURES])
    layer = Residual(6)
    before = to_numpy(layer(x))[0]
    silence(layer)
    after = to_numpy(layer(x))[0]
    np.testing.assert_array_equal(after, x)
    assert np.abs(before - x).max() > 0.01
    # Three convolutions of 6 -> 3 -> 3 -> 6 with bias, and three batch norms.
    assert layer.count_params() == (6 * 3 + 3) + (9 * 3 * 3 + 3) + (3 * 6 + 6) + 4 * (6 + 3 + 3)


def test_residual_by_hand():
    """One pixel, two channels: every step worked out."""
    layer = Residual(2)
    layer.build((None, None, None, 2))
    values = {
        "bn1": ([1, 2], [0, 1], [0.5, 0], [1, 4]),
        "conv1": ([[[[1], [3]]]], [-1]),
        "bn2": ([1], [0], [0], [1]),
        "conv2": (np.where(np.arange(9).reshape(3, 3, 1, 1) == 4, 2, 50), [0.5]),
        "bn3": ([1], [-1], [0], [1]),
        "conv3": ([[[[1, -1]]]], [0, 0.25]),
    }
    for child in layer.branch:
        if child.name in values:
            child.set_weights([np.array(value, "float32") for value in values[child.name]])
    # bn1: (2 - .5, -1 / 2 · 2 + 1) = (1.5, 0); conv1: 1.5 - 1 = .5; conv2: the centre alone
    # touches the pixel: 2 · .5 + .5 = 1.5; bn3: .5; conv3: (.5, -.25); plus the input.
    found = to_numpy(layer(np.array([2, -1], "float32").reshape(1, 1, 1, 2)))[0]
    np.testing.assert_allclose(found.ravel(), [2.5, -1.25], atol=1e-4)


def test_hourglass_of_silent_residuals_adds_up_the_pyramid():
    x = numbers([FEATURES])
    layer = Hourglass(6, depth=3, return_inner=2)
    layer.build(x.shape)
    silence(layer)
    third = pool(pool(x)) + up(pool(pool(pool(x))))
    second = pool(x) + up(third)
    first = x + up(second)
    for found, expected in zip(to_numpy(layer(x)), (first, second, third), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.slow
def test_returning_inner_features_changes_nothing_else():
    x = numbers([FEATURES])
    plain, open_ = Hourglass(6, depth=2), Hourglass(6, depth=2, return_inner=1)
    plain(x), open_(x)
    assert [v.shape for v in plain.weights] == [v.shape for v in open_.weights]
    open_.set_weights(plain.get_weights())
    np.testing.assert_array_equal(to_numpy(plain(x))[0], to_numpy(open_(x))[0])


def test_stem_looks_at_even_pixels():
    """Padded by three on each side, the middle tap of the 7×7 kernel meets pixels 0, 2, 4, ..."""
    x = np.abs(numbers([(1, 16, 24, 3)]))
    layer = Stem(2, [], [])
    layer.build(x.shape)
    convolution = layer.first[1]
    kernel = np.zeros((7, 7, 3, 2), "float32")
    kernel[3, 3, 1, 0] = kernel[0, 6, 2, 1] = 1
    convolution.set_weights([kernel, np.zeros(2, "float32")])
    found = to_numpy(layer(x))[0]
    assert found.shape == (1, 4, 6, 2)
    middle = pool(x[:, ::2, ::2, 1:2])
    np.testing.assert_allclose(found[..., :1], middle, atol=1e-4)
    # The corner tap sees three pixels up and three to the right, zero outside.
    shifted = np.zeros_like(x[..., 2:])
    shifted[:, 3:, :-3] = x[:, :-3, 3:, 2:]
    np.testing.assert_allclose(found[..., 1:], pool(shifted[:, ::2, ::2]), atol=1e-4)


@pytest.mark.parametrize("merge", ["add", "concat"])
def test_heatmaps_return_into_the_features(merge):
    features, skip = numbers([(2, 4, 6, 3), (2, 4, 6, 3)])
    layer = IntermediateSupervision(2, 3, merge=merge)
    layer([features, skip])
    eye = np.eye(3, dtype="float32")[None, None]
    layer.linear[0].set_weights([2 * eye, np.zeros(3, "float32")])
    score = np.zeros((1, 1, 3, 2), "float32")
    score[0, 0, 0, 0] = score[0, 0, 2, 1] = 1
    layer.heatmaps.set_weights([score, np.array([0, 0.5], "float32")])
    width = 3 if merge == "add" else 6
    back = np.zeros((1, 1, 2, width), "float32")
    back[0, 0, 1, 0] = 10
    layer.merge_heatmaps.set_weights([back, np.full(width, 0.25, "float32")])
    identity = np.eye(width, dtype="float32")[None, None]
    layer.merge_features.set_weights([identity, np.zeros(width, "float32")])

    y = np.maximum(2 * features, 0)
    heatmaps = np.stack([y[..., 0], y[..., 2] + 0.5], axis=-1)
    merged = skip + y if merge == "add" else np.concatenate([y, skip], axis=-1)
    merged = merged + 0.25
    merged[..., 0] += 10 * heatmaps[..., 1]
    for found, expected in zip(to_numpy(layer([features, skip])), (heatmaps, merged), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_batch_norm_has_torchs_constants():
    layer = Residual(6)
    layer(numbers([FEATURES]))
    assert {(bn.epsilon, bn.momentum) for bn in layer.branch[::3]} == {(1e-5, 0.9)}


@pytest.mark.slow
@pytest.mark.parametrize("axis", [1, 2])
def test_mirroring_commutes_with_an_hourglass(axis):
    """Even sizes pool alike from both ends; only 3×3 kernels must be mirrored themselves."""
    x = numbers([FEATURES])
    layer = Hourglass(6, depth=3)
    layer(x)
    for inner in layer._flatten_layers():
        if isinstance(inner, keras.layers.Conv2D) and inner.built and inner.kernel_size == (3, 3):
            kernel = np.array(inner.kernel)
            inner.kernel.assign((kernel + np.flip(kernel, axis - 1)) / 2)
    straight, mirrored = layer(x), layer(np.flip(x, axis).copy())
    np.testing.assert_allclose(
        np.flip(to_numpy(straight)[0], axis), to_numpy(mirrored)[0], atol=1e-5
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: Residual(7), "must be even. Received: filters=7"),
        (lambda: Residual(0), "positive integer. Received: filters=0"),
        (lambda: Residual(8.0), "positive integer. Received: filters=8.0"),
        (lambda: Residual(8)(np.zeros((2, 6, 8))), "expects inputs of shape"),
        (lambda: Hourglass(8, depth=0), "positive integer. Received: depth=0"),
        (lambda: Hourglass(8, upper=[8, 4]), "`upper` must end in 8 filters"),
        (lambda: Hourglass(8, after=[]), "`after` must end in 8 filters"),
        (lambda: Hourglass(8, depth=2, return_inner=2), "1 inner levels. Received: return_inner=2"),
        (lambda: Hourglass(8, depth=3)(np.zeros((1, 16, 20, 4))), "multiples of 8. Received"),
        (lambda: Stem(0, [], []), "positive integer. Received: filters=0"),
        (lambda: IntermediateSupervision(0, 8), "positive integer. Received: num_keypoints=0"),
        (lambda: IntermediateSupervision(5, (8, -1)), "positive integer. Received: filters=-1"),
        (lambda: IntermediateSupervision(5, 8, merge="mul"), "Received: merge='mul'"),
        (lambda: IntermediateSupervision(None, 8, merge=None), "heatmaps, features or both"),
        (
            lambda: IntermediateSupervision(5, 8)(np.zeros((2, 8, 8, 4))),
            "expects a pair of features and skip",
        ),
        (
            lambda: IntermediateSupervision(5, 8)([np.zeros((2, 8, 8, 4)), np.zeros((2, 8, 6, 4))]),
            "same height and width",
        ),
    ],
)
def test_refusals_say_the_rule_and_the_value(make, reason):
    with pytest.raises(ValueError, match=reason.replace("(", r"\(")):
        make()
