"""What the processor can do."""

import contextlib
import pathlib

from keras_hourglass.hints import Path


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
