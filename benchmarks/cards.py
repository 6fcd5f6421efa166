"""Measure published weights anew, write their model cards, and check what is said of them.

    python benchmarks/cards.py NAME [--data-root DIR] [--parts PART ...] [--note ID TEXT ...]
    python benchmarks/cards.py --tables
    python benchmarks/cards.py --sheet
    python benchmarks/cards.py --check [--data-root DIR]

The first form measures accuracy per joint and stack on all of `SETS`, what storing in half
precision may cost, whether scores tell joints that are not in the crop, milliseconds by engine, and
draws the people it does worst on, as skeletons without the photograph, into
`weights/NAME/failures.png`. A note says what went wrong with one of them; look at the photograph to
write it. Notes stay until another person takes the place.

The second form writes the tables of networks in `README.md` and `weights/README.md` from the cards,
the third draws generated figures with the joints of every network into `weights/figures.png`. The
last, `make weights-check`, measures the accuracy of all networks again, writes nothing, and ends
with status 1 if a card or a table says something else.
"""

import argparse
import contextlib
import os
import pathlib
import re
import sys
import tempfile
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import common
import cv2
import h5py
import numpy as np
import small_networks
from PIL import Image

from keras_hourglass.analysis import (
    empty_crops,
    person_scores,
    stack_changes,
    sure_thresholds,
    whole_and_cut,
)
from keras_hourglass.codec import PRESENT_FROM
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.load import load_records, load_scenes, open_image
from keras_hourglass.data.mixture import match_joints
from keras_hourglass.errors import UserError
from keras_hourglass.evaluation import evaluate, evaluate_predictions, predict_records
from keras_hourglass.evaluation.exchange import coco_results
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.files import atomic_path, atomic_write
from keras_hourglass.io.images import warp
from keras_hourglass.io.structured import read_json
from keras_hourglass.metrics import average_precision
from keras_hourglass.prediction.drawing import draw_poses
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.skeletons import COCO
from keras_hourglass.zoo.publish import revise
from keras_hourglass.zoo.store import (
    CARD,
    WEIGHTS,
    describe,
    load_model,
    read_manifest,
    resolve,
    weights_folder,
)
from keras_hourglass.zoo.weights import file_keys, named_variables

EMPTY, WORST, DRAWS, SIDE = 2, 6, 5, 150
PARTS = ("accuracy", "presence", "storage", "speed")
FIGURES, SEED = (0, 1, 3, 5, 8, 11), 20160322
# Measured by those who trained the networks; this half of LSP is not among the data used here.
OTHER_HALF = "LSP 1001-2000"
# Further from the card than this, in points, a mean or the percentage of a joint is wrong: on
# another processor one or two joints may fall on the other side of the threshold.
MEANS_WITHIN, JOINTS_WITHIN = 0.1, 1.0


class People(NamedTuple):
    """Whom networks are measured on.

    Attributes:
        spec: the data.
        who: who they are.
        chose: end of a network's name -> what they chose of such networks.
        joints: joints or groups that count, all where empty.
        needs: a joint that a network must know to be measured on them.
    """

    spec: str
    who: str
    chose: dict
    joints: tuple = ()
    needs: str = ""


COCO_PEOPLE = "coco:coco_people/validation.json"
LIMBS = ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
# `metric.data` of the manifest is one of these names.
SETS = {
    "LSP 801-1000": People(
        "lsp:lsp_train#801-1000",
        "200 people in sports photographs",
        {"_lsp": "epochs and thresholds", "_people": "epochs and thresholds"},
    ),
    "COCO people": People(
        COCO_PEOPLE,
        "634 people cut out of everyday photographs of COCO, the box given; the twelve joints of "
        "the limbs of the 512 whose torso is annotated",
        {"_lsp": "thresholds", "_people": "epochs and thresholds"},
        LIMBS,
    ),
    "COCO faces": People(
        COCO_PEOPLE,
        "nose, eyes and ears of the same people; by the torso, which is lenient for a face",
        {"_people": "epochs and thresholds"},
        ("face",),
        "nose",
    ),
    "200 unseen figures": People(
        f"synthetic:200@{SEED}",
        "200 generated figures of a seed that no training has; `synthetic` is trained on such",
        {},
    ),
}
# COCO's average precision of all its joints, on the same people in the boxes given.
AP = "COCO people, AP"
AP_COMMAND = (
    "`keras-hourglass submit --format coco --model NAME --annotations "
    "DIR/coco_people/validation.json --out results.json && keras-hourglass score --annotations "
    "coco:DIR/coco_people/validation.json --predictions results.json --out report`"
)
# Where the joints of those stand who are not the ones that the head of the card names.
ELSEWHERE = {"COCO people": "people", "LSP 801-1000": "athletes", "COCO faces": "faces"}
ROOT = pathlib.Path(__file__).resolve().parents[1]
ENGINES = tuple(name for name in small_networks.ENGINES if "int8" not in name)
TIMED = 40


