"""Mutated files for every reader: each must end in a result or in one sentence.

    python tests/helpers/fuzz_readers.py --seconds 3600 --table benchmarks/fuzz.md

Seeds are made here; mutations know the structure (values of JSON and YAML, members of archives,
words of binary files). Inputs run in child processes with limits on memory and processor time, so
that one that takes the process down is a failure like any other. The number of an input makes it
again: `--only READER --first NUMBER --count 1`.
"""

import argparse
import collections
import copy
import io
import json
import math
import os
import pathlib
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import zipfile

import cv2
import h5py
import numpy as np
import scipy.io

from keras_hourglass.data.load import load_records
from keras_hourglass.errors import UserError
from keras_hourglass.evaluation.exchange import load_predictions, read_keypoints
from keras_hourglass.io.arrays import read_hdf5, read_npz
from keras_hourglass.io.images import read_image, shown_size
from keras_hourglass.io.structured import read_yaml
from keras_hourglass.metrics import average_precision
from keras_hourglass.prediction.boxes import read_boxes
from keras_hourglass.zoo.store import read_config

BATCH, SECONDS, MEMORY, LONGEST = 100, 2.0, 2 * 2**30, 300
NAMES = ["nose", "left_hip", "right_hip"]
WORDS = (0, 1, 2, 5, 6, 9, 14, 15, 127, 255, 256, 65535, 2**31 - 1, 2**31, 2**32 - 1)
ODD = (
    None, True, -1, 0, 1, 10**18, 10**30, -(10**300), math.nan, math.inf, 0.5, "", "x",
    "x" * 500, "1e5", "../../etc/passwd", "\0", "\ud800", [], {}, [[]], {"a": 1}, [1, "a"],
)  # fmt: skip


def coco():
    people = [
        {"id": 5 + n, "image_id": n, "category_id": 1, "bbox": [5, 5, 30, 40], "area": 400.0,
         "iscrowd": 0, "keypoints": [10, 10, 2, 20, 20, 1, 30, 40, 2]} for n in (1, 2)
    ]  # fmt: skip
    pictures = [{"id": n, "file_name": f"{n}.jpg", "width": 80, "height": 60} for n in (1, 2)]
    categories = [{"id": 1, "name": "person", "keypoints": NAMES, "skeleton": [[1, 2]]}]
    return {"images": pictures, "annotations": people, "categories": categories}


def as_file(write, suffix=""):
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / f"seed{suffix}"
        write(path)
        return path.read_bytes()


def matlab(values):
    made = io.BytesIO()
    scipy.io.savemat(made, values)
    return made.getvalue()


def mpii_mat():
    joints = [{"id": n, "x": 10.0 + n, "y": 20.0 + n, "is_visible": 1} for n in range(16)]
    person = {"annopoints": {"point": joints}, "objpos": {"x": 30.0, "y": 30.0}, "scale": 1.5,
              "x1": 1.0, "y1": 1.0, "x2": 9.0, "y2": 9.0}  # fmt: skip
    pictures = [{"image": {"name": f"{n}.jpg"}, "annorect": person} for n in (1, 2)]
    return matlab({"RELEASE": {"annolist": pictures, "img_train": [1, 1]}})


def mpii_h5():
    def write(path):
        with h5py.File(path, "w") as file:
            file["part"], file["visible"] = np.full((2, 16, 2), 9.0), np.ones((2, 16))
            file["center"], file["scale"] = np.full((2, 2), 30.0), np.ones(2)
            file["imgname"], file["person"] = ["1.jpg", "2.jpg"], np.arange(2)

    return as_file(write)


def preds_h5():
    def write(path):
        with h5py.File(path, "w") as file:
            file["preds"] = np.ones((2, 3, 2))

    return as_file(write)


def archive(**arrays):
    made = io.BytesIO()
    np.savez(made, **arrays)
    return made.getvalue()


def npy():
    made = io.BytesIO()
    np.save(made, np.ones((2, 3, 2)))
    return made.getvalue()


def pictures():
    image = cv2.resize(np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8), (60, 48))
    for suffix in (".jpg", ".png", ".bmp", ".webp", ".tiff", ".ppm", ".jp2", ".avif", ".gif"):
        try:
            done, data = cv2.imencode(suffix, image)
        except cv2.error:
            continue
        if done:
            yield data.tobytes()
    from PIL import Image

    for kind in ("AVIF", "GIF", "TIFF", "PNG", "JPEG", "WEBP", "DDS"):
        exif, made = Image.Exif(), io.BytesIO()
        exif[274] = 6
        try:
            Image.fromarray(image).save(made, kind, exif=exif)
        except (OSError, KeyError):
            continue
        yield made.getvalue()


def records(folder):
    (folder / "gt.json").write_text(json.dumps(coco()))
    return load_records(f"coco:{folder / 'gt.json'}", need_pictures=False)


def data_set(kind):
    return lambda path, _: load_records(f"{kind}:{path}", need_pictures=False)


def picture(path, _):
    assert read_image(path).shape[:2] == shown_size(path)


