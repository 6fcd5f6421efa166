"""Samples per second of the input pipeline, against decoding and one warp alone.

    python benchmarks/input_pipeline.py --data-root DIR

`DIR` holds `lspet/` and `mpii_sample/`; without it, generated figures are written and read. Every
figure is measured several times, alternating with what it is compared to, and given with the
median and the spread. Beside the samples per second by the clock stands the processor time per
sample, which means something on a busy machine too; the load while measuring is recorded. Results
go to `benchmarks/results/input_pipeline.json`.
"""

import argparse
import itertools
import json
import os
import pathlib
import statistics
import sys
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import cv2
import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.augment import AUGMENTATIONS
from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.data.sources import load_records
from keras_hourglass.data.synthetic import write_dataset
from keras_hourglass.data.tfrecords import read_tfrecords, write_tfrecords
from keras_hourglass.files import atomic_write
from keras_hourglass.geometry import crop_affine

SIZE = (256, 256)
BATCH = 16
RESULT = pathlib.Path(__file__).parent / "results" / "input_pipeline.json"


def decode_and_warp(records, seed=0):
    """The least one can do per sample: read, decode in full, convert to RGB, one affine warp."""
    augmentation = AUGMENTATIONS["newell"]

    def work(number):
        person = number % len(records)
        transform = augmentation.draw(np.random.default_rng([seed, number]))
        matrix = crop_affine(
            records.boxes[person], SIZE, transform.rotation, transform.flip, transform.scale
        )
        data = np.fromfile(records.images[person], np.uint8)
        image = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
        return cv2.warpAffine(image, matrix, SIZE[::-1], flags=cv2.INTER_LINEAR)

    return work


def in_threads(work, count, threads):
    """Do `count` calls, handed out to threads one after the other."""
    numbers = iter(range(count))
    lock = threading.Lock()

    def loop():
        while True:
            with lock:
                number = next(numbers, None)
            if number is None:
                return
            work(number)

    pool = [threading.Thread(target=loop) for _ in range(threads)]
    for thread in pool:
        thread.start()
    for thread in pool:
        thread.join()


def rates(records, threads, repeats, originals=None):
    """Speed of the bare loop and of one epoch of the pipeline in both forms, alternating.

    The bare loop reads the pictures of `originals`, by default those of `records`.
    """
    dataset = PoseDataset(
        records, HeatmapCodec(SIZE), BATCH, augmentation=AUGMENTATIONS["newell"], seed=1
    )
    steps, epoch = len(dataset), itertools.count()
    count = steps * dataset.batch_size
    bare = decode_and_warp(records if originals is None else originals)

    def batches():
        turn = next(epoch)
        in_threads(lambda step: dataset.batch(step, turn), steps, threads)

    # Whole epochs, so that nothing is prepared before or after it is counted.
    stream = dataset.as_tf_dataset(endless=False, workers=threads)

    def tf_data():
        for _ in stream:
            pass

    ways = {
        "decode_and_warp": lambda: in_threads(bare, count, threads),
        "batches": batches,
        "tf_data": tf_data,
    }
    clock, processor = ({name: [] for name in ways} for _ in range(2))
    for turn in range(repeats + 1):
        for name, way in ways.items():
            start, busy = time.perf_counter(), time.process_time()
            way()
            if turn:  # the first round warms up
                clock[name].append(count / (time.perf_counter() - start))
                processor[name].append(1000 * (time.process_time() - busy) / count)
    found = {
        name: {
            "samples_per_second": summary(clock[name], 1),
            "processor_ms_per_sample": summary(processor[name], 3),
        }
        for name in ways
    }
    least = found["decode_and_warp"]
    for values in found.values():
        for key, upside_down in (("samples_per_second", False), ("processor_ms_per_sample", True)):
            ratio = values[key]["median"] / least[key]["median"]
            values[key]["relative_speed"] = round(1 / ratio if upside_down else ratio, 3)
    return found


def summary(values, digits):
    return {
        "median": round(statistics.median(values), digits),
        "lowest": round(min(values), digits),
        "highest": round(max(values), digits),
    }