def accuracy(name, evaluations, own, precision=None):
    """Facts on accuracy: every figure with its command, tables of stacks and joints.

    Args:
        name: the network's.
        evaluations: name of `SETS` -> `Evaluation`.
        own: the one of them that the manifest names.
        precision: COCO's average precision of its joints, as from `average_precision`.
    """
    evaluation = evaluations[own]
    metric = f"{evaluation.metric}@{evaluation.pck.threshold:g}"
    facts = {
        "metric": {"name": metric, "value": round(evaluation.pck.mean, 1), "data": own},
        "figures": {data: figure(name, data, one) for data, one in evaluations.items()},
        "tables": tables_of(evaluation, metric),
        "gains": gains(evaluation),
    }
    if precision is not None:
        facts["figures"][AP] = {
            **{key: round(precision[key], 1) for key in ("AP", "AP50")},
            "people": len(evaluations["COCO people"].predictions),
            "chose": chosen(name, "COCO people"),
            "command": AP_COMMAND,
        }
    for data, key in ELSEWHERE.items():
        if data in evaluations and data != own and not (key != "people" and precision is None):
            choice = chosen(name, data)
            told = "Nothing was chosen by them" if choice == "nothing" else f"They chose {choice}"
            facts[key] = {
                "text": f"{data}: {SETS[data].who}. Nothing was trained on them. {told}; distances "
                "by the torso, as above.",
                "table": tables_of(evaluations[data], metric),
            }
    return facts


def figure(name, data, evaluation):
    """A row of figures: the means over all counted joints, who was counted, the command."""
    pck = evaluation.pck
    return {
        f"{evaluation.metric}@{pck.threshold:g}": round(pck.mean, 1),
        "first stack": round(evaluation.stacks[0].mean, 1),
        "people": pck.num_people,
        "joints": sum(pck.counts.values()),
        "chose": chosen(name, data),
        "command": command(data),
    }


def chosen(name, data):
    """What people of `SETS` chose of a network."""
    found = [what for end, what in SETS[data].chose.items() if name.endswith(end)]
    return found[0] if found else "nothing"


def given(card):
    """The figures of a card that others have measured, on data that are not here."""
    return {name: row for name, row in card.get("figures", {}).items() if name not in (*SETS, AP)}


def command(data):
    """How anybody measures a network on one of `SETS`."""
    people = SETS[data]
    joints = f" --joints {' '.join(people.joints)}" if people.joints else ""
    return (
        f"`keras-hourglass evaluate --model NAME --data {people.spec}{joints} --data-root DIR "
        "--out report`"
    )


def tables_of(evaluation, metric):
    """Percentages of groups by stack and of joints by stack; those never counted are left out."""
    stacks = dict(zip(evaluation.predictions.stacks, evaluation.stacks, strict=True))
    named = {name.replace("_", " "): pck for name, pck in stacks.items()}
    counted = [joint for joint, count in evaluation.pck.counts.items() if count]
    by_joint = {
        joint: {name: float(pck.joints[joint]) for name, pck in named.items()} for joint in counted
    }
    by_group = {
        name: {
            **{group: one for group, one in pck.groups.items() if np.isfinite(one)},
            "mean": pck.mean,
        }
        for name, pck in named.items()
    }
    return {
        f"{metric} of groups of joints, percent": rounded(by_group),
        f"{metric} of joints, percent": rounded(by_joint),
    }


def gains(evaluation):
    """One sentence: on which joints the last stack helps most."""
    predictions = evaluation.predictions
    change = stack_changes(
        predictions.distances(), predictions.records.skeleton, evaluation.pck.threshold
    )["difference"]
    mean = change.pop("mean")
    counted = [group for group in change if np.isfinite(change[group])]
    order = sorted(counted, key=change.get, reverse=True)
    told = [f"{group} ({change[group]:+.1f})" for group in order]
    return (
        f"The last stack adds {mean:.1f} points to the first: most on {told[0]}, {told[1]} and "
        f"{told[2]}, least on {told[-1]}."
    )


