"""`keras-hourglass convert`: a published PyTorch checkpoint becomes a preset folder."""

import shlex

from keras_hourglass.errors import UserError


def add_arguments(parser):
    """Checkpoint, layout and where to."""
    parser.add_argument("checkpoint", help=".pth, .pth.tar, .pt, .safetensors or .npz file")
    parser.add_argument(
        "--layout",
        choices=("auto", "bearpaw", "princeton"),
        default="auto",
        help="whose network it is: pytorch-pose (bearpaw) or pytorch_stacked_hourglass "
        "(princeton); by default found out from the names of the arrays",
    )
    parser.add_argument("--stacks", default="auto", help="stacks it must have (default: counted)")
    parser.add_argument("--skeleton", help="joints (default: mpii where there are 16)")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="preset folder to write")
    parser.add_argument(
        "--dtype", choices=("float32", "float16"), default="float32", help="of the stored weights"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace a preset in FOLDER")


def run(args):
    """Read, translate, write, and read back what was written."""
    if args.stacks != "auto" and not (args.stacks.isdigit() and int(args.stacks) > 0):
        raise UserError(
            f"--stacks is auto or a number of stacks. Received: {args.stacks}. Leave it out."
        )
    from keras_hourglass.geometry import PADDING
    from keras_hourglass.io.files import new_folder
    from keras_hourglass.network.model import StackedHourglass
    from keras_hourglass.zoo.porting import detect_layout, read_checkpoint, translate, unwrap
    from keras_hourglass.zoo.store import load_model
    from keras_hourglass.zoo.weights import assign_arrays

    arrays = unwrap(read_checkpoint(args.checkpoint))
    layout = detect_layout(arrays) if args.layout == "auto" else args.layout
    stacks = None if args.stacks == "auto" else int(args.stacks)
    config, arrays, dropped = translate(arrays, layout, stacks, args.skeleton)
    model = StackedHourglass.from_config(config)
    assign_arrays(model, arrays, args.checkpoint)
    card = {
        "name": f"Converted {layout} network",
        "description": f"{config['num_stacks']} stacks, converted from a {layout} checkpoint.",
        "command": f"keras-hourglass convert --layout {layout}",
        "licence": "as the checkpoint's",
    }
    # How both projects cut out people and drew their targets.
    preprocessing = {"padding": PADDING, "sigma": 1.0}
    folder = new_folder(args.out, overwrite=args.overwrite)  # not before: failures leave nothing
    model.save_to_preset(
        folder, preprocessing, card=card, dtype=args.dtype, overwrite=args.overwrite
    )
    load_model(folder)
    counters = sum(name.endswith("num_batches_tracked") for name in dropped)
    unused = [name for name in dropped if not name.endswith("num_batches_tracked")]
    print(
        f"{len(arrays)} arrays of {config['num_stacks']} stacks written to {folder}; "
        f"dropped as without effect: {counters} step counters, "
        f"{len(unused)} arrays of skip convolutions that are never called{_such_as(unused)}"
    )
    print(
        f"Next: keras-hourglass predict --model {shlex.quote(str(folder))} "
        f"--padding {preprocessing['padding']} --box=X,Y,W,H PHOTO.jpg --out poses"
    )


def _such_as(names):
    return f" ({names[0]} and the like)" if names else ""
