"""The accuracy of predictions and of the choices at test time: one object behind every table."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hourglass.analysis.presence import sure_thresholds
from keras_hourglass.codec import DECODERS, codec_of
from keras_hourglass.data.mixture import keep_joints, names_of
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import UserError, checks_arguments, refuse_unknown
from keras_hourglass.evaluation.predictions import (
    Collector,
    Predictions,
    RecordHeatmaps,
    options_of,
    predict_records,
)
from keras_hourglass.geometry import PADDING
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.metrics import (
    MEANS,
    auc,
    default_threshold,
    joint_sigmas,
    nme,
    normalizer_name,
    oks,
    summarize,
)
from keras_hourglass.metrics.oks import AREA_OF_BOX
from keras_hourglass.metrics.pck import PCK, TOLERANCE
from keras_hourglass.network.config import stack_names

# Factors on the person box that a sweep averages over.
SCALES = (0.85, 1.0, 1.2)


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The accuracy of predictions.

    Args:
        predictions: the `Predictions`.
        stacks: a `metrics.PCK` for each stack, first to last.
        stack: index of the stack that `pck` and the tables show, the last by default.
        normalizer: what distances are measured in: `"torso"`, `"head"`, or, where neither is there,
            `"box"`.
        auc, nme: as from `metrics.auc` and `metrics.nme`, of that stack.
        parts: a `metrics.PCK` of that stack for `"visible"` and `"occluded"` joints.
        oks: mean object keypoint similarity in percent, with the sigmas of `metrics.joint_sigmas`
            and the areas of the data, or 0.53 of the box where they give none; `None` if nobody has
            a labelled joint.
        pixels: mean distance of the counted joints in source pixels.

    Example:

    >>> evaluate(model, records).parts["occluded"].mean  # doctest: +SKIP
    48.9
    """

    predictions: Predictions
    stacks: tuple
    stack: int
    normalizer: str
    auc: dict
    nme: dict
    parts: dict
    oks: float | None = None
    pixels: float = float("nan")

    @property
    def metric(self) -> str:
        """`"PCK"`, or `"PCKh"` where distances are measured by the head."""
        return "PCKh" if self.normalizer == "head" else "PCK"

    @property
    def pck(self) -> PCK:
        """The `metrics.PCK` of the chosen stack."""
        return self.stacks[self.stack]

    def to_dict(self) -> dict:
        """The content of `metrics.json`; cells without a counted joint are `None`."""
        chosen = self.pck.to_dict()
        predictions = self.predictions
        return {
            "metric": self.metric,
            "threshold": self.pck.threshold,
            "normalizer": self.normalizer,
            "num_people": self.pck.num_people,
            "joints": chosen["joints"],
            "groups": chosen["groups"],
            "mean": chosen["mean"],
            "mean_over": self.pck.mean_over,
            "mean_is": MEANS[self.pck.mean_over],
            "means": chosen["means"],
            "stacks": [
                {"name": name, "groups": values["groups"], "mean": values["mean"]}
                for name, values in zip(
                    predictions.stacks, (pck.to_dict() for pck in self.stacks), strict=True
                )
            ],
            "stack": predictions.stacks[self.stack],
            "counts": self.pck.counts,
            "auc": {"max_threshold": 0.5, **_rounded(self.auc)},
            "nme": _rounded(self.nme),
            "oks": self.oks,
            "mean_error_pixels": _rounded(self.pixels),
            "visible": self.parts["visible"].to_dict()["mean"],
            "occluded": self.parts["occluded"].to_dict()["mean"],
            "num_predicted": len(predictions),
            "skipped": predictions.failures,
            "milliseconds_per_person": _rounded(predictions.milliseconds),
            **predictions.settings,
        }


def _rounded(value):
    if isinstance(value, dict):
        return {name: _rounded(inner) for name, inner in value.items()}
    return None if np.isnan(value) else round(float(value), 3)


