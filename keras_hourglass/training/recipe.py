"""Training recipes: YAML files as frozen pydantic models, every key and value checked.

A `Recipe` has a section for each side of a training; `load_recipe` reads one, puts `--set` values
into it and refuses what cannot be trained before any work is done.
"""

import contextlib
import copy
import dataclasses
import functools
import math
import operator
import pathlib
import re
import types
import typing
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pydantic
from pydantic_core import PydanticCustomError

from keras_hourglass.choices import DOUBTFUL, MAX_SIGMA, MISSING
from keras_hourglass.data.augment import AUGMENTATIONS, Augmentation
from keras_hourglass.errors import RecipeError, UserError, did_you_mean
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.structured import existing, format_yaml, parse_yaml, read_yaml, shorten
from keras_hourglass.network.config import DEFAULTS, complete, output_strides
from keras_hourglass.typing import Path
from keras_hourglass.zoo.store import OVERRIDES, resolve

RECIPES = pathlib.Path(__file__).parents[1] / "recipes"
# Keys of `model` that may stand beside `preset`.
_BESIDE_PRESET = ("pretrained", "skeleton", "num_keypoints", *OVERRIDES)
# What a free section holds as text, whatever it looks like.
_TEXTS = ("name", "optimizer", "preset", "skeleton", "metadata", "dtype")
# YAML 1.1 takes these for text: 1e-3, 2.5E4, inf. People mean the number.
_SCIENTIFIC = re.compile(r"[-+]?((\d+\.?\d*|\.\d+)e[-+]?\d+|inf|infinity)|nan", re.IGNORECASE)
# Longest part of a message that comes from outside, and longest message.
_SHOWN, _LONGEST = 80, 299


# The values of the sections: what YAML gives is not converted, except that people's 1e-3 is a
# number.


