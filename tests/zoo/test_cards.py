"""Model cards, and the files and records of published weights that must agree with them."""

import json
import pathlib
import re

import pytest
import yaml
from networks import FACTS, save_untrained

from keras_hourglass.errors import WeightsError
from keras_hourglass.io.download import sha256_of
from keras_hourglass.io.images import image_size
from keras_hourglass.network.config import complete
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.zoo.card import card_text
from keras_hourglass.zoo.store import read_manifest, weights_folder

ROOT = pathlib.Path(__file__).resolve().parents[2]
WEIGHTS = weights_folder()
RECORDS = read_manifest()
OF_JOINTS = [name for name, record in RECORDS.items() if record["skeleton"] != "boxes"]
NETWORK = complete(
    {"num_stacks": 2, "num_features": 8, "depth": 2, "input_shape": (48, 32, 3), "skeleton": "lsp"}
)


def card(**facts):
    return card_text(NETWORK, {"card": facts})


def test_sections_stand_in_order_and_the_licence_once():
    text = card(
        licence="Apache-2.0 for the weights; terms of the photographs apply",
        command="keras-hourglass train x",
        hours=1.5,
        metric={"name": "PCK@0.2", "value": 78.61, "data": "LSP 801-1000"},
        limits="Wrists.",
        colour_of_the_sea="blue",
    )
    headings = re.findall(r"^## (.+)$", text, re.M)
    assert headings == [
        "Accuracy", "Where it fails", "Training", "Licence and terms", "Colour of the sea"
    ]  # fmt: skip
    assert "**78.6 %** PCK@0.2 on LSP 801-1000" in text
    assert "| Command | keras-hourglass train x |\n| Hours | 1.5 |" in text
    assert text.startswith("---\nlicense: apache-2.0\n")
    assert text.count("terms of the photographs") == 1


@pytest.mark.parametrize(
    "licence, head",
    [("MIT", "mit"), ("CC-BY-4.0, see there", "cc-by-4.0"), ("mine", "other"), (None, "unknown")],
)
def test_the_head_names_a_known_licence(licence, head):
    facts = {} if licence is None else {"licence": licence}
    assert card(**facts).splitlines()[1] == f"license: {head}"


def test_tables_of_tables():
    stacks = {"stack 1": {"head": 96.0, "ankle": 58.5}, "stack 2": {"head": 97.25, "mean": 78.0}}
    text = card(tables={"by stack": stacks, "small": {"a": {"x": 0.25, "y": "1|2"}}})
    assert "**by stack**\n\n| | head | ankle | mean |\n| --- | ---: | ---: | ---: |\n" in text
    assert "| stack 1 | 96.0 | 58.5 |  |\n| stack 2 | 97.2 |  | 78.0 |\n" in text
    assert "**small**\n\n| | x | y |\n| --- | ---: | ---: |\n| a | 0.250 | 1\\|2 |\n" in text


def test_what_a_run_notes_down_reads_as_words():
    text = card(epoch=6, val_stack_2_pck=0.7464, val_stack_1_source_pck=0.5)
    assert "| Epoch kept | 6 |" in text
    assert "| PCK then, stack 2 (in heatmap pixels, not mirrored) | 74.6 % |" in text
    assert "| PCK then, stack 1 (in source pixels) | 50.0 % |" in text
    assert "val_" not in text


def test_pictures_with_their_notes():
    text = card(failures={"picture": "worst.png", "caption": "The worst.", "notes": ["a", "b"]})
    assert "![worst](worst.png)\n\nThe worst.\n\n- a\n- b\n" in text


def test_thresholds_stand_once():
    thresholds = {"neck": 0.25}
    assert "| neck | 0.25 |" in card_text(NETWORK, {"thresholds": thresholds})
    told = {"text": "As good as guessing.", "table": {"neck": {"threshold": "0.250"}}}
    text = card_text(NETWORK, {"thresholds": thresholds, "card": {"presence": told}})
    assert "| neck | 0.25 |" not in text
    assert "As good as guessing.\n\n| | threshold |" in text


@pytest.fixture
def run(tmp_path):
    """The folder of a training: a preset with recipe and log."""
    folder = pathlib.Path(save_untrained(tmp_path / "run"))
    (folder / "recipe.yaml").write_text("training: {epochs: 2}\n")
    (folder / "log.csv").write_text(
        "epoch,loss,stack_2_pck,val_loss,val_stack_2_pck,val_stack_2_source_pck\n"
        "0,2.5,0.125,3.5,0.25,nan\n1,1.5,0.5,2.5,0.375,0.4\n"
    )
    return folder


@pytest.mark.full
def test_a_run_takes_its_recipe_and_curves_along(run, tmp_path):
    from keras_hourglass.zoo.publish import publish

    root = tmp_path / "weights"
    made = publish(run, "mine", FACTS, folder=root)
    assert (made / "recipe.yaml").read_text() == (run / "recipe.yaml").read_text()
    assert (made / "log.csv").read_text() == (run / "log.csv").read_text()
    assert min(image_size(made / "curves.png")) > 200
    text = (made / "README.md").read_text()
    assert "| Recipe | [recipe.yaml](recipe.yaml) |" in text and "![curves](curves.png)" in text
    # Other weights of the same name do not inherit them.
    for name in ("recipe.yaml", "log.csv"):
        (run / name).unlink()
    publish(run, "mine", FACTS, folder=root)
    assert sorted(path.name for path in made.iterdir()) == [
        "README.md", "config.json", "model.weights.h5"
    ]  # fmt: skip


