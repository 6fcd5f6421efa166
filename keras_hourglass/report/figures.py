"""Figures of results, drawn by Matplotlib without its global state."""

import base64
import contextlib
import io
import math
import warnings

import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from keras_hourglass.io.files import atomic_path

# Okabe and Ito's colours, which colour-blind readers can tell apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555")
KIND_COLOURS = ("#009e73", "#d55e00", "#e69f00", "#cc79a7", "#999999")


def new_figure(width=6.4, height=4.0, rows=1, columns=1, **options):
    """A figure and its axes, `(rows, columns)`."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False, **options)
    for one in axes.ravel():
        one.grid(alpha=0.3)
        one.set_axisbelow(True)
        one.spines[["top", "right"]].set_visible(False)
    return figure, axes


@contextlib.contextmanager
def _as_written(figure):
    """Draw texts as they are: names of joints are no formulas, and signs that no font has no news.

    Matplotlib takes what stands between two dollar signs for TeX, and raises where it is none.
    """
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    # Of an axis of names, the texts are made when it is drawn.
    with matplotlib.rc_context({"text.parse_math": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        yield


def save_figure(figure, path):
    """Write a figure atomically; the suffix names the format."""
    with atomic_path(path) as temporary, _as_written(figure):
        figure.savefig(temporary, dpi=130)


def as_data(figure):
    """A figure as the address of an image that carries its own data."""
    buffer = io.BytesIO()
    # Letters as outlines look the same everywhere; no date, so equal results give equal files.
    outlines = {"svg.fonttype": "path", "svg.hashsalt": "keras_hourglass"}
    with matplotlib.rc_context(outlines), _as_written(figure):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return data_address(buffer.getvalue(), "svg+xml")


def data_address(content, kind):
    """An image file's bytes as the address of an image, `data:image/...`."""
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def group_curves(curves, metric, mark=None):
    """PCK curves of the groups of one result.

    Args:
        curves: as `metrics.group_curves` makes them; a group of NaN is left out.
        metric: name of the metric.
        mark: threshold at which the tables were made.
    """
    figure, axes = new_figure()
    axis = axes[0, 0]
    thresholds = curves["thresholds"]
    for number, (group, values) in enumerate(curves["groups"].items()):
        if not np.isnan(values).all():
            axis.plot(thresholds, values, label=group, color=COLOURS[number % 7])
    axis.plot(thresholds, curves["mean"], label="mean", color="black", linewidth=2.2)
    if mark is not None:
        axis.axvline(mark, color="grey", linestyle=":", linewidth=1)
    _percent_axis(axis, "threshold (reference lengths)", f"{metric} (%)", thresholds[-1])
    axis.legend(fontsize=8, loc="lower right", ncols=2)
    return figure


def model_curves(models, groups, metric, published=None, threshold=None):
    """Figures 6 and 7 of the paper: a panel per group, a line per model.

    Args:
        models: name -> curves, as `metrics.group_curves` makes them.
        groups: the groups to show.
        metric: name of the metric.
        published: source -> group -> percent, drawn as marks at `threshold`.
        threshold: where the published numbers hold.
    """
    columns = min(3, len(groups))
    rows = math.ceil(len(groups) / columns)
    figure, axes = new_figure(3.4 * columns, 2.7 * rows + 0.6, rows, columns, sharey=True)
    for axis, group in zip(axes.ravel(), groups, strict=False):
        for number, (name, curves) in enumerate(models.items()):
            values = curves["mean"] if group == "mean" else curves["groups"][group]
            axis.plot(curves["thresholds"], values, label=name, color=COLOURS[number % 7])
        for number, (source, percents) in enumerate((published or {}).items()):
            if group in percents:
                marker = "osD^vP*X<>"[number % 10]
                axis.plot(
                    [threshold], [percents[group]], marker, label=source, markersize=4,
                    color="grey", alpha=0.9, linestyle="none", clip_on=False,
                )  # fmt: skip
        axis.set_title(group, fontsize=10)
        _percent_axis(axis, "threshold", f"{metric} (%)", curves["thresholds"][-1])
    for axis in axes.ravel()[len(groups) :]:
        axis.set_visible(False)
    labels = {}
    for axis in axes.ravel():
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            labels.setdefault(label, handle)
    figure.legend(labels.values(), labels, loc="outside lower center", fontsize=8, ncols=3)
    return figure


def kind_bars(kinds, names):
    """What the predictions of each joint lie on, as stacked bars.

    Args:
        kinds: joint -> counts, as `analysis.confusion` makes them.
        names: the K kinds.
    """
    joints = [joint for joint, counts in kinds.items() if sum(counts)]
    figure, axes = new_figure(6.4, 0.8 + 0.24 * max(len(joints), 4))
    axis = axes[0, 0]
    left = np.zeros(len(joints))
    for index, (name, colour) in enumerate(zip(names, KIND_COLOURS, strict=True)):
        share = np.array([100 * kinds[joint][index] / sum(kinds[joint]) for joint in joints])
        label = name.replace("_", " ")
        axis.barh(joints, share, left=left, color=colour, label=label, height=0.75)
        left += share
    axis.set_xlim(0, 100)
    axis.invert_yaxis()
    axis.set_xlabel("% of counted joints")
    axis.tick_params(labelsize=8)
    figure.legend(loc="outside upper center", ncols=5, fontsize=8)
    return figure