def _number(value):
    """Text that is a number where a number is needed."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _whole(value):
    """Text such as 1e2 where a whole number is needed."""
    number = _number(value) if isinstance(value, str) and _SCIENTIFIC.fullmatch(value) else 0.5
    return int(number) if float(number).is_integer() else value


def _numbers(value):
    """The same wherever a value may be of any kind, at any depth."""
    if isinstance(value, dict):
        return {key: v if key in _TEXTS else _numbers(v) for key, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_numbers(item) for item in value)
    scientific = isinstance(value, str) and _SCIENTIFIC.fullmatch(value)
    return float(value) if scientific else value


def _rule(meets, text):
    """A validator: a value must meet a rule, which the text says."""

    def check(value):
        if not meets(value):
            raise PydanticCustomError("rule", text)
        return value

    return pydantic.AfterValidator(check)


def _specs(value):
    specs = value if isinstance(value, list) else [value]
    return bool(specs) and all(isinstance(spec, str) for spec in specs)


def _count_or_auto(value):
    return value in (None, "auto") or (type(value) is int and value > 0)


def _whole_or_auto(value):
    return value == "auto" or type(value) is int


def _not_none(value):
    return value is not None


def _span(value):
    return len(value) == 2 and 0 < value[0] <= value[1]


_Number = Annotated[float, pydantic.BeforeValidator(_number)]
# Steps of Adam and RMSprop are as long as the rate, and weights are below 1; what SGD needs for
# heatmaps, whose gradients are small, is far below as well.
_Rate = Annotated[_Number, pydantic.Field(gt=0, le=1e6, allow_inf_nan=False)]
_Above1 = Annotated[_Number, pydantic.Field(gt=1, le=1e6, allow_inf_nan=False)]
_Epochs = Annotated[_Number, pydantic.Field(ge=0, le=1e6, allow_inf_nan=False)]
_Int = Annotated[int, pydantic.BeforeValidator(_whole)]
_Count = Annotated[_Int, pydantic.Field(gt=0)]
_CountOr0 = Annotated[_Int, pydantic.Field(ge=0)]
# NumPy takes no larger one.
_Seed = Annotated[_CountOr0, _rule(lambda value: value < 2**32, "must be below 2**32")]
_CountOrAuto = Annotated[
    Any, pydantic.BeforeValidator(_whole), _rule(_count_or_auto, "needs a positive int, or auto")
]
# More crops at once fit into no machine, and TensorFlow has no words for much larger tensors.
_MOST_AT_ONCE = 65_536
_Sigma = Annotated[_Number, pydantic.Field(ge=0.1, le=MAX_SIGMA, allow_inf_nan=False)]
_Scale = Annotated[_Number, pydantic.Field(gt=0, le=1e9, allow_inf_nan=False)]
_Workers = Annotated[
    Any,
    pydantic.BeforeValidator(_whole),
    _rule(_whole_or_auto, "needs int, or auto"),
    _rule(lambda value: value == "auto" or value >= 0, "must not be negative"),
    _rule(lambda value: value == "auto" or value <= 256, "must be at most 256"),
]
_Weight = Annotated[float, pydantic.Field(ge=0, le=1e9, allow_inf_nan=False)]
_Factor = Annotated[_Number, pydantic.Field(ge=0, le=1e9, allow_inf_nan=False)]
_Share = Annotated[_Number, pydantic.Field(ge=0, le=1, allow_inf_nan=False)]
_Weights = Annotated[list[_Weight], pydantic.BeforeValidator(_numbers)]
_Free = Annotated[dict, pydantic.BeforeValidator(_numbers)]
_Data = Annotated[Any, _rule(_specs, "needs a data set such as lsp:DIR#1-800, or a list of them")]
_Steps = Annotated[list[int], _rule(_span, "needs the first and last step, e.g. [10, 20]")]


class _Section(pydantic.BaseModel):
    """Keys with values of their types, which stay as they are."""

    model_config = pydantic.ConfigDict(frozen=True, extra="forbid", strict=True)


class DataSection(_Section):
    """Whom to train on and how they are shown; see `Recipe`.

    `train`: a data set spec or a list of them; `validation`: the same, or nothing, or a share such
    as `20%` of the training pictures that is held out; `sigma`: of
    the Gaussians in heatmap pixels; `missing`: `"zero"` or `"ignore"`, see `HeatmapCodec`;
    `cache`: keep decoded pictures in memory; `workers`: how many batches are prepared at the same
    time, 0 for none beside the training, `auto` by the processors there are; `worker_kind`: whether
    `threads` or `processes` do it, `auto` for processes where there are more than four processors
    and nothing is cached (the batches are the same); `images`: folder of the pictures, and
    `pairs`: joints that mirror each other, of data of one's own, see `load_records`; `teacher`: a
    trained network (preset or folder) that looks over the labels of `train` once, averaged over
    mirror images; `doubtful`: what becomes of labels far from where it is sure, `keep`, `drop`
    (they teach nothing) or `mend`; `teacher_weight`: weight in the loss of joints without label
    that it is sure of, 0 leaves them out.
    """

    train: _Data = "synthetic:2000@1"
    validation: _Data | None = None
    sigma: _Sigma = 1.5
    missing: Literal[MISSING] = "zero"  # type: ignore[valid-type]
    cache: bool = False
    workers: _Workers = "auto"
    worker_kind: Literal["auto", "threads", "processes"] = "auto"
    images: str | None = None
    pairs: Any = None
    teacher: str | None = None
    doubtful: Literal[DOUBTFUL] = "drop"  # type: ignore[valid-type]
    teacher_weight: _Share = 0.5


class _Preset(_Section):
    """Random crops, see `Recipe`: `preset` is a row of `AUGMENTATIONS`, or `none`; the other keys
    change single values of it."""

    preset: Literal[(*AUGMENTATIONS, "none")] = "newell"  # type: ignore[valid-type]

    def build(self) -> Augmentation | None:
        """The `Augmentation`, or `None`."""
        if self.preset == "none":
            return None
        changed = self.model_dump(exclude={"preset"}, exclude_none=True)
        return dataclasses.replace(AUGMENTATIONS[self.preset], **changed)


if typing.TYPE_CHECKING:
    AugmentationSection = _Preset
else:
    # With a key for each value of `Augmentation`.
    AugmentationSection = pydantic.create_model(
        "AugmentationSection",
        __base__=_Preset,
        __module__=__name__,
        **{
            name: ((_Number if kind is float else kind) | None, None)
            for name, kind in typing.get_type_hints(Augmentation).items()
        },
    )
    AugmentationSection.__doc__ = _Preset.__doc__


class OptimizerSection(_Section):
    """How weights are changed; see `Recipe`.

    `name`: `torch_rmsprop`, a Keras optimizer, or, beside Keras 2.15, one of TensorFlow
    Addons such as `tfa:LAMB`; `learning_rate`; `options`: its further arguments, among them
    `clipnorm`, `global_clipnorm`, `clipvalue`, `gradient_accumulation_steps`, `use_ema` and
    `ema_momentum`; `loss_scale`: constant factor on the loss, see `HeatmapMSE` (float16 gets a
    dynamic one besides)."""

    name: str = "torch_rmsprop"
    learning_rate: _Rate = 2.5e-4
    options: _Free = pydantic.Field(default_factory=dict)
    loss_scale: _Scale = 1.0


class ScheduleSection(_Section):
    """How the learning rate goes on; see `Recipe`.

    `name`: `constant`, `cosine` (to `final` times the rate, after `warmup` epochs) or
    `plateau` (the rate is divided by `divide_by` when the watched accuracy has not risen for
    `patience` epochs, at most `times` times); `early_stopping`: end the training when it has not
    risen for so many epochs."""

    name: Literal["constant", "cosine", "plateau"] = "constant"
    warmup: _Epochs = 0.0
    final: _Epochs = 0.0
    divide_by: _Above1 = 5.0
    patience: _Count = 5
    times: _Count = 1
    early_stopping: _Count | None = None


class TrainingSection(_Section):
    """Length, size, precision and start of a training; see `Recipe`.

    `epochs`; `batch_size`: people per step, `auto` for a tenth of them, 4 to 16;
    `steps_per_epoch`: batches per epoch, a pass over the data by default, `auto` for a pass and at
    least 25; `precision`: a Keras dtype policy, or `auto`, which is `mixed_bfloat16` where
    the hardware computes in it and `float32` elsewhere; `seed`: of weights, order and crops;
    `jit_compile`: by XLA, nothing leaves it to Keras; `weights`: weights of the same architecture
    to start from (`.weights.h5`, preset or folder; heads of other joints start anew); `widen`:
    preset or folder of a network of the same form and a fraction of the width, to grow from;
    `stack_weights`: weight of each output's loss; `frozen_epochs`: for how many of the first epochs
    some layers stay as they are, `frozen`: their names, by default the stem; `devices`: `one`, or
    `all` for every accelerator of the machine (JAX: of all processes); `deterministic`: refuse
    operations whose result varies from run to run; `recompute`: keep less for the gradient and
    compute it again, for larger batches in the same memory (Keras 3.9 or newer); `distillation`:
    weight of the squared error to the heatmaps of `data.teacher`, the mean of each crop and its
    mirror image, beside that to the labels."""

    epochs: _Count = 100
    batch_size: Annotated[
        _CountOrAuto,
        _rule(_not_none, "needs a positive int, or auto"),
        _rule(
            lambda value: value == "auto" or value <= _MOST_AT_ONCE,
            f"must be at most {_MOST_AT_ONCE}",
        ),
    ] = 6
    steps_per_epoch: _CountOrAuto = None
    precision: Literal["auto", "float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    seed: _Seed = 1
    jit_compile: bool | None = False
    weights: str | None = None
    widen: str | None = None
    stack_weights: _Weights | None = None
    frozen: list[str] | None = None
    frozen_epochs: _CountOr0 = 0
    devices: Literal["one", "all"] = "one"
    deterministic: bool = False
    recompute: bool = False
    distillation: _Factor = 0.0


class MonitoringSection(_Section):
    """What is measured and shown meanwhile; see `Recipe`.

    `source_every`: epochs between measurements of PCK in source pixels on the validation
    data, 0 for none; `tensorboard`: write its files; `images`: people whose heatmaps and
    overlays are shown there; `profile`: first and last step that TensorFlow profiles."""

    source_every: _CountOr0 = 5
    tensorboard: bool = True
    images: _CountOr0 = 4
    profile: _Steps | None = None


class Recipe(_Section):
    """A training, as sections of keys with values; nothing in it can be changed.

    Args:
        model: arguments of `StackedHourglass`, or `preset` (name or folder, with its weights
            unless `pretrained: false`) and what may differ from it.
        data: a `DataSection`.
        augmentation: an `AugmentationSection`.
        optimizer: an `OptimizerSection`.
        schedule: a `ScheduleSection`.
        training: a `TrainingSection`.
        monitoring: a `MonitoringSection`.

    Example:

    >>> Recipe(training=TrainingSection(epochs=3)).training.epochs
    3
    """

    model: _Free = pydantic.Field(default_factory=dict)
    data: DataSection = DataSection()
    augmentation: AugmentationSection = AugmentationSection()
    optimizer: OptimizerSection = OptimizerSection()
    schedule: ScheduleSection = ScheduleSection()
    training: TrainingSection = TrainingSection()
    monitoring: MonitoringSection = MonitoringSection()

    def to_dict(self) -> dict:
        """Every value, defaults included, ready for YAML."""
        return copy.deepcopy(self.model_dump())

    def changed(self, section: str, **values: Any) -> "Recipe":
        """A copy in which keys of a section have other values.

        Args:
            section: its name.
            **values: the keys.

        Returns:
            A `Recipe`; nothing is checked again.
        """
        kept = getattr(self, section).model_copy(update=values)
        return self.model_copy(update={section: kept})


def load_recipe(source: Path | dict | Recipe, overrides: Sequence[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        source: path of a YAML file, the name of one that comes with the package, a dict or a
            `Recipe`.
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
    if isinstance(source, Recipe):
        values = source.to_dict()
    else:
        values = copy.deepcopy(source) if isinstance(source, dict) else _read(source)
    for override in overrides:
        _override(values, override)
    try:
        recipe = Recipe.model_validate(values)
    except pydantic.ValidationError as error:
        raise _refusal(error, values) from None
    check_recipe(recipe)
    return recipe


def recipe_titles() -> dict[str, str]:
    """The recipes that come with the package.

    Returns:
        name -> the first sentence of what it says of itself; the one for data of one's own first.

    Example:

    >>> list(recipe_titles())[0]
    'custom_finetune'
    """
    names = _names()
    names.sort(key=lambda name: name != "custom_finetune")
    return {name: _title(recipe_text(name)) for name in names}


def _names():
    """The recipes of the package, by the alphabet."""
    return sorted(path.stem for path in RECIPES.glob("*.yaml"))


def _title(text):
    """The first sentence of the comment that a recipe begins with."""
    head = []
    for line in text.splitlines():
        if not line.startswith("#") or not line.strip("# "):
            break
        head.append(line.strip("# "))
    return re.split(r"(?<=[.:;]) ", " ".join(head))[0].rstrip(".:;")


def recipe_text(name: str) -> str:
    """A recipe of the package as it is written.

    Args:
        name: its name.

    Returns:
        The YAML text with its comments.

    Raises:
        RecipeError: if there is none of this name.

    Example:

    >>> recipe_text("lsp_small").startswith("#")
    True
    """
    names = _names()
    if name not in names:
        text = (
            f"The package has no such recipe. Received: {name}.{did_you_mean(name, names)} "
            f"It has {', '.join(names)}."
        )
        raise RecipeError(_one_line(text))
    return (RECIPES / f"{name}.yaml").read_text(encoding="utf-8")


def save_recipe(recipe: Recipe, path: Path) -> None:
    """Write the resolved recipe as YAML, atomically.

    Args:
        recipe: a `Recipe`.
        path: the file.

    Example:

    >>> save_recipe(load_recipe({}), "my_recipe.yaml")  # doctest: +SKIP
    """
    atomic_write(path, format_yaml(recipe.to_dict()))


def _read(source):
    path = pathlib.Path(source)
    if not path.exists() and not path.suffix and (RECIPES / f"{source}.yaml").exists():
        path = RECIPES / f"{source}.yaml"
    try:
        if path.exists():
            existing(path, "recipe")
        path.open("rb").close()
    except (OSError, ValueError) as error:
        names = _names()
        text = (
            "A recipe is a readable YAML file or one of the package's. Received: "
            f"{source} ({getattr(error, 'strerror', error)}).{did_you_mean(source, names)} "
            f"The package has {', '.join(names)}."
        )
        raise RecipeError(_one_line(text)) from error
    values = read_yaml(path, "recipe", RecipeError)
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
            f"--set takes section.key=value. Received: {_shown(override)}. "
            "Write for example training.epochs=10."
        )
    # A remark behind a value makes no sense here, and names of folders may hold " #".
    plain = text.strip()[:1] not in ("'", '"', "[", "{")
    if plain and " #" in text:
        value = text.strip()
    else:
        value = parse_yaml(text, f"--set {_shown(override)}", "YAML value", RecipeError)
    for key in keys[:-1]:
        values = values.setdefault(key, {})
        if not isinstance(values, dict):
            raise RecipeError(
                f"{_one_line(path)}: {key} is no section. Received: {_shown(override)}."
            )
    values[keys[-1]] = value


# What is said of a value that does not fit.


def _refusal(error, values):
    """The `RecipeError` for the first of pydantic's: a misspelt key, or the first wrong value.

    Values are told as they were written: pydantic 2.0 tells numbers it made of texts.
    """
    errors = error.errors(include_url=False)
    unknown = ("extra_forbidden", "invalid_key")
    first = next((one for one in errors if one["type"] in unknown), errors[0])
    *above, key = first["loc"]
    if first["type"] in unknown:
        keys = list((_field(above).annotation if above else Recipe).model_fields)
        path = _shown(".".join(map(str, [*above, key])), plain=True)
        return RecipeError(
            f"{path}: no such key.{did_you_mean(key, keys)} Choose one of {', '.join(keys)}."
        )
    with contextlib.suppress(KeyError, IndexError, TypeError):
        first = {**first, "input": functools.reduce(operator.getitem, first["loc"], values)}
    # Items of a list are told by the list.
    path = [key for key in first["loc"] if isinstance(key, str)]
    return RecipeError(f"{'.'.join(path)}: {_words(first, _field(path))}")


def _field(path):
    """What pydantic knows of a section or key."""
    kind: Any = Recipe
    for key in path[:-1]:
        kind = kind.model_fields[key].annotation
    return kind.model_fields[path[-1]]


def _words(error, field):
    """Rule, value and remedy of one of pydantic's errors."""
    kind, limits, value = error["type"], error.get("ctx", {}), error["input"]
    annotation, default = field.annotation, field.default
    remedy = "" if default is None or field.default_factory else f" The default is {default}."
    if kind == "rule":
        text = error["msg"]
    elif kind == "model_type":
        text, remedy = (
            "a section of keys is needed",
            f" It has {', '.join(annotation.model_fields)}.",
        )
    elif kind == "literal_error":
        choices = typing.get_args(annotation)
        text = f"must be one of {', '.join(choices)}"
        remedy = did_you_mean(value, choices) or remedy
    elif kind == "greater_than":
        text = "must be positive" if limits["gt"] == 0 else f"must be above {limits['gt']:g}"
    elif kind == "greater_than_equal":
        text = "must not be negative" if limits["ge"] == 0 else f"must be at least {limits['ge']:g}"
    elif kind == "less_than_equal":
        infinite = math.isinf(float(value))
        text = "must be finite" if infinite else f"must be at most {limits['le']:g}"
    elif kind == "finite_number":
        text = "must be finite"
    else:
        text = f"needs {_name(annotation)}"
    return f"{text}. Received: {_shown(value)}.{remedy}"


