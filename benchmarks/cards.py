"""Measure published weights anew and write their model cards.

    python benchmarks/cards.py NAME [--data-root DIR] [--data SPEC] [--parts PART ...]
                                    [--note ID TEXT ...]
    python benchmarks/cards.py --sheet

The first form measures accuracy per joint and stack, what storing in half precision may cost,
whether scores tell joints that are not in the crop, and draws the people it does worst on, as
skeletons without the photograph, into `weights/NAME/failures.png`. A note says what went wrong with
one of them; look at the photograph to write it. Notes stay until another person takes the place.
The second form draws generated figures with the joints of every network into `weights/figures.png`.
"""

import argparse
import os
import re

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import cv2
import h5py
import numpy as np
from PIL import Image

from keras_hourglass.analysis import (
    person_scores,
    presence_thresholds,
    stack_changes,
    whole_and_cut,
)
from keras_hourglass.codec import PRESENT_FROM
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.load import load_records, open_image
from keras_hourglass.evaluation import evaluate, predict_records
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.files import atomic_path
from keras_hourglass.io.images import warp
from keras_hourglass.prediction.drawing import draw_poses
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.zoo.publish import revise
from keras_hourglass.zoo.store import CARD, WEIGHTS, load_model, read_manifest, weights_folder
from keras_hourglass.zoo.weights import file_keys, named_variables

FOLDS, CUTS, WORST, DRAWS, SIDE = 5, 4, 6, 5, 150
PARTS = ("accuracy", "presence", "storage")
FIGURES, SEED = (0, 1, 3, 5, 8, 11), 20160322


def accuracy(evaluation, data):
    """Facts on accuracy: the mean, tables of stacks and joints, what the last stack adds."""
    stacks = dict(zip(evaluation.predictions.stacks, evaluation.stacks, strict=True))
    named = {name.replace("_", " "): pck for name, pck in stacks.items()}
    by_joint = {
        joint: {name: float(pck.joints[joint]) for name, pck in named.items()}
        for joint in evaluation.pck.joints
    }
    by_group = {name: {**pck.groups, "mean": pck.mean} for name, pck in named.items()}
    metric = f"{evaluation.metric}@{evaluation.pck.threshold:g}"
    return {
        "metric": {"name": metric, "value": round(evaluation.pck.mean, 1), "data": data},
        "tables": {
            f"{metric} of groups of joints, percent": rounded(by_group),
            f"{metric} of joints, percent": rounded(by_joint),
        },
        "gains": gains(evaluation),
    }


def gains(evaluation):
    """One sentence: on which joints the last stack helps most."""
    predictions = evaluation.predictions
    change = stack_changes(
        predictions.distances(), predictions.records.skeleton, evaluation.pck.threshold
    )["difference"]
    mean = change.pop("mean")
    order = sorted(change, key=change.get, reverse=True)
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
        halves = {name: file[key][()] for name, key in keys.items() if file[key].dtype == "f2"}
    stored = evaluate(model, records).pck.mean
    for _ in range(DRAWS):
        for name, values in halves.items():
            step = np.spacing(np.abs(values)).astype("float32")
            variables[name].assign(values + step * random.uniform(-0.5, 0.5, values.shape))
        means.append(evaluate(model, records).pck.mean)
    difference = max(abs(mean - stored) for mean in means)
    return (
        f"Half precision, statistics of batch normalisation in single precision. {DRAWS} random "
        f"sets of single-precision weights that round to this file measure {min(means):.2f} to "
        f"{max(means):.2f} %, the file {stored:.2f} %: rounding moves the mean by at most "
        f"{difference:.2f} points."
    )


def presence(model, records):
    """Whether scores tell joints outside the crop: facts, and thresholds where they are better."""
    both = predict_records(model, whole_and_cut(records, CUTS), stacks=(model.stack_names[-1],))
    folds = both.records.extra["person"] % FOLDS
    skeleton = both.records.skeleton
    joints = presence_thresholds(
        both.scores[-1], both.records.visibility, skeleton, PRESENT_FROM, folds
    )
    mean = {
        key: np.mean([row[key] for row in joints.values()])
        for key in ("accuracy", "default", "always", "kept", "found")
    }
    better = mean["accuracy"] - max(mean["default"], mean["always"])
    table = {
        re.sub("^(left|right)_", "", joint): {
            "ROC AUC": row["auc"],
            "threshold": f"{row['threshold']:.3f}",
            "right": row["accuracy"],
            f"right by {PRESENT_FROM}": row["default"],
            "right if always present": row["always"],
            "present kept": row["kept"],
            "absent found": row["found"],
        }
        for joint, row in joints.items()
    }
    cut = int(both.records.extra["cut"].sum())
    text = (
        f"Does the height of a heatmap tell a joint that is not in the crop at all? {len(both)} "
        f"crops of the same people, {cut} of them cut off at a random line so that the rest of the "
        "body lies outside. Thresholds chosen on four fifths of the people and tried on the last "
        f"fifth answer {mean['accuracy']:.1f} % right; the default of {PRESENT_FROM} "
        f"{mean['default']:.1f} %, and calling every joint present {mean['always']:.1f} %. They "
        f"keep {mean['kept']:.1f} % of the present joints and find {mean['found']:.1f} % of the "
        "absent ones (means over joints). "
    )
    if better >= 1:
        text += "The thresholds are stored in `config.json` and decide `Pose.present`. "
        text += f"`keras-hourglass analyze presence --cut {CUTS}` draws precision against recall."
        return text, table, {j: round(row["threshold"], 3) for j, row in joints.items()}
    text += f"That is not clearly better, so the default of {PRESENT_FROM} stays."
    return text, table, {}


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


def measure(name, data, root, notes, parts):
    """Measure one network and revise its card."""
    model, folder = load_model(name), weights_folder() / name
    records, before, facts, thresholds = load_records(data, root), model.metadata["card"], {}, None
    if "accuracy" in parts:
        evaluation = evaluate(model, records)
        known = {
            match[1]: match[2]
            for line in before.get("failures", {}).get("notes", ())
            if (match := re.match(r"`(.+?)`.*?: (.+)$", line))
        }
        facts.update(accuracy(evaluation, before["metric"]["data"]))
        picture = folder / "failures.png"
        facts["failures"] = failures(evaluation, picture, {**known, **notes})
    if "presence" in parts:
        text, table, thresholds = presence(model, records)
        facts["presence"] = {"text": text, "table": table}
    if "storage" in parts:
        facts["storage"] = storage(model, folder / WEIGHTS, records)
    revise(name, facts, thresholds)
    print((folder / CARD).read_text(encoding="utf-8"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("name", nargs="?", help="published weights, see weights/manifest.json")
    parser.add_argument("--data", default="lsp:lsp_train#801-1000")
    parser.add_argument("--data-root", default="../shared/data")
    parser.add_argument("--note", nargs=2, action="append", default=[], metavar=("ID", "TEXT"))
    parser.add_argument("--parts", nargs="+", default=PARTS, choices=PARTS)
    parser.add_argument("--sheet", action="store_true", help="draw the generated figures")
    args = parser.parse_args()
    if args.sheet:
        draw_figures(weights_folder() / "figures.png")
    elif args.name is None:
        parser.error("name a network, or pass --sheet")
    else:
        measure(args.name, args.data, args.data_root, dict(args.note), args.parts)


if __name__ == "__main__":
    main()
