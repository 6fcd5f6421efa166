"""`keras-hourglass analyze`, each analysis from the command line to its files."""

import json
import shutil

import numpy as np
import pytest
from dots import DotNetwork, face_records

from keras_hourglass.cli import main
from keras_hourglass.errors import UserError
from keras_hourglass.evaluation import evaluate
from keras_hourglass.io.images import image_size
from keras_hourglass.report import write_report


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """The folder of an evaluation with known errors; people 0 to 2 lack their nose."""
    records = face_records(tmp_path_factory.mktemp("faces"), count=9)
    visibility = records.visibility.copy()
    visibility[:3, 1] = 0
    network = DotNetwork()
    result = evaluate(network, records.with_columns(visibility=visibility), threshold=0.08)
    # Where there is no nose, the heatmap says so.
    result.predictions.scores[:, :3, 1] = 0.1
    result.predictions.heatmap_means[:, :3, 1] = 0.001
    # Person 5 has left and right the wrong way round.
    result.predictions.keypoints[1, 5] = result.predictions.keypoints[1, 5][::-1]
    folder = tmp_path_factory.mktemp("evaluation")
    write_report(result, folder, gallery=0)
    return folder


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    from keras_hourglass.network.model import StackedHourglass

    model = StackedHourglass(
        num_stacks=2, num_features=8, depth=2, input_shape=(32, 32, 3), skeleton="lsp"
    )
    folder = tmp_path_factory.mktemp("preset") / "tiny"
    model.save_to_preset(folder, thresholds={"neck": 0.5})
    return folder


def analyze(kind, stored, out, *more):
    words = ["analyze", kind, "--evaluation", *([stored] if isinstance(stored, str) else stored)]
    assert main([*words, "--out", str(out), "--threshold", "0.08", *more]) == 0
    assert (out / f"{kind}.md").read_text().count("|") > 10
    return json.loads((out / f"{kind}.json").read_text())


def test_stacks(stored, tmp_path, capsys):
    found = analyze("stacks", str(stored), tmp_path, "--people", "2")
    # The last stack is right but for the two eyes of person 5 (its nose stays in the middle).
    assert found["difference"] == pytest.approx(
        {"eyes": 100 * 16 / 18, "nose": 100, "mean": 100 * 22 / 24}, abs=1e-3
    )
    assert found["worsened_most"][0] == "face/5" and len(found["improved_most"]) == 2
    assert "last - first" in capsys.readouterr().out
    for name in ("stacks.png", "people.png"):
        assert min(image_size(tmp_path / name)) > 100


def test_curves_of_several_models(stored, tmp_path):
    found = analyze("curves", [f"one={stored}", f"a=b={stored}"], tmp_path)
    assert list(found["models"]) == ["one", "a=b"]
    line = found["models"]["one"]
    assert line["thresholds"][8] == 0.08
    assert line["mean"][8] == pytest.approx(100 * 22 / 24, abs=1e-3)
    assert image_size(tmp_path / "curves.png")[0] > 200


def test_presence(stored, tmp_path, preset):
    found = analyze("presence", str(stored), tmp_path)
    nose = found["kinds"]["nose"]
    assert nose["maximum"]["accuracy"] == nose["mean"]["accuracy"] == 100
    assert nose["annotated"] == pytest.approx(100 * 6 / 9, abs=1e-3)
    assert list(found["thresholds"]) == ["nose"] and 0.1 < found["thresholds"]["nose"] < 1
    # A nose is no joint of that preset, so nothing is written into it.
    before = (preset / "config.json").read_text()
    words = ["--evaluation", str(stored), "--out", str(tmp_path / "again"), "--save", str(preset)]
    assert main(["analyze", "presence", *words]) == 2
    assert (preset / "config.json").read_text() == before


