"""Files of other runtimes that return joints, run as somebody without this package does."""

import json
import pathlib
import re
import subprocess
import sys

import numpy as np
import onnx
import pytest
from networks import as_trained

from keras_hourglass import HeatmapCodec, Predictor, StackedHourglass
from keras_hourglass.codec import DECODERS
from keras_hourglass.errors import UserError
from keras_hourglass.export import JOINT_FORMATS, export_joints
from keras_hourglass.export.bundle import random_picture
from keras_hourglass.export.joints import load_joints
from keras_hourglass.io.images import read_image

CHILD = pathlib.Path(__file__).parents[1] / "helpers" / "joints_child.py"
SIZE = (32, 48)
# As onnx-tensorrt's docs/operators.md names them; of these our files are made.
TENSORRT = set(
    "Add And ArgMax Cast Concat Conv Div Floor Gather GatherElements Greater GreaterOrEqual "
    "Identity Less Log MatMul Max MaxPool Min Mul ReduceMax Relu Reshape Resize Round Shape Sign "
    "Slice Sub Transpose Unsqueeze Where".split()
)


def make(**options):
    options = {"num_features": 8, "depth": 1, "num_stacks": 2, "skeleton": "lsp", **options}
    return as_trained(StackedHourglass(input_shape=(*SIZE, 3), **options))


@pytest.fixture(scope="module")
def model():
    return make(metadata={"thresholds": {"neck": -1e9, "head_top": 1e9}})


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """All formats of one model."""
    folder = tmp_path_factory.mktemp("joints")
    for format in JOINT_FORMATS:
        if format.startswith("litert"):
            pytest.importorskip("ai_edge_litert")
            pytest.importorskip("tensorflow")
        path, distance = export_joints(model, folder, format, name="pose", decoder="dark")
        assert path == folder / f"pose{JOINT_FORMATS[format]}" and distance <= 0.5
    return folder


def run_without_package(kind, path, inputs, tmp_path):
    """The outputs of a file in a process that cannot import this package."""
    np.savez(tmp_path / "inputs.npz", **inputs)
    command = [sys.executable, CHILD, kind, path, tmp_path / "inputs.npz", tmp_path / "out.npz"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    with np.load(tmp_path / "out.npz") as outputs:
        return dict(outputs)


def assert_as_predicted(outputs, poses):
    assert outputs["keypoints"].shape == (len(poses), 14, 2)
    for row, pose in enumerate(poses):
        scores, present = outputs["scores"][row], outputs["present"][row]
        distance = np.linalg.norm(outputs["keypoints"][row] - pose.keypoints, axis=-1)
        assert (distance < 0.5).all(), distance
        np.testing.assert_allclose(scores, pose.scores, rtol=1e-3, atol=1e-3)
        assert (present == pose.present).all()
        assert present[12] and not present[13]  # by the model's thresholds


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("onnxruntime", "openvino"))
def test_pictures_with_boxes(folder, model, kind, tmp_path):
    pytest.importorskip(kind)
    picture = read_image(random_picture(1, ".png"))  # 187 wide, 188 high
    boxes = np.array([[0, 0, 187, 188], [10.3, -20.5, 90, 130], [120, 100, 200, 50.5]], np.float32)
    inputs = {"picture": picture, "boxes": boxes}
    outputs = run_without_package(kind, folder / "pose.joints.onnx", inputs, tmp_path)
    assert_as_predicted(outputs, Predictor(model, decoder="dark")(picture, boxes=boxes))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ("onnxruntime", "openvino", "litert"))
