"""`keras-hourglass score`."""


def add_arguments(parser):
    parser.add_argument(
        "--annotations", required=True, metavar="KIND:PATH", help="e.g. mpii:valid.h5"
    )
    parser.add_argument("--data-root", help="folder that a relative annotation path starts from")
    parser.add_argument(
        "--predictions",
        required=True,
        metavar="FILE",
        help="people×joints×2 in pixels of the annotations, in their order: an array 'preds' in "
        ".h5, .mat or .npy, or predictions.json of evaluate",
    )
    parser.add_argument("--out", required=True, help="new folder for metrics and report")
    parser.add_argument(
        "--threshold",
        type=float,
        help="largest correct distance in reference lengths (default 0.2; 0.5 by the head)",
    )
    parser.add_argument("--mean-over", choices=("counted", "joints", "groups"), default="counted")
    parser.add_argument("--gallery", type=int, default=0, help="people shown of each kind")
    parser.add_argument("--overwrite", action="store_true", help="allow a folder with content")


def run(args):
    from keras_hourglass.cli.common import command_line, limited_records, print_result
    from keras_hourglass.evaluation import Predictions, evaluate_predictions, read_keypoints
    from keras_hourglass.files import new_folder
    from keras_hourglass.report import write_report

    records = limited_records(args.annotations, args.data_root)
    keypoints, scores = read_keypoints(args.predictions, records)
    predictions = Predictions(
        records, ("predictions",), keypoints[None], scores[None], scores[None] * float("nan")
    )
    evaluation = evaluate_predictions(predictions, args.threshold, args.mean_over)
    out = new_folder(args.out, args.overwrite)
    facts = {
        "model": args.predictions,
        "data": args.annotations,
        "command": command_line(),
    }
    write_report(evaluation, out, facts=facts, gallery=args.gallery)
    print_result(evaluation)
    print(
        f"\nwritten: {out}/metrics.json, predictions.json, predictions.npz, report.md, report.html"
    )
