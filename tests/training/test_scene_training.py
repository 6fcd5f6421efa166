"""Training a network that finds people through the same recipe as one that finds joints."""

import json

import numpy as np
import pytest

from keras_hourglass.errors import RecipeError, UserError
from keras_hourglass.io.images import write_image
from keras_hourglass.training.run import train
from keras_hourglass.zoo.store import load_model


@pytest.fixture
def scenes(tmp_path):
    images, annotations, rng = [], [], np.random.default_rng(1)
    for number in range(1, 7):
        image = rng.integers(0, 60, (64, 96, 3)).astype(np.uint8)
        image[16:48, 20:40] = 220
        write_image(tmp_path / f"{number}.png", image)
        images.append({"id": number, "file_name": f"{number}.png"})
        annotations.append({"id": number, "image_id": number, "bbox": [20, 16, 20, 32]})
    path = tmp_path / "scenes.json"
    path.write_text(json.dumps({"images": images, "annotations": annotations}))
    return tmp_path


def recipe(**changes):
    return {
        "model": {"num_stacks": 1, "num_features": 4, "depth": 1, "stem": [4, [4], [4]],
                  "input_shape": [32, 48, 3]},
        "data": {"train": "boxes:scenes.json", "validation": "boxes:scenes.json#1-2"},
        "augmentation": {"preset": "scenes"},
        "optimizer": {"name": "adam", "learning_rate": 1e-2},
        "training": {"epochs": 4, "batch_size": 3, "steps_per_epoch": 12},
        "monitoring": {"tensorboard": False},
        **changes,
    }  # fmt: skip


@pytest.mark.slow
def test_the_run_learns_and_saves_a_detector(scenes):
    model, history = train(recipe(), scenes / "out", data_root=scenes, verbose=0)
    assert model.skeleton.name == "boxes"
    assert history.history["loss"][-1] < 0.8 * history.history["loss"][0]
    assert 0 <= history.history["val_overlap"][-1] <= 1
    assert load_model(scenes / "out").skeleton.joints[0] == "centre"


def test_what_cannot_be_trained_is_said(scenes):
    with pytest.raises(UserError, match="augmentation.preset to scenes"):
        train(recipe(augmentation={}), scenes / "a", data_root=scenes, verbose=0)
    mixed = {"train": ["boxes:scenes.json", "synthetic:4@1"]}
    with pytest.raises(UserError, match=r"data\.train: .* mix with no other data"):
        train(recipe(data=mixed), scenes / "b", data_root=scenes, verbose=0)
    inner = {**recipe()["model"], "supervision": "inner", "depth": 2}
    with pytest.raises(RecipeError, match=r"model\.supervision: .*one resolution"):
        train(recipe(model=inner), scenes / "c", data_root=scenes, verbose=0)
