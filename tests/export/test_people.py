"""One file for everybody: SavedModel and ONNX, run where this package is not."""

import io
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from crops import EXACT_CROPS
from peaks import noisy_peaks
from PIL import Image

from keras_hourglass import Predictor
from keras_hourglass.choices import DECODERS
from keras_hourglass.cli import main
from keras_hourglass.data.figures import render
from keras_hourglass.errors import UserError
from keras_hourglass.export import everybody
from keras_hourglass.export.operations import TensorFlowOperations
from keras_hourglass.io.images import read_image
from keras_hourglass.serving.versions import what_is_missing

pytest.importorskip("tensorflow")
NAME = "hourglass_tiny_lsp"
# Joints that may lie elsewhere in a map that is as high in two places.
SHARE = 0.02 if EXACT_CROPS else 0.06
# Neither sees this package; the second one nothing but ONNX Runtime and NumPy.
TENSORFLOW = """
import sys
sys.modules["keras_hourglass"] = None
import numpy as np, tensorflow as tf
folder, out, *files = sys.argv[1:]
run = tf.saved_model.load(folder).signatures["serving_default"]
answer = run(image_bytes=tf.constant([open(file, "rb").read() for file in files]))
np.savez(out, **{name: value.numpy() for name, value in answer.items()})
"""
ONNX = """
import sys
for name in ("keras_hourglass", "tensorflow", "keras", "cv2", "torch", "jax"):
    sys.modules[name] = None
import numpy as np, onnxruntime
file, out, *pictures = sys.argv[1:]
session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
names = [output.name for output in session.get_outputs()]
found = {}
for number, picture in enumerate(pictures):
    for name, value in zip(names, session.run(names, {"image": np.load(picture)})):
        found[f"{number}_{name}"] = value
np.savez(out, **found)
"""


@pytest.mark.parametrize("decoder", DECODERS)
def test_decoders_are_the_codecs(decoder):
    """The file's own decoding of noisy peaks, some at the border, and of a flat map."""
    codec, maps = noisy_peaks(decoder)
    points, scores = everybody._decode(TensorFlowOperations({}), maps, codec, 5)
    expected, heights = codec.decode(maps)
    np.testing.assert_allclose(points, expected, atol=1e-4)
    np.testing.assert_array_equal(scores, heights)


def jpeg(image, **options):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "jpeg", quality=95, **options)
    return file.getvalue()


def png(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "png")
    return file.getvalue()


def photographs():
    """name -> bytes of files of each kind."""
    figures = [render(7, number, 260) for number in range(4)]
    row = np.concatenate(figures, axis=1)
    turned = Image.Exif()
    turned[0x0112] = 6
    noise = np.random.default_rng(3).integers(0, 256, (90, 150, 3), np.uint8)
    large = np.asarray(Image.fromarray(row).resize((3900, 975), Image.Resampling.BICUBIC))
    return {
        "several": png(row),
        "one": jpeg(figures[1]),
        "turned": jpeg(np.rot90(row[:, :780]).copy(), exif=turned),
        "grey": jpeg(np.asarray(Image.fromarray(row[:, 260:]).convert("L"))),
        "none": png(noise),
        "tiny": png(noise[:2, :3]),
        "thin": png(np.ascontiguousarray(noise[:1])),
        "dark": png(np.zeros((61, 83, 3), np.uint8)),
        "large": jpeg(large),
    }


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    folder = tmp_path_factory.mktemp("people")
    assert main(["export", "--model", NAME, "--people", "--out", str(folder / "out")]) == 0
    return folder


@pytest.fixture(scope="module")
def expected(exported):
    """name -> (file, `PicturePoses`)."""
    predictor, found = Predictor(NAME), {}
    for name, content in photographs().items():
        path = exported / f"{name}.bin"
        path.write_bytes(content)
        found[name] = path, predictor(read_image(content))
    people = [len(result) for _, result in found.values()]
    assert max(people) > 2 and min(people) <= 1 and any(r.alone for _, r in found.values())
    return found


def run(script, *arguments):
    """Run a script as somebody else, away from this checkout."""
    known = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, "-c", script, *map(str, arguments)],
        env=known, cwd=arguments[0].parent, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return np.load(arguments[1])


def compare(found, result, name, pixels=0.5):
    """One picture's rows with what `predict` says."""
    assert len(found["boxes"]) == len(result), name
    assert bool(found["alone"]) == result.alone, name
    if not result:
        return 0, 0
    np.testing.assert_allclose(found["boxes"], result.boxes, atol=pixels, err_msg=name)
    scores = np.array([pose.scores for pose in result])
    np.testing.assert_allclose(found["scores"], scores, atol=0.02, err_msg=name)
    np.testing.assert_allclose(found["person_scores"], result.scores, atol=0.02, err_msg=name)
    given = np.array([np.nan if p.box_score is None else p.box_score for p in result])
    np.testing.assert_allclose(found["box_scores"], given, atol=0.01, err_msg=name)
    assert found["sure"].tolist() == [pose.sure for pose in result], name
    present = np.array([pose.present for pose in result])
    distance = np.linalg.norm(found["keypoints"] - result.keypoints, axis=-1)
    # A joint that is nobody's may have two places in a map that are as high.
    assert np.quantile(distance[present], 0.98) <= pixels if present.any() else True, name
    assert (found["present"] == present).mean() >= 0.98, name
    return (distance > pixels).sum(), distance.size


