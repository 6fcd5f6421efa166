"""From crops to heatmaps: the one place where networks are run and mirror images are merged."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.errors import UserError
from keras_hourglass.inference.engines import Engine, make_engine
from keras_hourglass.network.config import stack_names
from keras_hourglass.network.graph import Snapshot
from keras_hourglass.typing import Array, Path


class HeatmapRunner:
    """Heatmaps of crops, averaged over their mirror images and over several scales.

    A crop and its mirror image are run in one batch. Where every new number of crops would be
    compiled anew (JAX), batches are filled up to a power of two.

    Args:
        model: a `StackedHourglass`, a `Snapshot`, or any Keras model from crops to heatmaps, see
            `with_named_outputs`.
        outputs: names of the wanted outputs; all stacks by default.
        flip_order: for each joint, the joint it becomes in the mirror (`Skeleton.flip_order`), to
            average with mirrored crops; `None` leaves that out.
        merge: in place of `flip_order` for other maps than those of joints, a callable from
            `(N, h, w, K)` maps and those of the mirrored crops to the merged ones.
        scales: factors on the side of the person box, a crop each, whose heatmaps are averaged.
        batch_size: people per run of the network, twice as many crops with their mirror images.
        engine: what runs the network, see `engines`: `"auto"` is the model itself, of a
            `Snapshot` the fastest; an engine that exists already may be shared.
        spinning: see `load_network`; turned off where the threads that read want the processors.

    Raises:
        UserError: if an argument is out of range, or the engine is unknown or not installed.

    Example:

    >>> from keras_hourglass import StackedHourglass
    >>> model = StackedHourglass(5, num_features=8, depth=1, input_shape=(32, 16, 3))
    >>> heatmaps = HeatmapRunner(model, ["stack_2"])(np.zeros((3, 32, 16, 3), np.uint8))
    >>> heatmaps["stack_2"].shape
    (3, 8, 4, 5)
    """

    def __init__(
        self,
        model: Any,
        outputs: Sequence[str] | None = None,
        flip_order: Sequence[int] | None = None,
        scales: Sequence[float] = (1.0,),
        batch_size: int = 16,
        engine: Path | Callable = "auto",
        merge: Callable | None = None,
        spinning: bool = True,
    ):
        if batch_size < 1 or not len(scales) or not all(scale > 0 for scale in scales):
            raise UserError(
                "Batch size and scales must be positive. Received: "
                f"batch_size={batch_size}, scales={tuple(scales)}."
            )
        model = with_named_outputs(model)
        self.outputs = stack_names(_known(model).output) if outputs is None else tuple(outputs)
        self.input_size, self.shapes = self._sizes(model)
        if flip_order is not None:
            merge = functools.partial(HeatmapCodec.merge_flipped, flip_order=list(flip_order))
        self._merge, self.mirrors = merge, merge is not None
        self.scales = tuple(float(scale) for scale in scales)
        self.batch_size, self.choice, self._spinning = batch_size, engine, bool(spinning)
        self.engine = make_engine(engine, model, self.outputs, self._spinning)

    def refresh(self, model: Any) -> None:
        """Run a model's weights as they are now, or an exported file as it is now.

        An engine of one's own is left alone, and so is a model that runs itself.

        Args:
            model: the model of before, or another of the same sizes and joints.

        Raises:
            UserError: if it is one of other sizes or joints.
        """
        model = with_named_outputs(model)
        before, now = (self.input_size, self.shapes), self._sizes(model)
        if before != now:
            raise UserError(
                "Weights are taken anew from a network of the same input and heatmaps. Received: "
                f"{now} instead of {before}. Make a new predictor for another network."
            )
        self.engine = make_engine(self.choice, model, self.outputs, self._spinning)

    def _sizes(self, model):
        """`(height, width)` of crops, and `(h, w, K)` of each output."""
        known = _known(model)
        shapes = {name: tuple(known.output[name].shape[1:]) for name in self.outputs}
        return tuple(known.input_shape[1:3]), shapes

    def warm_up(self) -> None:
        """Run black crops, so that what is compiled at first use does not count in timings."""
        shape = (self.batch_size, len(self.scales), *self.input_size, 3)
        self(np.zeros(shape, np.uint8))

    def __call__(self, crops: Array, mirrored: bool = True) -> dict[str, np.ndarray]:
        """Run the network.

        Args:
            crops: `(N, H, W, 3)` uint8 RGB in input pixels, or `(N, scales, H, W, 3)`, where each
                was cut from a box that is larger by the factor of its scale.
            mirrored: average with mirrored crops, if that is known how.

        Returns:
            A dict from the name of each output to `(N, h, w, K)` float32 maps in the frame of a
            crop of scale 1.

        Raises:
            UserError: if the crops have another size.
        """
        crops = np.asarray(crops)
        crops = crops[:, None] if crops.ndim == 4 else crops
        if crops.shape[1:] != (len(self.scales), *self.input_size, 3):
            height, width = self.input_size
            raise UserError(
                f"Crops are (N, {height}, {width}, 3), and (N, {len(self.scales)}, {height}, "
                f"{width}, 3) for the scales {self.scales}. Received: {crops.shape}. "
                "Cut people out by `geometry.crop_affine` and `io.images.warp`."
            )
        mirrored = mirrored and self.mirrors
        starts = range(0, len(crops), self.batch_size)
        parts = [self._merged(crops[at : at + self.batch_size], mirrored) for at in starts]
        if len(parts) == 1:
            return parts[0]
        empty = {name: np.zeros((0, *shape), np.float32) for name, shape in self.shapes.items()}
        return {name: np.concatenate([p[name] for p in [empty, *parts]]) for name in self.outputs}

    def _merged(self, crops, mirrored):
        """`(n, scales, H, W, 3)` crops -> output -> `(n, h, w, K)` maps."""
        total: dict = dict.fromkeys(self.outputs, 0)
        for number, scale in enumerate(self.scales):
            for name, maps in self._run(crops[:, number], mirrored).items():
                total[name] = total[name] + _rescale(maps, scale) / np.float32(len(self.scales))
        return total

    def _run(self, crops, mirrored):
        """`(n, H, W, 3)` crops -> output -> `(n, h, w, K)` maps of one run of the engine."""
        count = len(crops)
        batch = np.concatenate([crops, crops[:, :, ::-1]]) if mirrored else crops
        if isinstance(self.engine, Engine) and self.engine.compiles:
            batch = self._filled_up(batch, mirrored)
        heatmaps = self.engine(np.ascontiguousarray(batch))
        result = {}
        for name in self.outputs:
            maps = np.asarray(heatmaps[name], np.float32)
            if mirrored:
                result[name] = self._merge(maps[:count], maps[count : 2 * count])
            else:
                result[name] = maps[:count]
        return result

    def _filled_up(self, batch, mirrored):
        """A batch with black crops up to a power of two, or to the size of full ones."""
        full = self.batch_size * (2 if mirrored else 1)
        missing = min(1 << (len(batch) - 1).bit_length(), full) - len(batch)
        return np.concatenate([batch, np.zeros((missing, *batch.shape[1:]), batch.dtype)])


def with_named_outputs(model: Any) -> Any:
    """A Keras model whose outputs are a dict of heatmaps: itself, or one that shares its weights.

    Args:
        model: a `Snapshot`, or a Keras model from `(N, H, W, 3)` crops to a dict of heatmaps, to
            one tensor of them, or to a list of such, one for each stack.

    Raises:
        UserError: if it has several inputs, or an output that is no heatmaps `(N, h, w, K)`.

    Example:

    >>> import keras
    >>> crops = keras.Input((32, 16, 3))
    >>> model = keras.Model(crops, keras.layers.Conv2D(5, 4, 4)(crops))
    >>> list(with_named_outputs(model).output)
    ['stack_1']
    """
    # A Sequential has `outputs` alone.
    if isinstance(model, Snapshot) or isinstance(getattr(model, "output", None), dict):
        return model
    import keras

    given = list(model.outputs)
    if len(model.inputs) != 1 or any(len(one.shape) != 4 for one in given):
        raise UserError(
            "A model of one's own takes crops (N, H, W, 3) and gives heatmaps (N, h, w, K). "
            f"Received: {len(model.inputs)} inputs, outputs {[tuple(one.shape) for one in given]}."
            " Give a model without the others: keras.Model(crops, heatmaps)."
        )
    named = {f"stack_{number}": heatmaps for number, heatmaps in enumerate(given, 1)}
    twin = keras.Model(model.inputs[0], named)
    for name in ("skeleton", "preprocessing", "thresholds", "jax_state_sync"):
        if hasattr(model, name):
            object.__setattr__(twin, name, getattr(model, name))
    return twin


def _known(model):
    """What has the model's `output` and `input_shape`."""
    return model.graph if isinstance(model, Snapshot) else model


def _rescale(heatmaps, scale):
    """Maps of crops whose box was `scale` times as large, in the frame of the plain crop."""
    if scale == 1.0:
        return heatmaps
    count, height, width, joints = heatmaps.shape
    rows, columns = _interpolation(height, scale), _interpolation(width, scale)
    maps = rows @ heatmaps.reshape(count, height, width * joints)
    return columns @ maps.reshape(count, height, width, joints)


def _interpolation(size, scale):
    """`(size, size)` float32 weights of a linear interpolation about the middle; 0 outside."""
    middle = (size - 1) / 2
    places = middle + (np.arange(size) - middle) / scale
    distance = np.abs(places[:, None] - np.arange(size))
    return np.maximum(0, 1 - distance).astype(np.float32)
