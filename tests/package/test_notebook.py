"""The example notebook runs from top to bottom and has been executed."""

import json
import pathlib

import pytest

import keras_hourglass

NOTEBOOK = pathlib.Path(keras_hourglass.__file__).parent / "examples" / "quickstart.ipynb"


def cells():
    document = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    return [cell for cell in document["cells"] if cell["cell_type"] == "code"]


def test_it_was_executed():
    for cell in cells():
        assert cell["execution_count"], "".join(cell["source"])
        assert not any(output["output_type"] == "error" for output in cell["outputs"])
        # Nothing that names the machine it ran on.
        assert "/tmp" not in json.dumps(cell["outputs"]) and "/home" not in json.dumps(
            cell["outputs"]
        )
    pictures = [output for cell in cells() for output in cell["outputs"] if "data" in output]
    assert any("image/png" in output["data"] for output in pictures)


@pytest.mark.full
@pytest.mark.filterwarnings("ignore")  # as in a notebook
def test_it_runs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = {}
    source = ["".join(cell["source"]) for cell in cells()]
    assert "epochs=6" in "".join(source)
    for code in source:
        # Half of the training shows as much.
        exec(compile(code.replace("epochs=6", "epochs=3"), "cell", "exec"), names)
    losses = names["history"].history["loss"]
    assert losses[-1] < losses[0]
    # It ends with a better picture than it began with.
    before, after = names["before"], names["after"]
    assert after[:6].mean() < before[:6].mean()  # those that are shown
    assert (after < 0.05).mean() > (before < 0.05).mean() + 0.05
    pose = names["poses"][0]
    # The served model and the predictor agree within half a pixel.
    served = names["answer"]["keypoints"][0].numpy()
    assert abs(served - pose.keypoints).max() < 0.5
    assert pathlib.Path("mine/config.json").is_file()
