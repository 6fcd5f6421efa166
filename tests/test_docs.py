"""The reference: every public name says what it takes and gives, and every example runs."""

import ast
import doctest
import importlib
import inspect
import pathlib

import pytest

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
# What users import. Their names have a full reference entry, others at least a sentence.
REFERENCE = tuple(
    f"keras_hourglass.{name}"
    for name in (
        "codec evaluation export geometry images layers losses metrics model optimizers pose "
        "prediction presets serving skeletons training.recipe training.run data.augment "
        "data.check data.coco data.flic data.lsp data.mixture data.mpii data.pipeline "
        "data.py_dataset data.records data.sources data.synthetic data.tfrecords"
    ).split()
)


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


def test_names_of_the_package_are_in_the_reference():
    for name in keras_hourglass.__all__:
        value = getattr(keras_hourglass, name)
        if not name.startswith("__"):
            assert not _gaps(name, value)


@pytest.mark.parametrize("name", FILES)
def test_examples_run(name, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    failed, _ = doctest.testmod(_load(name), optionflags=doctest.ELLIPSIS)
    assert not failed
    assert not list(tmp_path.iterdir()), "an example leaves files behind"
