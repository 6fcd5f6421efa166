"""What an editor knows of the package: completion by jedi, types by pyright and mypy."""

import json
import pathlib
import subprocess
import sys

import jedi
import pytest

import keras_hourglass

USER_CODE = pathlib.Path(__file__).parents[1] / "helpers" / "typed_user_code.py"
BEGIN = """import keras_hourglass as kh
from keras_hourglass.data import load_records
predictor = kh.Predictor("hourglass_tiny_lsp")
"""


def completed(code):
    """The names that jedi offers at the end of a program."""
    lines = (BEGIN + code).split("\n")
    offered = jedi.Script("\n".join(lines)).complete(len(lines), len(lines[-1]))
    return {completion.name for completion in offered}


@pytest.mark.slow
@pytest.mark.parametrize(
    ("code", "wanted"),
    [
        ("kh.", {"Predictor", "StackedHourglass", "Skeleton", "get_skeleton", "data", "layers"}),
        ("kh.Predictor('x').", {"predict_crops", "stream", "track", "refresh", "skeleton"}),
        ("predictor.tr", {"track"}),
        ("predictor('a.jpg').", {"save", "to_coco", "to_pandas", "keypoints", "crops", "alone"}),
        ("predictor('a.jpg')[0].", {"keypoints", "scores", "names", "present", "draw"}),
        ("for pose in predictor('a.jpg'):\n    pose.", {"keypoints", "to_dict", "box"}),
        ("for frame in predictor.track('a.mp4'):\n    frame.", {"ids", "seconds", "poses"}),
        ("kh.StackedHourglass.from_preset('a').", {"save_to_preset", "fit", "stack_names"}),
        ("load_records('coco:a.json').", {"skeleton", "joints", "select", "visibility"}),
        ("kh.get_skeleton('lsp').", {"joints", "flip_order", "limbs"}),
    ],
)
def test_jedi_completes(code, wanted):
    assert wanted <= completed(code)


def test_jedi_shows_arguments_with_their_text():
    lines = (BEGIN + "kh.Predictor(").split("\n")
    [signature] = jedi.Script("\n".join(lines)).get_signatures(len(lines), len(lines[-1]))
    assert [parameter.name for parameter in signature.params][:3] == ["model", "flip", "decoder"]
    assert "Predict the joints of people" in signature.docstring()


@pytest.mark.full
def test_pyright_finds_nothing_wrong(tmp_path):
    # A configuration of its own: a user's, rather than the project's.
    (tmp_path / "user.py").write_text(USER_CODE.read_text(encoding="utf-8"), encoding="utf-8")
    settings = {
        "typeCheckingMode": "standard",
        "extraPaths": [str(pathlib.Path(keras_hourglass.__file__).parents[1])],
    }
    (tmp_path / "pyrightconfig.json").write_text(json.dumps(settings), encoding="utf-8")
    command = ["-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", "."]
    done = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=600
    )
    report = json.loads(done.stdout)
    assert report["summary"]["filesAnalyzed"] == 1, report
    assert not report["generalDiagnostics"], report["generalDiagnostics"]


def test_dir_shows_public_names_only():
    for room in ("data", "network", "prediction", "zoo"):
        module = getattr(keras_hourglass, room)
        assert dir(module) == sorted(module.__all__) and "Any" not in dir(module)
    assert set(dir(keras_hourglass)) == set(keras_hourglass.__all__)
    assert [name for name in dir(keras_hourglass) if name[0] == "_"] == ["__version__"]


@pytest.mark.slow
def test_rooms_are_there_without_an_import_of_their_own():
    code = "import keras_hourglass as kh; print(kh.data.load_records.__name__, kh.losses.__name__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["load_records", "keras_hourglass.losses"], done.stderr
    with pytest.raises(AttributeError, match="Did you mean 'Predictor'"):
        keras_hourglass.Predictr  # noqa: B018 - what a user types
    with pytest.raises(AttributeError, match="no attribute 'np'"):
        keras_hourglass.np  # noqa: B018
