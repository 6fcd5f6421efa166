"""`keras-hourglass predict`: joints of people in pictures, folders and videos."""

import argparse

from keras_hourglass.cli.common import add_decoder, add_flip

SAVE = ("images", "json", "csv", "video")


def add_arguments(parser):
    """The options of the command."""
    parser.add_argument(
        "sources", nargs="+", metavar="SOURCE",
        help="picture, folder, glob, https address, video, or camera:0",
    )  # fmt: skip
    parser.add_argument("--model", required=True, help="name or path of a model")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for the results")
    people = parser.add_argument_group("people (by default the whole picture frames one person)")
    people.add_argument(
        "--box", type=_box, action="append", metavar="X,Y,W,H",
        help="a person's box in source pixels, in every picture; repeat it for more people",
    )  # fmt: skip
    people.add_argument(
        "--boxes", metavar="FILE",
        help='boxes of each picture: {"photo.jpg": [[x,y,w,h], ...]}, COCO annotations or '
        "detections",
    )  # fmt: skip
    people.add_argument(
        "--detect", nargs="?", const="auto", choices=("auto", "search", "hog"),
        help="find people first: by the network itself (search) or OpenCV 4's detector (hog)",
    )  # fmt: skip
    people.add_argument(
        "--padding", type=float, default=1.0,
        help="factor by which given or found boxes grow (default: 1)",
    )  # fmt: skip
    results = parser.add_argument_group("results")
    results.add_argument(
        "--save", type=_save, metavar="KINDS",
        help=f"some of {','.join(SAVE)} (default: images,json; for videos video,json)",
    )  # fmt: skip
    results.add_argument("--heatmaps", action="store_true", help="also sheets of heatmaps")
    results.add_argument("--show", action="store_true", help="show the results in a window")
    results.add_argument("--overwrite", action="store_true", help="replace files in --out")
    network = parser.add_argument_group("network")
    network.add_argument("--stack", type=int, help="which stack's heatmaps (default: the last)")
    add_flip(network)
    add_decoder(network)
    network.add_argument(
        "--threshold", type=float, help="least score of a present joint (default: the model's)"
    )
    network.add_argument("--batch-size", type=int, default=8, help="people at once (default: 8)")
    network.add_argument("--engine", default="auto", help="what runs the network (default: auto)")
    network.add_argument(
        "--smooth", action="store_true", help="smooth the joints of videos over time (One-Euro)"
    )


def _box(text):
    try:
        values = [float(value) for value in text.split(",")]
    except ValueError:
        values = []
    if len(values) != 4:
        raise argparse.ArgumentTypeError(f"a box is x,y,w,h, e.g. --box=10,20,200,400, not {text}")
    return values


def _save(text):
    kinds = [kind.strip() for kind in text.split(",") if kind.strip()]
    unknown = [kind for kind in kinds if kind not in SAVE]
    if unknown or not kinds:
        raise argparse.ArgumentTypeError(f"choose some of {','.join(SAVE)}, not {text!r}")
    return kinds


def run(args):
    """Predict every source and write the results; returns the exit status."""
    from keras_hourglass.cli.predicting import Job

    # Mistakes show here, before TensorFlow is loaded, which takes seconds.
    job = Job(args)
    try:
        return job.run(_predictor(args))
    finally:
        job.tidy()


def _predictor(args):
    from keras_hourglass.prediction.predictor import Predictor

    return Predictor(
        args.model,
        flip=args.flip,
        decoder=args.decoder,
        batch_size=args.batch_size,
        stack=args.stack,
        engine=args.engine,
        thresholds=args.threshold,
        detector=args.detect,
        padding=args.padding,
        heatmaps=args.heatmaps,
    )
