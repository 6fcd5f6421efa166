"""Photographs with everybody's box: the reader, and what a batch shows and asks for."""

import json

import numpy as np
import pytest

from keras_hourglass.codec import BoxCodec
from keras_hourglass.data.augment import AUGMENTATIONS, Augmentation
from keras_hourglass.data.load import is_scenes, load_records, load_scenes
from keras_hourglass.data.pipeline import SceneDataset
from keras_hourglass.data.scenes import SceneRecords, mix_scenes, read_scenes
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.images import paste_scaled, write_image

JOINTS = [1.0, 2.0, 2, 0, 0, 0, 5.0, 5.0, 1]  # two of three are labelled


def write_scenes(folder, **changes):
    annotations = [
        {"id": 1, "image_id": 7, "category_id": 1, "bbox": [10, 4, 20, 12], "iscrowd": 0,
         "keypoints": JOINTS},
        {"id": 2, "image_id": "7", "category_id": 1, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"id": 3, "image_id": 7, "category_id": 18, "bbox": [0, 0, 9, 9]},
        {"id": 4, "image_id": 9, "category_id": 1, "bbox": [1, 1, 0, 9]},
        {"id": 5, "image_id": 4, "category_id": 1, "bbox": [1, 1, 9, 9]},
    ]  # fmt: skip
    content = {
        "images": [{"id": 7, "file_name": "street.png"}, {"id": 9, "file_name": "empty.png"}],
        "annotations": annotations,
        "categories": [{"id": 1, "name": "person"}, {"id": 18, "name": "dog"}],
        **changes,
    }
    (folder / "scenes.json").write_text(json.dumps(content))
    write_image(folder / "street.png", np.full((24, 40, 3), (200, 120, 40), np.uint8))
    write_image(folder / "empty.png", np.zeros((24, 40, 3), np.uint8))
    return folder / "scenes.json"


