"""Published PyTorch layouts, converted and compared with twins written in PyTorch."""

import re

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.errors import UserError, WeightsError
from keras_hourglass.zoo import porting

torch = pytest.importorskip("torch")

from torch_twins import Bearpaw, Princeton, randomise  # noqa: E402

SIZE = (64, 128)
# A pool of threads beside TensorFlow's makes both wait.
torch.set_num_threads(1)


def images():
    """Three pictures that differ: a gradient, stripes with a blob, and noise."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]].astype("float32")
    gradient = np.stack([rows * 4 % 256, columns * 2, 255 - rows * 2], axis=-1)
    stripes = np.stack([(columns % 16) * 16, (rows % 8) * 30, rows * 0 + 90], axis=-1)
    stripes[20:40, 50:90] = (240, 10, 60)
    noise = np.random.default_rng(5).integers(0, 256, (*SIZE, 3)).astype("float32")
    return np.stack([gradient, stripes, noise]).clip(0, 255)


TWINS = {
    "bearpaw-2": lambda: Bearpaw(16, 2, 16),
    "bearpaw-3-blocks": lambda: Bearpaw(5, 3, 12, blocks=2, depth=3),
    "bearpaw-1-wide": lambda: Bearpaw(14, 1, 128, depth=2),
    "princeton-2": lambda: Princeton(16, 2, 16),
    "princeton-3": lambda: Princeton(7, 3, 12, depth=2),
}


# One of each layout is enough where time matters.
QUICK = ("bearpaw-1-wide", "princeton-2")


@pytest.fixture(
    scope="module",
    params=[pytest.param(name, marks=[pytest.mark.full] * (name not in QUICK)) for name in TWINS],
)
def twin(request):
    return request.param.split("-")[0], randomise(TWINS[request.param]())


@pytest.fixture(scope="module")
def arrays():
    network = randomise(Princeton(16, 2, 12, depth=2))
    return {name: value.numpy() for name, value in network.state_dict().items()}


@pytest.mark.slow
def test_heatmaps_agree_at_every_stack(twin):
    layout, network = twin
    batch = images()
    with torch.no_grad():
        expected = network(torch.from_numpy(batch.transpose(0, 3, 1, 2)))
    model = porting.from_torch(network.state_dict(), layout=layout, input_shape=(*SIZE, 3))
    found = model.predict(batch, verbose=0)
    assert list(found) == [f"stack_{s}" for s in range(1, len(expected) + 1)]
    for name, value in zip(found, expected, strict=True):
        value = value.numpy().transpose(0, 2, 3, 1)
        assert value.std() > 0.05, "the comparison would be trivial"
        np.testing.assert_allclose(found[name], value, atol=1e-4, rtol=0, err_msg=name)


def test_normalisation_is_the_sources_own(twin):
    layout, network = twin
    config, _, dropped = porting.translate(network.state_dict())
    mean = [-0.4404, -0.4440, -0.4327]
    assert config["offset"] == (mean if layout == "bearpaw" else 0.0)
    assert config["scale"] == 1 / 255
    steps = [name for name in network.state_dict() if "num_batches_tracked" in name]
    skips = [name for name in dropped if "skip_layer" in name]
    assert sorted(dropped) == sorted(steps + skips)
    assert bool(skips) == (layout == "princeton")
    named = {16: "mpii"}.get(config["num_keypoints"])
    assert (config["skeleton"] or {}).get("name") == named


@pytest.mark.parametrize(
    "wrap",
    [
        lambda arrays: arrays,
        lambda arrays: {"epoch": 3, "state_dict": arrays},
        lambda arrays: {"state_dict": {f"module.{k}": v for k, v in arrays.items()}},
        lambda arrays: {"state_dict": {f"model.module.{k}": v for k, v in arrays.items()}},
    ],
)
def test_wrapping_is_taken_off(arrays, wrap):
    config, translated, _ = porting.translate(wrap(arrays))
    assert config["num_stacks"] == 2 and config["depth"] == 2 and config["num_features"] == 12
    expected = arrays["hgs.1.0.low2.up1.conv2.conv.weight"]
    found = translated["hourglass_2/inner/upper1/conv2/kernel"]
    assert expected.shape == (6, 6, 3, 3) and found.shape == (3, 3, 6, 6)
    assert found[2, 0, 1, 4] == expected[4, 1, 2, 0]


def test_every_array_is_used_exactly_once(arrays):
    lacking = {name: value for name, value in arrays.items() if name != "pre.0.bn.running_var"}
    with pytest.raises(WeightsError, match=r"1 missing \(pre.0.bn.running_var\)"):
        porting.translate(lacking)
    more = {**arrays, "extra.weight": np.zeros(3)}
    with pytest.raises(WeightsError, match=r"1 left over \(extra.weight\)"):
        porting.translate(more)
    # A skip that is called may not be dropped.
    needed = {k: v for k, v in arrays.items() if not k.startswith("pre.1.skip_layer")}
    with pytest.raises(WeightsError, match="2 missing"):
        porting.translate(needed)
    wrong = {**arrays, "hgs.0.0.up1.bn1.weight": np.ones(9, "float32")}
    with pytest.raises(WeightsError, match="hourglass_1/upper1/bn1/gamma"):
        porting.from_torch(wrong, input_shape=(*SIZE, 3))


def test_what_is_no_such_checkpoint_is_refused(arrays):
    with pytest.raises(WeightsError, match="neither of the layouts.*fc1.weight"):
        porting.translate({"fc1.weight": np.zeros((2, 2))})
    with pytest.raises(WeightsError, match="has 2 stacks. Received: stacks 8"):
        porting.translate(arrays, num_stacks=8)
    with pytest.raises(WeightsError, match="Known layouts"):
        porting.translate(arrays, layout="caffe")
    with pytest.raises(WeightsError, match="1×1 convolutions score"):
        porting.translate(arrays, layout="bearpaw")
    with pytest.raises(WeightsError, match="'epoch' of type int"):
        porting.translate({"epoch": 3})
    with pytest.raises(UserError, match="14 joints"):
        porting.translate(arrays, skeleton="lsp") and porting.from_torch(arrays, skeleton="lsp")


@pytest.mark.full
def test_convert_command(tmp_path, capsys):
    network = randomise(Bearpaw(16, 2, 12))
    state = {f"module.{name}": value for name, value in network.state_dict().items()}
    # As pytorch-pose saves it, in the old format, with a NumPy number beside the arrays.
    content = {"epoch": 5, "best_acc": np.float64(0.875), "state_dict": state}
    checkpoint = tmp_path / "model best.pth.tar"
    torch.save(content, checkpoint, _use_new_zipfile_serialization=False)
    out = tmp_path / "converted"
    assert main(["convert", str(checkpoint), "--layout", "bearpaw", "--out", str(out)]) == 0
    told, errors = capsys.readouterr()
    assert re.search(r"\d+ arrays of 2 stacks", told) and "step counters" in told
    assert f"Next: keras-hourglass predict --model {out} --padding 1.25 --box=X" in told
    assert not errors

    from keras_hourglass import StackedHourglass

    model = StackedHourglass.from_preset(out, input_shape=(*SIZE, 3))
    assert model.skeleton.name == "mpii"
    with torch.no_grad():
        expected = network(torch.from_numpy(images().transpose(0, 3, 1, 2)))[-1]
    found = model.predict(images(), verbose=0)["stack_2"]
    np.testing.assert_allclose(found, expected.numpy().transpose(0, 2, 3, 1), atol=1e-4, rtol=0)

    assert main(["convert", str(checkpoint), "--out", str(out)]) == 2
    assert "already holds files" in capsys.readouterr().err


class Trap:
    """Pickled as an order to run a command."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        import os

        return os.system, (f"touch '{self.path}'",)


