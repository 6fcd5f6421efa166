"""Joints that a file has as boxes of one pixel, a category for each joint.

That is what becomes of labelme's points, and of others', in converters that know boxes only
(labelme2coco): who a joint belongs to is told by the box around it, if there are boxes.
"""

import collections

from keras_hourglass.data.annotations import Tally, numbers
from keras_hourglass.errors import DataError
from keras_hourglass.geometry import MIN_SIDE
from keras_hourglass.io.structured import Ids, plain_id, shorten


def with_joints(content, path, remarks):
    """The content of an annotation file, with people where it has points as boxes.

    Args:
        content: dict with lists of objects `images`, `annotations` and `categories`.
        path: the file, for `remarks`.
        remarks: list of lines, to which is added what was done.

    Returns:
        `content` itself where it has key points, or no points; else another whose only category
        names the joints, with a person for each box of another category (or for each picture,
        where there are no boxes).
    """
    categories = content["categories"]
    if any(one.get("keypoints") for part in ("categories", "annotations") for one in content[part]):
        return content
    ids = Ids(category.get("id") for category in categories)
    found = _boxes(content["annotations"], ids)
    joints = [
        place for place, boxes in sorted(found.items()) if all(map(_is_point, boxes.values()))
    ]
    pictures = collections.defaultdict(lambda: ([], []))
    for place, boxes in found.items():
        for position, box in boxes.items():
            key = plain_id(content["annotations"][position].get("image_id"))
            if place in joints:
                pictures[key][0].append((joints.index(place), box[:2]))
            elif not _is_point(box):
                pictures[key][1].append(box)
    if not joints:
        return content
    lost, people = Tally(), []
    for key, (points, boxes) in pictures.items():
        people += _people(key, points, boxes, len(joints), lost)
    names = [str(categories[place].get("name", place)) for place in joints]
    remarks.append(
        f"{path}: no joint is a key point; the {len(names)} categories whose boxes have one pixel "
        f"are read as joints: {shorten(', '.join(names), 120)}"
    )
    remarks += lost.lines(path, "joints left out ({})")
    return {
        "images": content["images"],
        "annotations": [{"id": number, **one} for number, one in enumerate(people, start=1)],
        "categories": [{"id": 1, "name": "person", "keypoints": names}],
    }


def _boxes(annotations, ids):
    """place of a category -> position of an annotation -> its rectangle."""
    found: dict = collections.defaultdict(dict)
    for position, annotation in enumerate(annotations):
        place = next(iter(ids.find(plain_id(annotation.get("category_id")))), None)
        try:
            box = numbers(annotation.get("bbox"), (4,), "bbox", "the file").tolist()
        except DataError:
            continue
        if place is not None and all(length >= 0 for length in box[2:]):
            found[place][position] = box
    return found


def _is_point(box):
    return max(box[2:]) <= MIN_SIDE


def _people(key, points, boxes, number, lost):
    """The people of a picture, as annotations with key points."""
    around = [[] for _ in boxes] or [[]]
    for joint, (x, y) in points:
        holding = [
            place
            for place, (left, top, width, height) in enumerate(boxes)
            if left - 1 <= x <= left + width + 1 and top - 1 <= y <= top + height + 1
        ]
        if not boxes:
            holding = [0]
        if len(holding) == 1:
            around[holding[0]].append((joint, x, y))
        else:
            reason = "in the boxes of several people" if holding else "in nobody's box"
            lost.add(reason, f"one at {x:g}, {y:g} in picture {shorten(key)}")
    for place, own in enumerate(around):
        if len({joint for joint, _, _ in own}) < len(own):
            whose = "box" if boxes else "picture"
            lost.add(f"several of one kind in one {whose}", f"in picture {shorten(key)}")
            continue
        values = [0.0] * (3 * number)
        for joint, x, y in own:
            values[3 * joint : 3 * joint + 3] = [x, y, 2]
        if own:
            box = {"bbox": boxes[place]} if boxes else {}
            yield {"image_id": key, "category_id": 1, "keypoints": values, **box}
