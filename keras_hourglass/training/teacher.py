"""A trained network that looks over the labels of a training: doubtful ones, and those that lack.

Labels of large data sets are partly wrong, and each set lacks joints of the others. A teacher that
is sure of a joint says where it is; it looks once at each person, before the training.
"""

import dataclasses
import zlib
from typing import NamedTuple

import numpy as np

from keras_hourglass.codec import confidences, present_from
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import RecipeError, UserError, note
from keras_hourglass.evaluation.predictions import predict_records
from keras_hourglass.inference.engines import make_engine
from keras_hourglass.io.files import atomic_path
from keras_hourglass.network.config import stack_names
from keras_hourglass.network.model import StackedHourglass
from keras_hourglass.training.recipe import Recipe
from keras_hourglass.typing import Array, Path
from keras_hourglass.zoo.store import load_snapshot, resolve

# In the run's folder, so that a training that goes on need not ask again.
ANSWERS = "teacher.npz"
# What is sure: twice the height from which the teacher's joints are believed.
_SURE = 2 / 3
# Labels further from a sure joint than this, in sides of the box, are doubtful: about half a
# torso of somebody upright.
_APART = 0.12


class Lesson(NamedTuple):
    """Records as a teacher left them.

    Attributes:
        records: the `PoseRecords`.
        doubtful: labels that lay far from where the teacher is sure the joint is.
        filled: joints without label that the teacher gave.
        labels: all labels before.
    """

    records: PoseRecords
    doubtful: int
    filled: int
    labels: int


def teach(
    records: PoseRecords,
    keypoints: Array,
    sure: Array,
    doubtful: str = "drop",
    missing: float = 0.0,
) -> Lesson:
    """Change labels by what a teacher is sure of.

    Args:
        records: `PoseRecords` of N people.
        keypoints: `(N, K, 2)` the teacher's joints in source pixels.
        sure: `(N, K)` booleans, whether the teacher is sure of them.
        doubtful: what becomes of a label further than 0.12 sides of the person's box from a sure
            joint: `"keep"` it, `"drop"` it (weight 0, so that it teaches nothing) or `"mend"` it
            (put it where the teacher says).
        missing: weight of a sure joint that has no label; 0 leaves it without.

    Returns:
        A `Lesson`.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> one = PoseRecords(Skeleton("dots", ("a", "b")), ["x.jpg"], [[50, 50, 100]],
    ...                   [[[10, 10], [0, 0]]], [[2, 0]], [1.0], ["x"])
    >>> lesson = teach(one, [[[60, 10], [30, 40]]], [[True, True]], "mend", missing=0.5)
    >>> lesson.records.joints.tolist(), lesson.records.weights.tolist()
    ([[[60.0, 10.0], [30.0, 40.0]]], [[1.0, 0.5]])
    """
    keypoints, sure = np.asarray(keypoints, np.float64), np.asarray(sure, bool)
    labelled = (records.visibility > 0) & (records.weights > 0)
    apart = np.linalg.norm(keypoints - records.joints, axis=-1)
    doubts = labelled & sure & (apart > _APART * records.boxes[:, 2:])
    joints, weights = records.joints.copy(), records.weights.copy()
    visibility = records.visibility.copy()
    if doubtful == "drop":
        weights[doubts] = 0
    elif doubtful == "mend":
        joints[doubts] = keypoints[doubts]
    given = ~labelled & sure if missing > 0 else np.zeros_like(sure)
    joints[given], visibility[given], weights[given] = keypoints[given], 1, missing
    taught = records.with_columns(joints=joints, visibility=visibility, weights=weights)
    return Lesson(taught, int(doubts.sum()), int(given.sum()), int(labelled.sum()))


