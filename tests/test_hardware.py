"""What processors and accelerators say of themselves."""

import pytest

from keras_hourglass.hardware import capable, processor_flags

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
