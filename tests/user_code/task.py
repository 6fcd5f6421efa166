"""A task as KerasHub's users write it: raw pictures and joints in, joints out."""

import json
import os

import keras
import numpy as np

from keras_hourglass import PoseEstimator, StackedHourglass
from keras_hourglass.errors import UserError
from keras_hourglass.prediction import PosePreprocessor

assert StackedHourglass.presets["hourglass_tiny_lsp"]["trained"]
assert not StackedHourglass.presets["hourglass_8s"]["trained"]

rng = np.random.default_rng(5)
pictures = rng.integers(0, 60, (6, 40, 64, 3), np.uint8)
joints = np.stack([rng.uniform(8, 56, (6, 2)), rng.uniform(8, 32, (6, 2))], axis=-1)
for picture, spots in zip(pictures, joints.round().astype(int), strict=True):
    for colour, (x, y) in zip(((255, 0, 0), (0, 255, 0)), spots, strict=True):
        picture[y - 2 : y + 3, x - 2 : x + 3] = colour

backbone = StackedHourglass(
    skeleton=["red", "green"], num_stacks=1, num_features=16, depth=2, input_shape=(32, 48, 3)
)
estimator = PoseEstimator(backbone)
estimator.compile(keras.optimizers.Adam(5e-3))
options = {"epochs": 25, "batch_size": 3, "verbose": 0}
history = estimator.fit(pictures, joints, validation_data=(pictures[:2], joints[:2]), **options)
history = history.history
assert history["loss"][-1] < 0.5 * history["loss"][0] and "val_pck" in history, sorted(history)
scores = estimator.evaluate(pictures, joints, verbose=0, return_dict=True)
assert scores["loss"] < history["loss"][0] and "pck" in scores, scores

found = estimator.predict(pictures)
assert found.shape == (6, 2, 3) and np.isfinite(found).all()
# The same people in a box within a larger picture, from files of different sizes.
large = [np.pad(p, ((10, 3), (20 + i, 5), (0, 0))) for i, p in enumerate(pictures)]
boxes = [[20 + i, 10, 64, 40] for i in range(6)]
moved = estimator.predict(large, boxes)
shift = np.array([[[20 + i, 10]] for i in range(6)])
np.testing.assert_allclose(moved[..., 2], found[..., 2], atol=0.02)
crops, targets = PosePreprocessor((32, 48))(pictures, joints)
of_boxes = PosePreprocessor((32, 48))(large, joints + shift, boxes)
np.testing.assert_allclose(of_boxes[1], targets, atol=1e-4)
# The longer side, 64, becomes the crop's shorter one, 32, in its middle: joint x of the picture is
# (x + 0.5) / 2 + 8 - 0.5 of the crop, and the map has a quarter of its pixels.
expected = ((joints + 0.5) / 2 + np.array([8, 6])) / 4 - 0.5
np.testing.assert_allclose(targets[..., :2], expected, atol=1e-4)

hidden = np.concatenate([joints, np.ones((6, 2, 1))], axis=-1)
hidden[0, 1, 2], hidden[1, 0, 0] = 0, np.nan
amplitudes = PosePreprocessor((32, 48))(pictures, hidden)[1][..., 2]
assert amplitudes[:2].tolist() == [[1, 0], [0, 1]] and amplitudes[2:].all()

estimator.save_to_preset("task")
again = PoseEstimator.from_preset("task")
np.testing.assert_allclose(again.predict(pictures), found, atol=1e-3)
assert again.preprocessor.codec.sigma == estimator.preprocessor.codec.sigma
with open(os.path.join("task", "README.md"), encoding="utf-8") as file:
    card = file.read().split("---")[1]
assert "pipeline_tag: keypoint-detection" in card and "library_name: keras" in card, card

layer = estimator.preprocessor
config = json.loads(json.dumps(keras.saving.serialize_keras_object(layer)))
twin = keras.saving.deserialize_keras_object(config)
np.testing.assert_array_equal(twin(pictures), layer(pictures))

for wrong, word in (
    (lambda: estimator.fit(pictures, joints[:3]), "3 for 6 pictures"),
    (lambda: estimator.fit(pictures, joints[:, :1]), "has 2 joints"),
    (lambda: estimator.fit(pictures, joints[0]), "(N, K, 2)"),
    (lambda: estimator.predict(pictures, [[0, 0, 5]] * 6), "(N, 4)"),
    (lambda: estimator.predict(["nowhere.jpg"]), "nowhere.jpg"),
    (lambda: PoseEstimator(backbone, PosePreprocessor((64, 48))), "Leave it out"),
    (lambda: PoseEstimator(backbone, preprocesor=None), "Did you mean 'preprocessor'"),
):
    try:
        wrong()
    except UserError as error:
        assert word in str(error) and "\n" not in str(error), error
    else:
        raise AssertionError(word)
