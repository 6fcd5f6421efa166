"""The list of nodes against the built model, and counts and shapes by hand."""

import subprocess
import sys

import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.layers.nodes import Tensor, describe
from keras_hourglass.network.graph import Graph
from keras_hourglass.network.model import snapshot
from keras_hourglass.network.variables import file_keys, layer_keys, named_variables
from keras_hourglass.zoo.presets import PRESETS

SMALL = {"num_features": 8, "input_shape": (64, 32, 3), "depth": 3, "num_keypoints": 5}
VARIANTS = {
    "plain": {},
    "three_stacks": {"num_stacks": 3},
    "one_stack": {"num_stacks": 1, "num_blocks": 2},
    "concat": {"merge": "concat", "stem": "paper", "num_stacks": 3},
    "last": {"supervision": "last"},
    "last_concat": {"supervision": "last", "merge": "concat", "stem": "bearpaw"},
    "sum": {"supervision": "sum", "num_stacks": 3},
    "inner": {"supervision": "inner"},
    "inner_concat": {"supervision": "inner", "merge": "concat", "num_stacks": 3},
    "branches": {"hourglass": {"filters": 12, "upper": (4, 12), "lower": (6,), "after": (12, 12)}},
    "heads": {"heads": ((10,), (14, 6)), "stem": (6, (), (4, 8))},
    "pixels": {"offset": (-0.5, -0.25, 0.125), "scale": 1 / 128, "skeleton": "mpii",
               "num_keypoints": None},
}  # fmt: skip


def check(config):
    """The graph has the built model's layers, variables, places in files, outputs and counts."""
    model, graph = StackedHourglass(**config), Graph(config)
    shapes = {name: tuple(v.shape) for name, v in named_variables(graph).items()}
    built = {name: tuple(v.shape) for name, v in named_variables(model).items()}
    assert shapes == built
    assert file_keys(graph) == file_keys(model)
    # A layer that a residual keeps in case and does not use is in the model only.
    assert set(layer_keys(model)) - set(layer_keys(graph)) <= {
        key for key in layer_keys(model) if key.endswith("/skip")
    }
    assert [node.name for node in graph.layers] == [layer.name for layer in model.layers]
    assert graph.trainable == sum(int(np.prod(v.shape)) for v in model.trainable_variables)
    assert graph.fixed == sum(int(np.prod(v.shape)) for v in model.non_trainable_variables)
    outputs = {name: tuple(output.shape) for name, output in model.output.items()}
    assert {name: output.shape for name, output in graph.output.items()} == outputs
    assert list(graph.output) == list(model.output)
    assert graph.input_shape == tuple(model.input_shape)
    assert graph.skeleton == model.skeleton


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_the_model_is_what_the_graph_says(variant):
    check({**SMALL, **VARIANTS[variant]})


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "hourglass_tiny" else pytest.mark.full)
        for name in PRESETS
    ],
)
def test_every_preset(name):
    check(PRESETS[name]["architecture"])


def test_a_snapshot_holds_the_values_of_now():
    model = StackedHourglass(**SMALL, num_stacks=1)
    [kernel] = [v for v in model.variables if v.path == "hourglass_1/inner/upper1/conv2/kernel"]
    kernel.assign(np.full(kernel.shape, 0.75))
    graph, arrays = snapshot(model)
    assert set(arrays) == set(named_variables(graph))
    np.testing.assert_array_equal(
        arrays["hourglass_1/inner/upper1/conv2/kernel"], np.full((3, 3, 4, 4), 0.75, np.float32)
    )


def test_other_models_have_no_snapshot():
    import keras

    inputs = keras.Input((8, 12, 3))
    model = keras.Model(inputs, {"stack_1": keras.layers.Conv2D(2, 1)(inputs)}, name="mine")
    with pytest.raises(UserError, match="a Functional named 'mine'.*engine='keras'"):
        snapshot(model)


