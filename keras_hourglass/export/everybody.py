"""From a picture to everybody's joints in the operations of a graph, as `Predictor` goes.

The way is written once, over a handful of operations that `operations` has for TensorFlow and for
ONNX. Values are tensors of a graph; their operators work as NumPy's do.
"""

import dataclasses
from typing import Any

import numpy as np

from keras_hourglass import geometry
from keras_hourglass.codec import BoxCodec, HeatmapCodec, derivatives
from keras_hourglass.metrics.oks import joint_sigmas
from keras_hourglass.prediction import merging
from keras_hourglass.prediction.predictor import FEW, sure_from
from keras_hourglass.skeletons import Skeleton

# People whose crops and heatmaps are held at once.
AT_ONCE = 8
# Finite numbers lie between these; NaN does not.
_HUGE = 3e38
# Boxes of one picture that are kept.
_MOST = 1000
_NAN = np.float32("nan")


@dataclasses.dataclass(frozen=True)
class Look:
    """One size in which people are looked for: its codec, whether maps are averaged with those of
    the mirrored picture, or that is looked at instead."""

    codec: BoxCodec
    both: bool
    mirrored: bool


@dataclasses.dataclass(frozen=True)
class Finder:
    """What finds people: how it looks at a picture, and the least score of a box."""

    looks: tuple[Look, ...]
    least_score: float


@dataclasses.dataclass(frozen=True)
class Joints:
    """What finds joints: codec, skeleton, whether maps are mirrored, and least scores of joints."""

    codec: HeatmapCodec
    skeleton: Skeleton
    flip: bool
    thresholds: Any

    @property
    def order(self):
        """The mirror permutation, or `None` where maps are not averaged with the mirrored ones."""
        return self.skeleton.flip_order if self.flip else None


def everybody(ops: Any, image: Any, finder: Finder, joints: Joints) -> dict:
    """The people of one picture.

    Args:
        ops: operations of a graph, with the networks `"joints"` and, of each size, `"finder0"`, ….
        image: `(height, width, 3)` uint8 RGB, upright.
        finder, joints: what is told of the two networks.

    Returns:
        name -> value, for P people, the surest first: `boxes` (P, 4) `x, y, w, h` in source
        pixels, `box_scores` (P,), NaN for the whole picture, `keypoints` (P, K, 2) in source
        pixels, `scores` (P, K), `present` (P, K), `sure` (P,), `person_scores` (P,), and `alone`
        (), true where nobody was found and the whole picture is the box.
    """
    size = ops.length(image, 0), ops.length(image, 1)
    boxes, found_scores = _find(ops, image, size, finder)
    number = ops.length(found_scores, 0)
    corners = [ops.cast(ops.reshape(edge, [1, 1]), "float") for edge in size[::-1]]
    whole = ops.concat([ops.constant(np.zeros((1, 2), np.float32)), *corners], 1)
    boxes = ops.concat([boxes, whole], 0)
    box_scores = ops.concat([found_scores, ops.constant(np.array([_NAN]))], 0)
    # Where few are found, one person who fills the picture may be meant.
    with_whole = number <= FEW
    rows = ops.arange(number + ops.cast(with_whole, "int"))
    boxes, box_scores = ops.gather(boxes, rows), ops.gather(box_scores, rows)
    pixels = ops.reshape(image, [-1, 3])
    number_of_joints = len(joints.skeleton.joints)
    points, scores = ops.in_batches(
        boxes,
        AT_ONCE,
        lambda some: _joints(ops, pixels, size, some, joints),
        ((number_of_joints, 2), (number_of_joints,)),
    )
    people = _described(ops, boxes, box_scores, points, scores, joints)
    chosen, alone, sure = _choose(ops, people, number, with_whole, joints)
    # Where neither anybody was found nor the whole picture is somebody, no joint is there.
    somebody = sure | ~alone
    people["present"] = people["present"] & ops.expand(somebody, [1])
    people["person_scores"] = people["person_scores"] * ops.cast(somebody, "float")
    people["sure"] = sure
    result = {name: ops.gather(value, chosen) for name, value in people.items()}
    return {**result, "alone": alone}


# Finding people


