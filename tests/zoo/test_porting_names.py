"""Names of published checkpoints against ours, by hand; needs neither PyTorch nor Keras.

Of every convolution and normalisation, `ours theirs`. `*` stands for a residual: bn1 to bn3 and
conv1 to conv3; `+NAME` for its skip convolution, which only a change of width has.
"""

import numpy as np
import pytest

from keras_hourglass.errors import WeightsError
from keras_hourglass.zoo.porting import detect_layout, translate, unwrap

# Two stacks, depth 2, one block: the second hourglass and supervision follow from the first.
BEARPAW = """
stem/conv conv1
stem/bn bn1
stem/before1 layer1.0 * +downsample.0
stem/after1 layer2.0 * +downsample.0
stem/after2 layer3.0 *
hourglass_1/upper1 hg.0.hg.1.0.0 *
hourglass_1/lower1 hg.0.hg.1.1.0 *
hourglass_1/after1 hg.0.hg.1.2.0 *
hourglass_1/inner/upper1 hg.0.hg.0.0.0 *
hourglass_1/inner/lower1 hg.0.hg.0.1.0 *
hourglass_1/inner/after1 hg.0.hg.0.2.0 *
hourglass_1/inner/bottom1 hg.0.hg.0.3.0 *
supervision_1/residual1 res.0.0 *
supervision_1/conv1 fc.0.0
supervision_1/bn1 fc.0.1
supervision_1/heatmaps score.0
supervision_1/merge_features fc_.0
supervision_1/merge_heatmaps score_.0
hourglass_2/upper1 hg.1.hg.1.0.0 *
hourglass_2/lower1 hg.1.hg.1.1.0 *
hourglass_2/after1 hg.1.hg.1.2.0 *
hourglass_2/inner/upper1 hg.1.hg.0.0.0 *
hourglass_2/inner/lower1 hg.1.hg.0.1.0 *
hourglass_2/inner/after1 hg.1.hg.0.2.0 *
hourglass_2/inner/bottom1 hg.1.hg.0.3.0 *
supervision_2/residual1 res.1.0 *
supervision_2/conv1 fc.1.0
supervision_2/bn1 fc.1.1
supervision_2/heatmaps score.1
"""
# One stack, depth 1, two blocks.
BLOCKS = """
stem/conv conv1
stem/bn bn1
stem/before1 layer1.0 * +downsample.0
stem/after1 layer2.0 *
stem/after2 layer3.0 *
hourglass_1/upper1 hg.0.hg.0.0.0 *
hourglass_1/upper2 hg.0.hg.0.0.1 *
hourglass_1/lower1 hg.0.hg.0.1.0 *
hourglass_1/lower2 hg.0.hg.0.1.1 *
hourglass_1/after1 hg.0.hg.0.2.0 *
hourglass_1/after2 hg.0.hg.0.2.1 *
hourglass_1/bottom1 hg.0.hg.0.3.0 *
hourglass_1/bottom2 hg.0.hg.0.3.1 *
supervision_1/residual1 res.0.0 *
supervision_1/residual2 res.0.1 *
supervision_1/conv1 fc.0.0
supervision_1/bn1 fc.0.1
supervision_1/heatmaps score.0
"""
PRINCETON = """
stem/conv pre.0.conv
stem/bn pre.0.bn
stem/before1 pre.1 * +skip_layer.conv
stem/after1 pre.3 *
stem/after2 pre.4 * +skip_layer.conv
hourglass_1/upper1 hgs.0.0.up1 *
hourglass_1/lower1 hgs.0.0.low1 *
hourglass_1/after1 hgs.0.0.low3 *
hourglass_1/inner/upper1 hgs.0.0.low2.up1 *
hourglass_1/inner/lower1 hgs.0.0.low2.low1 *
hourglass_1/inner/after1 hgs.0.0.low2.low3 *
hourglass_1/inner/bottom1 hgs.0.0.low2.low2 *
supervision_1/residual1 features.0.0 *
supervision_1/conv1 features.0.1.conv
supervision_1/bn1 features.0.1.bn
supervision_1/heatmaps outs.0.conv
supervision_1/merge_features merge_features.0.conv.conv
supervision_1/merge_heatmaps merge_preds.0.conv.conv
hourglass_2/upper1 hgs.1.0.up1 *
hourglass_2/lower1 hgs.1.0.low1 *
hourglass_2/after1 hgs.1.0.low3 *
hourglass_2/inner/upper1 hgs.1.0.low2.up1 *
hourglass_2/inner/lower1 hgs.1.0.low2.low1 *
hourglass_2/inner/after1 hgs.1.0.low2.low3 *
hourglass_2/inner/bottom1 hgs.1.0.low2.low2 *
supervision_2/residual1 features.1.0 *
supervision_2/conv1 features.1.1.conv
supervision_2/bn1 features.1.1.bn
supervision_2/heatmaps outs.1.conv
"""
# One stack of depth 1: nothing is merged.
ONE = """
stem/conv pre.0.conv
stem/bn pre.0.bn
stem/before1 pre.1 * +skip_layer.conv
stem/after1 pre.3 *
stem/after2 pre.4 *
hourglass_1/upper1 hgs.0.0.up1 *
hourglass_1/lower1 hgs.0.0.low1 *
hourglass_1/after1 hgs.0.0.low3 *
hourglass_1/bottom1 hgs.0.0.low2 *
supervision_1/residual1 features.0.0 *
supervision_1/conv1 features.0.1.conv
supervision_1/bn1 features.0.1.bn
supervision_1/heatmaps outs.0.conv
"""
PARTS = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "moving_mean": "running_mean",
    "moving_variance": "running_var",
}  # fmt: skip


