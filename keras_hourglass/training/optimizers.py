"""The optimizer of a recipe, and those that Keras does not have in the form the paper needs, or not
as quick to start."""

import inspect
from typing import Any

import keras
import numpy as np

from keras_hourglass import compat
from keras_hourglass.errors import RecipeError, UserError, did_you_mean
from keras_hourglass.io.structured import one_line, shorten
from keras_hourglass.training.recipe import Recipe
from keras_hourglass.typing import is_number

# Options of Keras's and Addons' optimizers with limits that they do not check themselves.
_BELOW_1 = ("beta_1", "beta_2", "rho", "ema_momentum")
_UP_TO_1 = ("momentum", "warmup_proportion", "average_decay")
_POSITIVE = ("clipnorm", "clipvalue", "global_clipnorm", "loss_scale_factor")
_COUNTS = ("gradient_accumulation_steps", "ema_overwrite_frequency", "sync_period")
_LARGEST = 3.4e38  # of float32
_SHOWN = 60  # characters of a value in messages


class _Averages(keras.optimizers.Optimizer):
    """`use_ema` in a quarter of the operations.

    A network has hundreds of variables, and on TensorFlow the first step waits until every
    operation on each of them is traced; Keras writes some twenty.
    """

    def _update_model_variables_moving_average(self, trainable_variables):
        if keras.backend.backend() != "tensorflow":
            super()._update_model_variables_moving_average(trainable_variables)
            return
        import tensorflow as tf

        # The first step begins with the weights themselves.
        kept = tf.where(tf.equal(self.iterations, 0), 0.0, self.ema_momentum)
        for variable, average in zip(
            trainable_variables, self._model_variables_moving_average, strict=True
        ):
            if average is not None:
                now, mean = variable.value, average.value
                share = tf.cast(kept, mean.dtype)
                mean.assign(share * mean + (1 - share) * tf.cast(now, mean.dtype))


