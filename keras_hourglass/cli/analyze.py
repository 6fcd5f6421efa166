"""`keras-hourglass analyze`: the analyses of the paper, a subcommand each.

The numbers come from `analysis`, tables and figures from `report`.
"""

import json
import math

from keras_hourglass.cli.common import add_mean_over, command_line, limited_records, progress_bar
from keras_hourglass.errors import UserError

FOLDS = 5  # of the people by whom thresholds are tried


def add_arguments(parser):
    commands = parser.add_subparsers(dest="analysis", metavar="ANALYSIS", required=True)
    for name, (_, text) in _ANALYSES.items():
        one = commands.add_parser(name, help=text, description=text + ".")
        several = "+" if name == "curves" else None
        if name != "sensitivity":
            one.add_argument(
                "--evaluation",
                nargs=several,
                metavar="NAME=DIR" if several else "DIR",
                help="folder that evaluate or score wrote, instead of a model",
            )
        one.add_argument("--model", nargs=several, help="preset name, folder or .keras file")
        one.add_argument("--data", metavar="KIND:PATH[#FIRST-LAST]",
                         help="e.g. lsp:DIR#801-1000, of one's own the path alone")  # fmt: skip
        one.add_argument("--data-root", help="folder that a relative data path starts from")
        one.add_argument("--out", required=True, help="new folder for table and figure")
        one.add_argument("--threshold", type=float, help="in reference lengths")
        add_mean_over(one)
        one.add_argument("--limit", type=int, help="use the first so many people")
        one.add_argument("--batch-size", type=int, default=16)
        one.add_argument("--overwrite", action="store_true", help="allow a folder with content")
        if name == "presence":
            one.add_argument(
                "--cut",
                type=int,
                default=0,
                metavar="TIMES",
                help="judge by crops that show people whole and, so often each, cut off",
            )
            one.add_argument(
                "--save",
                metavar="PRESET",
                help="find from which score on each joint is believed, as the end of a training "
                "does, and write that into this preset folder",
            )
        if name == "stacks":
            one.add_argument("--people", type=int, default=4, help="shown of each kind")


def run(args):
    from keras_hourglass.io.files import new_folder

    evaluation = getattr(args, "evaluation", None)
    if bool(evaluation) == bool(args.model and args.data):
        either = (
            "--model and --data"
            if args.analysis == "sensitivity"
            else ("either --evaluation, or --model and --data")
        )
        raise UserError(
            f"This analysis needs {either}. Received: evaluation={evaluation}, "
            f"model={args.model}, data={args.data}."
        )
    out = new_folder(args.out, args.overwrite)
    analyse, _ = _ANALYSES[args.analysis]
    analyse(args, out)
    print(f"\nwritten: {out}/{args.analysis}.json, .md and figures")


