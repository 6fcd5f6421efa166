"""`keras-hourglass evaluate`."""

from keras_hourglass.cli.common import (
    add_decoder,
    add_flip,
    add_mean_over,
    add_own_data,
    command_line,
    limited_records,
    print_result,
    progress_bar,
    report_failures,
)
from keras_hourglass.errors import UserError, listed, note


def add_arguments(parser):
    parser.add_argument(
        "--model",
        required=True,
        help="preset name, folder or .keras file; on photographs with boxes any detector",
    )
    parser.add_argument(
        "--data",
        required=True,
        metavar="KIND:PATH[#FIRST-LAST]",
        help="e.g. lsp:DIR#801-1000, of one's own the path alone as for train; boxes:FILE.json "
        "measures how well people are found",
    )
    parser.add_argument("--data-root", help="folder that a relative data path starts from")
    parser.add_argument("--out", required=True, help="new folder for metrics, predictions, report")
    parser.add_argument(
        "--threshold",
        type=float,
        help="largest correct distance in reference lengths (default 0.2; 0.5 by the head)",
    )
    add_own_data(parser)
    add_flip(parser)
    add_decoder(parser)
    parser.add_argument("--stack", type=int, help="number of the stack to show (default: last)")
    parser.add_argument(
        "--scales",
        type=float,
        nargs="+",
        default=[1.0],
        metavar="FACTOR",
        help="sizes of the person box to average over",
    )
    add_mean_over(parser)
    parser.add_argument(
        "--joints",
        nargs="+",
        metavar="NAME",
        help="measure only these joints or groups of joints, e.g. wrist ankle",
    )
    parser.add_argument(
        "--sweep", action="store_true", help="also tabulate mirror, decoder, scales and stack"
    )
    parser.add_argument("--limit", type=int, help="use the first so many people")
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--workers", type=int, default=2, help="threads that crop pictures")
    parser.add_argument(
        "--gallery", type=int, default=6, help="people shown of each kind in the report"
    )
    parser.add_argument("--overwrite", action="store_true", help="allow a folder with content")


def run(args):
    from keras_hourglass.data.load import is_scenes
    from keras_hourglass.io.files import new_folder

    if is_scenes(args.data):
        return _run_detector(args)
    if args.gallery < 0 or (args.threshold is not None and not args.threshold > 0):
        raise UserError(
            "The threshold must be positive and the gallery not negative. Received: "
            f"--threshold {args.threshold} --gallery {args.gallery}."
        )
    records = limited_records(
        args.data, args.data_root, args.limit, images=args.images, pairs=args.pairs
    )
    out = new_folder(args.out, args.overwrite)

    from keras_hourglass.evaluation import evaluate, sweep
    from keras_hourglass.inference.engines import make_engine
    from keras_hourglass.network.config import stack_names
    from keras_hourglass.report import write_report
    from keras_hourglass.zoo.store import load_model

    model = load_model(args.model)
    if model.skeleton and (
        unknown := [name for name in records.skeleton.joints if name not in model.skeleton.joints]
    ):
        note(f"not measured, joints that {args.model} does not have: {listed(unknown, 6)}")
    engine = make_engine("fastest", model, stack_names(model.output), spinning=False)
    options = {"batch_size": args.batch_size, "workers": args.workers}
    with progress_bar(len(records), "people") as bar:
        evaluation = evaluate(
            model,
            records,
            args.threshold,
            args.mean_over,
            args.stack,
            args.joints,
            flip=args.flip,
            decoder=args.decoder,
            scales=args.scales,
            progress=bar.update,
            engine=engine,
            **options,
        )
    rows = None
    if args.sweep:
        rows = sweep(
            model,
            evaluation.predictions.records,
            evaluation.pck.threshold,
            args.mean_over,
            **options,
        )
    facts = {"model": args.model, "data": args.data, "command": command_line()}
    write_report(
        evaluation,
        out,
        model=model,
        facts=facts,
        sweep=rows,
        gallery=args.gallery,
        engine=engine,
    )
    print_result(evaluation, rows)
    print(
        f"\nwritten: {out}/metrics.json, predictions.json, predictions.npz, report.md, report.html"
    )
    return report_failures(evaluation.predictions.failures)


def _run_detector(args):
    """Recall, precision and AP50 of a detector on photographs with boxes."""
    import json

    from keras_hourglass.data.load import load_scenes
    from keras_hourglass.evaluation import evaluate_detector
    from keras_hourglass.io.files import atomic_write, new_folder
    from keras_hourglass.prediction.detection import make_detector

    if args.limit is not None and args.limit < 1:
        raise UserError(f"The limit must be at least 1. Received: {args.limit}.")
    records = load_scenes(args.data, args.data_root)
    for line in records.notes:
        note(line)
    records = records if args.limit is None else records.select(slice(args.limit))
    # Down to scores that nobody would use, so that the whole curve is there.
    detect = make_detector(args.model, least_score=0.02)
    out = new_folder(args.out, args.overwrite)
    with progress_bar(len(records), "photographs") as bar:
        finding = evaluate_detector(detect, records, progress=bar.update)
    figures = {"model": args.model, "data": args.data, **finding.to_dict()}
    atomic_write(out / "metrics.json", json.dumps(figures, indent=1) + "\n")
    atomic_write(out / "detections.json", json.dumps(finding.to_coco()) + "\n")
    score = "none" if figures["score"] is None else f"{figures['score']:.3f}"
    print(
        f"AP50 {100 * figures['ap50']:.1f} of {figures['people']} people; "
        f"{100 * figures['recall']:.1f} % of {figures['clear_people']} clear people at the least "
        f"score ({score}) at which 70 % of the boxes are people; "
        f"{figures['milliseconds']:.0f} ms a photograph"
    )
    print(f"\nwritten: {out}/metrics.json, detections.json")
    return report_failures(finding.failures)
