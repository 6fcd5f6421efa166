"""`keras-hourglass info`: one preset, of the model zoo or of one's own."""

from keras_hourglass.cli.list_presets import input_size, joints, metric, show


def add_arguments(parser):
    parser.add_argument(
        "name", help="a preset of `keras-hourglass list`, or a folder or .keras file"
    )
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def run(args):
    """Print what is known of the preset."""
    from keras_hourglass.zoo.store import describe

    show(describe(args.name), _details, args.json)


def _details(preset):
    rows = {
        "name": preset["name"],
        "description": preset["description"],
        "input": f"{input_size(preset)} RGB, 0–255",
        "joints": joints(preset),
        "stacks": f"{preset['num_stacks']} of {preset['num_features']} features",
        "supervision": preset["supervision"],
        "parameters": f"{preset['parameters']:,} trainable",
        "GFLOPs": f"{preset['gflops']:.2f} per image (a multiply-add counts as two)",
        "weights": _alternatives(preset["name"]),
    }
    if record := preset["weights"]:
        rows["weights"] = f"{record['size'] / 1e6:.1f} MB, sha256 {record['sha256']}"
        rows["trained on"] = record["training_data"]
        rows["measured"] = metric(record["metric"])
        rows["licence"] = record["licence"]
        rows["command"] = record["command"]
    width = max(map(len, rows))
    return [f"{key.ljust(width)}  {value}" for key, value in rows.items()]


def _alternatives(name):
    from keras_hourglass.zoo.presets import PRESETS
    from keras_hourglass.zoo.store import trained_as

    if name not in PRESETS:
        return "one's own"
    if trained := trained_as(name):
        return f"none under this name; trained: {', '.join(trained)}"
    return "none; train it, or convert a published checkpoint"