def ask(records: PoseRecords, teacher: Path, folder: Path | None = None) -> tuple:
    """What a network says of everybody, averaged over mirror images.

    Args:
        records: `PoseRecords` of N people.
        teacher: what `load_model` takes.
        folder: where answers are kept for the next time.

    Returns:
        `(N, K, 2)` joints in source pixels and `(N, K)` booleans, whether it is sure of them; not
        of joints it does not know, and of pictures that cannot be read.

    Raises:
        UserError: if there is no such network, or it knows none of the joints.
    """
    # Who is shown several times in an epoch is looked at once.
    rows = [f"{path} {box.round(2).tolist()}" for path, box in
            zip(records.images, records.boxes, strict=True)]  # fmt: skip
    _, first, place = np.unique(rows, return_index=True, return_inverse=True)
    known = {"teacher": _mark(teacher), "people": zlib.crc32("\n".join(rows).encode())}
    path = None if folder is None else f"{folder}/{ANSWERS}"
    answers = None if path is None else _kept(path, known)
    if answers is None:
        answers = _predict(records.select(first), teacher)
        if path is not None:
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez(file, keypoints=answers[0], sure=answers[1], **known)
    return tuple(one[place] for one in answers)


def _predict(records, teacher):
    snapshot = load_snapshot(teacher)
    last = stack_names(snapshot.graph.output)[-1:]
    engine = make_engine("fastest", snapshot, last)
    note(f"data.teacher: {teacher} looks at {len(records)} people first.")
    rows = dataclasses.replace(records, extra={"row": np.arange(len(records))})
    found = predict_records(snapshot.graph, rows, stacks=last, engine=engine)
    own, wanted = found.records.skeleton, records.skeleton
    least = present_from(own, getattr(snapshot.graph, "thresholds", {}))
    sure = confidences(found.scores[-1], least) >= _SURE
    shape = len(records), wanted.num_joints
    keypoints, is_sure = np.zeros((*shape, 2)), np.zeros(shape, bool)
    row = found.records.extra["row"]
    for joint, name in enumerate(wanted.joints):
        if name in own.joints:
            keypoints[row, joint] = found.keypoints[-1][:, own.index(name)]
            is_sure[row, joint] = sure[:, own.index(name)]
    return keypoints, is_sure


def _kept(path, known):
    """The answers of a file if they are those to the same question, else `None`."""
    try:
        with np.load(path) as file:
            if all(str(file[name]) == str(value) for name, value in known.items()):
                return file["keypoints"], file["sure"]
    except (OSError, ValueError, KeyError):  # not there, or half written by somebody else
        return None
    return None


def _mark(teacher):
    """What tells one teacher from another of the same name."""
    _, weights = resolve(teacher)
    try:
        with open(weights, "rb") as file:
            return f"{teacher} {zlib.crc32(file.read())}"
    except (OSError, TypeError):  # a part of an archive; what is missing is told on reading it
        return str(teacher)


def look_over(records: PoseRecords, data, folder: Path | None = None) -> PoseRecords:
    """The people of a training after the teacher of its recipe has looked at them.

    Args:
        records: `PoseRecords`.
        data: the recipe's `DataSection`.
        folder: where the teacher's answers are kept.

    Returns:
        `PoseRecords`; the same where the recipe names no teacher.

    Raises:
        RecipeError: if the teacher cannot be used.
    """
    if data.teacher is None:
        return records
    try:
        lesson = teach(
            records, *ask(records, data.teacher, folder), data.doubtful, data.teacher_weight
        )
    except UserError as error:
        raise RecipeError(f"data.teacher: {error}") from error
    share = 100 * lesson.doubtful / max(lesson.labels, 1)
    done = {"keep": "kept", "drop": "left out", "mend": "mended"}[data.doubtful]
    note(
        f"data.teacher: {lesson.doubtful} of {lesson.labels} labels ({share:.1f} %) lie far "
        f"from where {data.teacher} is sure, and are {done}; {lesson.filled} joints without label "
        "are filled in."
    )
    return lesson.records


def learn_from_teacher(model: StackedHourglass, recipe: Recipe) -> None:
    """Let the teacher of a recipe stand beside the labels in every step, see `distill_from`.

    Args:
        model: the network that is trained.
        recipe: a `Recipe` with `data.teacher` and `training.distillation`.

    Raises:
        RecipeError: if the teacher cannot be used.
    """
    weight, scale = recipe.training.distillation, recipe.optimizer.loss_scale
    try:
        model.distill_from(recipe.data.teacher, weight, scale)
    except UserError as error:
        raise RecipeError(f"data.teacher: {error}") from error
