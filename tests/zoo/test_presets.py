"""Presets: rows of data, preset folders, other joints, cards and the command line."""

import json
import logging
import pathlib
import re
import subprocess
import sys

import numpy as np
import pin_presets
import pytest
from networks import FACTS, distinct
from pin_presets import PINNED, pin

from keras_hourglass import StackedHourglass
from keras_hourglass.cli import main
from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.network.graph import Graph
from keras_hourglass.zoo import store as presets
from keras_hourglass.zoo import weights


def small(**options):
    options = {"num_stacks": 2, "skeleton": "lsp", **options}
    return StackedHourglass(None, num_features=8, depth=2, input_shape=(48, 32, 3), **options)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).integers(0, 256, (3, 48, 32, 3), "uint8")


@pytest.fixture(scope="module")
def model():
    return distinct(small())


@pytest.fixture
def folder(model, tmp_path):
    model.save_to_preset(
        tmp_path / "saved",
        preprocessing={"padding": 1.25, "sigma": 1.0},
        thresholds={"neck": 0.25, "left_knee": 0.1},
        card={"name": "A test", "licence": "apache-2.0", "metric": {"mean PCK@0.2": 65.4321}},
    )
    return tmp_path / "saved"


def agree(one, other, images, tolerance=0.0):
    one, other = one.predict(images, verbose=0), other.predict(images, verbose=0)
    assert list(one) == list(other)
    for name in one:
        np.testing.assert_allclose(one[name], other[name], atol=tolerance, rtol=0)


@pytest.mark.slow
def test_a_folder_gives_the_same_model(model, folder, images):
    loaded = StackedHourglass.from_preset(folder)
    agree(model, loaded, images)
    assert loaded.skeleton == model.skeleton
    assert loaded.preprocessing == {"padding": 1.25, "sigma": 1.0}
    assert loaded.thresholds == {"neck": 0.25, "left_knee": 0.1}
    assert not loaded.compiled
    card = (folder / "README.md").read_text()
    assert "# A test" in card and "| mean PCK@0.2 | 65.43 |" in card and "right_ankle" in card
    # Saved again, nothing is lost.
    loaded.save_to_preset(folder.with_name("again"))
    assert (folder.with_name("again") / "config.json").read_text() == (
        folder / "config.json"
    ).read_text()


@pytest.mark.slow
def test_a_keras_file_gives_the_same_model(model, images, tmp_path):
    model.save(tmp_path / "a.keras")
    agree(model, presets.load_model(tmp_path / "a.keras"), images)


@pytest.mark.slow
def test_precision_is_for_the_loader_to_choose(folder, images):
    loaded = presets.load_model(folder, dtype="mixed_bfloat16", input_shape=(32, 48, 3))
    assert loaded.get_layer("hourglass_1").compute_dtype == "bfloat16"
    heatmaps = loaded.predict(images.transpose(0, 2, 1, 3), verbose=0)
    assert heatmaps["stack_2"].shape == (3, 8, 12, 14)
    assert heatmaps["stack_2"].dtype == np.float32
    with pytest.raises(UserError, match="Received: num_stacks"):
        presets.load_model(folder, num_stacks=4)


def test_a_preset_is_not_overwritten_unless_told(model, folder):
    with pytest.raises(UserError, match="already holds a preset"):
        model.save_to_preset(folder)
    model.save_to_preset(folder, overwrite=True, dtype="float16")
    (folder / "run.log").write_text("kept")
    model.save_to_preset(folder, overwrite=True)
    assert (folder / "run.log").read_text() == "kept"


def test_joints_of_the_same_name_keep_their_weights(model, folder, caplog):
    with caplog.at_level(logging.INFO, "keras_hourglass"):
        loaded = presets.load_model(folder, skeleton="coco")
    old, new = weights.arrays_of(model), weights.arrays_of(loaded)
    lsp, coco = model.skeleton.index, loaded.skeleton.index
    for stack in (1, 2):
        for part, last in (("kernel", 17), ("bias", 17)):
            name = f"supervision_{stack}/heatmaps/{part}"
            assert new[name].shape[-1] == last
            for joint in ("left_wrist", "right_ankle"):
                before, after = old[name][..., lsp(joint)], new[name][..., coco(joint)]
                np.testing.assert_array_equal(before, after)
            assert not np.isin(new[name][..., coco("nose")], old[name]).any()
    name = "supervision_1/merge_heatmaps/kernel"
    np.testing.assert_array_equal(
        old[name][:, :, lsp("right_elbow")], new[name][:, :, coco("right_elbow")]
    )
    rest = [name for name in old if not ("/heatmaps/" in name or name.endswith("heatmaps/kernel"))]
    assert all(np.array_equal(old[name], new[name]) for name in rest)
    said = caplog.text
    assert "12 of 17 keep their weights" in said and "new: nose, left_eye" in said
    assert loaded.thresholds == {"left_knee": 0.1}
    assert loaded.preprocessing == model.preprocessing or loaded.preprocessing["sigma"] == 1.0
    assert "card" not in loaded.metadata


