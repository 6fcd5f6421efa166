"""Evaluation with a network whose answers are known."""

import json
import threading
import time

import numpy as np
import pytest
from dots import FACE, DotNetwork, face_records

from keras_hourglass.choices import DECODERS
from keras_hourglass.cli import main
from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.figures import write_dataset
from keras_hourglass.data.load import load_records
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.evaluation import (
    RecordHeatmaps,
    evaluate,
    evaluate_predictions,
    load_predictions,
    normalizer_name,
    predict_records,
    save_predictions,
    sweep,
)
from keras_hourglass.geometry import apply_affine, crop_affine, invert_affine, mirror_points
from keras_hourglass.io.images import read_image, write_image
from keras_hourglass.metrics import normalized_distances, summarize
from keras_hourglass.skeletons import Skeleton


@pytest.fixture(scope="module")
def network():
    return DotNetwork()


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return face_records(tmp_path_factory.mktemp("faces"))


def test_joints_come_back_in_source_pixels_for_every_stack(network, faces):
    predictions = predict_records(network, faces, batch_size=3)
    assert predictions.stacks == ("stack_1", "stack_2")
    assert predictions.keypoints.shape == (2, 7, 3, 2) and predictions.scores.shape == (2, 7, 3)
    # A box of 80 px fills 64 input pixels, so a heatmap pixel is 5 source pixels; decoding is
    # good to a quarter of it along each axis, and the ramp of the eyes pulls outwards a little.
    assert np.abs(predictions.keypoints[1] - faces.joints).max() < 2
    shift = predictions.keypoints[0] - predictions.keypoints[1]
    assert shift == pytest.approx(np.broadcast_to([0, 5], shift.shape), abs=1e-6)


def test_accuracy_of_each_stack(network, faces):
    strict = evaluate(network, faces, threshold=0.08)  # 2.6 px of about 32 px between the eyes
    assert [pck.mean for pck in strict.stacks] == [0, 100]
    assert strict.pck.mean == 100 and strict.metric == "PCK" and strict.normalizer == "torso"
    loose = evaluate_predictions(strict.predictions, threshold=0.3)
    assert [pck.mean for pck in loose.stacks] == [100, 100]
    assert evaluate_predictions(strict.predictions, 0.08, stack=1).pck.mean == 0
    with pytest.raises(UserError, match="stacks 1 to 2"):
        evaluate_predictions(strict.predictions, stack=3)


def test_only_the_joints_asked_for_are_measured(network, faces):
    predictions = predict_records(network, faces)
    # Noses are moved a reference length away: 7 right joints of 7 people become wrong.
    predictions.keypoints[:, :, 1] += faces.reference[:, None]
    both = evaluate_predictions(predictions, 0.3)
    eyes = evaluate_predictions(predictions, 0.3, joints=["eyes"])
    assert both.pck.mean == pytest.approx(100 * 14 / 21) and eyes.pck.mean == 100
    assert eyes.pck.counts == {"left_eye": 7, "nose": 0, "right_eye": 7}
    # Distances stay those by the eyes, also where neither of them counts.
    nose = evaluate_predictions(predictions, joints=["nose"])
    assert nose.pck.mean == 0 and (nose.normalizer, nose.pck.threshold) == ("torso", 0.2)
    assert evaluate(network, faces, 0.3, joints=["nose", "left_eye"]).pck.mean == 100
    with pytest.raises(UserError, match="Received: 'ear'. Choose of eyes, nose, left_eye"):
        evaluate(network, faces, joints=["ear"])


def test_predictions_in_the_joints_of_another_skeleton(network, faces):
    predictions = predict_records(network, faces)
    fewer = predictions.of_joints(Skeleton("eyes", ("right_eye", "left_eye")))
    assert fewer.records.skeleton.joints == ("right_eye", "left_eye")
    assert (fewer.keypoints == predictions.keypoints[:, :, [2, 0]]).all()
    assert (fewer.scores == predictions.scores[:, :, [2, 0]]).all()
    assert (fewer.records.joints == faces.joints[:, [2, 0]]).all()