def test_crops(folder, model, kind, tmp_path):
    pytest.importorskip({"litert": "ai_edge_litert"}.get(kind, kind))
    rng = np.random.default_rng(3)
    crops = np.kron(rng.integers(0, 256, (1, 4, 6, 3)), np.ones((1, 8, 8, 1))).astype(np.uint8)
    path = folder / f"pose{JOINT_FORMATS['litert-crops' if kind == 'litert' else 'onnx-crops']}"
    given = crops.astype(np.float32) if kind == "litert" else crops
    outputs = run_without_package(kind, path, {"crops": given}, tmp_path)
    predictor = Predictor(model, decoder="dark")
    [points], [scores] = predictor.codec.decode(predictor.predict_crops(crops))
    assert outputs["keypoints"].shape == (1, 14, 2)
    np.testing.assert_allclose(outputs["keypoints"][0], points, atol=0.5)
    np.testing.assert_allclose(outputs["scores"][0], scores, rtol=1e-3, atol=1e-3)
    assert (outputs["present"][0] == (scores >= predictor.thresholds)).all()


@pytest.mark.slow
@pytest.mark.parametrize("format", JOINT_FORMATS)
def test_the_page_beside_it_runs_without_the_package(folder, format, tmp_path):
    from PIL import Image

    path = folder / f"pose{JOINT_FORMATS[format]}"
    page = pathlib.Path(f"{path}.md").read_text(encoding="utf-8")
    [code] = re.findall(r"```python\n(import sys\n.*?)```", page, re.DOTALL)
    assert len(code.strip().splitlines()) <= 13 and "keras_hourglass" not in code
    Image.fromarray(read_image(random_picture(0, ".png"))).save(tmp_path / "photo.jpg")
    (tmp_path / "runner.py").write_text(code)
    done = subprocess.run(
        [sys.executable, "-I", tmp_path / "runner.py", tmp_path / "photo.jpg"],
        capture_output=True, text=True, cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines() if "INFO" not in line]
    assert len(rows) == 14 and {row[3] for row in rows} <= {"True", "False"}
    assert "not run" in page or format == "litert-crops"


@pytest.mark.slow
@pytest.mark.parametrize("decoder", DECODERS)
@pytest.mark.parametrize("flip", (True, False))
def test_decoders_and_mirrors(model, decoder, flip, tmp_path):
    picture = read_image(random_picture(2, ".png"))
    boxes = np.array([[3, 5, 140, 150], [30, 40, 60, 40]], np.float32)
    path, _ = export_joints(model, tmp_path, "onnx-joints", flip=flip, decoder=decoder)
    outputs = load_joints(path.read_bytes(), "onnx-joints")({"picture": picture, "boxes": boxes})
    poses = Predictor(model, flip=flip, decoder=decoder)(picture, boxes=boxes)
    if decoder == "quarter":
        # Of two neighbours that are equal up to rounding, either may be the higher one: the joint
        # moves by half a heatmap pixel, two input pixels, along that axis. That may happen once.
        scale = (boxes[:, 2:].max(axis=1) / min(SIZE))[:, None, None]
        steps = (outputs["keypoints"] - [pose.keypoints for pose in poses]) / (2 * scale)
        turned = np.abs(steps) > 0.5
        np.testing.assert_allclose(np.abs(steps), turned, atol=0.01)
        assert turned.sum() <= 1
        outputs["keypoints"] = np.where(
            turned, [pose.keypoints for pose in poses], outputs["keypoints"]
        )
    assert_as_predicted(outputs, poses)


@pytest.mark.parametrize("decoder", DECODERS)
def test_perfect_maps_are_decoded_as_the_codec_does(decoder):
    """The nodes alone, on Gaussians at every place, the border too."""
    from onnx import TensorProto, helper

    from keras_hourglass.export.onnx_joints import decode
    from keras_hourglass.inference.onnx_graph import Nodes, finished

    codec = HeatmapCodec((48, 56), sigma=1.0, decoder=decoder)
    y, x = np.mgrid[0:48:1.7, 0:56:1.3]
    joints = np.stack([x, y], axis=-1).reshape(1, -1, 2)
    maps, _ = codec.encode(joints, np.full(joints.shape[:2], 2))
    nodes = Nodes()
    points, _ = decode(nodes, "maps", codec, scores="scores")
    count = joints.shape[1]
    value = helper.make_tensor_value_info
    outputs = [
        value(points, TensorProto.FLOAT, ["N", count, 2]),
        value("scores", TensorProto.FLOAT, ["N", count]),
    ]
    given = [value("maps", TensorProto.FLOAT, ["N", count, 12, 14])]
    model = finished(nodes, "decode", given, outputs)
    run = load_joints(model.SerializeToString(), "onnx-joints")
    maps = np.concatenate([maps, maps[:, ::-1]])  # two people
    found = run({"maps": np.ascontiguousarray(maps.transpose(0, 3, 1, 2))})
    expected, scores = codec.decode(maps)
    np.testing.assert_allclose(found[points], expected, atol=2e-3)
    np.testing.assert_allclose(found["scores"], scores, atol=1e-6)
    inner = (joints[0] >= 10).all(axis=-1) & (joints[0] <= (45, 37)).all(axis=-1)
    error = np.abs(found[points][0] - joints[0])[inner]
    assert inner.sum() > 50 and error.max() <= 4 * {"dark": 0.01}.get(decoder, 0.51)


