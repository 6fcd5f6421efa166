"""Object keypoint similarity and average precision, as on COCO (NumPy, `pycocotools` for AP)."""

import numpy as np

from keras_hourglass.errors import DataError, UserError
from keras_hourglass.typing import Array, Path

# Per-joint constants of the COCO evaluation, in the order of the COCO skeleton.
COCO_SIGMAS = (
    np.array(
        [0.26, 0.25, 0.25, 0.35, 0.35, 0.79, 0.79, 0.72, 0.72, 0.62, 0.62, 1.07, 1.07, 0.87, 0.87]
        + [0.89, 0.89]
    )
    / 10
)
_STATISTICS = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")


def oks(
    predictions: Array, joints: Array, visibility: Array, areas: Array, sigmas: Array = COCO_SIGMAS
) -> np.ndarray:
    """Object keypoint similarity of one prediction per annotated person.

    Args:
        predictions: `(N, K, 2)` in source pixels.
        joints: `(N, K, 2)` annotations in source pixels.
        visibility: `(N, K)`; above 0 is annotated.
        areas: `(N,)` segment areas in square source pixels.
        sigmas: `(K,)` constants of the joints; COCO's by default.

    Returns:
        `(N,)` similarities 0 to 1; NaN for people without an annotated joint.

    Raises:
        DataError: if shapes differ, an area is not positive or a prediction is not finite.

    Example:

    >>> spread = 2 * 0.1 * 100 ** 0.5  # 2 sigma sqrt(area)
    >>> one = oks([[[spread, 0]]], [[[0, 0]]], [[2]], [100], sigmas=[0.1])
    >>> float(np.round(one, 6)[0])  # exp(-1/2)
    0.606531

    Reference:
        [Ronchi and Perona, 2017](https://arxiv.org/abs/1707.05388), equation 1.
    """
    predictions, joints = np.asarray(predictions, np.float64), np.asarray(joints, np.float64)
    areas, sigmas = np.asarray(areas, np.float64), np.asarray(sigmas, np.float64)
    counted = np.asarray(visibility) > 0
    if predictions.shape != joints.shape or joints.shape[1] != len(sigmas):
        raise DataError(
            "OKS needs predictions and annotations (N, K, 2) and K sigmas. Received: predictions "
            f"{predictions.shape}, annotations {joints.shape}, {len(sigmas)} sigmas."
        )
    if not (areas > 0).all() or not np.isfinite(predictions[counted]).all():
        raise DataError("OKS needs positive areas and finite predictions. Correct those people.")
    squared = np.square(predictions - joints).sum(axis=-1)
    # The small number is the COCO evaluation's own guard against division by zero.
    spread = 2 * (2 * sigmas) ** 2 * (areas[:, None] + np.spacing(1))
    similarity = np.where(counted, np.exp(-squared / spread), 0).sum(axis=1)
    number = counted.sum(axis=1)
    return np.where(number > 0, similarity / np.maximum(number, 1), np.nan)


def average_precision(annotations: Path, results: Path | list) -> dict[str, float]:
    """COCO keypoint AP and AR through `pycocotools`.

    Args:
        annotations: path of a COCO person-keypoints JSON.
        results: list of dicts with `image_id`, `category_id`, `keypoints`, `score`, or the path
            of a JSON file that holds one. Only the images of `annotations` count.

    Returns:
        A dict of percent: AP, AP50, AP75, APM, APL, AR, …; NaN where COCO reports -1 (no such
        person).

    Raises:
        UserError: if `pycocotools` is not installed or there are no results.

    Example:

    >>> average_precision("person_keypoints_val2017.json", "results.json")["AP"]  # doctest: +SKIP
    71.2
    """
    try:
        from pycocotools.coco import COCO
        from pycocotools.cocoeval import COCOeval
    except ImportError:
        raise UserError(
            "COCO's average precision needs pycocotools, which is not installed. "
            "Install it with: pip install pycocotools"
        ) from None
    import contextlib
    import io
    import json
    import pathlib

    if not isinstance(results, list):
        results = json.loads(pathlib.Path(results).read_text(encoding="utf-8"))
    if not results:
        raise UserError("COCO's average precision needs at least one result. Received: none.")
    with contextlib.redirect_stdout(io.StringIO()):  # it prints its progress
        truth = COCO(str(annotations))
        evaluation = COCOeval(truth, truth.loadRes(results), "keypoints")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return {
        name: float(100 * value) if value >= 0 else float("nan")
        for name, value in zip(_STATISTICS, evaluation.stats, strict=True)
    }
