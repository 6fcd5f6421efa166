"""Samples per second of the input pipeline, against decoding and one warp alone.

    python benchmarks/input_pipeline.py --data-root DIR [--parts rival ...]

`DIR` holds `lspet/` and `mpii_sample/`; without it, generated figures are written and read. Every
figure is measured several times, alternating with what it is compared to, and given with the
median and the spread. Beside the samples per second by the clock stands the processor time per
sample, which means something on a busy machine too; the load while measuring is recorded.

`plain_transforms.py` holds the rival: the steps of PyTorch projects for the same network, in as
many processes as the pipeline has threads, up to the same image and the same float heatmaps. Its
batches stay where they are made; handing them over would cost it more. Results go to
`benchmarks/results/input_pipeline.json`.
"""

import concurrent.futures
import itertools
import json
import multiprocessing
import os
import statistics
import tempfile
import threading
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import cv2
import numpy as np
from plain_transforms import PlainSamples

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.augment import AUGMENTATIONS
from keras_hourglass.data.figures import write_dataset
from keras_hourglass.data.load import load_records
from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.data.tfrecords import read_tfrecords, write_tfrecords
from keras_hourglass.geometry import crop_affine

SIZE = (256, 256)
BATCH = 16
PARTS = ("sets", "rival", "memory", "training")
_rival = None  # in a process of the rival: its samples


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


def start_rival(*columns):
    """Once in each process of the rival."""
    global _rival
    _rival = PlainSamples(*columns, size=SIZE[0])


def rival_batch(people, seed):
    """A batch of the rival; only a number of it comes back."""
    images, maps = zip(*(_rival(person, seed) for person in people), strict=True)
    return float(np.stack(images)[0, 0, 0, 0] + np.stack(maps)[0, 0, 0, 0])


def against_rival(records, workers, repetitions, count):
    """Samples per second of the package and of the rival, to the same images and float maps."""
    people = np.resize(np.arange(len(records)), count)
    records = records.select(people)
    dataset = PoseDataset(
        records, HeatmapCodec(SIZE, sigma=1.0), BATCH, augmentation=AUGMENTATIONS["newell"], seed=1
    )
    steps, epoch = len(dataset), itertools.count()
    columns = (
        records.images, records.boxes, records.joints, records.visibility,
        records.skeleton.flip_order,
    )  # fmt: skip
    parts = [list(range(step * BATCH, (step + 1) * BATCH)) for step in range(steps)]

    def batches(finish):
        turn = next(epoch)
        in_threads(lambda step: finish(dataset.batch(step, turn)[1]), steps, workers)

    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(workers, context, start_rival, columns) as pool:
        taken = common.interleaved(
            {
                "plain transforms": lambda: list(
                    pool.map(rival_batch, parts, itertools.repeat(next(epoch)))
                ),
                "package, float heatmaps": lambda: batches(dataset.codec.draw),
                "package, joints (as training takes them)": lambda: batches(lambda targets: None),
            },
            repetitions,
        )
    count = steps * BATCH
    found = {
        name: {"samples_per_second": rates_of(seconds, count)} for name, seconds in taken.items()
    }
    for name, seconds in taken.items():
        times = common.ratios(taken["plain transforms"], seconds)
        found[name]["times_the_plain_transforms"] = times.to_dict(3)
    return found


def rates_of(seconds, count):
    return common.spread(count / one for one in seconds).to_dict(1)


def rival_goal(name, found):
    """The goal of the comparison with the rival on one set of pictures."""
    rate = {way: values["samples_per_second"]["median"] for way, values in found.items()}
    times = found["package, float heatmaps"]["times_the_plain_transforms"]
    note = (
        f"{rate['package, float heatmaps']:.0f} against {rate['plain transforms']:.0f} samples/s "
        f"with as many workers; {times['low']:.3g} to {times['high']:.3g}, {times['count']} turns"
    )
    text = f"samples/s against the plain transforms of PyTorch projects ({name})"
    return common.Goal(4, text, times["median"], 10, at_least=True, note=note)


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
        seen.append(round(common.resident(), 1))
    return {"samples": samples, "after_a_tenth_mib": seen[0], "after_all_mib": seen[1]}