def memory_growth(records, samples, threads):
    """Resident MiB after a tenth and after all of `samples` samples."""
    dataset = PoseDataset(
        records, HeatmapCodec(SIZE), BATCH, augmentation=AUGMENTATIONS["newell"], seed=1
    )
    steps = len(dataset)
    batches = samples // dataset.batch_size
    seen = []
    for first, last in ((0, batches // 10), (batches // 10, batches)):
        in_threads(
            lambda number, first=first: dataset.batch(
                (first + number) % steps, (first + number) // steps
            ),
            last - first,
            threads,
        )
        seen.append(resident())
    return {"samples": samples, "after_a_tenth_mib": seen[0], "after_all_mib": seen[1]}


def resident():
    """Resident memory of this process in MiB (Linux)."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return round(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20, 1)


def train_wait(records, steps=12):
    """Share of the step time that training at the small size waits for its input."""
    import keras

    from keras_hourglass.losses import HeatmapMSE
    from keras_hourglass.model import StackedHourglass

    codec = HeatmapCodec((128, 128))
    outputs = ("stack_1", "stack_2")
    model = StackedHourglass(
        num_stacks=2, num_features=64, input_shape=(128, 128, 3), skeleton=records.skeleton
    )
    loss = {name: HeatmapMSE(codec.heatmap_size, codec.sigma) for name in outputs}
    model.compile(optimizer="adam", loss=loss)
    dataset = PoseDataset(
        records, codec, BATCH, augmentation=AUGMENTATIONS["newell"], seed=1, outputs=outputs
    )
    stream = iter(dataset.as_tf_dataset())
    fixed = next(stream)
    model.train_on_batch(*fixed)
    times = {"same_batch": [], "fresh_batches": []}
    for _ in range(steps):
        for name in times:
            start = time.perf_counter()
            crops, targets = fixed if name == "same_batch" else next(stream)
            waited = time.perf_counter() - start
            model.train_on_batch(crops, targets)
            times[name].append((waited, time.perf_counter() - start))
    waiting = sum(waited for waited, _ in times["fresh_batches"])
    total = sum(whole for _, whole in times["fresh_batches"])
    keras.backend.clear_session()
    return {
        "model": "2 stacks, 64 features, 128×128, batch 16",
        "waiting_percent": round(100 * waiting / total, 2),
        "step_seconds": round(statistics.median(t for _, t in times["fresh_batches"]), 3),
        "step_seconds_same_batch": round(statistics.median(t for _, t in times["same_batch"]), 3),
    }


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-root", help="folder with lspet/ and mpii_sample/")
    parser.add_argument("--samples", type=int, default=1600, help="per measurement (1600)")
    parser.add_argument("--threads", type=int, default=2, help="(2)")
    parser.add_argument("--repeats", type=int, default=5, help="(5)")
    parser.add_argument("--memory-samples", type=int, default=20000, help="(20000; 0 skips)")
    parser.add_argument("--no-training", action="store_true", help="skip the training step")
    parser.add_argument("--out", default=str(RESULT), help="JSON file")
    return parser.parse_args()


def measure(args, folder):
    """All results as one dict."""
    cv2.setNumThreads(1)  # threads share out samples, not the rows of one picture
    if args.data_root:
        photos = load_records("mpii:mpii_sample", args.data_root)
        wide = [cv2.imread(path).shape[:2] == (720, 1280) for path in photos.images]
        photos = photos.select(np.flatnonzero(wide))
        write_tfrecords(photos, folder, overwrite=True)
        sets = {
            "lspet": (load_records("lspet:lspet", args.data_root), None),
            "mpii_1280x720": (photos, None),
            "mpii_1280x720 after data convert": (read_tfrecords(folder), photos),
        }
    else:
        write_dataset(folder, 400, 1, size=256, overwrite=True)
        sets = {"figures_256": (load_records(f"synthetic:{folder}"), None)}
    result = {
        "hardware": {"cores": os.cpu_count(), "threads": args.threads},
        "software": {"python": sys.version.split()[0], "opencv": cv2.__version__},
        "crops": "256×256, rotation, scale, flip, colour; compact targets",
        "load_average_before": os.getloadavg()[0],
        "sets": {},
    }
    for name, (records, originals) in sets.items():
        samples = args.samples if len(records) > 200 else args.samples // 4
        people = np.resize(np.arange(len(records)), samples)
        originals = originals if originals is None else originals.select(people)
        found = rates(records.select(people), args.threads, args.repeats, originals)
        result["sets"][name] = found
        print(name, json.dumps(found))
    first = next(iter(sets.values()))[0]
    if args.memory_samples:
        result["memory"] = memory_growth(first, args.memory_samples, args.threads)
    if not args.no_training:
        result["training"] = train_wait(first)
    result["load_average_after"] = os.getloadavg()[0]
    return result


if __name__ == "__main__":
    arguments = parse()
    with tempfile.TemporaryDirectory() as scratch:
        measured = measure(arguments, scratch)
    atomic_write(arguments.out, json.dumps(measured, indent=1, ensure_ascii=False) + "\n")
    print(json.dumps(measured, indent=1, ensure_ascii=False))
