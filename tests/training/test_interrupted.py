"""Runs that were stopped, are over, or whose data and folders are not what they were."""

import csv
import json
import os

import numpy as np
import pytest

from keras_hourglass.cli import main
from keras_hourglass.data.figures import write_dataset
from keras_hourglass.errors import UserError
from keras_hourglass.training.callbacks.tensorboard import EventFile, forget_epochs
from keras_hourglass.training.run import train

pytestmark = [
    pytest.mark.filterwarnings("ignore:Even though the `tf.config"),
    pytest.mark.usefixtures("without_tracing"),
]


def recipe(**sections):
    """Two steps an epoch, in which nothing is learned."""
    values = {
        "model": {"num_stacks": 1, "num_features": 4, "depth": 1, "input_shape": [32, 24, 3],
                  "stem": [2, [2], [None]]},
        "data": {"train": "synthetic:8@1x64", "validation": "synthetic:4@2x64"},
        "optimizer": {"name": "sgd", "learning_rate": 1e-12},
        "training": {"epochs": 2, "batch_size": 4},
        "monitoring": {"source_every": 0, "tensorboard": False, "images": 0},
    }  # fmt: skip
    for name, section in sections.items():
        values[name] = {**values[name], **section} if name in values else section
    return values


def epochs_of(out):
    with open(out / "log.csv", newline="") as file:
        return [int(row["epoch"]) for row in csv.DictReader(file)]


def steps_of(folder):
    """The epochs that stand in TensorBoard's files, read by their format."""
    from tensorboard.compat.proto import event_pb2

    steps = []
    for path in sorted(folder.glob("events*")):
        data, place = path.read_bytes(), 0
        while place < len(data):
            length = int.from_bytes(data[place : place + 8], "little")
            event = event_pb2.Event.FromString(data[place + 12 : place + 12 + length])
            steps += [] if event.file_version else [event.step]
            place += 16 + length
    return steps


@pytest.mark.full
def test_after_early_stopping_it_goes_on_or_says_why_not(tmp_path, capsys):
    out = tmp_path / "run"

    def resumed(**sections):
        train(recipe(**sections), out, resume=True, verbose=0)
        return len(epochs_of(out)), capsys.readouterr().err

    patient = recipe(training={"epochs": 9}, schedule={"early_stopping": 3})
    train(patient, tmp_path / "unbroken", verbose=0)
    unbroken = epochs_of(tmp_path / "unbroken")
    train(recipe(training={"epochs": 9}, schedule={"early_stopping": 1}), out, verbose=0)
    capsys.readouterr()
    ended = len(epochs_of(out))
    assert 2 <= ended < len(unbroken) <= 9
    for length in (9, 12):
        done, said = resumed(training={"epochs": length}, schedule={"early_stopping": 1})
        assert done == ended
        assert f"has ended after epoch {ended}: the accuracy had not risen for 1 epochs" in said
        assert "raise schedule.early_stopping (1) or set it to null" in said
    resumed(training={"epochs": 9}, schedule={"early_stopping": 3})
    assert epochs_of(out) == unbroken
    done, said = resumed(training={"epochs": 11}, schedule={"early_stopping": None})
    assert done == 11 and "has ended" not in said
    done, said = resumed(training={"epochs": 11})
    assert done == 11 and "all 11 epochs are done. To go on, raise training.epochs" in said


@pytest.mark.full
def test_no_epoch_stands_twice_in_the_logs(tmp_path, monkeypatch):
    values = recipe(training={"epochs": 3}, monitoring={"tensorboard": True})
    from keras_hourglass.training.callbacks import checkpoints

    ends = checkpoints.Keeper.on_epoch_end

    def stop(self, epoch, logs=None):
        if epoch == 1:
            raise KeyError("as by SIGKILL")
        ends(self, epoch, logs)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Keeper, "on_epoch_end", stop)
        with pytest.raises(KeyError, match="SIGKILL"):
            train(values, tmp_path, verbose=0)
    assert epochs_of(tmp_path) == [0, 1] and steps_of(tmp_path / "tensorboard/train") == [0, 1]
    train(values, tmp_path, resume=True, verbose=0)
    assert epochs_of(tmp_path) == [0, 1, 2]
    for part in ("train", "validation"):
        assert steps_of(tmp_path / "tensorboard" / part) == [0, 1, 2]


def test_events_of_a_killed_process_are_cut_at_the_last_whole_one(tmp_path):
    file = EventFile(tmp_path / "train")
    for epoch in range(4):
        file.scalars(epoch, {"epoch_loss": float(epoch)})
    file.close()
    [path] = (tmp_path / "train").iterdir()
    path.write_bytes(path.read_bytes()[:-5])
    forget_epochs(tmp_path, 9)
    assert steps_of(tmp_path / "train") == [0, 1, 2]
    forget_epochs(tmp_path, 1)
    assert steps_of(tmp_path / "train") == [0]
    forget_epochs(tmp_path, 0)
    assert not list((tmp_path / "train").iterdir())


