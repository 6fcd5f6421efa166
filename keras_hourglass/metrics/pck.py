"""Percentage of correct keypoints and its relatives, in source pixels (NumPy only)."""

import dataclasses
from typing import Any

import numpy as np

from keras_hourglass.choices import MEANS
from keras_hourglass.errors import DataError, UserError, did_you_mean
from keras_hourglass.geometry import PADDING
from keras_hourglass.skeletons import Skeleton, get_skeleton
from keras_hourglass.typing import Array

# A distance equal to the threshold counts, also when a file has rounded the coordinates.
TOLERANCE = 1 + 1e-6


@dataclasses.dataclass(frozen=True)
class PCK:
    """Percentages of correct keypoints.

    Args:
        threshold: largest distance that counts as correct, in units of the reference length.
        num_people: N, people with at least one counted joint.
        joints: percent of each joint; NaN where none was counted.
        groups: percent of each group, left and right and all its joints pooled.
        counts: number of counted joints of each kind.
        means: percent by each convention of `MEANS`.
        mean_over: the convention `mean` uses.

    Example:

    >>> pck(predictions, joints, visibility, torso, "lsp").groups["ankle"]  # doctest: +SKIP
    58.4
    """

    threshold: float
    num_people: int
    joints: dict
    groups: dict
    counts: dict
    means: dict
    mean_over: str = "counted"

    @property
    def mean(self) -> float:
        """The mean in percent, by the convention `mean_over`."""
        return self.means[self.mean_over]

    def to_dict(self) -> dict:
        """JSON-ready; NaN becomes `None`, numbers are rounded to a thousandth of a percent."""
        values = dataclasses.asdict(self)
        for key in ("joints", "groups", "means"):
            values[key] = {name: _or_none(number) for name, number in values[key].items()}
        return {**values, "mean": _or_none(self.mean)}


def _or_none(number):
    return None if np.isnan(number) else round(float(number), 3)


def reference_lengths(
    joints: Array, visibility: Array, skeleton: Skeleton, boxes: Array | None = None
) -> np.ndarray:
    """Distance between the skeleton's two reference joints, e.g. the torso, or else the box.

    Args:
        joints: `(N, K, 2)` in source pixels.
        visibility: `(N, K)`; both joints must be above 0.
        skeleton: the `Skeleton`, whose `reference` names the pair.
        boxes: `(N, 3)` person boxes `centre x, centre y, side` in source pixels. Where nobody can
            be measured by the pair, as animals and hands without a torso, everybody is by the
            side of the box without its margin.

    Returns:
        `(N,)` lengths in source pixels; NaN where one of the two is not labelled or they coincide.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> eyes = Skeleton("eyes", ("left_eye", "right_eye"), reference=("left_eye", "right_eye"))
    >>> reference_lengths([[[1, 1], [4, 5]]], [[2, 1]], eyes).tolist()
    [5.0]
    """
    joints, visibility = np.asarray(joints, np.float64), np.asarray(visibility)
    lengths = np.full(len(joints), np.nan)
    if skeleton.reference is not None:
        first, second = (skeleton.index(joint) for joint in skeleton.reference)
        apart = np.linalg.norm(joints[:, first] - joints[:, second], axis=-1)
        known = (visibility[:, first] > 0) & (visibility[:, second] > 0) & (apart > 0)
        lengths = np.where(known, apart, np.nan)
    if boxes is not None and np.isnan(lengths).all():
        return np.asarray(boxes, np.float64)[:, 2] / PADDING
    return lengths


def normalizer_name(records: Any) -> str:
    """What the reference lengths of records are.

    They are compared with the torsos themselves, and with the boxes; MPII gives heads. FLIC's
    torsos, given in its file, run between the other shoulder and hip.

    Args:
        records: `PoseRecords`.

    Returns:
        `"torso"`, `"box"`, `"head"` or `"given length"`.

    Example:

    >>> from keras_hourglass.data.figures import synthetic_records
    >>> normalizer_name(synthetic_records(num=4, seed=1))
    'torso'
    """
    torso = reference_lengths(records.joints, records.visibility, records.skeleton)
    both = ~np.isnan(torso) & ~np.isnan(records.reference)
    if both.any() and np.allclose(torso[both], records.reference[both], rtol=1e-3):
        return "torso"
    known = np.isfinite(records.reference)
    sides = np.asarray(records.boxes)[:, 2] / PADDING
    if known.any() and np.allclose(sides[known], records.reference[known], rtol=1e-3):
        return "box"
    if "head_top" in records.skeleton.joints:
        return "head"
    return "given length" if records.skeleton.reference is None else "torso"


