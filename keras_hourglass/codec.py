"""Joints to heatmaps and back (NumPy only): targets and decoding live together."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hourglass.choices import DECODERS, MAX_SIGMA, MISSING
from keras_hourglass.errors import UserError, checks_arguments, did_you_mean
from keras_hourglass.geometry import heatmap_to_input, input_to_heatmap, suppress_overlaps
from keras_hourglass.io.structured import shorten
from keras_hourglass.skeletons import BOXES, Skeleton
from keras_hourglass.typing import Array, Size, is_number

# Height of a heatmap's maximum from which a joint counts as present when the model brings no
# thresholds of its own; a perfect map reaches 1.
PRESENT_FROM = 0.2


@checks_arguments
class HeatmapCodec:
    """Encode joints as Gaussian heatmaps and decode heatmaps into joints.

    Args:
        input_size: `(height, width)` of the crop in input pixels.
        stride: input pixels per heatmap pixel.
        sigma: standard deviation of the Gaussians in heatmap pixels (1.5 in the paper).
        decoder: `"max"`: the pixel of the maximum; `"quarter"`: moved a quarter heatmap pixel
            towards the higher neighbour along each axis; `"dark"`: a second-order (Newton) step
            on the logarithm of the map, which is exact for a Gaussian.
        missing: what a joint without annotation trains: `"zero"` an empty map (the paper),
            `"ignore"` nothing.

    Raises:
        UserError: if an argument is out of range.

    Example:

    >>> codec = HeatmapCodec((64, 48), sigma=1.0)
    >>> maps, weights = codec.encode([[[21.5, 33.5]]], [[2]])
    >>> maps.shape
    (1, 16, 12, 1)
    >>> codec.decode(maps)[0].tolist()
    [[[21.5, 33.5]]]

    Reference:
        [Newell et al., 2016](https://arxiv.org/abs/1603.06937), section 3.4; the quarter pixel
        is their code's; DARK is [Zhang et al., 2020](https://arxiv.org/abs/1910.06278).
    """

    def __init__(
        self,
        input_size: Size = (256, 256),
        stride: int = 4,
        sigma: float = 1.5,
        decoder: str = "quarter",
        missing: str = "zero",
    ):
        self.input_size = tuple(int(edge) for edge in input_size)
        if len(self.input_size) != 2 or any(e <= 0 or e % stride for e in self.input_size):
            raise UserError(
                f"`input_size` is (height, width), multiples of the stride {stride}. "
                f"Received: {self.input_size}."
            )
        if not 0 < sigma <= MAX_SIGMA:
            raise UserError(
                f"`sigma` must be positive and at most {MAX_SIGMA:g}, in heatmap pixels. "
                f"Received: {sigma}."
            )
        for name, value, choices in (
            ("decoder", decoder, DECODERS),
            ("missing", missing, MISSING),
        ):
            if value not in choices:
                raise UserError(
                    f"`{name}` must be one of {choices}. Received: {shorten(repr(value))}."
                    f"{did_you_mean(value, choices)}"
                )
        self.stride, self.sigma = stride, float(sigma)
        self.decoder, self.missing = decoder, missing

    @property
    def heatmap_size(self) -> Size:
        """`(height, width)` of the maps in heatmap pixels."""
        return tuple(edge // self.stride for edge in self.input_size)

    def targets(self, joints: Array, visibility: Array, weights: Array | None = None) -> np.ndarray:
        """Compact targets, from which `losses.HeatmapMSE` draws the maps on the device.

        Args:
            joints: `(N, K, 2)` in input pixels.
            visibility: `(N, K)`; above 0 is labelled.
            weights: `(N, K)` weight of each joint in the loss, 1 by default.

        Returns:
            `(N, K, 4)` float32: x, y in heatmap pixels, amplitude (1, or 0 for an empty map) and
            weight. A joint outside the crop is treated as one without annotation.
        """
        points = input_to_heatmap(joints, self.stride)
        height, width = self.heatmap_size
        with np.errstate(invalid="ignore"):
            inside = ((points >= -0.5) & (points <= (width - 0.5, height - 0.5))).all(axis=-1)
        present = inside & (np.asarray(visibility) > 0)
        points = np.where(present[..., None], points, 0)
        weight = np.ones(present.shape) if weights is None else np.asarray(weights, np.float64)
        if self.missing == "ignore":
            weight = weight * present
        parts = [points, present[..., None], weight[..., None]]
        return np.concatenate(parts, axis=-1).astype(np.float32)

    def encode(
        self, joints: Array, visibility: Array, weights: Array | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Gaussian heatmaps of peak 1 at the exact sub-pixel positions.

        Args:
            joints: `(N, K, 2)` in input pixels.
            visibility: `(N, K)`; above 0 is labelled.
            weights: `(N, K)` weight of each joint in the loss, 1 by default.

        Returns:
            `(N, H, W, K)` float32 maps and `(N, K)` float32 weights. A joint without annotation
            or outside the crop gets an empty map (and weight 0 with `missing="ignore"`).
        """
        targets = self.targets(joints, visibility, weights)
        return self.draw(targets), targets[..., 3]

    def draw(self, targets: np.ndarray) -> np.ndarray:
        """Gaussian heatmaps from compact targets.

        Args:
            targets: `(N, K, 4)` as `targets` makes them.

        Returns:
            `(N, H, W, K)` float32 maps.
        """
        height, width = self.heatmap_size
        along_x = self._gaussian(np.arange(width), targets[:, None, :, 0])
        along_y = self._gaussian(np.arange(height), targets[:, None, :, 1])
        along_y *= targets[:, None, :, 2]
        return along_y[:, :, None, :] * along_x[:, None, :, :]

    def _gaussian(self, positions, centres):
        offsets = positions[:, None].astype(np.float32) - centres
        return np.exp(offsets**2 / np.float32(-2 * self.sigma**2))

    def decode(self, heatmaps: Array) -> tuple[np.ndarray, np.ndarray]:
        """Joints and scores of heatmaps.

        Args:
            heatmaps: `(N, H, W, K)` in heatmap pixels, any floating dtype.

        Returns:
            `(N, K, 2)` float64 joints in input pixels and `(N, K)` float32 scores, the heights
            of the maxima. A map with NaN gives NaN. The first maximum in reading order counts.
            With `"quarter"` a perfect map is decoded within 0.25 heatmap pixels along each axis
            (0.5 in the outermost half pixel), with `"max"` within 0.5.
        """
        maps = np.asarray(heatmaps)
        if maps.ndim != 4 or 0 in maps.shape[1:]:
            raise UserError(f"Heatmaps have shape (N, height, width, K). Received: {maps.shape}.")
        rows, columns, scores = _maxima(maps)
        points = np.stack([columns, rows], axis=-1).astype(np.float64)
        if (steps := _STEPS[self.decoder]) is not None:
            points += steps(maps, rows, columns, self.sigma)
        points[np.isnan(scores)] = np.nan
        return heatmap_to_input(points, self.stride), scores.astype(np.float32)

    @staticmethod
    def merge_flipped(heatmaps: Array, flipped: Array, flip_order: Sequence[int]) -> np.ndarray:
        """The mean of a crop's heatmaps and of those of its mirror image, mirrored back.

        Args:
            heatmaps: `(N, H, W, K)` maps of the crop.
            flipped: `(N, H, W, K)` maps of the mirrored crop.
            flip_order: for each joint, the joint it becomes in the mirror
                (`Skeleton.flip_order`).

        Returns:
            `(N, H, W, K)` maps.
        """
        heatmaps, flipped = np.asarray(heatmaps), np.asarray(flipped)
        return (heatmaps + flipped[:, :, ::-1][..., list(flip_order)]) / 2

    def get_config(self) -> dict:
        """The constructor's arguments, JSON-ready."""
        return {
            "input_size": list(self.input_size),
            "stride": self.stride,
            "sigma": self.sigma,
            "decoder": self.decoder,
            "missing": self.missing,
        }

    @classmethod
    def from_config(cls, config: dict) -> "HeatmapCodec":
        """Build a codec from the result of `get_config`."""
        return cls(**config)


def codec_of(model: Any, output: str, decoder: str | None = None) -> HeatmapCodec:
    """The codec of one of a model's outputs.

    Args:
        model: a `StackedHourglass`, or any model from crops to a dict of heatmaps.
        output: name of the output.
        decoder: how its maps become joints; by default as the model's `preprocessing` says, or
            `"quarter"`, as in the paper.

    Returns:
        The `HeatmapCodec`, whose sigma, too, is the model's own (1.5 where it names none).

    Raises:
        UserError: if there is no such decoder.

    Example:

    >>> codec_of(model, "stack_2", decoder="dark").heatmap_size  # doctest: +SKIP
    (64, 64)
    """
    skeleton = getattr(model, "skeleton", None)
    if skeleton is not None and skeleton.joints == BOXES.joints:
        raise UserError(
            "A network of joints is needed. Received: one that finds people, whose maps are "
            f"{', '.join(BOXES.joints)}. Use it as the detector (detector=..., --detect)."
        )
    size = tuple(model.input_shape[1:3])
    stride = size[0] // model.output[output].shape[1]
    settings = getattr(model, "preprocessing", {})
    decoder = decoder or settings.get("decoder", "quarter")
    return HeatmapCodec(size, stride, settings.get("sigma", 1.5), decoder)


def present_from(
    skeleton: Skeleton, own: dict[str, float], asked: float | dict[str, float] | None = None
) -> np.ndarray:
    """Least scores of present joints.

    Args:
        skeleton: names the K joints.
        own: joint name -> the model's own threshold; `PRESENT_FROM` for joints without one.
        asked: one number for every joint, or a dict by joint name for those that differ.

    Returns:
        `(K,)` float64.

    Raises:
        UserError: if what is asked for is no number, or of a joint that is not there.

    Example:

    >>> from keras_hourglass.skeletons import get_skeleton
    >>> present_from(get_skeleton("lsp"), {"neck": 0.4}, {"head_top": 0.3})[-3:].tolist()
    [0.2, 0.4, 0.3]
    """
    named: dict = asked if isinstance(asked, dict) else {}
    every = None if asked is None or asked is named else asked
    for value in (*named.values(), 0.0 if every is None else every):
        if not is_number(value):
            raise UserError(
                "`thresholds` is a number, or a dict of numbers by joint name. "
                f"Received: {value!r}. Give heights of heatmaps, e.g. 0.2."
            )
    for joint in named:
        skeleton.index(joint)
    merged: dict = {**own, **named} if every is None else dict.fromkeys(skeleton.joints, every)
    return np.array([float(merged.get(joint, PRESENT_FROM)) for joint in skeleton.joints])


def confidences(scores: Array, thresholds: Array) -> np.ndarray:
    """Scores on a scale that all networks share: 0.5 from where on a joint counts as present.

    How high a network's maps are depends on how long it was trained: one that is right four times
    of five may draw maxima of 0.2. In relation to the height from which they are believed, those
    of a cautious network and of a bold one say the same.

    Args:
        scores: `(..., K)` heights of maxima.
        thresholds: `(K,)` least heights of present joints, see `present_from`.

    Returns:
        `(..., K)` float64 `score / (score + threshold)`: 0 of an empty map, 0.5 at the threshold,
        0.8 at four times of it. Where everything from 0 on is present, 1 or 0. NaN stays.

    Example:

    >>> confidences([0.05, 0.4], [0.05, 0.1]).tolist()
    [0.5, 0.8]
    >>> confidences([0.5, 4.0], [0.5, 1.0]).tolist()
    [0.5, 0.8]
    """
    scores, thresholds = np.asarray(scores, np.float64), np.asarray(thresholds, np.float64)
    heights = np.maximum(scores, 0.0)  # keeps NaN
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = heights / (heights + np.maximum(thresholds, 0.0))
    every = np.where(np.isnan(scores), np.nan, scores >= thresholds)
    return np.where(thresholds > 0, shares, every)


def _maxima(maps):
    """Rows, columns and heights of the first maxima, each `(N, K)`.

    One pass over the memory: the maxima of columns first, whose inner loops are long, then the
    winning columns alone.
    """
    count, height, width, joints = maps.shape
    in_columns = maps.max(axis=1)
    scores = in_columns.max(axis=1)
    columns = in_columns.argmax(axis=1)
    people, joint = np.ogrid[:count, :joints]
    rows = maps[people, :, columns, joint].argmax(axis=-1)
    # Where several columns share the maximum, the first one in reading order counts.
    tied = (in_columns == scores[:, None]).sum(axis=1) > 1
    if tied.any():
        person, kind = np.nonzero(tied)
        first = maps[person, :, :, kind].reshape(len(person), height * width).argmax(axis=1)
        rows[tied], columns[tied] = np.divmod(first, width)
    return rows, columns, scores


def _neighbourhood(maps, rows, columns, radius):
    """Values around the maxima, `(N, K, 2r+1, 2r+1)`, edges repeated outwards."""
    count, height, width, joints = maps.shape
    steps = np.arange(-radius, radius + 1)
    y = np.clip(rows[..., None] + steps, 0, height - 1)
    x = np.clip(columns[..., None] + steps, 0, width - 1)
    people, joint = np.ogrid[:count, :joints]
    return maps[people[..., None, None], y[..., None], x[..., None, :], joint[..., None, None]]


def _quarter_steps(maps, rows, columns, _):
    """A quarter pixel towards the higher neighbour; none where the maximum is at the border."""
    height, width = maps.shape[1:3]
    around = _neighbourhood(maps, rows, columns, 1).astype(np.float64)
    step_x = np.sign(around[..., 1, 2] - around[..., 1, 0])
    step_y = np.sign(around[..., 2, 1] - around[..., 0, 1])
    step_x[(columns == 0) | (columns == width - 1)] = 0
    step_y[(rows == 0) | (rows == height - 1)] = 0
    return 0.25 * np.stack([step_x, step_y], axis=-1)


def derivatives(values: Any) -> tuple:
    """Central differences at the middle of `(..., 3, 3)` values, arrays or tensors.

    Returns:
        The slopes along x and y, the curvatures along x and y, and the mixed one, each `(...)`.

    Example:

    >>> y, x = np.mgrid[-1:2, -1:2]
    >>> [float(value) for value in derivatives(2 * x + 3 * y + 4 * x**2 + 5 * y**2 + 6 * x * y)]
    [2.0, 3.0, 8.0, 10.0, 6.0]
    """
    left, middle, right = (values[..., 1, column] for column in range(3))
    above, below = values[..., 0, 1], values[..., 2, 1]
    corners = values[..., 2, 2] - values[..., 2, 0] - values[..., 0, 2] + values[..., 0, 0]
    across, down = right - 2 * middle + left, below - 2 * middle + above
    return (right - left) / 2, (below - above) / 2, across, down, corners / 4


def _newton_steps(maps, rows, columns, sigma):
    """The DARK refinement: smooth around the maximum, then one Newton step on the logarithm."""
    height, width = maps.shape[1:3]
    blur = max(1, round(sigma))
    around = _neighbourhood(maps, rows, columns, 1 + blur).astype(np.float64)
    # Smoothing a Gaussian with a Gaussian leaves its centre where it is.
    kernel = np.exp(np.arange(-blur, blur + 1) ** 2 / (-2 * (sigma / 2) ** 2))
    kernel /= kernel.sum()
    # The smoothing of the middle 3×3 values as one matrix for the rows and for the columns.
    band = np.stack([np.pad(kernel, (shift, 2 - shift)) for shift in range(3)])
    smooth = np.einsum("nkya,by->nkba", np.einsum("nkyx,ax->nkya", around, band), band)
    smooth = np.log(np.maximum(smooth, 1e-10))
    dx, dy, dxx, dyy, dxy = derivatives(smooth)
    determinant = dxx * dyy - dxy**2
    inside = (rows > 0) & (rows < height - 1) & (columns > 0) & (columns < width - 1)
    usable = inside & (determinant > 1e-12) & (dxx < 0)
    safe = np.where(usable, determinant, 1)
    step = np.stack([(dxy * dy - dyy * dx) / safe, (dxy * dx - dxx * dy) / safe], axis=-1)
    # A step beyond the next pixel means that the map is no peak there.
    return np.where(usable[..., None], np.clip(step, -1, 1), 0)


# decoder -> steps from the maxima, in heatmap pixels.
_STEPS: dict = {"max": None, "quarter": _quarter_steps, "dark": _newton_steps}

# The maps of a network that finds people, in their order.
BOX_MAPS = BOXES.joints


@checks_arguments
class BoxCodec:
    """Encode people's boxes as a map of centres with sizes beside it, and decode such maps.

    Five maps: `centre` is 1 at the middle of a box and falls off as a Gaussian whose width and
    height follow the box's; `log_width` and `log_height` are the logarithms of its size in units
    of `unit`; `offset_x` and `offset_y` lead from a heatmap pixel to the middle, in heatmap
    pixels. The last four hold around a middle only.

    Args:
        input_size: `(height, width)` of what the network sees, in input pixels.
        stride: input pixels per heatmap pixel.
        spread: standard deviation of the Gaussian as a share of the box's width and height.
        limits: least and greatest standard deviation in heatmap pixels.
        unit: size in input pixels whose logarithm is 0.
        least: longer side in input pixels below which a person is not asked for.
        overlap: greatest intersection over union of two people that are found.
        prior: how much likelier a large box is right than a small one where the map is as high:
            scores are multiplied by the area in units of `unit` squared to this power.

    Raises:
        UserError: if an argument is out of range.

    Example:

    >>> codec = BoxCodec((64, 96))
    >>> maps = codec.encode([[20, 8, 24, 40]])
    >>> maps.shape
    (16, 24, 7)
    >>> codec.decode(maps[None, ..., :5])[0].round(3).tolist()
    [[20.0, 8.0, 24.0, 40.0, 0.726]]

    Reference:
        [Zhou et al., 2019](https://arxiv.org/abs/1904.07850), *Objects as Points*; the Gaussian by
        the box's width and height and sizes learned all around it are
        [Liu et al., 2019](https://arxiv.org/abs/1909.00700)'s.
    """

    def __init__(
        self,
        input_size: Size = (256, 256),
        stride: int = 4,
        spread: float = 0.1,
        limits: Sequence[float] = (0.8, 3.5),
        unit: float = 64.0,
        least: float = 10.0,
        overlap: float = 0.5,
        prior: float = 0.0,
    ):
        self.input_size = tuple(int(edge) for edge in input_size)
        if len(self.input_size) != 2 or any(e <= 0 or e % stride for e in self.input_size):
            raise UserError(
                f"`input_size` is (height, width), multiples of the stride {stride}. "
                f"Received: {self.input_size}."
            )
        low, high = limits
        usable = spread > 0 and unit > 0 and 0 < low <= high and min(least, prior) >= 0
        if not (usable and 0 < overlap <= 1):
            raise UserError(
                "Spread, limits and unit must be positive, least and prior not negative, the "
                f"overlap lies in 0–1. Received: spread={spread}, limits={tuple(limits)}, "
                f"unit={unit}, least={least}, overlap={overlap}, prior={prior}."
            )
        self.stride, self.spread, self.limits = stride, float(spread), (float(low), float(high))
        self.unit, self.least, self.overlap = float(unit), float(least), float(overlap)
        self.prior = float(prior)

    @property
    def heatmap_size(self) -> Size:
        """`(height, width)` of the maps in heatmap pixels."""
        return tuple(edge // self.stride for edge in self.input_size)

    def encode(self, boxes: Array, ignored: Array | None = None) -> np.ndarray:
        """The maps of one picture, and what each of their pixels weighs.

        Args:
            boxes: `(P, 4)` rectangles `x, y, w, h` in input pixels. What lies beyond the input
                is cut off; of somebody of whom less than 0.3 is left, nothing is asked.
            ignored: `(P,)` bool: regions where nothing is asked, such as crowds.

        Returns:
            `(h, w, 7)` float32: the five maps of `BOX_MAPS`, the weight of an error of the centre
            (1 where nobody is, 0 where nothing is asked), and the weight of an error of the size
            (it sums to 1 for each person).
        """
        height, width = self.heatmap_size
        maps = np.zeros((height, width, 7), np.float32)
        maps[..., 5] = 1
        nothing = np.zeros((height, width), bool)
        people, regions = self._cut(boxes, ignored)
        for low, high in regions:
            first = np.floor(low / self.stride).astype(int)
            last = np.ceil(high / self.stride).astype(int)
            nothing[first[1] : last[1], first[0] : last[0]] = True
        # Large people first, so that small ones before them keep their middles.
        for low, high in sorted(people, key=lambda pair: -np.prod(pair[1] - pair[0])):
            self._draw(maps, low, high)
        maps[..., 5][nothing & (maps[..., 0] < 0.3)] = 0
        return maps

    def _cut(self, boxes, ignored):
        """Corners of people within the input, and of regions where nothing is asked."""
        boxes = np.asarray(boxes, np.float64).reshape(-1, 4)
        ignored = np.zeros(len(boxes), bool) if ignored is None else np.asarray(ignored, bool)
        low = np.maximum(boxes[:, :2], 0)
        high = np.minimum(boxes[:, :2] + boxes[:, 2:], self.input_size[::-1])
        size = high - low
        there = (size >= 2).all(axis=1)
        seen = np.maximum(size, 0).prod(axis=1) / np.maximum(boxes[:, 2:].prod(axis=1), 1e-9)
        asked = there & ~ignored & (seen >= 0.3) & (size.max(axis=1) >= self.least)
        pairs = np.stack([low, high], axis=1)
        return list(pairs[asked]), list(pairs[there & ~asked])

    def _draw(self, maps, low, high):
        """One person into the maps; where two meet, each keeps the pixels closer to it."""
        size = high - low
        centre = input_to_heatmap((low + high) / 2 - 0.5, self.stride)
        spread = np.clip(self.spread * size / self.stride, *self.limits)
        steps = [centre[axis] - np.arange(maps.shape[1 - axis]) for axis in (0, 1)]
        along_x, along_y = (np.exp(-((steps[a] / spread[a]) ** 2) / 2) for a in (0, 1))
        # As exact as what it is compared with, so that a pixel as close to both stays the first's.
        height = (along_y[:, None] * along_x).astype(np.float32)
        closer = height > maps[..., 0]
        near = closer & (height > 0.1)
        # The same at every size: what weighs more where it is small is thought likelier there.
        maps[..., 5] = np.where(closer, 1 + 10 * height, maps[..., 5])
        maps[..., 0] = np.maximum(maps[..., 0], height)
        maps[near, 1:3] = np.log(size / self.unit)
        maps[..., 3][near] = np.broadcast_to(steps[0], near.shape)[near]
        maps[..., 4][near] = np.broadcast_to(steps[1][:, None], near.shape)[near]
        maps[..., 6][near] = height[near] / max(height[near].sum(), 1e-9)

    def decode(self, maps: Array, least: float = 0.05, most: int = 300) -> list[np.ndarray]:
        """The people of maps: maxima of the centre map, without those that overlap a better one.

        Args:
            maps: `(N, h, w, 5)`, see `BOX_MAPS`; any floating dtype.
            least: least score of a person.
            most: how many people of one picture are returned at most.

        Returns:
            For each picture `(P, 5)` float64 rectangles `x, y, w, h, score` in input pixels, best
            first; the score is the height of the maximum, with a `prior` by the box's area.
            Pixels that are not finite show nobody.
        """
        maps = np.asarray(maps)
        if maps.ndim != 4 or maps.shape[-1] != len(BOX_MAPS):
            raise UserError(
                f"Maps of boxes have shape (N, height, width, {len(BOX_MAPS)}). "
                f"Received: {maps.shape}."
            )
        return [self._decode(one.astype(np.float64), least, most) for one in maps]

    def _decode(self, maps, least, most):
        centre = np.where(np.isfinite(maps).all(axis=-1), maps[..., 0], -np.inf)
        around = np.pad(centre, 1, constant_values=-np.inf)
        highest = np.max(
            [
                around[y : y + centre.shape[0], x : x + centre.shape[1]]
                for y in range(3)
                for x in range(3)
            ],
            axis=0,
        )
        # With a prior, scores of large boxes are higher than their maxima.
        rows, columns = np.nonzero((centre >= highest) & (centre > (0 if self.prior else least)))
        best = np.argsort(-centre[rows, columns], kind="stable")[: 4 * most]
        rows, columns = rows[best], columns[best]
        values = maps[rows, columns]
        # Beyond this no size makes sense, and the exponential would not be finite.
        size = np.exp(np.clip(values[:, 1:3], -8, 8)) * self.unit
        middle = heatmap_to_input(np.stack([columns, rows], axis=-1) + values[:, 3:], self.stride)
        boxes = np.concatenate([middle + 0.5 - size / 2, size], axis=-1)
        scores = values[:, 0] * (size.prod(axis=1) / self.unit**2) ** self.prior
        # Before the suppression, which takes most of the time: lower scores suppress no higher one.
        found = np.column_stack([boxes, scores])[scores > least]
        return found[suppress_overlaps(found[:, :4], found[:, 4], self.overlap, most)]

    def merge_flipped(self, maps: Array, flipped: Array) -> np.ndarray:
        """The mean of maps and of those of the mirror image, mirrored back.

        Args:
            maps: `(N, h, w, 5)` maps of an input.
            flipped: `(N, h, w, 5)` maps of the mirrored input.

        Returns:
            `(N, h, w, 5)` maps.
        """
        return (np.asarray(maps) + self.mirror(flipped)) / 2

    def mirror(self, maps: Array) -> np.ndarray:
        """Maps of the mirrored input as those of the input itself.

        Args:
            maps: `(N, h, w, 5)`.

        Returns:
            `(N, h, w, 5)` maps.
        """
        back = np.asarray(maps)[:, :, ::-1].copy()
        back[..., BOX_MAPS.index("offset_x")] *= -1
        return back

    def get_config(self) -> dict:
        """The constructor's arguments, JSON-ready."""
        return {
            "input_size": list(self.input_size),
            "stride": self.stride,
            "spread": self.spread,
            "limits": list(self.limits),
            "unit": self.unit,
            "least": self.least,
            "overlap": self.overlap,
            "prior": self.prior,
        }

    @classmethod
    def from_config(cls, config: dict) -> "BoxCodec":
        """Build a codec from the result of `get_config`."""
        return cls(**config)