@pytest.mark.full
@pytest.mark.parametrize("missing", ["zero", "ignore", None])
def test_saved_thresholds_are_those_of_the_end_of_a_training(tmp_path, preset, missing):
    import types

    from keras_hourglass.data.load import load_records
    from keras_hourglass.training.recipe import load_recipe, save_recipe
    from keras_hourglass.training.run import Run, _calibrate
    from keras_hourglass.zoo.store import load_model

    recipe = load_recipe({} if missing is None else {"data": {"missing": missing}})
    found = []
    for name in ("trained", "analysed"):
        shutil.copytree(preset, tmp_path / name)
    run = Run(recipe, tmp_path / "trained")
    run.model = load_model(str(preset))
    run.validation = types.SimpleNamespace(records=load_records("synthetic:6@1"))
    assert _calibrate(run)
    if missing is not None:
        save_recipe(recipe, tmp_path / "analysed" / "recipe.yaml")
    words = ["--model", str(preset), "--data", "synthetic:6@1", "--out", str(tmp_path / "out")]
    assert main(["analyze", "presence", *words, "--save", str(tmp_path / "analysed")]) == 0
    for name in ("trained", "analysed"):
        found.append(json.loads((tmp_path / name / "config.json").read_text())["thresholds"])
    assert list(found[0]) and found[0] == pytest.approx(found[1], rel=1e-6)
    assert found[0]["neck"] != 0.5  # what was there is replaced


def test_thresholds_are_saved_where_every_joint_is_annotated(stored, tmp_path, capsys):
    from keras_hourglass.network.model import StackedHourglass

    faces = StackedHourglass(
        num_stacks=1, num_features=8, depth=2, input_shape=(32, 32, 3),
        skeleton=["left_eye", "nose", "right_eye"],
    )  # fmt: skip
    faces.save_to_preset(tmp_path / "faces")
    records = face_records(tmp_path / "people", count=4)
    write_report(evaluate(DotNetwork(), records, threshold=0.08), tmp_path / "all", gallery=0)
    words = ["analyze", "presence", "--evaluation", str(tmp_path / "all"), "--threshold", "0.08"]
    assert main([*words, "--out", str(tmp_path / "one")]) == 2
    assert "--save PRESET finds" in capsys.readouterr().err
    found = [*words, "--out", str(tmp_path / "two"), "--save", str(tmp_path / "faces")]
    assert main(found) == 0
    saved = json.loads((tmp_path / "faces" / "config.json").read_text())["thresholds"]
    assert set(saved) == {"left_eye", "nose", "right_eye"} and max(saved.values()) < 1
    # No table without rows: that of what was found.
    printed = capsys.readouterr().out
    table = printed[printed.index("joint ") :].splitlines()
    assert [row.split()[0] for row in table[2:5]] == ["left_eye", "nose", "right_eye"]
    assert float(table[3].split()[1]) == pytest.approx(saved["nose"], abs=1e-4)


