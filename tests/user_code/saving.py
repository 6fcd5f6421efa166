"""Models of every kind, written to the working folder."""

import keras
import numpy as np

import keras_hourglass
from keras_hourglass.losses import HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK
from keras_hourglass.training.optimizers import TorchRMSprop

model = keras_hourglass.StackedHourglass(
    skeleton=["tail", "left_ear", "right_ear"],
    num_stacks=2,
    num_features=8,
    input_shape=(32, 48, 3),
    depth=1,
)
model.save("plain.keras")
with open("plain.json", "w") as file:
    file.write(model.to_json())
model.compile(TorchRMSprop(1e-3), HeatmapMSE(), metrics=HeatmapPCK())
targets = np.tile(np.array([5.0, 3.0, 1.0, 1.0], "float32"), (2, 3, 1))
pictures = np.random.default_rng(1).integers(0, 255, (2, 32, 48, 3)).astype("float32")
model.fit(pictures, {name: targets for name in model.output}, verbose=0)
model.save("compiled.keras")
model.save("legacy.h5")

image = keras.Input((8, 12, 4))
x = keras_hourglass.Residual(6, name="ours")(image)
keras.Model(image, keras.layers.Dense(2)(x)).save("functional.keras")
np.save("pictures.npy", pictures)
np.save("heatmaps.npy", model.predict(pictures, verbose=0)["stack_2"])
