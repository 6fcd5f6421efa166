"""`keras-hourglass data check|show|convert|stats`."""

import functools

from keras_hourglass.cli.common import add_own_data, limited_records, report_failures
from keras_hourglass.errors import UserError, printable

_OCCLUDED = (250, 220, 60)  # RGB of the ring around an occluded joint
_SPEC = "data set, e.g. lsp:DIR#1-800, mpii:FILE, coco:FILE, synthetic:100@7"


def add_arguments(parser):
    """Add the options of the commands."""
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)

    check = actions.add_parser("check", help="look for mistakes in annotations")
    check.add_argument(
        "path",
        metavar="PATH",
        help=f"file or folder of COCO's, YOLO's, DeepLabCut's or SLEAP's labels, or {_SPEC}",
    )
    check.add_argument("--out", default="data_check", metavar="DIR", help="report (data_check)")
    check.add_argument("--people", type=int, default=48, metavar="N", help="on the sheet (48)")
    check.add_argument("--overwrite", action="store_true", help="accept a folder with content")

    show = actions.add_parser("show", help="draw augmented crops with joints and targets")
    show.add_argument("spec", nargs="+", metavar="SPEC", help=_SPEC)
    show.add_argument("--recipe", metavar="R", help="recipe whose sizes and augmentation to use")
    show.add_argument("--out", default="sheet.png", metavar="PNG", help="picture (sheet.png)")
    show.add_argument("--people", type=int, default=24, metavar="N", help="how many (24)")
    show.add_argument("--seed", type=int, default=1, metavar="S", help="of the augmentation (1)")
    show.add_argument("--overwrite", action="store_true", help="replace the picture")

    convert = actions.add_parser(
        "convert", help="write sharded TFRecords, COCO keypoints or YOLO-pose"
    )
    convert.add_argument("spec", nargs="+", metavar="SPEC", help=_SPEC)
    convert.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    convert.add_argument(
        "--format",
        choices=("tfrecords", "coco", "yolo"),
        default="tfrecords",
        help="crops in TFRecords (default), or whole pictures with COCO's or YOLO's annotations",
    )
    convert.add_argument(
        "--val", nargs="+", metavar="SPEC", help="held-out people, of COCO's or YOLO's form"
    )
    convert.add_argument("--size", type=int, default=256, metavar="PX", help="person's side (256)")
    convert.add_argument("--margin", type=float, default=2.0, help="crop in person boxes (2)")
    convert.add_argument("--quality", type=int, default=95, help="of the JPEGs (95)")
    convert.add_argument("--per-shard", type=int, default=1024, help="people per file (1024)")
    convert.add_argument("--overwrite", action="store_true", help="accept a folder with content")

    stats = actions.add_parser("stats", help="print scale, visibility and joint spread")
    stats.add_argument("spec", nargs="+", metavar="SPEC", help=_SPEC)
    stats.add_argument("--json", metavar="FILE", help="write the numbers there too")

    for action in (check, show, convert, stats):
        action.add_argument("--data-root", metavar="DIR", help="folder that paths start from")
        add_own_data(action)


def run(args):
    """Run one of the commands; the exit status is 1 where something is wrong with the data."""
    from tqdm import tqdm

    actions = {"check": _check, "show": _show, "convert": _convert, "stats": _stats}
    return actions[args.action](args, functools.partial(tqdm, disable=None, leave=False))


def _records(args, **options):
    return limited_records(
        args.spec, args.data_root, images=args.images, pairs=args.pairs, **options
    )


