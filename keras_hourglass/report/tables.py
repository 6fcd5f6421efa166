"""Tables of results as rows of cells, and as text and Markdown."""

import math
import re

from keras_hourglass.errors import printable
from keras_hourglass.metrics import MEANS
from keras_hourglass.metrics.oks import DEFAULT_SIGMA


def cell(value, digits=1):
    """A number as a table shows it; `n/a` where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "n/a"
    # + 0.0 turns -0.0 into 0.0.
    return f"{round(value, digits) + 0.0:.{digits}f}" if isinstance(value, float) else str(value)


# What object keypoint similarities are computed with, in words.
SIGMAS = f"COCO's sigmas, {DEFAULT_SIGMA} for joints that COCO does not have"


def caption(evaluation):
    """One line that names metric, unit and the convention of the mean."""
    pck = evaluation.pck
    return (
        f"{evaluation.metric}@{pck.threshold:g} in percent, distances by {evaluation.normalizer}; "
        f"{pck.num_people} people; mean {MEANS[pck.mean_over]}"
    )


def stack_table(evaluation):
    """Rows per stack, columns per group and the mean; first row is the header."""
    groups = list(evaluation.pck.groups)
    rows = [["stack", *groups, "mean"]]
    for name, pck in zip(evaluation.predictions.stacks, evaluation.stacks, strict=True):
        rows.append([name, *(cell(pck.groups[group]) for group in groups), cell(pck.mean)])
    return rows


def joint_table(evaluation):
    """Rows per joint: how many counted, PCK, area under the curve, mean error."""
    pck, metric = evaluation.pck, evaluation.metric
    rows = [["joint", "counted", f"{metric}@{pck.threshold:g}", "AUC 0-0.5", "NME"]]
    for name in pck.joints:
        values = (pck.joints[name], evaluation.auc["joints"][name], evaluation.nme["joints"][name])
        rows.append([name, str(pck.counts[name]), *(cell(value) for value in values)])
    total = str(sum(pck.counts.values()))
    means = (pck.means["counted"], evaluation.auc["mean"], evaluation.nme["mean"])
    rows.append(["all counted", total, *(cell(value) for value in means)])
    return rows


def mean_table(evaluation):
    """The same predictions under each convention of the mean."""
    means = evaluation.pck.means
    return [["mean", "percent"], *([MEANS[name], cell(means[name])] for name in MEANS)]


def sweep_table(rows):
    """The rows of `evaluation.sweep`."""
    table = [["stack", "mirror", "scales", "decoder", "mean", "ms per person"]]
    for row in rows:
        scales = " ".join(f"{scale:g}" for scale in row["scales"])
        table.append(
            [row["stack"], "yes" if row["flip"] else "no", scales, row["decoder"],
             cell(row["mean"]), cell(row["milliseconds"])]
        )  # fmt: skip
    return table


PRESENCE = (
    "Joints inside against outside the crop, people whole and cut off, in percent; right: answers "
    "by thresholds that other people chose"
)


def presence_table(joints, default):
    """Rows per joint and mirror image, columns as of `analysis.presence_thresholds`."""
    rows = [["joint", "crops", "ROC AUC", "threshold", "right", f"right by {default:g}"]]
    rows[0] += ["right if always present", "present kept", "absent found"]
    pairs = {re.sub("^(left|right)_", "", joint): row for joint, row in joints.items()}
    for name, row in pairs.items():
        shown = (row[key] for key in ("accuracy", "default", "always", "kept", "found"))
        rows.append(
            [name, str(row["joints"]), cell(row["auc"]), cell(row["threshold"], 3),
             *map(cell, shown)]
        )  # fmt: skip
    return rows


def as_text(rows):
    """Aligned columns for a terminal, which names of joints do not command."""
    rows = [list(map(printable, row)) for row in rows]
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for number, row in enumerate(rows):
        first = row[0].ljust(widths[0])
        rest = [text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True)]
        lines.append("  ".join([first, *rest]).rstrip())
        if number == 0:
            lines.append("  ".join("-" * width for width in widths))
    return "\n".join(lines)


def as_markdown(rows):
    """A Markdown table, numbers aligned to the right."""
    marks = ["---", *["---:"] * (len(rows[0]) - 1)]
    escaped = [[text.replace("|", "\\|") for text in row] for row in [rows[0], marks, *rows[1:]]]
    return "\n".join("| " + " | ".join(row) + " |" for row in escaped)