def rounded(table):
    return {name: {k: round(float(v), 1) for k, v in row.items()} for name, row in table.items()}


def storage(model, path, records):
    """What rounding to half precision may have cost: accuracy of weights that round to the file.

    The weights before rounding lie within half a step of the stored ones; each draw takes a
    random place in between for every number.
    """
    keys, random, means = file_keys(model), np.random.default_rng(1), []
    variables = named_variables(model)
    with h5py.File(path) as file:
        arrays = {name: file[key][()] for name, key in keys.items()}
    # Single-precision numbers that half precision holds, too, have been rounded before.
    with np.errstate(over="ignore"):
        halves = {name: values.astype("f2") for name, values in arrays.items()}
    halves = {name: values for name, values in halves.items() if np.all(values == arrays[name])}
    statistics = [name for name, values in arrays.items() if values.dtype == "f4"]
    before = "rounded to half before" if halves.keys() & set(statistics) else "never rounded"
    stored = evaluate(model, records).pck.mean
    for _ in range(DRAWS):
        for name, values in halves.items():
            step = np.spacing(np.abs(values)).astype("float32")
            variables[name].assign(values + step * random.uniform(-0.5, 0.5, values.shape))
        means.append(evaluate(model, records).pck.mean)
    difference = max(abs(mean - stored) for mean in means)
    return (
        f"Half precision, statistics of batch normalisation in single precision, {before}. "
        f"{DRAWS} random sets of single-precision weights that round to this file measure "
        f"{min(means):.2f} to {max(means):.2f} %, the file {stored:.2f} %: rounding moves the mean "
        f"by at most {difference:.2f} points."
    )


def presence(model, root):
    """Whether scores tell joints that are not there: facts, and the thresholds.

    Thresholds are chosen on one half of the people and photographs, by joints that were found
    against joints that are not there, and tried on the other half.
    """
    crops = _crops(model, root)
    chose, own = crops["half"] == 0, crops["skeleton"].joints
    # Joints that are there and were put elsewhere speak neither for a threshold nor against it.
    truth = np.where((crops["there"] == 1) & (crops["right"] != 1), np.nan, crops["there"])
    thresholds = sure_thresholds(crops["scores"][chose], truth[chose], crops["skeleton"])
    thresholds = {joint: round(value, 3) for joint, value in thresholds.items()}
    told = model.metadata["card"].get("presence", {}).get("joints", {})
    before = {
        joint: told[part_of(joint)]["before"] if told else model.thresholds.get(joint, PRESENT_FROM)
        for joint in own
    }
    ways = {
        "before": [before[joint] for joint in own],
        f"{PRESENT_FROM} for every joint": [PRESENT_FROM] * len(own),
        "these thresholds": [thresholds[joint] for joint in own],
    }
    table = {way: _judged(crops, ~chose, least) for way, least in ways.items()}
    count = {kind: int((crops["kind"][~chose] == kind).sum()) for kind in ("whole", "cut", "empty")}
    text = (
        f"Does the height of a heatmap tell a joint that is not there? {count['whole']} people of "
        f"COCO and LSP, {count['cut']} times one of them cut off at a random line so that the "
        f"rest of the body lies outside, and {count['empty']} crops without anybody, out of COCO "
        "photographs; as many others chose the thresholds: coco_people/validation.json and "
        "coco_scenes/validation.json by the last digit but one of the photograph's number, even "
        "ones chose; lsp_train#801-1000 in turns. They are stored in `config.json` and decide "
        "`Pose.present`. In percent: joints that lie outside the crop and are told to be absent; "
        "joints that are there and called present; those of them that were put right and are "
        "called present; those called present that are right; and, of a crop without anybody, how "
        "many joints are called present, and in how many crops none is."
    )
    joints = {
        part_of(joint): {"threshold": value, "before": float(least)}
        for (joint, value), least in zip(thresholds.items(), ways["before"], strict=True)
    }
    return {"text": text, "table": table, "joints": joints}, thresholds