def test_names_of_nodes_are_those_of_layers():
    graph = Graph({**SMALL, "num_stacks": 1, "depth": 2, "stem": (6, (), (8,))})
    convolutions = [node.path for node in graph.operations if node.kind == "Conv2D"]
    assert convolutions[:5] == [
        "stem/conv",
        "stem/after1/conv1",
        "stem/after1/conv2",
        "stem/after1/conv3",
        "stem/after1/skip",
    ]
    assert convolutions[5] == "hourglass_1/upper1/conv1"
    assert "hourglass_1/inner/bottom1/conv3" in convolutions
    assert convolutions[-2:] == ["supervision_1/conv1", "supervision_1/heatmaps"]


def test_every_tensor_has_one_source_and_one_name():
    graph = Graph({**SMALL, "merge": "concat", "supervision": "inner", "num_stacks": 3})
    known = set()
    for node in graph.operations:
        assert {tensor.name for tensor in node.inputs} <= known
        for tensor in node.outputs:
            assert tensor.name not in known
            known.add(tensor.name)
    assert {tensor.name for tensor in graph.output.values()} <= known


def test_shapes_inside_an_hourglass_by_hand():
    x = Tensor("x", (None, 32, 48, 6))
    options = {"filters": 8, "depth": 2, "return_inner": 1}
    widths = {"upper": [4, 8], "lower": [10], "bottom": [8], "after": [8]}
    nodes, outputs = describe("Hourglass", (x,), {**options, **widths})
    assert [node.name for node in nodes] == [
        "upper1", "upper2", "pool", "lower1", "inner", "after1", "up", "sum"
    ]  # fmt: skip
    found = {node.name: node.outputs[0].shape for node in nodes}
    assert found["upper1"] == (None, 32, 48, 4) and found["upper2"] == (None, 32, 48, 8)
    assert found["pool"] == (None, 16, 24, 6) and found["lower1"] == (None, 16, 24, 10)
    assert found["inner"] == (None, 16, 24, 8) and found["up"] == (None, 32, 48, 8)
    assert [tensor.shape for tensor in outputs] == [(None, 32, 48, 8), (None, 16, 24, 8)]
    [inner] = [node for node in nodes if node.name == "inner"]
    deepest = {node.name: node.outputs[0].shape for node in inner.inside}
    assert deepest["bottom1"] == (None, 8, 12, 8)


def test_counts_by_hand():
    """Two joints, one stack of one level, two features, a stem of four filters and no residual."""
    config = {"num_keypoints": 2, "num_features": 2, "depth": 1, "num_stacks": 1}
    graph = Graph({**config, "stem": [4, [], [2]], "input_shape": [8, 16, 3]})
    plain = 2 * 1 + 9 * 1 * 1 + 1 * 2  # multiplications of a residual of 2 channels, by pixel
    wide = 4 * 1 + 9 * 1 * 1 + 1 * 2 + 4 * 2  # and of one that takes 4 channels
    # The stem's convolution on 4×8 pixels, its residual on 2×4; in the hourglass one residual on
    # 2×4 and three on 1×2; one before the head, a 1×1 convolution and the heatmaps on 2×4.
    stem = 32 * (49 * 3 * 4) + 8 * wide
    head = 8 * (plain + 2 * 2 + 2 * 2)
    assert graph.multiplications == stem + 8 * plain + 3 * 2 * plain + head
    assert graph.gflops == 2 * graph.multiplications / 1e9
    # Kernels as above, biases, and scale and offset of norms.
    biases = 1 + 1 + 2
    of_plain = plain + biases + 2 * (2 + 1 + 1)
    of_wide = wide + biases + 2 + 2 * (4 + 1 + 1)
    of_stem = 49 * 3 * 4 + 4 + 2 * 4 + of_wide
    of_head = of_plain + (2 * 2 + 2 + 2 * 2) + (2 * 2 + 2)
    assert graph.trainable == of_stem + 4 * of_plain + of_head
    # Mean and variance of every norm: the stem's, those of six residuals, the head's.
    assert graph.fixed == 2 * (4 + (4 + 1 + 1) + 5 * (2 + 1 + 1) + 2)


def test_without_keras():
    code = """
import sys
from keras_hourglass.network.graph import Graph
print(Graph({"stem": "bearpaw", "num_stacks": 8}).trainable, "keras" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["25594624", "False"]
