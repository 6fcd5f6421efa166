"""Whole photographs with everybody's box, to train and to measure a network that finds people.

The files are COCO's, of key points or instances: `images`, and `annotations` with `bbox` and
`iscrowd`.
"""

import dataclasses
import os

import numpy as np

from keras_hourglass.codec import BOX_MAPS, BoxCodec
from keras_hourglass.data.augment import Augmentation, Transform
from keras_hourglass.data.picture_paths import PicturePaths
from keras_hourglass.data.pipeline import CropDataset, recolour
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.io.images import paste_scaled
from keras_hourglass.io.structured import Ids, as_flag, as_number, existing, read_json
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Column, Path

# Names the maps of a network that finds people, as other skeletons name those of joints.
BOXES = Skeleton("boxes", BOX_MAPS)
_PERSON = 1  # COCO's category number, where the file names no categories
# Share of the crops that show somebody's surroundings; the others may show any part of a picture.
_AT_PEOPLE = 0.6


@dataclasses.dataclass(frozen=True)
class SceneRecords:
    """N photographs and the people in them.

    Args:
        images: N paths of picture files.
        boxes: for each, `(P, 4)` rectangles `x, y, w, h` in source pixels.
        ignored: for each, `(P,)` bool: regions of many people, which are neither right nor wrong.
        joints: for each, `(P,)` how many joints of the person are labelled, 0 where unknown.
        ids: N identifiers.
        extra: further columns by name, each of length N.
        notes: one line for each thing a reader left out, with its count.

    Raises:
        DataError: if columns differ in length.

    Example:

    >>> records = SceneRecords(["a.jpg"], [[[1, 2, 30, 40]]], [[False]], [[17]], ["a"])
    >>> len(records), records.boxes[0].shape
    (1, (1, 4))
    """

    images: Column
    boxes: Column
    ignored: Column
    joints: Column
    ids: Column
    extra: dict = dataclasses.field(default_factory=dict)
    notes: tuple = ()

    skeleton = BOXES

    def __post_init__(self):
        count = len(self.images)
        kinds = {"boxes": np.float64, "ignored": bool, "joints": int}
        for name in ("images", "ids", *kinds):
            column = np.empty(count, object)
            values = list(getattr(self, name))
            if len(values) != count:
                raise DataError(
                    f"Column {name!r} of {count} photographs needs that length. "
                    f"Received: {len(values)}. Check the annotation file."
                )
            for place, value in enumerate(values):
                if name in kinds:
                    shape = (-1, 4) if name == "boxes" else (-1,)
                    value = np.asarray(value, kinds[name]).reshape(shape)
                column[place] = os.fspath(value) if name == "images" else value
            object.__setattr__(self, name, column)
        extra = {name: np.asarray(column) for name, column in self.extra.items()}
        object.__setattr__(self, "extra", extra)

    def __len__(self):
        return len(self.images)

    def select(self, index) -> "SceneRecords":
        """The records at an index array, boolean mask or slice, in that order."""
        columns = {name: getattr(self, name)[index] for name in ("images", "boxes", "ignored")}
        extra = {name: column[index] for name, column in self.extra.items()}
        return SceneRecords(
            **columns, joints=self.joints[index], ids=self.ids[index], extra=extra, notes=self.notes
        )

    def with_columns(self, **columns) -> "SceneRecords":
        """A copy with some columns replaced."""
        return dataclasses.replace(self, **columns)


def read_scenes(path: Path, images: Path | None = None) -> SceneRecords:
    """Read photographs and everybody's box from a JSON file of COCO's layout.

    Args:
        path: the JSON file.
        images: folder of the pictures; by default one of the usual places near the file.

    Returns:
        `SceneRecords` of all photographs, also of those without people; `extra` holds `image_id`
        and `image_number` (order in the file, from 1). Boxes that are broken are left out and
        counted in `notes`.

    Raises:
        DataError: if the file is not of this layout or holds no photograph.

    Example:

    >>> records = read_scenes("annotations/person_keypoints_val2017.json")  # doctest: +SKIP
    >>> len(records)  # doctest: +SKIP
    5000
    """
    path = existing(path)
    content = read_json(path, "annotation file")
    parts = {}
    for part in ("images", "annotations"):
        values = content.get(part) if isinstance(content, dict) else None
        if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
            raise DataError(
                f"{path} needs a list of objects named {part!r}. Is it a COCO annotation file?"
            )
        parts[part] = values
    pictures = parts["images"]
    if not pictures:
        raise DataError(f"{path} needs photographs. Received: an empty list of images.")
    names = [picture.get("file_name") for picture in pictures]
    rows, notes = _people(parts["annotations"], pictures, _person_ids(content), path)
    return SceneRecords(
        images=PicturePaths(path, images, names).find_all(names),
        boxes=[[person[0] for person in people] for people in rows],
        ignored=[[person[1] for person in people] for people in rows],
        joints=[[person[2] for person in people] for people in rows],
        ids=[str(picture.get("id")) for picture in pictures],
        extra={
            "image_id": np.array([picture.get("id") for picture in pictures], dtype=object),
            "image_number": np.arange(1, len(pictures) + 1),
        },
        notes=notes,
    )


def _person_ids(content):
    """The numbers of the categories that are people; `None` where the file names none."""
    categories = content.get("categories")
    if not isinstance(categories, list) or not categories:
        return Ids([_PERSON])
    named = [one for one in categories if isinstance(one, dict)]
    people = [one.get("id") for one in named if str(one.get("name")).lower() == "person"]
    # A file with a single category has nothing but people.
    return Ids(people or ([named[0].get("id")] if len(named) == 1 else [_PERSON]))


