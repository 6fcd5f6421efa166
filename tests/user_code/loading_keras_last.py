"""What `saving.py` wrote, loaded by a program that imports Keras after the package."""

import keras_hourglass  # isort: skip
import keras
import numpy as np

# Nothing of ours was used before: the classes are found all the same.
model = keras.models.load_model("functional.keras")
assert type(model.get_layer("ours")) is keras_hourglass.Residual
config = {
    "module": "keras_hourglass.losses",
    "class_name": "HeatmapMSE",
    "config": {"heatmap_size": [8, 12], "sigma": 2.0},
    "registered_name": "keras_hourglass>HeatmapMSE",
}
assert keras.saving.deserialize_keras_object(config).sigma == 2.0
plain = keras.models.load_model("plain.keras")
assert plain.skeleton.flip_order == (0, 2, 1)


class Quiet(keras_hourglass.StackedHourglass):
    """A subclass with an argument of its own."""

    def __init__(self, level=1, **kwargs):
        super().__init__(**kwargs)
        self.level = level

    def get_config(self):
        return {**super().get_config(), "level": self.level}


quiet = Quiet(3, num_keypoints=4, num_stacks=1, num_features=8, input_shape=(32, 32, 3), depth=1)
quiet.save("quiet.keras")
loaded = keras.models.load_model("quiet.keras", custom_objects={"Quiet": Quiet})
assert type(loaded) is Quiet and loaded.level == 3
with keras.saving.custom_object_scope({"Quiet": Quiet}):
    assert keras.models.load_model("quiet.keras").level == 3

legacy = keras.models.load_model(
    "legacy.h5", custom_objects={"StackedHourglass": keras_hourglass.StackedHourglass}
)
pictures, heatmaps = np.load("pictures.npy"), np.load("heatmaps.npy")
np.testing.assert_allclose(legacy.predict(pictures, verbose=0)["stack_2"], heatmaps, atol=1e-4)