@keras.saving.register_keras_serializable(package="keras_hourglass")
class Adam(_Averages, keras.optimizers.Adam):
    """`keras.optimizers.Adam` with one operation per variable on TensorFlow.

    The same steps (but for rounding) and variables, so checkpoints fit both; a training starts
    seconds earlier, since there is less to trace. Other backends and `amsgrad` run Keras's steps.

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        beta_1: share of the running mean of gradients that is kept.
        beta_2: share of the running mean of their squares that is kept.
        epsilon: added to the root of the latter.
        amsgrad: divide by the largest of these roots so far.
        **kwargs: the other arguments of `keras.optimizers.Optimizer`.

    Example:

    >>> import keras
    >>> variable = keras.Variable([1.0])
    >>> Adam(0.5, epsilon=0.0).apply([[3.0]], [variable])
    >>> float(variable[0])  # the first step is as long as the rate
    0.5
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        **kwargs,
    ):
        super().__init__(learning_rate, beta_1, beta_2, epsilon, amsgrad, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        if keras.backend.backend() != "tensorflow" or self.amsgrad:
            super().update_step(gradient, variable, learning_rate)
            return
        import tensorflow as tf

        dtype, index = variable.dtype, self._get_variable_index(variable)
        step = tf.cast(self.iterations, dtype) + 1
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[index].value.handle,
            v=self._velocities[index].value.handle,
            beta1_power=tf.cast(self.beta_1, dtype) ** step,
            beta2_power=tf.cast(self.beta_2, dtype) ** step,
            lr=tf.cast(learning_rate, dtype),
            beta1=self.beta_1,
            beta2=self.beta_2,
            epsilon=self.epsilon,
            grad=tf.cast(gradient, dtype),
        )


@keras.saving.register_keras_serializable(package="keras_hourglass")
class TorchRMSprop(_Averages, keras.optimizers.RMSprop):
    """RMSprop as in Torch, with which the paper's networks were trained.

    Of the gradient `g` a running mean of squares is kept, `v = rho * v + (1 - rho) * g²`, and the
    step is `learning_rate * g / (sqrt(v) + epsilon)`. Keras adds its epsilon under the root, where
    1e-7 outweighs the squares of gradients as small as those of heatmaps (it stops anything
    below 3e-4); it also forgets faster (`rho` 0.9).

    Args:
        learning_rate: a number or a `keras.optimizers.schedules.LearningRateSchedule`.
        rho: Torch's `alpha`.
        momentum: share of the last step's direction that is kept; applied before the learning
            rate, as in Torch.
        epsilon: added to the root.
        centered: subtract the squared running mean of gradients under the root.
        **kwargs: the other arguments of `keras.optimizers.Optimizer` (`clipnorm`, `use_ema`,
            `gradient_accumulation_steps`, …).

    Raises:
        UserError: if `rho` lies outside 0–1 or `epsilon` is negative.

    Example:

    >>> import keras
    >>> variable = keras.Variable([1.0])
    >>> TorchRMSprop(0.1, rho=0.75, epsilon=1.0).apply([[2.0]], [variable])
    >>> float(variable[0])  # v = 0.25 * 4 = 1, the step 0.1 * 2 / (1 + 1)
    0.8999999761581421

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.4;
        [`torch.optim.RMSprop`](https://pytorch.org/docs/stable/generated/torch.optim.RMSprop.html).
    """

    def __init__(
        self,
        learning_rate: Any = 2.5e-4,
        rho: float = 0.99,
        momentum: float = 0.0,
        epsilon: float = 1e-8,
        centered: bool = False,
        **kwargs,
    ):
        if not 0 <= rho < 1 or not epsilon >= 0:
            raise UserError(
                "`rho` lies in 0–1 and `epsilon` is not negative. "
                f"Received: rho={rho}, epsilon={epsilon}."
            )
        super().__init__(learning_rate, rho, momentum, epsilon, centered, **kwargs)

    def update_step(self, gradient, variable, learning_rate):
        ops = keras.ops
        index = self._get_variable_index(variable)
        rate = ops.cast(learning_rate, variable.dtype)
        gradient = ops.cast(gradient, variable.dtype)

        def average(mean, value):
            self.assign(mean, ops.add(self.rho * mean, (1 - self.rho) * value))
            return mean

        square = average(self._velocities[index], ops.square(gradient))
        if self.centered:
            mean = average(self._average_gradients[index], gradient)
            # Rounding may leave a tiny negative variance.
            square = ops.maximum(square - ops.square(mean), 0.0)
        step = gradient / (ops.sqrt(square) + self.epsilon)
        if self.momentum > 0:
            last = self._momentums[index]
            self.assign(last, ops.add(self.momentum * last, step))
            step = last
        self.assign_sub(variable, ops.multiply(rate, step))


@keras.saving.register_keras_serializable(package="keras_hourglass")
class LossScaleOptimizer(compat.LossScaleOptimizer):
    """`keras.optimizers.LossScaleOptimizer` that sees an overflow on any replica.

    Keras asks the first replica only, before gradients are summed, so that an overflow on another
    would be written into the weights. Here every replica knows of every overflow, and the step is
    skipped on all of them.

    Args:
        inner_optimizer: the optimizer that gets the unscaled gradients.
        **kwargs: as in Keras (`name`, `initial_scale`, `dynamic_growth_steps`, …).

    Example:

    >>> LossScaleOptimizer(TorchRMSprop(), initial_scale=8.0).initial_scale
    8.0
    """

    def check_finite(self, grads):
        finite = super().check_finite(grads)
        if keras.backend.backend() != "tensorflow":
            return finite
        import tensorflow as tf

        replica = tf.distribute.get_replica_context()
        if replica is None or replica.num_replicas_in_sync == 1:
            return finite
        failed = replica.all_reduce(tf.distribute.ReduceOp.SUM, 1.0 - tf.cast(finite, tf.float32))
        return tf.equal(failed, 0.0)


def make_optimizer(recipe: Recipe, steps_per_epoch: int, epochs: int) -> Any:
    """The optimizer of a recipe with its schedule.

    Args:
        recipe: a `Recipe`.
        steps_per_epoch: batches per epoch.
        epochs: length of the schedule.

    Returns:
        A `keras.optimizers.Optimizer`.

    Raises:
        RecipeError: if there is no such optimizer or it does not take an option.

    Example:

    >>> from keras_hourglass.training.recipe import load_recipe
    >>> recipe = load_recipe({"optimizer": {"name": "sgd", "learning_rate": 0.25}})
    >>> float(make_optimizer(recipe, steps_per_epoch=2, epochs=1).learning_rate)
    0.25
    """
    optimizer = _make(recipe, _rate(recipe, steps_per_epoch, epochs))
    if recipe.training.precision == "mixed_float16":
        return LossScaleOptimizer(optimizer)
    return optimizer


def _make(recipe, rate):
    settings = recipe.optimizer
    kind = _optimizer_class(settings.name)
    known, complete = _options_of(kind)
    _check_options(settings, known, complete)
    # Some of Keras's take 1.0 and refuse 1.
    options = {
        option: float(value) if type(known.get(option)) is float and type(value) is int else value
        for option, value in settings.options.items()
    }
    try:
        return kind(learning_rate=rate, **options)
    except RecipeError:
        raise
    except Exception as error:  # each optimizer checks its own in its own way
        raise _refused(settings, error) from error


def try_optimizer(recipe: Recipe) -> None:
    """Refuse an optimizer that cannot make a step, before any data are read.

    Options are checked by name, type and range; then two small variables take a step, because much
    of what Keras's optimizers are given is looked at only there.

    Args:
        recipe: a `Recipe`.

    Raises:
        RecipeError: if there is no such optimizer, or it does not take an option.

    Example:

    >>> from keras_hourglass.training.recipe import load_recipe
    >>> try_optimizer(load_recipe({"optimizer": {"name": "sgd", "options": {"momentum": 2}}}))
    Traceback (most recent call last):
    ...
    keras_hourglass.errors.RecipeError: optimizer.options.momentum: lies between 0 and 1. ...
    """
    optimizer, settings = _make(recipe, recipe.optimizer.learning_rate), recipe.optimizer
    try:
        variables = [compat.variable(np.full(shape, 0.5)) for shape in ((2, 3), (3,))]
        gradients = [np.full(variable.shape, 0.25, "float32") for variable in variables]
        optimizer.build(variables)
        optimizer.apply_gradients(
            [(keras.ops.convert_to_tensor(gradient) if compat.IN_KERAS_3 else gradient, variable)
             for gradient, variable in zip(gradients, variables, strict=True)]
        )  # fmt: skip
        arrays = [np.asarray(one.numpy()) for one in (*variables, *optimizer.variables)]
        if not all(np.isfinite(one).all() for one in arrays if one.dtype.kind == "f"):
            raise ValueError("a step leads to values that are not finite")
    except RecipeError:
        raise
    except Exception as error:
        raise _refused(settings, error) from error


def _refused(settings, error):
    return RecipeError(
        f"optimizer.options: {settings.name} makes no step with these "
        f"({one_line(error, 100)}). Received: {shorten(settings.options, _SHOWN)} at a rate of "
        f"{settings.learning_rate:g}. Correct or leave out one of them."
    )


def _check_options(settings, known, complete):
    """Refuse options that an optimizer does not have or that are of another type or range."""
    for name, value in settings.options.items():
        if name in ("learning_rate", "lr"):
            rule, remedy = "is no option", " Write optimizer.learning_rate."
        elif name not in known and complete:
            rule = f"{settings.name} has no such option"
            remedy = did_you_mean(name, known) or f" It has {', '.join(sorted(known))}."
        else:
            rule = _broken_rule(name, value, known.get(name))
            default = known.get(name)
            remedy = " Leave it out." if default is None else f" The default is {default}."
        if rule is not None:
            raise RecipeError(
                f"optimizer.options.{shorten(str(name), _SHOWN)}: {rule}. Received: "
                f"{shorten(repr(value), _SHOWN)}.{remedy}"
            )


def _options_of(kind):
    """Names of an optimizer's options with their defaults, and whether these are all."""
    known: dict = {}
    classes = [kind] if not inspect.isclass(kind) else kind.__mro__
    for one in classes:
        maker = one.__init__ if inspect.isclass(one) else one
        parameters = inspect.signature(maker).parameters.values()
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                empty = parameter.default is parameter.empty
                known.setdefault(parameter.name, None if empty else parameter.default)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            break  # what its bases have is not handed on
    known = {name: value for name, value in known.items() if name not in ("self", "learning_rate")}
    return known, compat.IN_KERAS_3


def _broken_rule(name, value, default):
    """What is wrong with an option's value, or `None`."""
    if name == "name" or isinstance(default, str) or name == "optimizer":
        return None if isinstance(value, str) else "needs a text"
    if name.startswith("exclude_") and not isinstance(default, bool):
        texts = value if isinstance(value, list) else [value]
        return None if all(isinstance(one, str) for one in texts) else "needs a text or several"
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "needs true or false"
    if value is None:
        return None if default is None else "needs a number"
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return "needs a number"
    if not abs(value) <= _LARGEST:
        return "needs a finite number"
    return _broken_range(name, value, default)


def _broken_range(name, value, default):
    if name in _COUNTS and (value != int(value) or value < 1):
        return "needs a positive whole number"
    if name in _POSITIVE and value <= 0:
        return "must be positive"
    if name in _BELOW_1 and not 0 <= value < 1:
        return "lies between 0 and 1"
    if name in _UP_TO_1 and not 0 <= value <= 1:
        return "lies between 0 and 1"
    negative = is_number(default) and default < 0
    if value * (-1 if negative else 1) < 0:
        return "must not be positive" if negative else "must not be negative"
    return None


def _optimizer_class(name):
    if not compat.IN_KERAS_3:
        return compat.optimizer_class(name)
    known = {
        key.lower(): value
        for key, value in vars(keras.optimizers).items()
        if inspect.isclass(value) and issubclass(value, keras.optimizers.Optimizer)
    }
    for base in ("optimizer", "lossscaleoptimizer", "multioptimizer"):
        known.pop(base, None)
    # The one of the paper, and the one that starts sooner.
    known |= {"torch_rmsprop": TorchRMSprop, "torchrmsprop": TorchRMSprop, "adam": Adam}
    if name.lower() not in known:
        names = sorted(set(known) - {"torch_rmsprop", "torchrmsprop"})
        raise RecipeError(
            f"optimizer.name: must be one of torch_rmsprop, {', '.join(names)}. "
            f"Received: {name!r}.{did_you_mean(name.lower(), known)}"
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
