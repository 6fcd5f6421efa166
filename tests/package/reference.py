"""The reference as web pages, which pdoc makes from the docstrings: `make reference`."""

import pathlib
import re
import sys
import warnings

_SETTINGS = (pathlib.Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8")
# What users import, as the type checker is told. Whatever these modules offer has a full entry.
REFERENCE = tuple(re.findall('"(.+)"', _SETTINGS.partition("\npackages = [")[2].partition("]")[0]))
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
    with warnings.catch_warnings():
        # Fields of sections that pydantic makes by call stand in no file.
        warnings.filterwarnings("ignore", "Cannot determine where", UserWarning)
        pdoc.pdoc(*modules, output_directory=pathlib.Path(folder))


if __name__ == "__main__":
    write(sys.argv[1])