def _find(ops, image, size, finder):
    """Rectangles `(P, 4)` in source pixels and their scores `(P,)`, best first."""
    several = len(finder.looks) > 1
    # What one look alone has seen keeps that share of its score.
    least = finder.least_score / 2 if several else finder.least_score
    found = [
        _look(ops, image, size, look, f"finder{number}", least)
        for number, look in enumerate(finder.looks)
    ]
    boxes, scores = _fused(ops, found, finder.looks[0].codec.overlap) if several else found[0]
    low, extent = _halves(ops, boxes)
    limit = ops.cast(ops.concat([ops.reshape(edge, [1]) for edge in size[::-1]], 0), "float")
    low, high = (ops.minimum(ops.maximum(side, 0.0), limit) for side in (low, low + extent))
    usable = ops.nonzero((ops.min(high - low, [1]) > 1.0) & (scores >= finder.least_score))
    return ops.gather(ops.concat([low, high - low], 1), usable), ops.gather(scores, usable)


def _look(ops, image, size, look, network, least):
    """As `detection` looks in one size: rectangles, perhaps beyond the picture, and scores."""
    codec = look.codec
    canvas, corner, factors = _fitted(ops, image, size, codec.input_size)
    shown = ops.expand(canvas, [0])
    height, width = codec.heatmap_size
    maps = [] if look.mirrored else [ops.network(network, shown)]
    if look.both or look.mirrored:
        mirrored = ops.network(network, _mirror(ops, shown, codec.input_size[1]))
        # Of BOX_MAPS: a step to the right is one to the left.
        signs = ops.constant(np.array([1, 1, 1, -1, 1], np.float32))
        maps.append(_mirror(ops, mirrored, width) * signs)
    maps = maps[0] if len(maps) == 1 else (maps[0] + maps[1]) * 0.5
    values = ops.reshape(maps, [height * width, 5])
    finite = ops.min(ops.cast(ops.abs(values) < _HUGE, "int"), [1]) > 0
    centre = ops.where(finite, _column(ops, values, 0), ops.constant(np.float32(-_HUGE)))
    highest = ops.reshape(ops.highest_around(ops.reshape(centre, [height, width])), [-1])
    grid = np.mgrid[:height, :width][::-1].reshape(2, -1).T.astype(np.float32)
    steps = ops.gather(values, ops.constant(np.array([3, 4])), 1)
    middle = (steps + ops.constant(grid + 0.5)) * codec.stride - 0.5
    logarithms = ops.gather(values, ops.constant(np.array([1, 2])), 1)
    logarithms = ops.minimum(ops.maximum(logarithms, -8.0), 8.0)
    extent = ops.exp(logarithms) * codec.unit
    scores = centre * ops.exp(ops.sum(logarithms, [1]) * codec.prior)
    good = (centre >= highest) & (centre > (0.0 if codec.prior else least)) & (scores > least)
    good = ops.nonzero(good)
    scores, extent = ops.gather(scores, good), ops.gather(extent, good)
    low = ops.gather(middle, good) + 0.5 - extent * 0.5
    kept = ops.suppress(ops.concat([low, low + extent], 1), scores, codec.overlap, 300)
    scores, low, extent = (ops.gather(value, kept) for value in (scores, low, extent))
    return ops.concat([(low - corner) / factors, extent / factors], 1), scores


def _fused(ops, found, overlap):
    """As `geometry.fuse_rectangles`, of rectangles and scores of several looks."""
    boxes = ops.concat([one for one, _ in found], 0)
    alone = ops.concat([scores for _, scores in found], 0)
    weights, sums, start = alone, boxes * ops.expand(alone, [1]), 0
    rows = ops.arange(ops.length(alone, 0))
    nobody = ops.constant(np.zeros((1, 4), np.float32)), ops.constant(np.zeros(1, np.float32))
    for others, scores in found:
        end = ops.length(scores, 0) + start
        # Nobody last, so that there is always one to compare with.
        others, scores = ops.concat([others, nobody[0]], 0), ops.concat([scores, nobody[1]], 0)
        overlaps = _overlaps(ops, boxes, others)
        best = ops.argmax(overlaps, 1)
        met = (ops.max(overlaps, [1]) >= geometry.SAME) & ((rows < start) | (rows >= end))
        partner = ops.cast(met, "float") * ops.gather(scores, best)
        weights = weights + partner
        sums = sums + ops.gather(others, best) * ops.expand(partner, [1])
        start = end
    order = ops.order(alone)  # of equal sums the one that was surer alone
    boxes = ops.gather(sums / ops.expand(weights, [1]), order)
    scores = ops.gather(weights * (1 / len(found)), order)
    low, extent = _halves(ops, boxes)
    kept = ops.suppress(ops.concat([low, low + extent], 1), scores, overlap, _MOST)
    return ops.gather(boxes, kept), ops.gather(scores, kept)


