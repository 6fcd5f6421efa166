"""Metrics on numbers worked out by hand."""

import dataclasses
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from dots import FACE, face_records

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.metrics import (
    MEANS,
    PCK,
    auc,
    average_precision,
    default_threshold,
    group_curves,
    merge_counts,
    nme,
    normalized_distances,
    normalizer_name,
    oks,
    pck,
    pck_curve,
    pckh,
    reference_lengths,
    summarize,
)
from keras_hourglass.metrics.oks import COCO_SIGMAS
from keras_hourglass.skeletons import MPII, Skeleton

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


def test_the_length_between_the_two_reference_joints_by_hand():
    joints = [[[0, 0], [9, 9], [3, 4]], [[1, 1], [9, 9], [1, 1]], [[0, 0], [9, 9], [6, 8]]]
    lengths = reference_lengths(joints, [[1, 0, 2], [2, 2, 2], [2, 2, 0]], FACE)
    # Five pixels, both at one place, and an end that is not labelled.
    np.testing.assert_array_equal(lengths, [5, np.nan, np.nan])
    assert np.isnan(reference_lengths(joints, np.ones((3, 3)), ARM)).all()


def test_without_a_torso_the_box_is_the_length():
    joints = [[[0, 0], [9, 9], [3, 4]], [[1, 1], [9, 9], [1, 1]]]
    boxes = [[5, 5, 25.0], [6, 6, 50.0]]
    # One torso is enough for the torso to be the measure, of that person.
    assert reference_lengths(joints, [[1, 0, 2], [2, 2, 2]], FACE, boxes)[0] == 5
    assert np.isnan(reference_lengths(joints, [[1, 0, 2], [2, 2, 2]], FACE, boxes)[1])
    # Boxes are 1.25 times what they are around.
    np.testing.assert_allclose(reference_lengths(joints, np.ones((2, 3)), ARM, boxes), [20, 40])
    np.testing.assert_allclose(reference_lengths(joints, np.zeros((2, 3)), FACE, boxes), [20, 40])


HEADED = Skeleton("headed", ("head_top", "neck", "waist"), reference=("neck", "waist"))
BARE = Skeleton("bare", ("tail", "neck", "waist"))


@pytest.mark.parametrize(
    "skeleton, reference, normalizer, threshold",
    [
        (FACE, [5.0, np.nan], "torso", 0.2),  # what the joints themselves give
        (FACE, [7.0, np.nan], "torso", 0.2),  # another pair of joints, as in FLIC's file
        (HEADED, [7.0, 7.0], "head", 0.5),
        (HEADED, [np.nan, np.nan], "head", 0.5),
        (BARE, [7.0, 7.0], "given length", 0.2),
        (BARE, [32.0, 64.0], "box", 0.05),
    ],
)
def test_what_distances_are_measured_in(tmp_path, skeleton, reference, normalizer, threshold):
    joints = [[[0, 0], [9, 9], [3, 4]], [[0, 0], [9, 9], [6, 8]]]
    records = face_records(tmp_path, count=2).with_columns(
        skeleton=skeleton, joints=joints, visibility=[[2, 2, 2], [2, 2, 0]], reference=reference,
        boxes=[[9, 9, 40], [9, 9, 80]],
    )  # fmt: skip
    assert normalizer_name(records) == normalizer
    assert default_threshold(normalizer) == threshold


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


def test_visibility_and_reference_are_checked_each():
    predictions, joints, visibility, reference = scene()
    with pytest.raises(DataError, match=r"visibility \(4, 3\).*Received: \(4, 2\) and \(4,\)"):
        pck(predictions, joints, visibility[:, :2], reference, ARM)
    with pytest.raises(DataError, match=r"reference \(4,\).*Received: \(4, 3\) and \(3,\)"):
        pck(predictions, joints, visibility, reference[:3], ARM)
    with pytest.raises(DataError, match=r"\(people, joints, 2\)"):
        pck(predictions[0], joints[0], visibility[0], reference[0], ARM)
    with pytest.raises(DataError, match=r"\(people, joints, 2\)"):
        pck(np.zeros((4, 3, 3)), np.zeros((4, 3, 3)), visibility, reference, ARM)
    with pytest.raises(DataError, match="inf for person 2"):
        pck(predictions, joints, visibility, np.array([1, 1, np.inf, 1]), ARM)
    with pytest.raises(UserError, match="distances of 0 joints"):
        merge_counts(3, 4, ARM, 0.2)


