"""How well everybody in a photograph is found: detectors, and joints with found and given boxes.

    python benchmarks/people.py --data DIR/coco_scenes/validation.json
        [--detector NAME=FILE,MB,LICENCE ...] [--model NAME ...] [--limit N]
        [--only detectors|joints]

Detectors are measured by the boxes of everybody, in turns, photograph by photograph, in one
process.
Joints are measured by COCO's average precision over the twelve joints of the limbs that all data
sets share, in the boxes of the annotation and in those that are found; and by what `predict` is
sure of. Results go to `benchmarks/results/people.json`, the tables into `benchmarks/README.md`; of
joints, the rows of networks that are not measured anew stay.
"""

import dataclasses
import json
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import common
import numpy as np

MARK = "people"
LIMBS = tuple(
    f"{side}_{joint}"
    for joint in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")
    for side in ("left", "right")
)
OWN = "hourglass_detector_coco"
# Inputs that the package's detector is measured in: its own, and several sizes.
LOOKS = ((320,),)  # beside those of the detector's own, for joints
SIDES = ((320,), (320, 384), (256, 320, 384), (256, 320, 448))


@dataclasses.dataclass
class Scenes:
    """Photographs with everybody's boxes and, where they are annotated, joints.

    Attributes:
        records: the `SceneRecords`.
        images: RGB arrays.
        people: for each photograph its `metrics.detection.People`.
        truth: the annotation file with the twelve joints of the limbs.
    """

    records: object
    images: list
    people: list
    truth: dict


def read(path, limit=None):
    """The scenes of an annotation file of COCO's layout."""
    from keras_hourglass.data.load import open_image
    from keras_hourglass.data.scenes import read_scenes
    from keras_hourglass.evaluation.finding import CLEAR_HEIGHT, CLEAR_JOINTS
    from keras_hourglass.metrics.detection import People

    records = read_scenes(path)
    records = records if limit is None else records.select(slice(limit))
    people = []
    for boxes, ignored, joints in zip(records.boxes, records.ignored, records.joints, strict=True):
        clear = (joints >= CLEAR_JOINTS) & (boxes[:, 3] >= CLEAR_HEIGHT)
        people.append(People(boxes[~ignored], clear[~ignored], boxes[ignored]))
    content = json.loads(pathlib.Path(path).read_text("utf-8"))
    images = [open_image(name) for name in records.images]
    return Scenes(records, images, people, limbs_only(content, set(records.extra["image_id"])))


def limbs_only(content, images, joints=LIMBS):
    """An annotation file with some joints, those of the limbs, the areas left to be derived."""
    [category] = [entry for entry in content["categories"] if entry["name"] == "person"]
    places = [category["keypoints"].index(joint) for joint in joints]
    annotations = []
    for entry in content["annotations"]:
        if entry["image_id"] not in images:
            continue
        points = np.reshape(entry.get("keypoints") or [0] * 3 * len(category["keypoints"]), (-1, 3))
        points = points[places]
        kept = {name: entry[name] for name in ("id", "image_id", "category_id", "bbox", "iscrowd")}
        labelled = int((points[:, 2] > 0).sum())
        annotations.append(
            {**kept, "keypoints": points.ravel().tolist(), "num_keypoints": labelled}
        )
    return {
        "images": [entry for entry in content["images"] if entry["id"] in images],
        "annotations": annotations,
        "categories": [{"id": category["id"], "name": "person", "keypoints": list(joints)}],
    }


# Detectors


def own_detectors():
    """What the package's detector is with one look and with several: title -> (callable, MB)."""
    from keras_hourglass.prediction.detection import HourglassDetector
    from keras_hourglass.zoo.store import read_manifest

    megabytes = read_manifest()[OWN]["size"] / 1e6
    found = {}
    for sides in SIDES:
        title = f"`{OWN}`, {' + '.join(map(str, sides))}"
        found[title] = HourglassDetector(OWN, 0.05, sides=sides)
    return {title: (detect, megabytes, "Apache-2.0") for title, detect in found.items()}


def other_detectors(texts):
    """Detectors of `NAME=FILE,MB,LICENCE`."""
    from keras_hourglass.prediction.detection import make_detector

    found = {}
    for text in texts:
        name, _, rest = text.partition("=")
        path, megabytes, licence = rest.split(",", 2)
        found[name] = make_detector(path, 0.05), float(megabytes), licence
    return found


