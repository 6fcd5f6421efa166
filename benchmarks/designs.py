"""Small networks of about equal milliseconds, trained equally long: which design reads joints best?

    python benchmarks/designs.py --timing
    python benchmarks/designs.py --train OUT --data-root DIR [--designs NAME ...]
    python benchmarks/designs.py --table

*Timing*: the folded networks by ONNX Runtime, one crop, in turns; the weights do not matter.
*Training*: from scratch, with the data, augmentation, order of pictures and schedule of
`people_tiny`, the same number of crops for all. OUT keeps the runs; what was stopped goes on.
Both go into `results/designs.json`, each without touching the other, `--table` writes them into
`README.md`.

"Depthwise" replaces the 3×3 convolution of each residual by one that looks at every channel alone.
The package has no such residual, so it is put together here.
"""

import argparse
import csv
import json
import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np

from keras_hourglass.inference import program
from keras_hourglass.layers.nodes import Builder, Tensor

MARK = "designs"
RESULT = common.RESULTS / f"{MARK}.json"
PAGE = pathlib.Path(__file__).resolve().parent / "README.md"
JOINTS = 19


def design(stacks, width, edge=128, depthwise=False, **others):
    """The `model` section of a recipe, and whether its residuals are depthwise."""
    section = {
        "num_stacks": stacks, "num_features": width, "input_shape": [edge, edge, 3],
        "stem": [16, [32], [32, width]], **others,
    }  # fmt: skip
    return section, depthwise


DESIGNS = {
    "two stacks of 64": design(2, 64),
    "one stack of 96": design(1, 96),
    "one stack of 64, two residuals": design(1, 64, num_blocks=2),
    "three stacks of 64 at 96×96": design(3, 64, 96, depth=3),
    "two stacks of 96 at 96×96": design(2, 96, 96, depth=3),
    "two stacks of 48": design(2, 48),
    "one stack of 64 at 160×160": design(1, 64, 160, depth=3),
    "depthwise, two stacks of 96": design(2, 96, depthwise=True),
    "depthwise, three stacks of 64": design(3, 64, depthwise=True),
}
FIRST = next(iter(DESIGNS))
# What all trainings share; the rest is of the recipe.
EPOCHS, STEPS, BATCH, RATE = 4, 400, 16, 2.5e-3
SETTINGS = [
    "training.weights=null", f"training.epochs={EPOCHS}", f"training.steps_per_epoch={STEPS}",
    f"training.batch_size={BATCH}", f"optimizer.learning_rate={RATE}",
    "optimizer.options={use_ema: true, ema_momentum: 0.99}", f"monitoring.source_every={EPOCHS}",
]  # fmt: skip

_conv, _array = Builder.conv, program._Folder._array


def _dense_array(self, node, name):
    """A weight as folding takes it, of a depthwise convolution as one that sees all channels."""
    array = _array(self, node, name)
    if node.kind != "DepthwiseConv2D" or name != "kernel":
        return array
    return array * np.eye(array.shape[2], dtype=array.dtype)


def _depthwise_conv(self, x, name, filters, size=1, place=None, listed=False, **options):
    """`Builder.conv`, whose 3×3 convolutions see one channel each."""
    if size != 3:
        return _conv(self, x, name, filters, size, place, listed, **options)
    weights = (Tensor("kernel", (size, size, x.channels, 1)), Tensor("bias", (x.channels,)))
    options = {"kernel_size": size, "padding": "same"}
    return self.add("DepthwiseConv2D", name, [x], x.shape, place, listed, options, weights)


program._METHODS["DepthwiseConv2D"] = "conv"
program._Folder._array = _dense_array


# Timing


