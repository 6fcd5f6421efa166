"""`keras-hourglass demo`."""

from keras_hourglass.cli.common import add_overrides, fit_verbosity


def add_arguments(parser):
    parser.add_argument("--out", default="demo_out", help="folder for everything that is made")
    parser.add_argument("--figures", type=int, default=200, help="unseen figures to measure on")
    add_overrides(parser)
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the parts of an earlier demo"
    )


def run(args):
    from keras_hourglass.cli.demo_steps import demo

    demo(args.out, args.overwrite, args.overrides, args.figures, verbose=fit_verbosity())