@pytest.mark.slow
def test_another_number_of_joints_without_names(model, folder, caplog):
    loaded = presets.load_model(folder, num_keypoints=3)
    assert loaded.num_keypoints == 3 and loaded.skeleton is None
    assert "0 of 3 keep their weights" in caplog.text
    assert presets.load_model(folder, num_keypoints=14).skeleton == model.skeleton
    with pytest.raises(UserError, match="Leave one of the two out"):
        presets.load_model(folder, num_keypoints=3, skeleton="coco")


@pytest.mark.slow
def test_from_scratch(folder, images):
    fresh = presets.load_model(folder, load_weights=False)
    assert fresh.num_keypoints == 14
    other = presets.load_model("hourglass_tiny", load_weights=False, num_keypoints=4)
    assert other.output["stack_1"].shape == (None, 32, 32, 4)
    with pytest.raises(WeightsError, match="no trained weights.*load_weights=False"):
        presets.load_model("hourglass_8s")


def test_what_is_not_a_model_is_refused(folder, tmp_path):
    with pytest.raises(UserError, match="No such preset, folder or .keras file"):
        presets.load_model("hourglass_3s")
    with pytest.raises(UserError, match="without config.json"):
        presets.load_model(tmp_path)
    with pytest.raises(UserError, match="weights alone"):
        presets.load_model(folder / "model.weights.h5")
    config = json.loads((folder / "config.json").read_text())
    config["architecture"]["colour"] = "red"
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(UserError, match="does not know. Received: colour"):
        presets.load_model(folder)
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="Cannot read the preset's config .*config.json"):
        presets.load_model(folder)
    (tmp_path / "b.keras").write_bytes(b"PK no")
    with pytest.raises(WeightsError, match="Cannot read the .keras file .*b.keras"):
        presets.load_model(tmp_path / "b.keras")


def test_a_checksum_in_the_config_is_held_to(model, folder):
    config = json.loads((folder / "config.json").read_text())
    config["weights"] = {"sha256": "0" * 64}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(WeightsError, match="damaged or was changed"):
        presets.load_model(folder)


@pytest.mark.slow
def test_publishing(folder, tmp_path, monkeypatch, capsys, images):
    from keras_hourglass.zoo.publish import publish

    with pytest.raises(WeightsError, match=r"Received none of: licence \(terms of the weights\)"):
        publish(folder, "mine", {k: v for k, v in FACTS.items() if k != "licence"})
    root = tmp_path / "weights"
    made = publish(folder, "mine", {**FACTS, "hours": 3}, folder=root)
    assert sorted(path.name for path in made.iterdir()) == [
        "README.md",
        "config.json",
        "model.weights.h5",
    ]
    assert "**12.5 %** mean PCK@0.2 on nothing" in (made / "README.md").read_text()
    # The package finds it by name.
    monkeypatch.setattr(presets, "weights_folder", lambda: root)
    agree(presets.load_model("mine"), presets.load_model(made), images)
    assert main(["list"]) == 0
    assert "mean PCK@0.2 12.5 % on nothing" in capsys.readouterr().out
    assert main(["info", "mine"]) == 0
    told = capsys.readouterr().out
    assert "apache-2.0" in told and "keras-hourglass train x.yaml" in told
    weights_file = made / "model.weights.h5"
    weights_file.write_bytes(weights_file.read_bytes()[:-1] + b"?")
    for source in ("mine", made):
        with pytest.raises(WeightsError, match="damaged or was changed"):
            presets.load_model(source)


def flip_the_last_byte(folder):
    path = folder / "model.weights.h5"
    path.write_bytes(path.read_bytes()[:-1] + b"?")


def cut_in_half(folder):
    path = folder / "model.weights.h5"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def take_other_weights(folder):
    """As many bytes, readable, of the same network: only the checksum tells."""
    other = small()
    weights.save_weights(other, folder / "model.weights.h5", dtype="float16")


