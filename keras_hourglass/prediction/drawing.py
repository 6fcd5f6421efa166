"""Poses and heatmaps as pictures (OpenCV)."""

import dataclasses

import cv2
import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import SIDE_COLOURS

OUTLINE = (16, 16, 16)
# A colour for each person, told apart by people who see colours otherwise, on dark and bright.
PERSON_COLOURS = (
    (86, 180, 233), (230, 159, 0), (0, 190, 135), (240, 228, 66), (255, 120, 90), (204, 121, 200),
    (120, 130, 255), (190, 220, 150),
)  # fmt: skip
_LIGHTER = 0.45  # how much white is in the left limbs of a person
# How strongly is painted: rims; joints that score below a share of the person's median; skeletons
# that are not sure; and of those where no joint is present.
_RIM, _FAINT, _FAINT_BELOW, _UNSURE, _GUESS = 0.75, 0.55, 0.5, 0.45, 0.3
_BACKGROUND = 24  # of sheets
_FAINTEST = 0.02  # height of maps that are drawn as brightly as any; lower ones are empty
# Beyond this, coordinates are off every picture and would overflow.
FAR = 1e5


def draw_poses(
    image, poses, boxes=False, width=None, colours="side", scores=False, ids=True, guess=True
):
    """Paint people on a picture: limbs by side or by person, absent joints left out.

    Left is blue, right is orange (the person's own sides), the middle is white; a dark rim keeps
    them apart from bright surroundings. Lines and dots grow with the person's box. What is less
    sure is paler: joints that score less than half of the person's median, skeletons that are not
    `sure`, and the best guess where not a single joint is present.

    Args:
        image: `(height, width, 3)` uint8 RGB array; it is not changed.
        poses: list of `Pose`s in pixels of that picture.
        boxes: also draw each person's box.
        width: line width in pixels; by default 1.15 % of the longer side of the box, at least
            1.15 pixels.
        colours: `"side"`, or `"person"`: a colour for each, in which left limbs are lighter.
        scores: write each person's score.
        ids: write the numbers of people who have one.
        guess: where no joint of an unsure person is present, draw all of them, palest.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        UserError: if the picture is not an RGB array of bytes, or the colours are unknown.
    """
    canvas = _checked(image).copy()
    if colours not in ("side", "person"):
        raise UserError(f"Colours are by 'side' or by 'person'. Received: {colours!r}.")
    order = {id(pose): place for place, pose in enumerate(poses)}
    # Far people first, so that near ones cover them; those who are not sure below all.
    for pose in sorted(poses, key=lambda pose: (pose.sure, pose.box[2] * pose.box[3])):
        line, own = _line_width(pose, width), _own_colour(pose, order[id(pose)])
        palette = SIDE_COLOURS if colours == "side" else _shades(own)
        if boxes:
            frame = own if colours == "person" else SIDE_COLOURS["centre"]
            _draw_box(canvas, pose.box, line, frame)
        _draw_skeleton(canvas, pose, line, palette, guess)
    for pose in poses:
        _draw_label(canvas, pose, _own_colour(pose, order[id(pose)]), scores, ids)
    return canvas


def _checked(image):
    image = np.asarray(image)
    if image.ndim != 3 or image.shape[-1] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise UserError(
            "A picture is a (height, width, 3) uint8 RGB array. "
            f"Received: shape={image.shape}, dtype={image.dtype}. Convert it first."
        )
    return image


def _line_width(pose, width):
    return max(1.15, 0.0115 * float(max(pose.box[2:]))) if width is None else float(width)


def _own_colour(pose, place):
    """The same for a followed person in every frame."""
    return PERSON_COLOURS[(place if pose.id is None else pose.id) % len(PERSON_COLOURS)]


def _shades(colour):
    lighter = tuple(round(value + (255 - value) * _LIGHTER) for value in colour)
    return {"left": lighter, "right": colour, "centre": colour}


