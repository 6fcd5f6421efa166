"""Input pipeline: geometry of crops, determinism, resuming, reduced decoding, bad pictures."""

import dataclasses
import os
import subprocess
import sys

import cv2
import numpy as np
import pytest

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.data.augment import (
    AUGMENTATIONS,
    Augmentation,
    apply_gains,
    erase,
    half_body_box,
    motion_blur,
)
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.images import read_image, read_reduced, shown_size, warp
from keras_hourglass.skeletons import LSP, Skeleton

STILL = Augmentation(flip=0.0, scale=0.0, rotation=0.0, colour=0.0)
DOTS = Skeleton("dots", ("left_dot", "right_dot", "middle"))


def dotted_picture(path, places, height, width, radius):
    """Bright discs on black, exactly centred by drawing them eight times larger."""
    large = np.zeros((height * 8, width * 8), np.uint8)
    for x, y in places:
        # A centre at x means x + 0.5 pixel edges from the left.
        spot = (round((x + 0.5) * 8 * 16 - 8), round((y + 0.5) * 8 * 16 - 8))
        cv2.circle(large, spot, radius * 8 * 16, 255, -1, cv2.LINE_AA, 4)
    small = cv2.resize(large, (width, height), interpolation=cv2.INTER_AREA)
    cv2.imwrite(str(path), cv2.merge([small] * 3), [cv2.IMWRITE_JPEG_QUALITY, 98])


def dot_records(path, places, box):
    return PoseRecords(DOTS, [str(path)], [box], [places], [[2, 1, 2]], [np.nan], ["dots"])


def centre_of_light(crop, place, reach):
    """Weighted mean of the brightness near a place."""
    height, width = crop.shape[:2]
    y, x = np.mgrid[:height, :width]
    near = (np.abs(x - place[0]) < reach) & (np.abs(y - place[1]) < reach)
    light = crop[..., 1].astype(float) * near
    return np.array([(light * x).sum(), (light * y).sum()]) / light.sum()


PLACES = [[401.3, 300.7], [902.6, 420.2], [640.0, 660.5]]


@pytest.mark.parametrize("side, reduction", [(600, 2), (1200, 4), (2300, 8), (250, 1)])
def test_reduced_decoding_keeps_joints_on_their_spots(tmp_path, side, reduction):
    path = tmp_path / "dots.jpg"
    dotted_picture(path, PLACES, 720, 1280, radius=24)
    size = (256, 192)
    box = (640.0, 460.0, side * 192 / 256)
    wanted = next((r for r in (8, 4, 2) if 192 / box[2] * r <= 1), 1)
    assert wanted == reduction
    records = dot_records(path, PLACES, box)
    dataset = PoseDataset(records, HeatmapCodec(size), augmentation=STILL, reduced=True)
    crop, joints, visibility, _ = dataset.sample(0)
    np.testing.assert_allclose(joints, apply_affine(crop_affine(box, size), PLACES))
    for place in joints:
        radius = 24 * 192 / box[2]
        if (place > 2 * radius).all() and (place < np.array(size[::-1]) - 2 * radius).all():
            found = centre_of_light(crop, place, 2 * radius)
            np.testing.assert_allclose(found, place, atol=0.06)
    assert visibility.tolist() == [2, 1, 2]


