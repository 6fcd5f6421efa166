"""Latency and throughput of an exported model against the other ways to run it.

    python benchmarks/serving.py [--model NAME_OR_PATH] [--data lsp:DIR#801-1000] [--photos DIR]

Without `--model`, networks with random weights are measured: `hourglass_2s` at 256×256 and one of
64 features at 128×128. Every runtime has a process of its own, as in use: in a common one, the
threads of one keep those of the next waiting, which made TensorFlow look twice as slow at small
networks. They take turns, again and again; beside the clock's milliseconds stands the processor
time per picture, which means something on a busy machine too, and the load is recorded. With
`--data`, the accuracy of every format is measured. Results go to `benchmarks/results/serving.json`
and, as a table, to the screen.
"""

import argparse
import contextlib
import json
import os
import pathlib
import pickle
import platform
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
# As the files beside an export set it for the server.
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import common
import numpy as np
from run import serving_goals
from tqdm import tqdm

from keras_hourglass.io.files import atomic_write

RESULT = pathlib.Path(__file__).parent / "results" / "serving.json"
FORMATS = ("onnx", "openvino", "litert", "litert-int8")


def random_model(features, size, stacks=2):
    """A network whose weights are random everywhere, so that nothing is optimised away."""
    from keras_hourglass import StackedHourglass

    stem = (16, (32,), (32, 64)) if features == 64 else "newell"
    model = StackedHourglass(
        skeleton="mpii",
        num_stacks=stacks,
        num_features=features,
        input_shape=(size, size, 3),
        stem=stem,
        name=f"random_{stacks}s_{features}f_{size}",
    )
    rng = np.random.default_rng(0)
    for variable in model.variables:
        if variable.name in ("gamma", "moving_variance"):
            variable.assign(rng.uniform(0.8, 1.2, variable.shape))
        elif variable.name in ("beta", "moving_mean", "bias"):
            variable.assign(rng.normal(0, 0.1, variable.shape))
    return model


def exported(model, crops, folder):
    """Name -> what a process is to run (kind, path, environment), and bytes of each one's files."""
    from keras_hourglass.export import export_format, export_model

    model.save_to_preset(folder / "keras")
    saved = export_model(model, folder, name="served")
    runs = {
        "Keras in tf.function": ("keras", folder / "keras", {}),
        "SavedModel": ("network", saved, {}),
        # What compose.yaml beside an export says of small networks.
        "SavedModel, one thread": ("network", saved, {"TF_NUM_INTRAOP_THREADS": "1"}),
        "matrix-product floor": ("floor", folder / "keras", {}),
    }
    sizes = {"Keras in tf.function": 4 * model.count_params()}
    sizes["SavedModel"] = (saved / "saved_model.pb").stat().st_size
    for format in FORMATS:
        try:
            calibration = crops if format.endswith("int8") else None
            path, _ = export_format(model, folder, format, calibration=calibration)
        except Exception as error:  # a runtime that is missing or fails is a line of its own
            print(f"{format}: {error}", file=sys.stderr)
            continue
        runs[format] = ("network", path, {})
        files = [path, path.with_suffix(".bin")] if format == "openvino" else [path]
        sizes[format] = sum(file.stat().st_size for file in files)
    return runs, sizes, saved


def keras_call(path, _):
    """The model itself, compiled."""
    import tensorflow as tf

    from keras_hourglass.zoo.store import load_model

    model = load_model(path)

    @tf.function(autograph=False)
    def graph(images):
        return model(images, training=False)

    return lambda images: graph(images)["stack_1"].numpy()


def network_call(path, _):
    """An exported network."""
    from keras_hourglass.export import load_engine

    return load_engine(path, threads=os.cpu_count())


def floor_call(path, factor):
    """The network's multiplications as square matrix products; `factor` gets what is left over."""
    import tensorflow as tf

    from keras_hourglass.network.graph import Graph
    from keras_hourglass.zoo.store import resolve

    arguments = {key: value for key, value in resolve(path)[0].items() if key != "name"}
    flops, edge = 1e9 * Graph(arguments).gflops, 1024
    times = max(1, round(flops / (2 * edge**3)))
    factor.append(flops / (2 * edge**3 * times))
    matrix = tf.random.normal((edge, edge))

    def call(images):
        for _ in range(times * len(images)):
            tf.matmul(matrix, matrix).numpy()

    return call


def signature_call(path, _):
    """File bytes to joints, mirror-averaged, through the signature."""
    import tensorflow as tf

    signature = tf.saved_model.load(str(path)).signatures["serving_default"]
    return lambda encoded: signature(tf.constant([bytes(data) for data in encoded]))


def predictor_call(path, _):
    """File bytes to joints, mirror-averaged, step by step."""
    from keras_hourglass import Predictor

    predictor = Predictor(path, whole=True)
    return lambda encoded: [predictor(bytes(data)) for data in encoded]


KINDS = {
    "keras": keras_call,
    "network": network_call,
    "floor": floor_call,
    "signature": signature_call,
    "predictor": predictor_call,
}


def child(kind, path, inputs):
    """Load, then time one call for every line on the input: how many pictures it takes."""
    factor = []
    call = KINDS[kind](path, factor)
    with open(inputs, "rb") as file:
        given = pickle.load(file)
    print(json.dumps(factor or [1.0]), flush=True)
    for line in sys.stdin:
        batch = given[: int(line)]
        start, busy = time.perf_counter(), time.process_time()
        call(batch)
        taken = time.perf_counter() - start, time.process_time() - busy
        print(json.dumps(taken), flush=True)


