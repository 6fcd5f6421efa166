"""The files of an evaluation: numbers, predictions, and a report to read."""

import html
import json
import pathlib

import numpy as np

from keras_hourglass.analysis import KINDS, calibration, confusion, published_rows
from keras_hourglass.evaluation import predictions_to_dict, save_predictions
from keras_hourglass.evaluation.files import ARRAYS
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.io.files import atomic_write
from keras_hourglass.metrics import pck_curve
from keras_hourglass.metrics.pck import TOLERANCE
from keras_hourglass.report import figures, tables
from keras_hourglass.report.environment import environment
from keras_hourglass.report.gallery import choose_people, gallery_html
from keras_hourglass.report.style import CSS

THRESHOLDS = np.linspace(0, 0.5, 51)


def write_report(evaluation, folder, model=None, facts=None, sweep=None, gallery=6, engine="keras"):
    """Write `metrics.json`, `predictions.json`, `predictions.npz`, `report.md`, `report.html`.

    Args:
        evaluation: an `Evaluation`.
        folder: where to; it exists.
        model: the model that predicted, for the heatmaps in the gallery.
        facts: label -> text, e.g. `model`, `data`, `command`.
        sweep: rows of `evaluation.sweep`, if it was run.
        gallery: people shown of each kind: best, median, worst.
        engine: what runs the model for them, see `HeatmapRunner`.
    """
    folder, facts = pathlib.Path(folder), dict(facts or {})
    predictions = evaluation.predictions
    metrics = {**evaluation.to_dict(), **facts, "environment": environment()}
    if sweep is not None:
        metrics["sweep"] = sweep
    atomic_write(folder / "metrics.json", json.dumps(metrics, indent=1) + "\n")
    stored = {**predictions_to_dict(predictions, evaluation.stack), **facts}
    atomic_write(folder / "predictions.json", json.dumps(stored, allow_nan=False) + "\n")
    save_predictions(predictions, folder / ARRAYS)
    atomic_write(folder / "report.md", markdown(evaluation, facts, sweep))
    page = html_page(evaluation, model, facts, sweep, gallery, engine)
    atomic_write(folder / "report.html", page)


def curves(distances, skeleton, thresholds=THRESHOLDS):
    """PCK of each group and over all counted joints, at many thresholds.

    Args:
        distances: `(N, K)` normalised distances.
        skeleton: the `Skeleton`.
        thresholds: `(T,)` in reference lengths.

    Returns:
        `{"thresholds", "groups": {name: (T,) percent}, "mean": (T,) percent}`; NaN where nothing
        is counted.
    """
    correct, counted = pck_curve(distances, thresholds)

    def percent(index):
        total = counted[index].sum()
        return 100 * correct[:, index].sum(axis=1) / (total if total else np.nan)

    groups = {
        name: percent([skeleton.index(joint) for joint in members])
        for name, members in skeleton.groups
    }
    mean = percent(np.arange(skeleton.num_joints))
    return {"thresholds": np.asarray(thresholds), "groups": groups, "mean": mean}


def markdown(evaluation, facts=None, sweep=None):
    """The tables as Markdown, for a terminal or a model card."""
    parts = [
        f"# {evaluation.metric}@{evaluation.pck.threshold:g}: {tables.cell(evaluation.pck.mean)} %",
        tables.caption(evaluation) + ".",
        tables.as_markdown(tables.stack_table(evaluation)),
        tables.as_markdown(tables.joint_table(evaluation)),
        tables.as_markdown(tables.mean_table(evaluation)),
    ]
    if sweep:
        parts.append(tables.as_markdown(tables.sweep_table(sweep)))
    failures = evaluation.predictions.failures
    if failures:
        parts.append(f"{len(failures)} pictures could not be read and were skipped.")
    lines = [f"- {name}: {text}" for name, text in {**(facts or {}), **environment()}.items()]
    return "\n\n".join([*parts, "\n".join(lines)]) + "\n"


def html_page(evaluation, model=None, facts=None, sweep=None, gallery=6, engine="keras"):
    """The report as one self-contained page; arguments as in `write_report`."""
    facts = dict(facts or {})
    hover = "\n".join(
        f".c{n}:hover ~ .view .h{n}, .c{n}:focus ~ .view .h{n} {{ opacity: 1; }}"
        for n in range(1, len(evaluation.predictions.stacks) + 1)
    )
    name = pathlib.PurePath(str(facts.get("model", "predictions"))).name
    title = f"{name}: {evaluation.metric} {tables.cell(evaluation.pck.mean)} %"
    body = "\n".join(
        [
            _summary(evaluation, title, facts),
            _tables(evaluation),
            _charts(evaluation),
            _sweep(sweep),
            _people(evaluation, model, gallery, engine),
            _footer(evaluation, facts),
        ]
    )
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{html.escape(title)}</title><style>{CSS}{hover}</style></head>\n"
        f"<body><main>{body}</main></body></html>\n"
    )


def _summary(evaluation, title, facts):
    pck, predictions = evaluation.pck, evaluation.predictions
    numbers = {
        f"{evaluation.metric}@{pck.threshold:g}, mean": f"{tables.cell(pck.mean)} %",
        "area under the curve": f"{tables.cell(evaluation.auc['mean'])} %",
        "visible joints": f"{tables.cell(evaluation.parts['visible'].mean)} %",
        "occluded joints": f"{tables.cell(evaluation.parts['occluded'].mean)} %",
        "people": str(pck.num_people),
    }
    if evaluation.oks is not None:
        numbers["object keypoint similarity"] = f"{evaluation.oks:.1f} %"
    if predictions.milliseconds:
        total = sum(predictions.milliseconds.values())
        numbers["per person"] = f"{total:.1f} ms"
    items = "".join(
        f"<li><b>{html.escape(text)}</b>{html.escape(label)}</li>"
        for label, text in numbers.items()
    )
    data = f". Data: {html.escape(str(facts['data']))}" if "data" in facts else ""
    return (
        f"<h1>{html.escape(title)}</h1>"
        f'<p class="soft">{html.escape(tables.caption(evaluation))}{data}.</p>'
        f'<ul class="numbers">{items}</ul>'
    )


