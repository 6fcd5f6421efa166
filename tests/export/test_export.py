"""The exported SavedModel: what it computes, and what it withstands."""

import json
import struct
import zlib

import cv2
import keras
import numpy as np
import pytest
from crops import EXACT_CROPS
from networks import as_trained
from peaks import noisy_peaks

from keras_hourglass import StackedHourglass, geometry
from keras_hourglass.codec import DECODERS, HeatmapCodec
from keras_hourglass.errors import UserError
from keras_hourglass.io import images
from keras_hourglass.skeletons import SKELETONS

tf = pytest.importorskip("tensorflow")

from keras_hourglass.export import export_model  # noqa: E402
from keras_hourglass.export.in_graph import (  # noqa: E402
    PictureReader,
    crop,
    decode,
    exif_orientation,
    merge_flipped,
)
from keras_hourglass.export.saved_model import verify  # noqa: E402
from keras_hourglass.inference import tensorflow_graph  # noqa: E402
from keras_hourglass.inference.program import Program, Step  # noqa: E402
from keras_hourglass.inference.tensorflow_graph import constants_pay  # noqa: E402

SIZE = (64, 96)


def png(image):
    return cv2.imencode(".png", image[..., ::-1] if image.ndim == 3 else image)[1].tobytes()


def jpeg(image, *flags):
    return cv2.imencode(".jpg", image[..., ::-1] if image.ndim == 3 else image, flags)[1].tobytes()


def scene(height=120, width=90, seed=0):
    """Smooth colours without symmetry."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)


def with_exif(data, orientation, order=">"):
    """A JPEG with an EXIF segment that holds two entries, the second the orientation."""
    start = b"MM\0*" if order == ">" else b"II*\0"
    tiff = start + struct.pack(order + "IH", 8, 2)
    tiff += struct.pack(order + "HHI4s", 0x010F, 2, 4, b"abc\0")
    tiff += struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0) + bytes(4)
    payload = b"Exif\0\0" + tiff
    comment = b"\xff\xfe" + struct.pack(">H", 7) + b"hello"
    return (
        data[:2] + comment + b"\xff\xe1" + struct.pack(">H", len(payload) + 2) + payload + data[2:]
    )


@pytest.fixture(scope="module")
def model():
    # Of any weights two neighbours of a maximum may be as high, and either a joint's direction.
    keras.utils.set_random_seed(7)
    model = StackedHourglass(
        skeleton="lsp",
        num_stacks=2,
        num_features=8,
        depth=2,
        input_shape=(*SIZE, 3),
        metadata={"thresholds": {"head_top": 1e9, "neck": -1e9}},
    )
    return as_trained(model)


@pytest.fixture(scope="module")
def exported(model, tmp_path_factory):
    return export_model(model, tmp_path_factory.mktemp("served"), name="pose", preset="tiny")


@pytest.fixture(scope="module")
def served(exported):
    return tf.saved_model.load(str(exported)).signatures


@pytest.fixture(scope="module")
def predictor(model):
    from keras_hourglass import Predictor

    return Predictor(model, whole=True)


def call(served, encoded, boxes=None):
    if boxes is None:
        outputs = served["serving_default"](image_bytes=tf.constant(encoded, tf.string))
    else:
        boxes = tf.constant(np.reshape(boxes, (-1, 4)), tf.float32)
        outputs = served["predict_boxes"](image_bytes=tf.constant(encoded), boxes=boxes)
    return {key: value.numpy() for key, value in outputs.items()}


def assert_as_predicted(served, predictor, encoded, boxes=None):
    """The served joints of every picture are within half a pixel of the predictor's."""
    outputs = call(served, encoded, boxes)
    assert outputs["valid"].all()
    for row, data in enumerate(encoded):
        pose = predictor(data, boxes=None if boxes is None else [boxes[row]])[0]
        np.testing.assert_allclose(outputs["scores"][row], pose.scores, rtol=1e-3, atol=1e-3)
        distance = np.linalg.norm(outputs["keypoints"][row] - pose.keypoints, axis=-1)
        # Of two places in a map that are as high, crops that differ choose either.
        assert (distance > 0.5).sum() <= (0 if EXACT_CROPS else 1), distance
        assert (outputs["present"][row] == pose.present).all()


def test_signatures_keep_the_public_surface(served):
    assert set(served) == {"serving_default", "predict_boxes", "heatmaps", "metadata"}
    outputs = served["serving_default"].structured_outputs
    assert {name: spec.dtype.name for name, spec in outputs.items()} == {
        "keypoints": "float32",
        "scores": "float32",
        "present": "bool",
        "valid": "bool",
    }
    maps = served["heatmaps"](images=tf.zeros((3, *SIZE, 3)))
    assert {name: value.shape for name, value in maps.items()} == {
        "stack_1": (3, 16, 24, 14),
        "stack_2": (3, 16, 24, 14),
    }


