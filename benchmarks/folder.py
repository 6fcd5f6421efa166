"""A folder of photographs through `predict` and `evaluate`, against the bare engine and the floor.

    python benchmarks/folder.py --photos DIR [--preset hourglass_small_lsp] [--count 400]

Each way is measured in turns in one process, by the clock and by processor time, which means
something on a busy machine, too; by default with as many threads as there are cores:

- `engine`: the network alone on crops that are ready, mirrored, in batches as `predict` makes them;
- `engine, waiting`: the same where its threads sleep between operations (`spinning=False`), as they
  do in the ways below;
- `floor`: the same pictures decoded and cropped by two threads beside the engine, joints read off,
  nothing written: what no program around this engine could beat;
- `predict`: `keras-hourglass predict DIR --whole --save parquet`, its start left out;
- `evaluate`: `predict_records` on the same pictures with a box each.
"""

import collections
import concurrent.futures
import itertools
import os
import pathlib
import tempfile
import time

import common
import numpy as np

from keras_hourglass.cli import build_parser
from keras_hourglass.cli.predict import Job
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.evaluation.predictions import predict_records
from keras_hourglass.io.images import read_image, warp
from keras_hourglass.prediction.boxes import person_affines
from keras_hourglass.prediction.predictor import Predictor
from keras_hourglass.zoo.store import load_snapshot

BATCH = 8


def parse():
    parser = common.parser(__doc__, "folder")
    parser.add_argument("--photos", required=True, help="folder of JPEG files")
    parser.add_argument("--preset", default="hourglass_small_lsp")
    parser.add_argument("--count", type=int, default=400, help="pictures of a turn (400)")
    parser.add_argument("--turns", type=int, default=7)
    return parser.parse_args()


def crop_of(predictor, path):
    image = read_image(path)
    box = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])
    return warp(image, person_affines(box, predictor.input_size)[0], predictor.input_size)


def ways_of(predictor, waiting, args, folder):
    """Name -> function that takes all pictures through."""
    paths = sorted(map(str, folder.iterdir()))
    sample = [crop_of(predictor, path) for path in paths[: 8 * BATCH]]
    ready = [np.stack(sample[at : at + BATCH]) for at in range(0, len(sample), BATCH)]

    def engine(run=predictor):
        for crops in itertools.islice(itertools.cycle(ready), len(paths) // BATCH):
            run.predict_crops(crops)

    def floor():
        with concurrent.futures.ThreadPoolExecutor(2) as pool:
            jobs, rest = collections.deque(), iter(paths)
            for _ in range(len(paths) // BATCH):
                while len(jobs) < 3 * BATCH and (path := next(rest, None)):
                    jobs.append(pool.submit(crop_of, waiting, path))
                crops = np.stack([jobs.popleft().result() for _ in range(BATCH)])
                waiting.codec.decode(waiting.predict_crops(crops))

    def predict():
        with tempfile.TemporaryDirectory() as out:
            words = [str(folder), "--whole", "--save", "parquet", "--out", out]
            job = Job(arguments(words))
            try:
                if job.run(waiting):
                    raise SystemExit("predict failed.")
            finally:
                job.tidy()

    model, records = load_snapshot(args.preset), records_of(predictor, paths)
    shared = waiting._runner.engine

    def evaluate():
        predict_records(
            model.graph, records, stacks=[predictor.output], batch_size=BATCH, engine=shared
        )

    return {
        "engine": engine,
        "engine, waiting": lambda: engine(waiting),
        "floor": floor,
        "predict": predict,
        "evaluate": evaluate,
    }


def records_of(predictor, paths):
    """The whole picture as the box of a person whose joints do not matter."""
    boxes = []
    for path in paths:
        height, width = read_image(path).shape[:2]
        boxes.append([(width - 1) / 2, (height - 1) / 2, max(height, width)])
    joints = predictor.skeleton.num_joints
    count = len(paths)
    return PoseRecords(
        predictor.skeleton, paths, boxes, np.zeros((count, joints, 2)),
        np.zeros((count, joints), int), np.full(count, np.nan), paths,
    )  # fmt: skip


def arguments(words):
    """The parsed words of `keras-hourglass predict`."""
    return build_parser("predict").parse_args(["predict", *words])


def main():
    args, load = parse(), os.getloadavg()[0]
    photos = sorted(path for path in pathlib.Path(args.photos).iterdir() if path.suffix == ".jpg")
    predictor, waiting = (
        Predictor(args.preset, whole=True, batch_size=BATCH, spinning=spinning)
        for spinning in (True, False)
    )
    clock, busy = collections.defaultdict(list), collections.defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder, "photos")
        folder.mkdir()
        args.count -= args.count % BATCH
        for number, path in zip(range(args.count), itertools.cycle(photos), strict=False):
            (folder / f"{number:06d}.jpg").symlink_to(path.resolve())
        ways = ways_of(predictor, waiting, args, folder)
        for turn in range(args.turns + 1):
            for name in list(ways)[:: 1 if turn % 2 == 0 else -1]:
                begun, before = time.perf_counter(), time.process_time()
                ways[name]()
                if turn:
                    clock[name].append(time.perf_counter() - begun)
                    busy[name].append(time.process_time() - before)
    result = {"preset": args.preset, "pictures": args.count, "ways": {}}
    for name in ways:
        result["ways"][name] = {
            "pictures_per_second": common.spread(args.count / s for s in clock[name]).to_dict(2),
            "processor_ms": common.spread(1000 * s / args.count for s in busy[name]).to_dict(2),
            "of_engine": common.ratios(clock["engine"], clock[name]).to_dict(3),
            "of_engine_by_processor": common.ratios(busy["engine"], busy[name]).to_dict(3),
            "of_floor": common.ratios(clock["floor"], clock[name]).to_dict(3),
            "of_floor_by_processor": common.ratios(busy["floor"], busy[name]).to_dict(3),
        }
    goals = [
        common.Goal(
            17, f"{name} of a folder against the bare engine",
            result["ways"][name]["of_engine"]["median"], 0.9, "×", True,
            f"floor {result['ways']['floor']['of_engine']['median']:.3g}×",
        )
        for name in ("predict", "evaluate")
    ]  # fmt: skip
    common.write(args.out, result, goals, ("onnxruntime",), load)


if __name__ == "__main__":
    main()
