"""Other people's checkpoints: files in, read without running anything in them, a model out.

Two public layouts are known. Each is a table from our names to theirs, filled for the depth,
stacks and blocks found in the checkpoint. Every source array and every target array is used
exactly once, or the conversion fails and names them.
"""

import pathlib
import re
from typing import Any

import numpy as np

from keras_hourglass.errors import WeightsError, listed, optional
from keras_hourglass.io.arrays import MAX_BYTES, read_npz
from keras_hourglass.io.structured import boundary, one_line, shorten
from keras_hourglass.network.config import complete, stem_widths
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Path

LAYOUTS = ("bearpaw", "princeton")
# Keys under which training scripts put the arrays among other things.
_WRAPPINGS = ("state_dict", "model_state_dict")
# Counters of training steps, which no inference needs.
_COUNTER = ".num_batches_tracked"
_NORM = {
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_variance": "running_var",
}
_CONV = {"kernel": "weight", "bias": "bias"}

# Images are RGB in 0–1; pytorch-pose subtracts a mean and divides by nothing.
_INPUTS: dict[str, dict] = {
    "bearpaw": {"stem": "bearpaw", "offset": [-0.4404, -0.4440, -0.4327]},
    "princeton": {"stem": "newell", "offset": 0.0},
}


def read_checkpoint(path: Path) -> dict[str, np.ndarray]:
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

    Example:

    >>> arrays = read_checkpoint("hg_s2_b1.pth.tar")  # doctest: +SKIP
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
    with boundary(path, "checkpoint", "Download it again", WeightsError):
        return readers.get(path.suffix, _read_torch)(path)


def from_torch(
    state_dict: dict,
    layout: str | None = None,
    num_stacks: int | None = None,
    skeleton: Skeleton | str | dict | None = None,
    **options,
) -> Any:
    """A model from the arrays of a PyTorch checkpoint.

    Args:
        state_dict: dict name -> array (NumPy, or anything `numpy.asarray` takes). A checkpoint
            around it (`{"state_dict": ...}`) and prefixes (`module.`, `model.module.`) may stay.
        layout: `"bearpaw"` (pytorch-pose and the pytorch-stacked-hourglass package) or
            `"princeton"` (pytorch_stacked_hourglass); found out by default.
        num_stacks: stacks the checkpoint must have; counted by default.
        skeleton: name, `Skeleton` or dict; MPII where there are 16 joints, by default.
        **options: `input_shape`, `name`, `dtype` of the model.

    Returns:
        The `StackedHourglass` with these weights.

    Raises:
        WeightsError: if the layout is another, or an array is missing, left over or mis-shaped.

    Example:

    >>> from_torch({"fc1.weight": np.zeros((2, 2))})
    Traceback (most recent call last):
    ...
    keras_hourglass.errors.WeightsError: This is neither of the layouts bearpaw and princeton. ...
    """
    from keras_hourglass.network.model import StackedHourglass
    from keras_hourglass.zoo.weights import assign_arrays

    config, arrays, _ = translate(state_dict, layout, num_stacks, skeleton)
    model = StackedHourglass.from_config({**config, **options})
    assign_arrays(model, arrays, f"the {layout or 'PyTorch'} checkpoint")
    return model


def translate(state_dict, layout=None, num_stacks=None, skeleton=None):
    """Architecture and arrays under our names, without Keras.

    Args:
        state_dict, layout, num_stacks, skeleton: as for `from_torch`.

    Returns:
        The arguments of `StackedHourglass`, a dict name -> array, and the names of the source
        arrays that were dropped because they have no effect.

    Raises:
        WeightsError: as for `from_torch`.
    """
    source = unwrap(state_dict)
    layout = layout or detect_layout(source)
    if layout not in LAYOUTS:
        raise WeightsError(f"Known layouts are {LAYOUTS}. Received: {layout!r}. Choose one.")
    names = _bearpaw_names if layout == "bearpaw" else _princeton_names
    config = _architecture(source, layout, skeleton)
    if num_stacks not in (None, config["num_stacks"]):
        raise WeightsError(
            f"The checkpoint has {config['num_stacks']} stacks. Received: stacks {num_stacks}. "
            "Leave the number out."
        )
    table = {}
    for ours, theirs in names(config):
        parts = _CONV if theirs + ".running_mean" not in source else _NORM
        for part, source_part in parts.items():
            table[f"{ours}/{part}"] = f"{theirs}.{source_part}"
    missing = [name for name in table.values() if name not in source]
    left = sorted(set(source) - set(table.values()))
    dropped = [name for name in left if name.endswith(_COUNTER) or _without_effect(name, source)]
    left = [name for name in left if name not in dropped]
    if missing or left:
        raise WeightsError(
            f"Every array of a {layout} checkpoint must be used exactly once. "
            f"Received: {len(missing)} missing ({listed(missing)}), "
            f"{len(left)} left over ({listed(left)}). Check the layout and the file."
        )
    return config, {ours: _axes(source[theirs]) for ours, theirs in table.items()}, dropped


