"""How well people are found: recall, precision and AP50 of boxes (NumPy only)."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from keras_hourglass.errors import DataError
from keras_hourglass.geometry import box_overlaps
from keras_hourglass.typing import Array, Column

# Intersection over union from which a found box is right.
RIGHT_FROM = 0.5
# Points of the recall axis at which COCO reads precision.
_RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass(frozen=True)
class People:
    """The annotated people of one picture.

    Args:
        boxes: `(M, 4)` rectangles `x, y, w, h` in source pixels.
        wanted: `(M,)` bool: people whose recall is asked for; everybody by default.
        crowds: `(C, 4)` regions of many people: a box in one is neither right nor wrong.

    Example:

    >>> People([[0, 0, 10, 20]]).wanted.tolist()
    [True]
    """

    boxes: Column
    wanted: Column = None
    crowds: Column = ()

    def __post_init__(self):
        boxes = np.asarray(self.boxes, np.float64).reshape(-1, 4)
        wanted = np.ones(len(boxes), bool) if self.wanted is None else self.wanted
        object.__setattr__(self, "boxes", boxes)
        object.__setattr__(self, "wanted", np.asarray(wanted, bool))
        object.__setattr__(self, "crowds", np.asarray(self.crowds, np.float64).reshape(-1, 4))


@dataclasses.dataclass(frozen=True)
class DetectionCurve:
    """Recall and precision over the least score that a box must have.

    Attributes:
        scores: `(D,)` scores of the boxes that are right or wrong, best first.
        right: `(D,)` bool: the box is a person, and no better box is the same one.
        wanted: `(D,)` bool: the box is a person whose recall is asked for.
        people: how many people are annotated.
        wanted_people: how many of them are wanted.
    """

    scores: np.ndarray
    right: np.ndarray
    wanted: np.ndarray
    people: int
    wanted_people: int

    @property
    def precision(self) -> np.ndarray:
        """`(D,)`: share of the boxes down to each that are people."""
        return np.cumsum(self.right) / np.arange(1, len(self.right) + 1)

    @property
    def recall(self) -> np.ndarray:
        """`(D,)`: share of the wanted people that the boxes down to each have found."""
        return np.cumsum(self.wanted) / max(self.wanted_people, 1)

    @property
    def ap50(self) -> float:
        """COCO's average precision at an overlap of a half, everybody counted, 0 to 1."""
        found = np.cumsum(self.right) / max(self.people, 1)
        # The best precision at this recall or a higher one, as COCO reads it.
        best = np.maximum.accumulate(self.precision[::-1])[::-1]
        places = np.searchsorted(found, _RECALLS, side="left")
        return float(np.append(best, 0.0)[np.minimum(places, len(best))].mean())

    def at_precision(self, least: float = 0.7) -> dict[str, float]:
        """The lowest score at which at least this share of the boxes are people.

        Args:
            least: wanted precision, 0 to 1.

        Returns:
            A dict of `score`, `precision` and `recall` there; NaN, NaN and 0 where there is none.
        """
        good = np.nonzero(self.precision >= least)[0]
        if not len(good):
            return {"score": np.nan, "precision": np.nan, "recall": 0.0}
        last = good[-1]
        return {
            "score": float(self.scores[last]),
            "precision": float(self.precision[last]),
            "recall": float(self.recall[last]),
        }

    def at_score(self, score: float) -> dict[str, float]:
        """Precision and recall of the boxes of at least this score.

        Returns:
            A dict of `score`, `precision` (NaN without a box) and `recall`.
        """
        count = int(np.sum(self.scores >= score))
        if not count:
            return {"score": float(score), "precision": np.nan, "recall": 0.0}
        return {
            "score": float(score),
            "precision": float(self.precision[count - 1]),
            "recall": float(self.recall[count - 1]),
        }


def detection_curve(found: Sequence[Array], people: Sequence[People]) -> DetectionCurve:
    """Match found boxes with annotated people, one to one.

    Best score first, each box takes the person it overlaps most among those that no better box
    has taken; from an intersection over union of `RIGHT_FROM` it is right. A box that takes
    nobody and lies by half in a crowd does not count.

    Args:
        found: for each picture `(P, 5)` rectangles `x, y, w, h, score` in source pixels.
        people: for each picture its `People`.

    Returns:
        The `DetectionCurve`.

    Raises:
        DataError: if the two have different lengths.

    Example:

    >>> people = [People([[0, 0, 10, 10]])]
    >>> curve = detection_curve([[[0, 0, 10, 9, 0.8], [50, 0, 9, 9, 0.6]]], people)
    >>> curve.at_precision(0.5)
    {'score': 0.6, 'precision': 0.5, 'recall': 1.0}
    """
    if len(found) != len(people):
        raise DataError(
            "Boxes are measured picture by picture. Received: boxes of "
            f"{len(found)} pictures, people of {len(people)}. Give an empty list for a picture "
            "without boxes."
        )
    rows = [row for boxes, one in zip(found, people, strict=True) for row in _match(boxes, one)]
    # Equal scores keep the order of the pictures.
    rows.sort(key=lambda row: -row[0])
    columns = np.array(rows, np.float64).reshape(-1, 3)
    return DetectionCurve(
        scores=columns[:, 0],
        right=columns[:, 1] > 0,
        wanted=columns[:, 2] > 0,
        people=sum(len(one.boxes) for one in people),
        wanted_people=sum(int(one.wanted.sum()) for one in people),
    )


def _match(found, people):
    """`(score, right, wanted)` of the boxes of a picture that count."""
    found = np.asarray(found, np.float64).reshape(-1, 5)
    found = found[np.argsort(-found[:, 4], kind="stable")]
    overlaps = box_overlaps(found[:, :4], people.boxes)
    inside = box_overlaps(found[:, :4], people.crowds, of="first")
    for number, box in enumerate(found):
        best = int(overlaps[number].argmax()) if overlaps.shape[1] else None
        if best is not None and overlaps[number, best] >= RIGHT_FROM:
            yield box[4], True, people.wanted[best]
            overlaps[:, best] = -1  # taken
        elif not (inside[number] >= RIGHT_FROM).any():
            yield box[4], False, False
