"""Whether threads of a runtime wait busily, which takes processors from those who read."""

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.evaluation.predictions import predict_records
from keras_hourglass.inference import engines
from keras_hourglass.io.images import write_image
from keras_hourglass.network.model import StackedHourglass

pytest.importorskip("onnxruntime")


@pytest.fixture
def asked(monkeypatch):
    """What each network was loaded with."""
    answers, load = [], engines.load_network

    def spy(path, outputs, number, spinning, runtime):
        answers.append(spinning)
        return load(path, outputs, number, spinning, runtime)

    monkeypatch.setattr(engines, "load_network", spy)
    return answers


@pytest.mark.slow
def test_for_one_picture_they_do_and_for_a_folder_not(tmp_path, asked):
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(9):
        write_image(folder / f"{number}.png", np.full((40, 30, 3), 9 * number, np.uint8))
    words = ["--model", "hourglass_tiny_synthetic", "--save", "json", "--out"]
    assert main(["predict", str(folder / "3.png"), *words, str(tmp_path / "one")]) == 0
    # The network of the joints; of the detector's three none, as each would keep the next waiting.
    assert asked == [True, False, False, False]
    found = len(asked)
    assert main(["predict", str(folder), *words, str(tmp_path / "all")]) == 0
    assert asked[found:] == [False] * found
    one, same = (tmp_path / name / "3.json" for name in ("one", "all"))
    assert one.read_text() == same.read_text() and len(list((tmp_path / "all").iterdir())) == 9


def test_for_annotated_people_not(asked):
    records = synthetic_records(3, 1, 64)
    model = StackedHourglass(
        skeleton=records.skeleton, num_stacks=1, num_features=8, depth=1, input_shape=(64, 32, 3)
    )
    assert predict_records(model, records, engine="onnxruntime").keypoints.shape == (1, 3, 14, 2)
    assert asked == [False]