def test_nothing_in_a_checkpoint_is_run(tmp_path, capsys):
    mark = tmp_path / "mark"
    torch.save({"state_dict": {}, "extra": Trap(mark)}, tmp_path / "a.pth")
    assert main(["convert", str(tmp_path / "a.pth"), "--out", str(tmp_path / "b")]) == 2
    assert not (tmp_path / "b").exists()
    message = capsys.readouterr().err
    # Torch's own message begins with how to run it.
    assert "be read safely (no PyTorch file, or one with code in it)" in message
    assert message.count("\n") == 1 and not mark.exists()


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("none.pth", None, "No checkpoint at"),
        ("a.t7", b"4", "no maintained reader"),
        ("cut.pth", b"PK\x03\x04 cut", "be read safely"),
        ("notes.json", b'{"a": 1}', "no PyTorch file"),
        ("text.npz", b"text", "Cannot read the .npz file of arrays"),
    ],
)
def test_unreadable_checkpoints(tmp_path, capsys, name, content, reason):
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    assert main(["convert", str(path), "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert reason in message and message.count("\n") == 1


def test_arrays_from_safetensors_and_numpy(tmp_path, arrays):
    from keras_hourglass.zoo.porting import read_checkpoint

    np.savez(tmp_path / "a.npz", **arrays)
    read = read_checkpoint(tmp_path / "a.npz")
    assert sorted(read) == sorted(arrays)
    safetensors = pytest.importorskip("safetensors.numpy")
    contiguous = {name: np.array(value, order="C") for name, value in arrays.items()}
    safetensors.save_file(contiguous, tmp_path / "a.safetensors")
    read = read_checkpoint(tmp_path / "a.safetensors")
    assert all(np.array_equal(read[name], arrays[name]) for name in arrays)