def _overlaps(ops, first, second):
    """Intersection over union of `(N, 4)` and `(M, 4)` rectangles, `(N, M)`."""
    (low, extent), (others, lengths) = (_halves(ops, boxes) for boxes in (first, second))
    low, high = ops.expand(low, [1]), ops.expand(low + extent, [1])
    others, ends = ops.expand(others, [0]), ops.expand(others + lengths, [0])
    shared = _area(ops, ops.maximum(ops.minimum(high, ends) - ops.maximum(low, others), 0.0), 2)
    areas = ops.expand(_area(ops, extent, 1), [1]) + ops.expand(_area(ops, lengths, 1), [0])
    return shared / ops.maximum(areas - shared, 1e-30)


def _area(ops, lengths, axis):
    """The product of the two last numbers."""
    across, down = (ops.gather(lengths, ops.constant(np.array([n])), axis) for n in (0, 1))
    return ops.drop(across * down, axis)


def _halves(ops, boxes):
    """Corner and size of rectangles `(N, 4)`, `(N, 2)` each."""
    return (ops.gather(boxes, ops.constant(np.array(pair)), 1) for pair in ((0, 1), (2, 3)))


def _fitted(ops, image, size, canvas):
    """A picture in the middle of a canvas as `images.paste_scaled` puts it there, its corner and
    the factors along x and y."""
    extents = [ops.cast(edge, "double") for edge in size]
    factor = ops.minimum(canvas[0] / extents[0], canvas[1] / extents[1])
    axes = []
    for axis in (0, 1):
        scaled = ops.maximum(ops.round(extents[axis] * factor), 1.0)
        corner = ops.floor((canvas[axis] - scaled) * 0.5)
        place = ops.constant(np.arange(canvas[axis], dtype=np.float64)) - corner
        axes.append((extents[axis], scaled, corner, place))
    shown = ops.cast(image, "float")
    averaged = _averaged(ops, _averaged(ops, shown, 0, axes[0]), 1, axes[1])
    # Of halves alone OpenCV takes the greater one, else the even one.
    halved = (axes[0][0] == axes[0][1] * 2.0) & (axes[1][0] == axes[1][1] * 2.0)
    averaged = ops.where(halved, ops.floor(averaged + 0.5), ops.round(averaged))
    averaged = ops.cast(averaged, "float")
    shown = ops.where(factor < 1.0, averaged, _enlarged(ops, shown, axes))
    for axis, (_, scaled, _, place) in enumerate(axes):
        inside = ops.cast((place >= 0.0) & (place < scaled), "float")
        shown = shown * ops.expand(inside, [1 - axis, 2])
    corner = [ops.reshape(corner, [1]) for _, _, corner, _ in axes[::-1]]
    factors = [ops.reshape(scaled / extent, [1]) for extent, scaled, _, _ in axes[::-1]]
    return shown, *(ops.cast(ops.concat(pair, 0), "float") for pair in (corner, factors))


def _averaged(ops, image, axis, lengths):
    """One axis of a picture that shrinks: the means of areas, as OpenCV's `INTER_AREA`."""
    extent, scaled, _, place = lengths
    step = extent / scaled
    sums = ops.running_sum(image, axis)

    def until(edge):
        """The sum of all pixels before a place, of the pixel there its part."""
        edge = ops.minimum(ops.maximum(edge, 0.0), extent)
        first = ops.minimum(ops.floor(edge), extent - 1.0)
        index = ops.cast(first, "int")
        # Whole numbers until here, whose sums are exact.
        whole, last = (
            ops.cast(ops.gather(values, index, axis), "double") for values in (sums, image)
        )
        return whole + last * ops.expand(edge - first - 1.0, [1 - axis, 2])

    return (until((place + 1.0) * step) - until(place * step)) / step


