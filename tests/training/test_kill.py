"""`kill -9` at any moment: old files or new ones, never a part of one; the next run succeeds."""

import os
import pathlib
import subprocess
import sys
import time

import numpy as np
import pytest
from file_server import CONTENT, DIGEST
from networks import save_untrained
from places import HELPERS

from keras_hourglass.cli import main
from keras_hourglass.data.tfrecords import read_tfrecords, stored_image
from keras_hourglass.errors import DataError
from keras_hourglass.io import download as fetch

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs processes")


def killed(folder, number, *command):
    """Folders that so many killed runs left, and the one of a whole run."""
    script = HELPERS / "killed_child.py"
    words = [sys.executable, script, folder, number, *command]
    child = subprocess.run([str(word) for word in words], capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-3000:]
    left = [folder.with_name(f"{folder.name}-{k}") for k in range(1, number + 1)]
    return left, folder.with_name(f"{folder.name}-whole")


def contents(folder):
    """Relative name -> content of every file that is not hidden."""
    files = [path for path in pathlib.Path(folder).rglob("*") if path.is_file()]
    names = {path: path.relative_to(folder) for path in files}
    return {
        str(name): path.read_bytes()
        for path, name in names.items()
        if not any(part.startswith(".") for part in name.parts)
    }


def assert_old_or_new(found, old, new):
    """Every file is one of both as a whole; returns the share of new ones."""
    assert set(found) == set(new) == set(old)
    for name, content in found.items():
        assert content in (old[name], new[name]), name
    return np.mean([found[name] == new[name] for name in found if new[name] != old[name]])


@pytest.mark.slow
def test_download(server, tmp_path):  # noqa: F811
    address = f"{server.address}/a.weights.h5"
    cache = tmp_path / "cache"
    cache.mkdir()
    left, _ = killed(cache, 12, "download", address)
    for folder in left:
        for name, content in contents(folder).items():
            # The file whole, or the note about its checksum.
            assert content == (f"{DIGEST}\n".encode() if name.endswith(".sha256") else CONTENT)
        assert fetch.download(address, DIGEST, folder=folder).read_bytes() == CONTENT


def test_download_half_way(server, tmp_path):  # noqa: F811
    """From outside, while bytes are still coming."""
    cache = tmp_path / "cache"
    address = f"{server.address}/slow/a"
    code = f"from keras_hourglass.io.download import download; download({address!r}, None)"
    (server.folder / "a").write_bytes(CONTENT)
    child = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.DEVNULL)
    try:
        for _ in range(6000):
            if any(path.stat().st_size for path in cache.rglob(".*")):
                break
            assert child.poll() is None
            time.sleep(0.01)
    finally:
        child.kill()
        child.wait()
        server.go_on.set()
    assert child.returncode == -9 and contents(cache) == {}
    assert fetch.download(f"{server.address}/slow/a").read_bytes() == CONTENT


@pytest.mark.full
def test_convert(tmp_path):
    torch_twins = pytest.importorskip("torch_twins")
    for seed in (3, 4):
        network = torch_twins.randomise(torch_twins.Princeton(16, 1, 12, depth=1), seed)
        arrays = {name: value.numpy() for name, value in network.state_dict().items()}
        np.savez(tmp_path / f"{seed}.npz", **arrays)
    folder = tmp_path / "preset"
    words = ["--out", str(folder)]
    assert main(["convert", str(tmp_path / "3.npz"), *words]) == 0
    old = contents(folder)
    left, whole = killed(
        folder, 5, "convert", tmp_path / "4.npz", *words, "--overwrite", "--dtype", "float16"
    )
    shares = [assert_old_or_new(contents(path), old, contents(whole)) for path in left]
    # Nothing is replaced before everything is written.
    assert shares[0] == shares[1] == 0 and shares[-1] == 1
    assert main(["convert", str(tmp_path / "4.npz"), *words, "--overwrite"]) == 0


@pytest.mark.full
def test_data_convert(tmp_path):
    folder = tmp_path / "crops"
    words = ["--out", str(folder), "--per-shard", "2"]
    assert main(["data", "convert", "synthetic:5@1x64", *words]) == 0
    old = contents(folder)
    left, whole = killed(folder, 6, "data", "convert", "synthetic:5@2x64", *words, "--overwrite")
    new = contents(whole)
    states = []
    for path in left:
        found = contents(path)
        assert all(content in (old[name], new[name]) for name, content in found.items())
        try:
            records = read_tfrecords(path)
        except DataError:
            states.append("none")  # old and new shards are never read with one index
            continue
        states.append({str(old): "old", str(new): "new"}[str(found)])
        assert all(stored_image(name).startswith(b"\xff\xd8") for name in records.images)
    assert states[:2] == ["old", "old"] and states[-1] == "new", states
    assert main(["data", "convert", "synthetic:5@2x64", *words, "--overwrite"]) == 0


@pytest.mark.full
def test_export(tmp_path):
    tf = pytest.importorskip("tensorflow")
    model = save_untrained(tmp_path / "model")
    folder = tmp_path / "served"
    words = ["export", "--model", model, "--out", str(folder), "--no-flip", "--name", "pose"]
    assert main(words) == 0
    old = contents(folder)
    left, whole = killed(folder, 4, *words)
    for path in left:
        found = contents(path)
        versions = sorted(entry.name for entry in (path / "pose").iterdir())
        versions = [name for name in versions if not name.startswith(".")]
        assert versions in (["1"], ["1", "2"])
        first = {name: content for name, content in old.items() if name.startswith("pose/1/")}
        assert {name: found[name] for name in first} == first
        if versions[-1] == "2":
            needed = {name for name in contents(whole) if name.startswith("pose/2/")}
            assert needed <= set(found)
            tf.saved_model.load(str(path / "pose" / "2"))
    assert main(words) == 0
    last = max(int(entry.name) for entry in (folder / "pose").iterdir() if entry.name.isdecimal())
    assert last in (2, 3)