def _tables(evaluation):
    caption = tables.caption(evaluation)
    stack = evaluation.predictions.stacks[evaluation.stack]
    parts = ["<h2>Accuracy</h2>", tables.as_html(tables.stack_table(evaluation), caption)]
    if len(evaluation.stacks) > 1:
        first, last = evaluation.stacks[0].mean, evaluation.stacks[-1].mean
        difference = tables.cell(last - first)
        parts.append(f"<p>The last stack against the first: {difference} percentage points.</p>")
    joints = f"{stack}; AUC and NME (mean distance) in percent of the reference length"
    parts += [
        '<div class="pair"><div>',
        tables.as_html(tables.joint_table(evaluation), joints),
        "</div><div>",
        tables.as_html(tables.mean_table(evaluation), "The same predictions under each convention"),
        "</div></div>",
    ]
    rows = published_rows(
        evaluation.predictions.records.skeleton, evaluation.metric, evaluation.pck.threshold
    )
    if rows:
        groups = [*evaluation.pck.groups, "mean"]
        cells = [
            [source, *(tables.cell(row.get(g)) for g in groups)] for source, row in rows.items()
        ]
        parts.append(tables.as_html([["published", *groups], *cells], "For comparison"))
    return "".join(parts)


def _charts(evaluation):
    predictions, stack = evaluation.predictions, evaluation.stack
    records, pck = predictions.records, evaluation.pck
    distances = predictions.distances()[stack]
    lines = figures.group_curves(
        curves(distances, records.skeleton), evaluation.metric, pck.threshold
    )
    found = confusion(
        predictions.keypoints[stack], records.joints, records.visibility, records.reference,
        records.skeleton, records.images, pck.threshold,
    )  # fmt: skip
    parts = [
        '<h2>Where and how it errs</h2><div class="pair">',
        "<div><h3>Accuracy by threshold</h3>",
        figures.as_image(lines, "PCK of each group over the threshold"),
        "</div><div><h3>What the predictions lie on</h3>",
        figures.as_image(figures.kind_bars(found["kinds"], KINDS), "Kinds of errors by joint"),
        '<p class="soft">Swapped: on the same joint of the other side. Other joint: on another '
        "joint of the same person. Other person: on a joint of somebody else annotated in the "
        "picture.</p></div>",
    ]
    result = calibration(predictions.scores[stack], distances, pck.threshold)
    if sum(result["count"]):
        parts += [
            "<div><h3>What the scores are worth</h3>",
            figures.as_image(figures.reliability(result), "Accuracy by score"),
            "</div>",
        ]
    return "".join([*parts, "</div>"])


def _sweep(sweep):
    if not sweep:
        return ""
    caption = "Accuracy and time of the choices at test time, cropping left out"
    return "<h2>Choices at test time</h2>" + tables.as_html(tables.sweep_table(sweep), caption)


def _people(evaluation, model, gallery, engine):
    predictions, threshold = evaluation.predictions, evaluation.pck.threshold
    distances = predictions.distances()[evaluation.stack]
    if model is not None and isinstance(engine, str):
        engine = make_engine(engine, model, predictions.stacks)  # once for all of them
    parts = []
    for kind, people in choose_people(distances, threshold, gallery).items():
        texts = [_right(distances[person], threshold) for person in people]
        cards = gallery_html(predictions, evaluation.stack, people, texts, model, engine)
        if cards:
            parts.append(f"<h3>{kind.capitalize()}</h3>{cards}")
    if not parts:
        return ""
    hint = " Point at a stack's name to see its heatmaps." if model is not None else ""
    legend = (
        f'<p class="soft">Prediction: <span class="key left">left</span>'
        '<span class="key right">right</span><span class="key centre">centre</span>'
        f'<span class="key gt">annotation</span>{hint}</p>'
    )
    return "<h2>People</h2>" + legend + "".join(parts)


def _right(distances, threshold):
    counted = ~np.isnan(distances)
    right = (distances[counted] <= threshold * TOLERANCE).sum()
    return f"{right} of {counted.sum()} right"


def _footer(evaluation, facts):
    facts = dict(facts)
    command = facts.pop("command", None)
    rows = {**facts, **_settings(evaluation.predictions), **environment()}
    items = "".join(
        f"<dt>{html.escape(str(name))}</dt><dd>{html.escape(str(text))}</dd>"
        for name, text in rows.items()
    )
    parts = ["<h2>How it was made</h2>"]
    if command:
        parts.append(f"<pre>{html.escape(command)}</pre>")
    parts.append(f"<dl>{items}</dl>")
    failures = evaluation.predictions.failures
    if failures:
        lines = "\n".join(f"{path}: {reason}" for path, reason in failures.items())
        parts.append(f"<h3>Skipped pictures ({len(failures)})</h3><pre>{html.escape(lines)}</pre>")
    return "".join(parts)


def _settings(predictions):
    settings = dict(predictions.settings)
    if "scales" in settings:
        settings["scales"] = " ".join(f"{scale:g}" for scale in settings["scales"])
    if "flip" in settings:
        settings["mirror"] = "averaged" if settings.pop("flip") else "not used"
    for step, value in predictions.milliseconds.items():
        settings[f"{step}, ms per person"] = f"{value:.2f}"
    return settings
