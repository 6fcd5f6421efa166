"""The shape of the package: imports point down only, heavy libraries load late."""

import ast
import pathlib
import subprocess
import sys

import pytest

import keras_hourglass

PACKAGE = pathlib.Path(keras_hourglass.__file__).parent
LEVELS = (
    ("errors", "files", "geometry", "skeletons", "architecture", "fetch", "compat", "hints",
     "processor"),
    ("images", "codec", "layers", "losses", "metrics", "optimizers", "cost", "blueprint"),
    ("model", "data", "rectangles", "pose", "drawing"),
    (
        "presets", "zoo", "weights", "porting", "manifest", "heads", "cards", "sources", "engines",
        "runtimes", "folding", "widening", "checkpoints", "publish", "traits",
    ),
    (
        "training", "evaluation", "prediction", "detection", "smoothing", "export", "serving",
        "pictures", "analysis", "writing", "cropping",
    ),
    ("report",),
    ("cli", "demo", "demo_page", "__main__"),
)  # fmt: skip
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# Jobs that are split into several modules of one level, which may know each other.
JOBS = (
    {
        "errors",
        "files",
        "geometry",
        "skeletons",
        "architecture",
        "fetch",
        "hints",
        "compat",
        "processor",
    },
    {"pose", "drawing"},
    {"engines", "runtimes", "folding"},
    {"presets", "zoo", "weights", "porting", "manifest", "heads", "cards", "sources", "publish"},
    {"prediction", "detection", "smoothing", "pictures", "writing", "cropping"},
    {"evaluation", "analysis"},
)
MODULES = sorted(PACKAGE.rglob("*.py"))


def _home(path):
    """The first part of a module's name below the package, e.g. `layers`."""
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def _imported(path):
    """Homes of the package's own modules that a file imports, anywhere in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            parts = name.split(".")
            if parts[0] == "keras_hourglass" and len(parts) > 1 and parts[1] != "__version__":
                yield parts[1]


def _lazily(path, name):
    """Whether every import of a home in a file stands inside a function."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    top = [node for node in tree.body if isinstance(node, (ast.Import, ast.ImportFrom))]
    return not any(f"keras_hourglass.{name}" in ast.unparse(node) for node in top)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_down(path):
    home = _home(path)
    if home == "__init__":
        return
    assert home in LEVEL, f"{home} has no level: give it one"
    for imported in _imported(path):
        if imported == home or (home == "cli" and imported != "__main__"):
            continue
        if home == "__main__" and imported == "cli":
            continue
        if home == "model" and imported == "presets" and _lazily(path, "presets"):
            continue  # from_preset and save_to_preset hand over to the zoo
        if any({home, imported} <= job for job in JOBS):
            continue
        assert LEVEL[imported] < LEVEL[home], f"{home} imports {imported}"


def test_nothing_imports_the_command_line():
    importers = {_home(path) for path in MODULES if "cli" in set(_imported(path))}
    assert importers <= {"cli", "__main__"}


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_short(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documentation = ast.get_docstring(node) or ""
            length = node.end_lineno - node.lineno - len(documentation.splitlines())
            assert length <= 75, f"{node.name} has {length} lines"


@pytest.mark.parametrize("statement", ["import keras_hourglass", "import keras_hourglass.cli"])
def test_import_is_light(statement):
    heavy = ("tensorflow", "keras", "cv2", "scipy", "h5py", "matplotlib", "numpy")
    code = f"{statement}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_is_there_and_documented():
    for name in keras_hourglass.__all__:
        assert getattr(keras_hourglass, name).__doc__, name
    assert set(keras_hourglass.__all__) <= set(dir(keras_hourglass))
    with pytest.raises(AttributeError, match="no attribute 'Hourglas'"):
        _ = keras_hourglass.Hourglas
