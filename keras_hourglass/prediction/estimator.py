"""Joints straight from pictures as a task of Keras: train, evaluate and predict on raw pictures."""

from typing import Any

import keras
import numpy as np

from keras_hourglass.codec import HeatmapCodec
from keras_hourglass.errors import UserError, checks_arguments, refuse_unknown
from keras_hourglass.geometry import apply_affine
from keras_hourglass.io.images import warp
from keras_hourglass.io.structured import one_line
from keras_hourglass.network.compiling import loss_and_metrics
from keras_hourglass.network.model import StackedHourglass
from keras_hourglass.prediction.boxes import check_overlap, person_affines
from keras_hourglass.prediction.pictures import Pictures, open_pictures
from keras_hourglass.prediction.predictor import Predictor
from keras_hourglass.skeletons import Skeleton
from keras_hourglass.typing import Path, Size

FURTHEST = 1e6  # that a joint may lie from the corner of its picture, in pixels


@keras.saving.register_keras_serializable(package="keras_hourglass")
class PosePreprocessor(keras.layers.Layer):
    """Raw pictures, boxes and joints to what the network takes; a layer that computes in NumPy.

    Args:
        input_size: `(height, width)` of crops in input pixels.
        sigma: standard deviation of the Gaussians of targets, in heatmap pixels.
        stride: input pixels per heatmap pixel.
        **kwargs: `name`, `dtype` and `trainable` of `keras.layers.Layer`.

    Call arguments:
        x: pictures: an array `(N, height, width, 3)`, or a list of arrays, paths, PIL images; one
            alone counts as a list of one.
        y: `(N, K, 2)` joints `x, y` in pixels of the pictures, NaN where one is not labelled, or
            `(N, K, 3)` with its visibility, above 0 where it is labelled; `None` for none.
        boxes: `(N, 4)` rectangles `x, y, w, h` of the people, taken as they are; by default each
            picture shows one person, and all of it counts.

    Returns:
        `(N, height, width, 3)` uint8 crops, with `y` also the `(N, K, 4)` targets, see
        `HeatmapCodec.targets`.

    Raises:
        UserError: if there are no pictures, or not as many joints or boxes, or of another shape.

    Example:

    >>> pictures, joints = np.zeros((2, 40, 60, 3), np.uint8), [[[30, 20]], [[3, 4]]]
    >>> crops, targets = PosePreprocessor((32, 48))(pictures, joints)
    >>> crops.shape, (targets[0, 0, :2] * 30).round().tolist()
    ((2, 32, 48, 3), [167.0, 107.0])
    """

    def __new__(cls, *args, **kwargs):
        """Refuse unknown arguments before Python misses one that is needed."""
        own = ("input_size", "sigma", "stride")
        refuse_unknown("PosePreprocessor", kwargs, (*own, "name", "dtype", "trainable"))
        return super().__new__(cls, *args, **kwargs)

    def __init__(self, input_size: Size, sigma: float = 1.0, stride: int = 4, **kwargs):
        super().__init__(**kwargs)
        self.codec = HeatmapCodec(tuple(input_size), stride, sigma)
        self.built = True

    def __call__(self, x: Any, y: Any = None, boxes: Any = None) -> Any:
        opened = open_pictures(x)
        size = self.codec.input_size
        boxes = None if boxes is None else _rows(boxes, "boxes", (4,))
        crops, matrices = [], []
        for number, picture in enumerate(opened):
            image = picture.read()
            shown = np.array([[0.0, 0.0, image.shape[1], image.shape[0]]])
            if boxes is not None and number < len(boxes):
                shown = boxes[number : number + 1]
            check_overlap(shown, image, picture.name)
            [matrix] = person_affines(shown, size)
            crops.append(warp(image, matrix, size))
            matrices.append(matrix)
        if not crops:
            raise UserError("There must be a picture at least. Received: none. Give some.")
        _same_number(len(crops), boxes, "boxes")
        if y is None:
            return np.stack(crops)
        y = _rows(y, "joints", (None, 2), (None, 3))
        _same_number(len(crops), y, "joints")
        seen = np.isfinite(y[..., :2]).all(axis=-1)
        if y.shape[-1] == 3:
            seen &= y[..., 2] > 0
        if (np.abs(y[..., :2][seen]) > FURTHEST).any():
            raise UserError(
                f"Joints lie in pixels of their pictures, at most {FURTHEST:g} from their corner. "
                f"Received: {np.abs(y[..., :2][seen]).max():g}. Correct it, or say NaN for a joint "
                "that is not labelled."
            )
        pairs = zip(matrices, np.where(seen[..., None], y[..., :2], np.nan), strict=True)
        points = np.stack([apply_affine(matrix, joints) for matrix, joints in pairs])
        return np.stack(crops), self.codec.targets(points, seen)

    def get_config(self) -> dict:
        codec = self.codec
        return {
            **super().get_config(),
            "input_size": list(codec.input_size),
            "sigma": codec.sigma,
            "stride": codec.stride,
        }


