"""Reading checkpoint files as arrays, without running anything that is in them."""

import pathlib

import numpy as np

from keras_hourglass.errors import WeightsError


def read_checkpoint(path):
    """The dict of arrays in a checkpoint file.

    Args:
        path: a `.pth`, `.pth.tar`, `.pt` or `.bin` file of PyTorch (needs the package `torch`,
            which reads it in its safe mode), a `.safetensors` file (needs `safetensors`), or a
            `.npz` file.

    Returns:
        A dict name -> NumPy array.

    Raises:
        WeightsError: if the file is missing or damaged, holds more than arrays and plain values,
            or the package that reads it is not installed.
    """
    path = pathlib.Path(path)
    if not path.is_file():
        raise WeightsError(f"No checkpoint at {path}. Check the path.")
    if path.suffix == ".t7":
        raise WeightsError(
            f"Torch7 files have no maintained reader in Python. Received: {path}. "
            "Convert a PyTorch edition of these weights."
        )
    readers = {".safetensors": _read_safetensors, ".npz": _read_numpy}
    return readers.get(path.suffix, _read_torch)(path)


def _read_torch(path):
    try:
        import torch
    except ImportError:
        raise WeightsError(
            f"PyTorch's files are read by PyTorch. Received: {path} without the package torch. "
            "Install it with: pip install 'keras_hourglass[torch]'."
        ) from None
    try:
        # Training scripts store their best accuracy as a NumPy number; it is as plain as a float.
        with torch.serialization.safe_globals(_numpy_numbers()):
            content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen types, pickle errors among them
        # What torch says first is how to read it unsafely.
        reason = " ".join(str(error).split())[:200]
        reason = "no PyTorch file, or one with code in it" if "eights_only" in reason else reason
        raise WeightsError(
            f"{path} is not a checkpoint that can be read safely ({reason}). It must hold "
            "arrays and plain values only; save its state_dict anew where you trust it."
        ) from None
    content = _state_dict(content, path)
    return {
        name: value.detach().float().numpy() if hasattr(value, "detach") else value
        for name, value in content.items()
    }


def _state_dict(content, path):
    """The part of a checkpoint with the network's arrays."""
    if not isinstance(content, dict):
        raise WeightsError(
            f"A checkpoint is a dict of arrays. Received: {path} with a {type(content).__name__}. "
            "Save its state_dict() instead."
        )
    for key in ("state_dict", "model_state_dict"):
        if isinstance(content.get(key), dict):
            return content[key]
    return content


def _numpy_numbers():
    core = getattr(np, "_core", None) or np.core
    dtypes = [type(np.dtype(kind)) for kind in ("float64", "float32", "int64")]
    return [core.multiarray.scalar, np.dtype, *dtypes, _old_scalar()]


def _old_scalar():
    """The same function under the name that NumPy 1 wrote into files."""
    core = getattr(np, "_core", None) or np.core
    return core.multiarray.scalar, "numpy.core.multiarray.scalar"


def _read_safetensors(path):
    try:
        from safetensors import SafetensorError
        from safetensors.numpy import load_file
    except ImportError:
        raise WeightsError(
            f"Reading {path} needs the package safetensors. Received: none. "
            "Install it with: pip install safetensors."
        ) from None
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged ({error}). Download it again.") from None


def _read_numpy(path):
    try:
        with np.load(path, allow_pickle=False) as file:
            return dict(file)
    except (ValueError, OSError, EOFError) as error:
        raise WeightsError(
            f"{path} is not an .npz file of arrays ({error}). Save it anew."
        ) from None
