"""`keras-hourglass train`."""

from keras_hourglass.cli.common import add_overrides, fit_verbosity


def add_arguments(parser):
    parser.add_argument("recipe", help="a YAML file, or the name of a recipe of the package")
    parser.add_argument("--data-root", help="folder that the recipe's data paths start from")
    parser.add_argument("--out", required=True, help="new folder for weights and logs")
    add_overrides(parser)
    parser.add_argument("--resume", action="store_true", help="go on from the last checkpoint")
    parser.add_argument(
        "--quiet", action="store_true", help="one line per epoch instead of a progress bar"
    )


def run(args):
    from keras_hourglass.training.recipe import load_recipe
    from keras_hourglass.training.run import train

    recipe = load_recipe(args.recipe, args.overrides)
    args.batch_size = recipe.training.batch_size  # for the advice where memory is short
    train(
        recipe,
        args.out,
        data_root=args.data_root,
        resume=args.resume,
        verbose=fit_verbosity(args.quiet),
    )
    print(f"best weights: {args.out}   latest: {args.out}/last   log: {args.out}/log.csv")
