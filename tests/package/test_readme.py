"""Every code block and command of the README runs, in order, in one folder."""

import importlib.util
import os
import pathlib
import re
import shlex
import shutil

import cv2
import pytest

from keras_hourglass.cli import main

README = pathlib.Path(__file__).resolve().parents[2] / "README.md"
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
# What makes minutes out of hours; everything else runs as printed.
SHORTER = {"epochs=20": "epochs=1"}
SHORT_TRAINING = [
    "--set", "training.epochs=1", "--set", "training.frozen_epochs=0",
    "--set", "model.preset=hourglass_tiny_synthetic", "--quiet",
]  # fmt: skip
# Run elsewhere: `make` by CI, the demo and the recipes that need photographs by hand, the server,
# which does not end, by its own tests.
NOT_HERE = {
    "make demo",
    "make test",
    "pip install .",
    'pip install "keras_hourglass[serve]"',
    "keras-hourglass serve hourglass_tiny_people",
}

pytestmark = [
    pytest.mark.full,
    # Examples run as in a script, where warnings do not stop anything.
    pytest.mark.filterwarnings("ignore"),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a photo and annotations of one's own, under the names the README uses."""
    from keras_hourglass.data.figures import render, write_dataset

    path = tmp_path_factory.mktemp("readme")
    written = write_dataset(path / "figures", 16, 5)
    shutil.copytree(path / "figures" / "images", path / "images")
    for name in ("my_annotations.json", "my_validation.json"):
        shutil.copyfile(written, path / name)
    figure = cv2.cvtColor(render(7, 3), cv2.COLOR_RGB2BGR)
    for name in ("photo.jpg", "street.jpg"):
        cv2.imwrite(str(path / name), figure)
    film = cv2.VideoWriter(
        str(path / "film.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, figure.shape[1::-1]
    )
    for _ in range(3):
        film.write(figure)
    film.release()
    return path


def _commands(block):
    """The lines of a shell block, continued ones joined, without comments."""
    lines = block.replace("\\\n", " ").splitlines()
    stripped = (re.sub(r"\s#.*", "", line).strip() for line in lines)
    return [line for line in stripped if line]


def _run_command(line):
    if line in NOT_HERE:
        return
    words = shlex.split(line)
    assert words[0] == "keras-hourglass", line
    if words[1] == "train":
        words += SHORT_TRAINING
    # 1: a check that found something to look at.
    assert main(words[1:]) in ((0, 1) if words[1] == "data" else (0,)), line


def _run_distributed(code):
    """The job of Ray on one machine and its disk; where Ray is not installed, it is only read."""
    code = compile(code.replace("s3://bucket/", f"{os.getcwd()}/bucket/"), "README.md", "exec")
    if not importlib.util.find_spec("ray"):
        return
    import ray
    from pyarrow import parquet

    shutil.copytree("images", "bucket/photos")
    os.environ |= {"RAY_AUTH_MODE": "disabled", "RAY_worker_niceness": "0"}
    with ray.init(num_cpus=3, include_dashboard=False):
        exec(code, {})
    rows = parquet.read_table("bucket/poses").to_pylist()
    names = sorted(pathlib.PurePath(row["path"]).name for row in rows)
    assert names == sorted(path.name for path in pathlib.Path("bucket/photos").iterdir())
    assert not any(row["error"] for row in rows)


def _run_python(code):
    for printed, shorter in SHORTER.items():
        code = code.replace(printed, shorter)
    if "s3://" in code:
        _run_distributed(code)
        return
    if "localhost:8501" not in code:
        exec(compile(code, "README.md", "exec"), {})
        return
    pytest.importorskip("tensorflow_serving.apis")
    import fake_server

    served = fake_server.Served("served/mine/1", "mine")
    with fake_server.rest_server(served) as address:
        names = {}
        exec(compile(code.replace("http://localhost:8501", address), "README.md", "exec"), names)
    assert len(names["poses"]) == 1


@pytest.mark.usefixtures("without_tracing")
def test_blocks_run(folder, monkeypatch):
    monkeypatch.chdir(folder)
    monkeypatch.syspath_prepend(README.parent / "tests" / "helpers")
    ran = []
    for language, block in BLOCKS:
        if language == "python":
            _run_python(block)
        elif language == "bash":
            for line in _commands(block):
                _run_command(line)
        ran.append(language)
    assert ran.count("python") >= 4 and ran.count("bash") >= 3
    assert (folder / "pose.png").is_file() and (folder / "my_model" / "config.json").is_file()
    assert (folder / "report" / "metrics.json").is_file()


def test_inline_commands_are_commands():
    from keras_hourglass.cli import COMMANDS

    text = README.read_text(encoding="utf-8")
    named = set(re.findall(r"keras-hourglass ([a-z-]+)", text))
    assert named <= set(COMMANDS) and {"train", "predict", "convert"} <= named


def test_links_lead_somewhere():
    text = README.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", text):
        assert (README.parent / target).exists(), target


def test_what_contributors_are_sent_to_is_there():
    """Files that CONTRIBUTING.md names, and words that it says stand `in` or `of` them."""
    root = README.parent
    text = " ".join((root / "CONTRIBUTING.md").read_text(encoding="utf-8").split())
    files = {word for word in re.findall(r"`([\w./-]+)`", text) if "/" in word or ".py" in word}
    files -= {"keras_hourglass/data/NAME.py", "../shared/data"}
    assert len(files) > 20
    for name in files:
        assert list(root.glob(name)) or list(root.glob(f"keras_hourglass/**/{name}")), name
    pairs = re.findall(r"`(\w+)` (?:in|of) `([\w./]+\.(?:py|toml))`", text)
    assert len(pairs) > 12
    for word, name in pairs:
        assert re.search(rf"\b{word}\b", (root / name).read_text(encoding="utf-8")), (word, name)