def test_what_is_taken_where_nothing_is_said():
    # A fifth of the reference, the mean over all counted joints, people not counted.
    distances = [[0.2, 0.21, np.nan], [0.19, np.nan, np.nan]]
    result = summarize(distances, ARM)
    assert (result.threshold, result.mean_over, result.num_people) == (0.2, "counted", 2)
    assert result.joints["left_wrist"] == 100 and result.joints["right_wrist"] == 0
    merged = merge_counts([1, 2, 3], [3, 3, 3], ARM, 0.5)
    assert (merged.num_people, merged.mean_over) == (0, "counted")
    facts = dataclasses.asdict(merged)
    assert PCK(**{key: facts[key] for key in facts if key != "mean_over"}).mean == 600 / 9
    with pytest.raises(dataclasses.FrozenInstanceError):
        merged.threshold = 0.1
    assert list(MEANS) == ["counted", "joints", "groups"]


def test_written_percentages_have_three_decimals():
    written = pck(*scene(), ARM).to_dict()
    assert written["joints"]["left_wrist"] == 66.667 and written["mean"] == 57.143
    assert written["means"] == {"counted": 57.143, "joints": 55.556, "groups": 55.0}


def test_curves_of_groups_by_hand():
    """Counted are three left wrists, two right wrists and two necks, see `scene`."""
    distances = normalized_distances(*scene())
    lines = group_curves(distances, ARM, [0.15, 0.5, 1])
    wrist = dict(lines["groups"])["wrist"]
    np.testing.assert_allclose(wrist, [100 * (1 + 0) / 5, 100 * (2 + 2) / 5, 100])
    np.testing.assert_allclose(lines["mean"], [100 * 2 / 7, 100 * 5 / 7, 100])
    assert lines["thresholds"].tolist() == [0.15, 0.5, 1]
    by_default = group_curves(distances, ARM)["thresholds"]
    np.testing.assert_allclose(by_default, np.arange(51) / 100)
    nothing = group_curves(np.full((2, 3), np.nan), ARM)
    assert np.isnan(nothing["mean"]).all() and np.isnan(nothing["groups"]["wrist"]).all()


def test_curve_area_and_error_by_hand():
    distances = normalized_distances(*scene())
    correct, counted = pck_curve(distances, [0, 0.15, 0.2, 0.5, 1])
    assert counted.tolist() == [3, 2, 2]
    assert correct.tolist() == [[0, 0, 1], [1, 0, 1], [2, 1, 1], [2, 2, 1], [3, 2, 2]]
    # A step at d is integrated by trapezoids of 0.01 as 1 - 2 d + 0.01; at 0 as 1 - 0.
    area = auc(distances, ARM)
    assert area["joints"]["left_wrist"] == pytest.approx(100 * (0.71 + 0.61 + 0) / 3)
    assert area["joints"]["neck"] == pytest.approx(50)
    assert area["joints"]["right_wrist"] == pytest.approx(100 * (0.59 + 0.61) / 2)
    # Over the joints of a group, and over all, counted joints weigh alike.
    assert area["groups"]["wrist"] == pytest.approx(100 * (0.71 + 0.61 + 0 + 0.59 + 0.61) / 5)
    assert area["mean"] == pytest.approx(100 * (0.71 + 0.61 + 0 + 0.59 + 0.61 + 1 + 0) / 7)
    error = nme(distances, ARM)
    assert error["joints"]["left_wrist"] == pytest.approx(100 * (0.2 + 0.15 + 0.9) / 3)
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
    # Only the difference counts, wherever people stand.
    moved = oks(predictions + [30, 50], joints + [30, 50], [[2, 1], [1, 0]], [100, 100], [0.1, 0.2])
    assert moved == pytest.approx(values)
    assert np.isnan(oks(predictions, joints, [[0, 0], [1, 0]], [1, 1], sigmas=[1, 1])[0])
    with pytest.raises(DataError, match="positive areas"):
        oks(predictions, joints, [[2, 1], [1, 0]], [100, 0], sigmas=[0.1, 0.2])