def layers(text, wrap):
    """Pairs (ours, theirs) of single layers; `wrap` follows the convolutions of residuals."""
    for line in text.split("\n")[1:-1]:
        ours, theirs, *marks = line.split()
        if not marks:
            yield ours, theirs
            continue
        for k in (1, 2, 3):
            yield f"{ours}/bn{k}", f"{theirs}.bn{k}"
            yield f"{ours}/conv{k}", f"{theirs}.conv{k}{wrap}"
        for mark in marks[1:]:
            yield f"{ours}/skip", f"{theirs}.{mark[1:]}"


def checkpoint(text, wrap, joints, features):
    """Arrays of the listed layers, no two alike, and for each the name that it must get."""
    source, expected = {}, {}
    for ours, theirs in layers(text, wrap):
        norm = "bn" in ours.rpartition("/")[2]
        for part in (
            ("gamma", "beta", "moving_mean", "moving_variance") if norm else ("kernel", "bias")
        ):
            shape = (joints, features, 1, 1) if ours.endswith("heatmaps") else (3, 5, 7, 2)
            shape = shape if part == "kernel" else (4,)
            array = np.arange(np.prod(shape)).reshape(shape) + 1000.0 * len(source)
            name = f"{theirs}.{PARTS.get(part, part)}"
            source[name], expected[f"{ours}/{part}"] = array, name
    return source, expected


CASES = {
    "bearpaw": (BEARPAW, "", 16, 12),
    "bearpaw, two blocks": (BLOCKS, "", 5, 128),
    "princeton": (PRINCETON, ".conv", 7, 12),
    "princeton, one stack": (ONE, ".conv", 16, 128),
}


@pytest.mark.parametrize("case", CASES)
def test_every_array_gets_its_name(case):
    text, wrap, joints, features = CASES[case]
    source, expected = checkpoint(text, wrap, joints, features)
    config, arrays, dropped = translate(source)
    assert dropped == [] and set(arrays) == set(expected)
    for ours, theirs in expected.items():
        array = source[theirs]
        if array.ndim == 4:
            # PyTorch: out, in, height, width. Keras: height, width, in, out.
            array = np.moveaxis(array, (2, 3, 1, 0), (0, 1, 2, 3))
        np.testing.assert_array_equal(arrays[ours], array, err_msg=ours)
    layout = case.partition(",")[0]
    assert detect_layout(source) == layout
    found = {key: config[key] for key in ("num_stacks", "num_features", "num_blocks", "depth")}
    assert list(found.values()) == {
        "bearpaw": [2, 12, 1, 2], "bearpaw, two blocks": [1, 128, 2, 1], "princeton": [2, 12, 1, 2],
        "princeton, one stack": [1, 128, 1, 1],
    }[case]  # fmt: skip
    assert config["num_keypoints"] == joints and config["scale"] == 1 / 255
    assert (config["skeleton"] or {}).get("name") == ("mpii" if joints == 16 else None)
    assert config["stem"] == {"bearpaw": "bearpaw", "princeton": "newell"}[layout]
    means = [-0.4404, -0.4440, -0.4327]  # of pytorch-pose's pictures, in red, green, blue
    assert config["offset"] == {"bearpaw": means, "princeton": 0.0}[layout]