@checks_arguments
def evaluate_predictions(
    predictions: Predictions,
    threshold: float | None = None,
    mean_over: str = "counted",
    stack: int | None = None,
    normalizer: str | None = None,
    joints: Sequence[str] | None = None,
) -> Evaluation:
    """Measure predictions against their annotations.

    Args:
        predictions: `Predictions`.
        threshold: largest correct distance in reference lengths; 0.2 by default, 0.5 where the
            reference is the head.
        mean_over: `"counted"`, `"joints"` or `"groups"`, see `metrics.summarize`.
        stack: number of the stack to show, from 1; the last by default.
        normalizer: name of the reference length; found out by default.
        joints: names of joints or groups, if not all of them shall count.

    Returns:
        An `Evaluation`.

    Raises:
        UserError: if the stack or a joint does not exist, the threshold is not positive, or nobody
            can be measured.

    Example:

    >>> evaluate_predictions(load_predictions("runs/lsp"), 0.1).pck.mean  # doctest: +SKIP
    40.2
    """
    records, count = predictions.records, len(predictions.stacks)
    normalizer = normalizer or normalizer_name(records)
    threshold = default_threshold(normalizer) if threshold is None else threshold
    _check_stack(stack, count)
    if joints:
        records = keep_joints(records, joints)
        predictions = dataclasses.replace(predictions, records=records)
    chosen = count - 1 if stack is None else stack - 1
    distances = predictions.distances()

    def measure(values):
        return summarize(values, records.skeleton, threshold, mean_over)

    keypoints = predictions.keypoints[chosen]
    pixels = np.linalg.norm(keypoints - records.joints, axis=-1)[records.visibility > 0]
    _check_measured(records, distances, pixels)
    parts = {
        name: measure(np.where(records.visibility == level, distances[chosen], np.nan))
        for name, level in (("visible", 2), ("occluded", 1))
    }
    return Evaluation(
        predictions,
        tuple(measure(values) for values in distances),
        chosen,
        normalizer,
        auc(distances[chosen], records.skeleton),
        nme(distances[chosen], records.skeleton),
        parts,
        _similarity(records, keypoints),
        float(np.nanmean(pixels)),
    )


def _similarity(records, keypoints):
    """Mean object keypoint similarity in percent, `None` where there is none."""
    sides = records.boxes[:, 2] / PADDING
    areas = AREA_OF_BOX * sides**2 if records.areas is None else records.areas
    placed = np.isfinite(keypoints).all(axis=-1) | (records.visibility == 0)
    usable = (areas > 0) & placed.all(axis=1)
    values = oks(
        keypoints[usable],
        records.joints[usable],
        records.visibility[usable],
        areas[usable],
        joint_sigmas(records.skeleton.joints),
    )
    return round(float(100 * np.nanmean(values)), 3) if np.isfinite(values).any() else None


def _check_measured(records, distances, pixels):
    """Refuse a report in which nobody counts."""
    if np.isfinite(distances).any() and np.isfinite(pixels).any():
        return
    if not len(pixels):
        reason = "no joint is labelled"
    elif not np.isfinite(records.reference).any():
        reason = "there is no length to measure by: neither torso nor head nor box"
    else:
        reason = "the labelled joints are those of people without a length, or not predicted"
    raise UserError(
        f"Nobody can be measured. Received: {len(records)} people of whom {reason}. "
        "Annotate them, or give other data."
    )


def _check_stack(stack, count):
    if stack is not None and not 1 <= stack <= count:
        raise UserError(f"There are stacks 1 to {count}. Received: stack={stack}.")


def evaluate(
    model: Any,
    records: PoseRecords,
    threshold: float | None = None,
    mean_over: str = "counted",
    stack: int | None = None,
    joints: Sequence[str] | None = None,
    **options,
) -> Evaluation:
    """Predict annotated people and measure the result.

    Args:
        model: a `StackedHourglass`.
        records: `PoseRecords`.
        threshold, mean_over, stack, joints: as in `evaluate_predictions`.
        **options: as in `predict_records` (`flip`, `decoder`, `scales`, `batch_size`, …).

    Returns:
        An `Evaluation`.

    Example:

    >>> from keras_hourglass.data.load import load_records  # doctest: +SKIP
    >>> model = StackedHourglass.from_preset("runs/lsp_small")  # doctest: +SKIP
    >>> evaluate(model, load_records("lsp:lsp_dataset#801-1000")).pck.mean  # doctest: +SKIP
    61.3
    """
    refuse_unknown("evaluate", options, options_of(evaluate, RecordHeatmaps, predict_records))
    _check_stack(stack, len(stack_names(model.output)))  # before the work, not after
    if joints:
        names_of(model.skeleton or records.skeleton, joints)
    predictions = predict_records(model, records, **options)
    return evaluate_predictions(predictions, threshold, mean_over, stack, joints=joints)