def _name(kind):
    """A type in words, such as `int or nothing`."""
    origin, parts = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _name(parts[0])
    if origin in (types.UnionType, typing.Union):
        return " or ".join(map(_name, parts))
    if origin is list:
        return f"list of {_name(parts[0])}"
    return "nothing" if kind is type(None) else kind.__name__


def _shown(value, plain=False):
    """A value as messages show it: in one line, and not without end."""
    return shorten(str(value) if plain else repr(value), _SHOWN)


def _one_line(text):
    """A message in one line; of one that is very long the middle, where it lists things, goes."""
    text = " ".join(str(text).split())
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[: half - 1]} … {text[1 - half :]}"


# What a recipe of the right types may still get wrong.


def check_recipe(recipe: Recipe) -> None:
    """Refuse values that are of the right type but mean nothing together; see `load_recipe`.

    Args:
        recipe: a `Recipe`.

    Raises:
        RecipeError: naming the key's path.
    """
    try:
        recipe.augmentation.build()
    except UserError as error:
        raise RecipeError(_one_line(f"augmentation: {error}")) from error
    _check_combinations(recipe, list(output_strides(model_config(recipe))))


def model_config(recipe: Recipe) -> dict:
    """All arguments of the network of a `recipe`, without the joints of the data; see `complete`.

    Raises:
        RecipeError: if they are no network.

    Returns:
        A dict, name -> value.
    """
    arguments = dict(recipe.model)
    preset = arguments.pop("preset", None)
    if not isinstance(preset, (str, pathlib.Path, types.NoneType)):
        raise RecipeError(
            f"model.preset: needs the name of a preset or its folder. Received: {_shown(preset)}. "
            "See `keras-hourglass list`."
        )
    known = DEFAULTS if preset is None else _BESIDE_PRESET
    unknown = sorted(set(arguments) - set(known), key=str)
    hint = did_you_mean(unknown[0], known) if unknown else ""
    try:
        if preset is None:
            return complete(arguments)
        if unknown:
            raise RecipeError(
                f"model.{_shown(unknown[0], plain=True)}: a preset fixes the architecture; beside "
                f"model.preset only {', '.join(_BESIDE_PRESET)} may stand. Received: "
                f"model.preset={_shown(preset)}.{hint}"
            )
        config, _ = resolve(preset, load_weights=False)
        given = {key: value for key, value in config.items() if key not in ("name", "dtype")}
        if "input_shape" in arguments:
            given["input_shape"] = arguments["input_shape"]
        return complete(given)
    except RecipeError:
        raise
    except (TypeError, ValueError, OSError) as error:
        raise RecipeError(_one_line(f"model: {error}{hint}")) from error


