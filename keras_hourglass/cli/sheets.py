"""Contact sheets of annotated people and of training crops."""

import cv2
import numpy as np

from keras_hourglass.data.load import open_image
from keras_hourglass.errors import DataError
from keras_hourglass.geometry import apply_affine, boxes_to_xywh, crop_affine
from keras_hourglass.io.images import warp
from keras_hourglass.prediction.drawing import draw_poses
from keras_hourglass.prediction.pose import Pose

_OCCLUDED = (250, 220, 60)


def people_sheet(records, rows, tile=192, columns=8):
    """Annotated people in their boxes: joints and limbs, occluded joints ringed in yellow.

    Args:
        records: `PoseRecords`.
        rows: which of them.
        tile: side of one picture in pixels of the sheet.
        columns: pictures in a row.

    Returns:
        `(height, width, 3)` uint8 RGB; a picture that cannot be read stays black.
    """
    tiles = []
    for row in rows:
        box = records.boxes[row] * (1, 1, 1.15)
        matrix = crop_affine(box, (tile, tile))
        try:
            crop = warp(open_image(records.images[row]), matrix, (tile, tile))
        except DataError:
            crop = np.zeros((tile, tile, 3), np.uint8)
        joints = apply_affine(matrix, records.joints[row])
        crop = _draw(crop, joints, records.visibility[row], records.skeleton)
        cv2.putText(crop, str(records.ids[row])[-24:], (3, tile - 5), cv2.FONT_HERSHEY_SIMPLEX,
                    0.33, (255, 255, 255), 1, cv2.LINE_AA)  # fmt: skip
        tiles.append(crop)
    return _grid(tiles, columns)


def crops_sheet(dataset, people, epoch=0, columns=4):
    """Crops as the network gets them, each beside its targets.

    Args:
        dataset: a `PoseDataset`.
        people: numbers of people.
        epoch: picks the augmentation.
        columns: pairs in a row.

    Returns:
        `(height, width, 3)` uint8 RGB.
    """
    codec, skeleton = dataset.codec, dataset.records.skeleton
    tiles = []
    for person in people:
        crop, joints, visibility, weights = dataset.sample(person, epoch)
        targets = codec.targets(joints[None], visibility[None], weights[None])
        maps = codec.draw(targets)[0].max(axis=-1)
        maps = cv2.resize(maps, crop.shape[1::-1], interpolation=cv2.INTER_LINEAR)
        shade = (crop * 0.35).astype(np.float32)
        glow = maps[..., None] * np.array([255.0, 220.0, 90.0], np.float32)
        heat = np.clip(shade * (1 - maps[..., None]) + glow, 0, 255).astype(np.uint8)
        seen = targets[0, :, 2] * visibility
        drawn = _draw(np.ascontiguousarray(crop), joints, seen, skeleton)
        tiles.append(np.concatenate([drawn, heat], axis=1))
    return _grid(tiles, columns)


def _draw(crop, joints, visibility, skeleton):
    height, width = crop.shape[:2]
    box = boxes_to_xywh([width / 2 - 0.5, height / 2 - 0.5, max(width, height)])
    labelled = visibility > 0
    pose = Pose(joints, labelled.astype(float), box, skeleton, present=labelled)
    drawn = draw_poses(crop, [pose], width=max(1, width // 128))
    for x, y in joints[visibility == 1]:
        if abs(x) < 1e4 and abs(y) < 1e4:
            cv2.circle(drawn, (round(x), round(y)), 4, _OCCLUDED, 1, cv2.LINE_AA)
    return drawn


def _grid(tiles, columns):
    """Tiles of one size in rows."""
    height, width = tiles[0].shape[:2]
    columns = min(columns, len(tiles))
    sheet = np.zeros((-(-len(tiles) // columns) * height, columns * width, 3), np.uint8)
    for position, tile in enumerate(tiles):
        row, column = divmod(position, columns)
        sheet[row * height : (row + 1) * height, column * width : (column + 1) * width] = tile
    return sheet