def believed_from(
    predictions: Predictions, absent: bool = False, threshold: float | None = None
) -> dict[str, float]:
    """From which score on each joint is believed: the thresholds that a model is stored with.

    Args:
        predictions: for annotated people who were not trained on; the last stack counts.
        absent: joints that are not annotated are not there, so that none should be believed;
            otherwise nobody knows.
        threshold: largest correct distance in reference lengths; `default_threshold` by default.

    Returns:
        joint -> threshold, see `sure_thresholds`.

    Example:

    >>> save_thresholds("runs/mine", believed_from(predictions))  # doctest: +SKIP
    """
    people = predictions.records
    if threshold is None:
        threshold = default_threshold(normalizer_name(people))
    distances = predictions.distances()[-1]
    right = np.where(np.isfinite(distances), distances <= threshold * TOLERANCE, np.nan)
    if absent:
        right = np.where(np.asarray(people.visibility) > 0, right, 0.0)
    return sure_thresholds(predictions.scores[-1], right, people.skeleton)


def sweep(
    model: Any,
    records: PoseRecords,
    threshold: float | None = None,
    mean_over: str = "counted",
    scales: Sequence[float] = SCALES,
    engine: str = "fastest",
    **options,
) -> list[dict]:
    """Accuracy and time of the choices at test time, one row each.

    Rows with the same heatmaps share one run of the network. Earlier stacks are run as a network
    that ends there, so their time is what using them would cost.

    Args:
        model: a `StackedHourglass`.
        records: `PoseRecords`.
        threshold, mean_over: as in `evaluate_predictions`.
        scales: factors on the person box of the multi-scale row.
        engine: name of an engine, see `engines.make_engine`.
        **options: `batch_size` and `workers` of `RecordHeatmaps`.

    Returns:
        A list of dicts with `stack`, `flip`, `scales`, `decoder`, `mean` (percent), `groups` and
        `milliseconds` per person (network, merging and decoding; cropping runs beside them).

    Example:

    >>> max(sweep(model, records), key=lambda row: row["mean"])["decoder"]  # doctest: +SKIP
    'dark'
    """
    names = stack_names(model.output)
    passes: list = [(names[-1], flip, (1.0,), DECODERS) for flip in (False, True)]
    own = (codec_of(model, names[-1]).decoder,)
    passes.append((names[-1], True, tuple(scales), own))
    passes += [(name, True, (1.0,), own) for name in names[:-1]]
    rows, engines = [], {}
    for name, flip, factors, decoders in passes:
        if name not in engines:
            engines[name] = make_engine(engine, model, (name,))
        people = RecordHeatmaps(
            model, records, flip, factors, (name,), engine=engines[name], **options
        )
        rows += _rows(model, people, name, decoders, threshold, mean_over)
    return rows


def _rows(model, people, name, decoders, threshold, mean_over):
    """Rows that share a run of the network."""
    collectors = [Collector(codec_of(model, name, decoder), (name,)) for decoder in decoders]
    people.runner.warm_up()
    for batch in people.run():
        for collector in collectors:
            collector.add(*batch)
    rows = []
    for collector in collectors:
        predictions = collector.predictions(people)
        pck = evaluate_predictions(predictions, threshold, mean_over).pck
        rows.append(
            {
                "stack": name,
                **predictions.settings,
                "mean": pck.to_dict()["mean"],
                "groups": pck.to_dict()["groups"],
                "milliseconds": round(sum(predictions.milliseconds.values()), 3),
            }
        )
    return rows
