"""`keras-hourglass submit`."""

import json
import pathlib

from keras_hourglass.cli.common import add_decoder, add_flip, progress_bar, report_failures
from keras_hourglass.errors import UserError


def add_arguments(parser):
    parser.add_argument(
        "--format",
        choices=("mpii", "coco"),
        required=True,
        help="mpii: the test set's .mat; coco: a results .json",
    )
    parser.add_argument(
        "--annotations",
        required=True,
        metavar="FILE",
        help="mpii: mpii_human_pose_v1_u12_1.mat; coco: the JSON with the pictures and people",
    )
    parser.add_argument("--images", help="folder of the pictures (default: found beside the file)")
    parser.add_argument("--model", help="preset name, folder or .keras file")
    parser.add_argument(
        "--predictions", metavar="FILE", help="joints of another program instead of a model"
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the file to write")
    add_flip(parser)
    add_decoder(parser)
    parser.add_argument("--limit", type=int, help="use the first so many people")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--overwrite", action="store_true", help="replace an existing file")


def run(args):
    from keras_hourglass.evaluation.exchange import coco_results, write_mpii
    from keras_hourglass.io.files import atomic_write

    out = pathlib.Path(args.out)
    suffix = {"mpii": ".mat", "coco": ".json"}[args.format]
    if out.suffix.lower() != suffix or out.is_dir():
        raise UserError(f"The file to write must end in {suffix}. Received: --out {out}.")
    if out.exists() and not args.overwrite:
        raise UserError(f"{out} exists already. Name another file, or allow it with --overwrite.")
    if (args.model is None) == (args.predictions is None):
        raise UserError(
            f"Name either a model or a file of predictions. Received: --model {args.model} "
            f"--predictions {args.predictions}."
        )
    predictions = _predictions(args)
    people = len(predictions)
    if args.format == "mpii":
        write_mpii(out, args.annotations, predictions.keypoints[-1], predictions.records)
    else:
        rows = coco_results(predictions)
        people = len(rows)
        atomic_write(out, json.dumps(rows, allow_nan=False) + "\n")
    print(f"written: {out} with {people} people")
    return report_failures(predictions.failures)


def _predictions(args):
    """Predictions of the model or of the file for the people the benchmark asks for."""
    from keras_hourglass.data.coco import read_coco
    from keras_hourglass.evaluation import Predictions, predict_records, read_keypoints
    from keras_hourglass.evaluation.exchange import mpii_test_records

    if args.limit is not None and args.limit < 1:
        raise UserError(f"The limit must be at least 1. Received: {args.limit}.")
    reader = mpii_test_records if args.format == "mpii" else read_coco
    records = reader(args.annotations, images=args.images)
    records = records if args.limit is None else records.select(slice(args.limit))
    if args.predictions:
        first = int(args.format == "mpii")  # MATLAB's pixels count from 1
        keypoints, scores = read_keypoints(args.predictions, records, first)
        return Predictions(
            records, ("predictions",), keypoints[None], scores[None], scores[None] * float("nan")
        )
    from keras_hourglass.io.structured import shorten
    from keras_hourglass.zoo.store import load_model

    model = load_model(args.model)
    wanted = records.skeleton
    if model.skeleton is not None and not set(wanted.joints) <= set(model.skeleton.joints):
        raise UserError(
            f"The benchmark wants the joints {shorten(', '.join(wanted.joints), 200)}. "
            f"Received: a model of {shorten(', '.join(model.skeleton.joints), 200)}."
        )
    with progress_bar(len(records), "people") as bar:
        found = predict_records(
            model,
            records,
            flip=args.flip,
            decoder=args.decoder,
            batch_size=args.batch_size,
            progress=bar.update,
        )
    # A model may know more joints, in another order.
    return found if found.records.skeleton.joints == wanted.joints else found.of_joints(wanted)
