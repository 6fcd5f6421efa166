"""What `saving.py` wrote, loaded by a program that imports Keras first."""

import json

import keras  # isort: skip
import numpy as np

import keras_hourglass

pictures, heatmaps = np.load("pictures.npy"), np.load("heatmaps.npy")
model = keras.models.load_model("compiled.keras")
assert type(model) is keras_hourglass.StackedHourglass, model
np.testing.assert_allclose(model.predict(pictures, verbose=0)["stack_2"], heatmaps, atol=1e-4)
assert model.optimizer.iterations == 1 and type(model.optimizer).__name__ == "TorchRMSprop"
moved = [float(np.abs(v).max()) for v in model.optimizer.variables if "velocity" in v.path]
assert len(moved) == len(model.trainable_variables) and max(moved) > 0, moved
targets = np.tile(np.array([5.0, 3.0, 1.0, 1.0], "float32"), (2, 3, 1))
history = model.fit(pictures, {name: targets for name in model.output}, verbose=0).history
assert any("pck" in name for name in history), history

# The other ways of Keras to make an object of what was written.
plain = keras.saving.load_model("plain.keras")
clone = keras.models.clone_model(plain)
clone.set_weights(plain.get_weights())
one, other = (m.predict(pictures, verbose=0)["stack_2"] for m in (plain, clone))
np.testing.assert_allclose(one, other, atol=1e-5)
with open("plain.json") as file:
    text = file.read()
assert keras.models.model_from_json(text).skeleton.joints == plain.skeleton.joints
config = keras.saving.serialize_keras_object(keras_hourglass.Residual(6))
twin = keras.saving.deserialize_keras_object(json.loads(json.dumps(config)))
assert type(twin) is keras_hourglass.Residual and twin.filters == 6
