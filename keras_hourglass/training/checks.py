"""What a recipe of the right types may still get wrong, refused before any work is done."""

from keras_hourglass.data.augment import AUGMENTATIONS
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.network.config import complete, output_strides
from keras_hourglass.zoo.store import OVERRIDES, resolve

PRECISIONS = ("auto", "float32", "mixed_float16", "mixed_bfloat16")
# Keys of `model` that may stand beside `preset`.
_BESIDE_PRESET = ("pretrained", "skeleton", "num_keypoints", *OVERRIDES)


def check_recipe(recipe):
    """Refuse values that are of the right type but mean nothing.

    Raises:
        RecipeError: naming the key's path.
    """
    _check_numbers(recipe)
    _check_choices(recipe)
    try:
        recipe.augmentation.build()
    except UserError as error:
        raise RecipeError(f"augmentation: {error}") from error
    config = model_config(recipe)
    _check_combinations(recipe, list(output_strides(config)))


def model_config(recipe):
    """All arguments of the network of a recipe, without the joints of the data.

    Raises:
        RecipeError: if they are no network.
    """
    arguments = dict(recipe.model)
    preset = arguments.pop("preset", None)
    try:
        if preset is None:
            return complete(arguments)
        unknown = sorted(set(arguments) - set(_BESIDE_PRESET))
        if unknown:
            raise RecipeError(
                f"model.{unknown[0]}: a preset fixes the architecture; beside model.preset only "
                f"{', '.join(_BESIDE_PRESET)} may stand. Received: model.preset={preset!r}."
            )
        config, _ = resolve(preset, load_weights=False)
        known = {key: value for key, value in config.items() if key not in ("name", "dtype")}
        if "input_shape" in arguments:
            known["input_shape"] = arguments["input_shape"]
        return complete(known)
    except RecipeError:
        raise
    except (UserError, TypeError, ValueError) as error:
        raise RecipeError(f"model: {error}") from error


def _check_numbers(recipe):
    positive = {
        "data.sigma": recipe.data.sigma,
        "data.workers": recipe.data.workers,
        "optimizer.learning_rate": recipe.optimizer.learning_rate,
        "optimizer.loss_scale": recipe.optimizer.loss_scale,
        "schedule.patience": recipe.schedule.patience,
        "schedule.times": recipe.schedule.times,
        "schedule.early_stopping": recipe.schedule.early_stopping,
        "training.epochs": recipe.training.epochs,
        "training.batch_size": recipe.training.batch_size,
        "training.steps_per_epoch": recipe.training.steps_per_epoch,
    }
    for where, value in positive.items():
        if value is not None and not 0 < value < float("inf"):
            raise RecipeError(f"{where}: must be positive. Received: {value}.")
    at_least_0 = {
        "schedule.warmup": recipe.schedule.warmup,
        "schedule.final": recipe.schedule.final,
        "training.seed": recipe.training.seed,
        "training.frozen_epochs": recipe.training.frozen_epochs,
        "monitoring.source_every": recipe.monitoring.source_every,
        "monitoring.images": recipe.monitoring.images,
    }
    for where, value in at_least_0.items():
        if not 0 <= value < float("inf"):
            raise RecipeError(f"{where}: must not be negative. Received: {value}.")
    if not 1 < recipe.schedule.divide_by < float("inf"):
        raise RecipeError(
            f"schedule.divide_by: must be above 1. Received: {recipe.schedule.divide_by}."
        )


def _check_choices(recipe):
    choices = {
        "data.missing": (recipe.data.missing, ("zero", "ignore")),
        "augmentation.preset": (recipe.augmentation.preset, (*AUGMENTATIONS, "none")),
        "schedule.name": (recipe.schedule.name, ("constant", "cosine", "plateau")),
        "training.precision": (recipe.training.precision, PRECISIONS),
        "training.devices": (recipe.training.devices, ("one", "all")),
    }
    for where, (value, allowed) in choices.items():
        if value not in allowed:
            raise RecipeError(f"{where}: must be one of {', '.join(allowed)}. Received: {value!r}.")
    for where in ("train", "validation"):
        value = getattr(recipe.data, where)
        specs = value if isinstance(value, list) else [value]
        optional = where == "validation" and value is None
        if not optional and (not specs or not all(isinstance(spec, str) for spec in specs)):
            raise RecipeError(
                f"data.{where}: needs a data set such as lsp:DIR#1-800, or a list of them. "
                f"Received: {value!r}."
            )
    frozen = recipe.training.frozen
    if frozen is not None and not all(isinstance(name, str) for name in frozen):
        raise RecipeError(f"training.frozen: needs names of layers. Received: {frozen!r}.")
    profile = recipe.monitoring.profile
    if profile is not None and not (
        len(profile) == 2 and all(type(n) is int for n in profile) and 0 < profile[0] <= profile[1]
    ):
        raise RecipeError(
            "monitoring.profile: needs the first and last step, e.g. [10, 20]. "
            f"Received: {profile!r}."
        )


def _check_combinations(recipe, outputs):
    training, schedule = recipe.training, recipe.schedule
    if recipe.data.validation is None:
        for where, wanted in (
            ("schedule.name", "plateau" if schedule.name == "plateau" else None),
            ("schedule.early_stopping", schedule.early_stopping),
        ):
            if wanted is not None:
                raise RecipeError(
                    f"{where}: watches the accuracy on validation data. Received: {wanted} "
                    "without data.validation. Name a validation set or leave the key out."
                )
    weights = training.stack_weights
    numbers = (int, float)
    if weights is not None and (
        len(weights) != len(outputs)
        or not all(isinstance(w, numbers) and not isinstance(w, bool) and w >= 0 for w in weights)
        or not any(weights)
    ):
        raise RecipeError(
            f"training.stack_weights: needs a weight for each of {', '.join(outputs)}. "
            f"Received: {weights!r}."
        )
    if training.widen is not None and (training.weights is not None or "preset" in recipe.model):
        raise RecipeError(
            "training.widen: is where the network starts from. Received: "
            f"{training.widen!r} beside other weights. Leave out training.weights and model.preset."
        )
    if bool(training.frozen) != bool(training.frozen_epochs):
        raise RecipeError(
            "training.frozen: goes together with training.frozen_epochs. Received: "
            f"frozen={training.frozen!r}, frozen_epochs={training.frozen_epochs}. Give both."
        )
    if training.frozen_epochs > training.epochs:
        raise RecipeError(
            "training.frozen_epochs: are part of training.epochs. Received: "
            f"{training.frozen_epochs} of {training.epochs}. Raise training.epochs."
        )
    if training.devices == "all" and training.jit_compile and training.precision == "mixed_float16":
        raise RecipeError(
            "training.jit_compile: fails with mixed_float16 on several devices. Received: true. "
            "Set it to false, or use mixed_bfloat16."
        )