def train_wait(records, steps=12):
    """Share of the step time that training at the small size waits for its input."""
    import keras

    from keras_hourglass.losses import HeatmapMSE
    from keras_hourglass.network.model import StackedHourglass

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
    parser = common.parser(__doc__, "input_pipeline")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--data-root", help="folder with lspet/ and mpii_sample/")
    parser.add_argument("--samples", type=int, default=1600, help="per measurement (1600)")
    parser.add_argument("--threads", type=int, default=2, help="(2)")
    parser.add_argument("--repeats", type=int, default=5, help="of a whole measurement (5)")
    parser.add_argument("--rival-repeats", type=int, default=30, help="against the rival (30)")
    parser.add_argument("--rival-samples", type=int, default=320, help="in each of them (320)")
    parser.add_argument("--memory-samples", type=int, default=20000, help="(20000)")
    return parser.parse_args()


def data_sets(args, folder):
    """Name -> records, and those whose pictures the bare loop reads, if others."""
    if not args.data_root:
        write_dataset(folder, 400, 1, size=256, overwrite=True)
        return {"figures_256": (load_records(f"synthetic:{folder}"), None)}
    photos = load_records("mpii:mpii_sample", args.data_root)
    wide = [cv2.imread(path).shape[:2] == (720, 1280) for path in photos.images]
    photos = photos.select(np.flatnonzero(wide))
    write_tfrecords(photos, folder, overwrite=True)
    return {
        "lspet": (load_records("lspet:lspet", args.data_root), None),
        "mpii_1280x720": (photos, None),
        "mpii_1280x720 after data convert": (read_tfrecords(folder), photos),
    }


def measure(args, folder, result):
    """Fill in the results of the wanted parts; returns the goals of all there are."""
    cv2.setNumThreads(1)  # threads share out samples, not the rows of one picture
    sets = data_sets(args, folder)
    first = next(iter(sets.values()))[0]
    if "sets" in args.parts:
        result["sets"] = {}
        for name, (records, originals) in sets.items():
            samples = args.samples if len(records) > 200 else args.samples // 4
            people = np.resize(np.arange(len(records)), samples)
            originals = originals if originals is None else originals.select(people)
            found = rates(records.select(people), args.threads, args.repeats, originals)
            result["sets"][name] = found
            print(name, json.dumps(found))
    if "rival" in args.parts:
        result["rival"] = {}
        for name, (records, originals) in sets.items():
            if originals is None:
                count = args.rival_samples if len(records) > 200 else args.rival_samples // 4
                found = against_rival(records, args.threads, args.rival_repeats, count)
                result["rival"][name] = found
                print(name, json.dumps(found, indent=1))
    if "memory" in args.parts:
        result["memory"] = memory_growth(first, args.memory_samples, args.threads)
    if "training" in args.parts:
        result["training"] = train_wait(first)
    return [rival_goal(name, found) for name, found in result.get("rival", {}).items()]


def main():
    args, load = parse(), os.getloadavg()[0]
    whole = common.read(args.out)
    result = {key: whole[key] for key in PARTS if key in whole}
    result["workers"] = args.threads
    result["crops"] = "256×256, rotation, scale, flip, colour; compact targets"
    with tempfile.TemporaryDirectory() as folder:
        goals = measure(args, folder, result)
    # Parts may come from several calls.
    loads = dict(whole.get("load_of_parts", {}))
    loads.update((part, [load, os.getloadavg()[0]]) for part in args.parts)
    common.write(args.out, {**result, "load_of_parts": loads}, goals, ["pillow"], load)


if __name__ == "__main__":
    main()
