"""Model cards: what a person should know before using weights, as a README."""

import pathlib
import re

from keras_hourglass.network.graph import Graph
from keras_hourglass.skeletons import BOXES

# Sections of the card in order, each with its facts and their names; a nameless fact stands in
# the text, the others in a table. Whatever else a card holds follows under its own name.
_SECTIONS: dict[str, dict] = {
    "Accuracy": {
        "metric": None,
        "convention": None,
        "elsewhere": None,
        "figures": None,
        "tables": None,
        "gains": None,
    },
    "On everyday people": {"people": None},
    "On athletes": {"athletes": None},
    "The face": {"faces": None},
    "Where it fails": {"limits": None, "failures": None},
    "Is a joint in the picture?": {"presence": None, "thresholds": None},
    "Speed": {"speed": None},
    "Training": {
        "training_data": "Trained on",
        "architecture": "Network",
        "command": "Command",
        "recipe": "Recipe",
        "epoch": "Epoch kept",
        "crops": "Crops seen",
        "hours": "Hours",
        "hardware": "Hardware",
        "curves": None,
    },
    "File": {"weights": None, "storage": None},
    "Preprocessing": {"preprocessing": None},
    "Licence and terms": {"licence": None},
}
_KNOWN_LICENCE = re.compile(r"(apache-2\.0|mit|bsd-[23]-clause|cc0-1\.0|cc-by[-a-z0-9.]*)\b", re.I)
# What a training run notes down itself, e.g. val_stack_2_pck: 0.7464.
_VALIDATION = re.compile(r"val_(?:stack_(\d+)_)?(source_)?pck$")


def card_text(architecture, metadata):
    """The model card of a preset folder, in Markdown.

    Args:
        architecture: arguments of the network.
        metadata: `card`, `preprocessing`, `thresholds` and `weights` (`sha256`, `size`), all
            optional. The card's facts are strings, numbers, lists, or dicts, which become tables;
            dicts of dicts become tables with a column per inner key. A dict with `picture` (a
            file beside the card) or `text` is shown as such, its other entries below.

    Returns:
        The text.
    """
    facts = dict(metadata.get("card") or {})
    name = facts.pop("name", "Stacked hourglass")
    lines = ["---", f"license: {_licence(facts)}", "library_name: keras"]
    lines += [
        f"pipeline_tag: {_task(architecture)}",
        "tags: [pose-estimation]",
        "---",
        "",
        f"# {name}",
        "",
    ]
    if description := facts.pop("description", None):
        lines += [str(description), ""]
    lines += _network(architecture)
    for section in ("preprocessing", "thresholds", "weights"):
        if values := metadata.get(section):
            facts[section] = values
    if "presence" in facts:
        facts.pop("thresholds", None)  # they stand in its table
    sections = {heading: dict(keys) for heading, keys in _SECTIONS.items()}
    sections["Training"].update(_validations(facts))
    for heading, keys in sections.items():
        found = {key: facts.pop(key) for key in keys if key in facts}
        if found:
            lines += [f"## {heading}", "", *_section(found, keys)]
    for key, value in facts.items():
        heading = str(key).replace("_", " ").capitalize()
        lines += [f"## {heading}", "", *_value(value), ""]
    return "\n".join(lines).rstrip() + "\n"


def _licence(facts):
    """The licence's identifier for the head of the card; the text has a section of its own."""
    text = str(facts.get("licence", "unknown"))
    known = _KNOWN_LICENCE.match(text)
    return known[0].lower() if known else "unknown" if text == "unknown" else "other"


def _task(architecture):
    """What the Hugging Face hub calls that which the network does."""
    joints = tuple((architecture["skeleton"] or {}).get("joints", ()))
    return "object-detection" if joints == BOXES.joints else "keypoint-detection"


def _validations(facts):
    """Names for the validation results that a run notes down; they become percents."""
    names = {}
    for key in facts:
        if match := _VALIDATION.match(str(key)):
            stack = f", stack {match[1]}" if match[1] else ""
            where = "in source pixels" if match[2] else "in heatmap pixels, not mirrored"
            names[key] = f"PCK then{stack} ({where})"
            if isinstance(facts[key], float):
                facts[key] = f"{100 * facts[key]:.1f} %"
    return names


def _network(architecture):
    graph = Graph(architecture)
    height, width = architecture["input_shape"][:2]
    skeleton = architecture["skeleton"]
    joints = ", ".join(skeleton["joints"]) if skeleton else "unnamed"
    rows = {
        "Input": f"{height}×{width} RGB, 0–255",
        "Stacks": architecture["num_stacks"],
        "Features": architecture["num_features"],
        "Joints": f"{architecture['num_keypoints']} ({joints})",
        "Parameters": f"{graph.trainable:,}",
        "GFLOPs per image": f"{graph.gflops:.3g}",
    }
    return [*_value(rows), ""]


def _section(facts, names):
    """The facts of a section: those with a name in one table, then the others."""
    lines = []
    if table := {names[key]: value for key, value in facts.items() if names[key]}:
        lines += [*_value(table), ""]
    for key, value in facts.items():
        if not names[key]:
            lines += [*(_metric(value) if key == "metric" else _value(value)), ""]
    return lines


def _metric(value):
    """A measured accuracy as a sentence where it is one."""
    if isinstance(value, dict) and set(value) == {"name", "value", "data"}:
        return [f"**{value['value']:.1f} %** {value['name']} on {value['data']}"]
    return _value(value)


def _value(value):
    """A fact as Markdown lines: a table for a dict, a list for a list."""
    if isinstance(value, dict):
        return _told(value) if {"picture", "text"} & set(value) else _dict(value)
    if isinstance(value, (list, tuple)):
        return [f"- {_cell(entry)}" for entry in value]
    return [str(value)]


def _told(value):
    """A picture or a text, with what else belongs to it below."""
    lines = []
    if "picture" in value:
        file = str(value["picture"])
        lines += [f"![{pathlib.PurePath(file).stem}]({file})", ""]
    for key, entry in value.items():
        if key != "picture":
            lines += [*_value(entry), ""]
    return lines[:-1]


def _dict(value):
    inner = [entry for entry in value.values() if isinstance(entry, dict)]
    if not inner or len(inner) < len(value):
        rows = (f"| {key} | {_cell(entry)} |" for key, entry in value.items())
        return ["| | |", "| --- | --- |", *rows]
    if any(isinstance(cell, dict) for row in inner for cell in row.values()):
        # A table of tables: one after the other, each under its name.
        lines = []
        for name, table in value.items():
            lines += [f"**{name}**", "", *_dict(table), ""]
        return lines[:-1]
    return _table(value)


def _table(rows):
    """Rows of numbers; every number of a column with the same digits."""
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"| | {' | '.join(map(str, columns))} |", "| --- |" + " ---: |" * len(columns)]
    cells = {column: _column([row.get(column, "") for row in rows.values()]) for column in columns}
    for index, name in enumerate(rows):
        lines.append(f"| {name} | {' | '.join(cells[column][index] for column in columns)} |")
    return lines


def _column(values):
    numbers = [abs(value) for value in values if isinstance(value, float)]
    digits = 1 if max(numbers, default=0) >= 1 else 3
    return [f"{v:.{digits}f}" if isinstance(v, float) else _cell(v) for v in values]


def _cell(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")
