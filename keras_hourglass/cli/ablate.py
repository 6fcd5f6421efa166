"""`keras-hourglass ablate`."""

from keras_hourglass.cli.common import add_overrides

FIGURE_8 = (
    "figure8_hg",
    "figure8_hg_int",
    "figure8_hg_stacked",
    "figure8_hg_stacked_add",
    "figure8_hg_stacked_int",
)


def add_arguments(parser):
    parser.add_argument(
        "recipes", nargs="*", default=list(FIGURE_8), help="recipes, by default those of Figure 8"
    )
    parser.add_argument("--data-root", help="folder that the recipes' data paths start from")
    parser.add_argument("--out", required=True, help="folder for the runs and the figure")
    add_overrides(parser, "every recipe")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1], help="seeds of each recipe")
    parser.add_argument(
        "--resume", action="store_true", help="go on where the last call with this folder stopped"
    )


def run(args):
    from keras_hourglass.training.ablation import ablate

    curves = ablate(
        args.recipes,
        args.out,
        data_root=args.data_root,
        overrides=args.overrides,
        seeds=args.seeds,
        resume=args.resume,
    )
    width = max(len(name) for name in curves)
    print(f"{'recipe':{width}}  last   best  (validation accuracy in %, mean over seeds)")
    for name, values in curves.items():
        means = values.mean(axis=0) * 100
        print(f"{name:{width}}  {means[-1]:5.2f}  {means.max():5.2f}")
    print(f"figure: {args.out}/ablation.png   numbers: {args.out}/ablation.json")