def default_threshold(normalizer: str) -> float:
    """The customary threshold: 0.5 of the head, 0.2 of the torso, 0.05 of the box.

    Args:
        normalizer: as from `normalizer_name`.

    Returns:
        The threshold in reference lengths.

    Example:

    >>> default_threshold("head"), default_threshold("torso"), default_threshold("box")
    (0.5, 0.2, 0.05)

    Reference:
        Animals are measured by PCK@0.05 in [Mu et al., 2020](https://arxiv.org/abs/1912.08265).
    """
    return {"head": 0.5, "box": 0.05}.get(normalizer, 0.2)


def normalized_distances(
    predictions: Array, joints: Array, visibility: Array, reference: Array
) -> np.ndarray:
    """Distances of predictions from annotations in units of a reference length.

    Args:
        predictions: `(N, K, 2)` in source pixels.
        joints: `(N, K, 2)` annotations in source pixels.
        visibility: `(N, K)`; above 0 is annotated.
        reference: `(N,)` positive lengths in source pixels, e.g. the torso; NaN for people
            without one, who are then not counted.

    Returns:
        `(N, K)` float64; NaN where the joint is not counted.

    Raises:
        DataError: if shapes differ, a reference is zero or negative, or the prediction of a
            counted joint is not finite.

    Example:

    >>> normalized_distances([[[3, 4], [9, 9]]], [[[0, 0], [0, 0]]], [[2, 0]], [10]).tolist()
    [[0.5, nan]]
    """
    joints = np.asarray(joints, np.float64)
    predictions = np.asarray(predictions, np.float64)
    visibility = np.asarray(visibility)
    reference = np.asarray(reference, np.float64)
    if joints.ndim != 3 or joints.shape[-1] != 2 or predictions.shape != joints.shape:
        raise DataError(
            "Predictions and annotations need the same shape (people, joints, 2). Received: "
            f"predictions {predictions.shape}, annotations {joints.shape}. "
            "Predict every annotated person, in the order of the annotations."
        )
    if visibility.shape != joints.shape[:2] or reference.shape != joints.shape[:1]:
        raise DataError(
            f"{len(joints)} people with {joints.shape[1]} joints need visibility "
            f"{joints.shape[:2]} and reference {joints.shape[:1]}. Received: {visibility.shape} "
            f"and {reference.shape}. Check the annotations."
        )
    wrong = np.flatnonzero((reference <= 0) | np.isinf(reference))
    if wrong.size:
        raise DataError(
            "Reference lengths (head size, torso) must be positive and finite, or NaN for people "
            f"not to be counted. Received: {reference[wrong[0]]} for person {wrong[0]} (counted "
            f"from 0; {wrong.size} such). Correct the annotations."
        )
    counted = (visibility > 0) & ~np.isnan(reference)[:, None]
    broken = counted & ~np.isfinite(predictions).all(axis=-1)
    if broken.any():
        person, joint = np.argwhere(broken)[0]
        raise DataError(
            "Predictions of annotated joints must be finite. Received: "
            f"{predictions[person, joint].tolist()} for joint {joint} of person {person} (counted "
            f"from 0; {broken.sum()} such). Write any position for a joint that was not found."
        )
    offsets = np.where(counted[..., None], predictions - joints, np.nan)
    return np.sqrt(np.square(offsets).sum(axis=-1)) / reference[:, None]


def summarize(
    distances: Array, skeleton: Skeleton | str, threshold: float = 0.2, mean_over: str = "counted"
) -> PCK:
    """Percentages per joint, per group and over all, from normalised distances.

    Args:
        distances: `(N, K)` from `normalized_distances`; NaN is not counted.
        skeleton: the `Skeleton` (or its name) that names joints and groups.
        threshold: a distance up to and including this is correct, in reference lengths.
        mean_over: `"counted"`: the mean over all counted joints; `"joints"`: over the
            percentages of the joints; `"groups"`: over those of the groups, so joints in no
            group (MPII's pelvis and thorax) do not enter.

    Returns:
        A `PCK`.

    Raises:
        UserError: if the threshold is not positive, the convention is unknown or the skeleton
            has another number of joints.

    Example:

    >>> pck = summarize([[0.1, 0.3], [0.2, float("nan")]], {"name": "d", "joints": ("a", "b")})
    >>> pck.joints, round(pck.mean, 1), pck.means["joints"]
    ({'a': 100.0, 'b': 0.0}, 66.7, 50.0)
    """
    distances = np.asarray(distances, np.float64)
    counted = ~np.isnan(distances)
    with np.errstate(invalid="ignore"):
        correct = distances <= threshold * TOLERANCE
    people, totals = int(counted.any(axis=1).sum()), (correct.sum(axis=0), counted.sum(axis=0))
    return merge_counts(*totals, skeleton, threshold, mean_over, people)


