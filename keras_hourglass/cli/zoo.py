"""`keras-hourglass list` and `info`: the presets of the model zoo."""

import json


def add_arguments(parser):
    """The options of both commands; only `info` takes a name."""
    if parser.prog.split()[-1] == "info":
        parser.add_argument("name", help="name of a preset, see `keras-hourglass list`")
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args):
    """Print the zoo, or one preset of it."""
    from keras_hourglass.zoo.store import describe, list_presets

    name = getattr(args, "name", None)
    found = describe(name) if name else list_presets()
    if args.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
    elif name:
        print("\n".join(_details(found)))
    else:
        print("\n".join(_table(found)))


def _table(presets):
    columns = {
        "name": lambda row: row["name"],
        "stacks": lambda row: str(row["num_stacks"]),
        "input": _input,
        "joints": _joints,
        "parameters": lambda row: f"{row['parameters']:,}",
        "GFLOPs": lambda row: f"{row['gflops']:.2f}",
        "weights": _weights,
        "what": lambda row: row["description"],
    }
    rows = [list(columns)] + [[cell(row) for cell in columns.values()] for row in presets]
    widths = [max(len(row[column]) for row in rows) for column in range(len(columns))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _details(preset):
    rows = {
        "name": preset["name"],
        "description": preset["description"],
        "input": f"{_input(preset)} RGB, 0–255",
        "joints": _joints(preset),
        "stacks": f"{preset['num_stacks']} of {preset['num_features']} features",
        "supervision": preset["supervision"],
        "parameters": f"{preset['parameters']:,} trainable",
        "GFLOPs": f"{preset['gflops']:.2f} per image (a multiply-add counts as two)",
        "weights": _alternatives(preset["name"]),
    }
    if record := preset["weights"]:
        rows["weights"] = f"{record['size'] / 1e6:.1f} MB, sha256 {record['sha256']}"
        rows["trained on"] = record["training_data"]
        rows["measured"] = _metric(record["metric"])
        rows["licence"] = record["licence"]
        rows["command"] = record["command"]
    width = max(map(len, rows))
    return [f"{key.ljust(width)}  {value}" for key, value in rows.items()]


def _alternatives(name):
    from keras_hourglass.zoo.manifest import trained_as

    if trained := trained_as(name):
        return f"none under this name; trained: {', '.join(trained)}"
    return "none; train it, or convert a published checkpoint"


def _input(row):
    return "×".join(map(str, row["input_size"]))


def _joints(row):
    return f"{row['num_keypoints']}" + (f" ({row['skeleton']})" if row["skeleton"] else "")


def _weights(row):
    return _metric(row["weights"]["metric"]) if row["weights"] else "-"


def _metric(metric):
    return f"{metric['name']} {metric['value']:.1f} % on {metric['data']}"
