"""The run's folder: what it says of the training, and what a resumed one must find in it."""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import sys

import keras
import yaml

from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.io.files import atomic_write
from keras_hourglass.training.recipe import save_recipe

# What may differ from the interrupted run without making another training of it.
_MAY_CHANGE = (
    "training.epochs", "data.workers", "data.cache", "optimizer.learning_rate",
    "optimizer.options.clipnorm", "optimizer.options.global_clipnorm",
    "optimizer.options.clipvalue", "schedule.early_stopping", "monitoring",
)  # fmt: skip


@contextlib.contextmanager
def alone(out):
    """Keep a second training out of a run's folder while the block runs.

    The lock is the operating system's and ends with the process, however that ends.

    Args:
        out: the run's folder, made if missing and removed again if it stays empty.

    Raises:
        UserError: if another training writes to it.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        yield
        return
    out.mkdir(parents=True, exist_ok=True)
    handle = os.open(out, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"Another training is writing to this folder. Received: {out}. "
                "Wait until it ends, or name another folder."
            ) from None
        except OSError:
            pass  # a file system without locks
        yield
    finally:
        os.close(handle)
        with contextlib.suppress(OSError):
            out.rmdir()


def check_resume(recipe, out):
    """Refuse a recipe that is not the interrupted one; whether its learning rate changed."""
    path = out / "recipe.yaml"
    try:
        before = _flat(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, yaml.YAMLError, AttributeError) as error:
        raise UserError(
            f"--resume needs the run's recipe. Received: {path} ({error}). Start anew."
        ) from error
    now = _flat(recipe.to_dict())
    for key in sorted({*before, *now}):
        allowed = any(key == name or key.startswith(f"{name}.") for name in _MAY_CHANGE)
        if not allowed and before.get(key) != now.get(key):
            raise RecipeError(
                f"{key}: --resume continues the same recipe. Received: {now.get(key)!r} after "
                f"{before.get(key)!r}. Start a new run, or resume with {path}."
            )
    return before.get("optimizer.learning_rate") != now["optimizer.learning_rate"]


def _flat(values, path=""):
    """Nested dicts as one, `section.key` -> value."""
    flat = {}
    for key, value in values.items():
        if isinstance(value, dict):
            flat.update(_flat(value, f"{path}{key}."))
        elif value is not None:
            flat[f"{path}{key}"] = value
    return flat


def prepare_folder(recipe, out, state):
    """Write the recipe; after an interruption, clear what was half-written.

    Args:
        recipe: the `Recipe`.
        out: the run's folder, made if missing.
        state: the state to go on from, or `None` for a new run.
    """
    out.mkdir(parents=True, exist_ok=True)
    save_recipe(recipe, out / "recipe.yaml")
    if state is None:
        atomic_write(out / "environment.json", json.dumps(environment(recipe), indent=1) + "\n")
        return
    for folder in (out, out / "last"):
        for path in folder.glob(".*") if folder.is_dir() else ():
            if re.fullmatch(r"\..+\.[0-9a-f]{8}\.[a-z0-9]+", path.name):
                path.unlink()
    log = out / "log.csv"
    if log.exists():
        # An epoch that was logged but not kept is trained, and logged, again.
        header, *rows = log.read_bytes().splitlines(keepends=True) or [b""]
        epochs = [row.split(b",")[0] for row in rows]
        kept = [
            row
            for row, epoch in zip(rows, epochs, strict=True)
            if epoch.isdigit() and int(epoch) < state["epoch"] and row.endswith(b"\n")
        ]
        atomic_write(log, header + b"".join(kept))


def environment(recipe):
    """What a result may depend on besides the recipe, JSON-ready."""
    versions = {"python": platform.python_version()}
    for name in (
        "keras_hourglass", "keras", "tensorflow", "tensorflow-cpu", "jax", "torch", "numpy",
        "opencv-python-headless",
    ):  # fmt: skip
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            versions[name] = importlib.metadata.version(name)
    return {
        "seed": recipe.training.seed,
        "backend": keras.backend.backend(),
        "versions": versions,
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} processors",
        "command": [pathlib.Path(sys.argv[0]).name, *sys.argv[1:]],
    }