def test_reduced_pixels_are_means_of_blocks(tmp_path):
    smooth = cv2.GaussianBlur(
        np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8), (0, 0), 6
    )
    path = tmp_path / "smooth.jpg"
    cv2.imwrite(str(path), smooth, [cv2.IMWRITE_JPEG_QUALITY, 100])
    full = read_image(path).astype(float)
    for r in (2, 4, 8):
        small, used = read_reduced(path, r)
        assert used == r and small.shape == (96 // r, 160 // r, 3)
        means = full.reshape(96 // r, r, 160 // r, r, 3).mean(axis=(1, 3))
        assert np.abs(small - means).max() < 4


def test_other_formats_and_turned_pictures_are_read_in_full(tmp_path):
    from PIL import Image

    image = Image.fromarray(
        np.arange(40 * 60 * 3, dtype=np.uint32).astype(np.uint8).reshape(40, 60, 3)
    )
    image.save(tmp_path / "a.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # quarter turn
    image.save(tmp_path / "b.jpg", exif=exif)
    exif[0x0112] = 1
    image.save(tmp_path / "c.jpg", exif=exif)
    assert read_reduced(tmp_path / "a.png", 4)[0].shape == (40, 60, 3)
    turned, used = read_reduced(tmp_path / "b.jpg", 4)
    assert turned.shape == (60, 40, 3) and used == 1
    assert read_reduced(tmp_path / "c.jpg", 2)[0].shape == (20, 30, 3)
    assert shown_size(tmp_path / "b.jpg") == (60, 40)
    assert shown_size(tmp_path / "c.jpg") == (40, 60)


@pytest.mark.full
def test_batches_without_tensorflow():
    code = (
        "import sys; from keras_hourglass.data.pipeline import PoseDataset;"
        "from keras_hourglass.data.figures import synthetic_records;"
        "batches = PoseDataset(synthetic_records(2, 1)).as_py_dataset();"
        "assert batches[0][0].shape == (2, 256, 256, 3); assert 'tensorflow' not in sys.modules"
    )
    environment = {**os.environ, "KERAS_BACKEND": "jax"}
    subprocess.run([sys.executable, "-c", code], check=True, env=environment)


def test_a_flip_swaps_sides_and_keeps_each_joint_on_its_spot(tmp_path):
    path = tmp_path / "dots.png"
    places = [[20.0, 30.0], [70.0, 35.0], [50.0, 66.0]]
    dotted_picture(path, places, 90, 110, radius=4)
    records = dot_records(path, places, (50.0, 45.0, 96.0))
    flipped = Augmentation(flip=1.0, scale=0.0, rotation=0.0, colour=0.0)
    crop, joints, visibility, _ = PoseDataset(
        records, HeatmapCodec((64, 96)), augmentation=flipped
    ).sample(0)
    assert visibility.tolist() == [1, 2, 2]
    # The right dot's spot is now the left dot's, mirrored: x 70 is 20 px right of the centre,
    # 64 / 96 of that left of the middle 47.5.
    np.testing.assert_allclose(joints[0], [47.5 - 20 * 64 / 96, 31.5 - 10 * 64 / 96])
    for place in joints:
        np.testing.assert_allclose(centre_of_light(crop, place, 6), place, atol=0.15)


@pytest.mark.full
def test_nothing_is_mirrored_where_sides_are_not_known():
    records = synthetic_records(num=6, seed=1, size=64)
    numbered = Skeleton("own", tuple(map(str, range(14))))
    always = Augmentation(flip=1.0, scale=0.0, rotation=0.0, colour=0.0)

    def crops(**changed):
        changed = records.with_columns(skeleton=dataclasses.replace(numbered, **changed))
        return PoseDataset(changed, HeatmapCodec((64, 64)), augmentation=always).samples(range(6))

    plain, images = crops(), crops(pairs=())
    assert np.array_equal(plain[0], images[0][:, :, ::-1])
    np.testing.assert_allclose(plain[1][..., 0], 63 - images[1][..., 0])
    straight = PoseDataset(records, HeatmapCodec((64, 64)))
    assert np.array_equal(plain[0], straight.samples(range(6))[0])


@pytest.mark.slow
def test_batches_are_the_same_in_any_form_on_any_number_of_workers():
    records = synthetic_records(num=13, seed=5, size=40)
    dataset = PoseDataset(
        records, HeatmapCodec((32, 48)), batch_size=3, augmentation=Augmentation(), seed=4
    )
    expected = [dataset.batch(step, epoch) for epoch in (0, 1) for step in range(4)]
    assert not np.array_equal(expected[0][0], expected[4][0])
    for workers in (1, 4):
        stream = dataset.as_tf_dataset(workers=workers).take(8)
        for (crops, answers), (crops_0, targets_0) in zip(stream, expected, strict=True):
            np.testing.assert_array_equal(crops, crops_0)
            np.testing.assert_array_equal(answers["stack_1"], targets_0)
        batches = dataset.as_py_dataset(workers=workers)
        for epoch in (0, 1):
            for step in range(len(batches)):
                np.testing.assert_array_equal(batches[step][0], expected[4 * epoch + step][0])
            batches.on_epoch_end()


def test_a_run_goes_on_in_the_middle_of_an_epoch():
    records = synthetic_records(num=10, seed=5, size=40)
    dataset = PoseDataset(
        records, HeatmapCodec((32, 32)), batch_size=2, augmentation=Augmentation(), seed=4
    )
    whole = [crops.numpy() for crops, _ in dataset.as_tf_dataset().take(10)]
    rest = dataset.as_tf_dataset(start_epoch=1, start_step=3, endless=False)
    for crops, (other, _) in zip(whole[8:], rest, strict=True):
        np.testing.assert_array_equal(crops, other)
    batches = dataset.as_py_dataset(start_epoch=0, start_step=3)
    assert len(batches) == 2
    np.testing.assert_array_equal(batches[0][0], whole[3])
    batches.on_epoch_end()
    assert len(batches) == 5
    np.testing.assert_array_equal(batches[0][0], whole[5])


def test_each_epoch_shows_everybody_once():
    dataset = PoseDataset(synthetic_records(num=9, seed=1), shuffle=True, batch_size=3)
    first, second = dataset.order(0), dataset.order(1)
    assert sorted(first) == sorted(second) == list(range(9))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(first, dataset.order(0))


def test_threads_at_the_border_of_epochs_get_the_right_orders():
    from concurrent.futures import ThreadPoolExecutor

    dataset = PoseDataset(synthetic_records(num=50, seed=1), shuffle=True)
    wanted = [np.random.default_rng([0, epoch]).permutation(50) for epoch in range(4)]
    with ThreadPoolExecutor(8) as pool:
        epochs = [number % 4 for number in range(2000)]
        for epoch, order in zip(epochs, pool.map(dataset.order, epochs), strict=True):
            np.testing.assert_array_equal(order, wanted[epoch])


def test_compact_targets_and_ready_heatmaps_are_the_same_numbers():
    records = synthetic_records(num=4, seed=5, size=40)
    codec = HeatmapCodec((32, 48), sigma=1.2)
    crops, targets = PoseDataset(records, codec, batch_size=4).batch(0)
    ready = PoseDataset(records, codec, batch_size=4, heatmaps=True, outputs=("a", "b"))
    ((other, answers),) = ready.as_tf_dataset(endless=False)
    np.testing.assert_array_equal(crops, other)
    np.testing.assert_allclose(answers["b"], codec.draw(targets), atol=1e-6)
    assert answers["a"].shape == (4, 8, 12, 14)


def test_unreadable_pictures_are_black_without_weight_and_named(tmp_path):
    good, bad = tmp_path / "good.png", tmp_path / "bad.jpg"
    cv2.imwrite(str(good), np.full((40, 40, 3), 200, np.uint8))
    bad.write_bytes(b"\xff\xd8 no picture")
    records = synthetic_records(num=4, seed=5, size=40)
    records = records.with_columns(images=[str(bad), str(good), str(tmp_path / "none.jpg"), ""])
    dataset = PoseDataset(records, HeatmapCodec((32, 32)), batch_size=4)
    crops, targets = dataset.batch(0)
    assert crops[1].max() == 200 and crops[[0, 2, 3]].max() == 0
    assert targets[[0, 2, 3], :, 3].max() == 0 and targets[1, :, 3].min() == 1
    assert set(dataset.failures) == {str(bad), str(tmp_path / "none.jpg"), ""}


@pytest.mark.parametrize("kind", ["grey", "16 bit", "alpha", "cmyk", "palette"])
def test_unusual_pictures_become_rgb(tmp_path, kind):
    from PIL import Image

    path = tmp_path / ("x.jpg" if kind == "cmyk" else "x.png")
    grey = np.full((24, 20), 120, np.uint8)
    if kind == "16 bit":
        cv2.imwrite(str(path), grey.astype(np.uint16) * 257)
    else:
        mode = {"grey": "L", "alpha": "RGBA", "cmyk": "CMYK", "palette": "P"}[kind]
        first = "L" if kind == "palette" else "RGB"
        Image.fromarray(grey).convert(first).convert(mode).save(path)
    image = read_image(path)
    assert image.shape == (24, 20, 3) and image.dtype == np.uint8
    assert np.abs(image.astype(int) - 120).max() <= 3


def test_gains_round_and_clip_every_level():
    levels = np.arange(256, dtype=np.uint8)
    image = np.stack([levels] * 3, axis=-1)[None]
    changed = apply_gains(image, (0.61, 1.0, 1.37))[0]
    for channel, gain in enumerate((0.61, 1.0, 1.37)):
        exact = np.rint(levels.astype(np.float32) * np.float32(gain))
        np.testing.assert_array_equal(changed[:, channel], np.minimum(exact, 255))


def test_default_draws_do_not_depend_on_the_optional_ones():
    plain = Augmentation().draw(np.random.default_rng(3))
    more = Augmentation(half_body=1.0, erase=1.0, motion_blur=1.0).draw(np.random.default_rng(3))
    for name in ("scale", "rotation", "flip", "gains"):
        assert getattr(plain, name) == getattr(more, name)
    assert plain.half is plain.erased is plain.blur is None
    assert more.half in ("upper", "lower") and more.erased and more.blur


def test_authors_ranges():
    rng = np.random.default_rng(0)
    drawn = [AUGMENTATIONS["newell"].draw(rng) for _ in range(4000)]
    octaves = np.log2([transform.scale for transform in drawn])
    turns = np.array([transform.rotation for transform in drawn])
    assert np.abs(octaves).max() == pytest.approx(0.5)
    assert np.std(octaves) == pytest.approx(0.24, abs=0.015)
    assert np.abs(turns).max() == 60 and np.mean(turns != 0) == pytest.approx(0.4, abs=0.03)
    assert np.mean([transform.flip for transform in drawn]) == pytest.approx(0.5, abs=0.03)
    gains = np.array([transform.gains for transform in drawn])
    assert gains.min() >= 0.6 and gains.max() <= 1.4


def test_half_bodies():
    joints = np.stack([np.arange(14.0) * 3, np.arange(14.0)], axis=-1)
    visibility = np.full(14, 2)
    box = np.array([1.0, 2.0, 3.0])
    # LSP's joints 0 to 5 are legs: x from 0 to 15, y from 0 to 5.
    lower = half_body_box(box, joints, visibility, LSP, "lower", padding=2)
    assert lower.tolist() == [7.5, 2.5, 30.0]
    upper = half_body_box(box, joints, visibility, LSP, "upper", padding=1)
    assert upper.tolist() == [28.5, 9.5, 21.0]
    visibility[2:6] = 0
    assert half_body_box(box, joints, visibility, LSP, "lower") is box


def test_erasing_and_blurring():
    image = np.zeros((40, 60, 3), np.uint8)
    erase(image, (0.25, 0.5, 0.5, 0.25, (9, 8, 7)))
    assert (image[10:30, 30:45] == (9, 8, 7)).all()
    assert image.sum() == 20 * 15 * 24
    dot = np.zeros((65, 65, 3), np.uint8)
    dot[32, 32] = 255
    blurred = motion_blur(dot, (8 / 65, 0.0))[..., 0].astype(float)
    y, x = np.mgrid[:65, :65]
    # Spread along x, not along y, about the same centre.
    assert (blurred * x).sum() / blurred.sum() == pytest.approx(32, abs=0.01)
    assert (blurred[31].sum(), blurred[33].sum()) == (0, 0)
    assert 7 <= (blurred[32] > 0).sum() <= 9


def test_settings_out_of_range():
    records = synthetic_records(num=2, seed=1)
    for make in (
        lambda: Augmentation(flip=1.5),
        lambda: Augmentation(erase=-0.1),
        lambda: Augmentation(rotation=-1),
        lambda: PoseDataset(records, batch_size=0),
        lambda: PoseDataset(records.select(slice(0))),
    ):
        with pytest.raises(UserError, match="Received"):
            make()


@pytest.mark.full
def test_memory_stays_flat(tmp_path):
    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs Linux's /proc")

    def resident():
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20

    path = tmp_path / "a.jpg"
    cv2.imwrite(str(path), np.random.default_rng(0).integers(0, 256, (300, 200, 3), np.uint8))
    records = synthetic_records(num=50, seed=5, size=200).with_columns(images=[str(path)] * 50)
    dataset = PoseDataset(records, HeatmapCodec((64, 64)), 10, augmentation=Augmentation())
    for step in range(40):
        dataset.batch(step % 5, step // 5)
    before = resident()
    for step in range(40, 600):
        dataset.batch(step % 5, step // 5)
    assert resident() - before < 8


def test_the_crop_is_one_resampling_of_the_picture(tmp_path):
    path = tmp_path / "noise.png"
    image = np.random.default_rng(1).integers(0, 256, (70, 90, 3), dtype=np.uint8)
    cv2.imwrite(str(path), image[..., ::-1])
    records = dot_records(path, PLACES, (40.0, 30.0, 50.0))
    crop = PoseDataset(records, HeatmapCodec((32, 48))).sample(0)[0]
    expected = warp(image, crop_affine((40.0, 30.0, 50.0), (32, 48)), (32, 48))
    np.testing.assert_array_equal(crop, expected)