@pytest.mark.full
def test_a_profile_writes_no_epoch_a_second_time(tmp_path):
    values = recipe(
        training={"epochs": 2}, monitoring={"tensorboard": True, "profile": [2, 3], "images": 0}
    )
    train(values, tmp_path, verbose=0)
    assert steps_of(tmp_path / "tensorboard/train") == [0, 1]
    assert list((tmp_path / "tensorboard").rglob("*.xplane.pb"))


@pytest.mark.full
def test_data_that_changed_under_a_run_are_named(tmp_path, capsys):
    path = write_dataset(tmp_path / "w", 8, 3, 64)
    values = recipe(data={"train": f"coco:{path}"})
    train(values, tmp_path / "run", verbose=0)
    train(values, tmp_path / "run", resume=True, verbose=0, overrides=["training.epochs=3"])
    assert "not those that the run began with" not in capsys.readouterr().err
    content = json.loads(path.read_text())
    first, second, third = (content["annotations"][place]["id"] for place in range(3))
    content["annotations"][0]["keypoints"][0] += 7
    content["annotations"][1]["id"] = 900
    path.write_text(json.dumps(content))
    shown = content["annotations"][2]["image_id"]
    image = next(row for row in content["images"] if row["id"] == shown)["file_name"]
    [picture] = (tmp_path / "w").rglob(os.path.basename(image))
    picture.write_bytes(picture.read_bytes() + b"\0")
    train(values, tmp_path / "run", resume=True, verbose=0, overrides=["training.epochs=4"])
    said = capsys.readouterr().err
    assert "data.train: the data are not those that the run began with: of 8 people" in said
    assert f"1 new (900), 1 gone ({second}), 2 changed ({first}, {third})" in said
    # What was said once is the state to compare with.
    train(values, tmp_path / "run", resume=True, verbose=0, overrides=["training.epochs=5"])
    assert "began with" not in capsys.readouterr().err
    assert epochs_of(tmp_path / "run") == [0, 1, 2, 3, 4]


@pytest.mark.slow
def test_a_disk_that_fills_before_the_first_checkpoint(tmp_path, monkeypatch):
    resource = pytest.importorskip("resource")
    out, (soft, hard) = tmp_path / "run", resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (9000, hard))  # enough for the recipe
    try:
        with pytest.raises(UserError) as caught:
            train(recipe(), out, verbose=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    said = str(caught.value)
    assert "Nothing of this training is kept yet: free space and give the same command" in said
    assert "state after" not in said and "--overwrite" not in said and "--resume" not in said
    with pytest.raises(UserError, match="Start a new training there, without --resume"):
        train(recipe(), out, resume=True, verbose=0)
    # As SIGKILL would have left it: hidden files of a process that is gone.
    (out / f".epoch-00000.{2**22 + 1:08x}beef.npz").write_bytes(bytes(9))
    train(recipe(training={"epochs": 1}), out, verbose=0)
    assert epochs_of(out) == [0] and not list(out.glob(".*"))
    with pytest.raises(UserError) as caught:
        train(recipe(), out, verbose=0)
    assert "--overwrite" not in str(caught.value) and "--resume" in str(caught.value)


def test_a_folder_with_anything_else_is_not_taken(tmp_path):
    (tmp_path / "recipe.yaml").write_text("training: {epochs: 1}")
    with pytest.raises(UserError, match="already holds files"):
        train(recipe(), tmp_path, verbose=0)
    (tmp_path / "environment.json").write_text("{}")
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="already holds files"):
        train(recipe(), tmp_path, verbose=0)
    assert (tmp_path / "thesis.txt").read_text() == "mine"


@pytest.mark.full
def test_missing_pictures_are_counted_and_named(tmp_path, capsys):
    path = write_dataset(tmp_path / "w", 16, 2, 64)
    pictures = sorted((tmp_path / "w").rglob("*.jpg"))
    assert len(pictures) == 16
    for picture in pictures[3:]:
        picture.unlink()
    values = recipe(data={"train": f"coco:{path}"}, training={"epochs": 1})
    train(values, tmp_path / "run", verbose=0)
    said = capsys.readouterr().err
    assert "13 people left out (picture missing), 13 of 16 pictures, the first is" in said
    assert os.path.basename(pictures[3]) in said
    for picture in pictures[:3]:
        picture.unlink()
    with pytest.raises(UserError, match="None of the pictures of coco:.* is there"):
        train(values, tmp_path / "other", verbose=0)
    assert not (tmp_path / "other").exists()


def test_no_control_characters_where_there_is_no_terminal(tmp_path, capfd):
    assert (
        main(["synthesize", "--out", str(tmp_path / "w"), *"--num 3 --seed 1 --size 64".split()])
        == 0
    )
    said = "".join(capfd.readouterr())
    assert "3 figures" in said and not [c for c in said if ord(c) < 32 and c != "\n"]
    assert np.all([path.stat().st_size > 0 for path in (tmp_path / "w").rglob("*.jpg")])
