"""The reference: every public name says what it takes and gives, and every example runs."""

import ast
import doctest
import importlib
import inspect
import pathlib
import re
import warnings

import keras
import pytest
import reference
from reference import REFERENCE

import keras_hourglass

PACKAGE = pathlib.Path(keras_hourglass.__file__).parent
OPTIONAL = {"tensorflow", "onnx", "onnxruntime", "openvino", "pycocotools", "grpc", "matplotlib"}


FILES = {
    ".".join(("keras_hourglass", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(
        ".__init__"
    ): path
    for path in sorted(PACKAGE.rglob("*.py"))
    if path.name != "__main__.py"
}


def _load(name):
    """Import a module, or skip where an optional package is not installed."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in OPTIONAL:
            raise
        pytest.skip(f"{error.name} is not installed")


def _public(module):
    """Name and object of a module's own functions and classes, or of its `__all__`."""
    names = getattr(module, "__all__", None) or [
        name
        for name, value in vars(module).items()
        if getattr(value, "__module__", None) == module.__name__ and not name.startswith("_")
    ]
    values = [(name, getattr(module, name)) for name in names]
    return [(n, v) for n, v in values if inspect.isclass(v) or inspect.isfunction(v)]


def _parameters(value):
    """Names of the arguments; those of a dataclass are its fields."""
    signature = inspect.signature(value)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [name for name, p in signature.parameters.items() if p.kind not in kinds]


def _typed(function):
    """Whether every argument of a function and its result, if it can have one, have types."""
    signature = inspect.signature(function)
    kinds = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    given = [
        p.annotation
        for name, p in signature.parameters.items()
        if name not in ("self", "cls") and p.kind not in kinds
    ]
    if function.__name__ != "__init__":
        given.append(signature.return_annotation)
    return inspect.Signature.empty not in given


def _gives_something(function):
    """Whether a function returns a value, its inner functions left aside."""
    nodes = list(ast.parse(inspect.getsource(function)).body[0].body)
    for node in nodes:
        if not isinstance(node, (ast.FunctionDef, ast.Lambda)):
            nodes += ast.iter_child_nodes(node)
    return any(isinstance(node, ast.Return) and node.value is not None for node in nodes)


def _gaps(name, value):
    """What a reference entry lacks."""
    if inspect.isclass(value) and issubclass(value, Exception):
        return []  # raised by the package, not made by users
    text = inspect.getdoc(value) or ""
    if "see `" in text.split("\n")[0]:
        return []  # told at another name
    missing = [f"{name}: {p} is not described" for p in _parameters(value) if p not in text]
    if ">>> " not in text:
        missing.append(f"{name}: no example")
    if inspect.isfunction(value) and _gives_something(value) and "Returns:" not in text:
        missing.append(f"{name}: no return value")
    return missing


def _silent_methods(kind):
    """Public methods without a docstring that the base class, e.g. Keras's, does not know."""
    for name, method in vars(kind).items():
        if inspect.isfunction(method) and not name.startswith("_") and not method.__doc__:
            if not any(hasattr(base, name) for base in kind.__bases__):
                yield name


@pytest.mark.parametrize("name", FILES)
def test_everything_public_has_a_sentence(name):
    tree = ast.parse(FILES[name].read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), name
    # A command's two functions are explained by its module and its --help.
    known = {"add_arguments", "run"} if ".cli." in name else set()
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            if not node.name.startswith("_") and node.name not in known:
                assert ast.get_docstring(node), f"{name}.{node.name}"


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_entries_are_complete(name):
    gaps = []
    for public, value in _public(_load(name)):
        gaps += _gaps(public, value)
        if inspect.isclass(value):
            gaps += [f"{public}.{method}: no docstring" for method in _silent_methods(value)]
    assert not gaps, "\n".join(gaps)


@pytest.mark.parametrize("name", REFERENCE)
def test_signatures_have_types(name):
    """Of functions, constructors, properties and methods that are documented; those methods that
    Keras calls have its types."""
    untyped = []
    for public, value in _public(_load(name)):
        if inspect.isclass(value) and not issubclass(value, Exception):
            for key, method in vars(value).items():
                # Of a class method and of a property, what is called.
                method = getattr(method, "__func__", getattr(method, "fget", method))
                named = method.__doc__ and not key.startswith("_") or key == "__init__"
                if inspect.isfunction(method) and named and not _typed(method):
                    untyped.append(f"{public}.{key}")
        elif inspect.isfunction(value) and not _typed(value):
            untyped.append(public)
    assert not untyped


def test_the_reference_is_what_the_type_checker_reads():
    tomllib = pytest.importorskip("tomllib")
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text(encoding="utf-8"))
    assert tuple(settings["tool"]["mypy"]["packages"]) == REFERENCE
    assert len(set(REFERENCE)) == len(REFERENCE) > 30


def test_names_of_the_package_are_in_the_reference():
    for name in keras_hourglass.__all__:
        value = getattr(keras_hourglass, name)
        if not name.startswith("__"):
            assert not _gaps(name, value)


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_examples_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    if name.endswith("recomputation") and not hasattr(keras, "remat"):
        pytest.skip("Keras before 3.9 has no keras.remat")
    failed, _ = doctest.testmod(_load(name), optionflags=doctest.ELLIPSIS)
    assert not failed
    assert not list(tmp_path.iterdir()), "an example leaves files behind"


@pytest.mark.full
def test_pages_show_every_public_name(tmp_path):
    pytest.importorskip("pdoc")
    modules = {name: _load(name) for name in REFERENCE}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of libraries that start programs when they are imported
        reference.write(tmp_path)
    first = (tmp_path / "index.html").read_text(encoding="utf-8")
    for name, module in modules.items():
        path = f"{name.replace('.', '/')}.html"
        page = (tmp_path / path).read_text(encoding="utf-8")
        assert f'<a href="{path}">{name}</a>' in first
        assert not re.findall(r'<section id="_.*?"', page), "names of our own"
        assert str(PACKAGE.parent) not in page and ">unknown<" not in page
        for public, value in _public(module):
            assert f'<section id="{public}">' in page, f"{name}.{public}"
            if inspect.isclass(value) and "__call__" in vars(value):
                assert f'id="{public}.__call__"' in page
    # Arguments are a list, and what Keras says of its own methods is left to Keras.
    layers = (tmp_path / "keras_hourglass/layers.html").read_text(encoding="utf-8")
    assert "<strong>filters:</strong>" in layers and "Residual.get_config" not in layers


def test_the_way_to_moved_modules_is_right():
    """The table of *Upgrading*: the modules on its right are there, those on its left are not."""
    page = (PACKAGE.parent / "CHANGELOG.md").read_text(encoding="utf-8")
    rows = re.findall(r"^  \| (`.+?) \| (`.+?) \|$", page, re.M)
    before, after = (
        {name for row in rows for name in re.findall(r"`([\w.]+)`", row[side])} for side in (0, 1)
    )
    assert len(before) > 40 and len(after) > 30
    assert {f"keras_hourglass.{name}" for name in after} <= set(FILES)
    # Rooms that are called as a module was.
    assert {f"keras_hourglass.{name}" for name in before - {"prediction", "zoo"}} & set(
        FILES
    ) == set()
