"""Joints from a model in TensorFlow Serving, `keras-hourglass serve` or behind KServe's v2."""

import concurrent.futures
import os
import threading
import time
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tenacity

from keras_hourglass.codec import present_from
from keras_hourglass.errors import (
    DataError,
    ServerUnavailable,
    ServingError,
    UserError,
    checks_arguments,
    did_you_mean,
)
from keras_hourglass.geometry import boxes_from_xywh
from keras_hourglass.io.images import MAX_PIXELS, check_pixels, image_size, shown_size
from keras_hourglass.io.structured import boundary, parse_json, shorten
from keras_hourglass.prediction.pose import Pose
from keras_hourglass.serving.transports import GrpcTransport, KServeTransport, RestTransport
from keras_hourglass.skeletons import Skeleton, get_skeleton
from keras_hourglass.typing import Array

_LARGEST = 1e9  # coordinate or score, as in files of predictions
TRANSPORTS = {"grpc": GrpcTransport, "rest": RestTransport, "kserve": KServeTransport}


@checks_arguments
class Client:
    """Ask a served model for joints; the results are those of `Predictor`.

    Threads may share a client.

    Args:
        url: `"host:8500"` for gRPC, `"http://host:8501"` or `"https://…"` for the others.
        protocol: `"grpc"` (needs `pip install keras_hourglass[serving]`), `"rest"`, or `"kserve"`
            for KServe's v2 protocol over HTTP, which Triton and others speak, too.
        model: name of the model on the server.
        version: number of its version; the highest by default.
        timeout: seconds for one request with all its retries.
        retries: how often a request is sent again when the server is unavailable. Waiting times
            double from `backoff` seconds on, with a random part, so that many clients do not
            come back at the same moment.
        backoff: seconds before the first retry.
        batch_size: most people in one request.
        concurrency: requests under way at the same time for a list of pictures.
        max_bytes: most bytes of one picture's file, and of the pictures of one request.
        max_pixels: most pixels of one picture; more are refused without sending them.
        tls: credentials for encryption: `True` for the system's certificates,
            `grpc.ChannelCredentials` for gRPC or an `ssl.SSLContext` for REST.

    Raises:
        UserError: if an argument is out of range or a package is missing.

    Example:

    >>> with Client("localhost:8500", model="pose") as client:  # doctest: +SKIP
    ...     poses = client.predict("photo.jpg", boxes=[[10, 20, 100, 200]])
    """

    def __init__(
        self,
        url: str,
        protocol: str = "grpc",
        model: str = "stacked_hourglass",
        version: int | None = None,
        timeout: float = 30.0,
        retries: int = 4,
        backoff: float = 0.1,
        batch_size: int = 8,
        concurrency: int = 2,
        max_bytes: int = 32 * 2**20,
        max_pixels: int = MAX_PIXELS,
        tls: Any = None,
    ):
        if protocol not in TRANSPORTS:
            raise UserError(
                f"`protocol` must be one of {', '.join(TRANSPORTS)}. Received: {protocol!r}."
                f"{did_you_mean(str(protocol), TRANSPORTS)}"
            )
        for name, value, least in (
            ("timeout", timeout, 0.001),
            ("retries", retries, 0),
            ("backoff", backoff, 0),
            ("batch_size", batch_size, 1),
            ("concurrency", concurrency, 1),
        ):
            if not value >= least:
                raise UserError(f"`{name}` must be at least {least}. Received: {value!r}.")
        tls = _credentials(protocol) if tls is True else tls
        self._transport: Any = TRANSPORTS[protocol](url, model, version, tls)
        self.timeout, self.retries, self.backoff = float(timeout), int(retries), float(backoff)
        self.batch_size, self.concurrency = int(batch_size), int(concurrency)
        self.max_bytes, self.max_pixels = int(max_bytes), int(max_pixels)
        self._url = str(url).rpartition("@")[2]  # without a password
        self._metadata, self._lock = {}, threading.Lock()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self) -> None:
        """Close the connection; the client cannot be used any more."""
        self._transport.close()
        self._transport = _Closed()

    def predict(self, image: Any, boxes: Array | None = None) -> list[Pose]:
        """The people of one picture.

        Args:
            image: path or bytes of a JPEG or PNG file.
            boxes: `(P, 4)` rectangles `x, y, w, h` in source pixels; by default one person who
                fills the picture.

        Returns:
            List of `Pose`, one per box.

        Raises:
            DataError: if the file cannot be read, here or by the server.
            ServingError: if the server gives no answer.
        """
        poses = self.predict_many([image], None if boxes is None else [boxes])[0]
        if any(np.isnan(pose.keypoints).all() for pose in poses):
            raise DataError(
                f"A whole JPEG or PNG picture is needed. Received: {_name(image)}, which the "
                "server could not read. Convert or replace it."
            )
        return poses

    def predict_many(self, images: Iterable, boxes: Sequence | None = None) -> list[list[Pose]]:
        """The people of many pictures, several in one request and several requests at a time.

        Args:
            images: list of paths or bytes.
            boxes: list of `(P, 4)` rectangles `x, y, w, h`, one entry for each picture.

        Returns:
            List of lists of `Pose`. Those of a picture that the server cannot read have NaN
            joints, none of them present.

        Raises:
            DataError: if a file is missing, no picture or too large to send.
            ServingError: if the server gives no answer.
        """
        images = list(images)
        if boxes is not None and len(boxes) != len(images):
            raise UserError(
                f"One entry of boxes per picture is needed. Received: {len(boxes)} for "
                f"{len(images)} pictures. Use an empty list for a picture without people."
            )
        people: list = []
        for index, image in enumerate(images):
            data, size = self._load(image)
            if boxes is None:
                people.append((index, data, np.array([0, 0, size[1], size[0]], np.float32), True))
                continue
            rectangles = np.asarray(boxes[index], np.float64).reshape(-1, 4)
            boxes_from_xywh(rectangles)  # refuses what is not finite or empty
            people += [(index, data, box, False) for box in rectangles.astype(np.float32)]
        if not people:
            return [[] for _ in images]
        skeleton = self.skeleton
        with self._understood():
            thresholds = present_from(skeleton, self.metadata.get("thresholds", {}))
        with concurrent.futures.ThreadPoolExecutor(self.concurrency) as pool:
            answers = list(pool.map(self._predict_batch, self._batches(people)))
        results = [[] for _ in images]
        for (index, data, box, _), (keypoints, scores, present) in zip(
            people, (row for rows in answers for row in rows), strict=True
        ):
            name = _name(images[index])
            with self._understood():
                truths = _truths(present)
                pose = Pose(
                    keypoints, scores, box, skeleton, truths, name, data, thresholds=thresholds
                )
            results[index].append(pose)
        return results

    def heatmaps(self, crops: Array) -> dict[str, np.ndarray]:
        """Heatmaps of every stack.

        Args:
            crops: `(N, height, width, 3)` RGB pixels 0–255 of the network's input size.

        Returns:
            Dict `{"stack_1": ...}` of float32 arrays `(N, H, W, K)`.
        """
        crops = np.asarray(crops, np.float32)
        outputs = self._request("heatmaps", {"images": crops})
        with self._understood(), np.errstate(over="ignore"):
            return {key or "stack_1": value.astype(np.float32) for key, value in outputs.items()}

    @property
    def metadata(self) -> dict:
        """What the server says of its model: names of joints, sizes, thresholds, versions."""
        with self._lock:
            if not self._metadata:
                outputs = self._request("metadata", {"query": [b""]})
                with self._understood():
                    document = np.ravel([*outputs.values()][0])[0]
                    if not isinstance(document, (str, bytes)):
                        raise TypeError(f"a description is text and not {shorten(document)}")
                    found = parse_json(document, self._url, "answer of", ServingError)
                    self._metadata = dict(found)
            return self._metadata

    @property
    def skeleton(self) -> Skeleton:
        """The `Skeleton` of the served model."""
        metadata = self.metadata
        with self._understood():
            known = metadata["skeleton"]
            return get_skeleton(known) if known else Skeleton("served", metadata["joints"])

    def status(self) -> dict[int, str]:
        """Versions of the model on the server and their states, e.g. `{1: "AVAILABLE"}`."""
        with self._understood():
            return self._transport.status(self.timeout)

    def is_healthy(self) -> bool:
        """Whether the server answers and has a version that takes requests."""
        try:
            return "AVAILABLE" in self.status().values()
        except ServingError:
            return False

    def _load(self, image):
        """Bytes of a picture and its size, refusing what is better not sent."""
        name = _name(image)
        if isinstance(image, (bytes, bytearray, memoryview)):
            data = bytes(image)
        else:
            length = os.path.getsize(image) if os.path.isfile(image) else 0
            self._check_length(length, name)
            try:
                with open(image, "rb") as file:
                    data = file.read()
            except (OSError, ValueError) as error:
                raise DataError(
                    f"A readable picture is needed. Received: {name} "
                    f"({getattr(error, 'strerror', None) or error}). Correct the path."
                ) from error
        self._check_length(len(data), name)
        height, width = image_size(data, name)
        check_pixels((height, width), self.max_pixels, name)
        return data, shown_size(data)

    def _check_length(self, length, name):
        if length > self.max_bytes:
            raise DataError(
                f"Files may have at most {self.max_bytes:,} bytes. Received: {name} with "
                f"{length:,}. Make it smaller, or raise max_bytes=…."
            )

    def _batches(self, people):
        """Groups of people within the limits of one request, all with or all without boxes."""
        batch, length = [], 0
        for person in people:
            too_long = length + len(person[1]) > self.max_bytes
            if batch and (len(batch) == self.batch_size or too_long):
                yield batch
                batch, length = [], 0
            batch.append(person)
            length += len(person[1])
        yield batch

    def _predict_batch(self, batch):
        """Rows of keypoints, scores and presence."""
        encoded = [data for _, data, _, _ in batch]
        if batch[0][3]:
            outputs = self._request("serving_default", {"image_bytes": encoded})
        else:
            boxes = np.stack([box for _, _, box, _ in batch])
            outputs = self._request("predict_boxes", {"image_bytes": encoded, "boxes": boxes})
        shape = (len(batch), self.skeleton.num_joints)
        with self._understood():
            keypoints = _numbers(outputs, "keypoints", (*shape, 2))
            scores = _numbers(outputs, "scores", shape)
            present = _checked(outputs, "present", shape)
        return list(zip(keypoints, scores, present, strict=True))

    def _request(self, signature, inputs):
        """Predict, again and again while the server is unavailable and time is left."""
        end = time.monotonic() + self.timeout
        # Half of each waiting time is drawn.
        half = self.backoff / 2
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(ServerUnavailable),
            stop=tenacity.stop_after_attempt(self.retries + 1)
            | tenacity.stop_before_delay(self.timeout),
            wait=tenacity.wait_exponential(half) + tenacity.wait_random_exponential(half),
            reraise=True,
        )
        with self._understood():
            return attempts(
                lambda: self._transport.predict(
                    signature, inputs, max(end - time.monotonic(), 0.001)
                )
            )

    def _understood(self):
        """Whatever an answer of another's server leads to is one line."""
        return boundary(self._url, "answer of", "Check the model's name and server", ServingError)


