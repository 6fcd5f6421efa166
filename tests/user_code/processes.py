"""Predictors in other processes, pictures and numbers as programs have them, models of one's own.

A predictor answers in a forked child: its threads are made anew there.
"""

import concurrent.futures
import io
import json
import multiprocessing
import pickle

import numpy as np
from PIL import Image

from keras_hourglass import HeatmapCodec, Predictor
from keras_hourglass.data import PoseDataset, load_records
from keras_hourglass.errors import UserError

picture = np.random.default_rng(3).integers(0, 255, (60, 40, 3), np.uint8)
file = io.BytesIO()
Image.fromarray(picture).save(file, "png")
predictor = Predictor("hourglass_tiny_lsp", whole=True)
[pose] = predictor(picture)

[again] = predictor(io.BytesIO(file.getvalue()))
np.testing.assert_allclose(again.keypoints, pose.keypoints, atol=1e-3)
with open("picture.png", "wb") as target:
    target.write(file.getvalue())
with open("picture.png", "rb") as opened:
    [again] = predictor(opened)
np.testing.assert_allclose(again.keypoints, pose.keypoints, atol=1e-3)
try:
    predictor(io.StringIO("no picture"))
except UserError as error:
    assert "read as bytes" in str(error), error
else:
    raise AssertionError("text is no picture")

assert json.loads(json.dumps(pose.to_coco(np.int64(3), np.int32(7))))["image_id"] == 3

[again] = pickle.loads(pickle.dumps(predictor))(picture)
np.testing.assert_allclose(again.keypoints, pose.keypoints, atol=1e-3)

# A forked child, one picture and a row of them, with the detector too.
looking = Predictor("hourglass_tiny_lsp", workers=3)
looking([picture])
dataset = PoseDataset(load_records("synthetic:6@1"), HeatmapCodec((64, 48)), 2)
crops = dataset.batch(1)[0]
np.testing.assert_array_equal(pickle.loads(pickle.dumps(dataset)).batch(1)[0], crops)


def in_a_child(number):
    rows = [one.keypoints for one in looking([picture] * 3)]
    return predictor(picture)[0].keypoints, rows, dataset.batch(number)[0]


if "fork" in multiprocessing.get_all_start_methods():
    context = multiprocessing.get_context("fork")
    with concurrent.futures.ProcessPoolExecutor(2, mp_context=context) as pool:
        for keypoints, rows, batch in pool.map(in_a_child, (1, 1), timeout=300):
            np.testing.assert_allclose(keypoints, pose.keypoints, atol=1e-3)
            assert len(rows) == 3
            np.testing.assert_array_equal(batch, crops)
    np.testing.assert_allclose(predictor(picture)[0].keypoints, pose.keypoints, atol=1e-3)


# Models of one's own, and so many predictors that TensorFlow would warn of functions made anew.
import keras  # noqa: E402 - the fork before it is one of a program without a backend

image = keras.Input((32, 48, 3))
x = keras.layers.Conv2D(4, 3, 4, padding="same")(image)
maps = keras.layers.Conv2D(5, 1)(x)
options = {"flip": False, "detector": None, "skeleton": list("abcde")}
for outputs in (maps, [keras.layers.Conv2D(5, 1)(x), maps], {"stack_1": maps}):
    model = keras.Model(image, outputs)
    for engine in ("auto", "fastest", "keras"):
        [own] = Predictor(model, engine=engine, **options)(picture)
        assert own.names == tuple("abcde") and own.keypoints.shape == (5, 2), own
        before = Predictor(keras.Model(image, maps), **options)(picture)[0].scores
        np.testing.assert_allclose(own.scores, before, atol=1e-5)
chain = keras.Sequential([image, keras.layers.Conv2D(5, 4, 4)])
[own] = Predictor(chain, **options)(picture)
chain.set_weights([0 * weights for weights in chain.get_weights()])
live = Predictor(chain, **options)
assert not live(picture)[0].scores.any()
chain.set_weights([0 * weights + 1 for weights in chain.get_weights()])
assert live(picture)[0].scores.all()
try:
    Predictor(keras.Model(image, keras.layers.Flatten()(maps)), **options)
except UserError as error:
    assert "heatmaps (N, h, w, K)" in str(error), error
else:
    raise AssertionError("a row of numbers is no heatmap")

# What cannot go on in a fork says so instead of hanging.
backend = keras.backend.backend()


def of_the_model(_):
    return live(picture)[0].scores


if "fork" in multiprocessing.get_all_start_methods():
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        answer = pool.submit(of_the_model, 0)
        if backend == "torch":
            assert answer.result(300).all()
        else:
            error = answer.exception(300)
            assert isinstance(error, UserError) and "spawn" in str(error), error
