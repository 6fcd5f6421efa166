"""Series of figures: pictures, joints, records, and a folder of both.

A figure is named by a seed and an index: the same two give the same picture and joints, in any
order, on any number of processes.
"""

import json
import pathlib
import re
from collections.abc import Callable

import cv2
import numpy as np

from keras_hourglass.data.figures import pose as figure_pose
from keras_hourglass.data.figures import scene as figure_scene
from keras_hourglass.data.figures.drawing import FigurePainter
from keras_hourglass.data.figures.pen import sample_outfit
from keras_hourglass.data.records import PoseRecords
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import PADDING, boxes_from_joints, boxes_to_xywh
from keras_hourglass.io.files import atomic_write, new_folder
from keras_hourglass.metrics import reference_lengths
from keras_hourglass.skeletons import LSP
from keras_hourglass.typing import Array, Path

_MOST = 10_000_000  # figures of a series
DEFAULT_SIZE = 192
PREFIX = "synthetic:"
_NAME = re.compile(r"synthetic:(\d+)x/(\d+)/(\d+)$")
_POSE, _LOOK = 0, 1  # independent streams of random numbers of one figure


def render(seed: int, index: int, size: int = DEFAULT_SIZE) -> np.ndarray:
    """Draw one figure.

    Args:
        seed: non-negative number of the series.
        index: number of the figure in the series, from 0.
        size: height and width of the picture in pixels.

    Returns:
        `(size, size, 3)` uint8 RGB picture; `joints` gives its joints.

    Example:

    >>> render(seed=7, index=3, size=64).shape
    (64, 64, 3)
    """
    figures, occluders = _pose(seed, [index])
    rng = np.random.default_rng([seed, index, _LOOK])
    canvas = figure_scene.draw_background(rng, size)
    if figures.joints[0, figure_pose.NECK, 1] < figures.joints[0, figure_pose.L_HIP, 1]:
        figure_scene.draw_shadow(canvas, figures.joints[0])
    angle = rng.uniform(-np.pi, 0)  # light comes from above
    light = np.array([np.cos(angle), np.sin(angle)])
    outfit = sample_outfit(rng)
    FigurePainter(canvas, figures, 0, outfit, light).draw()
    figure_scene.draw_occluders(rng, canvas, occluders[0], light)
    return figure_scene.finish(rng, canvas)


def joints(seed: int, indices: Array, size: int = DEFAULT_SIZE) -> tuple[np.ndarray, np.ndarray]:
    """Joints of figures without drawing them.

    Args:
        seed: number of the series.
        indices: N numbers of figures.
        size: height and width of the pictures in pixels.

    Returns:
        `(N, 14, 2)` joints in source pixels in the order of the LSP skeleton, and `(N, 14)`
        visibility: 2 visible, 1 hidden by the body or by something in front, 0 outside.

    Example:

    >>> places, visibility = joints(7, [3, 4], size=64)
    >>> places.shape, visibility.shape
    ((2, 14, 2), (2, 14))
    """
    figures, occluders = _pose(seed, indices)
    return figures.joints * size - 0.5, figure_scene.joint_visibility(figures, occluders)


def synthetic_records(num: int, seed: int, size: int = DEFAULT_SIZE) -> PoseRecords:
    """Annotated figures that are drawn when their picture is asked for.

    Args:
        num: how many.
        seed: number of the series.
        size: height and width of the pictures in pixels.

    Returns:
        `PoseRecords` with the LSP skeleton, whose `images` are names that
        `load.open_image` turns into pictures.

    Raises:
        UserError: if a number is out of range.

    Example:

    >>> synthetic_records(num=2, seed=7).images.tolist()
    ['synthetic:192x/7/0', 'synthetic:192x/7/1']
    """
    if not 1 <= num <= _MOST or seed < 0 or not 16 <= size <= 4096:
        raise UserError(
            f"Generated figures need num of at least 1 and at most {_MOST:,}, a seed of at "
            f"least 0 and a size of 16 to 4096 pixels. Received: num={num}, seed={seed}, "
            f"size={size}."
        )
    places, visibility = joints(seed, range(num), size)
    boxes = boxes_from_joints(places, visibility, padding=PADDING)
    whole = (size / 2 - 0.5, size / 2 - 0.5, size)
    boxes = np.where(np.isnan(boxes), whole, boxes)  # the rare figure entirely out of sight
    return PoseRecords(
        LSP,
        images=[f"{PREFIX}{size}x/{seed}/{index}" for index in range(num)],
        boxes=boxes,
        joints=places,
        visibility=visibility,
        reference=reference_lengths(places, visibility, LSP),
        ids=[f"synthetic/{seed}/{index}" for index in range(num)],
        extra={"image_number": np.arange(1, num + 1)},
    )


