"""A wide network that starts as a narrow one."""

import numpy as np
import pytest

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import RecipeError, WeightsError
from keras_hourglass.training.recipe import load_recipe
from keras_hourglass.training.run import build_model
from keras_hourglass.zoo.transfer import widen
from keras_hourglass.zoo.weights import arrays_of

NARROW = {"num_stacks": 2, "num_features": 4, "depth": 1, "input_shape": [32, 24, 3]}
NARROW |= {"stem": [2, [4], [4, 4]]}
WIDE = {**NARROW, "num_features": 12, "stem": [6, [12], [12, 12]]}


@pytest.fixture(scope="module")
def narrow(tmp_path_factory):
    """A network whose arrays are all random, and the folder it is saved in."""
    model = StackedHourglass(skeleton="lsp", **NARROW)
    rng = np.random.default_rng(0)
    for variable in model.variables:
        values = rng.normal(0, 0.3, variable.shape)
        variable.assign(values**2 + 0.5 if "variance" in variable.name else values)
    folder = tmp_path_factory.mktemp("narrow")
    model.save_to_preset(folder, overwrite=True)
    return model, folder


def test_copies_by_hand():
    # Two inputs, three times as many; one output, twice as many.
    kernel = np.array([[[[3.0], [5.0]]]])
    wide = widen({"k": kernel, "b": np.array([7.0])}, {"k": (1, 1, 6, 2), "b": (2,)})
    assert wide["b"].tolist() == [7, 7]
    # The copies of an input are two channels apart; their parts add up to the whole.
    assert wide["k"].shape == (1, 1, 6, 2)
    np.testing.assert_allclose(wide["k"][0, 0, 0::2].sum(axis=0), [3, 3], rtol=1e-6)
    np.testing.assert_allclose(wide["k"][0, 0, 1::2].sum(axis=0), [5, 5], rtol=1e-6)
    assert len(np.unique(wide["k"])) == 12
    even = widen({"k": kernel}, {"k": (1, 1, 6, 2)}, spread=0)["k"]
    np.testing.assert_allclose(even[0, 0, :, 0], [1, 5 / 3] * 3, rtol=1e-6)


@pytest.mark.full
def test_the_wide_network_gives_the_same_heatmaps(narrow):
    model, folder = narrow
    values = {"model": WIDE, "training": {"widen": str(folder)}}
    wide = build_model(load_recipe(values), model.skeleton)
    crops = np.random.default_rng(1).integers(0, 256, (2, 32, 24, 3), np.uint8)
    expected, found = (m.predict(crops, verbose=0) for m in (model, wide))
    for name in ("stack_1", "stack_2"):
        scale = np.abs(expected[name]).max()
        np.testing.assert_allclose(found[name], expected[name], atol=2e-5 * scale)
    kernel = arrays_of(wide)["hourglass_2/lower1/conv2/kernel"]
    assert kernel.shape == (3, 3, 6, 6) and len(np.unique(kernel)) > 300


@pytest.mark.slow
@pytest.mark.parametrize(
    "change, message",
    [
        ({"num_features": 10, "stem": [6, [10], [10, 10]]}, "whole multiple"),
        ({"num_stacks": 1}, "same stacks and depth"),
        ({"merge": "concat"}, 'merge="add"'),
    ],
)
def test_other_forms_are_refused(narrow, change, message):
    model, folder = narrow
    recipe = load_recipe({"model": {**WIDE, **change}, "training": {"widen": str(folder)}})
    with pytest.raises(WeightsError, match=f"training.widen: .*{message}"):
        build_model(recipe, model.skeleton)


@pytest.mark.slow
def test_other_joints_are_refused(narrow):
    model, folder = narrow
    recipe = load_recipe({"model": WIDE, "training": {"widen": str(folder)}})
    with pytest.raises(WeightsError, match="same joints"):
        build_model(recipe, StackedHourglass(skeleton="flic", **NARROW).skeleton)


def test_one_start_only():
    with pytest.raises(RecipeError, match="training.widen"):
        load_recipe({"model": WIDE, "training": {"widen": "a", "weights": "b"}})