def test_results_do_not_depend_on_batches_or_threads(network, faces):
    expected = predict_records(network, faces, batch_size=7, workers=1)
    for batch_size, workers in ((1, 3), (3, 2), (16, 1)):
        found = predict_records(network, faces, batch_size=batch_size, workers=workers)
        assert found.keypoints == pytest.approx(expected.keypoints, abs=1e-9)
        assert found.scores == pytest.approx(expected.scores, abs=1e-7)
        assert found.heatmap_means == pytest.approx(expected.heatmap_means, abs=1e-7)


@pytest.mark.parametrize("flip", [True, False])
def test_mirrored_evaluation_of_a_symmetric_network_is_identical(network, faces, tmp_path, flip):
    images, joints, boxes = [], [], faces.boxes.copy()
    for number, path in enumerate(faces.images):
        picture = read_image(path)[:, ::-1]
        images.append(str(tmp_path / f"{number}.png"))
        write_image(images[-1], np.ascontiguousarray(picture))
        width = picture.shape[1]
        joints.append(mirror_points(faces.joints[number], width)[list(FACE.flip_order)])
        boxes[number, :2] = mirror_points(boxes[number, :2], width)
    mirrored = faces.with_columns(
        images=np.array(images, dtype=object), joints=np.array(joints), boxes=boxes
    )
    here = evaluate(network, faces, flip=flip)
    there = evaluate(network, mirrored, flip=flip)
    for number, path in enumerate(faces.images):
        expected = mirror_points(here.predictions.keypoints[:, number], read_image(path).shape[1])
        expected = expected[:, list(FACE.flip_order)]
        assert there.predictions.keypoints[:, number] == pytest.approx(expected, abs=1e-6)
    assert there.nme["mean"] == pytest.approx(here.nme["mean"], abs=1e-6)
    assert [a.joints["left_eye"] for a in here.stacks] == [
        b.joints["right_eye"] for b in there.stacks
    ]


def test_averaging_over_scales_keeps_the_frame(network, faces):
    plain = predict_records(network, faces)
    several = predict_records(network, faces, scales=(0.8, 1.0, 1.25), decoder="dark")
    assert np.abs(several.keypoints[1] - faces.joints).max() < 2
    # A single other scale is brought back to the frame of the plain crop as well.
    other = predict_records(network, faces, scales=(1.25,))
    assert np.abs(other.keypoints[1] - plain.keypoints[1]).max() < 3
    assert plain.settings["scales"] == [1.0] and other.settings["scales"] == [1.25]


def test_unreadable_pictures_are_counted_named_and_skipped(network, faces, tmp_path):
    broken = tmp_path / "broken.png"
    with open(faces.images[2], "rb") as file:
        broken.write_bytes(file.read()[:200])
    images = faces.images.copy()
    images[2], images[5] = str(broken), str(tmp_path / "missing.png")
    damaged = faces.with_columns(images=images)
    evaluation = evaluate(network, damaged, batch_size=2)
    assert set(evaluation.predictions.failures) == {images[2], images[5]}
    assert list(evaluation.predictions.records.ids) == [f"face/{n}" for n in (0, 1, 3, 4, 6)]
    assert evaluation.pck.num_people == 5 and evaluation.pck.mean == 100
    assert set(evaluation.to_dict()["skipped"]) == {images[2], images[5]}
    with pytest.raises(DataError, match="None of the 1 people.*broken.png"):
        predict_records(network, damaged.select([2]))


def test_pictures_are_cropped_in_other_threads_while_the_network_runs(network, faces, monkeypatch):
    from keras_hourglass.evaluation import predictions

    threads = set()
    original = predictions.open_image

    def remember(path):
        threads.add(threading.current_thread())
        return original(path)

    monkeypatch.setattr(predictions, "open_image", remember)
    predict_records(network, faces, batch_size=2, workers=2)
    assert threads and threading.main_thread() not in threads


