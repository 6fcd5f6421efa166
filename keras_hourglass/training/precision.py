"""`training.precision: auto`: half precision where the hardware has it, float32 elsewhere."""

import dataclasses

import keras

from keras_hourglass.compat import IN_KERAS_3
from keras_hourglass.hardware import accelerators, processor_flags

# Instructions of a processor that multiply bfloat16 numbers; without them TensorFlow converts back
# and forth, and a training step takes eight times as long as in float32.
_INSTRUCTIONS = {"avx512_bf16", "amx_bf16", "bf16"}


def with_precision(recipe):
    """A recipe whose `training.precision` is a Keras dtype policy, `auto` resolved.

    A policy that this machine can only emulate is kept, with a warning on the screen.

    Args:
        recipe: a `Recipe`.

    Returns:
        The `Recipe`, `auto` replaced by `mixed_bfloat16` or `float32`.

    Example:

    >>> from keras_hourglass.training.recipe import load_recipe
    >>> recipe = load_recipe({"training": {"precision": "float32"}})
    >>> with_precision(recipe).training.precision
    'float32'
    """
    wanted = recipe.training.precision
    if wanted == "float32":
        return recipe
    # Keras 2 trains in float32 here, see `compat.check_recipe`.
    fast = IN_KERAS_3 and has_bfloat16()
    if wanted == "auto":
        policy = "mixed_bfloat16" if fast else "float32"
        print(f"training.precision: auto is {policy} on this machine", flush=True)
        training = dataclasses.replace(recipe.training, precision=policy)
        return dataclasses.replace(recipe, training=training)
    if not fast and not accelerators():
        print(
            f"training.precision: {wanted} is emulated by this processor and may take several "
            "times as long as float32. Use float32 or auto.",
            flush=True,
        )
    return recipe


def has_bfloat16():
    """Whether the backend's device multiplies bfloat16 numbers by itself.

    Returns:
        A bool: true for NVIDIA GPUs from compute capability 8.0 on and for TPUs; on a processor
        true if TensorFlow is the backend and the processor has the instructions.
    """
    backend = keras.backend.backend()
    found = accelerators()
    if found:
        return all(capable(capability) for capability in found)
    return backend == "tensorflow" and bool(_INSTRUCTIONS & processor_flags())


def capable(capability):
    """Whether a device of this compute capability, `(8, 0)` or `"8.0"`, has bfloat16 units.

    Devices without such a number (TPUs, `None`) have.

    Example:

    >>> capable((7, 5)), capable("9.0"), capable(None)
    (False, True, True)
    """
    if capability is None:
        return True
    major = capability.split(".")[0] if isinstance(capability, str) else capability[0]
    return int(major) >= 8
