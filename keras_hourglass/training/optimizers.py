"""The optimizer of a recipe, and those that Keras does not have in the form the paper needs, or not
as quick to start."""

import inspect
from typing import Any

import keras

from keras_hourglass import compat
from keras_hourglass.errors import RecipeError, UserError, did_you_mean
from keras_hourglass.training.recipe import Recipe


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
    settings = recipe.optimizer
    rate = _rate(recipe, steps_per_epoch, epochs)
    kind = _optimizer_class(settings.name)
    try:
        optimizer = kind(learning_rate=rate, **settings.options)
    except RecipeError:
        raise
    except (ValueError, TypeError) as error:
        raise RecipeError(f"optimizer.options: {' '.join(str(error).split())}") from error
    if recipe.training.precision == "mixed_float16":
        return LossScaleOptimizer(optimizer)
    return optimizer


def _optimizer_class(name):
    if not compat.IN_KERAS_3:
        return compat.optimizer_class(name)
    known = {
        key.lower(): value
        for key, value in vars(keras.optimizers).items()
        if inspect.isclass(value) and issubclass(value, keras.optimizers.Optimizer)
    }
    del known["optimizer"], known["lossscaleoptimizer"]
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