@pytest.mark.slow
@pytest.mark.parametrize("count", [0, 1, 3])
def test_any_number_of_pictures_of_any_size(served, count):
    encoded = [png(scene(40 + 7 * n, 90 - 11 * n)) for n in range(count)]
    outputs = call(served, encoded)
    assert outputs["keypoints"].shape == (count, 14, 2)
    assert outputs["scores"].shape == outputs["present"].shape == (count, 14)
    assert outputs["valid"].tolist() == [True] * count


@pytest.mark.slow
def test_heatmaps_are_the_models(model, served):
    crops = np.random.default_rng(0).integers(0, 256, (2, *SIZE, 3)).astype("float32")
    expected = model.predict(crops, verbose=0)
    actual = served["heatmaps"](images=tf.constant(crops))
    for name in ("stack_1", "stack_2"):
        np.testing.assert_allclose(actual[name], expected[name], rtol=1e-3, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("limit", "kept"), [(None, False), (1000, True)])
def test_weights_of_large_networks_are_variables(model, tmp_path, monkeypatch, limit, kept):
    if limit is not None:
        monkeypatch.setattr(tensorflow_graph, "_AS_CONSTANTS", limit)
    folder = export_model(model, tmp_path, name="either")
    [shard] = (folder / "variables").glob("*.data-*")
    # Kernels, biases and norms of 8 features: some thousand numbers of four bytes.
    assert (shard.stat().st_size > 10_000) is kept
    served = tf.saved_model.load(str(folder))
    crops = np.random.default_rng(3).integers(0, 256, (3, *SIZE, 3)).astype(np.float32)
    maps = served.signatures["heatmaps"](images=tf.constant(crops))
    expected = model.predict(crops, verbose=0)
    for name in expected:
        np.testing.assert_allclose(maps[name], expected[name], atol=1e-4)


def test_what_weighs_up_to_8_mib_is_small():
    million = np.zeros((1024, 1024), np.float32)  # 4 MiB
    steps = [Step("shift", (0,), (million,)), Step("shift", (1,), (million,))]
    assert constants_pay(Program(steps, {}, (8, 4, 3)))
    steps.append(Step("shift", (2,), (np.zeros(1, np.float32),)))
    assert not constants_pay(Program(steps, {}, (8, 4, 3)))


@pytest.mark.slow
def test_joints_are_the_predictors_for_every_kind_of_file(served, predictor):
    colour = scene()
    deep = scene(77, 130, 1).astype(np.uint16) * 257
    see_through = np.dstack([colour, np.full(colour.shape[:2], 9, np.uint8)])
    encoded = [
        jpeg(colour),
        png(colour),
        jpeg(colour[..., 0]),
        png(colour[..., 0]),
        jpeg(colour, cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
        cv2.imencode(".png", see_through)[1].tobytes(),
        cv2.imencode(".png", deep)[1].tobytes(),
    ]
    assert_as_predicted(served, predictor, encoded)


@pytest.mark.parametrize("order", "><")
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_honoured(served, predictor, orientation, order):
    data = with_exif(jpeg(scene()), orientation, order)
    assert images.read_image(data).shape[0] == (90 if orientation >= 5 else 120)
    assert exif_orientation(tf.constant(data)).numpy() == orientation
    assert_as_predicted(served, predictor, [data])


def test_damaged_exif_counts_as_upright():
    data = with_exif(jpeg(scene()), 6)
    place = data.index(b"MM\0*")
    for damaged in (
        data[:place] + b"MM\0*\xff\xff\xff\xff" + data[place + 8 :],  # directory beyond the end
        data[: place + 8] + b"\xff\xff" + bytes(24) + data[place + 34 :],  # 65,535 entries
        with_exif(jpeg(scene()), 9),
        data[: place + 5],
        data[:2],
        b"",
    ):
        assert exif_orientation(tf.constant(damaged)).numpy() == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "box",
    [
        (0, 0, 90, 120),
        (-20, -35, 60, 50),
        (80.3, 100.6, 40, 50),
        (44.2, 61.7, 0.5, 0.25),
        (-4000, -5000, 10000, 9000),
        (300, 300, 20, 20),
    ],
)
def test_crop_is_the_training_crop(box):
    image = scene()
    matrix = geometry.crop_affine(geometry.boxes_from_xywh(box), SIZE)
    expected = images.warp(image, matrix, SIZE).astype(int)
    encoded, boxes = tf.constant([png(image)]), tf.constant([box], tf.float32)
    crops, back, valid = PictureReader(SIZE)(encoded, boxes)
    assert valid.numpy().tolist() == [True]
    difference = np.abs(expected - crops[0].numpy())
    assert difference.max() <= (1 if EXACT_CROPS else 8)
    points = np.array([[0.0, 0.0], [95.0, 63.0]])
    found = points * back.numpy()[0, 0] + back.numpy()[0, 1:]
    wanted = geometry.apply_affine(geometry.invert_affine(matrix), points)
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-3)