def network(section, depthwise):
    """The ONNX model of a design's last output, with weights by chance."""
    from onnx import helper, numpy_helper

    from keras_hourglass.inference.onnx_graph import to_onnx
    from keras_hourglass.inference.program import fold
    from keras_hourglass.network.graph import Graph

    graph, rng = Graph({"num_keypoints": JOINTS, **section}), np.random.default_rng(0)
    arrays = {
        f"{node.path}/{weight.name}": rng.uniform(0.01, 0.1, weight.shape).astype(np.float32)
        for node in graph.operations
        for weight in node.weights
    }
    model = to_onnx(fold(graph, arrays).only(f"stack_{section['num_stacks']}"))
    if depthwise:
        kept = {weight.name: weight for weight in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Conv":
                kernel = numpy_helper.to_array(kept[node.input[1]])
                if kernel.shape[2:] == (3, 3):
                    one = np.ascontiguousarray(kernel[:, :1])
                    kept[node.input[1]].CopyFrom(numpy_helper.from_array(one, node.input[1]))
                    others = [each for each in node.attribute if each.name != "group"]
                    del node.attribute[:]
                    node.attribute.extend([*others, helper.make_attribute("group", len(kernel))])
        del model.graph.value_info[:]
    return model


def time_all(names, repetitions):
    """Milliseconds, parameters and work of every design."""
    import onnxruntime

    from keras_hourglass.network.graph import Graph

    calls, rows = {}, {}
    for name in names:
        section, depthwise = DESIGNS[name]
        model = network(section, depthwise).SerializeToString()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = os.cpu_count()
        # Threads that wait busily would keep the next network's waiting.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        crop = {"images": np.full((1, *section["input_shape"]), 127, np.float32)}
        calls[name] = lambda run=session.run, crop=crop: run(None, crop)
        Builder.conv = _depthwise_conv if depthwise else _conv
        graph = Graph({"num_keypoints": JOINTS, **section})
        Builder.conv = _conv
        rows[name] = {"parameters": graph.trainable, "gflops": round(_gflops(graph), 3)}
    taken = common.interleaved(calls, repetitions, warmup=5)
    for name, seconds in taken.items():
        rows[name]["milliseconds"] = common.spread(1000 * one for one in seconds).to_dict(2)
        ratio = common.ratios(seconds, taken[FIRST]) if FIRST in taken else None
        rows[name]["ratio"] = ratio and ratio.to_dict(2)
    return rows


def _gflops(graph):
    kinds = ("Conv2D", "DepthwiseConv2D")
    work = 0
    for node in graph.operations:
        if node.kind in kinds:
            work += np.prod(node.outputs[0].shape[1:3]) * np.prod(node.weights[0].shape)
    return 2e-9 * float(work)


# Training


def train_all(names, out, root, seeds):
    """Train what is not trained yet, and the percentages of joints and loss of each."""
    from keras_hourglass.training.recipe import load_recipe
    from keras_hourglass.training.run import train

    rows = {}
    for seed in seeds:
        for name in names:
            section, depthwise = DESIGNS[name]
            folder = pathlib.Path(out) / f"{name.replace(' ', '_').replace(',', '')}-{seed}"
            if not (folder / "done").exists():
                changes = [f"model={json.dumps(section)}", *SETTINGS, f"training.seed={seed}"]
                Builder.conv = _depthwise_conv if depthwise else _conv
                begun = (folder / "checkpoint" / "state.json").exists()
                recipe = load_recipe("people_tiny", changes)
                train(recipe, folder, data_root=root, resume=begun, verbose=2)
                Builder.conv = _conv
                (folder / "done").touch()
            rows.setdefault(name, []).append(read_log(folder / "log.csv"))
            save("training", rows)
    return rows


def read_log(path):
    """The last row of a run's log."""
    with open(path, newline="", encoding="utf-8") as file:
        last = list(csv.DictReader(file))[-1]
    return {key: float(value) for key, value in last.items() if value and "val" in key}


def save(part, rows):
    """Put rows into the result, over those of the same designs."""
    known = common.read(RESULT)
    kept = {key: known[key] for key in ("training", "timing") if key in known}
    kept[part] = {**kept.get(part, {}), **rows}
    common.write(RESULT, kept, packages=("onnxruntime",))


def table(result):
    """The Markdown table of what was measured, the best first."""
    training, timing = result["training"], result["timing"]

    def percent(name):
        """Joints right by the last stack, of each seed."""
        return [
            100 * max((key, row[key]) for key in row if key.endswith("source_pck"))[1]
            for row in training.get(name, [])
        ]

    lines = [
        "| design | parameters | GFLOPs | ms, of the first's | joints right, % |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name in sorted(timing, key=lambda name: -max(percent(name), default=0)):
        row = timing[name]
        took = f"{row['milliseconds']['least']:.1f}, {row['ratio']['median']:.2f}×"
        right = ", ".join(f"{one:.1f}" for one in percent(name))
        cells = [name, f"{row['parameters']:,}", f"{row['gflops']:.2f}", took, right]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timing", action="store_true")
    parser.add_argument("--repetitions", type=int, default=100)
    parser.add_argument("--train", metavar="OUT")
    parser.add_argument("--data-root")
    parser.add_argument("--seeds", type=int, nargs="+", default=[11])
    parser.add_argument("--designs", nargs="+", choices=DESIGNS, default=list(DESIGNS))
    parser.add_argument("--table", action="store_true", help="write the table into README.md")
    args = parser.parse_args()
    if args.timing:
        save("timing", time_all(args.designs, args.repetitions))
    if args.train:
        train_all(args.designs, args.train, args.data_root, args.seeds)
    if args.table:
        rows = table(common.read(RESULT))
        page = common.replace_between(PAGE.read_text(encoding="utf-8"), MARK, rows)
        common.atomic_write(PAGE, page)


if __name__ == "__main__":
    main()