def _crops(model, root):
    """People whole and cut off, and crops without people, with the scores of their joints.

    Returns:
        A dict of arrays, a row for each crop: `scores`, `there` (1, 0, NaN where nobody knows) and
        `right` (the same of joints found within a fifth of the torso), each `(N, K)`; `half`, 0 or
        1; `kind`, `whole`, `cut` or `empty`. And `skeleton`.
    """
    skeleton, last, parts = model.skeleton, model.stack_names[-1:], []
    scenes = load_scenes("boxes:coco_scenes/validation.json", root)
    empty = empty_crops(scenes, skeleton, EMPTY)
    numbers = np.asarray(scenes.extra["image_id"]).astype(int)[empty.extra["photo"]]
    people = load_records(SETS["COCO people"].spec, root)
    path = pathlib.Path(root) / COCO_PEOPLE.partition(":")[2]
    photos = {image["id"]: image["coco_image_id"] for image in read_json(path)["images"]}
    own = np.array([photos[int(key)] for key in people.extra["image_id"]])
    athletes = load_records(SETS["LSP 801-1000"].spec, root)
    for records, half in (
        (people, own // 10 % 2), (athletes, np.arange(len(athletes)) % 2),
    ):  # fmt: skip
        records = match_joints(records, skeleton)
        both = whole_and_cut(records)
        person, cut = both.extra["person"], both.extra["cut"]
        found = predict_records(model, both, stacks=last)
        # Whoever annotated may have left out what is there.
        known = records.visibility[person] > 0
        there = np.where(known, (both.visibility > 0).astype(float), np.nan)
        distances = found.distances()[-1]
        near = np.where(np.isfinite(distances), distances <= 0.2, np.nan)
        right = np.where(there == 1, near, there)
        kind = np.where(cut, "cut", "whole")
        parts.append((found.scores[-1], there, right, half[person], kind))
    scores = predict_records(model, empty, stacks=last).scores[-1]
    nothing = np.zeros(scores.shape)
    parts.append((scores, nothing, nothing, numbers // 10 % 2, np.full(len(empty), "empty")))
    names = ("scores", "there", "right", "half", "kind")
    columns = zip(*parts, strict=True)
    return {
        "skeleton": skeleton,
        **{name: np.concatenate(column) for name, column in zip(names, columns, strict=True)},
    }


def _judged(crops, rows, least):
    """What least scores make of crops, percent and joints."""
    called = crops["scores"][rows] >= np.asarray(least)
    there, right, kind = (crops[name][rows] for name in ("there", "right", "kind"))
    person, empty = kind != "empty", called[kind == "empty"]
    known = np.isfinite(right) & person[:, None]
    return {
        "absent told, %": float(100 * (~called)[person][there[person] == 0].mean()),
        "present kept, %": float(100 * called[there == 1].mean()),
        "right kept, %": float(100 * called[right == 1].mean()),
        "right of those called present, %": float(100 * (right == 1)[known & called].mean()),
        "false joints in an empty crop": f"{empty.sum(axis=1).mean():.2f}",
        "empty crops without any, %": float(100 * (empty.sum(axis=1) == 0).mean()),
    }


def part_of(joint):
    """A joint and its mirror image under one name."""
    return re.sub("^(left|right)_", "", joint)


def failures(evaluation, path, notes):
    """Draw annotation and prediction of the worst people; the caption and a line on each."""
    predictions, stack = evaluation.predictions, evaluation.stack
    scores = person_scores(predictions.distances()[stack], evaluation.pck.threshold)
    order = np.lexsort((scores[:, 1], scores[:, 0]))
    worst = [person for person in order if np.isfinite(scores[person, 0])][:WORST]
    records, tiles, lines = predictions.records, [], []
    for person in worst:
        key, share = str(records.ids[person]), 100 * scores[person, 0]
        matrix = crop_affine(records.boxes[person], (SIDE, SIDE))
        pair = [
            stick_figure(records.skeleton, apply_affine(matrix, points), present)
            for points, present in (
                (records.joints[person], records.visibility[person] > 0),
                (predictions.keypoints[stack, person], None),
            )
        ]
        tiles.append((f"{key}: annotated, predicted ({share:.0f} %)", np.hstack(pair)))
        lines.append(f"`{key}`, {share:.0f} %: {notes.get(key, 'not yet described')}")
    save_png(sheet(tiles, 2), path)
    caption = (
        f"The {len(worst)} people with the lowest {evaluation.metric}@"
        f"{evaluation.pck.threshold:g}, annotated and predicted (left blue, right orange)."
    )
    return {"picture": path.name, "caption": caption, "notes": lines}


def stick_figure(skeleton, points, present):
    """A skeleton on plain ground, pixels of the tile."""
    canvas = np.full((SIDE, SIDE, 3), 60, np.uint8)
    everywhere = np.ones(len(points), bool) if present is None else present
    pose = Pose(points, np.ones(len(points)), (0, 0, SIDE, SIDE), skeleton, everywhere)
    return draw_poses(canvas, [pose], width=2)


def sheet(tiles, columns, gap=4, band=18):
    """Labelled tiles `(label, picture)` of one size in rows."""
    height, width = tiles[0][1].shape[:2]
    rows = -(-len(tiles) // columns)
    size = (rows * (height + band + gap) + gap, columns * (width + gap) + gap, 3)
    canvas = np.full(size, 24, np.uint8)
    for place, (label, picture) in enumerate(tiles):
        top = gap + place // columns * (height + band + gap) + band
        left = gap + place % columns * (width + gap)
        canvas[top : top + height, left : left + width] = picture
        cv2.putText(
            canvas, label, (left + 2, top - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38, (240,) * 3, 1,
            cv2.LINE_AA,
        )  # fmt: skip
    return canvas


def save_png(picture, path, colours=128):
    """Write a small PNG with a palette."""
    with atomic_path(path) as temporary:
        Image.fromarray(picture).quantize(colours).save(temporary, optimize=True)


def draw_figures(path):
    """Generated figures as columns, the networks as rows."""
    records, tiles = synthetic_records(max(FIGURES) + 1, SEED).select(list(FIGURES)), []
    for name, record in read_manifest().items():
        if record["skeleton"] == "boxes":
            continue
        model = load_model(name)
        predictions = predict_records(model, records)
        scores = person_scores(predictions.distances()[-1], 0.2)[:, 0]
        for person in range(len(records)):
            tiles.append(figure_tile(name, predictions, person, scores[person]))
    save_png(sheet(tiles, len(FIGURES)), path)


def figure_tile(name, predictions, person, score):
    """A generated figure with predicted joints, as far as they count as present."""
    records = predictions.records
    matrix = crop_affine(records.boxes[person], (SIDE, SIDE))
    crop = warp(open_image(records.images[person]), matrix, (SIDE, SIDE))
    points = apply_affine(matrix, predictions.keypoints[-1, person])
    own = load_model(name, load_weights=False).thresholds
    least = [own.get(joint, PRESENT_FROM) for joint in records.skeleton.joints]
    present = predictions.scores[-1, person] >= least
    pose = Pose(points, present, (0, 0, SIDE, SIDE), records.skeleton, present)
    label = f"{name.removeprefix('hourglass_')} {100 * score:.0f} %"
    return label, draw_poses(crop, [pose], width=2)


def speed(name, records, root):
    """Milliseconds of one photograph by engine, file to joints, and the megabytes of each form."""
    calibration = load_records("lsp:lsp_train#1-64", root)
    load = [os.getloadavg()[0]]
    with tempfile.TemporaryDirectory() as folder, contextlib.ExitStack() as stack:
        commands = small_networks.ways_of(
            name, ENGINES, small_networks.calibration(calibration), folder
        )
        sizes = {way: megabytes(command[-2]) for way, command in commands.items()}
        ways = {way: common.Child(command) for way, command in commands.items()}
        for way in ways.values():
            stack.callback(way.close)
        found = small_networks.run_all(ways, records.select(slice(TIMED)))
    load.append(os.getloadavg()[0])
    table = {}
    for way, (seconds, _) in found.items():
        _, engine, flip = way.split(", ")
        row = table.setdefault(engine, {})
        taken = common.spread([1000 * one for one in seconds])
        row[flip] = f"{taken.least:.1f} ({taken.median:.1f})"
        if sizes[way]:
            row["MB"] = f"{sizes[way]:.1f}"
    machine = common.machine()
    busy = " Other work ran beside it: the least counts." if max(load) > machine["cores"] else ""
    packages = common.versions("onnxruntime", "ai-edge-litert", "openvino")
    versions = ", ".join(f"{key} {value}" for key, value in packages.items())
    text = (
        f"Milliseconds from the file of a photograph and a person's box to the joints, one after "
        f"the other: the least and, in brackets, the median of {TIMED} photographs, engines in "
        f"turns, each in a process of its own; megabytes of the files an engine reads. `default` "
        f"is what `Predictor` takes here. {machine['cores']} cores of {machine['processor']}; load "
        f"{load[0]:.1f} to {load[1]:.1f}.{busy} {versions}."
    )
    return {"text": text, "table": table}


def megabytes(engine):
    """Of the file or folder an engine reads; 0 for an engine by name, which reads the weights."""
    path = pathlib.Path(str(engine))
    # OpenVINO keeps the numbers in a second file.
    files = [path, path.with_suffix(".bin")] if path.suffix == ".xml" else [path, *path.rglob("*")]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def cards():
    """What is said of the published weights of joints: name -> facts of its card."""
    # What finds people is measured otherwise, see its card.
    names = [name for name, record in read_manifest().items() if record["skeleton"] != "boxes"]
    configs = {name: resolve(name, load_weights=False)[0] for name in names}
    return {name: config["metadata"]["card"] for name, config in configs.items()}


def networks(cards, link):
    """The table of networks in Markdown.

    Args:
        cards: as from `cards`.
        link: what a network's name becomes, a template with `{name}`.
    """
    columns = [column_of(data) for data in SETS] + [f"AP of {AP.removesuffix(', AP')}", OTHER_HALF]
    columns += ["ms"] if any("speed" in card for card in cards.values()) else []
    lines = [
        f"| name | input | parameters | MB | {' | '.join(columns)} |",
        "| --- | --- | ---: | ---: |" + " ---: |" * len(columns),
    ]
    records = read_manifest()
    for name, card in cards.items():
        network = describe(name, records)
        cells = [
            link.format(name=name),
            "×".join(map(str, network["input_size"])),
            f"{network['parameters']:,}",
            f"{records[name]['size'] / 1e6:.1f}",
        ]
        for data in SETS:
            one = card["figures"].get(data)
            told = one and f"{one['PCK@0.2']:.1f} (first stack {one['first stack']:.1f})"
            cells.append(told or "")
        cells.append(f"{row['AP']:.1f}" if (row := card["figures"].get(AP)) else "")
        cells.append(f"{row['PCK@0.2']:.1f}" if (row := given(card).get(OTHER_HALF)) else "")
        if "ms" in columns:
            cells.append(card["speed"]["table"]["default"]["mirrored"] if "speed" in card else "")
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def column_of(data):
    """A column's head: who was measured, and what they chose."""
    told = [f"{what} of `{end}`" for end, what in SETS[data].chose.items()]
    return f"{data}, chose {', '.join(told)}" if told else data


def origins():
    """Where the columns of the table of networks come from, in Markdown."""
    lines = ["| column | who | chose | made by |", "| --- | --- | --- | --- |"]
    for data, people in SETS.items():
        told = ", ".join(f"{what} of `{end}`" for end, what in people.chose.items()) or "nothing"
        lines.append(f"| {data} | {people.who} | {told} | {command(data)} |")
        if data == "COCO people":
            who = "the same people, COCO's average precision (OKS) of its 17 joints, box given"
            lines.append(f"| AP of {data} | {who} | {told} | {AP_COMMAND} |")
    return "\n".join(lines)


def pages(cards):
    """The pages with tables of networks: path -> what must stand in it."""
    short = networks(cards, "`{name}`")
    long = networks(cards, "[`{name}`]({name}/README.md)")
    return {
        ROOT / "README.md": {"networks": short},
        ROOT / "weights" / "README.md": {"networks": long, "origins": origins()},
    }


def write_pages():
    """Write the tables of networks from the cards."""
    for path, parts in pages(cards()).items():
        page = path.read_text(encoding="utf-8")
        for mark, content in parts.items():
            page = common.replace_between(page, mark, content)
        atomic_write(path, page)
        print(f"written: {path}")


def stale_pages(cards):
    """What is wrong with the pages, one line each."""
    wrong = []
    for path, parts in pages(cards).items():
        page = path.read_text(encoding="utf-8")
        for mark, content in parts.items():
            if common.replace_between(page, mark, content) != page:
                wrong.append(
                    f"{path.relative_to(ROOT)}: `{mark}` is not what the cards say: "
                    "python benchmarks/cards.py --tables"
                )
    return wrong


def differences(said, measured, within, where):
    """Numbers of two facts of the same form that are further apart than `within`, a line each."""
    if isinstance(said, dict) and isinstance(measured, dict):
        lines = [
            f"{where}: {key} is said, but not measured" for key in sorted(said.keys() - measured)
        ]
        lines += [
            f"{where}: {key} is measured, but not said" for key in sorted(measured.keys() - said)
        ]
        for key in said:
            if key in measured:
                lines += differences(said[key], measured[key], within, f"{where}, {key}")
        return lines
    if isinstance(said, (int, float)) and isinstance(measured, (int, float)):
        apart = abs(said - measured)
        return [f"{where}: {said} is said, {measured} measured"] if apart > within + 1e-9 else []
    return [] if said == measured else [f"{where}: {said!r} is said, {measured!r} measured"]


def check(root):
    """Measure all networks again; the lines of what is said otherwise."""
    said, wrong = cards(), stale_pages(cards())
    for name, card in said.items():
        facts = accuracy(name, *evaluate_all(name, root, card["metric"]["data"]))
        facts["figures"].update(given(card))
        for data, row in facts["figures"].items():
            told = ", ".join(f"{k} {v}" for k, v in row.items() if k not in ("chose", "command"))
            print(f"{name}, {data}: {told}")
        for key, within in (
            ("metric", MEANS_WITHIN), ("figures", MEANS_WITHIN), ("tables", JOINTS_WITHIN),
            *((key, JOINTS_WITHIN) for key in ELSEWHERE.values()),
        ):  # fmt: skip
            wrong += differences(card.get(key), facts.get(key), within, f"{name}, {key}")
    return wrong


def evaluate_all(name, root, own):
    """What `accuracy` says of a published network: everybody's evaluation, and AP.

    Args:
        name: the network's.
        root: folder of the data sets.
        own: the one of `SETS` that the manifest names.
    """
    model, predicted, found = load_model(name), {}, {}
    for data, people in SETS.items():
        if people.needs and people.needs not in model.skeleton.joints:
            continue
        if people.spec not in predicted:
            predicted[people.spec] = predict_records(model, load_records(people.spec, root))
        found[data] = evaluate_predictions(predicted[people.spec], joints=people.joints)
    precision = None
    if set(COCO.joints) <= set(model.skeleton.joints):
        results = coco_results(predicted[COCO_PEOPLE].of_joints(COCO))
        path = pathlib.Path(root) / COCO_PEOPLE.partition(":")[2]
        precision = average_precision(path, results)
    return found, own, precision


def measure(name, root, notes, parts):
    """Measure one network and revise its card."""
    model, folder = load_model(name), weights_folder() / name
    before, facts, thresholds = model.metadata["card"], {}, None
    own = before["metric"]["data"]
    records = load_records(SETS[own].spec, root)
    if "accuracy" in parts:
        evaluations, _, precision = evaluate_all(name, root, own)
        known = {
            match[1]: match[2]
            for line in before.get("failures", {}).get("notes", ())
            if (match := re.match(r"`(.+?)`.*?: (.+)$", line))
        }
        facts.update(accuracy(name, evaluations, own, precision))
        facts["figures"].update(given(before))
        picture = folder / "failures.png"
        facts["failures"] = failures(evaluations[own], picture, {**known, **notes})
    if "presence" in parts:
        facts["presence"], thresholds = presence(model, root)
    if "storage" in parts:
        facts["storage"] = storage(model, folder / WEIGHTS, records)
    if "speed" in parts:
        facts["speed"] = speed(name, load_records(SETS["LSP 801-1000"].spec, root), root)
    revise(name, facts, thresholds)
    print((folder / CARD).read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="published weights, see weights/manifest.json")
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--note", nargs=2, action="append", default=[], metavar=("ID", "TEXT"))
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--tables", action="store_true", help="write the tables of networks")
    parser.add_argument("--sheet", action="store_true", help="draw the generated figures")
    parser.add_argument("--check", action="store_true", help="measure all again, write nothing")
    args = parser.parse_args()
    try:
        if args.tables:
            write_pages()
        elif args.sheet:
            draw_figures(weights_folder() / "figures.png")
        elif args.check:
            if wrong := check(args.data_root):
                sys.exit("\n".join(wrong))
            print("cards and tables say what is measured")
        elif args.name is None:
            parser.error("name a network, or pass --tables, --sheet or --check")
        else:
            measure(args.name, args.data_root, dict(args.note), args.parts)
    except UserError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