def _opacities(pose, guess):
    """`(K,)`: how strongly each joint is painted, 0 for those that are left out."""
    shown = pose.present.astype(float)
    if not pose.present.any():
        finite = np.isfinite(pose.keypoints).all(axis=1)
        return np.where(finite, _GUESS, 0.0) if guess and not pose.sure else shown
    faint = pose.scores < _FAINT_BELOW * np.median(pose.scores[pose.present])
    shown[faint] *= _FAINT
    return shown * (1.0 if pose.sure else _UNSURE)


def _draw_skeleton(canvas, pose, width, palette, guess):
    """All rims before all colours, so that no rim cuts through a limb; the palest first."""
    skeleton, opacities, shapes = pose.skeleton, _opacities(pose, guess), []
    points = np.clip(np.nan_to_num(pose.keypoints), -FAR, FAR)
    for limb in skeleton.limbs:
        ends = [skeleton.index(joint) for joint in limb]
        strength = float(opacities[ends].min())
        if strength > 0:
            colour = palette[skeleton.limb_side(limb)]
            shapes.append((strength, 0, points[ends], width / 2, colour))
    radius = min(0.5 + 0.8 * width, 1.1 * width)
    for name, point, strength in zip(pose.names, points, opacities, strict=True):
        if strength > 0:
            ends = np.stack([point, point])
            shapes.append((float(strength), 1, ends, radius, palette[skeleton.side(name)]))
    for strength in sorted({shape[0] for shape in shapes}):
        for kind in (0, 1):  # dots over limbs
            level = [shape for shape in shapes if shape[:2] == (strength, kind)]
            rims = [(ends, half + _rim(width), OUTLINE) for _, _, ends, half, _ in level]
            _paint(canvas, rims, _RIM * strength)
            _paint(canvas, [shape[2:] for shape in level], strength)


def _paint(canvas, shapes, opacity):
    """Paint capsules `(ends, radius, colour)`, as strongly as told where they overlap, too."""
    size = np.array(canvas.shape[1::-1])
    placed = []
    for ends, radius, colour in shapes:
        low = np.clip(np.floor(ends.min(axis=0) - radius - 1), 0, size).astype(int)
        high = np.clip(np.ceil(ends.max(axis=0) + radius + 2), 0, size).astype(int)
        if (low < high).all():
            placed.append((low, high, ends, radius, colour))
    if not placed:
        return
    corner = np.min([low for low, *_ in placed], axis=0)
    end = np.max([high for _, high, *_ in placed], axis=0)
    part = canvas[corner[1] : end[1], corner[0] : end[0]]
    painted = part.copy()
    for low, high, ends, radius, colour in placed:
        covered = _coverage(ends, radius, low, high)
        (left, top), (right, bottom) = low - corner, high - corner
        under = painted[top:bottom, left:right]
        mixed = under + (np.array(colour, np.float32) - under) * covered[..., None]
        painted[top:bottom, left:right] = np.rint(mixed)
    if opacity < 1:
        painted = cv2.addWeighted(painted, opacity, part, 1 - opacity, 0)
    part[...] = painted


def _coverage(ends, radius, low, high):
    """How much of each pixel lies within a radius of a line, `(h, w)` float32, 0 to 1.

    OpenCV's own lines have whole widths, and its smooth edges add a pixel, half a thin limb.
    """
    x = np.arange(low[0], high[0], dtype=np.float32)[None] - np.float32(ends[0, 0])
    y = np.arange(low[1], high[1], dtype=np.float32)[:, None] - np.float32(ends[0, 1])
    along = (ends[1] - ends[0]).astype(np.float32)
    length = float(along @ along)
    if length > 0:
        place = np.clip((x * along[0] + y * along[1]) / np.float32(length), 0, 1)
        x, y = x - place * along[0], y - place * along[1]
    return np.clip(np.float32(radius + 0.5) - np.sqrt(x * x + y * y), 0, 1)


def _rim(width):
    return max(0.85, 0.3 * width)


