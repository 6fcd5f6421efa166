"""`keras-hourglass export`: a model for TensorFlow Serving and other runtimes."""

import argparse
import pathlib

from keras_hourglass.cli.common import add_decoder
from keras_hourglass.errors import UserError
from keras_hourglass.export import FORMATS, JOINT_FORMATS


def add_arguments(parser):
    """The options of `export`."""
    parser.add_argument(
        "--model", required=True, help="name of a preset, preset folder or training output"
    )
    parser.add_argument(
        "--out", required=True, help="folder of all served models, or of the file to write"
    )
    parser.add_argument("--name", help="name on the server or of the file; by default the model's")
    parser.add_argument(
        "--format",
        choices=("savedmodel", *JOINT_FORMATS, *FORMATS),
        help="savedmodel (default) takes pictures as files and returns joints, for TensorFlow "
        "Serving; onnx-joints takes a picture's pixels with boxes and onnx-crops and litert-crops "
        "take crops, and return joints; the others take crops and return heatmaps",
    )
    parser.add_argument(
        "--people",
        action="store_true",
        help="everybody: a SavedModel that takes whole photographs and an ONNX file that takes "
        "decoded ones, with detector, crops and decoding inside (--format: one of the two)",
    )
    parser.add_argument(
        "--flip",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="where joints are returned: average with the mirrored crop (default: yes)",
    )
    add_decoder(parser, "where joints are returned: ")
    parser.add_argument(
        "--max-pixels",
        type=int,
        help="savedmodel: refuse larger pictures before decoding them (default: 50 million)",
    )
    parser.add_argument(
        "--calibration",
        metavar="DIR",
        help="litert-int8: folder of typical pictures of one person each, from which the 8-bit "
        "ranges are taken (up to 100 are used)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a file (a SavedModel gets a new number)"
    )


def run(args):
    """Export the model named by the arguments."""
    from keras_hourglass.zoo.store import load_model

    if args.max_pixels is not None and args.max_pixels <= 0:
        raise UserError(
            f"`--max-pixels` must be positive. Received: {args.max_pixels}. Leave it out."
        )
    if (args.calibration is not None) != (args.format == "litert-int8"):
        raise UserError(
            "`--calibration` goes with `--format litert-int8` and is needed there. Received: "
            f"--format {args.format}, --calibration {args.calibration}. Give both or neither."
        )
    if args.people and args.format not in (None, "savedmodel", "onnx"):
        raise UserError(
            f"`--people` writes a SavedModel and an ONNX file. Received: --format {args.format}. "
            "Leave it out, or name one of these."
        )
    name = args.name or pathlib.Path(args.model).resolve().stem
    model = load_model(args.model)
    if args.people:
        _people(model, name, args)
    elif args.format in (None, "savedmodel"):
        _saved_model(model, name, args)
    elif args.format in JOINT_FORMATS:
        _joints(model, name, args)
    else:
        _file(model, name, args)


def _saved_model(model, name, args):
    from keras_hourglass.export import export_model

    folder = export_model(
        model,
        args.out,
        name=name,
        flip=args.flip,
        decoder=args.decoder,
        max_pixels=args.max_pixels,
        preset=pathlib.Path(args.model).name,
    )
    print(f"{folder}: exported, and its joints agree with the Keras model's")
    print(f"{folder / 'assets.extra' / 'signature.md'}: how to call it")
    print(f"{pathlib.Path(args.out) / 'compose.yaml'}: how to serve it")


def _joints(model, name, args):
    from keras_hourglass.export import export_joints

    path, distance = export_joints(
        model,
        args.out,
        args.format,
        name=name,
        flip=args.flip,
        decoder=args.decoder,
        overwrite=args.overwrite,
        preset=pathlib.Path(args.model).name,
    )
    print(f"{path}: exported; joints differ from the Keras model's by {distance:.2g} input pixels")
    print(f"{path}.md: how to run it")


def _people(model, name, args):
    from keras_hourglass.export import export_people
    from keras_hourglass.export.people import PEOPLE_FORMATS

    written = export_people(
        model,
        args.out,
        name=name,
        formats=PEOPLE_FORMATS if args.format is None else (args.format,),
        flip=args.flip,
        decoder=args.decoder,
        max_pixels=args.max_pixels,
        overwrite=args.overwrite,
    )
    for path in written:
        takes = "a decoded picture" if path.suffix == ".onnx" else "photographs' bytes"
        print(f"{path}: exported; from {takes} to everybody, as predict finds them")


def _file(model, name, args):
    from keras_hourglass.export import export_format

    crops = None if args.calibration is None else _crops(args.calibration, model.input_size)
    path, difference = export_format(
        model, args.out, args.format, name=name, calibration=crops, overwrite=args.overwrite
    )
    print(f"{path}: exported; heatmaps differ from the Keras model's by {difference:.2g} of their")
    print("highest value")


def _crops(folder, size, limit=100):
    """Crops of the pictures of a folder, evenly chosen."""
    import numpy as np
    from tqdm import tqdm

    from keras_hourglass.geometry import boxes_from_xywh, crop_affine
    from keras_hourglass.io.images import read_image, warp

    suffixes = (".jpg", ".jpeg", ".png")
    files = sorted(
        path for path in pathlib.Path(folder).rglob("*") if path.suffix.lower() in suffixes
    )
    if not files:
        raise UserError(
            f"Pictures (.jpg, .png) are needed for calibration. Received: {folder}, which holds "
            "none. Name another folder."
        )
    crops = []
    for path in tqdm(
        files[:: -(-len(files) // limit)], desc="calibration", unit="picture", disable=None
    ):
        image = read_image(path)
        box = boxes_from_xywh((0, 0, image.shape[1], image.shape[0]))
        crops.append(warp(image, crop_affine(box, size), size))
    return np.stack(crops)
