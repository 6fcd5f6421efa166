"""Several recipes side by side with the same seeds and budget, as in Figure 8 of the paper."""

import csv
import json
import pathlib

import keras
import numpy as np

from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.io.files import atomic_path, atomic_write, new_folder
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import train


def ablate(recipes, out, data_root=None, overrides=(), seeds=(1,), resume=False):
    """Train every recipe with every seed and draw their validation accuracy over the epochs.

    Args:
        recipes: names or paths of recipes; they must agree in all sections but one.
        out: folder; each run goes into `NAME-seedN/` of it.
        data_root, overrides: as for `train`.
        seeds: seeds of initial weights, order and augmentation.
        resume: keep what an interrupted call has done.

    Returns:
        A dict recipe name -> `(seeds, epochs)` accuracies of the last stack, 0 to 1, as in
        `metrics.HeatmapPCK`. `out/ablation.json` holds them, `out/ablation.png` the figure.

    Raises:
        RecipeError: if the recipes differ in more than one section, or have no validation data.

    Example:

    >>> curves = ablate(["figure8_hg", "figure8_hg_int"], "runs/figure8")  # doctest: +SKIP
    """
    out = pathlib.Path(out)
    loaded = {pathlib.Path(source).stem: load_recipe(source, overrides) for source in recipes}
    if len(loaded) < len(recipes):
        raise UserError(f"Recipes need names of their own. Received: {', '.join(recipes)}.")
    section = differing_section(loaded)
    if not resume:
        new_folder(out, remedy="Name a new folder, or go on with --resume")
    curves = {}
    for name, recipe in loaded.items():
        runs = []
        for seed in seeds:
            folder = out / f"{name}-seed{seed}"
            print(f"{name}, seed {seed}: {folder}", flush=True)
            begun = (folder / "checkpoint" / "state.json").exists()
            train(
                load_recipe(recipe, [f"training.seed={seed}"]),
                folder,
                data_root=data_root,
                resume=resume and begun,
                verbose=2,
            )
            runs.append(read_curve(folder))
            # Keras would keep the graphs of every network in memory.
            keras.backend.clear_session()
        curves[name] = np.array(runs)
    facts = {
        "differ_in": section,
        "seeds": list(seeds),
        "accuracy": "share of joints whose maximum lies within 5 % of the map's shorter side",
        "curves": {name: values.tolist() for name, values in curves.items()},
    }
    atomic_write(out / "ablation.json", json.dumps(facts, indent=1) + "\n")
    draw_curves(curves, out / "ablation.png")
    return curves


def differing_section(recipes):
    """The one section in which recipes differ, or `None` where they are all the same.

    Args:
        recipes: dict name -> `Recipe`.

    Raises:
        RecipeError: if there are several, or a recipe has no validation data.
    """
    values = [recipe.to_dict() for recipe in recipes.values()]
    different = [
        key for key in values[0] if any(other[key] != values[0][key] for other in values[1:])
    ]
    if len(different) > 1:
        raise RecipeError(
            "Recipes that are compared may differ in one section. "
            f"Received: differences in {', '.join(different)}. Make the others equal."
        )
    for name, recipe in recipes.items():
        if recipe.data.validation is None:
            raise RecipeError(f"data.validation: is what is compared. Received: none in {name}.")
    return different[0] if different else None


def read_curve(folder):
    """The validation accuracy of the last stack after every epoch, from a run's `log.csv`."""
    with open(pathlib.Path(folder) / "log.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = [
        name
        for name in rows[0]
        if name.startswith("val_") and name.endswith("pck") and not name.endswith("source_pck")
    ]
    stacks = [name.removeprefix("val_").removesuffix("pck").strip("_") for name in names]
    # A single output has no name of its own.
    last = max(zip(stacks, names, strict=True), key=lambda pair: (len(pair[0]), pair[0]))[1]
    return [float(row[last]) for row in rows]


def draw_curves(curves, path):
    """Draw accuracies over epochs, one line per recipe, the range over its seeds shaded.

    Args:
        curves: dict name -> `(seeds, epochs)` accuracies, 0 to 1.
        path: the PNG to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    # Okabe and Ito's colours differ for every kind of colour vision.
    colours = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9", "#000000")
    styles = ("-", "--", "-.", ":", "-", "--", "-.")
    figure, axes = pyplot.subplots(figsize=(7, 4.2), dpi=120)
    for index, (name, values) in enumerate(curves.items()):
        epochs = np.arange(1, values.shape[1] + 1)
        colour, style = colours[index % 7], styles[index % 7]
        axes.plot(epochs, 100 * values.mean(axis=0), style, color=colour, label=name)
        if len(values) > 1:
            low, high = 100 * values.min(axis=0), 100 * values.max(axis=0)
            axes.fill_between(epochs, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.set_xlabel("epoch")
    axes.set_ylabel("validation accuracy (%)")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    figure.tight_layout()
    with atomic_path(path) as temporary:
        figure.savefig(temporary)
    pyplot.close(figure)
