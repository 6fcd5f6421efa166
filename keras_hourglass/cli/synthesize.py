"""`keras-hourglass synthesize`: draw figures with exact joints."""


def add_arguments(parser):
    """Add the options of the command."""
    parser.add_argument("--out", required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--num", required=True, type=int, metavar="N", help="how many figures")
    parser.add_argument("--seed", required=True, type=int, metavar="S", help="number of the series")
    parser.add_argument(
        "--size", type=int, default=192, metavar="PX", help="picture side in pixels (192)"
    )
    parser.add_argument("--overwrite", action="store_true", help="accept a folder with content")


def run(args):
    """Write the pictures, then `person_keypoints.json`, which says that all are there."""
    import functools

    from tqdm import tqdm

    from keras_hourglass.data.figures import write_dataset

    progress = functools.partial(tqdm, desc="figures", unit="figure", disable=None)
    path = write_dataset(args.out, args.num, args.seed, args.size, args.overwrite, progress)
    print(f"{args.num} figures in {path}; read them as synthetic:{args.out}")