def unwrap(state_dict):
    """The arrays of a checkpoint without the wrapping that training scripts put around them."""
    for key in _WRAPPINGS:
        if isinstance(state_dict.get(key), dict):
            state_dict = state_dict[key]
    prefix = re.compile(r"^(?:model\.|module\.)+")
    arrays = {}
    for name, value in state_dict.items():
        if not hasattr(value, "shape") or not isinstance(name, str):
            raise WeightsError(
                f"A state dict holds arrays by name. Received: {shorten(repr(name))} of type "
                f"{type(value).__name__}. "
                "Pass the dict of arrays, e.g. checkpoint['state_dict']."
            )
        array = np.asarray(value)
        if array.dtype.kind not in "fiu":
            raise WeightsError(
                f"A state dict holds real numbers. Received: {shorten(name)} of type {array.dtype}."
            )
        arrays[prefix.sub("", name)] = array
    return arrays


def detect_layout(arrays):
    """`"bearpaw"` or `"princeton"`, from the names of the arrays.

    Raises:
        WeightsError: if it is neither.
    """
    if any(name.startswith("hg.0.hg.") for name in arrays):
        return "bearpaw"
    if any(name.startswith("hgs.0.") for name in arrays):
        return "princeton"
    raise WeightsError(
        "This is neither of the layouts bearpaw and princeton. "
        f"Received: {len(arrays)} arrays such as {listed(sorted(arrays), 3)}. "
        "Convert checkpoints of these two only."
    )


def _architecture(source, layout, skeleton):
    """Sizes of the network, read off the names and shapes of the arrays."""
    score = "score" if layout == "bearpaw" else "outs"
    suffix = "" if layout == "bearpaw" else ".conv"
    heads = [
        name for name in source if re.fullmatch(rf"{score}\.\d+{re.escape(suffix)}.weight", name)
    ]
    if not heads or source[heads[0]].ndim != 4:
        raise WeightsError(
            f"A {layout} checkpoint has 1×1 convolutions {score}.N{suffix}.weight. "
            f"Received: {listed(heads)}. Check the layout and the file."
        )
    joints, features = source[heads[0]].shape[:2]
    if layout == "bearpaw":
        depth = 1 + _largest(r"hg\.0\.hg\.(\d+)\.", source)
        blocks = 1 + _largest(r"hg\.0\.hg\.0\.0\.(\d+)\.", source)
    else:
        depth = max(name.count("low2.") for name in source if name.startswith("hgs.0."))
        blocks = 1
    if skeleton is None and joints == 16:
        skeleton = "mpii"
    return complete(
        {
            "num_keypoints": int(joints),
            "skeleton": skeleton,
            "num_stacks": len(heads),
            "num_features": int(features),
            "num_blocks": blocks,
            "depth": depth,
            "scale": 1 / 255,
            **_INPUTS[layout],
        }
    )


def _largest(pattern, names):
    return max((int(match[1]) for name in names if (match := re.match(pattern, name))), default=0)


def _residual(ours, theirs, projects, skip, wrap=""):
    """A residual's layers; `projects` where input and output widths differ."""
    for index in (1, 2, 3):
        yield f"{ours}/bn{index}", f"{theirs}.bn{index}"
        yield f"{ours}/conv{index}", f"{theirs}.conv{index}{wrap}"
    if projects:
        yield f"{ours}/skip", f"{theirs}.{skip}"


def _chain(source, widths):
    """For each residual of a chain, whether it changes the number of channels."""
    for width in widths:
        yield source != width
        source = width


def _bearpaw_names(config):
    first, before, after = stem_widths(config)
    blocks = range(config["num_blocks"])
    yield from (("stem/conv", "conv1"), ("stem/bn", "bn1"))
    changes = list(_chain(first, before + after))
    for name, layer, projects in zip(
        ("before1", "after1", "after2"), ("layer1", "layer2", "layer3"), changes, strict=True
    ):
        yield from _residual(f"stem/{name}", f"{layer}.0", projects, "downsample.0")
    for stack in range(config["num_stacks"]):
        ours = f"hourglass_{stack + 1}"
        for level in reversed(range(config["depth"])):
            branches = {"upper": 0, "lower": 1, "after": 2, **({} if level else {"bottom": 3})}
            for branch, number in branches.items():
                for block in blocks:
                    theirs = f"hg.{stack}.hg.{level}.{number}.{block}"
                    yield from _residual(f"{ours}/{branch}{block + 1}", theirs, False, "")
            ours += "/inner"
        ours = f"supervision_{stack + 1}"
        for block in blocks:
            theirs = f"res.{stack}.{block}"
            yield from _residual(f"{ours}/residual{block + 1}", theirs, False, "")
        yield f"{ours}/conv1", f"fc.{stack}.0"
        yield f"{ours}/bn1", f"fc.{stack}.1"
        yield f"{ours}/heatmaps", f"score.{stack}"
        if stack + 1 < config["num_stacks"]:
            yield f"{ours}/merge_features", f"fc_.{stack}"
            yield f"{ours}/merge_heatmaps", f"score_.{stack}"


