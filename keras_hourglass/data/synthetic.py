"""Generated figures with exact joints, so that everything runs on a machine without data.

A figure is named by a seed and an index: the same two give the same picture and joints, in any
order, on any number of processes.
"""

import re

import numpy as np

from keras_hourglass.data import figure_pose, figure_scene
from keras_hourglass.data.figure_drawing import FigurePainter
from keras_hourglass.data.figure_pen import sample_outfit
from keras_hourglass.data.records import PoseRecords, reference_lengths
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import boxes_from_joints
from keras_hourglass.skeletons import LSP

DEFAULT_SIZE = 192
PADDING = 1.25
PREFIX = "synthetic:"
_NAME = re.compile(r"synthetic:(\d+)x/(\d+)/(\d+)$")
_POSE, _LOOK = 0, 1  # independent streams of random numbers of one figure


def render(seed, index, size=DEFAULT_SIZE):
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


def joints(seed, indices, size=DEFAULT_SIZE):
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


def synthetic_records(num, seed, size=DEFAULT_SIZE):
    """Annotated figures that are drawn when their picture is asked for.

    Args:
        num: how many.
        seed: number of the series.
        size: height and width of the pictures in pixels.

    Returns:
        `PoseRecords` with the LSP skeleton, whose `images` are names that
        `sources.open_image` turns into pictures.

    Raises:
        UserError: if a number is out of range.

    Example:

    >>> synthetic_records(num=2, seed=7).images.tolist()
    ['synthetic:192x/7/0', 'synthetic:192x/7/1']
    """
    if num < 1 or seed < 0 or not 16 <= size <= 4096:
        raise UserError(
            "Generated figures need num of at least 1, a seed of at least 0 and a size of 16 to "
            f"4096 pixels. Received: num={num}, seed={seed}, size={size}."
        )
    places, visibility = joints(seed, range(num), size)
    return PoseRecords(
        LSP,
        images=[f"{PREFIX}{size}x/{seed}/{index}" for index in range(num)],
        boxes=boxes_from_joints(places, visibility, padding=PADDING),
        joints=places,
        visibility=visibility,
        reference=reference_lengths(places, visibility, LSP),
        ids=[f"synthetic/{seed}/{index}" for index in range(num)],
        extra={"image_number": np.arange(1, num + 1)},
    )


def render_named(name):
    """The picture of an entry of `synthetic_records(...).images`.

    Raises:
        UserError: if the name is not of that form.
    """
    match = _NAME.match(name)
    if not match:
        raise UserError(
            f"A generated picture is named synthetic:SIZEx/SEED/INDEX. Received: {name!r}."
        )
    size, seed, index = (int(value) for value in match.groups())
    return render(seed, index, size)


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