def test_a_layout_may_be_said_and_is_then_kept_to():
    source, _ = checkpoint(*CASES["princeton"])
    assert translate(source, "princeton", num_stacks=2)[0]["num_stacks"] == 2
    with pytest.raises(WeightsError, match=r"1×1 convolutions score\.N\.weight"):
        translate(source, "bearpaw")
    bearpaw, _ = checkpoint(*CASES["bearpaw"])
    with pytest.raises(WeightsError, match=r"1×1 convolutions outs\.N\.conv\.weight"):
        translate(bearpaw, "princeton")


def test_a_skeleton_may_be_said():
    source, _ = checkpoint(BEARPAW, "", 16, 12)
    joints = [f"joint_{k}" for k in range(16)]
    config, _, _ = translate(source, skeleton={"name": "own", "joints": joints})
    assert config["skeleton"]["name"] == "own"


def test_counters_and_skips_that_are_never_called_are_dropped():
    source, expected = checkpoint(*CASES["princeton"])
    idle = {
        "pre.3.skip_layer.conv.weight": np.zeros((12, 12, 1, 1)),
        "pre.3.skip_layer.conv.bias": np.zeros(12),
        "pre.0.bn.num_batches_tracked": np.array(7),
    }
    _, arrays, dropped = translate({**source, **idle})
    assert dropped == sorted(idle) and set(arrays) == set(expected)
    # One that changes the width has an effect where it is, so it may not be ignored.
    called = {"pre.3.skip_layer.conv.weight": np.zeros((12, 6, 1, 1))}
    with pytest.raises(WeightsError, match="0 missing .none., 1 left over .pre.3.skip_layer"):
        translate({**source, **called})
    # A bias without its kernel belongs to nothing.
    with pytest.raises(WeightsError, match="1 left over"):
        translate({**source, "pre.3.skip_layer.conv.bias": np.zeros(12)})


def test_a_long_list_of_arrays_is_cut():
    source, _ = checkpoint(*CASES["bearpaw"])
    more = {f"more{k}.weight": np.zeros(2) for k in range(8)}
    names = ", ".join(f"more{k}.weight" for k in range(6))
    with pytest.raises(
        WeightsError, match=rf"0 missing \(none\), 8 left over \({names} and 2 more"
    ):
        translate({**source, **more})
    seven = {f"more{k}.weight": np.zeros(2) for k in range(7)}
    with pytest.raises(WeightsError, match=r"7 left over \([^)]*more5.weight and 1 more\)"):
        translate({**source, **seven})
    six = {f"more{k}.weight": np.zeros(2) for k in range(6)}
    with pytest.raises(WeightsError, match=r"6 left over \([^)]*more5.weight\)"):
        translate({**source, **six})


@pytest.mark.parametrize("prefix", ["", "module.", "model.", "model.module.", "module.model."])
@pytest.mark.parametrize("key", [None, "state_dict", "model_state_dict"])
def test_wrapping_is_taken_off(prefix, key):
    arrays = {f"{prefix}conv1.weight": [[1.0, 2.0]], f"{prefix}remodel.module.x": [3.0]}
    arrays = {name: np.array(value) for name, value in arrays.items()}
    found = unwrap(arrays if key is None else {"epoch": 3, key: arrays})
    assert {name: value.tolist() for name, value in found.items()} == {
        "conv1.weight": [[1.0, 2.0]],
        "remodel.module.x": [3.0],
    }


def test_wrappers_within_wrappers():
    inner = {"a": np.zeros(2)}
    assert list(unwrap({"state_dict": {"model_state_dict": inner}})) == ["a"]
    # An array of that name is an array.
    assert list(unwrap({"state_dict": np.zeros(3)})) == ["state_dict"]


@pytest.mark.parametrize(
    ("name", "found"),
    [("hg.0.hg.0.0.0.bn1.weight", "bearpaw"), ("hgs.0.0.up1.bn1.weight", "princeton")],
)
def test_one_name_tells_the_layout(name, found):
    assert detect_layout({"first": 0, name: 0, "last": 0}) == found
    with pytest.raises(WeightsError, match="2 arrays such as xhg.0.hg., xhgs.0."):
        detect_layout({"xhg.0.hg.": 0, "xhgs.0.": 0})