def test_crop_by_hand():
    image = tf.constant(
        np.arange(4, dtype=np.uint8).reshape(1, 4, 1) * 10 * np.ones((2, 1, 3), "u1")
    )
    # Half a pixel to the right, one step of two pixels; the last sample is half outside.
    pixels = crop(image, tf.constant(1.5), tf.constant([0.5, 0.0]), (1, 3))
    assert pixels[0, :, 0].numpy().tolist() == [5, 20, 15]


@pytest.mark.slow
def test_real_photographs(served, predictor, shared_data):
    photos = [
        *sorted((shared_data / "lsp_train").rglob("*.jpg"))[:3],
        *sorted((shared_data / "coco_sample").rglob("*.jpg"))[:2],
        *sorted((shared_data / "mpii_sample").rglob("*.jpg"))[:2],
    ]
    encoded = [photo.read_bytes() for photo in photos]
    assert len(encoded) >= 5
    assert_as_predicted(served, predictor, encoded)
    boxes = np.array([[10, -20, 90, 130]] * len(encoded), float)
    assert_as_predicted(served, predictor, encoded, boxes)


def test_a_bad_picture_does_not_fail_the_others(served):
    good = jpeg(scene())
    damaged = bytearray(png(scene()))
    damaged[60] ^= 0xFF
    bad = [b"", b"no picture", good[: len(good) // 2], bytes(damaged), b"\x89PNG", b"\xff\xd8\xff"]
    outputs = call(served, [good, *bad, good])
    assert outputs["valid"].tolist() == [True, *[False] * len(bad), True]
    assert np.isnan(outputs["keypoints"][1:-1]).all() and np.isnan(outputs["scores"][1:-1]).all()
    assert not outputs["present"][1:-1].any()
    np.testing.assert_array_equal(outputs["keypoints"][0], outputs["keypoints"][-1])
    np.testing.assert_allclose(outputs["keypoints"][:1], call(served, [good])["keypoints"])


def test_mutilated_files_never_fail_their_batch(served):
    rng = np.random.default_rng(8)
    whole = [
        with_exif(jpeg(scene()), 6),
        png(scene()),
        jpeg(scene(), cv2.IMWRITE_JPEG_PROGRESSIVE, 1),
    ]
    files = []
    for number in range(60):
        data = bytearray(whole[number % 3])
        for place in rng.integers(0, min(len(data), 400 if number % 2 else len(data)), 5):
            data[place] = rng.integers(256)
        files.append(bytes(data[: rng.integers(1, len(data) + 1)] if number % 5 == 0 else data))
    outputs = call(served, [*files, whole[1]])
    assert outputs["valid"][-1]
    finite = np.isfinite(outputs["keypoints"]).all(axis=(1, 2))
    np.testing.assert_array_equal(finite, outputs["valid"])


def test_a_bad_box_does_not_fail_the_others(served):
    boxes = [
        (5, 5, 50, 60),
        (np.nan, 0, 10, 10),
        (0, 0, np.inf, 10),
        (0, 0, 0, 10),
        (0, 0, 10, -1),
        (3e38, 0, 3e38, 10),
    ]
    outputs = call(served, [png(scene())] * len(boxes), boxes)
    assert outputs["valid"].tolist() == [True] + [False] * 5


def test_as_many_boxes_as_pictures(served):
    with pytest.raises(tf.errors.InvalidArgumentError):
        call(served, [png(scene())] * 2, [(0, 0, 5, 5)])


def png_header(width, height, body=b""):
    def chunk(kind, content):
        checksum = zlib.crc32(kind + content)
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)

    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")
    )


