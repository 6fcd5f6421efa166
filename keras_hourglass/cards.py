"""Model cards: what a person should know before using weights, as a README."""

from keras_hourglass.cost import cost_of

# Facts in the order of the card; whatever else a card holds follows under its own name.
_HEADINGS = {
    "training_data": "Trained on",
    "metric": "Measured",
    "tables": "Per joint and per stack",
    "command": "Command",
    "hours": "Hours",
    "hardware": "Hardware",
    "limits": "Where it fails",
    "licence": "Licence and terms",
}


def card_text(architecture, metadata):
    """The model card of a preset folder, in Markdown.

    Args:
        architecture: arguments of the network.
        metadata: `card`, `preprocessing` and `thresholds`, all optional. The card's facts are
            strings, numbers, lists, or dicts, which become tables.

    Returns:
        The text.
    """
    card = dict(metadata.get("card") or {})
    name = card.pop("name", "Stacked hourglass")
    licence = card.get("licence", "unknown")
    lines = ["---", f"license: {licence}", "library_name: keras", "tags: [pose-estimation]", "---"]
    lines += ["", f"# {name}", ""]
    if description := card.pop("description", None):
        lines += [str(description), ""]
    lines += _network(architecture)
    for section in ("preprocessing", "thresholds"):
        if values := metadata.get(section):
            card[section] = values
    for key in [
        *(key for key in _HEADINGS if key in card),
        *(k for k in card if k not in _HEADINGS),
    ]:
        heading = _HEADINGS.get(key, str(key).replace("_", " ").capitalize())
        lines += [f"## {heading}", "", *_value(card[key]), ""]
    return "\n".join(lines).rstrip() + "\n"


def _network(architecture):
    cost = cost_of(architecture)
    height, width = architecture["input_shape"][:2]
    skeleton = architecture["skeleton"]
    joints = ", ".join(skeleton["joints"]) if skeleton else "unnamed"
    rows = {
        "Input": f"{height}×{width} RGB, 0–255",
        "Stacks": architecture["num_stacks"],
        "Features": architecture["num_features"],
        "Joints": f"{architecture['num_keypoints']} ({joints})",
        "Parameters": f"{cost.trainable:,}",
        "GFLOPs per image": f"{cost.gflops:.3g}",
    }
    return [*_value(rows), ""]


def _value(value):
    """A fact as Markdown lines: a table for a dict, a list for a list."""
    if isinstance(value, dict):
        inner = [entry for entry in value.values() if isinstance(entry, dict)]
        if inner and len(inner) == len(value):
            return _table(value)
        return ["| | |", "| --- | --- |", *(f"| {k} | {_cell(v)} |" for k, v in value.items())]
    if isinstance(value, (list, tuple)):
        return [f"- {_cell(entry)}" for entry in value]
    return [str(value)]


def _table(rows):
    columns = list(dict.fromkeys(column for row in rows.values() for column in row))
    lines = [f"| | {' | '.join(map(str, columns))} |", "| --- |" + " --- |" * len(columns)]
    for name, row in rows.items():
        lines.append(f"| {name} | {' | '.join(_cell(row.get(c, '')) for c in columns)} |")
    return lines


def _cell(value):
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {_cell(entry)}" for key, entry in value.items())
    return str(value).replace("|", "\\|").replace("\n", " ")
