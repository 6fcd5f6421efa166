"""From a recipe to a compiled model."""

import inspect

import keras
import numpy as np

from keras_hourglass import compat
from keras_hourglass.errors import RecipeError, UserError, WeightsError
from keras_hourglass.layers.recomputation import recompute
from keras_hourglass.losses import BoxLoss, HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK
from keras_hourglass.metrics.heatmap import BoxOverlap
from keras_hourglass.network.model import StackedHourglass
from keras_hourglass.skeletons import BOXES
from keras_hourglass.zoo.store import joints_of, load_model, resolve
from keras_hourglass.zoo.transfer import match_heads, widen
from keras_hourglass.zoo.weights import (
    arrays_of,
    assign_arrays,
    load_weights,
    named_variables,
    read_arrays,
)


def build_model(recipe, skeleton):
    """The network of a recipe, with starting weights if it names any.

    Args:
        recipe: a `Recipe`.
        skeleton: the `Skeleton` of the data.

    Raises:
        RecipeError: if the arguments are no network.
        WeightsError: if the weights belong to another architecture.
    """
    arguments = dict(recipe.model)
    preset, pretrained = arguments.pop("preset", None), arguments.pop("pretrained", True)
    arguments["skeleton"] = skeleton
    if arguments.pop("num_keypoints", skeleton.num_joints) != skeleton.num_joints:
        raise RecipeError(
            f"model.num_keypoints: the data have {skeleton.num_joints} joints. Received: "
            f"{recipe.model['num_keypoints']}. Leave the key out."
        )
    with precision(recipe.training.precision):
        try:
            if preset is None:
                model = StackedHourglass(**arguments)
            else:
                wanted = bool(pretrained) and recipe.training.weights is None
                model = load_model(preset, load_weights=wanted, **arguments)
        except WeightsError:
            raise
        except (UserError, TypeError, ValueError) as error:
            raise RecipeError(f"model: {' '.join(str(error).split())}") from error
    if finds_people(model) and set(model.output_strides) != set(model.stack_names):
        raise RecipeError(
            "model.supervision: a network that finds people has maps of one resolution. Received: "
            f"{model.get_config()['supervision']}. Use all or last."
        )
    if recipe.training.weights is not None:
        start_from(model, recipe.training.weights)
    if recipe.training.widen is not None:
        grow_from(model, recipe.training.widen, recipe.training.seed)
    if recipe.training.recompute:
        try:
            recompute(model)
        except UserError as error:
            raise RecipeError(f"training.recompute: {error}") from error
    return model


def start_from(model, source):
    """Load weights of the same architecture; heads of other joints start anew.

    Args:
        model: a `StackedHourglass`.
        source: a `.weights.h5` file, or what `load_model` takes.
    """
    try:
        if str(source).endswith(".weights.h5"):
            load_weights(model, source)
            return
        config, found = resolve(source)
        if found is None:
            raise WeightsError(f"There are no trained weights. Received: {source}.")
        arrays = read_arrays(model, found, str(source))
        joints = joints_of(config)
        known = joints is not None or config.get("num_keypoints") != model.num_keypoints
        if known and tuple(joints or ()) != tuple(model.skeleton.joints):
            arrays = match_heads(model, arrays, joints, str(source))
        assign_arrays(model, arrays, str(source))
    except UserError as error:
        raise WeightsError(f"training.weights: {error}") from error
    except ValueError as error:
        raise WeightsError(
            "training.weights: the arrays must be those of the network, one for one. Received: "
            f"{source} ({error}). Use weights of this architecture."
        ) from error


def grow_from(model, source, seed):
    """Load the weights of a narrower network of the same form; see `zoo.widen`.

    Args:
        model: a `StackedHourglass`.
        source: what `load_model` takes, with the joints of the model.
        seed: of the parts that weights are split into.
    """
    try:
        narrow = load_model(source)
        if model.get_config()["merge"] != "add":
            raise WeightsError('Only networks with merge="add" can be widened.')
        if tuple(narrow.skeleton.joints if narrow.skeleton else ()) != model.skeleton.joints:
            raise WeightsError("The narrow network must have the same joints.")
        shapes = {name: tuple(v.shape) for name, v in named_variables(model).items()}
        assign_arrays(model, widen(arrays_of(narrow), shapes, seed=seed), str(source))
    except UserError as error:
        raise WeightsError(f"training.widen: {error} Received: {source}.") from error


