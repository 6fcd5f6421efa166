"""Training recipes: YAML files as frozen dataclasses, every key checked."""

import dataclasses
import pathlib
import types
import typing

import yaml

from keras_hourglass.data.augment import AUGMENTATIONS
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.files import atomic_write

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"


@dataclasses.dataclass(frozen=True)
class DataSection:
    """Whom to train on and how they are shown.

    `train`: a data set spec or a list of them; `validation`: the same, or nothing; `sigma`: of
    the Gaussians in heatmap pixels; `missing`: `"zero"` or `"ignore"`, see `HeatmapCodec`;
    `heatmaps`: send ready heatmaps instead of drawing them on the device; `cache`: keep decoded
    pictures in memory; `workers`: threads that prepare batches.
    """

    train: typing.Any = "synthetic:2000@1"
    validation: typing.Any = None
    sigma: float = 1.5
    missing: str = "zero"
    heatmaps: bool = False
    cache: bool = False
    workers: int = 2


@dataclasses.dataclass(frozen=True)
class AugmentationSection:
    """`preset`: a row of `AUGMENTATIONS`, or `none`; the other keys change single values of it,
    see `Augmentation`."""

    preset: str = "newell"
    flip: float | None = None
    scale: float | None = None
    scale_limit: float | None = None
    rotation: float | None = None
    rotation_limit: float | None = None
    rotation_probability: float | None = None
    distribution: str | None = None
    colour: float | None = None

    def build(self):
        """The `Augmentation`, or `None`."""
        if self.preset == "none":
            return None
        changed = {
            name: value
            for name, value in dataclasses.asdict(self).items()
            if name != "preset" and value is not None
        }
        return dataclasses.replace(AUGMENTATIONS[self.preset], **changed)


@dataclasses.dataclass(frozen=True)
class OptimizerSection:
    """`name`: a Keras optimizer; `options`: its further arguments; `loss_scale`: factor on the
    loss, see `HeatmapMSE`."""

    name: str = "rmsprop"
    learning_rate: float = 2.5e-4
    options: dict = dataclasses.field(default_factory=dict)
    loss_scale: float = 1.0


@dataclasses.dataclass(frozen=True)
class ScheduleSection:
    """`name`: `constant`, `cosine` (to `final` times the rate, after `warmup` epochs) or
    `plateau` (the rate is divided by `divide_by` when validation PCK has not risen for
    `patience` epochs)."""

    name: str = "constant"
    warmup: float = 0.0
    final: float = 0.0
    divide_by: float = 5.0
    patience: int = 5


@dataclasses.dataclass(frozen=True)
class TrainingSection:
    """`steps_per_epoch`: batches per epoch, a pass over the data by default; `precision`: a Keras
    dtype policy; `weights`: preset or folder to start from; `stack_weights`: weight of each
    stack's loss."""

    epochs: int = 100
    batch_size: int = 6
    steps_per_epoch: int | None = None
    precision: str = "float32"
    seed: int = 1
    jit_compile: bool | None = False
    weights: str | None = None
    stack_weights: list | None = None


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A training: `model` holds arguments of `StackedHourglass` (or `preset` and changes)."""

    model: dict = dataclasses.field(default_factory=dict)
    data: DataSection = dataclasses.field(default_factory=DataSection)
    augmentation: AugmentationSection = dataclasses.field(default_factory=AugmentationSection)
    optimizer: OptimizerSection = dataclasses.field(default_factory=OptimizerSection)
    schedule: ScheduleSection = dataclasses.field(default_factory=ScheduleSection)
    training: TrainingSection = dataclasses.field(default_factory=TrainingSection)

    def to_dict(self):
        """Every value, defaults included, ready for YAML."""
        return dataclasses.asdict(self)


def load_recipe(source, overrides=()):
    """Read a recipe.

    Args:
        source: path of a YAML file, the name of one that comes with the package, or a dict.
        overrides: strings `section.key=value`, values in YAML.

    Returns:
        A `Recipe`.

    Raises:
        RecipeError: naming the key's path, if a key is unknown, a value has the wrong type or
            a combination is impossible.
    """
    values = dict(source) if isinstance(source, dict) else _read(source)
    for override in overrides:
        _override(values, override)
    recipe = _build(Recipe, values, "")
    _check(recipe)
    return recipe


def save_recipe(recipe, path):
    """Write the resolved recipe as YAML, atomically."""
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


def _check(recipe):
    """Refuse values that are of the right type but mean nothing."""
    positive = {
        "data.sigma": recipe.data.sigma,
        "data.workers": recipe.data.workers,
        "optimizer.learning_rate": recipe.optimizer.learning_rate,
        "optimizer.loss_scale": recipe.optimizer.loss_scale,
        "schedule.divide_by": recipe.schedule.divide_by,
        "schedule.patience": recipe.schedule.patience,
        "training.epochs": recipe.training.epochs,
        "training.batch_size": recipe.training.batch_size,
        "training.steps_per_epoch": recipe.training.steps_per_epoch,
    }
    for where, value in positive.items():
        if value is not None and not 0 < value < float("inf"):
            raise RecipeError(f"{where}: must be positive. Received: {value}.")
    choices = {
        "data.missing": (recipe.data.missing, ("zero", "ignore")),
        "augmentation.preset": (recipe.augmentation.preset, (*AUGMENTATIONS, "none")),
        "schedule.name": (recipe.schedule.name, ("constant", "cosine", "plateau")),
        "training.precision": (
            recipe.training.precision,
            ("float32", "mixed_float16", "mixed_bfloat16"),
        ),
    }
    for where, (value, allowed) in choices.items():
        if value not in allowed:
            raise RecipeError(f"{where}: must be one of {', '.join(allowed)}. Received: {value!r}.")
    try:
        recipe.augmentation.build()
    except UserError as error:
        raise RecipeError(f"augmentation: {error}") from error
    if recipe.schedule.name == "plateau" and recipe.data.validation is None:
        raise RecipeError(
            "schedule.name: a plateau is seen on validation data. Received: plateau without "
            "data.validation. Name a validation set or another schedule."
        )