def interleaved(children, repetitions, count):
    """Milliseconds per picture of every child: median, p99, spread and processor time."""
    taken = {name: [] for name in children}
    for one in children.values():
        for _ in range(5):
            one(count)
    for turn in tqdm(range(repetitions), leave=False):
        for name in list(children)[:: 1 if turn % 2 == 0 else -1]:
            time.sleep(common.PAUSE)
            taken[name].append(children[name](count))
    results = {}
    for name, pairs in taken.items():
        clock, busy = 1e3 * children[name].facts[0] * np.array(pairs).T / count
        low, middle, high, late = np.percentile(clock, [25, 50, 75, 99])
        results[name] = {
            "median_ms": round(middle, 3),
            "quartiles_ms": [round(low, 3), round(high, 3)],
            "p99_ms": round(late, 3),
            "processor_ms": round(float(np.median(busy)), 3),
        }
    return results


def accuracy(runs, model, spec):
    """Mean PCK@0.2 of every engine in percent, and its change."""
    from keras_hourglass import Predictor, geometry
    from keras_hourglass.data.load import load_records

    records = load_records(spec)
    first, second = (model.skeleton.index(name) for name in model.skeleton.reference)
    lengths = np.linalg.norm(records.joints[:, first] - records.joints[:, second], axis=-1)
    boxes = geometry.boxes_to_xywh(records.boxes)
    results = {}
    for name, (kind, path, environment) in runs.items():
        if kind == "floor" or environment:
            continue
        predictor = Predictor(model, engine="keras" if kind == "keras" else path)
        right = total = 0
        for row in tqdm(range(len(records)), desc=name, leave=False):
            pose = predictor(records.images[row], boxes=[boxes[row]])[0]
            known = records.visibility[row] > 0
            distance = np.linalg.norm(pose.keypoints - records.joints[row], axis=-1) / lengths[row]
            right += int((distance[known] <= 0.2).sum())
            total += int(known.sum())
        results[name] = round(100 * right / total, 2)
    return results


def whole_crop(data, size):
    """The crop of a whole picture."""
    from keras_hourglass import geometry
    from keras_hourglass.io import images

    image = images.read_image(data)
    box = geometry.boxes_from_xywh((0, 0, image.shape[1], image.shape[0]))
    return images.warp(image, geometry.crop_affine(box, size), size)


def measure(model, arguments):
    """All numbers of one model."""
    import tensorflow as tf

    from keras_hourglass.export.bundle import random_picture

    photos = sorted(pathlib.Path(arguments.photos).glob("*.jpg"))[:32] if arguments.photos else []
    encoded = [path.read_bytes() for path in photos] or [random_picture(0, ".jpg")] * 8
    crops = np.stack([whole_crop(data, model.input_size) for data in encoded])
    result = {"model": model.name, "versions": {"tensorflow": tf.__version__}}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        folder = pathlib.Path(folder)
        runs, sizes, saved = exported(model, crops, folder)

        def start(kind, path, environment, given):
            inputs = folder / f"{kind}.pickle"
            inputs.write_bytes(pickle.dumps(given))
            command = [sys.executable, __file__, "--child", kind, path, inputs]
            one = common.Child(command, environment)
            stack.callback(one.close)
            return one

        images = crops[:8].astype(np.float32)
        children = {name: start(*run, images) for name, run in runs.items()}
        for count in (1, 8):
            result[f"batch {count}"] = interleaved(children, arguments.repetitions, count)
        result["megabytes"] = {name: round(size / 1e6, 2) for name, size in sizes.items()}
        joints = {"SavedModel": start("signature", saved, {}, encoded[:8])}
        joints["Predictor"] = start("predictor", folder / "keras", {}, encoded[:8])
        result["picture to joints"] = {
            f"{name}, {count} at once": numbers
            for count in (1, 8)
            for name, numbers in interleaved(joints, arguments.repetitions, count).items()
        }
        if arguments.data:
            result["PCK@0.2"] = accuracy(runs, model, arguments.data)
    return result


def show(result):
    """Print the tables of one model and which goals are missed."""
    print(f"\n{result['model']}\n\n| | batch | median ms | p99 ms | processor ms | MB | PCK@0.2 |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for count in (1, 8):
        for name, row in result[f"batch {count}"].items():
            extra = [
                str(result[key].get(name, "")) for key in ("megabytes", "PCK@0.2") if key in result
            ]
            cells = [name, str(count), *(f"{row[key]:.2f}" for key in _COLUMNS), *extra]
            print("| " + " | ".join(cells) + " |")
    for name, row in result["picture to joints"].items():
        print(f"| {name} | | " + " | ".join(f"{row[key]:.2f}" for key in _COLUMNS) + " | | |")
    for goal in serving_goals([result]):
        print(goal)


_COLUMNS = ("median_ms", "p99_ms", "processor_ms")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", help="preset or folder; two random networks by default")
    parser.add_argument("--data", help="records to measure accuracy on, e.g. lsp:DIR#801-1000")
    parser.add_argument("--photos", help="folder of .jpg files to send and calibrate with")
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--small", action="store_true", help="leave out the 256×256 network")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(*arguments.child)
        return
    if arguments.model:
        from keras_hourglass.zoo.store import load_model

        models = [load_model(arguments.model)]
    else:
        models = [random_model(64, 128)]
        models += [] if arguments.small else [random_model(256, 256)]
    machine = {"processor": platform.processor() or platform.machine(), "cores": os.cpu_count()}
    results = []
    for model in models:
        results.append({**machine, "load": os.getloadavg(), **measure(model, arguments)})
        show(results[-1])
    atomic_write(RESULT, json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
