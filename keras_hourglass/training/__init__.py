"""Training from recipes: read one, carry it out, compare several."""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.training.ablation import ablate
    from keras_hourglass.training.optimizers import Adam, LossScaleOptimizer, TorchRMSprop
    from keras_hourglass.training.recipe import Recipe, load_recipe, save_recipe
    from keras_hourglass.training.run import Run, build_model, train

__getattr__, __dir__, __all__ = lazy(
    __name__,
    {
        "Adam": "optimizers",
        "LossScaleOptimizer": "optimizers",
        "Recipe": "recipe",
        "Run": "run",
        "TorchRMSprop": "optimizers",
        "ablate": "ablation",
        "build_model": "run",
        "load_recipe": "recipe",
        "save_recipe": "recipe",
        "train": "run",
    },
)