def _princeton_names(config):
    first, before, after = stem_widths(config)
    yield from (("stem/conv", "pre.0.conv"), ("stem/bn", "pre.0.bn"))
    changes = list(_chain(first, before + after))
    for name, layer, projects in zip(
        ("before1", "after1", "after2"), ("pre.1", "pre.3", "pre.4"), changes, strict=True
    ):
        yield from _residual(f"stem/{name}", layer, projects, "skip_layer.conv", ".conv")
    for stack in range(config["num_stacks"]):
        ours, theirs = f"hourglass_{stack + 1}", f"hgs.{stack}.0"
        for level in range(config["depth"]):
            branches = {"upper1": "up1", "lower1": "low1", "after1": "low3"}
            if level == config["depth"] - 1:
                branches["bottom1"] = "low2"
            for branch, layer in branches.items():
                yield from _residual(f"{ours}/{branch}", f"{theirs}.{layer}", False, "", ".conv")
            ours, theirs = f"{ours}/inner", f"{theirs}.low2"
        ours = f"supervision_{stack + 1}"
        yield from _residual(f"{ours}/residual1", f"features.{stack}.0", False, "", ".conv")
        yield f"{ours}/conv1", f"features.{stack}.1.conv"
        yield f"{ours}/bn1", f"features.{stack}.1.bn"
        yield f"{ours}/heatmaps", f"outs.{stack}.conv"
        if stack + 1 < config["num_stacks"]:
            yield f"{ours}/merge_features", f"merge_features.{stack}.conv.conv"
            yield f"{ours}/merge_heatmaps", f"merge_preds.{stack}.conv.conv"


def _without_effect(name, source):
    """Whether an array belongs to a skip convolution that its residual never calls."""
    match = re.fullmatch(r"(.+)\.skip_layer\.conv\.(?:weight|bias)", name)
    kernel = source.get(f"{match[1]}.skip_layer.conv.weight") if match else None
    return kernel is not None and kernel.shape[0] == kernel.shape[1]


def _axes(array):
    """PyTorch's kernel axes (out, in, height, width) as Keras's (height, width, in, out)."""
    return array.transpose(2, 3, 1, 0) if array.ndim == 4 else array


def _read_torch(path):
    try:
        torch = optional("torch")
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
        # What torch says of these, in colours, is how to read them unsafely.
        unsafe = "eights_only" in str(error) or "eights only" in str(error)
        reason = "no PyTorch file, or one with code in it" if unsafe else one_line(error, 100)
        raise WeightsError(
            f"{path} is not a checkpoint that can be read safely ({reason}). It must hold "
            "arrays and plain values only; save its state_dict anew where you trust it."
        ) from None
    content = _state_dict(content, path)
    total, arrays = 0, {}
    for name, value in content.items():
        if hasattr(value, "detach"):
            # A few bytes may stand for any number, seen again and again.
            total += value.numel() * 4
            if total > min(MAX_BYTES, 8 * path.stat().st_size + 2**20):
                raise WeightsError(
                    f"The arrays of a checkpoint lie in it. Received: {total:,} bytes in {path} of "
                    f"{path.stat().st_size:,} bytes. Save its state_dict anew."
                )
            if value.is_complex() or value.is_sparse or value.is_quantized or value.is_meta:
                raise WeightsError(
                    f"A checkpoint holds dense real numbers. Received: {shorten(name)} of "
                    f"{value.dtype} ({value.layout}, {value.device}) in {path}. Convert it first."
                )
            value = value.detach().float().numpy()
        arrays[name] = value
    return arrays


def _state_dict(content, path):
    """The part of a checkpoint with the network's arrays."""
    if not isinstance(content, dict):
        raise WeightsError(
            f"A checkpoint is a dict of arrays. Received: {path} with a {type(content).__name__}. "
            "Save its state_dict() instead."
        )
    return next((content[k] for k in _WRAPPINGS if isinstance(content.get(k), dict)), content)


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
        raise WeightsError(
            f"{path} is damaged ({one_line(error, 100)}). Download it again."
        ) from None


def _read_numpy(path):
    return read_npz(path, what=".npz file of arrays", error=WeightsError)