def _enlarged(ops, image, axes):
    """A picture that grows, with the whole numbers of OpenCV's `INTER_LINEAR`."""
    taps = []
    for extent, scaled, _, place in axes:
        # Places are 32 bits wide there.
        middle = ops.cast((place + 0.5) * (extent / scaled) - 0.5, "float")
        last = ops.cast(extent - 1.0, "float")
        if taps:  # beyond its first and last pixel a row repeats them; of rows two are mixed there
            middle = ops.minimum(ops.maximum(middle, 0.0), last)
        first = ops.floor(middle)
        weights = 1.0 - (middle - first), middle - first
        weights = [ops.round(weight * 2048.0) for weight in weights]
        places = [
            ops.cast(ops.minimum(ops.maximum(tap, 0.0), last), "int")
            for tap in (first, first + 1.0)
        ]
        taps.append(list(zip(places, weights, strict=True)))
    across = [ops.gather(image, tap, 1) * ops.expand(weight, [0, 2]) for tap, weight in taps[1]]
    across = ops.floor((across[0] + across[1]) * (1 / 16))
    down = [
        ops.floor(
            ops.cast(ops.gather(across, tap, 0), "double")
            * ops.cast(ops.expand(weight, [1, 2]), "double") * (1 / 65536)
        )
        for tap, weight in taps[0]
    ]  # fmt: skip
    return ops.cast(ops.floor((down[0] + down[1] + 2.0) * 0.25), "float")


# Finding joints


def _joints(ops, pixels, size, boxes, joints):
    """Joints `(N, K, 2)` in source pixels and scores `(N, K)` of people in rectangles."""
    codec = joints.codec
    height, width = codec.input_size
    x, y, w, h = (ops.cast(_column(ops, boxes, axis), "double") for axis in range(4))
    scale = ops.maximum(w, h) / float(min(height, width))
    across = x + w * 0.5 - 0.5 - scale * ((width - 1) / 2)
    down = y + h * 0.5 - 0.5 - scale * ((height - 1) / 2)
    crops = _crops(ops, pixels, size, scale, (across, down), codec.input_size)
    maps = ops.network("joints", crops)
    if joints.order is not None:
        mirrored = ops.network("joints", _mirror(ops, crops, width))
        mirrored = _mirror(ops, mirrored, codec.heatmap_size[1])
        mirrored = ops.gather(mirrored, ops.constant(np.array(joints.order)), 3)
        maps = (maps + mirrored) * 0.5
    points, scores = _decode(ops, maps, codec, len(joints.skeleton.joints))
    back = ops.reshape(scale, [-1, 1, 1])
    corner = ops.concat([ops.reshape(edge, [-1, 1, 1]) for edge in (across, down)], 2)
    return ops.cast(points * back + corner, "float"), scores


def _crops(ops, pixels, size, scale, corner, input_size):
    """`(N, height, width, 3)` crops as `images.warp` samples them, black outside."""
    taps = []
    for axis in (0, 1):  # rows, columns
        steps = np.arange(input_size[axis], dtype=np.float64)
        limit = ops.cast(size[axis], "double")
        place = ops.expand(scale, [1]) * ops.constant(steps) + ops.expand(corner[1 - axis], [1])
        place = ops.minimum(ops.maximum(place, -2.0), limit + 1.0)
        first = ops.floor(place)
        part = place - first
        for tap, weight in ((first, 1.0 - part), (first + 1.0, part)):
            inside = (tap >= 0.0) & (tap < limit)
            index = ops.cast(ops.minimum(ops.maximum(tap, 0.0), limit - 1.0), "int")
            weight = ops.cast(weight * ops.cast(inside, "double"), "float")
            taps.append((ops.expand(index, [2 - axis]), ops.expand(weight, [2 - axis, 3])))
    total = None
    for row, vertical in taps[:2]:
        for column, horizontal in taps[2:]:
            values = ops.cast(ops.gather(pixels, row * size[1] + column), "float")
            values = values * (vertical * horizontal)
            total = values if total is None else total + values
    return ops.round(total)