def test_oks_refuses_what_does_not_fit():
    joints, seen = np.zeros((2, 3, 2)), [[1, 1, 1], [1, 0, 0]]
    sigmas = [0.1, 0.2, 0.3]
    with pytest.raises(DataError, match=r"\(2, 2, 2\), annotations \(2, 3, 2\), 3 sigmas"):
        oks(joints[:, :2], joints, seen, [1, 1], sigmas)
    with pytest.raises(DataError, match="2 sigmas"):
        oks(joints, joints, seen, [1, 1], sigmas[:2])
    unknown = joints.copy()
    unknown[0, 2, 1] = np.inf
    with pytest.raises(DataError, match="finite predictions"):
        oks(unknown, joints, seen, [1, 1], sigmas)
    # What nobody annotated may be anything.
    unknown = joints.copy()
    unknown[1, 1] = np.nan
    assert oks(unknown, joints, seen, [1, 1], sigmas).tolist() == [1, 1]


def coco_person(image, offsets=(0, 0), area=10_000.0):
    """A person of COCO's form with 17 visible joints; 10,000 square pixels count as large."""
    points = np.array([[100.0 + 3 * k, 50.0 + 7 * k] for k in range(17)]) + offsets
    keypoints = np.column_stack([points, np.full(17, 2)]).ravel().tolist()
    box = [100.0, 50.0, 48.0, 112.0]
    return {
        "image_id": image, "category_id": 1, "keypoints": keypoints, "num_keypoints": 17,
        "area": area, "bbox": box, "iscrowd": 0, "score": 0.5,
    }  # fmt: skip


def test_average_precision_by_hand(tmp_path):
    params = pytest.importorskip("pycocotools.cocoeval").Params(iouType="keypoints")
    np.testing.assert_allclose(COCO_SIGMAS, params.kpt_oks_sigmas)
    people = [{"id": number, **coco_person(number)} for number in (1, 2)]
    truth = {
        "images": [{"id": 1, "width": 300, "height": 300}, {"id": 2, "width": 300, "height": 300}],
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }
    path = tmp_path / "truth.json"
    path.write_text(json.dumps(truth))
    # The first person with a similarity of 0.72 at every joint, the second not found. That is
    # enough for the five thresholds 0.5 to 0.7 of ten, and there for recalls 0 to 0.5: 51 of 101.
    distances = 2 * COCO_SIGMAS * 100 * np.sqrt(-2 * np.log(0.72))
    results = [coco_person(1, np.column_stack([distances, np.zeros(17)]))]
    values = average_precision(path, results)
    half = 100 * 51 / 101
    assert values == pytest.approx(
        {
            "AP": half / 2, "AP50": half, "AP75": 0, "APM": np.nan, "APL": half / 2,
            "AR": 25, "AR50": 50, "AR75": 0, "ARM": np.nan, "ARL": 25,
        },
        nan_ok=True,
    )  # fmt: skip
    (tmp_path / "results.json").write_text(json.dumps(results))
    assert average_precision(path, tmp_path / "results.json") == pytest.approx(values, nan_ok=True)
    with pytest.raises(UserError, match="at least one result"):
        average_precision(path, [])


def test_average_precision_without_its_package(monkeypatch):
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    with pytest.raises(UserError, match="pip install pycocotools"):
        average_precision("truth.json", [{}])