@pytest.mark.slow
def test_a_saved_model_takes_files_and_needs_tensorflow_alone(exported, expected, tmp_path):
    broken = exported / "broken.bin"
    broken.write_bytes(photographs()["one"][:300])
    files = [path for path, _ in expected.values()]
    files.insert(2, broken)
    [folder] = (exported / "out" / f"{NAME}_people").iterdir()
    assert what_is_missing(folder) is None  # what `keras-hourglass serve` asks before it loads one
    found = run(TENSORFLOW, folder, tmp_path / "found.npz", *files)
    assert found["valid"].tolist() == [number != 2 for number in range(len(files))]
    assert not (found["picture"] == 2).any() and (np.diff(found["picture"]) >= 0).all()
    numbers = [number for number in range(len(files)) if number != 2]
    off = []
    for number, (name, (_, result)) in zip(numbers, expected.items(), strict=True):
        mine = found["picture"] == number
        rows = {key: found[key][mine] for key in found.files if key not in ("alone", "valid")}
        off.append(compare({**rows, "alone": found["alone"][number]}, result, name))
    assert sum(wrong for wrong, _ in off) <= SHARE * sum(number for _, number in off)


@pytest.mark.slow
def test_an_onnx_file_takes_pictures_and_needs_onnx_runtime_alone(exported, expected, tmp_path):
    pictures = []
    for name, (path, _) in expected.items():
        pictures.append(tmp_path / f"{name}.npy")
        np.save(pictures[-1], read_image(path.read_bytes()))
    found = run(ONNX, exported / "out" / f"{NAME}_people.onnx", tmp_path / "found.npz", *pictures)
    off = []
    for number, (name, (_, result)) in enumerate(expected.items()):
        keys = [key for key in found.files if key.startswith(f"{number}_")]
        rows = {key.partition("_")[2]: found[key] for key in keys}
        off.append(compare(rows, result, name))
    assert sum(wrong for wrong, _ in off) <= SHARE * sum(number for _, number in off)


@pytest.mark.slow
def test_what_the_files_say_of_themselves(exported):
    onnx = pytest.importorskip("onnx")
    model = onnx.load(exported / "out" / f"{NAME}_people.onnx")
    told = json.loads({one.key: one.value for one in model.metadata_props}["keras_hourglass"])
    assert told["joints"][:2] == ["right_ankle", "right_knee"] and told["flip"] is True
    assert [one.name for one in model.graph.input] == ["image"]
    assert {one.name for one in model.graph.output} == {
        "alone", "box_scores", "boxes", "keypoints", "person_scores", "present", "scores", "sure",
    }  # fmt: skip


@pytest.mark.slow
def test_refusals(tmp_path, capsys):
    from keras_hourglass import StackedHourglass
    from keras_hourglass.export import export_people

    cow = StackedHourglass(
        num_features=8, num_stacks=1, depth=1, input_shape=(32, 32, 3), skeleton=["hoof", "tail"]
    )
    with pytest.raises(UserError, match="finds people, and these joints are not theirs"):
        export_people(cow, tmp_path, name="cow")
    with pytest.raises(UserError, match="savedmodel or onnx"):
        export_people(cow, tmp_path, name="cow", formats=("litert",))
    words = ["export", "--model", NAME, "--out", str(tmp_path), "--people"]
    assert main([*words, "--format", "litert"]) == 2
    assert "--people` writes a SavedModel and an ONNX file" in capsys.readouterr().err
    (tmp_path / f"{NAME}_people.onnx").write_bytes(b"mine")
    assert main(words) == 2
    assert "Allow it by --overwrite" in capsys.readouterr().err
    assert (tmp_path / f"{NAME}_people.onnx").read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == [f"{NAME}_people.onnx"]


@pytest.mark.slow
def test_looks_of_several_sizes_are_fused_inside(expected, monkeypatch):
    import functools

    import onnxruntime

    from keras_hourglass.export import people
    from keras_hourglass.prediction.detection import OWN, HourglassDetector
    from keras_hourglass.zoo.store import load_model

    several = functools.partial(HourglassDetector, sides=[192, 320])
    monkeypatch.setattr(people, "HourglassDetector", several)
    predictor = Predictor(NAME)
    predictor._finder.detector = several(OWN)
    parts = people._parts(load_model(NAME), predictor.skeleton, True, None)
    assert list(parts[0]) == ["joints", "finder0", "finder1"]
    session = onnxruntime.InferenceSession(people.people_onnx(*parts).SerializeToString())
    for name in ("several", "turned", "none", "tiny"):
        image = read_image(expected[name][0].read_bytes())
        found = dict(
            zip(people._RANKS, session.run(list(people._RANKS), {"image": image}), strict=False)
        )
        compare(found, predictor(image), name)
