"""Metrics on numbers worked out by hand."""

import os
import subprocess
import sys
import time

import numpy as np
import pytest

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.metrics import (
    auc,
    nme,
    normalized_distances,
    oks,
    pck,
    pck_curve,
    pckh,
    summarize,
)
from keras_hourglass.skeletons import MPII, Skeleton, get_skeleton

ARM = Skeleton(
    "arm",
    ("left_wrist", "right_wrist", "neck"),
    groups=(("wrist", ("left_wrist", "right_wrist")), ("neck", ("neck",))),
)


def scene():
    """Four people, references 10, 20, 10 and unknown; distances in pixels are listed below."""
    joints = np.full((4, 3, 2), 50.0)
    predictions = joints.copy()
    predictions[0] += [[2, 0], [0, 2.1], [0, 0]]  # 0.2, 0.21, 0 of 10
    predictions[1] += [[3, 0], [0, 4], [16, 12]]  # 0.15, 0.2, 1 of 20
    predictions[2] += [[9, 0], [0, 0], [0, 0]]  # 0.9, (not annotated), (not annotated)
    visibility = np.array([[2, 1, 2], [2, 2, 2], [1, 0, 0], [2, 2, 2]])
    return predictions, joints, visibility, np.array([10, 20, 10, np.nan])


def test_percentages_by_hand():
    result = pck(*scene(), ARM, threshold=0.2)
    assert result.joints == pytest.approx({"left_wrist": 200 / 3, "right_wrist": 50, "neck": 50})
    assert result.groups == pytest.approx({"wrist": 60, "neck": 50})
    assert result.counts == {"left_wrist": 3, "right_wrist": 2, "neck": 2}
    assert result.num_people == 3
    assert result.mean == pytest.approx(400 / 7)  # 4 of 7 counted joints


@pytest.mark.parametrize(
    "mean_over, expected", [("counted", 400 / 7), ("joints", 500 / 9), ("groups", 55)]
)
def test_the_mean_follows_its_named_convention(mean_over, expected):
    result = pck(*scene(), ARM, threshold=0.2, mean_over=mean_over)
    assert result.mean == pytest.approx(expected)
    assert result.to_dict()["mean_over"] == mean_over
    with pytest.raises(UserError, match="mean_over"):
        pck(*scene(), ARM, mean_over="people")


def test_distance_equal_to_the_threshold_counts_despite_rounding():
    joints = np.array([[[0.1, 0.0]]]).repeat(3, axis=0)
    predictions = joints + [[[0.3, 0.4]]]  # 0.5 in the real numbers
    distances = normalized_distances(predictions, joints, np.full((3, 1), 2), np.full(3, 5.0))
    assert summarize(distances, Skeleton("dot", ("dot",)), 0.1).mean == 100
    assert summarize(distances, Skeleton("dot", ("dot",)), 0.0999).mean == 0


def test_unannotated_joints_never_count_whatever_their_numbers():
    predictions, joints, visibility, reference = scene()
    expected = pck(predictions, joints, visibility, reference, ARM).to_dict()
    for value in (np.nan, np.inf, -1e9, 0):
        joints[2, 1:] = value
        predictions[2, 1:] = -value
        predictions[3] = value
        assert pck(predictions, joints, visibility, reference, ARM).to_dict() == expected


def test_kinds_without_an_annotation_are_not_a_number():
    predictions, joints, visibility, reference = scene()
    visibility[:, 2] = 0
    result = pck(predictions, joints, visibility, reference, ARM, mean_over="groups")
    assert np.isnan(result.joints["neck"]) and np.isnan(result.groups["neck"])
    assert result.mean == pytest.approx(60)  # the one group there is
    assert result.to_dict()["groups"] == {"wrist": 60.0, "neck": None}
    empty = pck(predictions, joints, np.zeros_like(visibility), reference, ARM)
    assert np.isnan(empty.mean) and empty.num_people == 0 and empty.to_dict()["mean"] is None


def test_mistakes_are_refused():
    predictions, joints, visibility, reference = scene()
    with pytest.raises(DataError, match=r"\(3, 3, 2\).*\(4, 3, 2\)"):
        pck(predictions[:3], joints, visibility, reference, ARM)
    with pytest.raises(DataError, match="shape"):
        pck(predictions[:, :2], joints, visibility, reference, ARM)
    with pytest.raises(DataError, match="positive.*0.0 for person 1"):
        pck(predictions, joints, visibility, np.array([1, 0, 1, 1.0]), ARM)
    with pytest.raises(DataError, match="positive"):
        pck(predictions, joints, visibility, np.array([1, -3, 1, 1.0]), ARM)
    predictions[1, 2, 0] = np.nan
    with pytest.raises(DataError, match="finite.*joint 2 of person 1"):
        pck(predictions, joints, visibility, reference, ARM)
    with pytest.raises(UserError, match="16 joints"):
        summarize(np.zeros((2, 3)), "mpii")
    with pytest.raises(UserError, match="threshold"):
        summarize(np.zeros((2, 3)), ARM, threshold=0)


def test_curve_area_and_error_by_hand():
    distances = normalized_distances(*scene())
    correct, counted = pck_curve(distances, [0, 0.15, 0.2, 0.5, 1])
    assert counted.tolist() == [3, 2, 2]
    assert correct.tolist() == [[0, 0, 1], [1, 0, 1], [2, 1, 1], [2, 2, 1], [3, 2, 2]]
    # A step at d is integrated by trapezoids of 0.01 as 1 - 2 d + 0.01; at 0 as 1 - 0.
    area = auc(distances, ARM)
    assert area["joints"]["left_wrist"] == pytest.approx(100 * (0.71 + 0.61 + 0) / 3)
    assert area["joints"]["neck"] == pytest.approx(50)
    error = nme(distances, ARM)
    assert error["groups"]["neck"] == pytest.approx(50)
    assert error["mean"] == pytest.approx(100 * (0.2 + 0.21 + 0 + 0.15 + 0.2 + 1 + 0.9) / 7)