def _draw_box(canvas, box, width, colour):
    x, y, box_width, box_height = box
    # Pixel edges, so that the frame encloses the pixels of the box.
    corners = np.array([(x, y), (x + box_width, y), (x + box_width, y + box_height)]) - 0.5
    corners = np.clip(np.concatenate([corners, [(x - 0.5, y + box_height - 0.5)]]), -FAR, FAR)
    sides = [corners[[start, (start + 1) % 4]] for start in range(4)]
    half = max(0.5, width / 4)
    _paint(canvas, [(side, half + max(1.0, 0.7 * half), OUTLINE) for side in sides], _RIM)
    _paint(canvas, [(side, half, colour) for side in sides], 1.0)


def _draw_label(canvas, pose, colour, scores, ids):
    """Number and score of a person at the upper left of the box, within the picture."""
    words = [str(pose.id)] if ids and pose.id is not None else []
    words += [f"{pose.score:.2f}"] if scores else []
    if not words:
        return
    text, font = " ".join(words), cv2.FONT_HERSHEY_SIMPLEX
    longer = max(canvas.shape[:2])
    size = float(np.clip(max(pose.box[2:]) / 500, max(0.4, longer / 1600), max(0.4, longer / 800)))
    thick = max(1, round(1.6 * size))
    (wide, tall), below = cv2.getTextSize(text, font, size, thick)
    room = np.array([canvas.shape[1] - wide - 2, canvas.shape[0] - below - 2])
    place = np.nan_to_num(pose.box[:2]) + (2, -below)
    # Above the box; where that is outside, in its corner.
    place[1] = place[1] if place[1] - tall > 0 else place[1] + tall + 2 * below
    x, y = np.minimum(np.maximum(place, (2, tall + 2)), room).astype(int)
    plate = canvas[max(0, y - tall - 2) : y + below, max(0, x - 2) : x + wide + 2]
    plate[...] = cv2.addWeighted(plate, 1 - _RIM, np.full_like(plate, OUTLINE), _RIM, 0)
    cv2.putText(canvas, text, (x, y), font, size, colour, thick, cv2.LINE_AA)


def contact_sheet(results, tile=320, columns=None, **options):
    """Many pictures on one sheet, each with its people, name and how many they are.

    Args:
        results: `PicturePoses` of pictures that could be read.
        tile: longer side of a picture in pixels of the sheet; smaller ones are not enlarged.
        columns: pictures in a row; by default as many as make the sheet about square.
        **options: of `draw_poses`.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        UserError: if there is no picture.
    """
    tiles = [sheet_tile(result, tile, **options) for result in results]
    if not tiles:
        raise UserError(
            "A contact sheet needs pictures. Received: none. Pass results with `image`."
        )
    return tile_sheet(tiles, columns)


def sheet_tile(result, tile=320, **options):
    """What a contact sheet shows of one picture: its label, and a `(tile, tile, 3)` RGB array.

    Args:
        result: the `PicturePoses`.
        tile: longer side of the picture in pixels.
        **options: of `draw_poses`.
    """
    image = _checked(result.read())
    factor = min(1.0, tile / max(image.shape[:2]))
    size = tuple(max(1, round(edge * factor)) for edge in image.shape[1::-1])
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    factors = np.array(size) / image.shape[1::-1]
    poses = [
        dataclasses.replace(
            pose,
            keypoints=(pose.keypoints + 0.5) * factors - 0.5,
            box=pose.box * np.tile(factors, 2),
        )
        for pose in result.poses
    ]
    painted = draw_poses(small, poses, **{"guess": not result.alone, **options})
    square = np.full((tile, tile, 3), _BACKGROUND, np.uint8)
    top, left = (tile - painted.shape[0]) // 2, (tile - painted.shape[1]) // 2
    square[top : top + painted.shape[0], left : left + painted.shape[1]] = painted
    name = "".join(sign if sign.isascii() else "?" for sign in result.name)
    name = name.replace("\\", "/").rsplit("/", 1)[-1]
    frame = "" if result.frame is None else f" {result.frame}"
    sure = sum(pose.sure for pose in result.poses)
    return f"{name[: max(8, tile // 9)]}{frame}: {sure}", square