def predictions(path, folder):
    return read_keypoints(path, records(folder))


def results(path, folder):
    records(folder)
    return average_precision(folder / "gt.json", path)


FACTS = json.dumps({"skeleton": {"name": "a", "joints": NAMES}, "stacks": ["s"], "failures": {},
                    "milliseconds": 1.0, "settings": {}})  # fmt: skip
EVALUATION = {
    "keypoints": np.ones((1, 2, 3, 2)), "scores": np.ones((1, 2, 3)), "facts": FACTS,
    "heatmap_means": np.ones((1, 2, 3)), "images": ["a", "b"], "ids": ["1", "2"],
    "boxes": np.ones((2, 3)), "joints": np.ones((2, 3, 2)), "visibility": np.ones((2, 3)),
    "reference": np.ones(2),
}  # fmt: skip
YAML = {
    "path": ".",
    "train": "images",
    "kpt_shape": [3, 3],
    "names": {"0": "a"},
    "flip_idx": [0, 2, 1],
}
CONFIG = {"architecture": {"num_stacks": 1, "num_features": 8, "depth": 1,
                           "input_shape": [32, 32, 3], "skeleton": {"name": "a", "joints": NAMES}},
          "preprocessing": {"sigma": 1.0}, "thresholds": {"nose": 0.1}}  # fmt: skip
HRNET = [{"image": "1.jpg", "center": [30, 30], "scale": 1.0, "joints": [[9, 9]] * 16,
          "joints_vis": [1] * 16}]  # fmt: skip
RESULTS = [{"image_id": 1, "category_id": 1, "keypoints": [9.0, 9.0, 0.5] * 3, "score": 0.7}]
PREDICTIONS = {"keypoint_names": NAMES, "people": [{"id": "5", "keypoints": [[1, 2, 0.5]] * 3}] * 2}

# name -> (suffix, seeds: values for text, bytes for the rest, reader of a path in a folder)
READERS = {
    "pictures": (".bin", list(pictures()), picture),
    "coco": (".json", [coco()], data_set("coco")),
    "mpii json": (".json", [HRNET], data_set("mpii")),
    "mpii h5": (".h5", [mpii_h5()], data_set("mpii")),
    "mpii mat": (".mat", [mpii_mat()], data_set("mpii")),
    "boxes": (".json", [{"a.jpg": [[1, 2, 30, 40]]}, coco(),
                        [{"image_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5}]],
              lambda path, _: read_boxes(path)),
    "predictions json": (".json", [PREDICTIONS], predictions),
    "predictions npy": (".npy", [npy()], predictions),
    "predictions h5": (".h5", [preds_h5()], predictions),
    "predictions mat": (".mat", [matlab({"preds": np.ones((2, 3, 2))})], predictions),
    "results": (".json", [RESULTS], results),
    "evaluation": (".npz", [archive(**EVALUATION)], lambda path, _: load_predictions(path)),
    "arrays npz": (".npz", [archive(a=np.ones(3), b=["x"])], lambda path, _: read_npz(path)),
    "arrays h5": (".h5", [mpii_h5()], lambda path, _: read_hdf5(path)),
    "preset": (".json", [CONFIG], lambda path, _: read_config(path)),
    "yaml": (".yaml", [YAML, CONFIG], lambda path, _: read_yaml(path)),
}  # fmt: skip


def mutate_value(value, draw):
    """Another value in one or a few places of a JSON value."""
    value = copy.deepcopy(value)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        places, waiting = [], [value]
        while waiting:
            part = waiting.pop()
            for key in list(part) if isinstance(part, dict) else range(len(part)):
                places.append((part, key))
                if isinstance(part[key], (dict, list)):
                    waiting.append(part[key])
        if not places:
            return draw.choice(ODD)
        part, key = draw.choice(places)
        kind = draw.random()
        if kind < 0.6:
            part[key] = copy.deepcopy(draw.choice(ODD))
        elif kind < 0.7:
            del part[key]
        elif kind < 0.8:
            for _ in range(draw.choice((1, 3, 60, 2000))):
                part[key] = [part[key]] if draw.random() < 0.5 else {"a": part[key]}
                if sys.getrecursionlimit() < 10_000:
                    sys.setrecursionlimit(10_000)
        elif kind < 0.9:
            other, at = draw.choice(places)
            part[key] = copy.deepcopy(other[at]) if at in other or isinstance(at, int) else 0
        else:
            part[key] = str(part[key])[:1000]
    return value


def mutate_bytes(data, draw):
    """Bytes, words and blocks of a file changed, left out, repeated or cut."""
    if data[:2] == b"PK" and draw.random() < 0.6:
        return mutate_archive(data, draw)
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 4, 8))):
        if not data:
            break
        place, kind = draw.randrange(len(data)), draw.random()
        if draw.random() < 0.5:  # headers are where numbers matter
            place = draw.randrange(min(len(data), 200))
        if kind < 0.35:
            data[place] = draw.choice((0, 1, 255, draw.randrange(256)))
        elif kind < 0.65:
            order, width = draw.choice("<>"), draw.choice("HIQ")
            word = struct.pack(
                order + width, draw.choice(WORDS) % 2 ** (8 * struct.calcsize(width))
            )
            data[place : place + len(word)] = word
        elif kind < 0.8:
            del data[place : place + draw.choice((1, 2, 4, 8, 64))]
        elif kind < 0.95:
            data[place:place] = data[max(0, place - draw.choice((2, 8, 64))) : place]
        else:
            del data[place:]
    return bytes(data)