def test_reading(tmp_path):
    records = read_scenes(write_scenes(tmp_path))
    assert [path.rsplit("/", 1)[1] for path in records.images] == ["street.png", "empty.png"]
    assert records.boxes[0].tolist() == [[10, 4, 20, 12], [0, 0, 9, 9]]
    assert records.ignored[0].tolist() == [False, True]
    assert records.joints[0].tolist() == [2, 0]
    assert records.boxes[1].shape == (0, 4)
    assert records.extra["image_number"].tolist() == [1, 2]
    assert len(records.notes) == 2 and "unknown image_id" in records.notes[1]
    assert records.select([1]).ids.tolist() == ["9"]
    assert records.skeleton.joints[0] == "centre"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": []}, "needs photographs"),
        ({"annotations": {}}, "list of objects named 'annotations'"),
        ({"images": [{"id": 1, "file_name": "../up.png"}]}, "must stay inside"),
    ],
)
def test_files_that_are_none(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_scenes(write_scenes(tmp_path, **changes))


def test_a_file_with_one_category_holds_people(tmp_path):
    records = read_scenes(write_scenes(tmp_path, categories=[{"id": 18, "name": "pedestrian"}]))
    assert records.boxes[0].tolist() == [[0, 0, 9, 9]]


def test_the_whole_photograph_lies_in_the_middle(tmp_path):
    dataset = SceneDataset(read_scenes(write_scenes(tmp_path)), BoxCodec((64, 80)), batch_size=2)
    inputs, maps = dataset.batch(0)
    assert inputs.shape == (2, 64, 80, 3) and maps.shape == (2, 16, 20, 7)
    # 40×24 becomes 80×48, with 8 rows above and below.
    assert inputs[0, 8:56].reshape(-1, 3).tolist() == [[200, 120, 40]] * (48 * 80)
    assert not inputs[0, :8].any() and not inputs[0, 56:].any()
    expected = dataset.codec.encode([[20, 16, 40, 24], [0, 8, 18, 18]], [False, True])
    np.testing.assert_allclose(maps[0], expected)
    assert maps[1, ..., 0].max() == 0 and (maps[1, ..., 5] == 1).all()
    assert maps[0, 3, 2, 5] == 0, "in the crowd nothing is asked"


def test_boxes_move_with_their_people():
    """Whatever is drawn, the box found in the maps frames the one bright person in the input."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 60, (90, 130, 3)).astype(np.uint8)
    image[30:70, 50:74] = 255
    records = SceneRecords(["x.png"], [[[50, 30, 24, 40]]], [[False]], [[17]], ["x"])
    augmentation = AUGMENTATIONS["scenes"]
    dataset = SceneDataset(records, BoxCodec((128, 192)), augmentation, cache=True, seed=3)
    dataset._cache["x.png"] = image
    sizes, flipped, seen = [], 0, 0
    for epoch in range(60):
        shown, maps = dataset.sample(0, epoch)
        [found] = dataset.codec.decode(maps[None, ..., :5], least=0.5)
        rows, columns = np.nonzero(shown.max(axis=-1) > 150)
        if not len(found):
            continue  # of somebody of whom little is left nothing is asked
        seen += 1
        x, y, width, height, _ = found[0]
        edges = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose([x, y, x + width, y + height], edges, atol=1.6)
        sizes.append(height)
        flipped += augmentation.draw(np.random.default_rng([3, epoch, 0, 1])).flip
    assert seen > 40 and 15 < flipped < 45
    # The factor is 128 / 90 times 2 to the power of −0.8 to 0.8.
    assert 30 < min(sizes) < 45 and 70 < max(sizes) <= 40 * 128 / 90 * 2**0.8 + 2


def test_a_photograph_that_cannot_be_read_teaches_nothing(tmp_path):
    path = write_scenes(tmp_path)
    (tmp_path / "street.png").write_bytes(b"broken")
    dataset = SceneDataset(read_scenes(path), BoxCodec((64, 64)))
    shown, maps = dataset.sample(0)
    assert not shown.any() and not maps.any() and len(dataset.failures) == 1


def test_photographs_are_not_turned(tmp_path):
    records = read_scenes(write_scenes(tmp_path))
    for augmentation in (Augmentation(), Augmentation(rotation=0, half_body=0.1)):
        with pytest.raises(UserError, match="neither turned nor cut"):
            SceneDataset(records, augmentation=augmentation)


def test_pasting_cuts_what_lies_outside():
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 10
    canvas, factors = paste_scaled(image, 2.0, (-1, 2), (4, 5), fill=7)
    assert factors == (2.0, 2.0)
    assert canvas[:2].min() == canvas[:2].max() == 7
    assert canvas[2:, 3:].min() == canvas[2:, 3:].max() == 7
    assert canvas[2, 0].tolist() != [7, 7, 7]
    beside, _ = paste_scaled(image, 1.0, (9, 9), (4, 5), fill=7)
    assert (beside == 7).all()


def test_by_name_in_a_range_and_as_a_mixture(tmp_path):
    write_scenes(tmp_path)
    whole = load_scenes("boxes:scenes.json", tmp_path)
    assert [len(boxes) for boxes in whole.boxes] == [2, 0]
    second = load_scenes(["boxes:scenes.json#2-2"], tmp_path)
    assert second.ids.tolist() == ["9"]
    mixed = load_scenes(["boxes:scenes.json#1-1*3", "boxes:scenes.json"], tmp_path)
    assert mixed.ids.tolist() == ["7", "7", "7", "7", "9"]
    assert mixed.extra["part"].tolist() == [0, 0, 0, 1, 1]
    (tmp_path / "empty.png").unlink()
    left = load_scenes("boxes:scenes.json", tmp_path)
    assert left.ids.tolist() == ["7"] and "left out (picture missing)" in left.notes[-1]
    with pytest.raises(UserError, match="positive share"):
        mix_scenes([])


def test_boxes_and_joints_do_not_mix(tmp_path):
    write_scenes(tmp_path)
    with pytest.raises(UserError, match="mix with no other data"):
        load_scenes(["boxes:scenes.json", "synthetic:3@1"], tmp_path)
    with pytest.raises(UserError, match="People with joints are needed"):
        load_records("boxes:scenes.json", tmp_path)
    assert is_scenes(["lsp:x", "boxes:y"]) and not is_scenes(None)
