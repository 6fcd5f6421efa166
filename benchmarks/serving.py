"""Latency and throughput of an exported model against the other ways to run it.

    python benchmarks/serving.py [--model NAME_OR_PATH] [--data lsp:DIR#801-1000] [--photos DIR]

Without `--model`, networks with random weights are measured: `hourglass_2s` at 256×256 and one of
64 features at 128×128. Every runtime is measured in turn, again and again, in one process; beside
the clock's milliseconds stands the processor time per picture, which means something on a busy
machine too, and the load is recorded. With `--data`, the accuracy of every format is measured.
Results go to `benchmarks/results/serving.json` and, as a table, to the screen.
"""

import argparse
import functools
import json
import os
import pathlib
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

from keras_hourglass.files import atomic_write

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


def runtimes(model, crops, folder):
    """Name -> callable from crops to heatmaps, and the bytes of the files each one reads."""
    import tensorflow as tf

    from keras_hourglass.export import export_format, export_model, load_engine

    @tf.function(autograph=False)
    def graph(images):
        return model(images, training=False)

    engines = {"Keras in tf.function": lambda images: graph(images)["stack_1"].numpy()}
    sizes = {"Keras in tf.function": 4 * model.count_params()}
    saved = export_model(model, folder, name="served")
    engines["SavedModel"] = load_engine(saved)
    sizes["SavedModel"] = (saved / "saved_model.pb").stat().st_size
    for format in FORMATS:
        try:
            calibration = crops if format.endswith("int8") else None
            path, _ = export_format(model, folder, format, calibration=calibration)
        except Exception as error:  # a runtime that is missing or fails is a line of its own
            print(f"{format}: {error}", file=sys.stderr)
            continue
        engines[format] = load_engine(path, threads=os.cpu_count())
        files = [path, path.with_suffix(".bin")] if format == "openvino" else [path]
        sizes[format] = sum(file.stat().st_size for file in files)
    return engines, sizes, saved


def interleaved(calls, repetitions, count=1):
    """Milliseconds per picture of every call: median, p99, spread and processor time."""
    taken = {name: [] for name in calls}
    for call in calls.values():
        call()
        call()
    for _ in tqdm(range(repetitions), leave=False):
        for name, call in calls.items():
            time.sleep(common.PAUSE)
            start, busy = time.perf_counter(), time.process_time()
            call()
            taken[name].append((time.perf_counter() - start, time.process_time() - busy))
    results = {}
    for name, pairs in taken.items():
        clock, busy = 1e3 * np.array(pairs).T / count
        low, middle, high, late = np.percentile(clock, [25, 50, 75, 99])
        results[name] = {
            "median_ms": round(middle, 3),
            "quartiles_ms": [round(low, 3), round(high, 3)],
            "p99_ms": round(late, 3),
            "processor_ms": round(float(np.median(busy)), 3),
        }
    return results


def floor(model):
    """A call that does the network's multiplications as square matrix products."""
    import tensorflow as tf

    from keras_hourglass.cost import cost_of

    flops, edge = 1e9 * cost_of(model.get_config()).gflops, 1024
    times = flops / (2 * edge**3)
    matrix = tf.random.normal((edge, edge))

    def call():
        for _ in range(max(1, round(times))):
            tf.matmul(matrix, matrix).numpy()

    return call, flops / (2 * edge**3 * max(1, round(times)))


def repeat(call, count):
    """Call several times."""
    for _ in range(count):
        call()


def accuracy(engines, model, spec):
    """Mean PCK@0.2 of every engine in percent, and its change."""
    from keras_hourglass import Predictor, geometry
    from keras_hourglass.data.sources import load_records

    records = load_records(spec)
    first, second = (model.skeleton.index(name) for name in model.skeleton.reference)
    lengths = np.linalg.norm(records.joints[:, first] - records.joints[:, second], axis=-1)
    boxes = geometry.boxes_to_xywh(records.boxes)
    results = {}
    for name, engine in engines.items():
        if name == "Keras in tf.function":
            predictor = Predictor(model)
        else:
            predictor = Predictor(model, engine=engine)
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
    from keras_hourglass import geometry, images

    image = images.read_image(data)
    box = geometry.boxes_from_xywh((0, 0, image.shape[1], image.shape[0]))
    return images.warp(image, geometry.crop_affine(box, size), size)


def served(saved, model, encoded, repetitions):
    """File bytes to joints, mirror-averaged, through the signature and step by step."""
    import tensorflow as tf

    from keras_hourglass import Predictor

    signature = tf.saved_model.load(str(saved)).signatures["serving_default"]
    predictor = Predictor(model)
    calls = {}
    for count in (1, 8):
        batch = tf.constant(encoded[:count])
        calls[f"SavedModel, {count} at once"] = functools.partial(signature, batch), count
    calls["Predictor, 1 at once"] = (lambda: predictor(encoded[0])), 1
    return {
        name: interleaved({name: call}, repetitions, count)[name]
        for name, (call, count) in calls.items()
    }


def measure(model, arguments):
    """All numbers of one model."""
    import tensorflow as tf

    from keras_hourglass.export.bundle import random_picture

    photos = sorted(pathlib.Path(arguments.photos).glob("*.jpg"))[:32] if arguments.photos else []
    encoded = [path.read_bytes() for path in photos] or [random_picture(0, ".jpg")] * 8
    crops = np.stack([whole_crop(data, model.input_size) for data in encoded])
    result = {"model": model.name, "versions": {"tensorflow": tf.__version__}}
    with tempfile.TemporaryDirectory() as folder:
        engines, sizes, saved = runtimes(model, crops, folder)
        for count in (1, 8):
            images = crops[:count].astype(np.float32)
            calls = {name: functools.partial(engine, images) for name, engine in engines.items()}
            products, factor = floor(model)
            calls["matrix-product floor"] = functools.partial(repeat, products, count)
            numbers = interleaved(calls, arguments.repetitions, count)
            for key in ("median_ms", "processor_ms"):
                numbers["matrix-product floor"][key] *= factor
            result[f"batch {count}"] = numbers
        result["megabytes"] = {name: round(size / 1e6, 2) for name, size in sizes.items()}
        result["picture to joints"] = served(saved, model, encoded, arguments.repetitions)
        if arguments.data:
            result["PCK@0.2"] = accuracy(engines, model, arguments.data)
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
    arguments = parser.parse_args()
    if arguments.model:
        from keras_hourglass.presets import load_model

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
