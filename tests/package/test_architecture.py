"""The shape of the package: imports point down only and in no circle, heavy libraries load late."""

import ast
import functools
import importlib
import pathlib
import subprocess
import sys

import pytest

import keras_hourglass

PACKAGE = pathlib.Path(keras_hourglass.__file__).parent
# The rooms from the ground up; those of a line do not know each other.
ORDER = """
errors
choices typing faces registration
io geometry skeletons hardware compat
codec layers losses metrics
network data
inference zoo analysis
evaluation prediction
training export
serving
report
cli
__main__
"""
FLOOR = {room: floor for floor, line in enumerate(ORDER.split("\n")) for room in line.split()}
MODULES = sorted(PACKAGE.rglob("*.py"))
# Words that say nothing without their room: at most one module has each.
AMBIGUOUS = ("sources", "pictures", "files", "reading")
# Names of the first house that had to be learned.
UNTELLING = {"traits", "heads", "hints", "keeping", "watching", "feeding", "found"}
# `StackedHourglass.from_preset` and `save_to_preset` hand over to the zoo when they are called.
HANDED_UP = {("network.model", "zoo.store")}


def name_of(path):
    """A file's name below the package, e.g. `layers.stem`; a folder's face has the folder's."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


NAMES = {name_of(path): path for path in MODULES}


@functools.cache
def imported(name, lazily=True):
    """The package's own modules that a module imports, perhaps only as it is loaded."""
    found = set()
    tree = ast.parse(NAMES[name].read_text(encoding="utf-8"))
    for node in ast.walk(tree) if lazily else _when_loaded(tree):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name}: relative import"
            named = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            named = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        for full in named:
            if full.startswith("keras_hourglass."):
                below = full.removeprefix("keras_hourglass.")
                found.add(below if below in NAMES else below.rpartition(".")[0])
    return frozenset(found - {"", name})


def _when_loaded(node):
    """The nodes that run when a module is loaded: not the bodies of functions, nor types."""
    for child in ast.iter_child_nodes(node):
        typing = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
        if not typing and not isinstance(child, (ast.FunctionDef, ast.Lambda)):
            yield child
            yield from _when_loaded(child)


@pytest.mark.parametrize("name", [name for name in NAMES if name])
def test_imports_point_down(name):
    room = name.split(".")[0]
    assert room in FLOOR, f"{room} has no place in the house: put it into ORDER"
    for other in imported(name):
        there = other.split(".")[0]
        if there != room and (name, other) not in HANDED_UP:
            assert FLOOR[there] < FLOOR[room], f"{name} imports {other}"


def test_no_circle_of_imports():
    done = set()

    def follow(name, trail):
        assert name not in trail, " -> ".join([*trail, name])
        if name not in done:
            for other in imported(name, lazily=False):
                follow(other, (*trail, name))
            done.add(name)

    for name in NAMES:
        follow(name, ())


@pytest.mark.parametrize("name", NAMES)
def test_functions_fit_a_screen(name):
    for node in ast.walk(ast.parse(NAMES[name].read_text(encoding="utf-8"))):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            documentation = ast.get_docstring(node) or ""
            length = node.end_lineno - node.lineno - len(documentation.splitlines())
            assert length <= 75, f"{node.name} has {length} lines"


def test_the_hall_is_small():
    """What a user meets first: about ten files beside the folders."""
    assert len([name for name in NAMES if name and NAMES[name].parent == PACKAGE]) <= 12


def test_names_explain_themselves():
    words = [name.rpartition(".")[2] for name in NAMES]
    assert not UNTELLING & set(words)
    for word in AMBIGUOUS:
        there = [name for name in NAMES if name.rpartition(".")[2] == word]
        assert len(there) <= 1, f"{' and '.join(there)}: say what of"


def test_every_room_has_a_face():
    """A folder's `__init__` says what the room is for."""
    for folder in {path.parent for path in MODULES}:
        face = folder / "__init__.py"
        assert face in MODULES, f"{folder.name} has no __init__.py"
        assert ast.get_docstring(ast.parse(face.read_text(encoding="utf-8"))), folder.name
    assert {path.parent.name for path in MODULES if path.parent.parent == PACKAGE} <= set(FLOOR)


@pytest.mark.parametrize("statement", ["import keras_hourglass", "import keras_hourglass.cli"])
def test_import_is_light(statement):
    heavy = ("tensorflow", "keras", "cv2", "scipy", "h5py", "matplotlib", "numpy", "pydantic")
    code = f"{statement}, sys; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", [name for name in NAMES if NAMES[name].name == "__init__.py"])
def test_faces_have_what_they_show(name):
    """Lazy ones say it twice, for the program and for editors."""
    face = importlib.import_module(f"keras_hourglass.{name}" if name else "keras_hourglass")
    for public in getattr(face, "__all__", ()):
        getattr(face, public)
    for node in ast.walk(ast.parse(NAMES[name].read_text(encoding="utf-8"))):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            told = {alias.name for part in node.body for alias in part.names}
            assert told <= set(face.__all__)
            # The others are loaded with the face.
            assert all(other in vars(face) for other in set(face.__all__) - told)


def test_every_public_name_is_there_and_documented():
    for name in keras_hourglass.__all__:
        assert getattr(keras_hourglass, name).__doc__, name
    assert set(keras_hourglass.__all__) <= set(dir(keras_hourglass))
    with pytest.raises(AttributeError, match="no attribute 'Hourglas'"):
        _ = keras_hourglass.Hourglas