def test_joints_are_matched_by_name_and_missing_ones_never_count(network, faces):
    other = Skeleton("other", ("right_eye", "chin", "left_eye"))
    joints = np.zeros((7, 3, 2))
    joints[:, 0], joints[:, 2] = faces.joints[:, 2], faces.joints[:, 0]
    records = faces.with_columns(
        skeleton=other,
        joints=joints,
        visibility=np.array([[2, 2, 1]] * 6 + [[2, 2, 0]]),
        reference=np.array([*[32.0] * 5, np.nan, 32.0]),
    )
    evaluation = evaluate(network, records)
    assert evaluation.pck.counts == {"left_eye": 5, "nose": 0, "right_eye": 6}
    assert evaluation.pck.mean == 100 and np.isnan(evaluation.pck.joints["nose"])
    assert evaluation.to_dict()["groups"] == {"eyes": 100.0, "nose": None}
    assert evaluation.parts["occluded"].counts == {"left_eye": 5, "nose": 0, "right_eye": 0}
    with pytest.raises(UserError, match="chin"):
        foreign = faces.with_columns(skeleton=Skeleton("far", ("chin", "ear", "hair")))
        predict_records(network, foreign)


def test_arguments_out_of_range(network, faces):
    for options in ({"batch_size": 0}, {"scales": ()}, {"scales": (1, -1)}, {"workers": 0}):
        with pytest.raises(UserError, match="must be positive"):
            predict_records(network, faces, **options)
    with pytest.raises(UserError, match="decoder"):
        predict_records(network, faces, decoder="best")


def test_merged_maps_come_with_their_frames(network, faces):
    batches = list(RecordHeatmaps(network, faces, batch_size=4).run())
    assert [people.tolist() for people, _, _ in batches] == [[0, 1, 2, 3], [4, 5, 6]]
    people, matrices, heatmaps = batches[1]
    assert heatmaps["stack_2"].shape == (3, 16, 24, 3)
    assert matrices[0] == pytest.approx(crop_affine(faces.boxes[4], (64, 96)))


def test_sweep_covers_every_choice(network, faces):
    rows = sweep(network, faces, threshold=0.3, batch_size=4)
    choices = {(r["stack"], r["flip"], tuple(r["scales"]), r["decoder"]) for r in rows}
    assert len(choices) == len(rows) == 2 * (1 + len(DECODERS))
    assert {row["decoder"] for row in rows} == set(DECODERS)
    assert ("stack_1", True, (1.0,), "quarter") in choices
    assert all(row["mean"] == 100 and row["milliseconds"] > 0 for row in rows)


def test_predictions_survive_their_file(network, faces, tmp_path):
    predictions = predict_records(network, faces)
    save_predictions(predictions, tmp_path / "predictions.npz")
    loaded = load_predictions(tmp_path)
    assert evaluate_predictions(loaded).to_dict() == evaluate_predictions(predictions).to_dict()
    assert (loaded.keypoints == predictions.keypoints).all() and loaded.records.skeleton == FACE
    (tmp_path / "predictions.npz").write_bytes(b"PK broken")
    with pytest.raises(DataError, match="predictions.npz"):
        load_predictions(tmp_path)


def test_perfect_heatmaps_of_real_people_score_at_least_99_9(shared_data):
    records = load_records(f"lsp:{shared_data / 'lsp_train'}")
    codec = HeatmapCodec((256, 256))
    matrices = np.stack([crop_affine(box, codec.input_size) for box in records.boxes])
    maps, _ = codec.encode(apply_affine(matrices, records.joints), records.visibility)
    points = apply_affine(invert_affine(matrices), codec.decode(maps)[0])
    distances = normalized_distances(points, records.joints, records.visibility, records.reference)
    assert summarize(distances, records.skeleton, threshold=0.1).mean >= 99.9
    assert normalizer_name(records) == "torso"


def test_the_head_is_recognised_as_the_reference_of_mpii(shared_data):
    spec = f"mpii:{shared_data / 'mpii_annot' / 'valid.h5'}"
    assert normalizer_name(load_records(spec, need_pictures=False)) == "head"


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    from keras_hourglass.network.model import StackedHourglass

    model = StackedHourglass(
        num_stacks=2, num_features=8, depth=2, input_shape=(32, 48, 3), skeleton="lsp"
    )
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    model.save_to_preset(folder)
    return folder