def confusion_matrix(matrix, joints):
    """Which joint's place the predictions of each joint lie on.

    Args:
        matrix: `(K, K)` counts, as `analysis.confusion` makes them.
        joints: the K names.
    """
    matrix = np.asarray(matrix, np.float64)
    totals = matrix.sum(axis=1, keepdims=True)
    share = np.divide(100 * matrix, totals, out=np.zeros_like(matrix), where=totals > 0)
    figure, axes = new_figure(6.4, 5.6)
    axis = axes[0, 0]
    axis.grid(False)
    # The diagonal would outshine everything else on a linear scale.
    picture = axis.imshow(np.sqrt(share), cmap="Blues", vmin=0, vmax=10)
    axis.set_xticks(range(len(joints)), joints, rotation=90, fontsize=7)
    axis.set_yticks(range(len(joints)), joints, fontsize=7)
    axis.set(xlabel="lies on (% of those on any joint)", ylabel="prediction of")
    for row, column in np.argwhere(share >= 0.5):
        colour = "white" if share[row, column] > 45 else "black"
        text = f"{share[row, column]:.0f}"
        axis.text(column, row, text, ha="center", va="center", fontsize=6, color=colour)
    bar = figure.colorbar(picture, ax=axis, ticks=[0, 1, 2, 5, 10], shrink=0.8)
    bar.ax.set_yticklabels(["0", "1", "4", "25", "100 %"])
    return figure


def reliability(result):
    """Accuracy against score, with how many joints have it.

    Args:
        result: as `analysis.calibration` makes it.
    """
    figure, axes = new_figure(6.4, 3.6, 1, 2)
    left, right = axes[0]
    left.plot([0, 1], [0, 1], color="grey", linestyle=":")
    left.plot(result["score"], result["accuracy"], "o-", color=COLOURS[0])
    left.set(xlabel="score", ylabel="share correct", xlim=(0, 1), ylim=(0, 1))
    left.set_title(f"calibration error {result['error']:.3f}", fontsize=10)
    edges = np.asarray(result["edges"])
    right.bar(edges[:-1], result["count"], width=np.diff(edges), align="edge", color=COLOURS[5])
    right.set(xlabel="score", ylabel="joints", xlim=(0, 1))
    return figure


def precision_recall_panels(result, kinds):
    """Figure 11 of the paper: precision and recall of being annotated.

    Args:
        result: as `analysis.presence` makes it.
        kinds: the joints or groups to show, a panel each.
    """
    columns = min(3, len(kinds))
    rows = math.ceil(len(kinds) / columns)
    figure, axes = new_figure(3.4 * columns, 3 * rows, rows, columns)
    for axis, kind in zip(axes.ravel(), kinds, strict=False):
        statistics = [key for key, value in result[kind].items() if isinstance(value, dict)]
        for name, colour in zip(statistics, COLOURS, strict=False):
            values = result[kind][name]
            label = f"{name}: {values['accuracy']:.1f} %"
            axis.plot(values["recall"], values["precision"], color=colour, label=label)
        axis.axhline(result[kind]["annotated"] / 100, color="grey", linestyle=":")
        axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1.02))
        axis.set_title(kind, fontsize=10)
        axis.legend(fontsize=8, loc="lower left")
    for axis in axes.ravel()[len(kinds) :]:
        axis.set_visible(False)
    return figure


def sensitivity_panels(rows, metric):
    """Figure 10 of the paper: accuracy and movement as the box shifts and scales.

    Args:
        rows: as `analysis.sensitivity` makes them.
        metric: name of the metric.
    """
    figure, axes = new_figure(6.8, 5.2, 2, 2, sharex="col")
    plans = {"x": (0, 0, 0), "y": (0, 1, 0), "scale": (1, 2, 1)}
    for change, (column, colour, neutral) in plans.items():
        points = [(row["amount"], row) for row in rows if row["change"] == change]
        points = sorted([*points, (neutral, rows[0])], key=lambda point: point[0])
        amounts = [amount for amount, _ in points]
        for line, key in enumerate(("mean", "moved")):
            values = [row[key] for _, row in points]
            axes[line, column].plot(
                amounts, values, "o-", color=COLOURS[colour], label=f"box {change}"
            )
    axes[0, 0].set_ylabel(f"{metric} (%)")
    axes[1, 0].set_ylabel("median movement (% of box)")
    axes[1, 0].set_xlabel("shift (box sides)")
    axes[1, 1].set_xlabel("factor on the box side")
    for axis in axes[0]:
        axis.legend(fontsize=8)
    return figure


def stack_bars(change, metric):
    """Table 1 of the paper as a figure: each group before and after the later stacks.

    Args:
        change: as `analysis.stack_changes` makes it.
        metric: name of the metric.
    """
    figure, axes = new_figure(6.4, 3.4)
    axis = axes[0, 0]
    names = [*change["first"].groups, "mean"]
    place = np.arange(len(names))
    for offset, key, colour in ((-0.2, "first", COLOURS[5]), (0.2, "last", COLOURS[0])):
        pck = change[key]
        values = [*pck.groups.values(), pck.mean]
        axis.bar(place + offset, np.nan_to_num(values), 0.4, color=colour, label=f"{key} stack")
    axis.set_xticks(place, names)
    axis.set_ylabel(f"{metric} (%)")
    axis.set_ylim(0, 100)
    axis.legend(fontsize=8)
    return figure


def _percent_axis(axis, x_label, y_label, right):
    axis.set(xlabel=x_label, ylabel=y_label, xlim=(0, right), ylim=(0, 100))