@pytest.mark.slow
def test_revising_leaves_the_weights_alone(run, tmp_path):
    from keras_hourglass.zoo.publish import publish, revise

    root = tmp_path / "weights"
    made = publish(run, "mine", {**FACTS, "hours": 3}, {"neck": 0.5}, folder=root)
    before = (made / "model.weights.h5").read_bytes()
    metric = {**FACTS["metric"], "value": 62.5}
    revise("mine", {"metric": metric, "hours": None}, {"head_top": 0.25}, folder=root)
    assert (made / "model.weights.h5").read_bytes() == before
    config = json.loads((made / "config.json").read_text())
    assert config["thresholds"] == {"head_top": 0.25} and "hours" not in config["card"]
    assert read_manifest(root)["mine"]["metric"] == metric
    text = (made / "README.md").read_text()
    assert "**62.5 %**" in text and "Hours" not in text and "curves.png" in text
    assert sha256_of(made / "model.weights.h5") in text
    with pytest.raises(WeightsError, match="does not list. Publish"):
        revise("yours", {}, folder=root)


@pytest.mark.parametrize("name", RECORDS)
def test_card_manifest_and_readme_agree(name):
    record, folder = RECORDS[name], WEIGHTS / name
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    text = (folder / "README.md").read_text(encoding="utf-8")
    measured = sha256_of(folder / "model.weights.h5")
    size = (folder / "model.weights.h5").stat().st_size
    assert measured == record["sha256"] == config["weights"]["sha256"]
    assert size == record["size"] == config["weights"]["size"]
    architecture = config.pop("architecture")
    assert text == card_text(architecture, config), "run keras_hourglass.zoo.publish.revise"
    assert measured in text and record["licence"] in text
    for field in ("metric", "command", "architecture", "training_data"):
        assert config["card"][field] == record[field], field
    metric = record["metric"]
    assert f"**{metric['value']:.1f} %** {metric['name']} on {metric['data']}" in text
    if record["skeleton"] == "boxes":
        check_detector(config["card"], metric)
    else:
        check_joints(config["card"], architecture, metric)
    # The tables of the two pages for people say the same.
    row = rf"`{name}`.*\| {metric['value']:.1f}\b"
    for page in (ROOT / "README.md", WEIGHTS / "README.md"):
        if page.is_file():
            assert re.search(row, page.read_text(encoding="utf-8")), page
    for picture in re.findall(r"!\[.*?\]\((.+?)\)", text):
        assert (folder / picture).stat().st_size < 150_000


def check_detector(card, metric):
    """The detectors' table has the figure of the head in the row of the network itself."""
    [rows] = card["tables"].values()
    assert rows[card["name"]]["recall, %"] == metric["value"]
    assert all({"AP50, %", "MB", "ms"} < set(row) for row in rows.values())


def check_joints(card, architecture, metric):
    """The tables of joints and stacks have the figure of the head."""
    assert card["figures"][metric["data"]][metric["name"]] == metric["value"]
    groups, joints = card["tables"].values()
    last = f"stack {architecture['num_stacks']}"
    assert groups[last]["mean"] == metric["value"]
    # Every joint is counted as often on LSP: the mean of the joints is the mean.
    if metric["data"].startswith("LSP"):
        mean = sum(row[last] for row in joints.values()) / len(joints)
        assert mean == pytest.approx(metric["value"], abs=0.06)


@pytest.mark.parametrize("name", OF_JOINTS)
def test_recipes_of_published_weights_build_their_network(name):
    path = WEIGHTS / name / "recipe.yaml"
    recipe = load_recipe(path)
    config = json.loads((WEIGHTS / name / "config.json").read_text(encoding="utf-8"))
    built = complete({"skeleton": config["architecture"]["skeleton"], **recipe.model})
    wanted = complete(config["architecture"])
    assert built == wanted
    assert recipe.data.sigma == config["preprocessing"]["sigma"]
    # Resolved: values are written down, so that it does not change with the package's recipes.
    stored = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert set(stored) == set(recipe.to_dict())
    assert stored["training"]["precision"] != "auto"
    hardware = config["card"]["hardware"]
    assert "bfloat16" not in hardware or stored["training"]["precision"] == "mixed_bfloat16"


@pytest.mark.parametrize("name", OF_JOINTS)
def test_the_command_of_a_card_trains_its_recipe(name):
    """One command makes the weights again: the recipe it names is the stored one."""
    words = RECORDS[name]["command"].split()
    place = words.index("train")
    assert words[:place] in (["keras-hourglass"], ["KERAS_BACKEND=jax", "keras-hourglass"])
    overrides = [words[i + 1] for i, word in enumerate(words) if word == "--set"]
    named = load_recipe(words[place + 1], overrides).to_dict()
    stored = load_recipe(WEIGHTS / name / "recipe.yaml").to_dict()
    if named["training"]["precision"] == "auto":  # the stored one says what it was there
        named["training"]["precision"] = stored["training"]["precision"]
    if named["data"]["workers"] == "auto":  # as many as are useful; the batches are the same
        named["data"]["workers"] = stored["data"]["workers"]
    assert named == stored


def test_pictures_of_the_zoo_are_there_and_small():
    page = (WEIGHTS / "README.md").read_text(encoding="utf-8")
    found = re.findall(r"!\[.*?\]\((.+?)\)", page)
    assert "figures.png" in found
    for picture in found:
        assert (WEIGHTS / picture).stat().st_size < 300_000
