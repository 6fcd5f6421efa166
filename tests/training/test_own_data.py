"""Training on a few pictures of one's own: what is held out, how large batches are."""

import types

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.errors import RecipeError
from keras_hourglass.training.batches import (
    Feeder,
    _sizes,
    build_data,
    held_out_share,
    hold_out,
)
from keras_hourglass.training.distribution import Layout
from keras_hourglass.training.recipe import load_recipe, recipe_titles
from keras_hourglass.training.run import Run


def sizes(people, size="auto", steps="auto", devices=1):
    training = types.SimpleNamespace(batch_size=size, steps_per_epoch=steps)
    return _sizes(training, people, Layout(devices, 0, 1))


def test_few_people_get_small_batches_and_many_steps(capsys):
    # A tenth of the people, 4 to 16; a pass over them, and 25 steps at least.
    assert sizes(1) == (4, 25)
    assert sizes(16) == (4, 25)
    assert sizes(119) == (11, 25)
    assert sizes(1000) == (16, 63)
    assert sizes(119, devices=4) == (12, 25)
    said = capsys.readouterr().err.splitlines()
    assert said[1] == (
        "note: batches of 4 and 25 of them in an epoch, for 16 people "
        "(training.batch_size, training.steps_per_epoch)"
    )
    assert sizes(1000, size=6, steps=None) == (6, None)
    assert sizes(1000, steps=None)[1] is None and sizes(90, size=6) == (6, 25)
    assert len(capsys.readouterr().err.splitlines()) == 2


def test_a_share_of_the_pictures_is_held_out_with_all_their_people():
    records = synthetic_records(10, 3, 64)
    names = [f"{index // 2}.png" for index in range(10)]  # two people a picture
    records = records.with_columns(images=np.array(names))
    train, held = hold_out(records, 0.4)
    # Two of five pictures, from the middle of each half: 1.25 and 3.75.
    assert sorted(set(held.images)) == ["1.png", "3.png"] and len(held) == 4
    assert sorted(set(train.images)) == ["0.png", "2.png", "4.png"] and len(train) == 6
    assert len(set(hold_out(records, 0.01)[1].images)) == 1
    assert len(set(hold_out(records, 0.99)[0].images)) == 1
    with pytest.raises(RecipeError, match=r"data.validation: .*two of them. Received: 1"):
        hold_out(records.select([0, 1]), 0.2)


def test_shares_are_told_from_data_sets():
    assert held_out_share("20%") == 0.2 and held_out_share(" 12.5 %") == 0.125
    for other in ("lsp:lsp_dataset", ["20%"], None, "20"):
        assert held_out_share(other) is None
    for wrong in ("0%", "100%", "250%"):
        with pytest.raises(RecipeError, match=f"between 0 and 100 %. Received: {wrong}"):
            held_out_share(wrong)


def test_nobody_is_trained_on_who_validates():
    values = {
        "model": {"num_stacks": 1, "num_features": 8, "depth": 1, "input_shape": [64, 64, 3]},
        "data": {"train": "synthetic:15@1x64", "validation": "20%"},
        "training": {"batch_size": "auto", "steps_per_epoch": "auto"},
    }
    train, held = build_data(load_recipe(values))
    assert (len(train.records), len(held.records)) == (12, 3)
    assert not set(train.records.images) & set(held.records.images)
    assert (train.batch_size, len(train), held.batch_size) == (4, 25, 3)


def test_pictures_in_memory_go_when_a_training_ends():
    """Of many trainings in one process, as `ablate` has them, each kept its own until then."""
    recipe = load_recipe(
        {
            "model": {"num_stacks": 1, "num_features": 8, "depth": 1, "input_shape": [64, 64, 3]},
            "data": {"train": "synthetic:10@1x64", "validation": "20%", "cache": True},
            "training": {"batch_size": 4},
        }
    )
    sets = build_data(recipe)
    with Feeder(recipe.data, *sets):
        for one in sets:
            one.batch(0)
        before = [len(one._cache) for one in sets]
    assert before == [4, 2] and [len(one._cache) for one in sets] == [0, 0]
    # They can be read again.
    assert sets[1].batch(0)[0].shape == (2, 64, 64, 3) and len(sets[1]._cache) == 2


@pytest.mark.parametrize(
    "training, frozen",
    [
        ({}, ()),
        ({"frozen_epochs": 2}, ("stem",)),
        ({"frozen_epochs": 2, "frozen": ["hourglass_1"]}, ("hourglass_1",)),
    ],
)
def test_one_key_freezes_the_stem(tmp_path, training, frozen):
    assert Run(load_recipe({"training": training}), tmp_path / "run").frozen == frozen


@pytest.mark.parametrize("value", (0, -1, 2.5, "many", None, True))
def test_batch_sizes_are_numbers_or_auto(value):
    with pytest.raises(RecipeError, match=r"training.batch_size: needs a positive int, or auto"):
        load_recipe({"training": {"batch_size": value}})


def test_recipes_are_listed_and_shown(capsys):
    assert main(["recipes"]) == 0
    listed = capsys.readouterr().out.splitlines()
    assert listed[0].split() == "custom_finetune Pictures of your own, starting from a".split() + [
        "trained",
        "network",
    ]
    assert all(recipe_titles().values()) and len(listed) == len(recipe_titles()) + 2
    assert main(["recipes", "lsp_small"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("#") and "\nmodel:" in shown
    assert main(["recipes", "lsp_smal"]) == 2
    assert "Did you mean 'lsp_small'?" in capsys.readouterr().err


def test_train_without_recipe_and_data_says_what_it_needs(capsys, tmp_path):
    assert main(["train", "--out", str(tmp_path / "run")]) == 2
    assert "needs a recipe or data of your own" in capsys.readouterr().err
    assert main(["train", "--data", "nowhere.json", "--out", str(tmp_path / "run")]) == 2
    assert "nowhere.json" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_pictures_elsewhere_and_mirrored_joints_are_said_as_to_other_commands(
    tmp_path, monkeypatch
):
    from keras_hourglass.training import run

    asked = []
    monkeypatch.setattr(run, "train", lambda recipe, *_, **__: asked.append(recipe.data))
    (tmp_path / "mine.json").write_text("{}")
    words = ["train", "--data", str(tmp_path / "mine.json"), "--out", str(tmp_path / "run")]
    assert main([*words, "--images", "pictures: here", "--pairs", "gauche=droite,3=4"]) == 0
    assert main(words) == 0
    assert [(data.images, data.pairs) for data in asked] == [
        ("pictures: here", "gauche=droite,3=4"),
        (None, None),
    ]