@pytest.mark.full
def test_presence_of_people_who_are_cut_off(tmp_path, preset, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(preset, copy)
    words = ["--model", str(copy), "--data", "synthetic:6@1", "--cut", "2", "--save", str(copy)]
    assert main(["analyze", "presence", *words, "--out", str(tmp_path / "out")]) == 0
    found = json.loads((tmp_path / "out" / "presence.json").read_text())
    knee = found["joints"]["left_knee"]
    # Six figures, twice whole and at most twice cut, two knees each.
    assert 24 < knee["joints"] <= 48 and 50 < knee["always"] < 100
    assert found["thresholds"]["left_knee"] == found["thresholds"]["right_knee"]
    # Saved is from where on joints are believed, which an untrained network's are not.
    saved = json.loads((copy / "config.json").read_text())["thresholds"]
    assert saved == pytest.approx(found["believed_from"], abs=1e-6) and len(saved) == 14
    assert saved["left_knee"] == saved["right_knee"]
    assert f"saved in {copy}:\nright_ankle " in capsys.readouterr().out
    assert main(["analyze", "presence", *words[:-2], "--out", str(tmp_path / "table")]) == 0
    assert min(image_size(tmp_path / "out" / "presence.png")) > 100
    assert "absent found" in capsys.readouterr().out


def test_crops_that_cut_need_a_model_with_a_square_input(stored, tmp_path, capsys):
    from keras_hourglass.network.model import StackedHourglass

    StackedHourglass(
        num_stacks=1, num_features=8, depth=2, input_shape=(48, 32, 3), skeleton="lsp"
    ).save_to_preset(tmp_path / "high")
    words = ["--model", str(tmp_path / "high"), "--data", "synthetic:6@1", "--cut", "1"]
    assert main(["analyze", "presence", *words, "--out", str(tmp_path / "out")]) == 2
    assert "square input" in capsys.readouterr().err
    words = ["--evaluation", str(stored), "--cut", "1", "--out", str(tmp_path / "again")]
    assert main(["analyze", "presence", *words]) == 2
    assert "--cut looks at other crops" in capsys.readouterr().err


def test_thresholds_are_kept_in_a_preset(preset):
    from keras_hourglass.zoo import load_model, save_thresholds

    save_thresholds(preset, {"left_knee": 0.25})
    assert load_model(preset).thresholds == {"neck": 0.5, "left_knee": 0.25}
    with pytest.raises(UserError, match="tail"):
        save_thresholds(preset, {"tail": 0.5})


def test_confusion(stored, tmp_path):
    found = analyze("confusion", str(stored), tmp_path)
    assert found["kinds"] == {
        "left_eye": [8, 1, 0, 0, 0],
        "nose": [6, 0, 0, 0, 0],
        "right_eye": [8, 1, 0, 0, 0],
    }
    assert found["matrix"] == [[8, 0, 1], [0, 6, 0], [1, 0, 8]]


def test_calibration(stored, tmp_path, capsys):
    found = analyze("calibration", str(stored), tmp_path)
    assert sum(found["count"]) == 24 and 0 <= found["error"] <= 1
    assert "expected calibration error" in capsys.readouterr().out


@pytest.mark.full
def test_sensitivity_of_a_model(preset, tmp_path, capsys):
    words = ["--model", str(preset), "--data", "synthetic:3@5", "--out", str(tmp_path)]
    assert main(["analyze", "sensitivity", *words]) == 0
    rows = json.loads((tmp_path / "sensitivity.json").read_text())["rows"]
    assert rows[0]["change"] == "none" and rows[0]["moved"] == 0
    assert {row["change"] for row in rows} == {"none", "x", "y", "scale"}
    assert image_size(tmp_path / "sensitivity.png")[0] > 200


@pytest.mark.full
def test_a_model_instead_of_a_stored_evaluation(preset, tmp_path):
    words = ["--model", str(preset), "--data", "synthetic:4@5", "--limit", "3"]
    assert main(["analyze", "confusion", *words, "--out", str(tmp_path)]) == 0
    kinds = json.loads((tmp_path / "confusion.json").read_text())["kinds"]
    assert len(kinds) == 14 and max(sum(counts) for counts in kinds.values()) == 3


@pytest.mark.parametrize(
    "words, message",
    [
        (["stacks"], "--evaluation, or --model and --data"),
        (["sensitivity", "--model", "x"], "--model and --data"),
        (["curves", "--evaluation", "nowhere"], "nowhere"),
        (["calibration", "--evaluation", "STORED", "--threshold", "-1"], "threshold"),
    ],
)
def test_mistakes_end_in_one_line(stored, tmp_path, capsys, words, message):
    words = [str(stored) if word == "STORED" else word for word in words]
    assert main(["analyze", *words, "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_predictions_without_scores_or_stacks_are_refused_where_needed(stored, tmp_path, capsys):
    from keras_hourglass.evaluation import Predictions, load_predictions, save_predictions

    whole = load_predictions(stored)
    bare = Predictions(
        whole.records, ("predictions",), whole.keypoints[1:], *[np.full((1, 9, 3), np.nan)] * 2
    )
    save_predictions(bare, tmp_path / "bare.npz")
    for kind in ("stacks", "presence", "calibration"):
        words = ["analyze", kind, "--evaluation", str(tmp_path / "bare.npz")]
        assert main([*words, "--out", str(tmp_path / kind)]) == 2
        assert capsys.readouterr().err.count("\n") == 1