def _decode(ops, maps, codec, number):
    """As `HeatmapCodec.decode`: `(N, K, 2)` joints in input pixels, and `(N, K)` scores."""
    height, width = codec.heatmap_size
    flat = ops.reshape(maps, [-1, height * width, number])
    place = ops.argmax(flat, 1)
    scores = ops.max(flat, [1])
    rows = place // width
    columns = place - rows * width
    x, y = (ops.cast(axis, "double") for axis in (columns, rows))
    if _STEPS[codec.decoder] is not None:
        reach, refine = _STEPS[codec.decoder]
        radius = reach(codec.sigma)
        steps = np.mgrid[-radius : radius + 1, -radius : radius + 1].reshape(2, 1, -1, 1)
        around = [
            ops.minimum(ops.maximum(ops.expand(axis, [1]) + ops.constant(step), 0), limit - 1)
            for axis, step, limit in ((rows, steps[0], height), (columns, steps[1], width))
        ]
        values = ops.cast(ops.take_along(flat, around[0] * width + around[1]), "double")
        inside = (rows > 0) & (rows < height - 1), (columns > 0) & (columns < width - 1)
        across, below = refine(ops, values, inside, codec.sigma)
        x, y = x + across, y + below
    points = ops.concat([ops.expand(axis, [2]) for axis in (x, y)], 2)
    return (points + 0.5) * float(codec.stride) - 0.5, scores


def _quarter_steps(ops, values, inside, sigma):
    left, right, above, below = (_row(ops, values, place) for place in (3, 5, 1, 7))
    nothing = ops.constant(np.float64(0))
    return (
        ops.where(inside[1], ops.sign(right - left) * 0.25, nothing),
        ops.where(inside[0], ops.sign(below - above) * 0.25, nothing),
    )


def _newton_steps(ops, values, inside, sigma):
    blur = max(1, round(sigma))
    kernel = np.exp(np.arange(-blur, blur + 1) ** 2 / (-2 * (sigma / 2) ** 2))
    kernel /= kernel.sum()
    band = np.stack([np.pad(kernel, (shift, 2 - shift)) for shift in range(3)])
    smooth = ops.matmul(np.kron(band, band), values)
    smooth = ops.log(ops.maximum(smooth, 1e-10))
    dx, dy, dxx, dyy, dxy = derivatives(_Window([_row(ops, smooth, n) for n in range(9)]))
    determinant = dxx * dyy - dxy * dxy
    usable = inside[0] & inside[1] & (determinant > 1e-12) & (dxx < 0.0)
    safe = ops.where(usable, determinant, ops.constant(np.float64(1)))
    steps = (dxy * dy - dyy * dx) / safe, (dxy * dx - dxx * dy) / safe
    nothing = ops.constant(np.float64(0))
    return tuple(
        ops.where(usable, ops.minimum(ops.maximum(step, -1.0), 1.0), nothing) for step in steps
    )


# As in `codec`, for whole graphs of either kind: how far from the maximum they look, and the steps.
_STEPS: dict = {
    "max": None,
    "quarter": (lambda sigma: 1, _quarter_steps),
    "dark": (lambda sigma: 1 + max(1, round(sigma)), _newton_steps),
}


class _Window:
    """Nine values as if they were an array `(..., 3, 3)`."""

    def __init__(self, values):
        self._values = values

    def __getitem__(self, place):
        _, row, column = place
        return self._values[3 * row + column]


# Choosing people


def _described(ops, boxes, box_scores, points, scores, joints):
    """name -> value of everybody whose joints were looked for."""
    finite = ops.min(ops.cast(ops.abs(points) < _HUGE, "int"), [2]) > 0
    present = (scores >= ops.constant(np.asarray(joints.thresholds, np.float32))) & finite
    shown = ops.cast(present, "float")
    number = ops.maximum(ops.sum(shown, [1]), 1.0)
    mean = ops.sum(scores * shown, [1]) / number
    known = ops.where(box_scores >= 0.0, box_scores, ops.constant(np.float32(1)))
    return {
        "boxes": boxes,
        "box_scores": box_scores,
        "keypoints": points,
        "scores": scores,
        "present": present,
        "person_scores": mean * known,
    }


