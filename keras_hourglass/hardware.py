"""What the machine computes with."""

import contextlib
import glob
import math
import os
import pathlib
import sys

from keras_hourglass.typing import Path


def processor_flags(path: Path = "/proc/cpuinfo") -> set[str]:
    """What Linux says a processor can do, a set of names; empty on other systems.

    Args:
        path: the file it says so in, with lines `flags : fpu vme …` (`Features` on Arm).

    Returns:
        A set of names such as `"avx2"`.

    Example:

    >>> "avx2" in processor_flags()  # doctest: +SKIP
    True
    """
    flags = set()
    with contextlib.suppress(OSError):
        for line in pathlib.Path(path).read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, values = line.partition(":")
            if name.strip() in ("flags", "Features"):
                flags |= set(values.split())
    return flags


def cores(quota: Path = "/sys/fs/cgroup/cpu.max") -> int:
    """How many logical processors this process may use.

    Args:
        quota: the file in which Linux says what share of them a container gets.

    Returns:
        A number, at least 1.

    Example:

    >>> cores() >= 1
    True
    """
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    with contextlib.suppress(OSError, ValueError):  # no Linux, no container, or "max"
        share, period = map(float, pathlib.Path(quota).read_text(encoding="utf-8").split())
        count = min(count, math.ceil(share / period))
    return max(count, 1)


# Instructions of a processor that multiply bfloat16 numbers; without them TensorFlow converts back
# and forth, and a training step takes eight times as long as in float32.
BFLOAT16 = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
# Where Linux shows graphics cards (also in WSL and on Jetson) and TPUs to programs.
_DEVICES = ("/dev/nvidia*", "/dev/nvhost*", "/dev/nvmap", "/dev/nvgpu", "/dev/dxg", "/dev/kfd",
            "/dev/accel*", "/dev/vfio/[0-9]*")  # fmt: skip


def accelerators() -> list:
    """The accelerators that Keras's backend sees.

    Returns:
        The compute capability of each, such as `"9.0"` or `(9, 0)`; `None` for those without.

    Example:

    >>> accelerators()  # doctest: +SKIP
    [(9, 0)]
    """
    # Not every answer is worth the seconds that a backend takes to start.
    if sys.platform == "linux" and not any(map(glob.glob, _DEVICES)):
        return []
    import keras

    backend = keras.backend.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        details = tf.config.experimental.get_device_details
        found = [
            details(gpu).get("compute_capability") for gpu in tf.config.list_physical_devices("GPU")
        ]
        return found + [None] * len(tf.config.list_physical_devices("TPU"))
    if backend == "jax":
        import jax

        devices = [device for device in jax.local_devices() if device.platform != "cpu"]
        return [getattr(device, "compute_capability", None) for device in devices]
    import torch

    return [torch.cuda.get_device_capability(i) for i in range(torch.cuda.device_count())]


def has_bfloat16() -> bool:
    """Whether the backend's device multiplies bfloat16 numbers by itself.

    Returns:
        A bool: true for NVIDIA GPUs from compute capability 8.0 on and for TPUs; on a processor
        true if TensorFlow is the backend and the processor has the instructions.
    """
    import keras

    backend = keras.backend.backend()
    found = accelerators()
    if found:
        return all(capable(capability) for capability in found)
    return backend == "tensorflow" and bool(BFLOAT16 & processor_flags())


def capable(capability: str | tuple | None) -> bool:
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