def test_pckh_groups_leave_out_pelvis_and_thorax():
    joints = np.zeros((1, 16, 2))
    predictions = joints.copy()
    for name in ("pelvis", "thorax"):
        predictions[0, MPII.index(name)] = 100
    result = pckh(predictions, joints, np.full((1, 16), 2), [10.0])
    assert result.threshold == 0.5
    assert list(result.groups) == ["head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
    assert result.means == {"counted": 87.5, "joints": 87.5, "groups": 100.0}


def test_oks_by_hand():
    # sigmas 0.1 and 0.2, area 100: a distance of 2 sigma sqrt(area) gives exp(-1/2).
    joints = np.zeros((2, 2, 2))
    predictions = np.array([[[2, 0], [0, 4]], [[0, 4], [7, 7]]], float)
    values = oks(predictions, joints, [[2, 1], [1, 0]], [100, 100], sigmas=[0.1, 0.2])
    assert values == pytest.approx([np.exp(-0.5), np.exp(-2)])
    assert np.isnan(oks(predictions, joints, [[0, 0], [1, 0]], [1, 1], sigmas=[1, 1])[0])
    with pytest.raises(DataError, match="positive areas"):
        oks(predictions, joints, [[2, 1], [1, 0]], [100, 0], sigmas=[0.1, 0.2])


def test_ten_thousand_people_within_two_seconds():
    random = np.random.default_rng(0)
    joints = random.uniform(0, 500, (10_000, 16, 2))
    predictions = joints + random.normal(0, 10, joints.shape)
    visibility = random.integers(0, 3, (10_000, 16))
    start = time.perf_counter()
    distances = normalized_distances(predictions, joints, visibility, np.full(10_000, 60.0))
    for skeleton in (get_skeleton("mpii"),):
        summarize(distances, skeleton)
        auc(distances, skeleton)
        nme(distances, skeleton)
    assert time.perf_counter() - start < 2


def test_scoring_imports_no_deep_learning_library():
    code = (
        "import sys, keras_hourglass.metrics;"
        "print(sorted({'keras', 'tensorflow', 'cv2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


# Correct: within 0.1 * 8 = 0.8 heatmap pixels. Two people, three joints, maps of 8×12.
HEATMAP_CASE = """
import numpy as np
from keras_hourglass.metrics import HeatmapPCK
maps = np.full((2, 8, 12, 3), -0.5, "float32")
maps[0, 2, 11, 0] = 1    # x 11, y 2
maps[0, 7, 0, 1] = 0.2   # x 0, y 7
maps[1, 4, 5, 0] = 0.1
maps[1, 4, 5, 2] = 0.1
targets = np.array([
    [[10.2, 2, 1, 1], [0.6, 6.4, 1, 1], [3, 3, 0, 1]],   # hit (0.8), miss (0.849), not labelled
    [[5, 4.5, 1, 1], [0, 0, 0, 1], [5, 4, 1, 0]],        # hit, not labelled, weight 0
], "float32")
together, apart, weighted = (HeatmapPCK((8, 12), 0.1) for _ in range(3))
together.update_state(targets, maps)
for i in range(2):
    apart.update_state(targets[i:i + 1], maps[i:i + 1])
weighted.update_state(targets, maps, sample_weight=np.array([3.0, 1.0]))
copy = HeatmapPCK.from_config(together.get_config())
assert (copy.heatmap_size, copy.threshold, copy.name) == ((8, 12), 0.1, "pck")
assert float(copy.result()) == 0
copy.update_state(targets, maps * np.nan)
print(*(float(metric.result()) for metric in (together, apart, weighted, copy)))
"""


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_training_accuracy_on_every_backend(backend):
    pytest.importorskip(backend)
    env = {**os.environ, "KERAS_BACKEND": backend}
    run = subprocess.run(
        [sys.executable, "-c", HEATMAP_CASE], capture_output=True, text=True, env=env
    )
    assert run.returncode == 0, run.stderr
    # Person one has 1 of 2, person two 1 of 1; with weights 3 and 1 that is 4 of 7.
    values = [float(word) for word in run.stdout.split()]
    assert values == pytest.approx([2 / 3, 2 / 3, 4 / 7, 0])


def test_training_accuracy_inside_fit():
    import keras

    from keras_hourglass.losses import HeatmapMSE
    from keras_hourglass.metrics import HeatmapPCK

    inputs = keras.Input((8, 12, 1))
    model = keras.Model(inputs, {"stack_1": keras.layers.Conv2D(2, 1, name="stack_1")(inputs)})
    model.compile(
        "sgd",
        {"stack_1": HeatmapMSE((8, 12))},
        metrics={"stack_1": HeatmapPCK((8, 12), name="pck")},
    )
    maps = np.zeros((5, 8, 12, 1), "float32")
    maps[:, 3, 10] = 1
    kernel = np.array([[[[1.0, -1.0]]]], "float32")  # the second joint points nowhere
    model.set_weights([kernel, np.zeros(2, "float32")])
    targets = {"stack_1": np.tile(np.array([[[10, 3, 1, 1], [10, 3, 1, 1]]], "float32"), (5, 1, 1))}
    logs = model.evaluate(maps, targets, batch_size=2, verbose=0, return_dict=True)
    assert [value for key, value in logs.items() if key.endswith("pck")] == [0.5]
