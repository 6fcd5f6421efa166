"""Pictures on their way to the network: read, cut into people, gathered into full batches."""

import collections
import concurrent.futures
import dataclasses

import numpy as np

from keras_hourglass.errors import UserError
from keras_hourglass.io.images import warp
from keras_hourglass.prediction.boxes import check_overlap, person_affines
from keras_hourglass.typing import Column


@dataclasses.dataclass
class Prepared:
    """A picture that has been read and cropped, or the `error` that prevented it.

    Attributes:
        picture: the opened picture.
        image: `(height, width, 3)` RGB array.
        rectangles: `(P, 4)` or, with scores, `(P, 5)` people in source pixels.
        matrices: `(P, 2, 3)` maps from source to input pixels.
        crops: P `(H, W, 3)` arrays.
        error: a `UserError`, or `None`.
    """

    picture: object
    image: np.ndarray | None = None
    rectangles: Column = ()
    matrices: Column = ()
    crops: list = dataclasses.field(default_factory=list)
    error: Exception | None = None


class Cropper:
    """Reads a picture and cuts out its people; may be called from several threads.

    Args:
        rectangles: the given `Rectangles`.
        detector: finds people where none are given, see `Predictor`; `None` for the whole picture.
        input_size: `(height, width)` of crops in input pixels.
        padding: factor by which given and found boxes grow.
    """

    def __init__(self, rectangles, detector, input_size, padding):
        self.rectangles, self.detector = rectangles, detector
        self.input_size, self.padding = input_size, padding

    def __call__(self, picture, index):
        """The `Prepared` picture; `index` is its place in the source."""
        prepared = Prepared(picture)
        try:
            prepared.image = image = picture.read()
            found, padding = self._people(picture, index, image)
            check_overlap(found, image, picture.name)
            matrices = person_affines(found, self.input_size, padding)
            prepared.crops = [warp(image, matrix, self.input_size) for matrix in matrices]
            prepared.rectangles, prepared.matrices = found, matrices
        except UserError as error:
            prepared.error = error
        return prepared

    def _people(self, picture, index, image):
        """Rectangles, and by how much they grow."""
        found = self.rectangles.of(picture, index)
        if found is None and self.detector is not None:
            found = np.asarray(self.detector(image), np.float64)
            found = found if found.size else np.zeros((0, 4))
        if found is None:
            return np.array([[0.0, 0.0, image.shape[1], image.shape[0]]]), 1.0
        return found, self.padding


def groups(pictures, cropper, readers, batch_size):
    """Lists of whole `Prepared` pictures, in order, that together fill a batch.

    Args:
        pictures: the opened `Pictures`.
        cropper: prepares one, see `Cropper`.
        readers: the executor it runs in, ahead of what is asked for.
        batch_size: people that fill a batch.
    """
    ahead = 1 if pictures.kind == "camera" else 2 * batch_size
    waiting: collections.deque = collections.deque()
    group, people = [], 0
    source = enumerate(pictures)
    try:
        while True:
            while len(waiting) < ahead:
                index, picture = next(source, (None, None))
                if picture is None:
                    break
                waiting.append(readers.submit(cropper, picture, index))
            if not waiting:
                break
            prepared = waiting.popleft().result()
            group.append(prepared)
            people += len(prepared.crops)
            # A camera shows every picture at once; a long row of pictures without anybody
            # should not pile up either.
            if people >= batch_size or len(group) >= ahead:
                yield group
                group, people = [], 0
        if group:
            yield group
    finally:  # also where nobody wants the rest
        concurrent.futures.wait([future for future in waiting if not future.cancel()])


class Here:
    """An executor without threads: what is handed over is done at once."""

    def submit(self, function, *arguments):
        future: concurrent.futures.Future = concurrent.futures.Future()
        future.set_result(function(*arguments))
        return future
