"""Parameters, work and milliseconds of the presets, as a table in `weights/README.md`.

    python benchmarks/zoo.py [--presets NAME ...] [--repetitions 30]

Each network runs alone, compiled by TensorFlow, one image at a time. The networks take turns, so
that a busy spell of the machine meets all of them; the table gives the median and the spread
between the 10th and 90th percentile. Results go to `benchmarks/results/zoo.json`.
"""

import argparse
import json
import os
import pathlib
import platform

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common

from keras_hourglass.io.files import atomic_write
from keras_hourglass.zoo.store import PRESETS, describe, load_model

ROOT = pathlib.Path(__file__).resolve().parents[1]
RESULT = ROOT / "benchmarks" / "results" / "zoo.json"
PAGE = ROOT / "weights" / "README.md"
TIMED = ("hourglass_tiny", "hourglass_small", "hourglass_1s", "hourglass_2s", "hourglass_8s")


def runner(name):
    """A function that runs a preset's network once."""
    import tensorflow as tf

    model = load_model(name, load_weights=False)
    image = tf.random.uniform((1, *model.input_size, 3), maxval=255)
    network = tf.function(lambda pixels: model(pixels, training=False))
    return lambda: [value.numpy() for value in network(image).values()]


def measure(names, repetitions):
    """Milliseconds of each preset, measured in turns, and the load before and after."""
    runs = {name: runner(name) for name in names}
    load = [os.getloadavg()[0]]
    taken = common.interleaved(runs, repetitions, warmup=3)
    load.append(os.getloadavg()[0])
    rows = {
        name: common.spread(1000 * one for one in seconds).to_dict()
        for name, seconds in taken.items()
    }
    return rows, load


def table(milliseconds):
    """The Markdown table of all presets."""
    lines = [
        "| preset | input | joints | parameters | GFLOPs | ms | what |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in PRESETS:
        row = describe(name, {})
        found = milliseconds.get(name)
        took = f"{found['median']:.1f} ({found['low']:.1f}–{found['high']:.1f})" if found else ""
        size = "×".join(map(str, row["input_size"]))
        lines.append(
            f"| `{name}` | {size} | {row['num_keypoints']} | {row['parameters']:,} | "
            f"{row['gflops']:.2f} | {took} | {row['description']} |"
        )
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--presets", nargs="*", default=TIMED, choices=sorted(PRESETS))
    parser.add_argument("--repetitions", type=int, default=30)
    args = parser.parse_args()
    milliseconds, load = measure(args.presets, args.repetitions)
    import tensorflow as tf

    result = {
        "hardware": f"{os.cpu_count()} × {platform.processor() or platform.machine()}",
        "tensorflow": tf.__version__,
        "repetitions": args.repetitions,
        "load_average": load,
        "milliseconds": milliseconds,
        "presets": {name: describe(name, {}) for name in PRESETS},
    }
    atomic_write(RESULT, json.dumps(result, indent=1) + "\n")
    note = f"{result['hardware']}, TensorFlow {tf.__version__}, median (10th–90th percentile)"
    if max(load) > 0.5 * os.cpu_count() + 1:
        note += f", measured beside other work (load {load[0]:.1f} to {load[1]:.1f})"
    text = f"{note}:\n\n{table(milliseconds)}"
    page = PAGE.read_text(encoding="utf-8")
    atomic_write(PAGE, common.replace_between(page, "zoo", text))
    print(table(milliseconds))


if __name__ == "__main__":
    main()