def _people(annotations, pictures, person, path):
    """For each picture a list of `(box, ignored, joints)`, and notes on what was left out."""
    places = Ids([picture.get("id") for picture in pictures])
    rows: list = [[] for _ in pictures]
    left_out: dict = {}
    for annotation in annotations:
        if "category_id" in annotation and not person.find(annotation["category_id"]):
            continue
        row, reason = _read_box(annotation)
        found = places.find(annotation.get("image_id"))
        if reason is None and not found:
            reason = "unknown image_id"
        if reason is not None:
            left_out.setdefault(reason, [0, annotation.get("id")])[0] += 1
        else:
            rows[found[0]].append(row)
    notes = tuple(
        f"{path}: {count} boxes left out ({reason}), the first is annotation {first}"
        for reason, (count, first) in left_out.items()
    )
    return rows, notes


def _read_box(annotation):
    """Box, whether it is a crowd, number of labelled joints; or what is wrong."""
    box = annotation.get("bbox")
    if not isinstance(box, list) or len(box) != 4:
        return None, "no box of four numbers"
    box = [as_number(value) for value in box]
    if not np.isfinite(box).all() or min(box[2:]) <= 0:
        return None, "box not finite, or of zero or negative size"
    points = annotation.get("keypoints")
    visible = points[2::3] if isinstance(points, list) else []
    labelled = sum(as_number(value) > 0 for value in visible)
    return (box, as_flag(annotation.get("iscrowd")), labelled), None


class SceneDataset(CropDataset):
    """Batches of photographs and of the maps that a network that finds people should answer.

    Without an augmentation every photograph is shown whole, fitted into the middle of the input;
    with one, at a random size and place, most often near somebody.

    Args:
        records: `SceneRecords`.
        codec: the `BoxCodec` that fixes sizes and maps.
        augmentation: an `Augmentation` without rotation and half bodies, or `None`.
        **options: as for `CropDataset`.

    Raises:
        UserError: if the augmentation would turn photographs, whose boxes would no longer fit.

    Example:

    >>> dataset = SceneDataset(read_scenes("train.json"), BoxCodec((256, 256)))  # doctest: +SKIP
    >>> photographs, maps = dataset.batch(0)  # doctest: +SKIP
    >>> photographs.shape, maps.shape  # doctest: +SKIP
    ((16, 256, 256, 3), (16, 64, 64, 7))
    """

    def __init__(
        self,
        records: SceneRecords,
        codec: BoxCodec | None = None,
        augmentation: Augmentation | None = None,
        **options,
    ):
        drawn = augmentation
        if drawn is not None and (drawn.half_body or drawn.rotation * drawn.rotation_probability):
            raise UserError(
                "Photographs with boxes are neither turned nor cut to half bodies. Received: "
                f"rotation={drawn.rotation}, half_body={drawn.half_body}. "
                "Use the augmentation 'scenes'."
            )
        super().__init__(records, codec or BoxCodec(), augmentation=augmentation, **options)

    @property
    def target_shape(self) -> tuple:
        """Shape of the maps of one photograph with their weights, see `BoxCodec.encode`."""
        return (*self.codec.heatmap_size, len(BOX_MAPS) + 2)

    def sample(self, person: int, epoch: int = 0, out: np.ndarray | None = None) -> tuple:
        """One photograph and its maps.

        Args:
            person: index into the records.
            epoch: picks the augmentation.
            out: `(height, width, 3)` uint8 array to put the input into.

        Returns:
            `(height, width, 3)` uint8 input and `(h, w, 7)` maps. A photograph that cannot be read
            gives a black input of weight 0 and is remembered in `failures`.
        """
        rng = np.random.default_rng([self.seed, epoch, person, 1])
        transform = self.augmentation.draw(rng) if self.augmentation else Transform()
        size = self.codec.input_size
        image, reduction = self._image(self.records.images[person], 1)
        if image is None:
            return recolour(np.zeros((*size, 3), np.uint8), Transform(), out), np.zeros(
                self.target_shape, np.float32
            )
        height, width = image.shape[:2]
        factor = min(size[0] / height, size[1] / width) / transform.scale
        boxes, ignored = self.records.boxes[person] / reduction, self.records.ignored[person]
        corner = self._corner(rng, factor, image.shape, boxes[~ignored])
        crop, factors = paste_scaled(image, factor, corner, size)
        boxes = boxes * np.tile(factors, 2)
        boxes[:, :2] += corner
        if transform.flip:
            crop = crop[:, ::-1]
            boxes[:, 0] = size[1] - boxes[:, 0] - boxes[:, 2]
        crop = recolour(np.ascontiguousarray(crop), transform, out)
        return crop, self.codec.encode(boxes, ignored)

    def _corner(self, rng, factor, shape, people):
        """Where the upper left corner of the scaled picture lies in the input, `(x, y)`."""
        size = np.array(self.codec.input_size[::-1])
        room = size - np.round(np.array(shape[1::-1]) * factor)  # negative: the picture is larger
        if self.augmentation is None:
            return np.floor(room / 2).astype(int)
        if len(people) and rng.random() < _AT_PEOPLE:
            box = people[rng.integers(len(people))]
            there = (box[:2] + box[2:] * rng.uniform(0, 1, 2)) * factor
            corner = rng.uniform(0.2, 0.8, 2) * size - there
        else:
            corner = rng.uniform(0, 1, 2) * room
        # No more of the surroundings than there must be.
        return np.round(np.clip(corner, np.minimum(room, 0), np.maximum(room, 0))).astype(int)

    def targets(self, *labels: np.ndarray) -> np.ndarray:
        """What the model's outputs are compared with: the maps as they are."""
        return labels[0]

    @staticmethod
    def weigh(targets: np.ndarray, factor: float) -> None:
        """Multiply the weights of targets in place."""
        targets[..., len(BOX_MAPS) :] *= factor