def test_image_bombs_are_refused_by_their_header(served):
    body = zlib.compress(bytes(30000 * (30000 // 8 + 1)), 9)
    bomb = png_header(30000, 30000, body)
    assert len(bomb) < 200_000
    wide = jpeg(scene())
    place = wide.index(b"\xff\xc0") + 5
    wide = wide[:place] + struct.pack(">HH", 65000, 65000) + wide[place + 4 :]
    before = peak_memory()
    outputs = call(
        served, [bomb, wide, png_header(2**32 - 1, 2**32 - 1), png_header(0, 5), b"GIF89a"]
    )
    assert not outputs["valid"].any()
    assert peak_memory() - before < 200 * 2**20  # decoded, it would take 2.7 GB


def peak_memory():
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.slow
def test_max_pixels_is_inclusive():
    encoded = tf.constant([png(scene(10, 20)), png(scene(10, 21))])
    assert PictureReader(SIZE, max_pixels=200)(encoded)[2].numpy().tolist() == [True, False]


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoder_is_the_codecs(decoder):
    codec, maps = noisy_peaks(decoder)
    maps[2, 3, 4, 1] = np.nan
    points, scores = codec.decode(maps)
    found, found_scores = decode(codec, tf.constant(maps))
    np.testing.assert_allclose(found, points, atol=1e-4)
    np.testing.assert_allclose(found_scores, scores)


def test_merging_is_the_codecs():
    rng = np.random.default_rng(4)
    a, b = rng.normal(size=(2, 3, 4, 6, 5)).astype("float32")
    order = (1, 0, 2, 4, 3)
    expected = HeatmapCodec((16, 24)).merge_flipped(a, b, order)
    np.testing.assert_allclose(merge_flipped(tf.constant(a), tf.constant(b), order), expected)


def test_metadata_says_what_a_client_needs(exported, served):
    document = json.loads(served["metadata"](query=tf.constant(["", "x"]))["json"].numpy()[1])
    stored = json.loads((exported / "assets.extra" / "metadata.json").read_text())
    assert document == {key: value for key, value in stored.items() if key != "sha256"}
    assert document["joints"][:2] == ["right_ankle", "right_knee"]
    assert document["thresholds"]["head_top"] == 1e9
    assert set(stored["sha256"]) >= {"saved_model.pb", "assets.extra/signature.md"}


@pytest.mark.full
def test_versions_count_up_and_nothing_half_written_stays(model, tmp_path, monkeypatch):
    (tmp_path / "pose" / "7").mkdir(parents=True)
    assert export_model(model, tmp_path, name="pose", flip=False).name == "8"
    monkeypatch.setattr("keras_hourglass.export.saved_model.verify", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export_model(model, tmp_path, name="pose")
    assert sorted(path.name for path in (tmp_path / "pose").iterdir()) == ["7", "8"]
    listed = (tmp_path / "models.config").read_text()
    assert listed.count('name: "pose"') == 1 and listed.count("{") == listed.count("}")


@pytest.mark.slow
def test_what_does_not_agree_with_its_model_is_refused(model, exported):
    codec, order = HeatmapCodec(SIZE), SKELETONS["lsp"].flip_order
    found = verify(exported, model, codec, order)
    assert found["heatmaps"] <= 1e-3 and found["keypoints"] <= 0.5
    with pytest.raises(UserError, match=r"Received: joints differ by \d"):
        verify(exported, model, codec, range(14))  # mirrored, but no joint changes its side
    other = as_trained(StackedHourglass.from_config(model.get_config()))
    with pytest.raises(UserError, match=r"Received: heatmaps differ by .* of their highest"):
        verify(exported, other, codec, order)


def test_names_that_no_server_takes_are_refused(model, tmp_path):
    for name in ("a/b", "..", "a b", ".hidden"):
        with pytest.raises(UserError, match="name"):
            export_model(model, tmp_path, name=name)
    assert not any(tmp_path.iterdir())


def test_mirror_averaging_needs_a_skeleton(tmp_path):
    model = StackedHourglass(
        num_keypoints=3, num_stacks=1, num_features=8, depth=1, input_shape=(32, 40, 3)
    )
    with pytest.raises(UserError, match="no-flip"):
        export_model(model, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("joints", [3, 14])
def test_joints_without_names_are_called_as_by_the_predictor(tmp_path, joints):
    from keras_hourglass import Predictor
    from keras_hourglass.codec import HeatmapCodec
    from keras_hourglass.export.description import describe

    model = StackedHourglass(
        num_keypoints=joints, num_stacks=1, num_features=8, depth=1, input_shape=(32, 40, 3)
    )
    served = describe(model, "pose", HeatmapCodec((32, 40)), flip=False, preset="none")
    expected = {3: ["joint_1", "joint_2", "joint_3"], 14: list(SKELETONS["lsp"].joints)}
    assert served["joints"] == expected[joints] == list(served["thresholds"])
    predictor = Predictor(model, flip=False, engine="keras")
    assert tuple(served["joints"]) == predictor.skeleton.joints
    assert served["skeleton"] == predictor.skeleton.to_dict()
