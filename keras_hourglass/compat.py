"""What the package needs of Keras 3 where only Keras 2.15 is there.

TensorFlow Addons ended with TensorFlow 2.15, whose Keras has no `keras.ops`. Layers, model, weights
and codec need nothing of it; for the loss, the metric and training from a recipe, this module
stands in. It is also where Addons' optimizers get their names.
"""

import inspect
import types
import warnings

import keras
import numpy as np

from keras_hourglass.errors import RecipeError

IN_KERAS_3 = hasattr(keras, "ops")
# Whether TensorFlow computes for Keras 3: then some layers have a faster way than Keras's own.
ON_TENSORFLOW = IN_KERAS_3 and keras.backend.backend() == "tensorflow"
ON_JAX = IN_KERAS_3 and keras.backend.backend() == "jax"
ADDONS = "tfa:"


def _tensorflow_ops():
    import tensorflow as tf

    def cast(x, dtype):
        return tf.cast(tf.convert_to_tensor(x), dtype)

    def arange(stop, dtype):
        return tf.cast(tf.range(stop), dtype)

    return types.SimpleNamespace(
        arange=arange,
        argmax=tf.argmax,
        cast=cast,
        concatenate=tf.concat,
        convert_to_numpy=np.asarray,
        convert_to_tensor=tf.convert_to_tensor,
        divide_no_nan=tf.math.divide_no_nan,
        exp=tf.exp,
        floor=tf.floor,
        logical_and=tf.logical_and,
        max=tf.reduce_max,
        mean=tf.reduce_mean,
        reshape=tf.reshape,
        shape=tf.shape,
        square=tf.square,
        sum=tf.reduce_sum,
    )


ops = keras.ops if IN_KERAS_3 else _tensorflow_ops()
# Keras 2.15 computes in float32 here, and needs none.
LossScaleOptimizer = getattr(keras.optimizers, "LossScaleOptimizer", keras.optimizers.Optimizer)


def variable(values):
    """A variable of float32 that an optimizer can change."""
    if IN_KERAS_3:
        return keras.Variable(values, dtype="float32")
    import tensorflow as tf

    return tf.Variable(values, dtype=tf.float32)


def policy_named(dtype):
    """The dtype policy that an argument `dtype` names, the global one for `None`."""
    if IN_KERAS_3:
        return keras.dtype_policies.get(dtype) if dtype is not None else keras.config.dtype_policy()
    return dtype


def policy_config(policy):
    """A policy as an argument `dtype` that survives JSON: its name, if that tells all."""
    if policy is None or isinstance(policy, str):
        return policy
    if IN_KERAS_3 and type(policy) is not keras.dtype_policies.DTypePolicy:
        return keras.dtype_policies.serialize(policy)
    return policy.name


# Batches by number, whose order `fit` may draw.
BATCHES = keras.utils.PyDataset if IN_KERAS_3 else keras.utils.Sequence


def fitting(recipe):
    """A recipe as the installed Keras can train it.

    Args:
        recipe: a `Recipe`.

    Returns:
        The `Recipe`; beside Keras 2.15 without TensorBoard, in float32 for `precision: auto`, and
        without XLA where that is left to Keras.

    Raises:
        RecipeError: naming the key's path, where that would be another training.
    """
    name, training = recipe.optimizer.name, recipe.training
    if IN_KERAS_3:
        if name.lower().startswith(ADDONS):
            raise RecipeError(
                "optimizer.name: TensorFlow Addons needs Keras 2.15, see keras_hourglass[addons]. "
                f"Received: {name!r} with Keras {keras.__version__}. Keras itself has adamw, lamb "
                "and, for averages, --set optimizer.options.use_ema=true."
            )
        return recipe
    for where, value, works in (
        ("optimizer.name", name, name.lower().replace("_", "") != "torchrmsprop"),
        ("training.precision", training.precision, training.precision in ("auto", "float32")),
        ("training.devices", training.devices, training.devices == "one"),
    ):
        if not works:
            other = "tfa:RectifiedAdam or adam" if where.startswith("opt") else "the default"
            raise RecipeError(
                f"{where}: needs Keras 3. Received: {value!r} with Keras {keras.__version__}. "
                f"Choose {other}."
            )
    recipe = recipe.changed("training", precision="float32", jit_compile=bool(training.jit_compile))
    return recipe.changed("monitoring", tensorboard=False)


def optimizer_class(name):
    """What makes an optimizer of TensorFlow Addons, or one of Keras 2.15 in its older form.

    Args:
        name: its class, after `tfa:` for Addons. Upper and lower case are the same.

    Returns:
        A function of `learning_rate`, a number or schedule, and options. The wrappers of Addons
        (Lookahead, MovingAverage, SWA) need an option `optimizer`, the name of another one.

    Raises:
        RecipeError: if there is no such optimizer, or one to wrap is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Addons tells of its end at every import.
        from tensorflow_addons import optimizers
    known = {
        **{key: kind for key, kind in vars(keras.optimizers.legacy).items() if _usable(kind)},
        **{f"{ADDONS}{key}": kind for key, kind in vars(optimizers).items() if _usable(kind)},
    }
    kind = {key.lower(): kind for key, kind in known.items()}.get(name.lower())
    if kind is None:
        names = [key.removeprefix(ADDONS) for key in known if key.startswith(ADDONS)]
        raise RecipeError(
            f"optimizer.name: {ADDONS} goes before one of {', '.join(sorted(names))}. "
            f"Received: {name!r}."
        )
    if "optimizer" not in inspect.signature(kind).parameters:
        return _as_in_keras_3(kind)

    def wrapper(learning_rate, optimizer=None, **options):
        if not isinstance(optimizer, str):
            raise RecipeError(
                f"optimizer.options.optimizer: {name} wraps another optimizer, such as "
                f"tfa:RectifiedAdam. Received: {optimizer!r}."
            )
        return _as_in_keras_3(kind)(
            optimizer_class(optimizer)(learning_rate=learning_rate), **options
        )

    return wrapper


def _usable(kind):
    base = keras.optimizers.legacy.Optimizer
    return (
        inspect.isclass(kind)
        and issubclass(kind, base)
        and kind is not base
        and not inspect.isabstract(kind)
    )


def _as_in_keras_3(kind):
    """A class of optimizers with the names that Keras 3 has for the same things."""

    class Optimizer(kind):
        use_ema = hasattr(kind, "assign_average_vars")

        def build(self, variables):
            self._create_all_weights(variables)

        @property
        def variables(self):
            """All of them, the learning rate among them, in a fixed order."""
            rate = self.learning_rate
            known = any(rate is variable for variable in self.weights)
            return self.weights if known or not hasattr(rate, "assign") else [*self.weights, rate]

        def finalize_variable_values(self, variables):
            self.assign_average_vars(variables)

    return Optimizer