def merge_counts(
    correct: Array,
    counted: Array,
    skeleton: Skeleton | str,
    threshold: float,
    mean_over: str = "counted",
    num_people: int = 0,
) -> PCK:
    """A `PCK` from numbers of joints, e.g. added up over several files.

    Args:
        correct: `(K,)` number of correct joints of each kind.
        counted: `(K,)` number of joints of each kind that were counted.
        skeleton: the `Skeleton` (or its name) that names joints and groups.
        threshold: largest correct distance in reference lengths.
        mean_over: convention of the mean, see `summarize`.
        num_people: people with at least one counted joint.

    Returns:
        A `PCK`.

    Raises:
        UserError: if the numbers are not one per joint, or an argument is out of range.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> skeleton = Skeleton("two", ("left_eye", "right_eye"))
    >>> merge_counts([1, 3], [2, 3], skeleton, threshold=0.2).means
    {'counted': 80.0, 'joints': 75.0, 'groups': 80.0}
    """
    skeleton = get_skeleton(skeleton)
    correct, counted = np.asarray(correct, np.float64), np.asarray(counted)
    if correct.shape != (skeleton.num_joints,):
        raise UserError(
            f"The skeleton {skeleton.name!r} has {skeleton.num_joints} joints. Received: "
            f"distances of {correct.shape[-1] if correct.ndim else 0} joints."
        )
    if not threshold > 0:
        raise UserError(f"A threshold must be above 0, e.g. 0.2. Received: {threshold}.")
    if mean_over not in MEANS:
        raise UserError(
            f"`mean_over` must be one of {tuple(MEANS)}. Received: {mean_over!r}."
            f"{did_you_mean(mean_over, MEANS)}"
        )

    def percent(index):
        total = counted[index].sum()
        return float(100 * correct[index].sum() / total) if total else float("nan")

    joints = {name: percent([i]) for i, name in enumerate(skeleton.joints)}
    groups = {
        name: percent([skeleton.index(joint) for joint in members])
        for name, members in skeleton.groups
    }
    means = {
        "counted": percent(slice(None)),
        "joints": _mean(joints.values()),
        "groups": _mean(groups.values()),
    }
    return PCK(
        threshold=float(threshold),
        num_people=num_people,
        joints=joints,
        groups=groups,
        counts={name: int(counted[i]) for i, name in enumerate(skeleton.joints)},
        means=means,
        mean_over=mean_over,
    )


def _mean(numbers):
    known = [number for number in numbers if not np.isnan(number)]
    return sum(known) / len(known) if known else float("nan")


def pck(
    predictions: Array,
    joints: Array,
    visibility: Array,
    reference: Array,
    skeleton: Skeleton | str,
    threshold: float = 0.2,
    mean_over: str = "counted",
) -> PCK:
    """Percentage of correct keypoints (PCK).

    Args:
        predictions: `(N, K, 2)` in source pixels.
        joints: `(N, K, 2)` annotations in source pixels.
        visibility: `(N, K)`; above 0 is annotated.
        reference: `(N,)` lengths in source pixels; NaN for people not to be counted.
        skeleton: the `Skeleton`, or its name.
        threshold: largest correct distance in reference lengths, included.
        mean_over: convention of the mean, see `summarize`.

    Returns:
        A `PCK`.

    Raises:
        DataError: as `normalized_distances`.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> pck([[[3, 4]]], [[[0, 0]]], [[2]], [20], Skeleton("dot", ("dot",)), threshold=0.25).mean
    100.0

    Reference:
        [Yang and Ramanan, 2013](https://doi.org/10.1109/TPAMI.2012.261); distances by the torso
        (left shoulder to right hip) as in [Sapp and Taskar,
        2013](https://doi.org/10.1109/CVPR.2013.471).
    """
    distances = normalized_distances(predictions, joints, visibility, reference)
    return summarize(distances, skeleton, threshold, mean_over)


def pckh(
    predictions: Array,
    joints: Array,
    visibility: Array,
    head: Array,
    skeleton: Skeleton | str = "mpii",
    threshold: float = 0.5,
    **kwargs,
) -> PCK:
    """PCK by the head, as on MPII.

    Args:
        head: `(N,)` 0.6 times the diagonal of the head box, in source pixels.
        predictions, joints, visibility, skeleton, threshold, **kwargs: as in `pck`.

    Returns:
        A `PCK`.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> pckh([[[3, 4]]], [[[0, 0]]], [[2]], [9], Skeleton("dot", ("dot",))).mean
    0.0

    Reference:
        [Andriluka et al., 2014](https://doi.org/10.1109/CVPR.2014.471).
    """
    return pck(predictions, joints, visibility, head, skeleton, threshold, **kwargs)