@checks_arguments
class PoseEstimator:
    """A network with its preprocessing, on raw pictures: `compile`, `fit`, `evaluate`, `predict`.

    It is to a `StackedHourglass` what `keras_hub.models.ImageClassifier` is to a backbone. One
    person a picture, or a box; `Predictor` also finds people, and reads films and folders.

    Args:
        backbone: the `StackedHourglass`, which trains and holds the weights.
        preprocessor: a `PosePreprocessor`; by default one as the backbone's `preprocessing` says.

    Raises:
        UserError: if the backbone is something else, or the preprocessor makes crops of another
            size than it takes.

    Example:

    >>> backbone = StackedHourglass(
    ...     None, 1, 8, depth=1, input_shape=(32, 48, 3), skeleton=["tail", "nose"]
    ... )
    >>> estimator = PoseEstimator(backbone)
    >>> estimator.predict(np.zeros((3, 40, 60, 3), np.uint8)).shape
    (3, 2, 3)
    """

    def __init__(self, backbone: StackedHourglass, preprocessor: PosePreprocessor | None = None):
        if not isinstance(backbone, StackedHourglass):
            raise UserError(
                f"The backbone is a StackedHourglass. Received: {one_line(repr(backbone))}. Of a "
                "name or a folder, PoseEstimator.from_preset(...) makes an estimator."
            )
        if preprocessor is None:
            sigma = backbone.preprocessing.get("sigma", 1.0)
            preprocessor = PosePreprocessor(backbone.input_size, sigma, backbone.stride)
        if preprocessor.codec.input_size != tuple(backbone.input_size):
            raise UserError(
                f"The backbone takes crops of {tuple(backbone.input_size)}. Received: a "
                f"preprocessor that makes {preprocessor.codec.input_size}. Leave it out."
            )
        self.backbone, self.preprocessor = backbone, preprocessor
        self._predictor: Predictor | None = None

    @classmethod
    def from_preset(cls, source: Path, **options) -> "PoseEstimator":
        """A trained estimator, ready to predict or to be fine-tuned.

        Args:
            source: as for `StackedHourglass.from_preset`.
            **options: as there: `skeleton` for joints of your own, `load_weights`, ….

        Returns:
            The estimator, not compiled.
        """
        return cls(StackedHourglass.from_preset(source, **options))

    @property
    def skeleton(self) -> Skeleton | None:
        """Names the joints, in the order of the second axis of `predict`."""
        return self.backbone.skeleton

    def compile(
        self, optimizer: Any = "adam", loss: Any = "auto", metrics: Any = "auto", **options
    ) -> None:
        """Get ready for training.

        Args:
            optimizer: as in Keras.
            loss, metrics: as in Keras; by default as `network.loss_and_metrics` says.
            **options: the other arguments of `keras.Model.compile`.
        """
        own = loss_and_metrics(self.preprocessor.codec)
        loss = own["loss"] if isinstance(loss, str) and loss == "auto" else loss
        metrics = own["metrics"] if isinstance(metrics, str) and metrics == "auto" else metrics
        self.backbone.compile(optimizer, loss, metrics=metrics, **options)

    def fit(
        self, x: Any, y: Any, boxes: Any = None, validation_data: Any = None, **options
    ) -> keras.callbacks.History:
        """Train on pictures and joints, which are cut out once and kept in memory.

        Args:
            x, y, boxes: see `PosePreprocessor`.
            validation_data: `(x, y)` or `(x, y, boxes)` of other pictures.
            **options: `epochs`, `batch_size`, `callbacks` and the others of `keras.Model.fit`.

        Returns:
            Keras's `History`.
        """
        crops, targets = self._prepared(x, y, boxes)
        if validation_data is not None:
            parts = validation_data if isinstance(validation_data, (tuple, list)) else ()
            if len(parts) not in (2, 3):
                raise UserError(
                    "validation_data is (pictures, joints) or (pictures, joints, boxes). Received: "
                    f"{type(validation_data).__name__}"
                    f"{f' of {len(parts)} parts' if parts else ''}. Give these."
                )
            validation_data = self._prepared(*parts)
        return self.backbone.fit(crops, targets, validation_data=validation_data, **options)

    def evaluate(self, x: Any, y: Any, boxes: Any = None, **options) -> Any:
        """Loss and metrics on pictures and joints.

        Args:
            x, y, boxes: see `PosePreprocessor`.
            **options: `batch_size`, `return_dict` and the others of `keras.Model.evaluate`.

        Returns:
            What Keras returns.
        """
        return self.backbone.evaluate(*self._prepared(x, y, boxes), **options)

    def predict(self, x: Any, boxes: Any = None) -> np.ndarray:
        """The joints of one person in each picture, averaged with the mirrored picture's.

        Args:
            x, boxes: see `PosePreprocessor`.

        Returns:
            `(N, K, 3)` float64: x, y in pixels of the picture, and the score; of no pictures
            `(0, K, 3)`.
        """
        if self._predictor is None:
            mirrors = self.skeleton is not None and self.skeleton.mirrors
            self._predictor = Predictor(self.backbone, flip=mirrors, whole=True)
        pictures = list(open_pictures(x))
        if boxes is not None:
            boxes = _rows(boxes, "boxes", (4,))
            _same_number(len(pictures), boxes, "boxes")
        if not pictures:
            return np.zeros((0, self.backbone.num_keypoints, 3))
        opened = Pictures(pictures, len(pictures), "list")
        poses = self._predictor(opened, None if boxes is None else list(boxes))
        return np.stack([np.column_stack([pose.keypoints, pose.scores]) for pose in poses])

    def summary(self, **options) -> None:
        """Print the backbone's layers.

        Args:
            **options: as of `keras.Model.summary`.
        """
        self.backbone.summary(**options)

    def save_to_preset(self, folder: Path, **options) -> None:
        """Write a folder that `from_preset` loads, and that can be uploaded as it is.

        Args:
            folder: where to.
            **options: as of `StackedHourglass.save_to_preset`.
        """
        settings = {**self.backbone.preprocessing, "sigma": self.preprocessor.codec.sigma}
        self.backbone.save_to_preset(folder, **{"preprocessing": settings, **options})

    def _prepared(self, x, y, boxes=None):
        if y is None:
            raise UserError("Training and measuring need joints. Received: None. Give them as `y`.")
        crops, targets = self.preprocessor(x, y, boxes)
        if targets.shape[1] != self.backbone.num_keypoints:
            raise UserError(
                f"The network has {self.backbone.num_keypoints} joints. Received: "
                f"{targets.shape[1]} for each picture. "
                "Give as many, or load the network with their skeleton=[...]."
            )
        return crops, dict.fromkeys(self.backbone.output_names, targets)


def _rows(values, what, *shapes):
    """Values as an array with a row for each picture."""
    try:
        array = np.asarray(values, np.float64)
    except (TypeError, ValueError):
        array = np.zeros(())
    rest = array.shape[1:]
    for shape in shapes:
        if len(rest) == len(shape) and all(
            b in (None, a) for a, b in zip(rest, shape, strict=True)
        ):
            return array
    forms = {"boxes": "(N, 4), x, y, w, h", "joints": "(N, K, 2) or (N, K, 3), x, y, visibility"}
    raise UserError(
        f"`{what}` of N pictures are {forms[what]}. Received: {type(values).__name__} of shape "
        f"{array.shape}. Give one row for each picture."
    )


def _same_number(count, rows, what):
    if rows is not None and len(rows) != count:
        raise UserError(
            f"There must be a row of {what} for each picture. Received: {len(rows)} for {count} "
            "pictures. Give one for each."
        )
