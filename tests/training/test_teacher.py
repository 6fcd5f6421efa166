"""A trained network that looks over the labels of a training."""

import numpy as np
import pytest

from keras_hourglass.data.figures import synthetic_records
from keras_hourglass.data.mixture import match_joints
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import RecipeError
from keras_hourglass.skeletons import Skeleton, get_skeleton
from keras_hourglass.training import teacher
from keras_hourglass.training.recipe import DataSection, load_recipe

TEACHER = "hourglass_tiny_synthetic"
STICK = Skeleton("stick", ("top", "middle", "foot"))


def two_people():
    """Of boxes of 100 and 200 px: labels 12 and 24 px from a sure joint are not doubtful."""
    joints = [[[10, 10], [50, 50], [0, 0]], [[20, 20], [60, 60], [90, 90]]]
    weights = [[1, 1, 1], [1, 0, 0.5]]  # the second set lacks the middle
    return PoseRecords(
        STICK, ["a.png", "b.png"], [[50, 50, 100], [100, 100, 200]], joints,
        [[2, 1, 0], [2, 0, 2]], [30.0, 60.0], ["a", "b"], weights,
    )  # fmt: skip


# The middle of the first is 13 px away, its top 12; of the second the foot is 24 px away.
KEYPOINTS = [[[10, 22], [63, 50], [70, 80]], [[80, 20], [61, 62], [90, 114]]]
SURE = [[True, True, True], [False, True, True]]


@pytest.mark.parametrize(
    ("doubtful", "middle", "weight"),
    [("keep", [50, 50], 1), ("drop", [50, 50], 0), ("mend", [63, 50], 1)],
)
def test_labels_far_from_a_sure_joint(doubtful, middle, weight):
    lesson = teacher.teach(two_people(), KEYPOINTS, SURE, doubtful)
    assert (lesson.doubtful, lesson.filled, lesson.labels) == (1, 0, 4)
    records = lesson.records
    assert records.joints[0, 1].tolist() == middle and records.weights[0, 1] == weight
    # Near ones stay where they are, and so does one of which the teacher is not sure.
    assert records.joints[0, 0].tolist() == [10, 10] and records.weights[0, 0] == 1
    assert records.joints[1, [0, 2]].tolist() == [[20, 20], [90, 90]]
    assert records.visibility.tolist() == [[2, 1, 0], [2, 0, 2]]


def test_joints_without_label_are_filled_in_with_a_weight():
    lesson = teacher.teach(two_people(), KEYPOINTS, SURE, "keep", missing=0.25)
    assert (lesson.doubtful, lesson.filled) == (1, 2)
    records = lesson.records
    assert records.joints[0, 2].tolist() == [70, 80] and records.joints[1, 1].tolist() == [61, 62]
    assert records.visibility.tolist() == [[2, 1, 1], [2, 1, 2]]
    assert records.weights.tolist() == [[1, 1, 0.25], [1, 0.25, 0.5]]
    unsure = np.zeros((2, 3), bool)
    same = teacher.teach(two_people(), KEYPOINTS, unsure, "drop", missing=1.0).records
    assert (same.weights == two_people().weights).all() and not same.visibility[0, 2]


@pytest.mark.slow
def test_a_wrong_label_is_seen_and_the_answers_are_kept(tmp_path, capsys, monkeypatch):
    wanted = get_skeleton("people")  # of which the teacher does not know the face
    records = match_joints(synthetic_records(num=6, seed=20160322), wanted)
    keypoints, sure = teacher.ask(records, TEACHER, tmp_path)
    assert "looks at 6 people" in capsys.readouterr().err
    assert sure[:, :14].mean() > 0.5 and not sure[:, 14:].any()
    person, joint = np.argwhere(sure)[0]
    moved = records.joints.copy()
    moved[person, joint] = keypoints[person, joint] + 0.2 * records.boxes[person, 2]
    wrong = records.with_columns(joints=moved)

    def never(*_):
        raise AssertionError("asked again")

    with monkeypatch.context() as patch:
        patch.setattr(teacher, "_predict", never)
        again = teacher.ask(wrong, TEACHER, tmp_path)
        assert (again[0] == keypoints).all() and (again[1] == sure).all()
        # Whoever is shown twice was looked at once; other people are another question.
        with pytest.raises(AssertionError, match="asked again"):
            teacher.ask(records.select([0, 1]), TEACHER, tmp_path)
    data = DataSection(teacher=TEACHER, doubtful="mend", teacher_weight=0.0)
    mended = teacher.look_over(wrong, data, tmp_path)
    assert mended.joints[person, joint] == pytest.approx(keypoints[person, joint])
    assert "are mended; 0 joints" in capsys.readouterr().err
    (tmp_path / teacher.ANSWERS).write_bytes(b"half")
    assert (teacher.ask(wrong, TEACHER, tmp_path)[0] == keypoints).all()


def test_people_shown_several_times_are_looked_at_once(monkeypatch):
    seen = []

    def predict(records, _):
        seen.append(list(records.ids))
        rows = np.arange(len(records), dtype=float)
        return np.tile(rows[:, None, None], (1, 3, 2)), np.ones((len(records), 3), bool)

    monkeypatch.setattr(teacher, "_predict", predict)
    keypoints, sure = teacher.ask(two_people().select([0, 1, 0]), TEACHER)
    assert seen == [["a", "b"]] and sure.all()
    assert keypoints[:, 0, 0].tolist() == [0, 1, 0]


def test_a_teacher_that_is_none_is_one_line():
    assert teacher.look_over("as they are", DataSection()) == "as they are"
    with pytest.raises(RecipeError, match=r"data\.teacher: No such preset.*no_such_network"):
        teacher.look_over(two_people(), DataSection(teacher="no_such_network"))
    for change in ("doubtful=guess", "teacher_weight=2"):
        with pytest.raises(RecipeError, match=rf"data\.{change.partition('=')[0]}"):
            load_recipe({}, [f"data.{change}"])


@pytest.mark.full
@pytest.mark.usefixtures("without_tracing")
@pytest.mark.filterwarnings("ignore:Even though the `tf.config")
def test_a_training_with_a_teacher(tmp_path, capsys):
    from keras_hourglass.training.run import train

    values = {
        "model": {"num_stacks": 1, "num_features": 8, "depth": 2, "input_shape": [64, 64, 3]},
        "data": {"train": "synthetic:8@1", "teacher": TEACHER},
        "training": {"epochs": 1, "batch_size": 4},
        "monitoring": {"tensorboard": False},
    }
    train(values, tmp_path / "run", verbose=0)
    assert "labels (" in capsys.readouterr().err
    assert (tmp_path / "run" / teacher.ANSWERS).is_file()
    train(values, tmp_path / "run", resume=True, overrides=["training.epochs=2"], verbose=0)
    assert "looks at" not in capsys.readouterr().err