class _Closed:
    """The transport of a client that was closed."""

    def predict(self, *_):
        raise UserError(
            "A client can be used until it is closed. Received: a request. Make a new one."
        )

    status = predict

    def close(self):
        """Nothing is open."""


def _credentials(protocol):
    if protocol != "grpc":
        return None
    import grpc

    return grpc.ssl_channel_credentials()


def _checked(outputs, name, shape):
    """An output of the shape that joints of so many people have."""
    values = np.asarray(outputs.get(name))
    if values.shape != shape:
        raise ServingError(
            "A model exported by this package answers with keypoints, scores and present for each "
            f"person. Received: {name} of shape {shorten(values.shape)} instead of {shape}. "
            "Check the model's name."
        )
    return values


def _numbers(outputs, name, shape):
    """The same, of numbers that a picture can have; NaN for what the server could not read."""
    values = _checked(outputs, name, shape)
    if values.dtype.kind == "O":  # of JSON's null
        values = values.astype(np.float64)
    if values.dtype.kind not in "fiu" or (np.abs(values) > _LARGEST).any():
        raise ServingError(
            f"Coordinates and scores are numbers up to {_LARGEST:g}. Received: "
            f"{name}={shorten(values.tolist())}. Check the model's name and server."
        )
    return values


def _truths(values):
    """True and false (or 1 and 0) of an answer; the text "false" would count as true."""
    truths = np.asarray(values)
    if truths.dtype.kind not in "biuf" or not np.isin(truths, (0, 1)).all():
        raise ServingError(
            "Whether joints are present is said by true and false. Received: "
            f"{str(values)[:100]}. Check the model's name and server."
        )
    return truths.astype(bool)


def _name(image):
    return "bytes" if isinstance(image, (bytes, bytearray, memoryview)) else os.fspath(image)
