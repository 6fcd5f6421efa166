"""The files of an evaluation: numbers, predictions, and a report to read."""

import json
import pathlib
import platform
import sys
from collections.abc import Callable
from typing import Any

import jinja2
import numpy as np

from keras_hourglass import __version__
from keras_hourglass.analysis import KINDS, calibration, confusion, published_rows
from keras_hourglass.evaluation import Evaluation, predictions_to_dict, save_predictions
from keras_hourglass.evaluation.exchange import ARRAYS
from keras_hourglass.hardware import cores
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.io.files import atomic_write
from keras_hourglass.metrics import group_curves
from keras_hourglass.metrics.pck import TOLERANCE
from keras_hourglass.prediction.drawing import OUTLINE
from keras_hourglass.report import figures, tables
from keras_hourglass.report.people import ANNOTATION, choose_people, person_cards
from keras_hourglass.skeletons import SIDE_COLOURS
from keras_hourglass.typing import Path

# The page, its parts and its style sheet.
TEMPLATES = jinja2.Environment(
    loader=jinja2.PackageLoader("keras_hourglass.report"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
)


def write_report(
    evaluation: Evaluation,
    folder: Path,
    model: Any = None,
    facts: dict | None = None,
    sweep: list[dict] | None = None,
    gallery: int = 6,
    engine: Path | Callable = "keras",
) -> None:
    """Write `metrics.json`, `predictions.json`, `predictions.npz`, `report.md`, `report.html`.

    Args:
        evaluation: an `Evaluation`.
        folder: where to; it exists.
        model: the model that predicted, for the heatmaps in the gallery.
        facts: label -> text, e.g. `model`, `data`, `command`.
        sweep: rows of `evaluation.sweep`, if it was run.
        gallery: people shown of each kind: best, median, worst.
        engine: what runs the model for them, see `inference.engines`.

    Example:

    >>> write_report(evaluate(model, records), "run/report", model)  # doctest: +SKIP
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
    facts = {name: str(text) for name, text in (facts or {}).items()}
    predictions, caption = evaluation.predictions, tables.caption(evaluation)
    name = pathlib.PurePath(facts.get("model", "predictions")).name
    details = {**facts, **_settings(predictions), **environment()}
    command = details.pop("command", None)
    return TEMPLATES.get_template("report.html.jinja2").render(
        title=f"{name}: {evaluation.metric} {tables.cell(evaluation.pck.mean)} %",
        caption=f"{caption}. Data: {facts['data']}" if "data" in facts else caption,
        colours={**SIDE_COLOURS, "annotation": ANNOTATION, "outline": OUTLINE},
        stacks=predictions.stacks,
        numbers=_numbers(evaluation),
        accuracy=_accuracy(evaluation, caption),
        charts=_charts(evaluation),
        sweep=tables.sweep_table(sweep) if sweep else None,
        people=_people(evaluation, model, gallery, engine),
        with_heatmaps=model is not None,
        command=command,
        details=details,
        failures=predictions.failures,
    )


def _numbers(evaluation):
    """Label -> the numbers that stand above everything else: nothing but number and unit."""
    pck, predictions = evaluation.pck, evaluation.predictions
    numbers = {
        f"{evaluation.metric}@{pck.threshold:g}, mean": f"{tables.cell(pck.mean)} %",
        "area under the curve": f"{tables.cell(evaluation.auc['mean'])} %",
        "visible joints": f"{tables.cell(evaluation.parts['visible'].mean)} %",
        "occluded joints": f"{tables.cell(evaluation.parts['occluded'].mean)} %",
        "people": str(pck.num_people),
    }
    numbers["mean error, in pixels of the pictures"] = f"{evaluation.pixels:.1f} px"
    if evaluation.oks is not None:
        numbers[f"object keypoint similarity ({tables.SIGMAS})"] = f"{evaluation.oks:.1f} %"
    if predictions.milliseconds:
        total = sum(predictions.milliseconds.values())
        numbers["per person"] = f"{total:.1f} ms"
    return numbers


def _accuracy(evaluation, caption):
    """The tables of the section, with their captions."""
    stack = evaluation.predictions.stacks[evaluation.stack]
    joints = f"{stack}; AUC and NME (mean distance) in percent of the reference length"
    found = {
        "stacks": (tables.stack_table(evaluation), caption),
        "joints": (tables.joint_table(evaluation), joints),
        "means": (tables.mean_table(evaluation), "The same predictions under each convention"),
    }
    if len(evaluation.stacks) > 1:
        first, last = evaluation.stacks[0].mean, evaluation.stacks[-1].mean
        found["gain"] = tables.cell(last - first)
    rows = published_rows(
        evaluation.predictions.records.skeleton, evaluation.metric, evaluation.pck.threshold
    )
    if rows:
        groups = [*evaluation.pck.groups, "mean"]
        cells = [
            [source, *(tables.cell(row.get(g)) for g in groups)] for source, row in rows.items()
        ]
        found["published"] = ([["published", *groups], *cells], "For comparison")
    return found


def _charts(evaluation):
    """Addresses of the figures; that of the scores where there are scores."""
    predictions, stack = evaluation.predictions, evaluation.stack
    records, pck = predictions.records, evaluation.pck
    distances = predictions.distances()[stack]
    lines = figures.group_curves(
        group_curves(distances, records.skeleton), evaluation.metric, pck.threshold
    )
    found = confusion(
        predictions.keypoints[stack], records.joints, records.visibility, records.reference,
        records.skeleton, records.images, pck.threshold,
    )  # fmt: skip
    kinds = figures.kind_bars(found["kinds"], KINDS)
    charts = {"curves": figures.as_data(lines), "kinds": figures.as_data(kinds)}
    result = calibration(predictions.scores[stack], distances, pck.threshold)
    if sum(result["count"]):
        charts["scores"] = figures.as_data(figures.reliability(result))
    return charts


def _people(evaluation, model, gallery, engine):
    """Best, median and worst -> cards, where there is a picture."""
    predictions, threshold = evaluation.predictions, evaluation.pck.threshold
    distances = predictions.distances()[evaluation.stack]
    if model is not None and set(predictions.stacks) <= set(model.output):
        # Once for all of them.
        engine = make_engine(engine, model, predictions.stacks, spinning=False)
    found = {}
    for kind, people in choose_people(distances, threshold, gallery).items():
        texts = [_right(distances[person], threshold) for person in people]
        cards = person_cards(predictions, evaluation.stack, people, texts, model, engine)
        if cards:
            found[kind] = cards
    return found


def _right(distances, threshold):
    counted = ~np.isnan(distances)
    right = (distances[counted] <= threshold * TOLERANCE).sum()
    return f"{right} of {counted.sum()} right"


def _settings(predictions):
    settings = dict(predictions.settings)
    if "scales" in settings:
        settings["scales"] = " ".join(f"{scale:g}" for scale in settings["scales"])
    if "flip" in settings:
        settings["mirror"] = "averaged" if settings.pop("flip") else "not used"
    for step, value in predictions.milliseconds.items():
        settings[f"{step}, ms per person"] = f"{value:.2f}"
    return settings


def environment():
    """Hardware and versions, as label -> text.

    Example:

    >>> "Python" in environment()
    True
    """
    facts = {
        "keras_hourglass": __version__,
        "Python": platform.python_version(),
        "processor": _processor(),
        "cores": str(cores()),
        "system": f"{platform.system()} {platform.machine()}",
    }
    # Only what took part: scoring a file needs no Keras.
    keras = sys.modules.get("keras")
    if keras is not None:
        backend = keras.backend.backend()
        version = getattr(sys.modules.get(backend), "__version__", "")
        facts["Keras"] = f"{keras.__version__} on {backend} {version}".strip()
        facts["accelerators"] = _accelerators(keras)
    for name, module in (("NumPy", "numpy"), ("OpenCV", "cv2")):
        if module in sys.modules:
            facts[name] = sys.modules[module].__version__
    return facts


def _processor():
    try:
        with open("/proc/cpuinfo", encoding="utf-8", errors="replace") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass  # not Linux
    return platform.processor() or "unknown"


def _accelerators(keras):
    try:
        devices = keras.distribution.list_devices("gpu")
    except (AttributeError, NotImplementedError, RuntimeError, ValueError):
        devices = []  # not every backend and version can list them
    return ", ".join(str(device) for device in devices) or "none"
