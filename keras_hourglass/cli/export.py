"""`keras-hourglass export`: a model for TensorFlow Serving and other runtimes."""

import argparse
import pathlib


def add_arguments(parser):
    """The options of `export`."""
    parser.add_argument(
        "--model", required=True, help="name of a preset, preset folder or training output"
    )
    parser.add_argument("--out", required=True, help="folder of all served models")
    parser.add_argument("--name", help="name on the server; by default that of the model")
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="average with the mirrored crop (default: yes)",
    )
    parser.add_argument(
        "--decoder",
        choices=("quarter", "max", "dark"),
        default="quarter",
        help="how a joint is read from its map (default: quarter)",
    )
    parser.add_argument(
        "--max-pixels",
        type=int,
        default=50_000_000,
        help="refuse larger pictures before decoding them (default: 50 million)",
    )


def run(args):
    """Export the model named by the arguments."""
    from keras_hourglass.errors import UserError
    from keras_hourglass.export import export_model
    from keras_hourglass.presets import load_model

    if args.max_pixels <= 0:
        raise UserError(
            f"`--max-pixels` must be positive. Received: {args.max_pixels}. Leave it out."
        )
    name = args.name or pathlib.Path(args.model).resolve().stem
    folder = export_model(
        load_model(args.model),
        args.out,
        name=name,
        flip=args.flip,
        decoder=args.decoder,
        max_pixels=args.max_pixels,
        preset=pathlib.Path(args.model).name,
    )
    print(f"{folder}: exported, and its joints agree with the Keras model's")
