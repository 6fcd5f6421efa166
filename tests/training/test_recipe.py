"""Recipes: what is refused, and how it is said."""

import dataclasses

import pytest
import yaml

from keras_hourglass.data.augment import Augmentation
from keras_hourglass.errors import RecipeError
from keras_hourglass.training.recipe import RECIPES, Recipe, load_recipe, save_recipe

SHIPPED = sorted(path.stem for path in RECIPES.glob("*.yaml"))


def test_defaults_are_complete_and_survive_yaml(tmp_path):
    recipe = load_recipe({"optimizer": {"learning_rate": "1e-3"}})
    assert recipe.optimizer.learning_rate == 0.001
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe
    values = yaml.safe_load((tmp_path / "recipe.yaml").read_text())
    assert set(values) == set(Recipe.model_fields)
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
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "values, message",
    [
        ({"trainig": {}}, "trainig: no such key. Did you mean 'training'? Choose one of model, "),
        ({"schedule": {"warmpu": 1}}, "schedule.warmpu: no such key. Did you mean 'warmup'?"),
        # The misspelt key is told before what is wrong with others.
        ({"training": {"epochs": "x", "sed": 1}}, "training.sed: no such key. Did you mean 'seed'"),
        ({"training": {3: 1}}, "training.3: no such key. Choose one of epochs, batch_size, "),
        ({"model": {"num_stack": 2}}, "model: A network has the arguments num_keypoints, "),
        ({"training": {"epochs": "many"}},
         "training.epochs: needs int. Received: 'many'. The default is 100."),
        ({"training": {"widen": 3}}, "training.widen: needs str or nothing. Received: 3."),
        ({"training": {"frozen": ["stem", 4]}},
         "training.frozen: needs list of str or nothing. Received: 4."),
        ({"optimizer": {"learning_rate": 0}},
         "optimizer.learning_rate: must be positive. Received: 0. The default is 0.00025."),
        ({"optimizer": {"learning_rate": 1e23}},
         "optimizer.learning_rate: must be at most 1e+06. Received: 1e+23. The default is "),
        ({"model": {"input_shape": [16384, 16384, 3]}},
         "model: Inputs have at most 16,777,216 pixels in all. Received: 268,435,456 by "),
        ({"model": {"preset": "hourglass_tiny", "input_shape": [16384, 16384, 3]}},
         "model: Inputs have at most 16,777,216 pixels in all. Received: 268,435,456 by "),
        ({"optimizer": {"learning_rate": 10**400}}, "optimizer.learning_rate: needs float. "),
        ({"optimizer": {"loss_scale": float("inf")}}, "optimizer.loss_scale: must be finite. "),
        ({"optimizer": {"loss_scale": 1e300}}, "optimizer.loss_scale: must be at most 1e+09. "),
        ({"training": {"batch_size": 65_537}},
         "training.batch_size: must be at most 65536. Received: 65537. The default is 6."),
        ({"data": {"sigma": "1e300"}}, "data.sigma: must be at most 100. Received: '1e300'"),
        ({"data": {"sigma": 1e-300}}, "data.sigma: must be at least 0.1. Received: 1e-300"),
        ({"data": {"workers": 10**6}}, "data.workers: must be at most 256. Received: 1000000"),
        ({"schedule": {"divide_by": 1e300}}, "schedule.divide_by: must be at most 1e+06. "),
        ({"training": {"epochs": "1e-1"}}, "training.epochs: needs int. Received: '1e-1'"),
        ({"augmentation": {"scale": 1e300}}, "augmentation: `scale` must be at most 8. "),
        ({"model": {"scale": 0}}, "model: Expected `scale` to be a number other than 0"),
        ({"model": {"hourglass": {"upper": 5}}}, "model: Expected `hourglass` to be a table"),
        ({"model": {"metadata": {"preprocessing": 5}}}, "model: Expected `metadata` to be a table"),
        ({"model": {"metadata": {"thresholds": {"a": "b"}}}}, "model: Expected `metadata` to be"),
        ({"training": {"seed": -1}}, "training.seed: must not be negative. Received: -1."),
        # NumPy has no such seed, and says so in the middle of the training.
        ({"training": {"seed": 4294967296}},
         "training.seed: must be below 2**32. Received: 4294967296. The default is 1."),
        ({"schedule": {"divide_by": 1}}, "schedule.divide_by: must be above 1. Received: 1. "),
        ({"training": {"precision": "bfloat16"}},
         "training.precision: must be one of auto, float32, mixed_float16, mixed_bfloat16. "
         "Received: 'bfloat16'. Did you mean 'mixed_bfloat16'?"),
        ({"data": {"missing": 0}}, "data.missing: must be one of zero, ignore. Received: 0. The "),
        ({"schedule": []}, "schedule: a section of keys is needed. Received: []. It has name, "),
        ({"model": {"preset": 3}}, "model.preset: needs the name of a preset or its folder. "),
    ],
)  # fmt: skip
def test_messages(values, message):
    with pytest.raises(RecipeError) as caught:
        load_recipe(values)
    assert str(caught.value).startswith(message), str(caught.value)


LONG = "x" * 999


