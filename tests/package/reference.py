"""The reference as web pages, which pdoc makes from the docstrings: `make reference`."""

import pathlib
import sys

# What users import. Whatever these modules offer has a full reference entry.
REFERENCE = tuple(
    f"keras_hourglass.{name}"
    for name in (
        "analysis codec evaluation export geometry io.images layers losses metrics network.graph "
        "network.model training.optimizers prediction.mapper prediction.pose prediction.predictor "
        "report serving skeletons zoo "
        "training.recipe training.run data.augment data.check data.coco data.convert "
        "data.deeplabcut data.flic data.lsp data.mixture data.mpii data.pipeline data.py_dataset "
        "data.records data.load data.figures data.sleap data.tfrecords data.yolo"
    ).split()
)
# Modules that pdoc takes for parts of a package's interface, as functions are named like them.
TWINS = ("keras_hourglass.metrics.(oks|pck)",)


def write(folder):
    """Write a page for each module, a list of them and a search into a folder."""
    import pdoc

    import keras_hourglass

    pdoc.render.configure(
        docformat="google",
        show_source=False,
        template_directory=pathlib.Path(__file__).with_name("reference_pages"),
    )
    title = f"keras_hourglass {keras_hourglass.__version__}"
    pdoc.render.env.globals["title"] = title
    modules = (*REFERENCE, *(f"!{name}" for name in TWINS))
    pdoc.pdoc(*modules, output_directory=pathlib.Path(folder))


if __name__ == "__main__":
    write(sys.argv[1])
