"""Weights of a network by name: write, read, check and load them, strictly.

Every array has a readable name made of the layers' names, see `network.variables`. The files are
Keras's `.weights.h5`, so that `model.load_weights` reads them on every backend. Reading needs no
private part of Keras and refuses whatever is missing, left over or of another shape.
"""

import io
import pathlib
from typing import Any

import numpy as np

from keras_hourglass.errors import WeightsError, listed
from keras_hourglass.io.arrays import hdf5_items, hdf5_values, open_hdf5
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.structured import shorten
from keras_hourglass.network.variables import arrays_of, file_keys, layer_keys, named_variables
from keras_hourglass.typing import Path

FILE_DTYPES = ("float32", "float16")
# What a compiled model's file holds besides the network.
_NOT_WEIGHTS = ("optimizer/", "metrics/")


def assign_arrays(model, arrays, origin="the arrays"):
    """Set all variables from arrays of the same names, strictly.

    Args:
        model: the network.
        arrays: dict name -> array of the variable's shape, any float type.
        origin: what the arrays came from, for messages.

    Raises:
        WeightsError: naming arrays that are missing, left over, of another shape or not finite;
            the model is unchanged in that case.
    """
    arrays = checked(model, arrays, origin)
    for name, variable in named_variables(model).items():
        variable.assign(arrays[name])


def checked(network, arrays, origin="the arrays"):
    """Arrays as float32 if they are exactly those of a network.

    Args:
        network: the model, or its `Graph`.
        arrays, origin: as for `assign_arrays`.

    Returns:
        A dict name -> float32 array.

    Raises:
        WeightsError: as `assign_arrays`.
    """
    shapes = {name: tuple(v.shape) for name, v in named_variables(network).items()}
    _compare(shapes, arrays, origin)
    return {name: np.asarray(arrays[name], "float32") for name in shapes}


def save_weights(model: Any, path: Path, dtype: str = "float32") -> None:
    """Write the network's weights, without any optimizer state, in Keras's own layout.

    Args:
        model: the network.
        path: file ending in `.weights.h5`; replaced atomically.
        dtype: `"float32"`, or `"float16"` for half the size (values are float32 again once
            loaded). Moving statistics of batch normalisation stay float32 in any case.

    Raises:
        WeightsError: if the dtype is unknown or a value does not fit it.

    Example:

    >>> save_weights(model, "half.weights.h5", dtype="float16")  # doctest: +SKIP
    """
    atomic_write(path, weights_file(model, dtype))


def weights_file(model, dtype="float32"):
    """The content of the file that `save_weights` writes, as bytes."""
    if dtype not in FILE_DTYPES:
        raise WeightsError(
            f"Weights are stored as one of {FILE_DTYPES}. Received: dtype={dtype!r}. "
            "Choose one of these."
        )
    import h5py

    keys = file_keys(model)
    buffer = io.BytesIO()
    # In memory first: on a full disk HDF5 may take the whole process down.
    with h5py.File(buffer, "w") as file:
        # Keras 2.15 looks for these groups in the model and every layer, even empty ones.
        file.create_group("vars")
        for key in layer_keys(model):
            file.create_group(f"{key}/vars")
        for name, array in arrays_of(model).items():
            with np.errstate(over="ignore"):
                stored = array.astype(dtype if "moving_" not in name else "float32")
            if not np.isfinite(stored).all():
                raise WeightsError(
                    f"Weights must be finite numbers in {stored.dtype}. Received: {name} with "
                    f"values up to {np.abs(array).max()}. Save an earlier checkpoint or float32."
                )
            file.create_dataset(keys[name], data=stored)
    return buffer.getvalue()


def load_weights(model: Any, path: Path) -> None:
    """Load a `.weights.h5` file, strictly; optimizer state in it is left out.

    Args:
        model: the network, built.
        path: a file written by `save_weights` or by Keras's `model.save_weights`.

    Raises:
        WeightsError: if the file is missing or damaged, or an array is missing, left over, of
            another shape or not finite. The model is unchanged in that case.

    Example:

    >>> load_weights(model, "half.weights.h5")  # doctest: +SKIP
    """
    assign_arrays(model, read_arrays(model, path), str(path))


def read_arrays(model, path, origin=None):
    """The arrays of a `.weights.h5` file under the names of the model's variables.

    Args:
        model: the model or its `Graph`, which gives the names; shapes may differ from those in
            the file.
        path: the file, or an open binary file.
        origin: what to call it in messages; the path by default.

    Returns:
        A dict name -> array; arrays that the model has no place for keep their path in the file.

    Raises:
        WeightsError: if the file is missing or damaged.
    """
    origin = origin or path
    if not hasattr(path, "read") and not pathlib.Path(path).is_file():
        raise WeightsError(f"No weights at {path}. Check the path.")
    with open_hdf5(path, "file of weights", WeightsError, origin) as file:
        found = {
            key: hdf5_values(item)
            for key, item in hdf5_items(file)
            if not key.startswith(_NOT_WEIGHTS)
        }
    names = {key: name for name, key in file_keys(model).items()}
    return {names.get(key, key): array for key, array in found.items()}


def _compare(shapes, arrays, origin):
    """Refuse arrays that are not exactly the ones expected."""
    faults = [
        ("missing", sorted(set(shapes) - set(arrays))),
        ("left over", sorted(set(arrays) - set(shapes))),
    ]
    common = sorted(set(shapes) & set(arrays))
    texts = [name for name in common if np.asarray(arrays[name]).dtype.kind not in "fiu"]
    faults.append(("no numbers", texts))
    common = [name for name in common if name not in texts]
    wrong = [name for name in common if tuple(np.shape(arrays[name])) != shapes[name]]
    faults.append(
        ("of another shape", [f"{n} {np.shape(arrays[n])}, not {shapes[n]}" for n in wrong])
    )
    bad = [name for name in common if not np.isfinite(arrays[name]).all()]
    faults.append(("not finite", bad))
    told = [f"{len(names)} {kind}: {listed(names, 2)}" for kind, names in faults if names]
    if told:
        raise WeightsError(
            f"The arrays in {origin} must be those of the network, one for one. Received: "
            f"{shorten('; '.join(told), 190)}. Use weights of this architecture."
        )