@pytest.mark.parametrize(
    "values",
    [
        {LONG: 1},
        {"training": {LONG: 1}},
        {"training": {"epochs": [LONG]}},
        {"training": {"frozen": [LONG]}},
        {"training": {"widen": LONG, "weights": LONG}},
        {"data": {"train": [LONG, 3]}},
        {"schedule": {"early_stopping": 10**400}},
        {"augmentation": {"distribution": LONG}},
        {"model": {"stem": LONG}},
        {"model": {"preset": LONG}},
        {"model": {LONG: 1, "two\nlines": 2}},
        {"model": {"preset": "hourglass_tiny", LONG: 1}},
    ],
)
def test_a_message_stays_one_short_line_whatever_is_received(values):
    with pytest.raises(RecipeError) as caught:
        load_recipe(values)
    assert len(str(caught.value)) < 300 and "\n" not in str(caught.value)


def test_what_is_free_text_and_what_a_number(tmp_path):
    """YAML 1.1 reads 1e-3 as text."""
    path = tmp_path / "recipe.yaml"
    path.write_text(
        """
model: {scale: 1e-2, offset: [-5E-1, 2, 0], preset: null, metadata: {card: {version: 1e3}}}
optimizer: {learning_rate: 1e-3, options: {clipnorm: 1e-1, name: 1e3, a: {b: [2.5e1, "12"]}}}
training: {weights: 1e3, stack_weights: [1e-1, 1]}
"""
    )
    recipe = load_recipe(path, ["optimizer.options.clipvalue=inf", "training.widen=null"])
    assert recipe.model == {
        "scale": 0.01, "offset": [-0.5, 2, 0], "preset": None,
        "metadata": {"card": {"version": "1e3"}},
    }  # fmt: skip
    assert recipe.optimizer.learning_rate == 0.001
    assert recipe.optimizer.options == {
        "clipnorm": 0.1, "name": "1e3", "a": {"b": [25.0, "12"]}, "clipvalue": float("inf"),
    }  # fmt: skip
    assert recipe.training.weights == "1e3" and recipe.training.stack_weights == [0.1, 1]
    whole = load_recipe({}, ["training.epochs=2e1", "training.batch_size=1E1", "training.seed=010"])
    assert (whole.training.epochs, whole.training.batch_size) == (20, 10)
    assert whole.training.seed == 10 and type(whole.training.epochs) is int
    by_hand = load_recipe({}, ["training.weights=1e3", "data.train=[1e3, a:b]"])
    assert by_hand.training.weights == "1e3" and by_hand.data.train == ["1e3", "a:b"]
    save_recipe(recipe, path)
    assert load_recipe(path) == recipe


def test_nothing_in_a_recipe_can_be_changed():
    recipe = load_recipe({})
    for owner, key in ((recipe, "model"), (recipe.training, "epochs")):
        with pytest.raises(ValueError, match="frozen"):
            setattr(owner, key, 3)
    shorter = recipe.changed("training", epochs=3)
    assert shorter.training.epochs == 3 and recipe.training.epochs == 100
    assert shorter.training.seed == recipe.training.seed and shorter.data == recipe.data
    assert load_recipe(shorter, ["training.seed=2"]).training.epochs == 3


def test_every_value_of_the_augmentation_is_a_key():
    values = dataclasses.asdict(Augmentation(flip=0.25, distribution="uniform"))
    recipe = load_recipe({"augmentation": {"preset": "paper", **values}})
    assert recipe.augmentation.build() == Augmentation(**values)
    assert list(recipe.to_dict()["augmentation"]) == ["preset", *values]
    assert load_recipe({"augmentation": {"preset": "none"}}).augmentation.build() is None


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
    with pytest.raises(RecipeError, match=r"Did you mean 'lsp_small'\?") as caught:
        load_recipe("lsp_smal")
    assert len(str(caught.value)) < 300


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


def test_what_the_command_line_sets_is_what_was_written(tmp_path):
    """Folders with a number sign, seeds with a zero before them, numbers at any depth."""
    changes = ["data.train=synthetic:set #2", "training.seed=010"]
    recipe = load_recipe({}, [*changes, "optimizer.options={weight_decay: 1e-4}"])
    assert recipe.data.train == "synthetic:set #2" and recipe.training.seed == 10
    assert recipe.optimizer.options == {"weight_decay": 1e-4}
    save_recipe(recipe, tmp_path / "recipe.yaml")
    assert load_recipe(tmp_path / "recipe.yaml") == recipe


@pytest.mark.parametrize(
    "text, reason",
    [
        ("training: {epochs: 1}\ntraining: {seed: 2}", "the key 'training' stands twice"),
        ("training: {epochs: 2001-99-99}", "training.epochs: needs"),
        ("training: {epochs: !!int x}", "'x' is no int"),
        ("a: &a [x]\nb: [*a, *a]", "refers to another"),
        ("training: {epochs: " + "9" * 5000 + "}", "5000 digits"),
        ("[" * 5000, "nest"),
        ("model: {num_stacks: 100000000}", "num_stacks"),
        ("model: {offset: {a: 1}}", "offset"),
        ("model: {scale: abc}", "scale"),
    ],
)
def test_hostile_recipes_are_one_line(tmp_path, text, reason):
    (tmp_path / "r.yaml").write_text(text)
    with pytest.raises(RecipeError, match=reason) as caught:
        load_recipe(tmp_path / "r.yaml")
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 300 + len(str(tmp_path))
