"""A teacher's heatmaps as targets beside the labels."""

import keras
import numpy as np
import pytest
from backends import run_on

from keras_hourglass import StackedHourglass
from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.losses import HeatmapMSE
from keras_hourglass.network import distillation
from keras_hourglass.network.distillation import Distillation
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.training.recipe import load_recipe

HANDS = Skeleton("hands", ("left_hand", "right_hand"))


class Red:
    """Says that the left hand is wherever the picture is red, and that there is no right one."""

    skeleton, num_keypoints, stack_names, input_size = HANDS, 2, ["stack_1"], (32, 48)

    def __call__(self, crops, training):
        assert training is False
        red = keras.layers.AveragePooling2D(4, data_format="channels_last")(crops[..., :1])
        return {"stack_1": keras.ops.concatenate([red, keras.ops.zeros_like(red)], axis=-1)}


def small(**options):
    return StackedHourglass(
        **{
            "num_stacks": 2,
            "num_features": 8,
            "depth": 2,
            "input_shape": (32, 48, 3),
            "skeleton": ["nose", "right_hand", "left_hand"],
            **options,
        }
    )


def test_the_error_by_hand():
    crops = np.zeros((3, 32, 48, 3), np.uint8)
    crops[0, :4, :8, 0] = 100  # two pixels of 8×12
    outputs = {name: np.zeros((3, 8, 12, 3), "float32") for name in ("stack_1", "stack_2")}
    outputs["stack_2"][0, 0, 0] = 30, 20, 10
    error = Distillation(small(), Red(), weight=0.5, scale=6)
    # The mirror image puts the left hand's 100 into the right one's: 50 for both.
    maps = np.asarray(keras.ops.convert_to_numpy(error.answer(crops)))
    assert maps[0, 0, :3].tolist() == [[50, 50], [50, 50], [0, 0]] and maps[1:].max() == 0
    # Stack 1: four errors of 50; stack 2: two, and 50 - 10 and 50 - 20; the nose is nobody's.
    squares = 4 * 50**2 + (2 * 50**2 + 40**2 + 30**2)
    wanted = 0.5 * 6 * squares / (3 * 8 * 12 * 3)
    assert float(error(crops, outputs)) == pytest.approx(wanted)


@pytest.fixture(params=["channels_last", "channels_first"])
def data_format(request):
    before = keras.config.image_data_format()
    keras.config.set_image_data_format(request.param)
    yield request.param
    keras.config.set_image_data_format(before)


def test_a_teacher_of_another_size_sees_the_whole_crop(data_format):
    class Large(Red):
        input_size = 64, 96

    crops = np.zeros((1, 32, 48, 3), np.uint8)
    crops[:, :, :24, 0] = 80
    error = Distillation(small(num_stacks=1), Large())
    maps = keras.ops.convert_to_numpy(error.answer(crops))
    assert maps.shape == (1, 16, 24, 2)
    np.testing.assert_allclose(maps[0, :, :11], 40, atol=1e-3)
    np.testing.assert_allclose(maps[0, :, 13:], 0, atol=1e-3)
    # At the network's own 8×12 the left six columns are 40 in both hands, but at the very edge.
    outputs = {"stack_1": np.zeros((1, 8, 12, 3), "float32")}
    outputs["stack_1"][:, :, :6, 1:] = 40
    assert float(error(crops, outputs)) < 0.01 * float(
        error(crops, {"stack_1": 0 * outputs["stack_1"]})
    )


def learn(steps=15):
    """How far a network is from its teacher before and after training without any label."""
    keras.utils.set_random_seed(7)
    one = {"num_stacks": 1, "num_features": 4, "depth": 1}
    teacher = small(skeleton=["right_hand", "left_hand"], **one)
    # Maps that are not next to nothing on any backend's random weights.
    kernel = next(v for v in teacher.variables if v.path.endswith("heatmaps/kernel"))
    kernel.assign(30 * kernel)
    model, before = small(**one), teacher.get_weights()
    names = [variable.path for variable in model.variables]
    rng = np.random.default_rng(2)
    crops = rng.uniform(0, 255, (4, 32, 48, 3)).astype("float32")
    targets = np.zeros((4, 3, 4), "float32")  # of weight 0
    targets[..., 2] = 1
    compiled = keras.backend.backend() == "jax"
    model.compile(keras.optimizers.Adam(0.02), HeatmapMSE(), jit_compile=compiled)
    labels = {name: targets for name in model.output_names}
    nothing = model.train_on_batch(crops, labels)
    model.distill_from(teacher, weight=2.0)
    losses = [float(np.ravel(model.train_on_batch(crops, labels))[0]) for _ in range(steps)]
    assert float(np.ravel(nothing)[0]) == 0
    # Validation measures the labels alone; the teacher stays as it was, and no part of the model.
    assert float(np.ravel(model.evaluate(crops, labels, verbose=0))[0]) == 0
    assert all((a == b).all() for a, b in zip(teacher.get_weights(), before, strict=True))
    assert [variable.path for variable in model.variables] == names
    return losses[0], losses[-1]


@pytest.mark.slow
def test_without_labels_it_comes_closer_to_its_teacher():
    first, last = learn()
    assert 0 < last < 0.6 * first


@pytest.mark.full
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    pytest.importorskip(backend)
    name, first, last = run_on(backend, __file__).split()[-3:]
    assert name == backend and 0 < float(last) < 0.6 * float(first)


@pytest.mark.slow
def test_a_model_with_a_teacher_is_saved_without(tmp_path):
    model = small()
    count, weights = model.count_params(), model.get_weights()
    model.distill_from(small(num_features=16))
    assert model.count_params() == count
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded._distillation is None
    assert all((a == b).all() for a, b in zip(loaded.get_weights(), weights, strict=True))


@pytest.mark.slow
def test_teachers_that_cannot_be_used(monkeypatch):
    model = small()
    with pytest.raises(UserError, match="a teacher of 96x64 pixels for a network of 48x64"):
        small(input_shape=(64, 48, 3)).distill_from(small(input_shape=(64, 96, 3)))
    with pytest.raises(UserError, match=r"knows joints of the network, nose, .* one of tail\."):
        model.distill_from(small(skeleton=["tail"]))
    with pytest.raises(UserError, match=r"Received: 4 and 3\. Give both a skeleton"):
        model.distill_from(small(skeleton=None, num_keypoints=4))
    with pytest.raises(UserError, match=r"must be positive\. Received: weight=0"):
        model.distill_from(small(), weight=0)
    with pytest.raises(UserError, match="No such preset"):
        model.distill_from("hourglass_of_nobody")
    monkeypatch.setattr(distillation, "IN_KERAS_3", False)
    with pytest.raises(UserError, match="needs Keras 3"):
        model.distill_from(small())
    assert model._distillation is None


def test_in_a_recipe():
    recipe = load_recipe({"data": {"teacher": "a"}, "training": {"distillation": "1e-1"}})
    assert recipe.training.distillation == 0.1
    with pytest.raises(
        RecipeError, match=r"training\.distillation: needs a network .* 0\.5 without"
    ):
        load_recipe({"training": {"distillation": 0.5}})
    with pytest.raises(RecipeError, match=r"training\.distillation: must not be negative"):
        load_recipe({"data": {"teacher": "a"}, "training": {"distillation": -1}})


if __name__ == "__main__":
    print(keras.backend.backend(), *learn())
