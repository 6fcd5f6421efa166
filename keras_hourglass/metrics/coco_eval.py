"""COCO's average precision by COCO's own code, for files that leave out what it takes for granted.

`pycocotools` ends in a traceback where a field is missing, and counts annotation 0 as not found.
What it is given here is whole; where the files are, it is what they hold, and the result its own.
"""

import contextlib
import io
from typing import Any

import numpy as np

from keras_hourglass.errors import DataError, UserError, optional
from keras_hourglass.io.structured import (
    Ids,
    as_flag,
    as_number,
    one_line,
    plain_id,
    read_json,
    reads,
    shorten,
)
from keras_hourglass.metrics.oks import AREA_OF_BOX, COCO_SIGMAS, joint_sigmas
from keras_hourglass.typing import Path

_STATISTICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


@reads("annotation or results file")
def average_precision(annotations: Path, results: Path | list) -> dict[str, float]:
    """COCO keypoint AP and AR through `pycocotools`.

    Identifiers may be written as numbers or text. What files leave out gets its usual value: areas
    (0.53 of the box), boxes (the joints' extent), `iscrowd`, `num_keypoints`, the ids of
    annotations, the scores of results (the mean of their joints'). Sigmas are COCO's for 17
    joints; for others those of the category's `sigmas`, or `joint_sigmas` of its names.

    Args:
        annotations: path of a COCO keypoints JSON, of any joints.
        results: list of dicts with `image_id`, `category_id`, `keypoints`, `score`, or the path
            of a JSON file that holds one.

    Returns:
        A dict of percent: AP, AP50, AP75, APM, APL, AR, …; NaN where COCO reports -1 (no such
        person).

    Raises:
        UserError: if `pycocotools` is not installed or there are no results.
        DataError: if a result is of no picture or category of the annotations or has other joints,
            or a file is not of this form.

    Example:

    >>> average_precision("person_keypoints_val2017.json", "results.json")["AP"]  # doctest: +SKIP
    71.2
    """
    try:
        COCO = optional("pycocotools.coco").COCO
        COCOeval = optional("pycocotools.cocoeval").COCOeval
    except ImportError:
        raise UserError(
            "COCO's average precision needs pycocotools, which is not installed. "
            "Install it with: pip install pycocotools"
        ) from None
    if not isinstance(results, list):
        results = read_json(results, "results file")
    if not isinstance(results, list) or not results:
        raise UserError("COCO's average precision needs at least one result. Received: none.")
    truth = _Truth(annotations)
    found = truth.results(results)
    # It prints its progress, and accumulates categories of as many joints as it has sigmas.
    with contextlib.redirect_stdout(io.StringIO()):
        parts = []
        for sigmas, categories in truth.groups():
            dataset = COCO()
            dataset.dataset = truth.content
            dataset.createIndex()
            evaluation = COCOeval(dataset, _loaded(dataset, found), "keypoints")
            evaluation.params.catIds = categories
            evaluation.params.kpt_oks_sigmas = sigmas
            evaluation.evaluate()
            evaluation.accumulate()
            parts.append(evaluation)
        whole = parts[0]
        for name, axis in (("precision", 2), ("recall", 1)):
            arrays = [part.eval[name] for part in parts]
            whole.eval[name] = np.concatenate(arrays, axis=axis)
        whole.summarize()
    return {
        name: float(100 * value) if value >= 0 else float("nan")
        for name, value in zip(_STATISTICS, whole.stats, strict=True)
    }


def _loaded(dataset, results):
    """Results as `COCO.loadRes` makes them, which writes into what it is given."""
    return dataset.loadRes([dict(result) for result in results])


