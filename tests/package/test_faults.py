"""Bad days: what happens when disks, files, memory, paths and people misbehave.

The table in `faults.md` lists these and the ones that are tested beside what they are about.
"""

import contextlib
import errno
import gc
import importlib
import json
import locale
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import threading

import h5py
import numpy as np
import pytest
from networks import engines_once

from keras_hourglass import Predictor, StackedHourglass
from keras_hourglass.cli import main
from keras_hourglass.data.figures import write_dataset
from keras_hourglass.errors import UserError
from keras_hourglass.io.files import atomic_write
from keras_hourglass.io.images import write_image
from keras_hourglass.prediction.journal import NAME as JOURNAL
from keras_hourglass.skeletons import SKELETONS
from keras_hourglass.zoo import store as presets

FIGURES = "synthetic:3@1x64"
RECIPE = """
model: {num_stacks: 1, num_features: 4, depth: 1, input_shape: [32, 24, 3], stem: [2, [2], [2, 4]]}
data: {train: "synthetic:4@1x64", sigma: 1.0}
training: {epochs: 1, batch_size: 4}
monitoring: {tensorboard: false}
"""


@pytest.fixture(scope="module")
def network():
    return StackedHourglass(
        num_features=4, depth=1, input_shape=(32, 32, 3), skeleton="lsp", num_stacks=1
    )


@pytest.fixture(scope="module", autouse=True)
def once(network, tmp_path_factory):
    """Compile the network once: nothing here is about that. Other models are loaded as ever."""
    folder = tmp_path_factory.mktemp("model")
    network.save_to_preset(folder, overwrite=True)
    # Loaded with the true one, which it keeps.
    importlib.import_module("keras_hourglass.training.run")
    load = presets.load_model
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            presets,
            "load_model",
            lambda source: network if str(source) == str(folder) else load(source),
        )
        engines_once(patch)
        yield str(folder)


@pytest.fixture
def model(once):
    return once


def picture(path, height=40, width=52):
    noise = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    write_image(path, noise)
    return path


@pytest.fixture
def commands(model, tmp_path):
    """Each command that writes, as a function of its output folder and other options."""
    photo = picture(tmp_path / "photo.png")
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(RECIPE)
    words = {
        "predict": [photo, "--model", model],
        "evaluate": ["--model", model, "--data", FIGURES],
        "synthesize": ["--num", 2, "--seed", 1, "--size", 64],
        "export": ["--model", model, "--format", "onnx"],
        "train": [recipe, "--quiet"],
    }

    def run(command, out, *more):
        return main([command, "--out", str(out), *map(str, words[command]), *map(str, more)])

    return run


WRITING = ("predict", "evaluate", "synthesize", "export", "train")


def one_line(capsys, *parts):
    """The last line of stderr holds all parts; no traceback is there."""
    errors = capsys.readouterr().err
    last = errors.strip().splitlines()[-1]
    assert "Traceback" not in errors
    assert last.startswith("keras-hourglass ") and all(part in last for part in parts), last


def hidden(folder):
    return [path for path in pathlib.Path(folder).rglob(".*") if path.is_file()]


# Where to write


