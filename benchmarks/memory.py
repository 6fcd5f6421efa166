"""Peak memory of inference at 256×256 and of training, each in a process of its own.

    python benchmarks/memory.py [--parts inference training]

The memory that importing takes is subtracted (Linux: resident pages, whose highest mark is reset
after the import). Inference stands against the weights plus the two largest activations of the
network; training against PyTorch is part of `train_step.py`. Results go to
`benchmarks/results/memory.json`; parts that are not measured anew are kept.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np

# Goals, as multiples of the weights and the two largest activations.
LIMITS = {"saved_model": 4.0, "onnxruntime": 3.0, "keras": 1.3}
PARTS = ("inference", "training")
WAYS = ("keras", "saved_model", "litert", "onnxruntime", "openvino")
# Arguments of `train_step.py`'s network, batch, and how the step is made.
TRAININGS = {
    "hourglass_2s, batch 4": {
        "stacks": 2,
        "features": 256,
        "size": 256,
        "batch": 4,
        "stem": (64, 128, 128),
    },
    "small preset, batch 16": {
        "stacks": 2,
        "features": 64,
        "size": 128,
        "batch": 16,
        "stem": (16, 32, 32),
    },
}


def forget_peak():
    """Start the highest mark of this process's memory anew."""
    pathlib.Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def child_inference(way, path):
    """Peak MiB beyond the import, and beyond the runtime's first breath, of one crop."""
    size, stack = 256, "stack_2"
    crop = np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8)
    if way in ("keras", "saved_model"):
        import tensorflow as tf
    elif way == "onnxruntime":
        import onnxruntime  # noqa: F401
    elif way == "openvino":
        import openvino  # noqa: F401
    elif way == "litert":
        import ai_edge_litert.interpreter  # noqa: F401
    from keras_hourglass.inference.runtimes import load_network

    if way == "keras":
        from serving import random_model

        from keras_hourglass.inference.engines import make_engine
    imported = common.resident()
    forget_peak()
    awake = imported
    if way in ("keras", "saved_model"):
        # TensorFlow makes its threads, allocators and kernels at its first operation.
        tf.function(lambda x: tf.nn.relu(tf.nn.conv2d(x, tf.ones((1, 1, 3, 3)), 1, "SAME")))(
            tf.ones((1, 8, 8, 3))
        )
        awake = common.resident()
        forget_peak()
    if way == "keras":
        engine = make_engine("keras", random_model(256, size), (stack,))
    else:
        threads = os.cpu_count() if way == "litert" else None
        engine = load_network(path, (stack,), threads)
    loaded = common.resident("VmHWM")
    for _ in range(3):
        engine(crop)
    return {
        "imported": imported,
        "awake": awake,
        "loaded": loaded,
        "peak": common.resident("VmHWM"),
    }


def child_training(values, way):
    """Peak MiB beyond the import of some training steps."""
    import tensorflow  # noqa: F401
    import train_step

    import keras_hourglass.network.model  # noqa: F401

    imported = common.resident()
    forget_peak()
    step, _, _, _ = train_step.keras_step(argparse.Namespace(**json.loads(values)), f"keras-{way}")
    for _ in range(3):
        step()
    return {"imported": imported, "peak": common.resident("VmHWM")}


