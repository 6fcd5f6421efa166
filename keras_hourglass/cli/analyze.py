"""`keras-hourglass analyze`: the analyses of the paper, a subcommand each."""

_COMMANDS = {
    "stacks": "Table 1: first against last stack, and who improved most",
    "curves": "Figures 6 and 7: PCK over thresholds, several models in one figure",
    "presence": "Figure 11: is a joint annotated at all? precision, recall, best threshold",
    "sensitivity": "Figure 10: predictions as the person box shifts and scales",
    "calibration": "do the scores say how often a joint is right?",
    "confusion": "left for right, joint for joint, person for person",
}


def add_arguments(parser):
    commands = parser.add_subparsers(dest="analysis", metavar="ANALYSIS", required=True)
    for name, text in _COMMANDS.items():
        one = commands.add_parser(name, help=text, description=text + ".")
        several = "+" if name == "curves" else None
        if name != "sensitivity":
            one.add_argument(
                "--evaluation",
                nargs=several,
                metavar="NAME=DIR" if several else "DIR",
                help="folder that evaluate or score wrote, instead of a model",
            )
        one.add_argument("--model", nargs=several, help="preset name, folder or .keras file")
        one.add_argument("--data", metavar="KIND:DIR[#FIRST-LAST]", help="e.g. lsp:DIR#801-1000")
        one.add_argument("--data-root", help="folder that a relative data path starts from")
        one.add_argument("--out", required=True, help="new folder for table and figure")
        one.add_argument("--threshold", type=float, help="in reference lengths")
        one.add_argument("--mean-over", choices=("counted", "joints", "groups"), default="counted")
        one.add_argument("--limit", type=int, help="use the first so many people")
        one.add_argument("--batch-size", type=int, default=16)
        one.add_argument("--overwrite", action="store_true", help="allow a folder with content")
        if name == "presence":
            one.add_argument(
                "--cut",
                type=int,
                default=0,
                metavar="TIMES",
                help="judge by crops that show people whole and, so often each, cut off",
            )
            one.add_argument(
                "--save", metavar="PRESET", help="write the thresholds into this preset folder"
            )
        if name == "stacks":
            one.add_argument("--people", type=int, default=4, help="shown of each kind")


def run(args):
    from keras_hourglass.cli import analyses
    from keras_hourglass.errors import UserError
    from keras_hourglass.io.files import new_folder

    evaluation = getattr(args, "evaluation", None)
    if bool(evaluation) == bool(args.model and args.data):
        either = (
            "--model and --data"
            if args.analysis == "sensitivity"
            else ("either --evaluation, or --model and --data")
        )
        raise UserError(
            f"This analysis needs {either}. Received: evaluation={evaluation}, "
            f"model={args.model}, data={args.data}."
        )
    out = new_folder(args.out, args.overwrite)
    getattr(analyses, args.analysis)(args, out)
    print(f"\nwritten: {out}/{args.analysis}.json, .md and figures")
