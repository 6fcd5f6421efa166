"""`training.precision: auto` and the warning about emulated half precision."""

import pytest

from keras_hourglass import hardware
from keras_hourglass.training import run
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import with_precision


@pytest.fixture
def machine(monkeypatch):
    """Make this a machine with such accelerators and instructions of the processor."""

    def make(accelerators, flags):
        for module in (hardware, run):
            monkeypatch.setattr(module, "accelerators", lambda: accelerators)
        monkeypatch.setattr(hardware, "processor_flags", lambda: flags)

    return make


@pytest.mark.parametrize(
    "accelerators, flags, policy",
    [
        ([], {"fpu", "avx2"}, "float32"),
        ([], {"fpu", "avx512_bf16"}, "mixed_bfloat16"),
        ([(9, 0), (9, 0)], {"fpu"}, "mixed_bfloat16"),
        # One card that cannot makes all of them wait.
        ([(9, 0), (7, 0)], {"avx512_bf16"}, "float32"),
    ],
)
def test_auto_is_what_the_hardware_has(machine, capsys, accelerators, flags, policy):
    machine(accelerators, flags)
    recipe = load_recipe({"training": {"precision": "auto", "epochs": 3}})
    resolved = with_precision(recipe)
    assert resolved.training.precision == policy
    assert resolved.training.epochs == 3 and recipe.training.precision == "auto"
    assert f"auto is {policy}" in capsys.readouterr().out


@pytest.mark.parametrize("flags, warned", [({"avx2"}, True), ({"amx_bf16"}, False)])
def test_emulated_precision_is_kept_and_told(machine, capsys, flags, warned):
    machine([], flags)
    recipe = load_recipe({"training": {"precision": "mixed_bfloat16"}})
    assert with_precision(recipe) is recipe
    assert ("emulated" in capsys.readouterr().out) is warned
