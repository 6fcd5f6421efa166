"""On what a result was computed."""

import os
import platform
import sys


def environment():
    """Hardware and versions, as label -> text.

    Example:

    >>> "Python" in environment()
    True
    """
    from keras_hourglass import __version__

    facts = {
        "keras_hourglass": __version__,
        "Python": platform.python_version(),
        "processor": _processor(),
        "cores": str(_cores()),
        "system": f"{platform.system()} {platform.machine()}",
    }
    # Only what took part: scoring a file needs no Keras.
    keras = sys.modules.get("keras")
    if keras is not None:
        backend = keras.backend.backend()
        version = getattr(sys.modules.get(backend), "__version__", "")
        facts["Keras"] = f"{keras.__version__} on {backend} {version}".strip()
        facts["accelerators"] = _accelerators(keras)
    for name, module in (("NumPy", "numpy"), ("OpenCV", "cv2")):
        if module in sys.modules:
            facts[name] = sys.modules[module].__version__
    return facts


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or "unknown"


def _cores():
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _accelerators(keras):
    try:
        devices = keras.distribution.list_devices("gpu")
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        devices = []  # not every backend and version can list them
    return ", ".join(str(device) for device in devices) or "none"