def render_named(name: str) -> np.ndarray:
    """The picture of an entry of `synthetic_records(...).images`.

    Args:
        name: the entry.

    Returns:
        `(size, size, 3)` uint8 RGB.

    Raises:
        UserError: if the name is not of that form.

    Example:

    >>> render_named("synthetic:64x/7/3").shape
    (64, 64, 3)
    """
    match = _NAME.match(name)
    if not match:
        raise UserError(
            f"A generated picture is named synthetic:SIZEx/SEED/INDEX. Received: {name!r}."
        )
    size, seed, index = (int(value) for value in match.groups())
    return render(seed, index, size)


def write_dataset(
    folder: Path,
    num: int,
    seed: int,
    size: int = DEFAULT_SIZE,
    overwrite: bool = False,
    progress: Callable = iter,
) -> pathlib.Path:
    """Write figures as JPEG files and one JSON file in COCO's keypoint layout.

    Args:
        folder: the folder to make; pictures go to `images/`.
        num: how many figures.
        seed: number of the series.
        size: height and width of the pictures in pixels.
        overwrite: accept a folder with content.
        progress: wraps the list of pictures, e.g. `tqdm.tqdm`.

    Returns:
        Path of `person_keypoints.json`, written last.

    Raises:
        UserError: if a number is out of range or the folder holds something already.

    Example:

    >>> write_dataset("figures", num=100, seed=7)  # doctest: +SKIP
    PosixPath('figures/person_keypoints.json')
    """
    records = synthetic_records(num, seed, size)
    folder = new_folder(folder, overwrite)
    (folder / "images").mkdir(exist_ok=True)
    names = [f"images/{index:06d}.jpg" for index in range(num)]
    for name, picture in progress(list(zip(names, records.images, strict=True))):
        image = cv2.cvtColor(render_named(picture), cv2.COLOR_RGB2BGR)
        _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 95])
        # Not flushed one by one: without the JSON file the folder does not count as a set.
        (folder / name).write_bytes(data.tobytes())
    path = folder / "person_keypoints.json"
    atomic_write(path, json.dumps(_coco_content(records, names, size)))
    return path


def _coco_content(records, names, size):
    """The records as an object in COCO's keypoint layout."""
    category = {
        "id": 1,
        "name": "person",
        "supercategory": "person",
        "keypoints": list(LSP.joints),
        "skeleton": [[LSP.index(start) + 1, LSP.index(end) + 1] for start, end in LSP.limbs],
    }
    images, annotations = [], []
    for index, name in enumerate(names):
        seen = records.visibility[index] > 0
        points = np.where(seen[:, None], records.joints[index], 0).round(3)
        box = records.boxes[index] / (1, 1, PADDING)
        keypoints = np.column_stack([points, records.visibility[index]]).ravel()
        images.append({"id": index, "file_name": name, "width": size, "height": size})
        annotations.append(
            {
                "id": index + 1,
                "image_id": index,
                "category_id": 1,
                "keypoints": [round(float(value), 3) for value in keypoints],
                "num_keypoints": int(seen.sum()),
                "bbox": [round(float(value), 3) for value in boxes_to_xywh(box)],
                # About what the segment of a person covers of the square around the joints.
                "area": round(0.25 * float(box[2]) ** 2, 3),
                "iscrowd": 0,
            }
        )
    info = {"description": "generated figures with exact joints"}
    return {"info": info, "images": images, "annotations": annotations, "categories": [category]}


def _pose(seed, indices):
    """Posed figures and what stands in front of them."""
    uniform, normal, front = [], [], []
    for index in indices:
        rng = np.random.default_rng([seed, index, _POSE])
        uniform.append(rng.random(figure_pose.NUM_UNIFORM))
        normal.append(rng.standard_normal(figure_pose.NUM_NORMAL))
        front.append(rng.random(7 * figure_scene.NUM_OCCLUDERS))
    figures = figure_pose.pose_figures(np.array(uniform), np.array(normal))
    return figures, figure_scene.sample_occluders(np.array(front))
