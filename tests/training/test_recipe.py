"""Recipes: what is refused, and how it is said."""

import dataclasses

import pytest
import yaml

from keras_hourglass.errors import RecipeError
from keras_hourglass.training.recipe import RECIPES, load_recipe, save_recipe
from keras_hourglass.training.sections import Recipe

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def test_defaults_are_complete_and_survive_yaml(tmp_path):
    recipe = load_recipe({"optimizer": {"learning_rate": "1e-3"}})
    assert recipe.optimizer.learning_rate == 0.001
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    values = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert set(values) == {field.name for field in dataclasses.fields(Recipe)}
    assert values["augmentation"]["rotation_limit"] is None


@pytest.mark.parametrize(
    "values, path",
    [
        ({"trainig": {}}, "trainig"),
        ({"training": {"epoch": 3}}, "training.epoch"),
        ({"training": {"epochs": "many"}}, "training.epochs"),
        ({"training": {"epochs": True}}, "training.epochs"),
        ({"training": {"epochs": 0}}, "training.epochs"),
        ({"training": {"batch_size": 2.5}}, "training.batch_size"),
        ({"training": {"precision": "float8"}}, "training.precision"),
        ({"training": {"stack_weights": [1]}}, "training.stack_weights"),
        ({"training": {"stack_weights": [1, "2"]}}, "training.stack_weights"),
        ({"training": {"frozen": ["stem"]}}, "training.frozen"),
        ({"training": {"frozen": ["stem"], "frozen_epochs": 101}}, "training.frozen_epochs"),
        ({"training": {"devices": "two"}}, "training.devices"),
        (
            {"training": {"devices": "all", "jit_compile": True, "precision": "mixed_float16"}},
            "training.jit_compile",
        ),
        ({"optimizer": {"learning_rate": -1}}, "optimizer.learning_rate"),
        ({"optimizer": {"learning_rate": float("nan")}}, "optimizer.learning_rate"),
        ({"schedule": {"name": "plateau"}}, "schedule.name"),
        ({"schedule": {"early_stopping": 3}}, "schedule.early_stopping"),
        ({"schedule": {"divide_by": 1.0}}, "schedule.divide_by"),
        ({"schedule": {"name": "step"}}, "schedule.name"),
        ({"schedule": []}, "schedule"),
        ({"data": {"train": None}}, "data.train"),
        ({"data": {"train": [3]}}, "data.train"),
        ({"data": {"missing": "skip"}}, "data.missing"),
        ({"augmentation": {"preset": "wild"}}, "augmentation.preset"),
        ({"augmentation": {"flip": 2.0}}, "augmentation"),
        ({"monitoring": {"profile": [5]}}, "monitoring.profile"),
        ({"model": {"num_stack": 2}}, "model"),
        ({"model": {"input_shape": [100, 64, 3]}}, "model"),
        ({"model": {"preset": "no_such_preset"}}, "model"),
        ({"model": {"preset": "hourglass_tiny", "num_features": 32}}, "model.num_features"),
    ],
)
def test_a_mistake_is_refused_with_its_key(values, path):
    with pytest.raises(RecipeError) as caught:
        load_recipe(values)
    assert str(caught.value).startswith(path + ":"), str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_impossible_size_says_what_fits():
    with pytest.raises(RecipeError, match="multiples of 64.*128"):
        load_recipe({"model": {"input_shape": [100, 128, 3]}})


def test_overrides():
    overrides = ["training.epochs=7", "optimizer.options.clipnorm=0.5", "data.train=[a:b, c:d]"]
    recipe = load_recipe({"training": {"seed": 3}}, [*overrides, "optimizer.learning_rate=1e-5"])
    assert recipe.training.epochs == 7 and recipe.training.seed == 3
    assert recipe.optimizer.options == {"clipnorm": 0.5}
    assert recipe.data.train == ["a:b", "c:d"] and recipe.optimizer.learning_rate == 1e-5


@pytest.mark.parametrize("override", ["epochs", "=3", "training..epochs=3", "training.epochs.x=3"])
def test_overrides_that_are_none(override):
    with pytest.raises(RecipeError):
        load_recipe({"training": {"epochs": 2}}, [override])


def test_a_dict_is_not_changed_by_overrides():
    values = {"training": {"epochs": 2}}
    load_recipe(values, ["training.epochs=5"])
    assert values == {"training": {"epochs": 2}}


@pytest.mark.parametrize("text", ["", "- a\n", "a: [", "\x00"])
def test_files_that_are_no_recipe(tmp_path, text):
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(RecipeError, match=r"recipe\.yaml"):
        load_recipe(path)


def test_a_missing_file_lists_the_recipes():
    with pytest.raises(RecipeError, match="lsp_small"):
        load_recipe("no_such_recipe")


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_load_and_open_with_their_command(name):
    recipe = load_recipe(name)
    head = (RECIPES / f"{name}.yaml").read_text(encoding="utf-8").split("\nmodel:")[0]
    commands = (f"keras-hourglass train {name}", "keras-hourglass ablate", "make demo")
    assert any(command in head for command in commands)
    for word in ("Hardware:", "Time:", "Result:"):
        assert word in head, word
    assert recipe.augmentation.preset in ("newell", "paper", "sports", "scenes", "none")


def test_figure_8_recipes_differ_in_one_section():
    recipes = {name: load_recipe(name).to_dict() for name in SHIPPED if name.startswith("figure8")}
    assert len(recipes) == 5
    first, *others = recipes.values()
    for other in others:
        assert {key for key in first if first[key] != other[key]} == {"model"}
