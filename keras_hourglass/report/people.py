"""People of an evaluation as pictures: cards of the report's page, and a figure of two stacks."""

import dataclasses
import os

import cv2
import numpy as np
from matplotlib import patheffects

from keras_hourglass.analysis import person_scores
from keras_hourglass.data.load import open_image
from keras_hourglass.errors import UserError
from keras_hourglass.evaluation import RecordHeatmaps
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.images import encode_image, warp
from keras_hourglass.prediction.drawing import OUTLINE
from keras_hourglass.report.figures import data_address, new_figure
from keras_hourglass.skeletons import SIDE_COLOURS

HEIGHT = 256  # pixels of the picture on a card
# RGB of annotated joints beside predicted ones: a light green that no kind of colour vision takes
# for that of a side, and dashed.
ANNOTATION = (153, 255, 102)
_TILE = (192, 192)  # pixels of each crop of the figure


@dataclasses.dataclass
class Card:
    """A person as the page shows one.

    Args:
        name: of the picture.
        caption: how well it went.
        picture: the crop, as the address of an image.
        width, height: of the crop in pixels.
        heatmaps: an address for each stack: all joints' maps, coloured by side, transparent
            elsewhere.
        figures: annotation and prediction, each with `"lines"` and `"dots"` in pixels of the crop.
    """

    name: str
    caption: str
    picture: str
    width: int
    height: int
    heatmaps: list
    figures: list