@pytest.mark.parametrize("command", WRITING)
def test_a_folder_that_cannot_be_made(command, commands, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert commands(command, tmp_path / "file" / "out") == 2
    one_line(capsys, "Not a directory")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert commands(command, tmp_path / "loop") == 2
    one_line(capsys, "loop")
    assert commands(command, tmp_path / ("x" * 300)) == 2
    one_line(capsys, "File name too long")
    assert (tmp_path / "file").read_text() == "mine"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs to change users")
def test_a_read_only_folder(tmp_path, capsys):
    for folder in (tmp_path, *tmp_path.parents[:3]):
        folder.chmod(0o755)
    place = tmp_path / "place"
    place.mkdir()
    os.seteuid(65534)
    try:
        assert main(["synthesize", "--out", str(place / "new"), "--num", "1", "--seed", "1"]) == 2
        one_line(capsys, "Permission denied", str(place / "new"))
        with pytest.raises(PermissionError):
            atomic_write(place / "a.json", "{}")
    finally:
        os.seteuid(0)
    assert not any(place.iterdir())


@contextlib.contextmanager
def full_disk(left=300):
    """Files cannot grow beyond so many bytes: each write ends as on a full disk."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (left, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
@pytest.mark.parametrize("command", [*WRITING[:-1], pytest.param("train", marks=pytest.mark.full)])
def test_a_full_disk(command, commands, tmp_path, capsys):
    out = tmp_path / "out"
    with full_disk():
        assert commands(command, out) == 2
    one_line(capsys, "File too large")
    # What --resume goes on by may stay.
    assert {path.name for path in hidden(out)} <= {JOURNAL}
    # A training has left nothing; the others say what they would replace.
    again = ["--overwrite"] if command != "train" else []
    assert commands(command, out, *again) == 0


def test_a_full_disk_keeps_the_old_preset(network, tmp_path):
    network.save_to_preset(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with full_disk(), pytest.raises(OSError, match="File too large"):
        network.save_to_preset(tmp_path, thresholds={"neck": 0.5}, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def frames(count=30):
    """Noise, which no codec makes small, as the results of a video without people."""
    from keras_hourglass.prediction.picture_poses import PicturePoses

    rng = np.random.default_rng(0)
    for number in range(count):
        yield PicturePoses("v.avi", [], rng.integers(0, 256, (96, 128, 3), np.uint8), number)


def test_a_full_disk_keeps_the_old_video(tmp_path):
    """OpenCV says nothing; the frames are counted before the old video goes."""
    from keras_hourglass.prediction.writing import VideoWriter

    def write(count=30):
        with VideoWriter(tmp_path, "v", "v.avi", SKELETONS["lsp"], 10.0) as writer:
            for frame in frames(count):
                writer.add(frame)

    write(3)
    before = (tmp_path / "v.mp4").read_bytes()
    with (
        full_disk(50_000),
        pytest.raises(OSError, match="of 30 frames could be written.*MB are free"),
    ):
        write()
    assert (tmp_path / "v.mp4").read_bytes() == before and not hidden(tmp_path)
    assert len(json.loads((tmp_path / "v.json").read_text())["frames"]) == 30
    write()
    assert (tmp_path / "v.mp4").stat().st_size > 50_000


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "o/a.png"),
        OSError("Can't write data (errno = 28, error message = 'No space left on device')"),
        RuntimeError("RESOURCE_EXHAUSTED: o/variables; No space left on device"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "o/a.png"),
        OSError(errno.ENOSPC, "Only 3 of 30 frames could be written", "o/v.mp4"),
    ],
)
def test_a_full_disk_is_called_one(error, monkeypatch, capsys):
    """Whichever library says it: it is no lack of memory."""
    from keras_hourglass.cli import list_presets

    def fails(*_):
        raise error

    monkeypatch.setattr(list_presets, "run", fails)
    assert main(["list"]) == 2
    line = capsys.readouterr().err
    assert "the disk is full: " in line and "memory" not in line and line.count("\n") == 1
    assert "Free space on that disk" in line


# What is read


def spoil(folder, change):
    """Change the first array of a preset's weights."""
    with h5py.File(folder / "model.weights.h5", "r+") as file:
        names = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "shape") else None)
        file[names[0]][...] = change


@pytest.mark.parametrize("command", ["predict", "evaluate", "export"])
def test_bad_weights_never_answer(command, network, commands, tmp_path, capsys):
    bad = tmp_path / "bad"
    network.save_to_preset(bad)
    spoil(bad, np.nan)
    assert commands(command, tmp_path / "out", "--model", bad) == 2
    one_line(capsys, "1 not finite", str(bad))
    data = (bad / "model.weights.h5").read_bytes()
    (bad / "model.weights.h5").write_bytes(data[: len(data) // 2])
    assert commands(command, tmp_path / "out", "--model", bad) == 2
    one_line(capsys, "cut short")
    (bad / "model.weights.h5").unlink()
    assert commands(command, tmp_path / "out", "--model", bad) == 2
    one_line(capsys, "No weights at")
    assert not (tmp_path / "out").exists() or not any((tmp_path / "out").iterdir())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "Cannot read the preset's config"),
        (b"\xff", "Cannot read the preset's config"),
        (b"[]", "Cannot read the preset's config"),
        (b"null", "Cannot read the preset's config"),
        (b'{"architecture": {"num_stacks": -1}}', "num_stacks=-1"),
        (b'{"architecture": {"num_stacks": 1e99}}', "positive integer"),
        (b'{"architecture": {"input_shape": [1, 2]}}', "input_shape"),
        (b'{"architecture": {"skeleton": {"name": 3}}}', "skeleton"),
        (b'{"architecture": {"stem": 5}}', "stem"),
        (b'{"architecture": {}, "thresholds": {"neck": "high"}}', "neck='high'"),
        (b'{"architecture": {}, "preprocessing": {"sigma": "wide"}}', "sigma='wide'"),
        (b'{"architecture": {}, "preprocessing": {"padding": NaN}}', "padding=nan"),
    ],
)
def test_bad_configs(content, reason, network, commands, tmp_path, capsys):
    bad = tmp_path / "bad"
    network.save_to_preset(bad)
    good = json.loads((bad / "config.json").read_text())
    with contextlib.suppress(ValueError, TypeError, AttributeError):
        # The rest as it was, so that only one thing is wrong.
        parts = json.loads(content).items()
        good = {**good, **{k: {**good.get(k, {}), **v} for k, v in parts}}
        content = json.dumps(good).encode()
    (bad / "config.json").write_bytes(content)
    assert commands("predict", tmp_path / "out", "--model", bad) == 2
    one_line(capsys, reason)