def _check(args, progress):
    import json

    from keras_hourglass.data.check import check_records
    from keras_hourglass.data.load import guess_spec
    from keras_hourglass.io.files import atomic_write, new_folder
    from keras_hourglass.io.images import write_image

    args.spec = [guess_spec(args.path, args.data_root)]
    kind, records = args.spec[0].partition(":")[0], _records(args)
    folder = new_folder(args.out, args.overwrite)
    findings = check_records(records, functools.partial(progress, desc="pictures"))
    print(f"{len(records)} people on {len(set(records.images))} pictures, "
          f"{records.skeleton.num_joints} joints ({kind})")  # fmt: skip
    print(printable(f"mirroring: {records.skeleton.explain_mirroring()}"))
    suspicious = []
    for name, found in findings.items():
        print(f"{name.replace('_', ' '):18} {len(found)}")
        for row, what in found[:3]:
            print(printable(f"    {records.ids[row]} in {records.images[row]}: {what}"))
        suspicious += [row for row, _ in found if name not in ("unreadable", "no_reference")]
    content = {
        name: [{"id": records.ids[row], "image": records.images[row], "what": what}
               for row, what in found]
        for name, found in findings.items()
    }  # fmt: skip
    report = {
        "people": len(records),
        "joints": list(records.skeleton.joints),
        "mirroring": records.skeleton.explain_mirroring(),
        "notes": list(records.notes),
        "remarks": list(records.remarks),
        "findings": content,
    }
    atomic_write(folder / "check.json", json.dumps(report, indent=1))
    order = list(dict.fromkeys([*suspicious, *range(len(records))]))
    write_image(folder / "sheet.png", _people_sheet(records, order[: max(1, args.people)]))
    print(f"all findings in {folder / 'check.json'}, pictures (suspicious ones first) in "
          f"{folder / 'sheet.png'}")  # fmt: skip
    wrong = findings["unreadable"] or findings["box_outside"] or records.notes
    return 1 if wrong else 0


def _show(args, progress):
    import os

    # Asked before anything slow is loaded.
    if os.path.exists(args.out) and not args.overwrite:
        raise UserError(f"{args.out} exists already. Name another file, or pass --overwrite.")
    from keras_hourglass.codec import HeatmapCodec
    from keras_hourglass.data.pipeline import PoseDataset
    from keras_hourglass.io.images import write_image

    codec, augmentation, skeleton = HeatmapCodec(), None, None
    if args.recipe:
        from keras_hourglass.training.recipe import load_recipe

        recipe = load_recipe(args.recipe)
        size = tuple(recipe.model.get("input_shape", (256, 256, 3)))[:2]
        codec = HeatmapCodec(size, sigma=recipe.data.sigma, missing=recipe.data.missing)
        augmentation, skeleton = recipe.augmentation.build(), recipe.model.get("skeleton")
    records = _records(args, skeleton=skeleton)
    dataset = PoseDataset(records, codec, augmentation=augmentation, seed=args.seed)
    people = dataset.order(0)[: max(1, args.people)]
    sheet = _crops_sheet(dataset, progress(people.tolist(), desc="people"))
    write_image(args.out, sheet)
    print(f"{len(people)} crops with joints and targets in {args.out}")
    return report_failures(dataset.failures, shown=None)


def _convert(args, progress):
    from keras_hourglass.data.load import open_image
    from keras_hourglass.data.tfrecords import write_tfrecords

    if args.format != "tfrecords":
        return _write_splits(args, functools.partial(progress, desc="pictures"))
    if args.val:
        raise UserError(
            "TFRecords are of one set of people. Received: --val. Convert it into another folder."
        )
    records = _records(args)
    written, failures = write_tfrecords(
        records, args.out, args.size, args.margin, args.quality, args.per_shard, args.overwrite,
        open_image, functools.partial(progress, desc="people"),
    )  # fmt: skip
    print(f"{written} people in {args.out}; read them as tfrecords:{args.out}")
    return report_failures(failures, shown=None)


def _write_splits(args, progress):
    from keras_hourglass.data.convert import write_coco, write_yolo

    splits = {"train" if args.val or args.format == "yolo" else "": _records(args)}
    if args.val:
        skeleton, args.spec = next(iter(splits.values())).skeleton, args.val
        splits["val"] = _records(args, skeleton=skeleton)
    write = {"coco": write_coco, "yolo": write_yolo}[args.format]
    written, failures = write(splits, args.out, args.overwrite, progress)
    read_as = "" if len(splits) == 1 else "@train and @val"
    print(f"{written} people in {args.out}; read them as {args.format}:{args.out}{read_as}")
    return report_failures(failures, shown=None)