def test_ten_thousand_people():
    """Distances of a 3-4-5 triangle for half of the people, twice as far for the others."""
    joints = np.random.default_rng(0).uniform(0, 500, (10_000, 16, 2))
    predictions = joints + np.where(np.arange(10_000) % 2, 2, 1)[:, None, None] * [3, 4]
    visibility = np.full((10_000, 16), 2)
    distances = normalized_distances(predictions, joints, visibility, np.full(10_000, 50.0))
    assert summarize(distances, "mpii", 0.1).mean == 50
    assert summarize(distances, "mpii").mean == 100
    assert nme(distances, "mpii")["mean"] == pytest.approx(15)
    # Steps at 0.1 and 0.2 of 0.5, half of the people each; see the trapezoids above.
    assert auc(distances, "mpii")["mean"] == pytest.approx(100 * (0.81 + 0.61) / 2)


def test_scoring_imports_no_deep_learning_library():
    code = (
        "import sys, keras_hourglass.metrics;"
        "print(sorted({'keras', 'tensorflow', 'cv2'} & set(sys.modules)))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def heatmap_values():
    """The metric of two people together, one by one, weighted, and of maps that are no numbers.

    Correct: within 0.1 * 8 = 0.8 heatmap pixels. Two people, three joints, maps of 8×12.
    """
    from keras_hourglass.metrics import HeatmapPCK

    maps = np.full((2, 8, 12, 3), -0.5, "float32")
    maps[0, 2, 11, 0] = 1  # x 11, y 2
    maps[0, 7, 0, 1] = 0.2  # x 0, y 7
    maps[1, 4, 5, 0] = 0.1
    maps[1, 4, 5, 2] = 0.1
    targets = [
        [[10.2, 2, 1, 1], [0.6, 6.4, 1, 1], [3, 3, 0, 1]],  # hit (0.8), miss (0.849), unlabelled
        [[5, 4.5, 1, 1], [0, 0, 0, 1], [5, 4, 1, 0]],  # hit, not labelled, weight 0
    ]
    targets = np.array(targets, "float32")
    together, apart, weighted = (HeatmapPCK((8, 12), 0.1) for _ in range(3))
    together.update_state(targets, maps)
    for i in range(2):
        apart.update_state(targets[i : i + 1], maps[i : i + 1])
    weighted.update_state(targets, maps, sample_weight=np.array([3.0, 1.0]))
    copy = HeatmapPCK.from_config(together.get_config())
    assert (copy.heatmap_size, copy.threshold, copy.name) == ((8, 12), 0.1, "pck")
    assert float(copy.result()) == 0
    copy.update_state(targets, maps * np.nan)
    return [float(metric.result()) for metric in (together, apart, weighted, copy)]


# Person one has 1 of 2, person two 1 of 1; with weights 3 and 1 that is 4 of 7.
HEATMAP_SHARES = [2 / 3, 2 / 3, 4 / 7, 0]


def test_training_accuracy_by_hand():
    assert heatmap_values() == pytest.approx(HEATMAP_SHARES)


@pytest.mark.full
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_training_accuracy_on_every_backend(backend):
    pytest.importorskip(backend)
    import keras

    if backend == keras.config.backend():
        pytest.skip("is the one of the other tests")
    code = "import test_metrics; print(*test_metrics.heatmap_values())"
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "KERAS_BACKEND": backend, "PYTHONPATH": os.pathsep.join(sys.path)},
        cwd=pathlib.Path(__file__).parent,
    )
    assert run.returncode == 0, run.stderr
    assert [float(word) for word in run.stdout.split()] == pytest.approx(HEATMAP_SHARES)


