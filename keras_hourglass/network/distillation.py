"""A trained network whose heatmaps are targets beside the labels, in every step of `fit`."""

from typing import Any

import keras

from keras_hourglass.compat import IN_KERAS_3
from keras_hourglass.errors import UserError


class Distillation:
    """The squared error between a network's heatmaps and a teacher's of the same crops.

    The teacher sees each crop and its mirror image and answers with the mean of both. It is not
    trained, and no part of the network: it is neither counted nor saved with it.

    Args:
        student: the `StackedHourglass` that is trained.
        teacher: a `StackedHourglass` that knows some of its joints; crops are resized to its input.
        weight: of this error beside that to the labels.
        scale: factor on both, that of the `HeatmapMSE` it stands beside.

    Call arguments:
        crops: `(N, height, width, 3)` pixels, as the student gets them.
        outputs: dict of the student's outputs; every stack's `(N, h, w, K)` heatmaps count, those
            inside an hourglass do not.

    Raises:
        UserError: if the teacher knows none of the joints, its input has another shape, or the
            weight is not positive.

    Reference:
        [Zhang et al., 2019](https://arxiv.org/abs/1811.05419), with the mean of mirror images.
    """

    def __init__(self, student: Any, teacher: Any, weight: float = 1.0, scale: float = 1.0):
        if not IN_KERAS_3:
            raise UserError(
                "Distillation needs Keras 3. "
                f"Received: Keras {keras.__version__}. Train without it."
            )
        if not weight > 0 or not scale > 0:
            raise UserError(
                f"`weight` and `scale` must be positive. Received: weight={weight}, scale={scale}."
            )
        own, size = student.input_size, teacher.input_size
        if own[0] * size[1] != own[1] * size[0]:
            raise UserError(
                "A teacher's crops have the shape of the network's own. Received: a teacher of "
                f"{size[1]}x{size[0]} pixels for a network of {own[1]}x{own[0]}. "
                "Take another teacher."
            )
        self.names, self._resized = student.stack_names, size if size != own else None
        self._pairs = _common_joints(student, teacher)
        mirrors = teacher.skeleton is not None and teacher.skeleton.mirrors
        self._mirrored = list(teacher.skeleton.flip_order) if mirrors else None
        # What the mean over the known joints is of the mean over all, as of the labels' error.
        self._factor = weight * scale * len(self._pairs) / student.num_keypoints
        self._error = keras.losses.MeanSquaredError()
        self._last = teacher.stack_names[-1]
        teacher.trainable = False
        self._teacher = teacher

    def answer(self, crops: Any) -> Any:
        """The teacher's `(N, h, w, Kt)` heatmaps, of which no gradient is taken."""
        ops = keras.ops
        crops = ops.cast(crops, "float32")
        if self._resized:
            crops = _resize(crops, self._resized, antialias=True)
        maps = self._teacher(crops, training=False)[self._last]
        if self._mirrored:
            turned = self._teacher(ops.flip(crops, axis=2), training=False)[self._last]
            turned = ops.take(ops.flip(turned, axis=2), self._mirrored, axis=-1)
            maps = (maps + turned) / 2
        return ops.stop_gradient(maps)

    def __call__(self, crops: Any, outputs: dict) -> Any:
        ops = keras.ops
        maps = ops.take(self.answer(crops), [theirs for _, theirs in self._pairs], axis=-1)
        own = [mine for mine, _ in self._pairs]
        total = 0.0
        for name in self.names:
            found = ops.take(outputs[name], own, axis=-1)
            size = tuple(found.shape[1:3])
            wanted = maps if tuple(maps.shape[1:3]) == size else _resize(maps, size)
            total = total + self._error(wanted, found)
        return self._factor * total


def _resize(pictures, size, **options):
    return keras.ops.image.resize(pictures, size, data_format="channels_last", **options)


def _common_joints(student, teacher):
    """Channels of the joints that both know, `(student's, teacher's)`."""
    names, others = (
        None if one.skeleton is None else list(one.skeleton.joints) for one in (student, teacher)
    )
    if names is None or others is None:
        if student.num_keypoints == teacher.num_keypoints:
            return [(joint, joint) for joint in range(student.num_keypoints)]
        raise UserError(
            "A teacher without names of joints has as many as the network. Received: "
            f"{teacher.num_keypoints} and {student.num_keypoints}. Give both a skeleton."
        )
    pairs = [(k, others.index(name)) for k, name in enumerate(names) if name in others]
    if not pairs:
        raise UserError(
            f"A teacher knows joints of the network, {', '.join(names)}. Received: one of "
            f"{', '.join(others)}. Take another teacher."
        )
    return pairs
