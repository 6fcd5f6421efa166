"""Accuracy against milliseconds of small pose networks, on the same photographs.

    python benchmarks/small_networks.py --data-root DIR [--mediapipe VENV/bin/python]

Our trained small presets under every engine, with and without the mirror image, from the file of a
photograph and the person's box to the joints; one picture at a time, all in turns, each in a
process of its own. PCK@0.2 of the torso on `lsp:lsp_train#801-1000`, all 14 joints and the 12 of
the limbs.

`--mediapipe` is a Python that has MediaPipe (see `blazepose.py`), whose wheel holds its networks.
It is measured as it comes, with its own person detector on the whole picture, and its landmark
network alone under LiteRT, with our box in the middle of the crop as our networks get it. It has
no neck and no top of the head, so the comparison is over the limbs; people it does not find count
as wrong. Results go to `benchmarks/results/small_networks.json`; with `--presets`, those of other
presets are kept.
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

PRESETS = ("hourglass_small_lsp", "hourglass_tiny_lsp")
ENGINES = ("default", "keras", "saved_model", "litert", "litert-int8", "onnxruntime", "openvino")
FILES = {"litert": "litert", "litert-int8": "litert-int8", "onnxruntime": "onnx",
         "openvino": "openvino"}  # fmt: skip
# BlazePose's landmarks by the joints they stand for.
LANDMARKS = {
    "left_shoulder": 11, "right_shoulder": 12, "left_elbow": 13, "right_elbow": 14,
    "left_wrist": 15, "right_wrist": 16, "left_hip": 23, "right_hip": 24, "left_knee": 25,
    "right_knee": 26, "left_ankle": 27, "right_ankle": 28,
}  # fmt: skip
THRESHOLD = 0.2


def ways_of(preset, engines, crops, folder):
    """Name of a way -> the command of its process; see `child`."""
    from keras_hourglass.errors import UserError
    from keras_hourglass.export import export_format, export_model
    from keras_hourglass.zoo.store import load_model

    model = load_model(preset)
    folder, ways = pathlib.Path(folder) / preset, {}
    for engine in engines:
        value = "auto" if engine == "default" else engine
        try:
            if engine == "saved_model":
                value = export_model(model, folder, name=preset)
            elif engine in FILES:
                calibration = crops(model) if engine.endswith("int8") else None
                value, _ = export_format(model, folder, FILES[engine], calibration=calibration)
        except UserError as error:  # a way that is refused is a line of its own
            print(f"{preset}, {engine}: {error}", file=sys.stderr)
            continue
        for flip in ("mirrored", "one pass"):
            command = [sys.executable, __file__, "--child", preset, value, flip]
            ways[f"{preset}, {engine}, {flip}"] = command
    return ways


def child(source, engine, *options):
    """Answer lines of JSON, path and rectangle, with seconds and joints.

    Args:
        source: a preset, or BlazePose's landmark network.
        engine: the predictor's, or `blazepose`.
        *options: `mirrored` or `one pass`; for BlazePose the padding of boxes.
    """
    if engine == "blazepose":
        from keras_hourglass.io.images import read_image

        landmarks = landmark_network(source, float(options[0]))

        def call(path, rectangle):
            return landmarks(read_image(path), rectangle)[0]
    else:
        from keras_hourglass import Predictor

        predictor = Predictor(source, flip=options[0] == "mirrored", engine=engine)

        def call(path, rectangle):
            return predictor(path, boxes=rectangle)[0].keypoints

    print(json.dumps({}), flush=True)
    for line in sys.stdin:
        path, rectangle = json.loads(line)
        begin = time.perf_counter()
        points = call(path, rectangle)
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "points": np.asarray(points).tolist()}), flush=True)


def calibration(records, count=32):
    """Crops of training pictures for a model: those of other people than are measured."""

    def crops(model):
        from keras_hourglass.codec import HeatmapCodec
        from keras_hourglass.data.pipeline import PoseDataset

        codec = HeatmapCodec(model.input_size)
        return PoseDataset(records.select(slice(count)), codec, count).batch(0)[0]

    return crops


def landmark_network(path, padding):
    """BlazePose's landmark network under LiteRT.

    Returns:
        A callable from an RGB picture and a rectangle to `(33, 2)` landmarks in its pixels and
        their `(33,)` visibilities.
    """
    from ai_edge_litert.interpreter import Interpreter

    from keras_hourglass.geometry import apply_affine, invert_affine
    from keras_hourglass.io.images import warp
    from keras_hourglass.prediction.boxes import person_affines

    interpreter = Interpreter(model_path=path, num_threads=os.cpu_count())
    interpreter.allocate_tensors()
    [entry], exits = interpreter.get_input_details(), interpreter.get_output_details()
    size = tuple(int(edge) for edge in entry["shape"][1:3])
    # 39 points (33 and six that guide the next frame) of x, y, z, visibility and presence.
    [landmarks] = [one["index"] for one in exits if tuple(one["shape"]) == (1, 195)]

    def call(image, rectangle):
        [matrix] = person_affines(np.asarray([rectangle], np.float64), size, padding)
        crop = warp(image, matrix, size).astype(np.float32)[None] / 255
        interpreter.set_tensor(entry["index"], crop)
        interpreter.invoke()
        rows = interpreter.get_tensor(landmarks).reshape(39, 5)[:33].astype(np.float64)
        seen = 1 / (1 + np.exp(-rows[:, 3]))
        return apply_affine(invert_affine(matrix), rows[:, :2] - 0.5), seen

    return call


def as_joints(points, skeleton):
    """`(K, 2)` joints from landmarks; NaN where there is none."""
    joints = np.full((len(skeleton.joints), 2), np.nan)
    if points is not None:
        for name, landmark in LANDMARKS.items():
            joints[skeleton.index(name)] = points[landmark]
    return joints


def run_all(ways, records, warmup=2):
    """All ways in turns, picture after picture.

    Args:
        ways: name -> `common.Child`.
        records: whom to predict.
        warmup: pictures before them that are not counted.

    Returns:
        Name -> seconds and `(N, 14, 2)` joints.
    """
    from keras_hourglass import geometry

    rectangles = geometry.boxes_to_xywh(records.boxes)
    found = {name: ([], []) for name in ways}
    for row in range(-warmup, len(records)):
        path, rectangle = records.images[row], [float(value) for value in rectangles[row]]
        for name in list(ways)[:: 1 if row % 2 == 0 else -1]:
            time.sleep(common.PAUSE)
            # MediaPipe finds the person by itself.
            alone = name.startswith("MediaPipe")
            answer = ways[name](path if alone else json.dumps([path, rectangle]))
            points = answer["points"] and np.array(answer["points"])
            if not name.startswith("hourglass"):
                points = as_joints(points, records.skeleton)
            if row >= 0:
                found[name][0].append(answer["seconds"])
                found[name][1].append(points)
    return found


def accuracy(joints, records):
    """PCK@0.2 in percent over all joints and over those of the limbs; NaN is wrong."""
    distance = np.linalg.norm(np.stack(joints) - records.joints, axis=-1)
    right = distance <= THRESHOLD * records.reference[:, None]
    known = records.visibility > 0
    limbs = [records.skeleton.index(name) for name in LANDMARKS]
    whole = None if np.isnan(distance).all(axis=0).any() else 100 * right[known].mean()
    return whole, 100 * right[:, limbs][known[:, limbs]].mean()


def summarise(found, records):
    """JSON-ready rows."""
    rows = {}
    for name, (seconds, joints) in found.items():
        whole, limbs = accuracy(joints, records)
        rows[name] = {
            "milliseconds": common.spread(1000 * one for one in seconds).to_dict(3),
            "pck": None if whole is None else round(float(whole), 2),
            "pck_limbs": round(float(limbs), 2),
        }
    return rows


def judge(rows):
    """The goals: the default engine against the fastest, ours against each rival."""
    goals = []
    ours = {name: row for name, row in rows.items() if name.startswith("hourglass")}
    for preset in PRESETS:
        same = {n: r for n, r in ours.items() if n.startswith(preset) and n.endswith("mirrored")}
        times = {name: row["milliseconds"]["median"] for name, row in same.items()}
        default = times.get(f"{preset}, default, mirrored")
        # Eight bits change the answers; that is another network.
        exact = {name: one for name, one in times.items() if "int8" not in name}
        if default and len(exact) > 1:
            fastest = min(exact, key=exact.get)
            note = f"{default:.1f} ms; the fastest: {fastest.split(', ')[1]}, {exact[fastest]:.1f}"
            text = f"`Predictor` with its default engine against the fastest (`{preset}`)"
            goals.append(common.Goal(7, text, default / exact[fastest], 1.1, note=note))
    for rival in [name for name in rows if name not in ours]:
        allowed = rows[rival]["milliseconds"]["median"]
        quick = {n: r for n, r in ours.items() if r["milliseconds"]["median"] <= allowed}
        best = max(quick, key=lambda name: quick[name]["pck_limbs"], default=None)
        reached = quick[best]["pck_limbs"] if best else 0.0
        note = f"{best or 'none of ours is as fast'}; allowed are {allowed:.1f} ms"
        text = f"PCK@0.2 of the limbs of ours that is at least as fast as {rival}"
        goals.append(
            common.Goal(8, text, reached, rows[rival]["pck_limbs"], "%", at_least=True, note=note)
        )
    return goals


def main():
    parser = common.parser(__doc__, "small_networks")
    parser.add_argument("--data-root", required=True, help="folder with lsp_train/")
    parser.add_argument("--data", default="lsp:lsp_train#801-1000", help="people to measure on")
    parser.add_argument("--presets", nargs="+", choices=PRESETS, default=list(PRESETS))
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=list(ENGINES))
    parser.add_argument("--mediapipe", metavar="PYTHON", help="a Python with MediaPipe")
    parser.add_argument("--limit", type=int, help="the first so many people")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
        return
    args, load = parser.parse_args(), os.getloadavg()[0]
    from keras_hourglass.data.load import load_records

    records = load_records(args.data, args.data_root).select(slice(args.limit))
    crops = calibration(load_records("lsp:lsp_train#1-64", args.data_root))
    commands, facts = {}, {}
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        for preset in args.presets:
            commands.update(ways_of(preset, args.engines, crops, folder))
        ways = {name: common.Child(command) for name, command in commands.items()}
        if args.mediapipe:
            script = pathlib.Path(__file__).with_name("blazepose.py")
            rival = common.Child([args.mediapipe, script])
            facts = {"mediapipe": rival.facts["version"]}
            for padding in ("1", "1.25"):
                name = f"BlazePose landmarks under LiteRT, box × {padding}"
                network = [rival.facts["network"], "blazepose", padding]
                ways[name] = common.Child([sys.executable, __file__, "--child", *network])
            ways["MediaPipe, as it comes"] = rival
        for way in ways.values():
            stack.callback(way.close)
        found = run_all(ways, records)
    kept = common.read(args.out).get("ways", {})
    kept = {name: row for name, row in kept.items() if not name.startswith(tuple(args.presets))}
    rows = {**kept, **summarise(found, records)}
    for name, row in sorted(rows.items(), key=lambda item: item[1]["milliseconds"]["median"]):
        whole = "   –" if row["pck"] is None else f"{row['pck']:5.1f}"
        print(f"{row['milliseconds']['median']:8.2f} ms {whole} {row['pck_limbs']:5.1f}  {name}")
    result = {"data": args.data, "people": len(records), "rivals": facts, "ways": rows}
    packages = ("ai-edge-litert", "onnxruntime", "openvino")
    common.write(args.out, result, judge(rows), packages, load)


if __name__ == "__main__":
    main()