def _stats(args, progress):
    import json

    from keras_hourglass.data.check import describe_records
    from keras_hourglass.io.files import atomic_write

    numbers = describe_records(_records(args, need_pictures=False))
    print(printable(f"{numbers['people']} people on {numbers['pictures']} pictures, "
                    f"skeleton {numbers['skeleton']}"), end="\n\n")  # fmt: skip
    print(f"{'source pixels':15}" + "".join(f"{at:>9}" for at in numbers["side"]))
    for name in ("side", "reference"):
        values = numbers[name] or {}
        print(f"{name:15}" + "".join(f"{value:9.1f}" for value in values.values()))
    print(f"\n{'joint':15}{'visible %':>11}{'occluded %':>12}{'unlabelled %':>14}"
          f"{'mean x, y':>16}{'spread x, y':>16}")  # fmt: skip
    for name, row in numbers["joints"].items():
        places = "".join(
            f"{'-':>16}" if row[key] is None else f"{row[key][0]:9.2f},{row[key][1]:6.2f}"
            for key in ("mean", "spread")
        )
        shares = f"{row['visible']:11.1f}{row['occluded']:12.1f}{row['unlabelled']:14.1f}"
        print(printable(f"{name:15}{shares}{places}"))
    if args.json:
        atomic_write(args.json, json.dumps(numbers, indent=1))
    return 0


def _people_sheet(records, rows, tile=192, columns=8):
    """Annotated people in their boxes: joints and limbs, occluded joints ringed in yellow.

    Args:
        records: `PoseRecords`.
        rows: which of them.
        tile: side of one picture in pixels of the sheet.
        columns: pictures in a row.

    Returns:
        `(height, width, 3)` uint8 RGB; a picture that cannot be read stays black.
    """
    import cv2
    import numpy as np

    from keras_hourglass.data.load import open_image
    from keras_hourglass.errors import DataError
    from keras_hourglass.geometry import apply_affine, crop_affine
    from keras_hourglass.io.images import warp

    tiles = []
    for row in rows:
        box = records.boxes[row] * (1, 1, 1.15)
        matrix = crop_affine(box, (tile, tile))
        try:
            crop = warp(open_image(records.images[row]), matrix, (tile, tile))
        except DataError:
            crop = np.zeros((tile, tile, 3), np.uint8)
        joints = apply_affine(matrix, records.joints[row])
        crop = _draw(crop, joints, records.visibility[row], records.skeleton)
        cv2.putText(crop, str(records.ids[row])[-24:], (3, tile - 5), cv2.FONT_HERSHEY_SIMPLEX,
                    0.33, (255, 255, 255), 1, cv2.LINE_AA)  # fmt: skip
        tiles.append(crop)
    return _grid(tiles, columns)


def _crops_sheet(dataset, people, epoch=0, columns=4):
    """Crops as the network gets them, each beside its targets.

    Args:
        dataset: a `PoseDataset`.
        people: numbers of people.
        epoch: picks the augmentation.
        columns: pairs in a row.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    import cv2
    import numpy as np

    codec, skeleton = dataset.codec, dataset.records.skeleton
    tiles = []
    for person in people:
        crop, joints, visibility, weights = dataset.sample(person, epoch)
        targets = codec.targets(joints[None], visibility[None], weights[None])
        maps = codec.draw(targets)[0].max(axis=-1)
        maps = cv2.resize(maps, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        shade = (crop * 0.35).astype(np.float32)
        glow = maps[..., None] * np.array([255.0, 220.0, 90.0], np.float32)
        heat = np.clip(shade * (1 - maps[..., None]) + glow, 0, 255).astype(np.uint8)
        seen = targets[0, :, 2] * visibility
        drawn = _draw(np.ascontiguousarray(crop), joints, seen, skeleton)
        tiles.append(np.concatenate([drawn, heat], axis=1))
    return _grid(tiles, columns)


def _draw(crop, joints, visibility, skeleton):
    import cv2

    from keras_hourglass.geometry import boxes_to_xywh
    from keras_hourglass.prediction.drawing import draw_poses
    from keras_hourglass.prediction.pose import Pose

    height, width = crop.shape[:2]
    box = boxes_to_xywh([width / 2 - 0.5, height / 2 - 0.5, max(width, height)])
    labelled = visibility > 0
    pose = Pose(joints, labelled.astype(float), box, skeleton, present=labelled)
    drawn = draw_poses(crop, [pose], width=max(1, width // 128))
    for x, y in joints[visibility == 1]:
        if abs(x) < 1e4 and abs(y) < 1e4:
            cv2.circle(drawn, (round(x), round(y)), 4, _OCCLUDED, 1, cv2.LINE_AA)
    return drawn


def _grid(tiles, columns):
    """Tiles of one size in rows."""
    import numpy as np

    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    sheet = np.zeros((-(-len(tiles) // columns) * height, columns * width, 3), np.uint8)
    for position, tile in enumerate(tiles):
        row, column = divmod(position, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet
