"""What the choices at test time cost and bring: mirror, decoder, scales, stack."""

from collections.abc import Sequence
from typing import Any

from keras_hourglass.codec import DECODERS, codec_of
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.evaluation.measure import evaluate_predictions
from keras_hourglass.evaluation.predictions import Collector, RecordHeatmaps
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.network.config import stack_names

SCALES = (0.85, 1.0, 1.2)


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
