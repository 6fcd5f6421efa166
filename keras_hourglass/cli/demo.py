"""`keras-hourglass demo`."""


def add_arguments(parser):
    parser.add_argument("--out", default="demo_out", help="folder for everything that is made")
    parser.add_argument("--figures", type=int, default=200, help="unseen figures to measure on")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="SECTION.KEY=VALUE",
        dest="overrides",
        help="change one value of the recipe (repeatable)",
    )
    parser.add_argument(
        "--overwrite", action="store_true", help="replace the parts of an earlier demo"
    )


def run(args):
    from keras_hourglass.demo import demo

    demo(args.out, args.overwrite, args.overrides, args.figures)