def measure_detectors(detectors, scenes):
    """Recall, precision, AP50 and milliseconds of each; the boxes of each photograph."""
    from keras_hourglass.metrics.detection import detection_curve

    boxes = {title: [] for title in detectors}
    seconds = {title: [] for title in detectors}
    for detect, *_ in detectors.values():
        detect(scenes.images[0])  # what happens once only
    for image in scenes.images:
        for title, (detect, *_) in detectors.items():
            time.sleep(common.PAUSE)
            start = time.perf_counter()
            found = detect(image)
            seconds[title].append(1000 * (time.perf_counter() - start))
            boxes[title].append(np.asarray(found, np.float64).reshape(-1, 5))
    rows = {}
    for title, (_, megabytes, licence) in detectors.items():
        curve = detection_curve(boxes[title], scenes.people)
        spread = common.spread(seconds[title])
        rows[title] = {
            "at_70": curve.at_precision(0.7), "at_50": curve.at_precision(0.5),
            "ap50": curve.ap50, "milliseconds": spread.to_dict(2), "megabytes": megabytes,
            "licence": licence,
        }  # fmt: skip
    return rows


def detector_table(rows, scenes):
    clear = sum(int(people.wanted.sum()) for people in scenes.people)
    lines = [
        f"{len(scenes.images)} photographs, {clear} clear people, a box right from an overlap of a "
        "half; ms in turns, the median and the 10th percentile:\n",
        "| detector | recall where 70 % of the boxes are people | where 50 % are | AP50 | ms | MB "
        "| licence |",
        "| --- | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for title, row in rows.items():
        spread = row["milliseconds"]
        cells = [
            title, *(f"{100 * row[at]['recall']:.1f}" for at in ("at_70", "at_50")),
            f"{100 * row['ap50']:.1f}", f"{spread['median']:.0f} ({spread['low']:.0f})",
            f"{row['megabytes']:.1f}", row["licence"],
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


# Joints


def _results(result, image_id):
    """The people of a picture as COCO results of the limbs, every joint where it is likeliest."""
    for pose in result:
        places = [pose.names.index(joint) for joint in LIMBS]
        points = np.nan_to_num(pose.keypoints[places])
        rows = np.column_stack([points, np.ones(len(LIMBS))])
        score = float(pose.scores.mean()) * (1.0 if pose.box_score is None else pose.box_score)
        yield {
            "image_id": image_id, "category_id": 1, "keypoints": rows.ravel().tolist(),
            "score": score, "bbox": [float(value) for value in pose.box],
        }  # fmt: skip


def predict(predictor, scenes, given):
    """The `PicturePoses` of each photograph, in the boxes of the annotation or in found ones."""
    from keras_hourglass.geometry import MIN_SIDE

    results = []
    for image, people in zip(scenes.images, scenes.people, strict=True):
        if given and not (people.boxes[:, 2:] >= MIN_SIDE).any():
            results.append([])
            continue
        # Specks of a pixel are nobody's box.
        shown = people.boxes[people.boxes[:, 2:].max(axis=1, initial=0) >= MIN_SIDE]
        results.append(predictor(image, shown if given else None))
    return results


def average_precision(results, scenes):
    """AP, AP50 and AR of the limbs, in percent."""
    from keras_hourglass.metrics.coco_eval import average_precision as coco

    keys = scenes.records.extra["image_id"]
    rows = [row for key, one in zip(keys, results, strict=True) for row in _results(one, key)]
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "limbs.json"
        path.write_text(json.dumps(scenes.truth))
        values = coco(path, rows)
    return {name: values[name] for name in ("AP", "AP50", "AR")}


def sure_people(results, scenes):
    """What `predict` is sure of.

    Returns:
        A dict: `sure` skeletons, the share of them `near` somebody (a box that overlaps an
        annotated one by 0.3, or lies by half in a crowd), the share of photographs without people
        that stay `empty`, and the share of clear people whose limbs are right (`clear`, an object
        keypoint similarity of at least 0.5 with a sure skeleton), in percent.
    """
    from keras_hourglass.geometry import box_overlaps
    from keras_hourglass.metrics.oks import AREA_OF_BOX, joint_sigmas, oks

    near, empty, found, clear = [], [], 0, 0
    limbs = {}
    for entry in scenes.truth["annotations"]:
        limbs.setdefault(entry["image_id"], []).append(entry)
    keys = scenes.records.extra["image_id"]
    for key, result, people in zip(keys, results, scenes.people, strict=True):
        sure = [pose for pose in result if pose.sure]
        boxes = np.array([extent_of(pose) for pose in sure]).reshape(-1, 4)
        if not len(people.boxes) and not len(people.crowds):
            empty.append(not sure)
        overlaps = box_overlaps(boxes, people.boxes).max(axis=1, initial=0)
        crowded = box_overlaps(boxes, people.crowds, of="first").max(axis=1, initial=0)
        near += list((overlaps >= 0.3) | (crowded >= 0.5))
        entries = [entry for entry in limbs.get(key, ()) if not entry["iscrowd"]]
        for entry, wanted in zip(entries, people.wanted, strict=True):
            if not wanted:
                continue
            clear += 1
            if not sure:
                continue
            points = np.reshape(entry["keypoints"], (-1, 3))
            places = [sure[0].names.index(joint) for joint in LIMBS]
            mine = np.array([pose.keypoints[places] for pose in sure])
            shown = np.broadcast_to(points[:, 2] > 0, mine.shape[:2])
            area = np.full(len(mine), AREA_OF_BOX * entry["bbox"][2] * entry["bbox"][3])
            there = np.broadcast_to(points[:, :2], mine.shape)
            found += bool(np.nanmax(oks(mine, there, shown, area, joint_sigmas(LIMBS))) >= 0.5)
    return {
        "sure": len(near), "near": 100 * float(np.mean(near)) if near else 0.0,
        "empty": 100 * float(np.mean(empty)) if empty else float("nan"), "photos": len(empty),
        "clear": 100 * found / max(clear, 1), "clear_people": clear,
    }  # fmt: skip


def extent_of(pose):
    """The box of a skeleton: of its joints, with the margin by which outlines exceed them."""
    points = pose.keypoints[pose.present] if pose.present.any() else pose.keypoints
    low, high = points.min(axis=0), points.max(axis=0)
    margin = 0.05 * (high - low).max()
    return [*(low - margin), *(high - low + 2 * margin)]


def measure_joints(models, scenes, detectors=()):
    """Average precision and sure people of each model: with given, found and others' boxes."""
    from keras_hourglass import Predictor
    from keras_hourglass.prediction.detection import HourglassDetector

    rows = {}
    for model in models:
        ways = {"given": (Predictor(model, detector=None), True)}
        ways["found"] = Predictor(model), False
        for sides in LOOKS:
            several = Predictor(model)
            several._finder.detector = HourglassDetector(OWN, sides=sides)
            ways[f"found, {' + '.join(map(str, sides))}"] = several, False
        for text in detectors:
            name, _, rest = text.partition("=")
            ways[name] = Predictor(model, detector=rest.split(",")[0]), False
        for way, (predictor, given) in ways.items():
            results = predict(predictor, scenes, given)
            row = average_precision(results, scenes)
            row |= {} if given else sure_people(results, scenes)
            rows[f"{model}|{way}"] = row
            print(model, way, {key: round(value, 1) for key, value in row.items()}, flush=True)
    return rows


def joint_table(rows):
    first = next(row for row in rows.values() if "sure" in row)
    lines = [
        "The same photographs: COCO's average precision over the twelve joints of the limbs; of "
        "what is sure, the share near somebody; of the "
        f"{first['photos']} photographs without people, those without a sure skeleton; of the "
        f"{first['clear_people']} clear people, those with right limbs (OKS ≥ 0.5):\n",
        "| network | boxes | AP | AP50 | AR | sure | near somebody | empty stay empty | clear, "
        "right |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for key, row in rows.items():
        model, way = key.split("|")
        cells = [f"`{model}`", way, *(f"{row[name]:.1f}" for name in ("AP", "AP50", "AR"))]
        if "sure" in row:
            cells += [str(row["sure"]), *(f"{row[n]:.0f} %" for n in ("near", "empty", "clear"))]
        else:
            cells += [""] * 4
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main():
    parser = common.parser(__doc__, "people")
    parser.add_argument("--data", required=True, metavar="FILE", help="COCO's layout, with boxes")
    parser.add_argument(
        "--detector", action="append", default=[], metavar="NAME=FILE,MB,LICENCE",
        help="another detector, see `predict --detect`; repeatable",
    )  # fmt: skip
    parser.add_argument("--model", action="append", metavar="NAME", help="networks of joints")
    parser.add_argument("--limit", type=int, help="so many photographs")
    parser.add_argument("--only", choices=("detectors", "joints"), help="the other part stays")
    args, load = parser.parse_args(), os.getloadavg()[0]
    scenes = read(args.data, args.limit)
    result = common.read(args.out)
    if args.only != "joints":
        detectors = own_detectors() | other_detectors(args.detector)
        result["detectors"] = measure_detectors(detectors, scenes)
    if args.only != "detectors":
        models = args.model or [f"hourglass_{size}_people" for size in ("tiny", "small", "2s")]
        measured = measure_joints(models, scenes, args.detector)
        result["joints"] = result.get("joints", {}) | measured
    tables = [detector_table(result["detectors"], scenes), joint_table(result["joints"])]
    text = "\n\n".join(tables)
    print(text)
    parts = {name: result[name] for name in ("detectors", "joints")}
    common.write(args.out, parts, load=load)
    page = pathlib.Path(__file__).with_name("README.md")
    changed = common.replace_between(page.read_text(encoding="utf-8"), MARK, f"\n{text}\n")
    page.write_text(changed, encoding="utf-8")


if __name__ == "__main__":
    main()