def compile_model(model, recipe, steps_per_epoch, epochs=None):
    """Optimizer, one loss per output and one PCK per stack.

    Args:
        model: a `StackedHourglass`.
        recipe: a `Recipe`.
        steps_per_epoch: batches per epoch.
        epochs: length of the schedule in epochs; the recipe's by default.
    """
    losses, metrics = {}, {}
    for name, stride in model.output_strides.items():
        size = tuple(edge // stride for edge in model.input_size)
        if finds_people(model):
            losses[name] = BoxLoss(stride, scale=recipe.optimizer.loss_scale)
            metrics[name] = [BoxOverlap(stride, name="overlap")]
            continue
        losses[name] = HeatmapMSE(
            size, recipe.data.sigma, recipe.optimizer.loss_scale, stride // model.stride
        )
        if name in model.stack_names:
            metrics[name] = [HeatmapPCK(heatmap_size=size, name="pck")]
    weights = recipe.training.stack_weights
    backend = keras.backend.backend()
    model.compile(
        optimizer=make_optimizer(recipe, steps_per_epoch, epochs or recipe.training.epochs),
        loss=losses,
        loss_weights=dict(zip(model.output_names, weights, strict=True)) if weights else None,
        metrics=metrics,
        # Without compilation JAX would run operation by operation.
        jit_compile=True if backend == "jax" else _jit(recipe.training.jit_compile),
    )
    if compat.IN_KERAS_3 and backend == "tensorflow":
        _build_trackers(model)


def finds_people(model):
    """Whether a network's maps are boxes of people instead of joints."""
    return model.skeleton is not None and model.skeleton.joints == BOXES.joints


def _build_trackers(model):
    """Make the variables that follow each output's loss.

    Keras makes them in the first step, and TensorFlow traces a step that made variables twice.
    """
    maps = {name: np.zeros((1, *output.shape[1:])) for name, output in model.output.items()}
    one = (1, model.num_keypoints, 4)
    if finds_people(model):  # their targets are maps with two weights
        one = (1, *(edge // model.stride for edge in model.input_size), len(BOXES.joints) + 2)
    answers = dict.fromkeys(maps, np.zeros(one, "float32"))
    model.compute_loss(y=answers, y_pred=maps)
    model.reset_metrics()


def _jit(value):
    return "auto" if value is None and compat.IN_KERAS_3 else value


def make_optimizer(recipe, steps_per_epoch, epochs):
    """The optimizer of a recipe with its schedule.

    Raises:
        RecipeError: if there is no such optimizer or it does not take an option.
    """
    settings = recipe.optimizer
    rate = _rate(recipe, steps_per_epoch, epochs)
    try:
        if settings.name.lower().startswith(compat.ADDONS):
            optimizer = compat.addons_optimizer(settings.name, rate, settings.options)
        else:
            kind = _optimizer_class(settings.name)
            optimizer = kind(learning_rate=rate, **settings.options)
    except RecipeError:
        raise
    except (ValueError, TypeError) as error:
        raise RecipeError(f"optimizer.options: {' '.join(str(error).split())}") from error
    if recipe.training.precision == "mixed_float16":
        from keras_hourglass.training.optimizers import LossScaleOptimizer

        return LossScaleOptimizer(optimizer)
    return optimizer


def _optimizer_class(name):
    if name.lower() in ("torch_rmsprop", "torchrmsprop"):
        from keras_hourglass.training.optimizers import TorchRMSprop

        return TorchRMSprop
    if name.lower() == "adam" and compat.IN_KERAS_3:
        from keras_hourglass.training.optimizers import Adam

        return Adam
    known = {
        key.lower(): value
        for key, value in vars(keras.optimizers).items()
        if inspect.isclass(value) and issubclass(value, keras.optimizers.Optimizer)
    }
    known.pop("optimizer", None)
    known.pop("lossscaleoptimizer", None)
    if name.lower() not in known:
        raise RecipeError(
            f"optimizer.name: must be one of torch_rmsprop, {', '.join(sorted(known))}. "
            f"Received: {name!r}."
        )
    return known[name.lower()]


def _rate(recipe, steps_per_epoch, epochs):
    schedule, rate = recipe.schedule, recipe.optimizer.learning_rate
    if schedule.name != "cosine":
        return rate
    warmup = round(schedule.warmup * steps_per_epoch)
    steps = max(1, epochs * steps_per_epoch - warmup)
    return keras.optimizers.schedules.CosineDecay(
        rate / 100 if warmup else rate,
        steps,
        alpha=schedule.final,
        warmup_target=rate if warmup else None,
        warmup_steps=warmup,
    )


class precision:
    """The global dtype policy within a block.

    Args:
        policy: a Keras dtype policy by name.
    """

    def __init__(self, policy):
        self.policy = policy

    def __enter__(self):
        self.previous = compat.dtype_policy()
        compat.set_dtype_policy(self.policy)

    def __exit__(self, *unused):
        compat.set_dtype_policy(self.previous)
