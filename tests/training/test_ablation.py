"""Recipes side by side."""

import json

import cv2
import numpy as np
import pytest

from keras_hourglass.errors import RecipeError
from keras_hourglass.training.ablation import ablate, differing_section, draw_curves, read_curve
from keras_hourglass.training.recipe import load_recipe


def _recipe(**sections):
    return load_recipe({"data": {"validation": "synthetic:4@2"}, **sections})


def test_recipes_may_differ_in_one_section():
    plain = _recipe()
    assert differing_section({"a": plain, "b": _recipe(model={"num_stacks": 1})}) == "model"
    assert differing_section({"a": plain}) is None
    other = _recipe(model={"num_stacks": 1}, training={"epochs": 3})
    with pytest.raises(RecipeError, match="model, training"):
        differing_section({"a": plain, "b": other})
    with pytest.raises(RecipeError, match="data.validation.*Received: none in b"):
        differing_section({"b": load_recipe({})})


def test_the_last_stack_is_read_from_the_log(tmp_path):
    header = "epoch,val_stack_10_pck,val_stack_2_pck,val_stack_2_source_pck,stack_2_pck\n"
    (tmp_path / "log.csv").write_text(header + "0,0.25,0.1,9,9\n1,0.5,0.2,9,9\n")
    assert read_curve(tmp_path) == [0.25, 0.5]
    (tmp_path / "log.csv").write_text("epoch,pck,val_pck\n0,0.9,0.125\n")
    assert read_curve(tmp_path) == [0.125]


def test_the_figure_shows_every_curve(tmp_path):
    curves = {"one": np.array([[0.1, 0.4], [0.2, 0.6]]), "two": np.array([[0.3, 0.3]])}
    draw_curves(curves, tmp_path / "figure.png")
    picture = cv2.imread(str(tmp_path / "figure.png"))[..., ::-1].astype(int)
    for colour in ((0x00, 0x72, 0xB2), (0xE6, 0x9F, 0x00)):
        assert (np.abs(picture - colour).max(axis=-1) < 12).sum() > 50


@pytest.mark.full
@pytest.mark.usefixtures("without_tracing")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_two_recipes_are_trained_and_compared(tmp_path):
    for name, stacks in (("one", 1), ("two", 2)):
        (tmp_path / f"{name}.yaml").write_text(
            f"""
model:
  num_stacks: {stacks}
  num_features: 4
  depth: 1
  input_shape: [32, 24, 3]
  stem: [2, [2], [2, 4]]
data: {{train: "synthetic:8@1x64", validation: "synthetic:4@2x64", sigma: 1.0, cache: true}}
training: {{epochs: 2, batch_size: 4}}
monitoring: {{tensorboard: false, source_every: 0}}
"""
        )
    sources = [str(tmp_path / f"{name}.yaml") for name in ("one", "two")]
    curves = ablate(sources, tmp_path / "out")
    assert {name: values.shape for name, values in curves.items()} == {"one": (1, 2), "two": (1, 2)}
    facts = json.loads((tmp_path / "out" / "ablation.json").read_text())
    assert facts["differ_in"] == "model" and facts["curves"]["two"] == curves["two"].tolist()
    assert (tmp_path / "out" / "ablation.png").stat().st_size > 1000
