"""A predictor that travels to another process, and pictures and numbers as programs have them."""

import io
import json
import pickle

import numpy as np
from PIL import Image

from keras_hourglass import Predictor
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
