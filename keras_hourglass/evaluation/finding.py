"""How well a detector finds the people of annotated photographs."""

import dataclasses
import time
from collections.abc import Callable

import numpy as np

from keras_hourglass.data.load import open_image
from keras_hourglass.data.scenes import SceneRecords
from keras_hourglass.errors import DataError
from keras_hourglass.metrics.detection import DetectionCurve, People, detection_curve

# Who is clear: at least so many labelled joints, and so many source pixels tall.
CLEAR_JOINTS, CLEAR_HEIGHT = 8, 60.0


@dataclasses.dataclass(frozen=True)
class Finding:
    """What a detector found.

    Attributes:
        curve: recall of the clear people, and precision among everybody, over the least score.
        boxes: for each photograph that could be read, `(P, 5)` rectangles `x, y, w, h, score`.
        ids: their identifiers.
        failures: path -> why it could not be read.
        milliseconds: median time of a photograph, reading left out.

    Example:

    >>> finding = evaluate_detector(HourglassDetector(), records)  # doctest: +SKIP
    >>> finding.to_dict()["recall"]  # doctest: +SKIP
    0.75
    """

    curve: DetectionCurve
    boxes: list
    ids: list
    failures: dict
    milliseconds: float

    def to_dict(self, least_precision: float = 0.7) -> dict:
        """The figures, JSON-ready.

        Args:
            least_precision: where recall is read.

        Returns:
            A dict of `ap50`, `recall`, `precision` and `score` at that precision, counts of people
            and clear people, and `milliseconds`.
        """
        reached = self.curve.at_precision(least_precision)
        return {
            "ap50": self.curve.ap50,
            **{name: value if np.isfinite(value) else None for name, value in reached.items()},
            "people": self.curve.people,
            "clear_people": self.curve.wanted_people,
            "photographs": len(self.boxes),
            "milliseconds": self.milliseconds,
        }

    def to_coco(self) -> list[dict]:
        """The boxes as COCO detections, a list of dicts."""
        return [
            {"image_id": key, "category_id": 1, "bbox": box[:4].tolist(), "score": float(box[4])}
            for key, boxes in zip(self.ids, self.boxes, strict=True)
            for box in boxes
        ]


def evaluate_detector(
    detect: Callable, records: SceneRecords, progress: Callable | None = None
) -> Finding:
    """Run a detector on annotated photographs and compare.

    Args:
        detect: from `(height, width, 3)` uint8 RGB and a name to `(P, 5)` rectangles in source
            pixels, with scores down to a low one, see `prediction.detection`.
        records: `SceneRecords`. Clear people have at least 8 labelled joints and are 60 px tall;
            where a data set labels no joints, everybody of that height is clear.
        progress: called with the number of photographs done.

    Returns:
        The `Finding`.

    Raises:
        DataError: if no photograph can be read.

    Example:

    >>> evaluate_detector(HourglassDetector(), records).curve.ap50  # doctest: +SKIP
    0.41
    """
    least_joints = CLEAR_JOINTS if any((counts > 0).any() for counts in records.joints) else 0
    boxes, people, ids, failures, seconds = [], [], [], {}, []
    keys = records.extra["image_id"] if "image_id" in records.extra else records.ids
    for place, path in enumerate(records.images):
        try:
            image = open_image(path)
        except DataError as error:
            failures[path] = str(error)
            continue
        start = time.perf_counter()
        found = np.asarray(detect(image, path), np.float64)
        seconds.append(time.perf_counter() - start)
        if found.size and found.shape[1] == 4:  # a callable without scores
            found = np.column_stack([found, np.ones(len(found))])
        boxes.append(found.reshape(-1, 5))
        people.append(_truth(records, place, least_joints))
        ids.append(keys[place])
        if progress is not None:
            progress(1)
    if not boxes:
        raise DataError(
            f"Photographs that can be read are needed. Received: {len(records)}, the first is "
            f"{records.images[0]}: {failures[records.images[0]]}"
        )
    curve = detection_curve(boxes, people)
    return Finding(curve, boxes, ids, failures, float(1000 * np.median(seconds)))


def _truth(records, place, least_joints):
    crowd, boxes = records.ignored[place], records.boxes[place]
    clear = (records.joints[place] >= least_joints) & (boxes[:, 3] >= CLEAR_HEIGHT)
    return People(boxes[~crowd], clear[~crowd], boxes[crowd])