def mutate_archive(data, draw):
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(made, "w") as target:
        for name in source.namelist():
            kind, content = draw.random(), source.read(name)
            if kind < 0.1:
                continue
            content = mutate_bytes(content, draw) if kind < 0.4 else content
            target.writestr(name, content)
    return made.getvalue()


def make(name, number):
    """Input so-and-so of a reader, as bytes."""
    suffix, seeds, _ = READERS[name]
    draw = random.Random(f"{name} {number}")
    seed = draw.choice(seeds)
    if isinstance(seed, bytes):
        return mutate_bytes(seed, draw)
    try:
        text = json.dumps(mutate_value(seed, draw))
    except RecursionError:
        text = "[" * 5000
    data = text.encode("utf-8", errors="surrogatepass")
    return mutate_bytes(data, draw) if draw.random() < 0.3 else data


def outcome(name, number, folder):
    """`"read"`, `"refused"`, or what is wrong."""
    suffix, _, reader = READERS[name]
    path = folder / f"x{suffix}"
    path.write_bytes(make(name, number))
    started = time.process_time()
    try:
        reader(path, folder)
        found = "read"
    except UserError as error:
        text = str(error)
        length = len(text) - text.count(str(folder)) * len(str(folder))
        found = "refused" if "\n" not in text and length <= LONGEST else f"message of {length}"
    except Exception as error:
        found = f"{type(error).__name__}: {' '.join(str(error).split())[:100]}"
    seconds = time.process_time() - started
    return f"{seconds:.1f} s" if seconds > SECONDS else found


def batch(name, first, count):
    """Outcomes of inputs in a child process; a dead child costs the one input it died of."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        now = int(pathlib.Path("/proc/self/statm").read_text().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (now + MEMORY, now + MEMORY))
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
        with tempfile.TemporaryDirectory() as folder:
            for number in range(first, first + count):
                signal.alarm(60)
                line = outcome(name, number, pathlib.Path(folder))
                os.write(writing, f"{line}\n".encode(errors="replace"))
        os._exit(0)
    os.close(writing)
    with open(reading, encoding="utf-8", errors="replace") as lines:
        found = lines.read().splitlines()
    _, status = os.waitpid(child, 0)
    if status and len(found) < count:
        found.append(f"died of signal {status & 127}")
    return found


def fuzz(seconds, names=tuple(READERS), first=0, count=None):
    """Inputs to every reader in turn for so many seconds.

    Returns:
        `(counts, failures)`: reader -> Counter of inputs, read and refused, with seconds; and the
        list of `(reader, number, what)`.
    """
    counts = {name: collections.Counter() for name in names}
    failures, started, position = [], time.monotonic(), dict.fromkeys(names, first)
    while time.monotonic() - started < seconds and (
        count is None or min(position.values()) < first + count
    ):
        for name in names:
            begun = time.monotonic()
            found = batch(name, position[name], min(BATCH, count or BATCH))
            for number, line in enumerate(found, start=position[name]):
                counts[name][line if line in ("read", "refused") else "failed"] += 1
                if line not in ("read", "refused"):
                    failures.append((name, number, line))
            position[name] += len(found)
            counts[name]["seconds"] += time.monotonic() - begun
            if time.monotonic() - started > seconds:
                break
    return counts, failures


def table(counts):
    """The rows of `benchmarks/fuzz.md`."""
    yield "| Reader | Inputs | Read | Refused in one line | Otherwise | Seconds |"
    yield "|---|---:|---:|---:|---:|---:|"
    total: collections.Counter = collections.Counter()
    for name, row in [*counts.items(), ("all", total)]:
        inputs = row["read"] + row["refused"] + row["failed"]
        yield (
            f"| {name} | {inputs:,} | {row['read']:,} | {row['refused']:,} | {row['failed']:,} "
            f"| {row['seconds']:.0f} |"
        )
        if name != "all":
            total.update(row)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--only", choices=READERS, action="append")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--table", help="Markdown file to write")
    args = parser.parse_args()
    names = tuple(args.only or READERS)
    counts, failures = fuzz(args.seconds, names, args.first, args.count)
    lines = list(table(counts))
    print("\n".join(lines))
    for failure in failures[:50]:
        print(*failure)
    if args.table:
        head = "# Mutated files\n\n`make fuzz`: each input ends in a result or in one sentence.\n\n"
        pathlib.Path(args.table).write_text(head + "\n".join(lines) + "\n", encoding="utf-8")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
