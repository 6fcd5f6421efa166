"""A picture of people before and after: two stacks side by side."""

import os

import numpy as np

from keras_hourglass.data.load import open_image
from keras_hourglass.errors import UserError
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.images import warp
from keras_hourglass.report.figures import COLOURS, new_figure

_COLOURS = {"left": COLOURS[5], "right": COLOURS[1], "centre": COLOURS[2]}
_SIZE = (192, 192)  # pixels of each crop


def people_figure(predictions, people, titles, stacks=(0, -1)):
    """Crops of people with annotation (dashed) and the prediction of two stacks.

    Args:
        predictions: `Predictions`.
        people: indices of the people, a column each.
        titles: text above each column.
        stacks: indices of the stacks, a row each.

    Returns:
        A figure, or `None` if no picture can be read.
    """
    records, columns = predictions.records, []
    for person, title in zip(people, titles, strict=True):
        try:
            image = open_image(records.images[person])
        except UserError:
            continue  # the picture is gone; the numbers do not need it
        matrix = crop_affine(records.boxes[person], _SIZE)
        columns.append((person, title, matrix, warp(image, matrix, _SIZE)))
    if not columns:
        return None
    figure, axes = new_figure(
        1.7 * len(columns), 1.8 * len(stacks) + 0.4, len(stacks), len(columns)
    )
    for column, (person, title, matrix, crop) in enumerate(columns):
        truth = apply_affine(matrix, records.joints[person])
        labelled = records.visibility[person] > 0
        for row, stack in enumerate(stacks):
            axis = axes[row, column]
            axis.imshow(crop)
            axis.axis("off")
            axis.set(xlim=(-0.5, _SIZE[1] - 0.5), ylim=(_SIZE[0] - 0.5, -0.5))
            guess = apply_affine(matrix, predictions.keypoints[stack, person])
            _limbs(axis, records.skeleton, truth, labelled, "white", ":")
            _limbs(axis, records.skeleton, guess, np.ones_like(labelled), None, "-")
            name = predictions.stacks[stack]
            axis.set_title(f"{title}\n{name}" if row == 0 else name, fontsize=7)
        axes[0, column].set_label(os.path.basename(records.images[person]))
    return figure


def _limbs(axis, skeleton, points, shown, colour, style):
    for limb in skeleton.limbs:
        first, second = (skeleton.index(joint) for joint in limb)
        if shown[first] and shown[second]:
            side = next((s for s in map(skeleton.side, limb) if s != "centre"), "centre")
            axis.plot(
                points[[first, second], 0], points[[first, second], 1], style,
                color=colour or _COLOURS[side], linewidth=1.4,
            )  # fmt: skip
