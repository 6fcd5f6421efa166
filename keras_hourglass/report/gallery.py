"""People in the report: picture, annotation, prediction and the heatmaps of each stack."""

import base64
import html
import os

import cv2
import numpy as np

from keras_hourglass.analysis import person_scores
from keras_hourglass.data.load import open_image
from keras_hourglass.errors import UserError
from keras_hourglass.evaluation import HeatmapRunner
from keras_hourglass.geometry import apply_affine, crop_affine
from keras_hourglass.io.images import encode_image, warp

HEIGHT = 256  # pixels of the picture of one person
_SIDES = {"left": (86, 180, 233), "right": (213, 94, 0), "centre": (0, 158, 115)}


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


def gallery_html(predictions, stack, people, correct, model=None, engine="keras"):
    """Cards of some people as HTML.

    Args:
        predictions: `Predictions`.
        stack: index of the stack whose joints are drawn.
        people: indices into the predictions.
        correct: for each of them, text that says how well it went.
        model: the model that predicted, for the heatmaps; `None` leaves them out.
        engine: what runs it, see `HeatmapRunner`.

    Returns:
        HTML; people whose picture cannot be read are left out.
    """
    records = predictions.records.select(np.asarray(people, int))
    overlays = _overlays(model, engine, records, predictions) if model is not None else {}
    cards = []
    for row, (person, caption) in enumerate(zip(people, correct, strict=True)):
        try:
            card = _card(predictions, stack, person, caption, overlays.get(row, []), model)
        except UserError:
            continue  # the picture is gone; the numbers do not need it
        cards.append(card)
    return f'<div class="gallery">{"".join(cards)}</div>' if cards else ""


def _card(predictions, stack, person, caption, overlays, model):
    records = predictions.records
    height, width = model.input_size if model is not None else (1, 1)
    size = (HEIGHT, round(HEIGHT * width / height))
    matrix = crop_affine(records.boxes[person], size)
    crop = warp(open_image(records.images[person]), matrix, size)
    name = os.path.basename(records.images[person])
    truth = apply_affine(matrix, records.joints[person])
    guess = apply_affine(matrix, predictions.keypoints[stack, person])
    labelled = records.visibility[person] > 0
    heat = "".join(
        f'<img class="heat h{number}" alt="" src="{_data(png, "png")}">'
        for number, png in enumerate(overlays, 1)
    )
    chips = "".join(
        f'<button type="button" class="chip c{number}">{html.escape(stack_name)}</button>'
        for number, stack_name in enumerate(predictions.stacks[: len(overlays)], 1)
    )
    skeleton = records.skeleton
    everywhere = np.ones_like(labelled)
    return (
        f'<figure class="card">{chips}<div class="view">'
        f'<img alt="{html.escape(name)}" src="{_data(encode_image(crop, ".jpg"), "jpeg")}">{heat}'
        f'<svg viewBox="0 0 {size[1]} {size[0]}" aria-hidden="true">'
        f"{_stick_figure(skeleton, truth, labelled, True)}"
        f"{_stick_figure(skeleton, guess, everywhere, False)}</svg></div>"
        f"<figcaption>{html.escape(name)}<br>{html.escape(caption)}</figcaption></figure>"
    )


def _stick_figure(skeleton, points, shown, truth):
    """Limbs and joints as SVG; annotations white and dashed, predictions by side."""
    parts = []
    for limb in skeleton.limbs:
        first, second = (skeleton.index(joint) for joint in limb)
        if shown[first] and shown[second]:
            side = next((s for s in map(skeleton.side, limb) if s != "centre"), "centre")
            (x1, y1), (x2, y2) = points[first].round(1), points[second].round(1)
            kind = "gt" if truth else side
            parts.append(f'<line class="{kind}" x1="{x1}" y1="{y1}" x2="{x2}" y2="{y2}"/>')
    for joint, (x, y) in zip(skeleton.joints, points.round(1), strict=True):
        if shown[skeleton.index(joint)]:
            kind = "gt" if truth else skeleton.side(joint)
            title = f"<title>{html.escape(joint.replace('_', ' '))}</title>"
            parts.append(f'<circle class="{kind}" cx="{x}" cy="{y}" r="2.5">{title}</circle>')
    return "".join(parts)


def _overlays(model, engine, records, predictions):
    """Row -> one transparent PNG per stack with all joints' heatmaps, coloured by side."""
    if not len(records):
        return {}
    runner = HeatmapRunner(
        model,
        records.skeleton,
        predictions.settings.get("flip", True),
        batch_size=8,
        engine=engine,
    )
    if runner.stacks != predictions.stacks:
        return {}
    result = {}
    colours = np.array(
        [_SIDES[runner.skeleton.side(joint)] for joint in runner.skeleton.joints], np.float32
    )
    for rows, _, heatmaps in runner.run(records):
        for place, row in enumerate(rows):
            result[int(row)] = [_colour(heatmaps[name][place], colours) for name in runner.stacks]
    return result


def _colour(maps, colours):
    maps = np.clip(maps, 0, 1)
    strength = maps.max(axis=-1)
    colour = colours[maps.argmax(axis=-1)]
    rgba = np.dstack([colour[..., ::-1], 235 * np.sqrt(strength)]).astype(np.uint8)
    return cv2.imencode(".png", rgba)[1].tobytes()


def _data(content, kind):
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