@pytest.mark.slow
def test_operators_are_those_of_tensorrt(folder):
    for format in ("onnx-joints", "onnx-crops"):
        model = onnx.load(folder / f"pose{JOINT_FORMATS[format]}")
        assert {node.op_type for node in model.graph.node} <= TENSORRT
        assert model.opset_import[0].version == 17
        # 8-bit integers at the entrance only, 64-bit floats nowhere.
        inferred = onnx.shape_inference.infer_shapes(model)
        kinds = {value.type.tensor_type.elem_type for value in inferred.graph.value_info}
        assert kinds <= {onnx.TensorProto.FLOAT, onnx.TensorProto.INT64, onnx.TensorProto.BOOL}
        [entry] = model.metadata_props
        assert json.loads(entry.value)["joints"][12:] == ["neck", "head_top"]


@pytest.mark.slow
def test_any_box_stays_within_the_picture(folder):
    """Boxes far away, of no size or no number neither fail nor touch those beside them."""
    run = load_joints((folder / "pose.joints.onnx").read_bytes(), "onnx-joints")
    picture = read_image(random_picture(0, ".png"))
    good = [3, 5, 140, 150]
    boxes = [good, [1e9, -1e9, 5, 5], [0, 0, 0, 0], [np.nan] * 4, [np.inf] * 4, good]
    outputs = run({"picture": picture, "boxes": np.array(boxes, np.float32)})
    alone = run({"picture": picture, "boxes": np.array([good], np.float32)})
    for row in (0, 5):
        np.testing.assert_allclose(outputs["keypoints"][row], alone["keypoints"][0], atol=1e-2)
    assert np.isfinite(outputs["keypoints"][[0, 5]]).all()
    empty = run({"picture": picture, "boxes": np.zeros((0, 4), np.float32)})
    assert empty["keypoints"].shape == (0, 14, 2)


def test_models_without_sides_are_not_mirrored(tmp_path):
    model = make(skeleton=["tip", "middle", "end"], num_stacks=1)
    path, distance = export_joints(model, tmp_path, "onnx-crops")
    assert distance <= 0.5
    described = json.loads(onnx.load(path).metadata_props[0].value)
    assert described["flip"] is False and len(described["joints"]) == 3


@pytest.mark.slow
def test_what_cannot_be_written_is_said(model, tmp_path, monkeypatch):
    with pytest.raises(UserError, match="Did you mean 'onnx-joints'"):
        export_joints(model, tmp_path, "onnx_joint")
    export_joints(model, tmp_path, "onnx-crops", name="a")
    with pytest.raises(UserError, match="exists already.*a.crops.onnx"):
        export_joints(model, tmp_path, "onnx-crops", name="a")
    export_joints(model, tmp_path, "onnx-crops", name="a", overwrite=True)
    from keras_hourglass.export import joints

    monkeypatch.setattr(joints, "compare_joints", lambda *_: 0.6)
    with pytest.raises(UserError, match="does not agree.*0.6 input pixels"):
        export_joints(model, tmp_path, "onnx-crops", name="b")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.crops.onnx", "a.crops.onnx.md"]
