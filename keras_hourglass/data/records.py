"""The columns that every reader produces and everything else consumes."""

import dataclasses
import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from keras_hourglass.errors import DataError
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Column


@dataclasses.dataclass(frozen=True)
class PoseRecords:
    """N annotated people as columns of equal length.

    Args:
        skeleton: the `Skeleton` that names the K joints.
        images: N paths of picture files (a picture with two people appears twice).
        boxes: `(N, 3)` person boxes `centre x, centre y, side`, source pixels.
        joints: `(N, K, 2)` joints `x, y`, source pixels; meaningless where visibility is 0.
        visibility: `(N, K)` as in COCO: 0 not labelled, 1 labelled and occluded, 2 visible.
        reference: `(N,)` length that normalises distances, source pixels (torso or head); NaN
            where the data set cannot give one.
        ids: N identifiers, unique within the records.
        weights: `(N, K)` weight of each joint in the loss, 1 by default; 0 for joints that the
            data set does not have at all.
        areas: `(N,)` segment areas in square source pixels for OKS, or `None`.
        extra: further columns by name, each of length N.
        notes: one line for each thing a reader left out, with its count.
        remarks: one line for each thing a reader chose or derived where the file did not say.

    Raises:
        DataError: if a column has the wrong shape or a labelled joint or a box is not finite,
            or a box's side is not positive.

    Example:

    >>> from keras_hourglass.skeletons import Skeleton
    >>> records = PoseRecords(Skeleton("dot", ("dot",)), ["a.jpg"], [[5, 5, 10]], [[[4, 6]]],
    ...                       [[2]], [1.0], ["a"])
    >>> len(records), records.joints.shape
    (1, (1, 1, 2))
    """

    skeleton: Skeleton
    images: Column
    boxes: Column
    joints: Column
    visibility: Column
    reference: Column
    ids: Column
    weights: Column = None
    areas: Column = None
    extra: dict = dataclasses.field(default_factory=dict)
    notes: tuple = ()
    remarks: tuple = ()

    def __post_init__(self):
        count, joints = len(self.images), self.skeleton.num_joints
        weights = np.ones((count, joints)) if self.weights is None else self.weights
        columns = {
            "images": (np.array([os.fspath(path) for path in self.images], dtype=object), ()),
            "boxes": (np.asarray(self.boxes, np.float64), (3,)),
            "joints": (np.asarray(self.joints, np.float64), (joints, 2)),
            "visibility": (np.asarray(self.visibility, np.int8), (joints,)),
            "reference": (np.asarray(self.reference, np.float64), ()),
            "ids": (np.array([str(key) for key in self.ids], dtype=object), ()),
            "weights": (np.asarray(weights, np.float32), (joints,)),
        }
        if self.areas is not None:
            columns["areas"] = (np.asarray(self.areas, np.float64), ())
        for name, (column, tail) in columns.items():
            if column.shape != (count, *tail) and not (count == 0 and column.size == 0):
                raise DataError(
                    f"Column {name!r} of {count} people and {joints} joints needs shape "
                    f"{(count, *tail)}. Received: {column.shape}. Check the annotation file."
                )
            object.__setattr__(self, name, column.reshape(count, *tail))
        for name, column in self.extra.items():
            if len(column) != count:
                raise DataError(
                    f"Extra column {name!r} needs length {count}. Received: {len(column)}."
                )
        broken = ~np.isfinite(self.boxes).all(axis=-1) | ~(self.boxes[:, 2] > 0)
        if broken.any():
            person = int(np.argmax(broken))
            raise DataError(
                "A person box needs a finite centre and a positive side. Received: "
                f"{self.boxes[person].tolist()} on {self.images[person]}. Correct or leave it out."
            )
        broken = ~np.isfinite(self.joints).all(axis=-1) & (self.visibility > 0)
        if broken.any():
            person, joint = np.argwhere(broken)[0]
            raise DataError(
                "Labelled joints need finite coordinates. Received: "
                f"{self.joints[person, joint].tolist()} for {self.skeleton.joints[joint]} of "
                f"{self.images[person]}. Correct it or set its visibility to 0."
            )

    def __len__(self):
        return len(self.images)

    def select(self, index: Any) -> "PoseRecords":
        """The records at an index array, boolean mask or slice, in that order."""
        kept = {
            field.name: getattr(self, field.name)[index]
            for field in dataclasses.fields(self)
            if field.name not in ("skeleton", "extra", "areas", "weights", "notes", "remarks")
        }
        areas = None if self.areas is None else self.areas[index]
        extra = {name: np.asarray(column)[index] for name, column in self.extra.items()}
        return PoseRecords(
            self.skeleton,
            areas=areas,
            weights=self.weights[index],
            extra=extra,
            notes=self.notes,
            remarks=self.remarks,
            **kept,
        )

    def with_columns(self, **columns) -> "PoseRecords":
        """A copy with some columns replaced."""
        return dataclasses.replace(self, **columns)


def unique_ids(ids: Sequence) -> list[str]:
    """Identifiers as texts that differ: the second 7 becomes `7#2`.

    Args:
        ids: N identifiers.

    Returns:
        N texts.

    Example:

    >>> unique_ids([7, "a", "7"])
    ['7', 'a', '7#2']
    """
    seen: dict = {}
    texts = []
    for key in map(str, ids):
        seen[key] = seen.get(key, 0) + 1
        texts.append(key if seen[key] == 1 else f"{key}#{seen[key]}")
    return texts