def in_child(kind, *values, environment=None):
    """What a process of its own measured."""
    done = subprocess.run(
        [sys.executable, __file__, "--child", kind, *map(str, values)],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode:
        raise SystemExit(f"{kind} {values} ended with {done.returncode}:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def largest_activations(model, count=2):
    """MiB of the largest tensors of the model's graph for one crop, largest first."""
    import tensorflow as tf

    graph = tf.function(lambda images: model(images, training=False)).get_concrete_function(
        tf.TensorSpec((1, *model.input_shape[1:]), tf.float32)
    )
    sizes = [
        output.shape.num_elements() * output.dtype.size
        for operation in graph.graph.get_operations()
        if operation.type in ("Conv2D", "AddV2", "BiasAdd", "Relu", "FusedBatchNormV3", "MaxPool")
        for output in operation.outputs[:1]
        if output.shape.rank == 4 and output.shape.is_fully_defined()
    ]
    return [size / 2**20 for size in sorted(sizes, reverse=True)[:count]]


def inference(repetitions):
    """Peaks of every way to run `hourglass_2s`, and the goal."""
    from serving import random_model

    from keras_hourglass.export import export_format, export_model

    model = random_model(256, 256)
    weights = sum(int(np.prod(v.shape)) for v in model.variables) * 4 / 2**20
    activations = largest_activations(model)
    needed = weights + sum(activations)
    found = {
        "weights_mib": round(weights, 1),
        "activations_mib": [round(a, 1) for a in activations],
    }
    with tempfile.TemporaryDirectory() as folder:
        paths = {"keras": "-", "saved_model": export_model(model, folder, name="served")}
        for way, kind in (("litert", "litert"), ("onnxruntime", "onnx"), ("openvino", "openvino")):
            paths[way] = export_format(model, folder, kind)[0]
        for way in WAYS:
            runs = [in_child("inference", way, paths[way]) for _ in range(repetitions)]
            found[way] = ratio_rows(runs, needed)
    goals = []
    for way, limit in LIMITS.items():
        row, lowest = found[way], min(WAYS, key=lambda one: found[one]["beyond_import_ratio"])
        note = (
            f"{row['beyond_import_mib']:.0f} MiB beyond the import against {needed:.0f} MiB; "
            f"{row['beyond_awake_ratio']:.2f}× beyond the runtime's first operation; the least: "
            f"{lowest}, {found[lowest]['beyond_import_ratio']:.2f}×; {repetitions} processes"
        )
        text = f"peak memory of `hourglass_2s` ({way}) against weights + two largest activations"
        goals.append(common.Goal(6, text, row["beyond_import_ratio"], limit, note=note))
    return found, goals


def ratio_rows(runs, needed):
    """Medians over processes of the memory beyond two bases, in MiB and as ratios."""
    row = {}
    for base in ("imported", "awake"):
        name = base.replace("imported", "import")
        beyond = statistics.median(run["peak"] - run[base] for run in runs)
        row[f"beyond_{name}_mib"] = round(beyond, 1)
        row[f"beyond_{name}_ratio"] = round(beyond / needed, 3)
    row["runs"] = runs
    return row


def training(repetitions):
    """Peaks of a training step: as TensorFlow starts by itself, as `train` runs it, recomputed."""
    found = {}
    for name, values in TRAININGS.items():
        rows = {}
        for way in ("plain", "oneDNN", "recompute"):
            environment = {"TF_ENABLE_ONEDNN_OPTS": "0" if way == "plain" else "1"}
            runs = [
                in_child("training", json.dumps(values), way, environment=environment)
                for _ in range(repetitions)
            ]
            beyond = statistics.median(run["peak"] - run["imported"] for run in runs)
            rows[way] = {
                "beyond_import_mib": round(beyond, 1),
                "per_image_mib": round(beyond / values["batch"], 1),
                "runs": runs,
            }
        found[name] = rows
    return found, []


def main():
    parser = common.parser(__doc__, "memory")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repetitions", type=int, default=5, help="processes of each kind (5)")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args, load = parser.parse_args(), os.getloadavg()[0]
    if args.child:
        kind, *values = args.child
        print(json.dumps({"inference": child_inference, "training": child_training}[kind](*values)))
        return
    parts = common.read(args.out).get("parts", {})
    for part in args.parts:
        found, goals = {"inference": inference, "training": training}[part](args.repetitions)
        parts[part] = {**found, "goals": [goal.to_dict() for goal in goals]}
        print(json.dumps(parts[part], indent=1))
    goals = [common.goal_from(one) for part in parts.values() for one in part["goals"]]
    common.write(args.out, {"parts": parts}, goals, load=load)


if __name__ == "__main__":
    main()