@pytest.mark.slow
def test_bad_pictures_of_a_data_set(commands, tmp_path, capsys):
    write_dataset(tmp_path / "set", num=3, seed=1, size=64)
    pictures = sorted((tmp_path / "set/images").iterdir())
    pictures[0].write_bytes(pictures[0].read_bytes()[:200])
    data = f"synthetic:{tmp_path / 'set'}"
    assert commands("evaluate", tmp_path / "some", "--data", data) == 1
    assert "000000.jpg" in capsys.readouterr().err
    assert json.loads((tmp_path / "some/metrics.json").read_text())["num_people"] == 2
    for path in pictures:
        path.write_bytes(b"\xff\xd8")
    assert commands("evaluate", tmp_path / "none", "--data", data) == 2
    one_line(capsys, "None of the 3 people", ".jpg")


def test_bad_predictions(commands, tmp_path, capsys):
    out = tmp_path / "out"
    assert commands("evaluate", out) == 0
    whole = (out / "predictions.npz").read_bytes()
    middle = len(whole) // 2
    words = ["analyze", "calibration", "--evaluation", str(out)]
    damaged = whole[:middle] + bytes(200) + whole[middle + 200 :]
    for content in (whole[:middle], damaged, b"", b"PK\x03\x04", b"{}"):
        (out / "predictions.npz").write_bytes(content)
        assert main([*words, "--out", str(tmp_path / "a")]) == 2
        one_line(capsys, "predictions.npz")


def test_bad_annotations(commands, tmp_path, capsys):
    annotation = write_dataset(tmp_path / "set", num=2, seed=1, size=64)
    whole = annotation.read_text()
    for content in (whole[:500], "[]", "{}", whole.replace('"images":', '"pictures":'), "\0"):
        annotation.write_text(content)
        data = f"coco:{annotation}"
        assert commands("evaluate", tmp_path / "out", "--data", data) == 2
        one_line(capsys, "person_keypoints.json")
    assert not (tmp_path / "out").exists()


@pytest.mark.full
def test_a_damaged_run(commands, tmp_path, capsys):
    run = tmp_path / "run"
    assert commands("train", run) == 0
    resume = ["--resume", "--set", "training.epochs=2"]
    weights = (run / "model.weights.h5").read_bytes()
    for name, reason in (
        ("checkpoint/epoch-00001.npz", "checkpoint cannot be read"),
        ("checkpoint/state.json", "--resume needs a run with a checkpoint"),
        ("recipe.yaml", "--resume needs the run's recipe"),
    ):
        whole = (run / name).read_bytes()
        for content in (whole[: len(whole) // 2] + b"\xff", b"\xff", b""):
            (run / name).write_bytes(content)
            assert commands("train", run, *resume) == 2
            one_line(capsys, reason, str(run))
        (run / name).write_bytes(whole)
    assert (run / "model.weights.h5").read_bytes() == weights
    assert commands("train", run, *resume) == 0


# Names of files


@pytest.mark.full
def test_unusual_names_from_data_to_export(network, commands, tmp_path, capsys):
    place = tmp_path / "Zürich – 東京 😀  two  spaces"
    model, figures = place / "mödel", place / "fig uren"
    network.save_to_preset(model)
    picture(place / "ä ö.png")
    picture(place / f"{'n' * 250}.png")
    assert commands("synthesize", figures) == 0
    data = ["--data", f"synthetic:{figures}"]
    assert commands("evaluate", place / "e ü", "--model", model, *data) == 0
    words = ["predict", str(place), "--model", str(model), "--out", str(place / "aus gabe")]
    assert main(words) == 0
    written = sorted(path.name for path in (place / "aus gabe").iterdir())
    assert written == [*(f"{'n' * 180}{s}" for s in (".json", ".png")), "ä ö.json", "ä ö.png"]
    assert commands("train", place / "lauf ß", "--set", f"data.train=synthetic:{figures}") == 0
    assert commands("export", place / "für", "--model", model, "--name", "m") == 0
    assert (place / "für/m.onnx").exists()


@pytest.mark.slow
def test_a_name_that_is_no_text(commands, tmp_path, capsys, model):
    name = os.fsdecode(os.fsencode(tmp_path / "caf") + b"\xe9.png")
    try:
        shutil.copy(picture(tmp_path / "photo.png"), name)
    except OSError:
        pytest.skip("this file system takes text only")
    words = ["predict", name, "--model", model, "--out", str(tmp_path / "out")]
    assert main([*words, "--save", "json,csv,images"]) == 0
    document = json.loads((tmp_path / "out/caf.json").read_text())
    assert document["image"] == name
    assert r"caf\udce9.png" in (tmp_path / "out/poses.csv").read_text()


@pytest.mark.slow
def test_symlink_loops(commands, tmp_path, capsys, model):
    loop = tmp_path / "loop.png"
    loop.symlink_to(loop)
    words = ["--model", model, "--out", str(tmp_path / "out")]
    assert main(["predict", str(loop), *words]) == 2
    one_line(capsys, "loop.png")
    folder = tmp_path / "folder"
    picture(folder / "a.png")
    (folder / "itself").symlink_to(folder)
    assert main(["predict", str(folder), *words]) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.json", "a.png"]
    for spec in (f"lsp:{loop}", f"coco:{loop}", f"synthetic:{loop}"):
        assert commands("evaluate", tmp_path / "other", "--data", spec) == 2
        one_line(capsys, "loop.png")


@pytest.fixture
def decimal_commas(tmp_path, monkeypatch):
    """The German locale, made on the spot."""
    made = shutil.which("localedef") and subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "UTF-8", tmp_path / "de_DE.UTF-8"], capture_output=True
    )
    monkeypatch.setenv("LOCPATH", str(tmp_path))
    before = locale.setlocale(locale.LC_ALL)
    try:
        locale.setlocale(locale.LC_ALL, "de_DE.UTF-8")
    except locale.Error:
        pytest.skip(f"no German locale here ({made and made.stderr})")
    yield
    locale.setlocale(locale.LC_ALL, before)


