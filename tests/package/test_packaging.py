"""What the wheel and the source archive hold, and that the wheel works without the repository."""

import pathlib
import shutil
import subprocess
import sys
import tarfile
import zipfile

import pytest

from keras_hourglass import __version__

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Code, recipes, weights and their cards. No photo, no annotation, no array of test data.
SUFFIXES = {
    ".py",
    ".yaml",
    ".ipynb",
    ".h5",
    ".json",
    ".md",
    ".typed",
    ".jinja2",
    ".css",
    ".js",
    ".html",
}
# Drawings of joints on the model cards.
DRAWINGS = {"curves.png", "failures.png", "figures.png"}
METADATA = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "top_level.txt", "LICENSE"}


@pytest.fixture(scope="module")
def dist(tmp_path_factory):
    """A folder with the wheel and the source archive, built from a copy of the repository."""
    pytest.importorskip("wheel")
    copy = tmp_path_factory.mktemp("source") / "copy"
    copy.mkdir()
    for name in ("keras_hourglass", "weights", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", ".*")
        shutil.copytree(ROOT / name, copy / name, ignore=ignored)
    for path in ROOT.iterdir():
        if path.is_file() and not path.name.startswith("."):
            shutil.copyfile(path, copy / path.name)
    # What lies about in a folder where somebody works must not travel.
    (copy / "photo.jpg").write_bytes(b"a photo")
    (copy / "keras_hourglass" / "photo.png").write_bytes(b"a photo")
    (copy / "tests" / "joints.mat").write_bytes(b"test data")
    command = [sys.executable, "setup.py", "--quiet", "sdist", "bdist_wheel"]
    done = subprocess.run(command, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return copy / "dist"


def data_files():
    """The files of the package that are no modules, as the repository has them."""
    files = (ROOT / "keras_hourglass").rglob("*")
    return {
        path.relative_to(ROOT).as_posix()
        for path in files
        if path.is_file() and path.suffix not in (".py", ".pyc")
    }


@pytest.mark.slow
def test_the_wheel_holds_the_package_and_its_weights_only(dist):
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        names = [pathlib.PurePosixPath(name) for name in opened.namelist()]
    package = {name for name in names if name.parts[0] == "keras_hourglass"}
    info = set(names) - package
    assert {name.name for name in info} == METADATA
    assert {name.parts[0] for name in info} == {f"keras_hourglass-{__version__}.dist-info"}
    pictures = {name for name in package if name.suffix not in SUFFIXES}
    assert {name.name for name in pictures} == {*DRAWINGS, "log.csv"}
    assert {name.parts[1] for name in pictures} == {"weights"}
    modules = {path.relative_to(ROOT) for path in (ROOT / "keras_hourglass").rglob("*.py")}
    assert {name for name in package if name.suffix == ".py"} == {
        pathlib.PurePosixPath(path) for path in modules
    }
    assert "keras_hourglass/weights/hourglass_tiny_lsp/model.weights.h5" in set(map(str, package))
    # Recipes, templates, the notebook: all that is no module.
    assert data_files() <= set(map(str, package))


@pytest.mark.slow
def test_the_source_archive_builds_and_tests_the_package(dist):
    [archive] = dist.glob("*.tar.gz")
    with tarfile.open(archive) as opened:
        names = {member.name.partition("/")[2] for member in opened if member.isfile()}
    assert {"setup.py", "Makefile", "CONTRIBUTING.md", "SECURITY.md"} <= names
    assert {
        "tests/package/test_packaging.py",
        "weights/manifest.json",
        "weights/hourglass_2s_lsp/log.csv",
    } <= names
    assert {
        "keras_hourglass/recipes/lsp.yaml", "keras_hourglass/export/templates/compose.yaml.jinja2"
    } <= data_files() <= names  # fmt: skip
    pictures = [name for name in names if name.endswith((".jpg", ".png", ".mat"))]
    assert {name.rpartition("/")[2] for name in pictures} == DRAWINGS


@pytest.mark.full
def test_the_wheel_works_without_the_repository(dist, tmp_path):
    [wheel] = dist.glob("*.whl")
    with zipfile.ZipFile(wheel) as opened:
        opened.extractall(tmp_path / "installed")
    code = f"""
import sys
sys.path.insert(0, {str(tmp_path / "installed")!r})
import keras_hourglass
from keras_hourglass.cli import main
assert keras_hourglass.__file__.startswith(sys.path[0]), keras_hourglass.__file__
model = keras_hourglass.StackedHourglass.from_preset("hourglass_tiny_synthetic")
assert model.num_stacks == 2
assert main(["list"]) == 0
"""
    done = subprocess.run(
        [sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert "hourglass_small_lsp" in done.stdout and "mpii" in done.stdout