def _check_combinations(recipe, outputs):
    training, schedule = recipe.training, recipe.schedule
    if recipe.data.validation is None:
        for where, wanted in (
            ("schedule.name", "plateau" if schedule.name == "plateau" else None),
            ("schedule.early_stopping", schedule.early_stopping),
        ):
            if wanted is not None:
                raise RecipeError(
                    f"{where}: watches the accuracy on validation data. Received: {_shown(wanted)} "
                    "without data.validation. Name a validation set or leave the key out."
                )
    weights = training.stack_weights
    if weights is not None and (len(weights) != len(outputs) or not any(weights)):
        raise RecipeError(
            f"training.stack_weights: needs a weight for each of {', '.join(outputs)}. "
            f"Received: {_shown(weights)}."
        )
    if training.widen is not None and (training.weights is not None or "preset" in recipe.model):
        raise RecipeError(
            "training.widen: is where the network starts from. Received: "
            f"{_shown(training.widen)} beside other weights. "
            "Leave out training.weights and model.preset."
        )
    if training.distillation and recipe.data.teacher is None:
        raise RecipeError(
            "training.distillation: needs a network to learn from. Received: "
            f"{training.distillation:g} without data.teacher. Name one, or leave the key out."
        )
    if training.frozen and not training.frozen_epochs:
        raise RecipeError(
            "training.frozen: needs training.frozen_epochs. Received: frozen="
            f"{_shown(training.frozen)}. Say for how many epochs, or leave the key out."
        )
    if training.frozen_epochs > training.epochs:
        raise RecipeError(
            "training.frozen_epochs: are part of training.epochs. Received: "
            f"{_shown(training.frozen_epochs)} of {training.epochs}. Raise training.epochs."
        )
    if training.devices == "all" and training.jit_compile and training.precision == "mixed_float16":
        raise RecipeError(
            "training.jit_compile: fails with mixed_float16 on several devices. Received: true. "
            "Set it to false, or use mixed_bfloat16."
        )