@pytest.mark.full
def test_decimal_commas(decimal_commas, commands, tmp_path):
    assert locale.localeconv()["decimal_point"] == ","
    assert commands("train", tmp_path / "run", "--set", "optimizer.learning_rate=2.5e-4") == 0
    assert "learning_rate: 0.00025" in (tmp_path / "run/recipe.yaml").read_text()
    header, row = (tmp_path / "run/log.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(","))
    box = ["--box=1.5,2,30.25,30", "--save", "csv,json"]
    assert commands("predict", tmp_path / "out", *box) == 0
    header, row = (tmp_path / "out/poses.csv").read_text().splitlines()
    assert len(header.split(",")) == len(row.split(",")) and ",1.5,2.0,30.25,30.0," in row
    assert commands("evaluate", tmp_path / "scores", "--threshold", "0.25") == 0
    assert json.loads((tmp_path / "scores/metrics.json").read_text())["threshold"] == 0.25


# Several at once, and interruptions


@pytest.mark.full
def test_two_trainings_into_one_folder(tmp_path):
    import keras
    import yaml

    from keras_hourglass.training.run import train

    refused = []

    class Second(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            for resume in (False, True):
                with pytest.raises(UserError, match="Another training is writing") as caught:
                    train(yaml.safe_load(RECIPE), tmp_path / "run", resume=resume, verbose=0)
                refused.append(str(caught.value))

    train(yaml.safe_load(RECIPE), tmp_path / "run", verbose=0, callbacks=[Second()])
    assert len(refused) == 2 and str(tmp_path / "run") in refused[0]
    assert presets.load_model(tmp_path / "run").num_stacks == 1
    with pytest.raises(UserError, match="already holds files"):
        train(yaml.safe_load(RECIPE), tmp_path / "run", verbose=0)
    with pytest.raises(UserError):
        train({"data": {"train": f"lsp:{tmp_path / 'none'}"}}, tmp_path / "new", verbose=0)
    assert not (tmp_path / "new").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("command", "place"),
    [
        ("evaluate", "keras_hourglass.evaluation.predictions.Collector.add"),
        ("evaluate", "keras_hourglass.report.page.html_page"),
        ("synthesize", "keras_hourglass.data.figures.series.render_named"),
        ("export", "keras_hourglass.export.formats.compare"),
        pytest.param("train", "keras_hourglass.training.run.build_model", marks=pytest.mark.full),
    ],
)
def test_ctrl_c(command, place, commands, tmp_path, monkeypatch, capsys):
    def press(*args, **kwargs):
        signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(place, press)
    out = tmp_path / "out"
    assert commands(command, out) == 130
    one_line(capsys, "interrupted")
    monkeypatch.undo()
    assert not hidden(out)
    # The file that says that all is there is missing.
    for name in ("report.html", "person_keypoints.json", "model.weights.h5"):
        assert not (out / name).exists()
    assert commands(command, out, *(["--overwrite"] if command != "train" else [])) == 0


@pytest.mark.full
def test_ctrl_c_at_any_moment(commands, tmp_path, capsys):
    calls, press_at = 0, None

    def count(frame, event, _):
        nonlocal calls
        # Of this package only: what the interpreter does to clean up is not counted.
        if event == "call" and "keras_hourglass/" in frame.f_code.co_filename:
            calls += 1
            if calls == press_at:
                sys.setprofile(None)
                signal.raise_signal(signal.SIGINT)

    def interrupted(out, moment):
        nonlocal calls, press_at
        calls, press_at = 0, moment
        sys.setprofile(count)
        try:
            return commands("synthesize", out)
        finally:
            sys.setprofile(None)

    assert commands("synthesize", tmp_path / "first") == 0  # everything is imported
    assert interrupted(tmp_path / "whole", None) == 0
    assert calls > 100
    annotations = (tmp_path / "whole/person_keypoints.json").read_text()
    for number, moment in enumerate(np.linspace(2, calls, 12).astype(int)):
        out = tmp_path / f"out{number}"
        assert interrupted(out, moment) == 130
        one_line(capsys, "interrupted")
        assert not out.exists() or not hidden(out)
        written = out / "person_keypoints.json"
        assert not written.exists() or written.read_text() == annotations
        assert commands("synthesize", out, "--overwrite") == 0


@pytest.mark.full
def test_a_server_sees_whole_versions_only(network, tmp_path):
    from keras_hourglass.export import export_model

    export_model(network, tmp_path, name="pose", flip=False)
    stop, seen, broken = threading.Event(), set(), []

    def poll():
        last = False
        while not last:
            last = stop.is_set()
            for version in (tmp_path / "pose").iterdir():
                if version.name.isdecimal():
                    seen.add(version.name)
                    needed = ("saved_model.pb", "variables/variables.index", "assets.extra")
                    broken.extend(name for name in needed if not (version / name).exists())

    watcher = threading.Thread(target=poll)
    watcher.start()
    try:
        export_model(network, tmp_path, name="pose", flip=False)
    finally:
        stop.set()
        watcher.join()
    assert seen == {"1", "2"} and not broken


# Memory


@pytest.mark.slow
def test_out_of_memory_says_what_to_try(commands, tmp_path, monkeypatch, capsys):
    tf = pytest.importorskip("tensorflow")

    def exhaust(*args, **kwargs):
        # Really running out takes TensorFlow ten seconds of trying again.
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor")

    monkeypatch.setattr("keras_hourglass.evaluation.predictions.Collector.add", exhaust)
    assert commands("evaluate", tmp_path / "a", "--batch-size", 6) == 2
    one_line(capsys, "out of memory", "batches of 6", "--batch-size 3")
    monkeypatch.setattr("keras_hourglass.training.run.Run._fit", exhaust)
    assert commands("train", tmp_path / "b") == 2
    one_line(capsys, "out of memory", "--set training.batch_size=2")
    assert commands("train", tmp_path / "d", "--set", "training.batch_size=1") == 2
    one_line(capsys, "out of memory", "batches of 1", "a smaller --set model.input_shape")
    assert commands("evaluate", tmp_path / "c", "--batch-size", 1) == 2
    one_line(capsys, "smaller model")


def resident():
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


@pytest.mark.full
@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="needs Linux's /proc")
@pytest.mark.parametrize(("engine", "calls"), [("fastest", 10_000), ("keras", 2_000)])
def test_memory_stays_flat_over_thousands_of_predictions(network, engine, calls):
    predictor = Predictor(network, flip=False, whole=True, engine=engine)
    image = np.random.default_rng(0).integers(0, 256, (48, 40, 3), np.uint8)
    for _ in range(200):
        predictor(image)
    gc.collect()
    before = resident()
    for _ in range(calls):
        predictor(image)
    gc.collect()
    # A leak of one crop of bytes per call would be 6 MiB in the shorter run, 30 in the longer.
    assert resident() - before < 5


@pytest.mark.full
def test_the_clock_jumps_back(commands, tmp_path, monkeypatch):
    import time

    now = iter(range(2_000_000_000, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(now)))
    assert commands("train", tmp_path / "run", "--set", "training.epochs=2") == 0
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 3
    assert commands("evaluate", tmp_path / "out", "--model", tmp_path / "run") == 0
