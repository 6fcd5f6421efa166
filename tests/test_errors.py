"""Nothing is swallowed: what there is not is refused, with the nearest that there is."""

import importlib
import pickle
import sys

import numpy as np
import pytest

import keras_hourglass
from keras_hourglass import (
    HeatmapCodec,
    Hourglass,
    IntermediateSupervision,
    Predictor,
    Residual,
    Skeleton,
    StackedHourglass,
    Stem,
    get_skeleton,
    metrics,
)
from keras_hourglass.data import Augmentation, PoseDataset, load_records
from keras_hourglass.errors import UnknownArgument, UserError, did_you_mean, optional
from keras_hourglass.evaluation import evaluate
from keras_hourglass.inference import make_engine
from keras_hourglass.layers.common import BatchNormalization
from keras_hourglass.losses import BoxLoss, HeatmapMSE
from keras_hourglass.metrics import HeatmapPCK, pck
from keras_hourglass.serving import Client

SMALL = {"num_keypoints": 5, "num_stacks": 1, "num_features": 8, "depth": 1}
SMALL["input_shape"] = (32, 48, 3)


@pytest.mark.parametrize(
    ("make", "place", "wrong", "near"),
    [
        (lambda **k: StackedHourglass(**SMALL, **k), "StackedHourglass", "num_joints", "num_keypo"),
        (lambda **k: StackedHourglass(**k), "StackedHourglass", "num_stack", "num_stacks"),
        (lambda **k: StackedHourglass(**k), "StackedHourglass", "NumFeatures", "num_features"),
        (lambda **k: Residual(8, **k), "Residual", "nam", "name"),
        (lambda **k: Hourglass(8, **k), "Hourglass", "return_iner", "return_inner"),
        (lambda **k: Stem(8, [], [8], **k), "Stem", "return_pool", "return_pooled"),
        (lambda **k: IntermediateSupervision(5, 8, **k), "IntermediateSu", "num_block", "num_bl"),
        (lambda **k: HeatmapCodec(**k), "HeatmapCodec", "sigm", "sigma"),
        (lambda **k: HeatmapMSE((8, 12), **k), "HeatmapMSE", "sigmas", "sigma"),
        (lambda **k: BoxLoss(**k), "BoxLoss", "center", "centre"),
        (lambda **k: HeatmapPCK(**k), "HeatmapPCK", "heatmap-size", "heatmap_size"),
        (lambda **k: Augmentation(**k), "Augmentation", "flipp", "flip"),
        (lambda **k: Predictor("hourglass_tiny_lsp", **k), "Predictor", "fip", "flip"),
        (lambda **k: Client("localhost:8500", **k), "Client", "time_out", "timeout"),
        (lambda **k: load_records("synthetic:3@1", **k), "load_records", "skeletton", "skeleton"),
        (lambda **k: evaluate(None, None, **k), "evaluate", "tresholds", "threshold"),
        (
            lambda **k: PoseDataset(load_records("synthetic:3@1"), **k),
            "PoseDataset",
            "output",
            "outputs",
        ),
    ],
)
def test_a_misspelt_argument_gets_the_nearest_name(make, place, wrong, near):
    with pytest.raises(UnknownArgument) as caught:
        make(**{wrong: 1})
    message = str(caught.value)
    assert message.startswith(place) and f"no argument {wrong!r}. Did you mean '{near}" in message
    # As from any function of Python, and one line for the command line.
    assert isinstance(caught.value, TypeError) and isinstance(caught.value, UserError)
    assert "\n" not in message


def test_an_argument_like_no_other_gets_them_all():
    with pytest.raises(UnknownArgument, match="no argument 'foo'. It has num_keypoints, .*dtype"):
        StackedHourglass(foo=1)
    with pytest.raises(UnknownArgument, match="no argument 'foo'. It has filters, synchronized, n"):
        Residual(8, foo=1)


def test_subclasses_name_themselves():
    class Mine(Residual):
        def __init__(self, filters, colour=None, **kwargs):
            super().__init__(filters, **kwargs)

    with pytest.raises(UnknownArgument, match="Mine has no argument 'color'. Did you mean 'colour"):
        Mine(8, color=1)


def test_what_keras_itself_takes_still_passes():
    layer = Residual(8, name="r", dtype="mixed_bfloat16", trainable=False)
    assert (layer.name, layer.trainable) == ("r", False)
    assert BatchNormalization(gamma_initializer="zeros").momentum == 0.9
    assert HeatmapMSE((4, 6), reduction="sum", name="h").name == "h"