@pytest.mark.full
def test_the_command_writes_the_promised_files(preset, tmp_path, capsys):
    out = tmp_path / "out"
    words = ["evaluate", "--model", str(preset), "--data", "synthetic:6@3#2-6", "--out", str(out)]
    assert main([*words, "--limit", "4", "--batch-size", "3", "--gallery", "1", "--sweep"]) == 0
    printed = capsys.readouterr().out
    assert "PCK@0.2" in printed and "over all counted joints" in printed
    assert "stack_2" in printed and "decoder" in printed
    metrics = json.loads((out / "metrics.json").read_text())
    expected = {"metric": "PCK", "threshold": 0.2, "normalizer": "torso", "num_people": 4}
    assert {key: metrics[key] for key in expected} == expected
    groups = ["head", "shoulder", "elbow", "wrist", "hip", "knee", "ankle"]
    assert list(metrics["groups"]) == groups and len(metrics["joints"]) == 14
    assert [list(stack["groups"]) for stack in metrics["stacks"]] == [groups, groups]
    assert metrics["mean"] == metrics["stacks"][1]["mean"] and metrics["mean_over"] == "counted"
    people = json.loads((out / "predictions.json").read_text())["people"]
    assert len(people) == 4 and len(people[0]["keypoints"]) == 14 and len(people[0]["box"]) == 4
    assert "| stack_1 |" in (out / "report.md").read_text()
    assert (out / "report.html").read_text().startswith("<!DOCTYPE html>")

    # The folder is not written to again, and what was wrong fits on a line.
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "--overwrite" in error


@pytest.mark.parametrize(
    "change, message",
    [
        (["--threshold", "0"], "threshold"),
        (["--limit", "0"], "limit"),
        (["--data", "synthetic:6@3#5-9"], "1 to 6"),
        (["--data", "nothing"], "KIND"),
        (["--model", "no_such_preset"], "no_such_preset"),
        (["--stack", "7"], "stacks 1 to 2"),
        (["--joints", "neck", "wirst"], "Did you mean 'wrist'?"),
        (
            ["--joints", "wirst"],
            "Choose of head, shoulder, elbow, wrist, hip, knee, ankle, right_ank",
        ),
    ],
)
def test_mistakes_end_in_one_line(preset, tmp_path, capsys, change, message):
    words = ["evaluate", "--model", str(preset), "--data", "synthetic:6@3"]
    assert main([*words, "--out", str(tmp_path / "new" / "out"), *change]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
def test_joints_that_are_not_measured_are_told(preset, tmp_path, capsys):
    """A network of other joints measures those that it shares with the data, and says so."""
    write_dataset(tmp_path / "data", 3, seed=5, size=72)
    path = tmp_path / "data" / "person_keypoints.json"
    content = json.loads(path.read_text())
    names = content["categories"][0]["keypoints"]
    content["categories"][0]["keypoints"] = ["tail" if n == "neck" else n for n in names]
    path.write_text(json.dumps(content))
    words = ["evaluate", "--model", str(preset), "--data", str(path), "--gallery", "0"]
    assert main([*words, "--out", str(tmp_path / "out")]) == 0
    assert (
        f"note: not measured, joints that {preset} does not have: tail" in capsys.readouterr().err
    )
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["num_people"] == 3


def test_equal_maxima_are_decoded_to_the_first_in_reading_order():
    random = np.random.default_rng(0)
    maps = random.integers(0, 4, (30, 7, 5, 3)).astype("float32")
    points, scores = HeatmapCodec((28, 20), decoder="max").decode(maps)
    first = maps.transpose(0, 3, 1, 2).reshape(30, 3, 35).argmax(axis=-1)
    expected = 4 * np.stack([first % 5, first // 5], axis=-1) + 1.5
    assert (points == expected).all() and (scores == maps.max(axis=(1, 2))).all()


@pytest.mark.full
@pytest.mark.parametrize("decoder", DECODERS)
def test_a_thousand_people_are_decoded_within_100_ms_of_one_core(decoder):
    random = np.random.default_rng(0)
    joints = random.uniform(0, 255, (1000, 16, 2))
    codec = HeatmapCodec((256, 256), decoder=decoder)
    maps, _ = codec.encode(joints, np.full((1000, 16), 2))
    times = []
    for _ in range(5):
        start = time.process_time()  # what other processes take does not count
        codec.decode(maps)
        times.append(time.process_time() - start)
    assert min(times) < 0.1
