"""`keras-hourglass list`: the presets of the model zoo."""

import json


def add_arguments(parser):
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args):
    """Print the zoo."""
    from keras_hourglass.zoo.store import list_presets

    # What can be used at once comes first.
    show(sorted(list_presets(), key=lambda row: row["weights"] is None), _table, args.json)


def show(found, lines, as_json):
    """Print what is known of presets as JSON, or as the lines that a function makes of it."""
    print(json.dumps(found, indent=1, ensure_ascii=False) if as_json else "\n".join(lines(found)))


def _table(presets):
    columns = {
        "name": lambda row: row["name"],
        "stacks": lambda row: str(row["num_stacks"]),
        "input": input_size,
        "joints": joints,
        "parameters": lambda row: f"{row['parameters']:,}",
        "GFLOPs": lambda row: f"{row['gflops']:.2f}",
        "weights": lambda row: metric(row["weights"]["metric"]) if row["weights"] else "-",
        "what": lambda row: row["description"],
    }
    rows = [list(columns)] + [[cell(row) for cell in columns.values()] for row in presets]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def input_size(preset):
    """Height × width of the input in pixels, as text."""
    return "×".join(map(str, preset["input_size"]))


def joints(preset):
    """How many joints, and of which skeleton."""
    return f"{preset['num_keypoints']}" + (f" ({preset['skeleton']})" if preset["skeleton"] else "")


def metric(record):
    """What trained weights reached, as text."""
    return f"{record['name']} {record['value']:.1f} % on {record['data']}"
