"""`keras-hourglass score`."""

import json
import os

from keras_hourglass.cli.common import (
    add_mean_over,
    command_line,
    limited_records,
    print_result,
)
from keras_hourglass.errors import UserError


def add_arguments(parser):
    parser.add_argument(
        "--annotations", required=True, metavar="KIND:PATH", help="e.g. mpii:valid.h5"
    )
    parser.add_argument("--data-root", help="folder that a relative annotation path starts from")
    parser.add_argument(
        "--predictions",
        required=True,
        metavar="FILE",
        help="people×joints×2 in pixels of the annotation file, in its order: an array 'preds' in "
        ".h5, .mat or .npy; predictions.json of evaluate; or a COCO results .json for its AP",
    )
    parser.add_argument("--out", required=True, help="new folder for metrics and report")
    parser.add_argument(
        "--threshold",
        type=float,
        help="largest correct distance in reference lengths (default 0.2; 0.5 by the head)",
    )
    add_mean_over(parser)
    parser.add_argument(
        "--first-pixel",
        type=int,
        choices=(0, 1),
        help="coordinate of the first pixel's centre in an array (default: as in the annotation "
        "file, which is 1 for lsp, lspet, mpii and flic)",
    )
    parser.add_argument("--gallery", type=int, default=0, help="people shown of each kind")
    parser.add_argument("--overwrite", action="store_true", help="allow a folder with content")


def run(args):
    from keras_hourglass.data.load import first_pixel
    from keras_hourglass.evaluation import Predictions, evaluate_predictions, read_keypoints
    from keras_hourglass.io.files import new_folder
    from keras_hourglass.report import write_report

    kind = args.annotations.partition(":")[0]
    results = _coco_results(args.predictions) if kind == "coco" else None
    if results is not None:
        return _score_coco(args, results)
    records = limited_records(args.annotations, args.data_root, need_pictures=False)
    first = first_pixel(args.annotations) if args.first_pixel is None else args.first_pixel
    keypoints, scores = read_keypoints(args.predictions, records, first)
    predictions = Predictions(
        records, ("predictions",), keypoints[None], scores[None], scores[None] * float("nan")
    )
    evaluation = evaluate_predictions(predictions, args.threshold, args.mean_over)
    out = new_folder(args.out, args.overwrite)
    facts = {"model": args.predictions, "data": args.annotations, "command": command_line()}
    write_report(evaluation, out, facts=facts, gallery=args.gallery)
    print_result(evaluation)
    print(
        f"\nwritten: {out}/metrics.json, predictions.json, predictions.npz, report.md, report.html"
    )


def _coco_results(path):
    """The list of a COCO results file, or `None` for any other file."""
    from keras_hourglass.io.structured import read_json

    if not path.lower().endswith(".json"):
        return None
    content = read_json(path)
    return content if isinstance(content, list) else None


def _score_coco(args, results):
    from keras_hourglass.io.files import atomic_write, new_folder
    from keras_hourglass.io.structured import existing
    from keras_hourglass.metrics import average_precision
    from keras_hourglass.report import tables

    path = os.path.join(args.data_root or "", args.annotations.partition(":")[2])
    if os.path.isdir(path) or "#" in path:
        raise UserError(
            "COCO's average precision is of a whole annotation file. "
            f"Received: {args.annotations}. Name the JSON file."
        )
    values = average_precision(existing(path), results)
    out = new_folder(args.out, args.overwrite)
    numbers = {name: None if value != value else round(value, 3) for name, value in values.items()}
    content = {"metric": "AP", "keypoints": numbers, "command": command_line()}
    atomic_write(out / "metrics.json", json.dumps(content, indent=1) + "\n")
    rows = [["COCO keypoints", "percent"], *([name, tables.cell(v)] for name, v in values.items())]
    print(tables.as_text(rows))
    print(f"\nwritten: {out}/metrics.json")