def _choose(ops, people, number, with_whole, joints):
    """Rows of the people as `merging.choose_people` chooses them, whether the whole picture stands
    for somebody, and who is sure."""
    least, whole_from = sure_from(joints.thresholds)
    means = ops.mean(people["scores"], 1)
    rows = ops.arange(ops.length(means, 0))
    is_whole = (rows >= number) & with_whole
    alone = (number <= 0) & with_whole
    sure = means >= ops.where(is_whole & alone, whole_from, least)
    alike, near = _similarities(ops, people, joints.skeleton, merging.LEAST_JOINTS)
    # The last one is the whole picture; where it is not, nothing is made of this.
    last = ops.reshape(ops.length(means, 0) - 1, [1])
    to_whole, _ = _similarities(ops, people, joints.skeleton, 1, last)
    found_sure = sure & (rows < number)
    elsewhere = found_sure & (ops.reshape(to_whole, [-1]) < merging.SAME_IN_WHOLE)
    nothing = ops.constant(np.float32(-1))
    needed = ops.max(
        ops.concat(
            [
                ops.where(found_sure, means, nothing),
                ops.where(elsewhere, means * merging.SURER, nothing),
                ops.constant(np.array([whole_from], np.float32)),
            ],
            0,
        ),
        [0],
    )
    whole_mean = ops.sum(ops.where(is_whole, means, ops.constant(np.float32(0))), [0])
    wins = with_whole & ((number <= 0) | (whole_mean >= needed))
    taken = (rows < number) & (elsewhere | ~wins)
    # The surest first: by score, then by whether they are sure, which keeps the order.
    by_score = ops.order(people["person_scores"])
    by_sure = ops.order(ops.cast(ops.gather(sure, by_score), "float"))
    order = ops.gather(by_score, by_sure)
    order = ops.gather(order, ops.nonzero(ops.gather(taken, order)))
    beats = ops.gather(ops.gather((alike >= merging.SAME_PERSON) & near, order), order, 1)
    kept = ops.gather(order, ops.nonzero(ops.survivors(beats)))
    first = ops.gather(rows, ops.nonzero(is_whole & wins))
    return ops.concat([first, kept], 0), alone, sure


def _similarities(ops, people, skeleton, least, of=None):
    """`(P, P)` object keypoint similarities as `merging.similarities` has them, of some rows or of
    all, and whether the extents of their joints touch."""
    shown = people["present"]
    number = len(skeleton.joints)
    points = ops.cast(people["keypoints"], "double")
    points = ops.where(ops.expand(shown, [2]), points, ops.constant(np.float64(0)))
    huge = ops.constant(np.float64(1e30))
    low = ops.min(ops.where(ops.expand(shown, [2]), points, huge), [1])
    high = ops.max(ops.where(ops.expand(shown, [2]), points, huge * -1.0), [1])
    extent = ops.maximum(ops.max(high - low, [1]), 0.0)
    areas = ops.maximum(extent * extent * merging.AREA, 1.0)
    visible = ops.cast(shown, "double")
    mine = [points, visible, areas, low, high]
    if of is not None:
        mine = [ops.gather(value, of) for value in mine]
    both = ops.expand(mine[1], [1]) * ops.expand(visible, [0])
    count = ops.sum(both, [2])
    difference = ops.expand(mine[0], [1]) - ops.expand(points, [0])
    squared = ops.sum(difference * difference, [3])
    area = (ops.expand(mine[2], [1]) + ops.expand(areas, [0])) * 0.5
    sigmas = 2 * (2 * joint_sigmas(skeleton.joints)) ** 2
    spread = ops.expand(area, [2]) * ops.constant(sigmas)
    total = ops.sum(ops.exp(squared * -1.0 / spread) * both, [2])
    enough = ops.cast(count >= float(max(min(least, number), 1)), "double")
    alike = total / ops.maximum(count, 1.0) * enough
    touching = [
        (ops.expand(mine[3], [1]) <= ops.expand(high, [0])),
        (ops.expand(low, [0]) <= ops.expand(mine[4], [1])),
    ]
    near = ops.min(ops.cast(touching[0] & touching[1], "int"), [2]) > 0
    return alike, near


def _mirror(ops, values, width):
    """`(N, h, w, …)` from right to left."""
    return ops.gather(values, ops.constant(np.arange(width)[::-1].copy()), 2)


def _column(ops, values, column):
    return ops.reshape(ops.gather(values, ops.constant(np.array([column])), 1), [-1])


def _row(ops, values, row):
    """`(N, K)` of `(N, M, K)`."""
    return ops.drop(ops.gather(values, ops.constant(np.array([row])), 1), 1)
