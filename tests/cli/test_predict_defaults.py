"""`predict` without --model and --out, and models by a part of their name."""

import json

import cv2
import pytest

from keras_hourglass.choices import DEFAULT_MODEL
from keras_hourglass.cli import main
from keras_hourglass.data.figures import render
from keras_hourglass.zoo.store import list_presets, preset_named


@pytest.mark.slow
def test_the_default_model_is_trained():
    trained = [row["name"] for row in list_presets() if row["weights"]]
    assert DEFAULT_MODEL in trained


@pytest.mark.slow
def test_a_photo_alone_is_enough_and_never_replaces_what_is_there(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", render(7, 3))
    for folder in ("poses", "poses-2", "poses-3"):
        assert main(["predict", "photo.png", "--whole"]) == 0
        assert "the model is hourglass_tiny_people" in capsys.readouterr().err
        found = json.loads((tmp_path / folder / "photo.json").read_text())
        assert len(found["people"]) == 1 and len(found["people"][0]["keypoints"]) == 19


@pytest.mark.parametrize(
    "text, name",
    [
        ("tiny-lsp", "hourglass_tiny_lsp"),
        ("small", "hourglass_small_people"),
        ("tiny", "hourglass_tiny_people"),  # of several, the one for everyday people
        ("2s", "hourglass_2s_people"),
        ("Hourglass Small LSP", "hourglass_small_lsp"),
        ("synthetic", "hourglass_tiny_synthetic"),
        ("hourglass_tiny", "hourglass_tiny"),  # a preset of its own, without weights
        ("lsp", "lsp"),  # several
        ("tin", "tin"),
        ("", ""),
    ],
)
def test_part_of_a_name_is_enough_where_one_preset_has_it(text, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert preset_named(text) == name


def test_a_folder_goes_before_a_preset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    assert preset_named("small") == "small"


def test_a_wrong_name_is_answered_by_the_nearest(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite("photo.png", render(7, 3))
    assert main(["predict", "photo.png", "--model", "hourglass_tiny_lps"]) == 2
    assert "Did you mean 'hourglass_tiny_lsp'?" in capsys.readouterr().err
    assert not (tmp_path / "poses").exists()


def test_trained_presets_are_listed_first(capsys):
    assert main(["list", "--json"]) == 0
    weights = [row["weights"] is not None for row in json.loads(capsys.readouterr().out)]
    assert weights == sorted(weights, reverse=True) and not all(weights)
