"""Poses and heatmaps as pictures (OpenCV)."""

import cv2
import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.skeletons import SIDE_COLOURS

OUTLINE = (16, 16, 16)
# OpenCV draws at fractions of a pixel when coordinates are multiplied by 2 ** SHIFT.
SHIFT = 4
# Beyond this, coordinates are off every picture and would overflow OpenCV's integers.
FAR = 1e5


def draw_poses(image, poses, boxes=False, width=None):
    """Paint people on a picture: limbs coloured by side, absent joints left out.

    Left is blue, right is orange (the person's own sides), the middle is white; a dark outline
    keeps them apart from bright surroundings. Lines grow with the person's box.

    Args:
        image: `(height, width, 3)` uint8 RGB array; it is not changed.
        poses: list of `Pose`s in pixels of that picture.
        boxes: also draw each person's box.
        width: line width in pixels; by default a hundredth of the longer side of the box, at
            least one pixel.

    Returns:
        `(height, width, 3)` uint8 RGB array.

    Raises:
        UserError: if the picture is not an RGB array of bytes.
    """
    canvas = _checked(image).copy()
    # Far people first, so that near ones cover them.
    for pose in sorted(poses, key=lambda pose: pose.box[2] * pose.box[3]):
        line = _line_width(pose, width)
        if boxes:
            _draw_box(canvas, pose.box, line)
        _draw_limbs(canvas, pose, line)
        _draw_joints(canvas, pose, line)
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
    return max(1, round(float(max(pose.box[2:])) / 100)) if width is None else max(1, int(width))


def _fixed(point):
    """A point in OpenCV's fixed-point numbers."""
    return tuple(int(round(float(value) * 2**SHIFT)) for value in np.clip(point, -FAR, FAR))


def _line(canvas, start, end, colour, width):
    cv2.line(canvas, _fixed(start), _fixed(end), colour, width, cv2.LINE_AA, SHIFT)


def _draw_limbs(canvas, pose, width):
    """All outlines before all colours, so that no outline cuts through a limb."""
    skeleton = pose.skeleton
    limbs = []
    for limb in skeleton.limbs:
        first, second = (skeleton.index(joint) for joint in limb)
        if pose.present[first] and pose.present[second]:
            colour = SIDE_COLOURS[skeleton.limb_side(limb)]
            limbs.append((pose.keypoints[first], pose.keypoints[second], colour))
    for start, end, _ in limbs:
        _line(canvas, start, end, OUTLINE, width + 2 * _rim(width))
    for start, end, colour in limbs:
        _line(canvas, start, end, colour, width)


def _draw_joints(canvas, pose, width):
    radius = 0.5 + 0.9 * width
    for name, point in zip(pose.names, pose.keypoints, strict=True):
        if pose.present[pose.skeleton.index(name)]:
            for size, colour in (
                (radius + _rim(width), OUTLINE),
                (radius, SIDE_COLOURS[pose.skeleton.side(name)]),
            ):
                fixed_radius = int(round(size * 2**SHIFT))
                cv2.circle(
                    canvas, _fixed(point), fixed_radius, colour, cv2.FILLED, cv2.LINE_AA, SHIFT
                )


def _rim(width):
    return max(1, round(width / 3))


def _draw_box(canvas, box, width):
    x, y, box_width, box_height = box
    # Pixel edges, so that the frame encloses the pixels of the box.
    corners = (x - 0.5, y - 0.5), (x + box_width - 0.5, y + box_height - 0.5)
    for thickness, colour in ((width + 2, OUTLINE), (max(1, width // 2), SIDE_COLOURS["centre"])):
        start, end = (_fixed(corner) for corner in corners)
        cv2.rectangle(canvas, start, end, colour, thickness, cv2.LINE_AA, SHIFT)


def draw_heatmap(crop, heatmap):
    """One joint's heatmap over its crop, as in Figure 2 of the paper.

    Args:
        crop: `(H, W, 3)` uint8 RGB crop in input pixels.
        heatmap: `(h, w)` map in heatmap pixels; 1 and above is drawn brightest.

    Returns:
        `(H, W, 3)` uint8 RGB array.
    """
    height, width = crop.shape[:2]
    values = np.nan_to_num(np.asarray(heatmap, np.float32))
    # cv2.resize aligns pixel edges, which is how input and heatmap frames are related.
    values = cv2.resize(values, (width, height), interpolation=cv2.INTER_LINEAR)
    values = np.clip(values, 0, 1)
    painted = cv2.applyColorMap((values * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None] * 0.5
    strength = np.sqrt(values)[..., None]
    mixed = grey * (1 - strength) + painted[..., ::-1].astype(np.float32) * strength
    return mixed.clip(0, 255).astype(np.uint8)


def heatmap_sheet(crop, heatmaps, names, tile=160, columns=6, first=None):
    """A labelled sheet: the crop, then the heatmap of every joint.

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
    tiles = [("input", cv2.resize(front, size, interpolation=cv2.INTER_AREA))]
    for index, name in enumerate(names):
        peak = np.nanmax(heatmaps[..., index]) if np.isfinite(heatmaps[..., index]).any() else 0.0
        label = f"{name} {round(float(peak), 2) + 0.0:.2f}"
        tiles.append((label, draw_heatmap(small, heatmaps[..., index])))
    return _grid(tiles, columns)


def _grid(tiles, columns, gap=4, band=18):
    """Tiles of equal size in rows, each with its label above."""
    height, width = tiles[0][1].shape[:2]
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    cell_height, cell_width = height + band + gap, width + gap
    sheet = np.full((rows * cell_height + gap, columns * cell_width + gap, 3), 24, np.uint8)
    for position, (label, picture) in enumerate(tiles):
        top = gap + position // columns * cell_height
        left = gap + position % columns * cell_width
        sheet[top + band : top + band + height, left : left + width] = picture
        cv2.putText(
            sheet, label, (left + 2, top + band - 5), cv2.FONT_HERSHEY_SIMPLEX, 0.38,
            SIDE_COLOURS["centre"], 1, cv2.LINE_AA,
        )  # fmt: skip
    return sheet
