"""Less memory in training: what is inside a residual is computed again for the gradient."""

from typing import Any

import keras

from keras_hourglass.errors import UserError


def recompute(model: Any, on: bool = True) -> None:
    """Have every `Residual` of a model keep only its input for the gradient, and nothing inside.

    What is inside is computed a second time when the gradient is due. That costs the time of most
    of a forward pass for each training step, and the results are the same. Call it before the first
    training step; predictions are not concerned, nor is what `save` writes.

    Args:
        model: a `StackedHourglass`, or any Keras model or layer with residuals.
        on: whether to recompute.

    Raises:
        UserError: if this version of Keras has no `keras.remat`.

    Example:

    >>> from keras_hourglass import StackedHourglass
    >>> model = StackedHourglass(num_keypoints=5, num_features=16, input_shape=(128, 64, 3))
    >>> recompute(model)

    Reference:
        [Chen et al., 2016](https://arxiv.org/abs/1604.06174).
    """
    from keras_hourglass.layers.residual import Residual

    if on and not hasattr(keras, "remat"):
        raise UserError(
            "Recomputation in training needs `keras.remat`. "
            f"Received: Keras {keras.__version__}. Install Keras 3.9 or newer, or leave it off."
        )
    for layer in model._flatten_layers():
        if isinstance(layer, Residual):
            layer.recompute = on


def recomputed(layer, function, inputs):
    """Call a function of one tensor, and once more for the gradient.

    The second call must not move the statistics of batch norms again, and JAX lets no assignment
    out of a function that it calls twice: so variables go in and their new values come out.

    Args:
        layer: the Keras layer whose variables the function uses.
        function: of `inputs`; it must not depend on Keras's call context, which is gone when the
            gradient is due.
        inputs: a tensor.
    """
    variables, changed = layer.variables, []

    def run(inputs, *values):
        mapping = list(zip(variables, values, strict=True))
        with keras.StatelessScope(mapping) as scope:
            before = [scope.get_current_value(variable) for variable in variables]
            outputs = function(inputs)
            after = [scope.get_current_value(variable) for variable in variables]
        rows = list(zip(variables, before, after, strict=True))
        changed[:] = [variable for variable, old, new in rows if new is not old]
        return outputs, *(new for _, old, new in rows if new is not old)

    # Copies of the statistics: PyTorch refuses inputs that were changed in place since.
    given = (v.value if v.trainable else keras.ops.copy(v.value) for v in variables)
    outputs, *values = keras.remat(run)(inputs, *given)
    for variable, value in zip(changed, values, strict=True):
        variable.assign(value)
    return outputs
