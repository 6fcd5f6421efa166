"""Training recipes: YAML files as frozen dataclasses, every key checked."""

import copy
import dataclasses
import pathlib
import types
import typing
from collections.abc import Sequence

import yaml

from keras_hourglass.errors import RecipeError
from keras_hourglass.io.files import atomic_write
from keras_hourglass.training.checks import check_recipe
from keras_hourglass.training.sections import Recipe
from keras_hourglass.typing import Path

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"


def load_recipe(source: Path | dict, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: path of a YAML file, the name of one that comes with the package, or a dict.
        overrides: strings `section.key=value`, values in YAML.

    Returns:
        A `Recipe`.

    Raises:
        RecipeError: naming the key's path, if a key is unknown, a value has the wrong type or
            a combination is impossible.

    Example:

    >>> load_recipe({}, ["training.epochs=3", "optimizer.learning_rate=1e-3"]).training.epochs
    3
    """
    values = copy.deepcopy(source) if isinstance(source, dict) else _read(source)
    for override in overrides:
        _override(values, override)
    recipe = _build(Recipe, values, "")
    check_recipe(recipe)
    return recipe


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe as YAML, atomically.

    Args:
        recipe: a `Recipe`.
        path: the file.

    Example:

    >>> save_recipe(load_recipe({}), "my_recipe.yaml")  # doctest: +SKIP
    """
    atomic_write(path, yaml.safe_dump(recipe.to_dict(), sort_keys=False, allow_unicode=True))


def _read(source):
    path = pathlib.Path(source)
    if not path.exists() and not path.suffix and (RECIPES / f"{source}.yaml").exists():
        path = RECIPES / f"{source}.yaml"
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        names = ", ".join(sorted(found.stem for found in RECIPES.glob("*.yaml")))
        raise RecipeError(
            f"A recipe is a readable YAML file or one of {names}. Received: {source} "
            f"({error.strerror})."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise RecipeError(f"A recipe must be valid YAML. Received: {source}: {reason}.") from error
    if not isinstance(values, dict):
        raise RecipeError(
            f"A recipe consists of sections. Received: {source} with {type(values).__name__}."
        )
    return values


def _override(values, override):
    path, equals, text = override.partition("=")
    keys = path.strip().split(".")
    if not equals or not all(keys):
        raise RecipeError(
            f"--set takes section.key=value. Received: {override!r}. "
            "Write for example training.epochs=10."
        )
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"--set takes a YAML value. Received: {override!r}.") from error
    if isinstance(value, str):
        value = _number(value)
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise RecipeError(f"{path}: {key} is no section. Received: {override!r}.")
    values[keys[-1]] = value


def _number(text):
    """YAML 1.1 reads 1e-3 as text; people mean the number."""
    try:
        return float(text)
    except ValueError:
        return text


def _build(kind, values, path):
    if not isinstance(values, dict):
        raise RecipeError(f"{path}: a section of keys is needed. Received: {values!r}.")
    hints = typing.get_type_hints(kind)
    unknown = [key for key in values if key not in hints]
    if unknown:
        raise RecipeError(
            f"{path}{'.' if path else ''}{unknown[0]}: no such key. "
            f"Choose one of {', '.join(hints)}."
        )
    built = {}
    for key, value in values.items():
        where = f"{path}.{key}" if path else key
        hint = hints[key]
        built[key] = (
            _build(hint, value, where)
            if dataclasses.is_dataclass(hint)
            else _typed(hint, value, where)
        )
    return kind(**built)


def _typed(hint, value, where):
    allowed = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if typing.Any in allowed:
        return value
    if isinstance(value, str) and float in allowed and str not in allowed:
        value = _number(value)
    if isinstance(value, int) and not isinstance(value, bool) and float in allowed:
        return float(value)
    if isinstance(value, bool) and bool not in allowed or not isinstance(value, allowed):
        names = " or ".join("nothing" if kind is type(None) else kind.__name__ for kind in allowed)
        raise RecipeError(f"{where}: needs {names}. Received: {value!r}.")
    return value
