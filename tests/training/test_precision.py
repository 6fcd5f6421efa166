"""`training.precision: auto` and the warning about emulated half precision."""

import pytest

from keras_hourglass.hardware import processor_flags
from keras_hourglass.training import precision
from keras_hourglass.training.precision import capable, with_precision
from keras_hourglass.training.recipe import load_recipe

X86 = "processor\t: 0\nmodel name\t: Made up\nflags\t\t: fpu avx2 avx512_bf16\npower\t: none\n"
ARM = "processor\t: 0\nFeatures\t: fp asimd bf16\n"


@pytest.mark.parametrize(
    "text, flags",
    [(X86, {"fpu", "avx2", "avx512_bf16"}), (ARM, {"fp", "asimd", "bf16"}), ("", set())],
)
def test_flags_of_the_processor(tmp_path, text, flags):
    path = tmp_path / "cpuinfo"
    path.write_text(text)
    assert processor_flags(path) == flags


def test_other_systems_have_no_such_file(tmp_path):
    assert processor_flags(tmp_path / "missing") == set()


@pytest.mark.parametrize(
    "capability, answer",
    [((7, 5), False), ((8, 0), True), ("7.0", False), ("12.1", True), (None, True)],
)
def test_graphics_cards_by_compute_capability(capability, answer):
    assert capable(capability) is answer


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
def test_auto_is_what_the_hardware_has(monkeypatch, capsys, accelerators, flags, policy):
    monkeypatch.setattr(precision, "accelerators", lambda: accelerators)
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    recipe = load_recipe({"training": {"precision": "auto", "epochs": 3}})
    resolved = with_precision(recipe)
    assert resolved.training.precision == policy
    assert resolved.training.epochs == 3 and recipe.training.precision == "auto"
    assert f"auto is {policy}" in capsys.readouterr().out


@pytest.mark.parametrize("flags, warned", [({"avx2"}, True), ({"amx_bf16"}, False)])
def test_emulated_precision_is_kept_and_told(monkeypatch, capsys, flags, warned):
    monkeypatch.setattr(precision, "accelerators", list)
    monkeypatch.setattr(precision, "processor_flags", lambda: flags)
    recipe = load_recipe({"training": {"precision": "mixed_bfloat16"}})
    assert with_precision(recipe) is recipe
    assert ("emulated" in capsys.readouterr().out) is warned
