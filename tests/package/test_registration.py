"""What Keras can load by name is what has a decorator, whether its module is loaded or not."""

import ast
import pathlib
import subprocess
import sys

import keras
import pytest

import keras_hourglass
from keras_hourglass.registration import REGISTERED

PACKAGE = pathlib.Path(keras_hourglass.__file__).parent


@pytest.mark.slow
def test_every_registered_class_is_announced():
    found = {}
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            decorators = map(ast.unparse, getattr(node, "decorator_list", ()))
            if isinstance(node, ast.ClassDef) and any("_serializable" in d for d in decorators):
                module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
                found.setdefault(module, []).append(node.name)
    assert {module: tuple(sorted(names)) for module, names in found.items()} == REGISTERED


@pytest.mark.slow
@pytest.mark.parametrize(
    "order", ["import keras_hourglass, keras", "import keras, keras_hourglass"]
)
def test_nothing_is_loaded_until_keras_asks(order):
    code = f"""
import importlib.util
{order}
import sys
ours = sorted(name for name in sys.modules if name.startswith("keras_hourglass."))
assert ours == [f"keras_hourglass.{{name}}" for name in ("errors", "faces", "registration")], ours
layer = keras.saving.get_custom_objects()["keras_hourglass>Residual"].from_config({{"filters": 6}})
assert type(layer) is keras_hourglass.Residual
assert keras.saving.get_registered_object("keras_hourglass>Residual") is keras_hourglass.Residual
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.slow
def test_asking_whether_keras_is_there_loses_nothing():
    code = """
import keras_hourglass, importlib.util
assert importlib.util.find_spec("keras") is not None
import keras
assert "keras_hourglass>StackedHourglass" in keras.saving.get_custom_objects()
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_class_of_yours_under_our_name_stays():
    registry = keras.saving.get_custom_objects()
    before = registry["keras_hourglass>Residual"]
    try:
        registry["keras_hourglass>Residual"] = mine = object()
        from keras_hourglass import registration

        registration.announce()
        assert registry["keras_hourglass>Residual"] is mine
    finally:
        registry["keras_hourglass>Residual"] = before
