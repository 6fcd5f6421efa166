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
if IN_KERAS_3:
    dtype_policy = keras.mixed_precision.dtype_policy
    set_dtype_policy = keras.mixed_precision.set_dtype_policy
else:
    dtype_policy = keras.mixed_precision.global_policy
    set_dtype_policy = keras.mixed_precision.set_global_policy


def check_recipe(recipe):
    """Refuse what the installed Keras cannot train.

    Raises:
        RecipeError: naming the key's path.
    """
    name, training = recipe.optimizer.name, recipe.training
    if IN_KERAS_3:
        if name.lower().startswith(ADDONS):
            raise RecipeError(
                "optimizer.name: TensorFlow Addons needs Keras 2.15, see keras_hourglass[addons]. "
                f"Received: {name!r} with Keras {keras.__version__}. Keras itself has adamw, lamb "
                "and, for averages, --set optimizer.options.use_ema=true."
            )
        return
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


def build_optimizer(optimizer, variables):
    """Make the optimizer's own variables for a list of trainable ones."""
    if hasattr(optimizer, "build"):
        optimizer.build(variables)
    else:
        optimizer._create_all_weights(variables)


def optimizer_variables(optimizer):
    """All variables of a built optimizer, the learning rate among them, in a fixed order."""
    if IN_KERAS_3:
        return optimizer.variables
    variables = list(optimizer.variables if hasattr(optimizer, "build") else optimizer.weights)
    rate = getattr(optimizer, "_learning_rate", None)
    if not hasattr(optimizer, "build"):
        rate = optimizer.learning_rate
    known = any(rate is variable for variable in variables)
    return variables if known or not hasattr(rate, "assign") else [*variables, rate]


def learning_rate(optimizer):
    """The present learning rate as a number."""
    rate = optimizer.learning_rate
    return float(ops.convert_to_numpy(rate(optimizer.iterations) if callable(rate) else rate))


def keeps_averages(optimizer):
    """Whether an optimizer averages the weights: `use_ema` of Keras, or a wrapper of Addons."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    return bool(getattr(inner, "use_ema", False)) or hasattr(inner, "assign_average_vars")


def put_averages(optimizer, variables):
    """Overwrite trainable variables with their averages."""
    if hasattr(optimizer, "assign_average_vars"):
        optimizer.assign_average_vars(variables)
    else:
        optimizer.finalize_variable_values(variables)


def addons_optimizer(name, rate, options):
    """An optimizer of TensorFlow Addons.

    Args:
        name: its class, after `tfa:`. Upper and lower case are the same.
        rate: learning rate or schedule.
        options: further arguments. A wrapper (Lookahead, MovingAverage, SWA) needs `optimizer`,
            the name of another one, of Keras or after `tfa:`.

    Raises:
        RecipeError: if Addons has no such optimizer, or one to wrap is missing.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Addons tells of its end at every import.
        from tensorflow_addons import optimizers
    known = {
        key: kind
        for key, kind in vars(optimizers).items()
        if inspect.isclass(kind)
        and issubclass(kind, optimizers.KerasLegacyOptimizer)
        and not inspect.isabstract(kind)
        and kind is not optimizers.KerasLegacyOptimizer
    }
    found = {key.lower(): kind for key, kind in known.items()}.get(name[len(ADDONS) :].lower())
    if found is None:
        raise RecipeError(
            f"optimizer.name: {ADDONS} goes before one of {', '.join(sorted(known))}. "
            f"Received: {name!r}."
        )
    if "optimizer" not in inspect.signature(found).parameters:
        return found(learning_rate=rate, **options)
    inner = options.get("optimizer")
    if not isinstance(inner, str):
        raise RecipeError(
            f"optimizer.options.optimizer: {name} wraps another optimizer, such as "
            f"tfa:RectifiedAdam. Received: {inner!r}."
        )
    if inner.lower().startswith(ADDONS):
        wrapped = addons_optimizer(inner, rate, {})
    else:
        wrapped = keras.optimizers.get(inner, use_legacy_optimizer=True)
        wrapped.learning_rate = rate
    return found(wrapped, **{key: options[key] for key in options if key != "optimizer"})