def choose_people(distances, threshold, count):
    """The best, median and worst predicted people.

    Args:
        distances: `(N, K)` normalised distances of the stack that is shown.
        threshold: largest correct distance in reference lengths.
        count: people of each kind.

    Returns:
        `{"best": indices, "median": ..., "worst": ...}`, nobody twice, the worst first among the
        worst; people without a counted joint are left out.
    """
    scores = person_scores(distances, threshold)
    known = np.flatnonzero(~np.isnan(scores[:, 0]))
    order = known[np.lexsort((-scores[known, 1], -scores[known, 0]))].tolist()
    count = min(count, len(order) // 3) if len(order) >= 3 else min(count, 1)
    best = order[:count]
    worst = [person for person in order[::-1][:count] if person not in best]
    rest = [person for person in order if person not in best and person not in worst]
    start = max(0, (len(rest) - count) // 2)
    return {"best": best, "median": rest[start : start + count], "worst": worst}


def person_cards(predictions, stack, people, captions, model=None, engine="keras"):
    """Cards of some people.

    Args:
        predictions: `Predictions`.
        stack: index of the stack whose joints are drawn.
        people: indices into the predictions.
        captions: for each of them, text that says how well it went.
        model: the model that predicted, for the heatmaps; `None` leaves them out.
        engine: what runs it, see `inference.engines`.

    Returns:
        A list of `Card`s; people whose picture cannot be read are left out.
    """
    records = predictions.records.select(np.asarray(people, int))
    heatmaps = _heatmaps(model, engine, records, predictions) if model is not None else {}
    height, width = model.input_size if model is not None else (1, 1)
    size = (HEIGHT, round(HEIGHT * width / height))
    cards = []
    for row, (person, caption) in enumerate(zip(people, captions, strict=True)):
        shown = _shown(predictions, person, (stack,), size)
        if shown is not None:
            crop, truth, labelled, [guess] = shown
            figures = [
                _stick_figure(records.skeleton, truth, labelled, "gt"),
                _stick_figure(records.skeleton, guess, np.ones_like(labelled)),
            ]
            name = os.path.basename(records.images[row])
            picture = data_address(encode_image(crop, ".jpg"), "jpeg")
            maps = [data_address(png, "png") for png in heatmaps.get(row, [])]
            cards.append(Card(name, caption, picture, size[1], size[0], maps, figures))
    return cards


def _shown(predictions, person, stacks, size):
    """A person's crop, annotation, which joints have one, and prediction of some stacks.

    `None` if the picture is gone: the numbers do not need it.
    """
    records = predictions.records
    matrix = crop_affine(records.boxes[person], size)
    try:
        crop = warp(open_image(records.images[person]), matrix, size)
    except UserError:
        return None
    truth = apply_affine(matrix, records.joints[person])
    guesses = [apply_affine(matrix, predictions.keypoints[stack, person]) for stack in stacks]
    return crop, truth, records.visibility[person] > 0, guesses


def _limbs(skeleton, points, shown):
    """Side and both ends of every limb whose joints are shown."""
    for limb in skeleton.limbs:
        first, second = (skeleton.index(joint) for joint in limb)
        if shown[first] and shown[second]:
            yield skeleton.limb_side(limb), points[first], points[second]


def _stick_figure(skeleton, points, shown, kind=None):
    """Limbs and joints of a kind, by default that of their side."""
    points = points.round(1)
    lines = [
        {"kind": kind or side, "start": start, "end": end}
        for side, start, end in _limbs(skeleton, points, shown)
    ]
    dots = [
        {"kind": kind or skeleton.side(joint), "at": point, "joint": joint.replace("_", " ")}
        for joint, point in zip(skeleton.joints, points, strict=True)
        if shown[skeleton.index(joint)]
    ]
    return {"lines": lines, "dots": dots}


def _heatmaps(model, engine, records, predictions):
    """Row -> one transparent PNG per stack with all joints' heatmaps, coloured by side."""
    stacks, skeleton = predictions.stacks, records.skeleton
    if not len(records) or not set(stacks) <= set(model.output):
        return {}
    flip = predictions.settings.get("flip", True)
    people = RecordHeatmaps(model, records, flip, stacks=stacks, batch_size=8, engine=engine)
    result = {}
    colours = np.array([SIDE_COLOURS[skeleton.side(joint)] for joint in skeleton.joints], "f4")
    for rows, _, heatmaps in people.run():
        for place, row in enumerate(rows):
            result[int(row)] = [_colour(heatmaps[name][place], colours) for name in stacks]
    return result


def _colour(maps, colours):
    maps = np.clip(maps, 0, 1)
    strength = maps.max(axis=-1)
    colour = colours[maps.argmax(axis=-1)]
    rgba = np.dstack([colour[..., ::-1], 235 * np.sqrt(strength)]).astype(np.uint8)
    return cv2.imencode(".png", rgba)[1].tobytes()


def people_figure(predictions, people, titles, stacks=(0, -1)):
    """Crops of people with annotation (dotted) and the prediction of two stacks.

    Args:
        predictions: `Predictions`.
        people: indices of the people, a column each.
        titles: text above each column.
        stacks: indices of the stacks, a row each.

    Returns:
        A figure, or `None` if no picture can be read.
    """
    columns = []
    for person, title in zip(people, titles, strict=True):
        shown = _shown(predictions, person, stacks, _TILE)
        if shown is not None:
            columns.append((person, title, *shown))
    if not columns:
        return None
    skeleton = predictions.records.skeleton
    figure, axes = new_figure(
        1.7 * len(columns), 1.8 * len(stacks) + 0.4, len(stacks), len(columns)
    )
    for column, (person, title, crop, truth, labelled, guesses) in enumerate(columns):
        for row, stack in enumerate(stacks):
            axis = axes[row, column]
            axis.imshow(crop)
            axis.axis("off")
            axis.set(xlim=(-0.5, _TILE[1] - 0.5), ylim=(_TILE[0] - 0.5, -0.5))
            for _, *ends in _limbs(skeleton, truth, labelled):
                _plot(axis, ends, ANNOTATION, ":")
            for side, *ends in _limbs(skeleton, guesses[row], np.ones_like(labelled)):
                _plot(axis, ends, SIDE_COLOURS[side], "-")
            name = predictions.stacks[stack]
            axis.set_title(f"{title}\n{name}" if row == 0 else name, fontsize=7)
        axes[0, column].set_label(os.path.basename(predictions.records.images[person]))
    return figure


def _plot(axis, ends, colour, style):
    rim = patheffects.withStroke(linewidth=2.4, foreground=np.divide(OUTLINE, 255))
    axis.plot(
        *np.transpose(ends), style, color=np.divide(colour, 255), linewidth=1.4, path_effects=[rim]
    )