def _stacks(args, out):
    """First against last stack."""
    from keras_hourglass import analysis
    from keras_hourglass.report import figures, tables
    from keras_hourglass.report.people import people_figure

    evaluation = _evaluation(args)
    predictions, threshold = evaluation.predictions, evaluation.pck.threshold
    if len(predictions.stacks) < 2:
        raise UserError(
            f"Comparing stacks needs at least two. Received: {', '.join(predictions.stacks)}."
        )
    skeleton = predictions.records.skeleton
    change = analysis.stack_changes(
        predictions.distances(), skeleton, threshold, mean_over=args.mean_over
    )
    rows = tables.stack_table(evaluation)
    rows.append(["last - first", *(tables.cell(value) for value in change["difference"].values())])
    figures.save_figure(figures.stack_bars(change, evaluation.metric), out / "stacks.png")
    count = min(args.people, len(change["order"]) // 2)
    people = [*change["order"][:count], *change["order"][::-1][:count]]
    titles = [f"{100 * change['gain'][person]:+.0f} %" for person in people]
    picture = people_figure(predictions, people, titles)
    if picture is not None:
        figures.save_figure(picture, out / "people.png")
    ids = [str(key) for key in predictions.records.ids[change["order"]]]
    content = {
        "difference": change["difference"],
        "improved_most": ids[:count],
        "worsened_most": ids[::-1][:count],
        **evaluation.to_dict(),
    }
    _write(out, "stacks", content, rows, tables.caption(evaluation))


def _curves(args, out):
    """PCK over thresholds for several models, with published numbers."""
    from keras_hourglass import analysis
    from keras_hourglass.evaluation import evaluate_predictions, load_predictions
    from keras_hourglass.metrics import group_curves
    from keras_hourglass.report import figures, tables

    evaluations = {}
    if args.evaluation:
        for text in args.evaluation:
            name, _, folder = text.rpartition("=")
            predictions = load_predictions(folder)
            evaluations[name or folder] = evaluate_predictions(
                predictions, args.threshold, args.mean_over
            )
    else:
        for model in args.model:
            evaluations[model] = _evaluate(args, model)
    first = next(iter(evaluations.values()))
    kinds = {(one.metric, one.predictions.records.skeleton) for one in evaluations.values()}
    if len(kinds) > 1:
        raise UserError(
            "Curves in one figure need the same joints and the same reference length. Received: "
            + ", ".join(f"{metric} of {skeleton.name}" for metric, skeleton in kinds)
        )
    groups = [*first.pck.groups, "mean"]
    lines, rows = {}, [[f"{first.metric}@{first.pck.threshold:g}", *groups, "AUC"]]
    for name, one in evaluations.items():
        distances = one.predictions.distances()[one.stack]
        lines[name] = group_curves(distances, first.predictions.records.skeleton)
        cells = [tables.cell(value) for value in (*one.pck.groups.values(), one.pck.mean)]
        rows.append([name, *cells, tables.cell(one.auc["mean"])])
    published = analysis.published_rows(
        first.predictions.records.skeleton, first.metric, first.pck.threshold
    )
    for source, row in published.items():
        rows.append([source, *(tables.cell(row.get(group)) for group in groups), "n/a"])
    figure = figures.model_curves(lines, groups, first.metric, published, first.pck.threshold)
    figures.save_figure(figure, out / "curves.png")
    content = {
        "models": {name: {**line, "evaluation": evaluations[name].to_dict()}
                   for name, line in lines.items()},
        "published": published,
    }  # fmt: skip
    _write(out, "curves", content, rows, tables.caption(first))


def _presence(args, out):
    """Which joints are there at all, by the maximum and by the mean of their heatmaps."""
    import numpy as np

    from keras_hourglass import analysis
    from keras_hourglass.codec import PRESENT_FROM
    from keras_hourglass.report import figures, tables

    predictions = _whole_and_cut(args) if args.cut else _evaluation(args).predictions
    skeleton = predictions.records.skeleton
    statistics = {"maximum": predictions.scores[-1], "mean": predictions.heatmap_means[-1]}
    for name, values in statistics.items():
        if not np.isfinite(values).all():
            raise UserError(
                f"Presence needs the {name} of every heatmap, which these predictions lack. "
                "Evaluate a model instead of scoring a file."
            )
    result = analysis.presence(statistics, predictions.records.visibility, skeleton)
    if not result and not args.save:
        raise UserError(
            "Telling annotated joints from others needs data with joints that are not annotated "
            "for everybody. Received: every kind of joint is always or never annotated. "
            "--save PRESET finds from which score on each joint is believed all the same."
        )
    rows = [["joint or group", "annotated %", "maximum: accuracy", "threshold", "AP"]]
    rows[0] += ["mean: accuracy", "threshold", "AP"]
    for kind, row in result.items():
        cells = [kind, tables.cell(row["annotated"])]
        for name in statistics:
            one = row[name]
            cells += [tables.cell(one["accuracy"]), tables.cell(one["threshold"], 4)]
            cells.append(tables.cell(one["average_precision"]))
        rows.append(cells)
    kinds = [name for name, _ in skeleton.groups if name in result] or list(result)[:6]
    if kinds:
        figures.save_figure(figures.precision_recall_panels(result, kinds), out / "presence.png")
    content = {"kinds": result}
    caption = "Accuracy in percent at the best threshold; AP: average precision"
    chosen = {joint: result[joint]["maximum"] for joint in skeleton.joints if joint in result}
    if args.cut:
        # People who are shown several times belong to one fold.
        folds = predictions.records.extra["person"] % FOLDS
        chosen = content["joints"] = analysis.presence_thresholds(
            statistics["maximum"], predictions.records.visibility, skeleton, PRESENT_FROM, folds
        )
        rows, caption = tables.presence_table(chosen, PRESENT_FROM), tables.PRESENCE
    thresholds = {joint: round(row["threshold"], 4) for joint, row in chosen.items()}
    if args.save:
        believed = content["believed_from"] = _save_thresholds(args, predictions)
        print(f"from which score on joints are believed, saved in {args.save}:")
        if result or args.cut:
            print(", ".join(f"{joint} {value:.3g}" for joint, value in believed.items()) + "\n")
        else:  # nothing to tell apart, and no table but this one
            rows = [
                ["joint", "believed from"],
                *([k, tables.cell(v, 4)] for k, v in believed.items()),
            ]
            caption = "Scores from which on joints are believed"
    _write(out, "presence", {"thresholds": thresholds, **content}, rows, caption)


def _save_thresholds(args, predictions):
    """Store from which score on each joint is believed, by the rule of the end of a training."""
    import pathlib

    from keras_hourglass.evaluation import believed_from
    from keras_hourglass.training.recipe import load_recipe
    from keras_hourglass.zoo import save_thresholds

    recipe = pathlib.Path(args.save) / "recipe.yaml"
    # Who was cut off is not there. Else the training knows what joints without annotation are.
    absent = bool(args.cut) or not recipe.is_file() or load_recipe(recipe).data.missing == "zero"
    thresholds = believed_from(predictions, absent, _threshold(args, predictions.records)[0])
    if not thresholds:
        raise UserError(
            "Thresholds need people whose joints can be measured. Received: "
            f"{len(predictions)} people, nobody of whom has a reference length. Pass other data."
        )
    save_thresholds(args.save, thresholds)
    return thresholds


def _whole_and_cut(args):
    """Predictions of people whole and cut off, whose missing joints lie outside the crop."""
    from keras_hourglass import analysis
    from keras_hourglass.evaluation import predict_records
    from keras_hourglass.zoo.store import load_model

    if args.evaluation:
        raise UserError(
            "--cut looks at other crops than an evaluation did. Received: --evaluation "
            f"{args.evaluation}. Give --model and --data."
        )
    model = load_model(args.model)
    height, width = model.input_size
    if height != width:
        raise UserError(
            "--cut needs a square input: a longer side shows what was cut off. Received: "
            f"{height}×{width}. Pass a model of another input_shape."
        )
    records = limited_records(args.data, args.data_root, args.limit)
    records = analysis.whole_and_cut(records, args.cut)
    with progress_bar(len(records), "crops") as bar:
        return predict_records(model, records, batch_size=args.batch_size, progress=bar.update)


def _sensitivity(args, out):
    """Predictions as the box shifts and scales."""
    from keras_hourglass import analysis
    from keras_hourglass.evaluation import predict_records
    from keras_hourglass.inference.engines import make_engine
    from keras_hourglass.network.config import stack_names
    from keras_hourglass.report import figures, tables
    from keras_hourglass.zoo.store import load_model

    model = load_model(args.model)
    records = limited_records(args.data, args.data_root, args.limit)
    # One compiled network for all runs.
    stacks = stack_names(model.output)[-1:]
    engine = make_engine("fastest", model, stacks, spinning=False)
    options = {"stacks": stacks, "engine": engine, "batch_size": args.batch_size}
    # People whose picture cannot be read are left out at once, so that all runs have the same.
    records = predict_records(model, records, **options).records
    threshold, normalizer = _threshold(args, records)
    runs = 1 + 2 * len(analysis.SHIFTS) + len(analysis.SCALES)
    with progress_bar(runs * len(records), "people") as bar:

        def predict(moved):
            return predict_records(model, moved, progress=bar.update, **options).keypoints[-1]

        result = analysis.sensitivity(predict, records, threshold, mean_over=args.mean_over)
    metric = "PCKh" if normalizer == "head" else "PCK"
    rows = [["box", "amount", f"{metric}@{threshold:g}", "moved, % of box", "jumped, %"]]
    for row in result:
        cells = (row["mean"], row["moved"], row["jumped"])
        rows.append([row["change"], f"{row['amount']:g}", *(tables.cell(v) for v in cells)])
    figures.save_figure(figures.sensitivity_panels(result, metric), out / "sensitivity.png")
    caption = (
        f"Distances by {normalizer}, {len(records)} people; shifts in box sides, scale a factor; "
        f"jumped: moved further than {threshold:g} reference lengths"
    )
    _write(out, "sensitivity", {"rows": result, "threshold": threshold}, rows, caption)


def _calibration(args, out):
    """Accuracy against score."""
    from keras_hourglass import analysis
    from keras_hourglass.report import figures, tables

    evaluation = _evaluation(args)
    predictions, stack = evaluation.predictions, evaluation.stack
    result = analysis.calibration(
        predictions.scores[stack], predictions.distances()[stack], evaluation.pck.threshold
    )
    if not sum(result["count"]):
        raise UserError("Calibration needs scores, which these predictions lack. Evaluate a model.")
    rows = [["score", "joints", "mean score", "share correct"]]
    for number, count in enumerate(result["count"]):
        interval = f"{result['edges'][number]:.1f}-{result['edges'][number + 1]:.1f}"
        values = (result["score"][number], result["accuracy"][number])
        rows.append([interval, str(count), *(tables.cell(value, 3) for value in values)])
    rows.append(["expected calibration error", str(sum(result["count"])), "",
                 tables.cell(result["error"], 3)])  # fmt: skip
    figures.save_figure(figures.reliability(result), out / "calibration.png")
    _write(out, "calibration", result, rows, tables.caption(evaluation))


def _confusion(args, out):
    """What wrong joints were taken for."""
    import numpy as np

    from keras_hourglass import analysis
    from keras_hourglass.report import figures, tables

    evaluation = _evaluation(args)
    predictions, records = evaluation.predictions, evaluation.predictions.records
    result = analysis.confusion(
        predictions.keypoints[evaluation.stack], records.joints, records.visibility,
        records.reference, records.skeleton, records.images, evaluation.pck.threshold,
    )  # fmt: skip
    rows = [["joint", "counted", *(kind.replace("_", " ") for kind in analysis.KINDS)]]
    totals = np.zeros(len(analysis.KINDS), int)
    for joint, counts in result["kinds"].items():
        rows.append(_shares(joint, counts))
        totals += counts
    rows.append(_shares("all counted", totals.tolist()))
    kinds = figures.kind_bars(result["kinds"], analysis.KINDS)
    figures.save_figure(kinds, out / "confusion.png")
    matrix = figures.confusion_matrix(result["matrix"], records.skeleton.joints)
    figures.save_figure(matrix, out / "matrix.png")
    _write(out, "confusion", result, rows, tables.caption(evaluation))


def _shares(name, counts):
    from keras_hourglass.report import tables

    total = sum(counts)
    percents = [tables.cell(100 * count / total if total else math.nan) for count in counts]
    return [name, str(total), *percents]


def _evaluation(args):
    """The evaluation a command is about: a stored one, or of a model run now."""
    from keras_hourglass.evaluation import evaluate_predictions, load_predictions

    if args.evaluation:
        predictions = load_predictions(args.evaluation)
        return evaluate_predictions(predictions, args.threshold, args.mean_over)
    return _evaluate(args, args.model)


def _evaluate(args, source):
    from keras_hourglass.evaluation import evaluate_predictions, predict_records
    from keras_hourglass.zoo.store import load_model

    model = load_model(source)
    records = limited_records(args.data, args.data_root, args.limit)
    with progress_bar(len(records), "people") as bar:
        predictions = predict_records(
            model, records, batch_size=args.batch_size, progress=bar.update
        )
    return evaluate_predictions(predictions, args.threshold, args.mean_over)


def _threshold(args, records):
    from keras_hourglass.metrics import default_threshold, normalizer_name

    normalizer = normalizer_name(records)
    threshold = default_threshold(normalizer) if args.threshold is None else args.threshold
    if not threshold > 0:
        raise UserError(f"A threshold must be above 0, e.g. 0.2. Received: {threshold}.")
    return threshold, normalizer


def _write(out, name, content, rows, caption):
    """The table on the terminal and as Markdown, the numbers as JSON."""
    from keras_hourglass.io.files import atomic_write
    from keras_hourglass.report import tables

    print(f"{caption}\n\n{tables.as_text(rows)}")
    stored = {**_plain(content), "command": command_line()}
    atomic_write(out / f"{name}.json", json.dumps(stored, indent=1, allow_nan=False) + "\n")
    text = f"{caption}.\n\n{tables.as_markdown(rows)}\n\n    {command_line()}\n"
    atomic_write(out / f"{name}.md", text)


def _plain(value):
    """NumPy and NaN as what JSON knows."""
    import numpy as np

    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


# name -> (what runs it, one line for --help)
_ANALYSES = {
    "stacks": (_stacks, "Table 1: first against last stack, and who improved most"),
    "curves": (_curves, "Figures 6 and 7: PCK over thresholds, several models in one figure"),
    "presence": (
        _presence,
        "Figure 11: is a joint annotated at all? precision, recall, best threshold",
    ),
    "sensitivity": (_sensitivity, "Figure 10: predictions as the person box shifts and scales"),
    "calibration": (_calibration, "do the scores say how often a joint is right?"),
    "confusion": (_confusion, "left for right, joint for joint, person for person"),
}
