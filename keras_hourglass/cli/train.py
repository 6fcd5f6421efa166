"""`keras-hourglass train`."""

import json

from keras_hourglass.cli.common import add_overrides, add_own_data, fit_verbosity

# The recipe for data of one's own.
_FOR_OWN = "custom_finetune"


def add_arguments(parser):
    parser.add_argument(
        "recipe",
        nargs="?",
        help="a YAML file, or the name of a recipe of the package (default with --data: "
        f"{_FOR_OWN}; see `keras-hourglass recipes`)",
    )
    parser.add_argument(
        "--data",
        metavar="FILE",
        help="annotations to train on: a .json of COCO's form, YOLO's data.yaml, a project of "
        "DeepLabCut, a .slp of SLEAP, or KIND:PATH as in recipes",
    )
    parser.add_argument(
        "--validation",
        metavar="FILE",
        help="the same, to validate with (default: as the recipe says)",
    )
    add_own_data(parser)
    parser.add_argument("--data-root", help="folder that the recipe's data paths start from")
    parser.add_argument("--out", required=True, help="new folder for weights and logs")
    add_overrides(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--quiet", action="store_true", help="one line per epoch instead of a progress bar"
    )


def run(args):
    from keras_hourglass.training.recipe import load_recipe

    recipe = load_recipe(_recipe(args), [*_own(args), *args.overrides])
    from keras_hourglass.training.run import train  # seconds, which a wrong recipe need not wait

    size = recipe.training.batch_size
    args.batch_size = None if size == "auto" else size  # for the advice where memory is short
    train(
        recipe,
        args.out,
        data_root=args.data_root,
        resume=args.resume,
        verbose=fit_verbosity(args.quiet),
    )
    print(f"best weights: {args.out}   latest: {args.out}/last   log: {args.out}/log.csv")


def _recipe(args):
    from keras_hourglass.errors import UserError

    if args.recipe is None and args.data is None:
        raise UserError(
            "train needs a recipe or data of your own. Received: neither. Write `keras-hourglass "
            "train RECIPE --out DIR` or `keras-hourglass train --data FILE --out DIR`; "
            "`keras-hourglass recipes` lists the recipes."
        )
    return args.recipe or _FOR_OWN


def _own(args):
    """What the options about data of one's own set in the recipe."""
    from keras_hourglass.data.load import guess_spec

    given = {"train": args.data, "validation": args.validation}
    given = {
        key: guess_spec(path, args.data_root) for key, path in given.items() if path is not None
    }
    said = {"images": args.images, "pairs": args.pairs}
    given |= {key: value for key, value in said.items() if value is not None}
    # As YAML text, whatever the path looks like.
    return [f"data.{key}={json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