def test_training_accuracy_of_the_paper_by_default():
    import keras

    from keras_hourglass.metrics import HeatmapPCK

    assert keras.saving.get_registered_name(HeatmapPCK) == "keras_hourglass>HeatmapPCK"

    metric = HeatmapPCK((40, 60))  # half of a tenth of the shorter side: 2 heatmap pixels
    assert metric.get_config() == {
        "name": "pck",
        "dtype": metric.get_config()["dtype"],
        "heatmap_size": [40, 60],
        "threshold": 0.05,
    }
    maps = np.zeros((1, 40, 60, 4), "float32")
    maps[0, 10, 20] = 0.001
    maps[0, 10, 20, 3] = 0  # nothing above zero: it points nowhere, not to its first pixel
    # As far as it may be; a hair further, along each axis; where a map of zeros has its first one.
    targets = [[[22, 10, 1, 1], [20, 12.01, 1, 1], [17.99, 10, 1, 1], [0, 0, 1, 1]]]
    metric.update_state(targets, maps)
    assert float(metric.result()) == 0.25
    metric.reset_state()
    assert float(metric.result()) == 0
    # A batch without weights counts as one whose weights are 1: one hit, one miss.
    metric.update_state([[[20, 10, 1, 1]]], maps[..., :1])
    metric.update_state([[[5, 5, 1, 1]]], maps[..., :1], sample_weight=np.array([1.0]))
    assert float(metric.result()) == 0.5
    metric.reset_state()
    # A small amplitude and a small weight count as much as large ones.
    metric.update_state([[[20, 10, 0.1, 0.1], [5, 5, 0.1, 0.1]]], maps[..., :2])
    assert float(metric.result()) == 0.5


@pytest.mark.parametrize(
    "arguments",
    [((8, 12), 0), ((8, 12), -1), ((8, 12), float("nan")), ((8,),), ((8, 12, 3),), ((0, 12),)],
)
def test_training_accuracy_refuses_bad_arguments(arguments):
    from keras_hourglass.metrics import HeatmapPCK

    with pytest.raises(UserError, match="Received: heatmap_size"):
        HeatmapPCK(*arguments)
    assert HeatmapPCK((1, 1), 0.01).heatmap_size == (1, 1)


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


def test_box_overlap_by_hand():
    from keras_hourglass.metrics.heatmap import BoxOverlap

    # Two people at two pixels of a map 1 high and 2 wide; heatmap pixels are 4.
    true, said = np.zeros((1, 1, 2, 7), "float32"), np.zeros((1, 1, 2, 5), "float32")
    true[0, 0, 0] = [1, np.log(32 / 64), np.log(64 / 64), 0, 0, 9, 1]
    true[0, 0, 1] = [1, np.log(16 / 64), np.log(16 / 64), 0, 0, 9, 1]
    # Half as wide and 4 px to the right, still inside: 1 / 2.
    said[0, 0, 0] = [0.5, np.log(16 / 64), 0, 1, 0]
    # As large and half a width to the left: 8 / 24; surer than 1 does not count.
    said[0, 0, 1] = [1.5, np.log(16 / 64), np.log(16 / 64), -2, 0]
    metric = BoxOverlap(stride=4, unit=64)
    metric.update_state(true, said)
    assert float(metric.result()) == pytest.approx((0.5 * 0.5 + 1 / 3) / 2, rel=1e-5)
    true[0, 0, 1, 6] = 0
    metric.update_state(true, said, sample_weight=np.array([2.0]))
    expected = (0.25 + 1 / 3 + 2 * 0.25) / 4
    assert float(metric.result()) == pytest.approx(expected, rel=1e-5)
    metric.reset_state()
    assert float(metric.result()) == 0
    # Apart along one axis, then along both, where two negative lengths would make an area; two
    # photographs of weights 1 and 3.
    true, said = np.zeros((2, 1, 2, 7), "float32"), np.zeros((2, 1, 2, 5), "float32")
    true[..., 0], true[..., 6], said[..., 0] = 1, 1, 1  # boxes of 64 by 64
    said[0, 0, 0, 3] = 20  # 80 px to the right
    said[0, 0, 1, 3:] = 20, 17
    said[1, 0, 0, 3:] = 8, 8  # 32 px to the right and down: 1 / 7
    metric = BoxOverlap()
    metric.update_state(true, said, sample_weight=np.array([1.0, 3.0]))
    assert float(metric.result()) == pytest.approx((0 + 0 + 3 / 7 + 3) / 8, rel=1e-5)
    assert metric.name == "overlap" and metric.dtype == "float32"
    for wrong in ({"unit": 0}, {"stride": 0}):
        with pytest.raises(UserError, match="must be positive"):
            BoxOverlap(**wrong)
    other = BoxOverlap.from_config(BoxOverlap(8, 32.0).get_config())
    assert (other.stride, other.unit) == (8, 32.0)