@pytest.mark.parametrize(
    ("ask", "near"),
    [
        (lambda: StackedHourglass.from_preset("hourglass_tiny_lps"), "hourglass_tiny_lsp"),
        (lambda: StackedHourglass.from_preset("Hourglass-2s-LSP"), "hourglass_2s_lsp"),
        (lambda: StackedHourglass.from_preset("hourglass_tiny_lsp", skelton="lsp"), "skeleton"),
        (lambda: Predictor("hourglas_tiny_lsp"), "hourglass_tiny_lsp"),
        (lambda: get_skeleton("COOC"), "coco"),
        (lambda: get_skeleton("lsp").index("left_sholder"), "left_shoulder"),
        (lambda: Skeleton("a", ("tail", "nose"), limbs=[("tail", "noes")]), "nose"),
        (lambda: Skeleton.from_dict({"name": "a", "joint": ["b"]}), "joints"),
        (lambda: HeatmapCodec(decoder="dakr"), "dark"),
        (lambda: StackedHourglass(**SMALL, supervision="inne"), "inner"),
        (lambda: StackedHourglass(**SMALL, stem="bearpow"), "bearpaw"),
        (lambda: StackedHourglass(**SMALL, hourglass={"uper": [8]}), "upper"),
        (lambda: Predictor("hourglass_tiny_lsp", engine="open-vin"), "openvino"),
        (lambda: Predictor("hourglass_tiny_lsp", thresholds={"neckk": 0.3}), "neck"),
        (lambda: pck([[[0, 0]]], [[[0, 0]]], [[2]], [1], ["nose"], 0.2, "joint"), "joints"),
        (lambda: load_records("lspt:somewhere"), "lspet"),
    ],
)
def test_misspelt_names_get_the_nearest(ask, near):
    with pytest.raises(UserError, match=f"Did you mean '{near}'") as caught:
        ask()
    assert "\n" not in str(caught.value)


def test_names_of_modules_too():
    with pytest.raises(AttributeError, match="'HeatmapPKC'. Did you mean 'HeatmapPCK'"):
        _ = metrics.HeatmapPKC
    with pytest.raises(AttributeError, match="'Predicter'. Did you mean 'Predictor'"):
        _ = keras_hourglass.Predicter
    assert did_you_mean("zebra", ["horse"]) == ""


@pytest.mark.slow
def test_a_list_of_joints_is_a_skeleton():
    model = StackedHourglass(**{**SMALL, "num_keypoints": None}, skeleton=["a", "b"])
    assert model.skeleton.joints == ("a", "b") and model.num_keypoints == 2
    assert model.output["stack_1"].shape == (None, 8, 12, 2)
    twin = StackedHourglass.from_config(model.get_config())
    assert twin.skeleton == model.skeleton

    ears = ["tail", "leftEar", "rightEar"]
    model = StackedHourglass.from_preset("hourglass_tiny_lsp", skeleton=ears)
    assert model.skeleton.joints == ("tail", "left_ear", "right_ear")
    assert model.skeleton.flip_order == (0, 2, 1)
    plain = StackedHourglass(**{**SMALL, "num_keypoints": 3})
    [pose] = Predictor(plain, skeleton=ears)(np.zeros((40, 60, 3), np.uint8))
    assert pose.names == ("tail", "left_ear", "right_ear")
    with pytest.raises(UserError, match=r"Unknown skeleton. Received: \[1, 2\]"):
        get_skeleton([1, 2])
    with pytest.raises(UserError, match="names must be given and differ"):
        get_skeleton(["a", "a"])


def test_a_broken_package_counts_as_missing(tmp_path, monkeypatch):
    """Such a one must not end what works without it: the engine is chosen, not demanded."""
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "unfit.py").write_text("import math\nmath.float4\n")
    with pytest.raises(ImportError, match="unfit is broken: AttributeError: .*float4"):
        optional("unfit")

    (tmp_path / "onnx.py").write_text("import math\nmath.float4\n")
    monkeypatch.delitem(sys.modules, "onnx", raising=False)
    monkeypatch.setattr("keras_hourglass.inference.engines.accelerators", lambda: [])
    model = StackedHourglass(**SMALL)
    assert make_engine("fastest", model, ("stack_1",)).name in ("folded", "keras")
    with pytest.raises(UserError, match="'onnxruntime' needs a package .*onnx is broken"):
        make_engine("onnxruntime", model, ("stack_1",))


ROOMS = ("layers", "data", "network", "prediction", "zoo", "evaluation", "export", "serving")
ELSEWHERE = {
    # Keras's, pydantic's and Python's own words are as plain.
    "Adam", "LossScaleOptimizer", "TorchRMSprop", "Recipe", "Snapshot",
    # These hand on what they are given by name, and it is refused there, as above.
    "PoseDataset", "SceneDataset", "from_torch", "load_model", "evaluate", "predict_records",
    "sweep",
}  # fmt: skip


@pytest.mark.parametrize("room", ["", *ROOMS, "training", "inference", "report"])
def test_every_public_name_refuses_what_it_does_not_know(room):
    module = importlib.import_module(f"keras_hourglass.{room}".rstrip("."))
    asked = 0
    for name in set(module.__all__) - ELSEWHERE:
        thing = getattr(module, name)
        if callable(thing) and not (isinstance(thing, type) and issubclass(thing, Exception)):
            with pytest.raises(UnknownArgument, match="no argument 'zzq_unknown'"):
                thing(zzq_unknown=1)
            asked += 1
    assert asked or room == "report"


def test_a_misspelt_argument_that_is_needed_gets_the_nearest_name():
    with pytest.raises(UnknownArgument, match="Residual has no argument 'filter'. Did you mean 'f"):
        Residual(filter=8)
    with pytest.raises(
        UnknownArgument, match="IntermediateSupervision has no argument 'num_joints"
    ):
        IntermediateSupervision(num_joints=3, filters=8)
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'filters'"):
        Residual()
    assert Residual(filters=8).filters == Residual(8).filters == 8
    assert pickle.loads(pickle.dumps(load_records)) is load_records