class _Truth:
    """An annotation file with everything that `COCOeval` reads of it.

    Args:
        path: the file.
    """

    def __init__(self, path):
        self.path = path
        content = read_json(path, "annotation file")
        if not isinstance(content, dict):
            raise DataError(f"{path} must hold an object with images, annotations and categories.")
        parts = {name: _dicts(content, name, path) for name in ("images", "annotations")}
        categories = _dicts(content, "categories", path) if "categories" in content else []
        people = [
            entry for entry in parts["annotations"] if isinstance(entry.get("keypoints"), list)
        ]
        if not people:
            raise DataError(f"{path} annotates no keypoints. Is it the file of this data set?")
        if not categories:
            keys = dict.fromkeys(plain_id(entry.get("category_id")) for entry in people)
            categories = [{"id": 1 if key is None else key, "name": "person"} for key in keys]
        self._pictures = _Keys([picture.get("id") for picture in parts["images"]])
        self._categories = _Keys([category.get("id") for category in categories])
        self._joints: dict = {}
        kept = [self._annotation(entry) for entry in people]
        wanted = [entry["id"] for entry in kept]
        if len(set(wanted)) < len(wanted) or not all(type(k) is int and k for k in wanted):
            kept = [{**entry, "id": place} for place, entry in enumerate(kept, start=1)]
        self._sigmas = {}
        for category in categories:
            key = self._categories.find(category.get("id"))
            if key in self._joints:
                self._sigmas[key] = _sigmas(category, self._joints[key], path)
        self.content: dict[str, Any] = {
            "info": {},
            "images": [{**picture, "id": self._pictures.find(picture.get("id"))}
                       for picture in parts["images"]],
            "annotations": kept,
            "categories": [{**category, "id": self._categories.find(category.get("id"))}
                           for category in categories],
        }  # fmt: skip

    def groups(self):
        """`(sigmas, ids of categories)` for each set of sigmas."""
        found: dict = {}
        for key, sigmas in self._sigmas.items():
            found.setdefault(tuple(sigmas), []).append(key)
        return [(np.array(sigmas), keys) for sigmas, keys in found.items()]

    def _annotation(self, entry):
        """One annotation with all fields; those that are right are left as they are."""
        where = f"annotation {shorten(entry.get('id'))} of {self.path}"
        category = self._only(self._categories, entry.get("category_id"))
        picture = self._pictures.find(entry.get("image_id"))
        if category is None or picture is None:
            name = "category_id" if category is None else "image_id"
            raise DataError(f"The {name} of {where} is that of nothing in the file. Correct it.")
        points = _numbers(entry["keypoints"], where)
        joints = self._joints.setdefault(category, len(points) // 3)
        if len(points) != 3 * joints or not joints:
            raise DataError(
                f"All people of a category need three numbers for each joint. Received: "
                f"{len(points)} numbers in {where}, {3 * joints} in the first. Correct it."
            )
        triples = points.reshape(-1, 3)
        labelled = triples[:, 2] > 0
        if not np.isfinite(triples[labelled]).all():
            raise DataError(f"Labelled joints need finite numbers. Received: others in {where}.")
        if not np.isfinite(points).all():
            points = np.where(np.isfinite(triples) & labelled[:, None], triples, 0).ravel()
        box, area = entry.get("bbox"), as_number(entry.get("area"))
        if not _is_box(box):
            seen = triples[labelled, :2] if labelled.any() else np.zeros((1, 2))
            box = [*seen.min(axis=0).tolist(), *np.ptp(seen, axis=0).tolist()]
        counted = entry.get("num_keypoints")
        return {
            "id": plain_id(entry.get("id")),
            "image_id": picture,
            "category_id": category,
            "keypoints": points.tolist(),
            "num_keypoints": counted if type(counted) is int else int(labelled.sum()),
            "bbox": box,
            "area": area if 0 < area < np.inf else float(box[2] * box[3] * AREA_OF_BOX),
            "iscrowd": int(as_flag(entry.get("iscrowd"))),
        }

    @staticmethod
    def _only(keys, value):
        """The key of a value; the only one there is where the value is missing."""
        return keys.only if value is None else keys.find(value)

    def results(self, results):
        """Results with all fields and the identifiers of the annotations."""
        found = [self._result(result, place) for place, result in enumerate(results, start=1)]
        # A box in the first makes `pycocotools` look for one in every other.
        if any("bbox" in result for result in found) and not all("bbox" in one for one in found):
            for result in found:
                result.pop("bbox", None)
        return found

    def _result(self, result, place):
        where = f"result {place}"
        if not isinstance(result, dict) or not isinstance(result.get("keypoints"), list):
            raise DataError(
                "A result is an object with image_id, category_id, keypoints and score. "
                f"Received: {shorten(result)} as {where}. Write it as COCO describes."
            )
        picture = self._pictures.find(result.get("image_id"))
        if picture is None:
            raise DataError(
                f"Results must be of pictures of {self.path}. Received: image_id "
                f"{shorten(result.get('image_id'))} in {where}. Leave them out, or name the file "
                "that they are of."
            )
        category = self._only(self._categories, result.get("category_id"))
        if category not in self._joints:
            able = ", ".join(shorten(key) for key in self._joints)
            raise DataError(
                f"Results must be of a category of {self.path} with joints: {able}. Received: "
                f"category_id {shorten(result.get('category_id'))} in {where}. Correct it."
            )
        points = _numbers(result["keypoints"], where)
        joints = self._joints[category]
        places = points.reshape(-1, 3)[:, :2] if len(points) == 3 * joints else np.zeros(0)
        if not places.size or not np.isfinite(places).all():
            raise DataError(
                f"The annotations have {joints} joints, so a result needs {3 * joints} finite "
                f"numbers. Received: {len(points)} in {where}, of which "
                f"{int((~np.isfinite(points)).sum())} are not finite. Predict these joints."
            )
        score = as_number(result.get("score"))
        if not np.isfinite(score):
            certain = points[2::3]
            score = float(certain.mean()) if np.isfinite(certain).all() else 1.0
        kept = {
            "image_id": picture,
            "category_id": category,
            "keypoints": points.tolist(),
            "score": score,
        }
        if _is_box(result.get("bbox")):
            kept["bbox"] = result["bbox"]
        return kept


class _Keys:
    """Identifiers as whole numbers: those of the file where all are, else their places."""

    def __init__(self, values):
        keys = [plain_id(value) for value in values]
        self._ids = Ids(keys)
        own = all(type(key) is int for key in keys)
        self._keys = keys if own else list(range(1, len(keys) + 1))
        self.only = self._keys[0] if len(keys) == 1 else None

    def find(self, value):
        """The number of a thing; `None` if there is none of that name."""
        places = self._ids.find(value)
        return self._keys[places[0]] if places else None


def _dicts(content, name, path):
    values = content.get(name)
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise DataError(f"{path} needs a list of objects named {name!r}. Is it COCO's layout?")
    return values


def _numbers(values, where):
    try:
        array = np.array([np.nan if value is None else value for value in values], np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"Keypoints must be numbers: {one_line(error)} in {where}.") from None
    if array.ndim == 2:
        array = array.ravel()
    if array.ndim != 1:
        raise DataError(
            f"Keypoints must be one list of numbers. Received: {array.shape} in {where}."
        )
    return array


def _is_box(value):
    if not isinstance(value, list) or len(value) != 4:
        return False
    return all(isinstance(n, (int, float)) and np.isfinite(n) for n in value) and value[2] >= 0


def _sigmas(category, joints, path):
    """Sigmas of a category of so many joints."""
    given = category.get("sigmas")
    if isinstance(given, list) and given:
        sigmas = _numbers(given, f"`sigmas` of {path}")
        if len(sigmas) != joints or not (sigmas > 0).all() or not np.isfinite(sigmas).all():
            raise DataError(
                f"{path} needs a positive sigma for each of {joints} joints. "
                f"Received: {shorten(given)}."
            )
        return sigmas
    if joints == len(COCO_SIGMAS):
        return COCO_SIGMAS
    names = category.get("keypoints")
    known = isinstance(names, list) and len(names) == joints
    return joint_sigmas([str(name) for name in names] if known else ["?"] * joints)