def take_the_config_of_other_weights(folder):
    config = json.loads((folder / "config.json").read_text())
    config["weights"]["sha256"] = "0" * 64
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (flip_the_last_byte, "mine.model.weights.h5 is damaged or was changed: its sha256 must be"),
        (
            cut_in_half,
            r"mine.model.weights.h5 is damaged: it must have \d+ bytes. Received: \d+",
        ),
        (take_other_weights, "mine.model.weights.h5 is damaged or was changed: its sha256 must be"),
        (take_the_config_of_other_weights, "config.json is of another version of mine: .* sha256"),
    ],
)
def test_shipped_weights_that_are_not_the_published_ones(
    spoil, message, folder, tmp_path, monkeypatch, capsys
):
    from keras_hourglass import Predictor
    from keras_hourglass.io.images import write_image
    from keras_hourglass.zoo.publish import publish

    root = tmp_path / "weights"
    made = publish(folder, "mine", FACTS, folder=root)
    monkeypatch.setattr(presets, "weights_folder", lambda: root)
    assert presets.load_model("mine").num_keypoints == 14
    spoil(made)
    files = sorted(made.iterdir())
    for load in (presets.load_model, presets.load_snapshot, Predictor):
        with pytest.raises(WeightsError, match=message):
            load("mine")
    # On the command line it is one line, and no folder is left behind.
    write_image(str(tmp_path / "a.png"), np.zeros((48, 32, 3), np.uint8))
    out = tmp_path / "poses"
    assert main(["predict", "--model", "mine", str(tmp_path / "a.png"), "--out", str(out)]) == 2
    [line] = capsys.readouterr().err.strip().splitlines()
    assert re.search(message, line)
    assert not out.exists() and sorted(made.iterdir()) == files


@pytest.mark.slow
def test_presets_are_pinned_as_contributing_says(tmp_path):
    """By the command, in a process of its own; what it does not name stays."""
    script = pathlib.Path(pin_presets.__file__)
    copy = tmp_path / "tests" / "helpers" / script.name
    target = tmp_path / "tests" / "zoo" / PINNED.name
    for folder in (copy.parent, target.parent):
        folder.mkdir(parents=True)
    copy.write_text(script.read_text())
    pinned = json.loads(PINNED.read_text())
    target.write_text(json.dumps({**pinned, "hourglass_tiny": {}, "gone": {}, "hourglass_1s": 7}))
    subprocess.run([sys.executable, copy, "hourglass_tiny"], check=True, timeout=300)
    assert json.loads(target.read_text()) == {**pinned, "hourglass_1s": 7}


def test_counts_of_all_presets():
    pinned = json.loads(PINNED.read_text())
    assert sorted(pinned) == sorted(presets.PRESETS)
    for name, row in presets.PRESETS.items():
        graph = Graph(row["architecture"])
        assert (graph.trainable, graph.fixed) == (pinned[name]["trainable"], pinned[name]["fixed"])
    # From the published networks, with 16 joints.
    published = {1: 3_586_960, 2: 6_730_912, 4: 13_018_816, 8: 25_594_624}
    for stacks, count in published.items():
        assert pinned[f"hourglass_{stacks}s_bearpaw"]["trainable"] == count


@pytest.mark.slow
@pytest.mark.parametrize("name", ["hourglass_1s_paper_flic", "hourglass_tiny"])
def test_names_and_shapes(name):
    assert pin(name) == json.loads(PINNED.read_text())[name]


@pytest.mark.full
@pytest.mark.parametrize("name", sorted(presets.PRESETS))
def test_names_and_shapes_of_all_presets(name):
    assert pin(name) == json.loads(PINNED.read_text())[name]


def test_the_ablations_are_comparable():
    count = {name: presets.describe(name)["parameters"] for name in presets.PRESETS}
    assert abs(count["ablation_hg"] / count["hourglass_2s"] - 1) < 0.05
    assert count["ablation_hg_stacked"] < count["ablation_hg_stacked_int"]
    assert count["ablation_hg_stacked_add"] == count["hourglass_2s"]
    assert count["hourglass_tiny"] <= 500_000


def test_list_and_info(capsys):
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert {line.split()[0] for line in lines[1:]} >= set(presets.PRESETS)
    assert main(["info", "hourglass_2s_bearpaw"]) == 0
    told = capsys.readouterr().out
    assert "6,730,912" in told and "256×256" in told and "mpii" in told
    assert main(["info", "hourglass_2s", "--json"]) == 0
    assert round(json.loads(capsys.readouterr().out)["gflops"], 1) == 16.7
    assert main(["info", "hourglass_9s"]) == 2
    assert "No such preset. Received: hourglass_9s" in capsys.readouterr().err


@pytest.mark.slow
def test_info_takes_what_predict_takes(tmp_path, capsys):
    model = StackedHourglass(5, 1, 12, input_shape=(64, 128, 3), num_blocks=1, depth=2)
    model.save_to_preset(tmp_path / "mine")
    model.save(tmp_path / "mine.keras")
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    for source in (tmp_path / "mine", tmp_path / "mine.keras"):
        assert main(["info", str(source)]) == 0
        told = capsys.readouterr().out
        assert "64×128" in told and f"{count:,} trainable" in told and "one's own" in told
        assert main(["info", str(source), "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["num_keypoints"] == 5
    (tmp_path / "empty").mkdir()
    assert main(["info", str(tmp_path / "empty")]) == 2
    assert "without config.json" in capsys.readouterr().err