def tile_sheet(tiles, columns=None):
    """Pairs of label and picture of one size as a sheet; about square unless told otherwise."""
    return _grid(tiles, columns or max(1, round(len(tiles) ** 0.5)))


def draw_heatmap(crop, heatmap, brightest=1.0):
    """One joint's heatmap over its crop, as in Figure 2 of the paper.

    Args:
        crop: `(H, W, 3)` uint8 RGB crop in input pixels.
        heatmap: `(h, w)` map in heatmap pixels.
        brightest: the height that is drawn brightest, as are those above.

    Returns:
        `(H, W, 3)` uint8 RGB array.
    """
    height, width = crop.shape[:2]
    values = np.nan_to_num(np.asarray(heatmap, np.float32))
    # cv2.resize aligns pixel edges, which is how input and heatmap frames are related.
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    values = np.clip(values / brightest, 0, 1)
    painted = cv2.applyColorMap((values * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None] * 0.5
    strength = np.sqrt(values)[..., None]
    mixed = grey * (1 - strength) + painted[..., ::-1].astype(np.float32) * strength
    return mixed.clip(0, 255).astype(np.uint8)


def heatmap_sheet(crop, heatmaps, names, tile=160, columns=6, first=None):
    """A labelled sheet: the crop, then the heatmap of every joint with its height.

    The colours reach up to the highest map, so that those of a network that is still learning are
    seen; the first label says so.

    Args:
        crop: `(H, W, 3)` uint8 RGB crop in input pixels.
        heatmaps: `(h, w, K)` maps in heatmap pixels.
        names: K joint names.
        tile: width of one tile in pixels of the sheet.
        columns: tiles in a row.
        first: `(H', W', 3)` RGB picture for the first tile, e.g. the painted pose; the crop by
            default.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        UserError: if the numbers of maps and names differ.
    """
    heatmaps = np.asarray(heatmaps)
    if heatmaps.ndim != 3 or heatmaps.shape[-1] != len(names):
        raise UserError(
            f"A sheet needs one map per name, (h, w, {len(names)}). Received: {heatmaps.shape}."
        )
    crop = _checked(crop)
    size = (tile, max(1, round(tile * crop.shape[0] / crop.shape[1])))
    small = cv2.resize(crop, size, interpolation=cv2.INTER_AREA)
    front = crop if first is None else _checked(first)
    peaks = np.nan_to_num(heatmaps, nan=-np.inf, posinf=np.inf).max(axis=(0, 1))
    peaks = np.where(np.isfinite(peaks), peaks, 0.0)
    brightest = float(np.clip(peaks.max(initial=_FAINTEST), _FAINTEST, 1.0))
    first_label = "input" if brightest == 1 else f"colours to {brightest:.2f}"
    tiles = [(first_label, cv2.resize(front, size, interpolation=cv2.INTER_AREA))]
    for index, name in enumerate(names):
        label = f"{name} {round(float(peaks[index]), 2) + 0.0:.2f}"
        tiles.append((label, draw_heatmap(small, heatmaps[..., index], brightest)))
    return _grid(tiles, columns)


def _grid(tiles, columns, gap=4, band=18):
    """Tiles of equal size in rows, each with its label above."""
    height, width = tiles[0][1].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    cell_height, cell_width = height + band + gap, width + gap
    sheet = np.full(
        (rows * cell_height + gap, columns * cell_width + gap, 3), _BACKGROUND, np.uint8
    )
    for position, (label, picture) in enumerate(tiles):
        top = gap + position // columns * cell_height
        left = gap + position % columns * cell_width
        sheet[top + band : top + band + height, left : left + width] = picture
        cv2.putText(
            sheet, label, (left + 2, top + band - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38,
            SIDE_COLOURS["centre"], 1, cv2.LINE_AA,
        )  # fmt: skip
    return sheet
