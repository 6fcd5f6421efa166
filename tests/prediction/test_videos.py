"""Videos: people followed, frames that are lost, times, encoders."""

import json

import cv2
import numpy as np
import pytest
from colour_engine import ColourEngine, paint

from keras_hourglass import Predictor, Skeleton, StackedHourglass
from keras_hourglass.errors import DataError, UserError
from keras_hourglass.prediction import encoding
from keras_hourglass.prediction.pictures import open_pictures
from keras_hourglass.prediction.writing import VideoWriter

SIZE = (128, 64)
PERSON = Skeleton("three", ("nose", "left_wrist", "right_wrist"), pairs=())
POINTS = ((40, 30), (120, 90), (150, 20))


def frames_of(count, step=4):
    return [paint(120, 400, *[(x + step * n, y) for x, y in POINTS]) for n in range(count)]


def film(path, frames, fps=12.5, codec="MJPG"):
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), fps, (width, height))
    for frame in frames:
        writer.write(frame[..., ::-1].copy())
    writer.release()
    return str(path)


@pytest.fixture
def predictor():
    model = StackedHourglass(num_features=4, depth=1, input_shape=(*SIZE, 3), skeleton=PERSON)
    looks = []

    def detect(image):
        """The person as a detector sees it: a box around what is bright."""
        looks.append(1)
        rows, columns = np.nonzero(image.max(axis=2) > 100)
        if not len(rows):
            return []
        top, bottom, left, right = rows.min(), rows.max(), columns.min(), columns.max()
        return [[left - 10, top - 10, right - left + 20, bottom - top + 20, 0.9]]

    made = Predictor(model, engine=ColourEngine(SIZE), decoder="dark", detector=detect)
    made.looks = looks
    return made


def test_the_detector_runs_in_every_nth_frame(predictor, tmp_path):
    path = film(tmp_path / "film.avi", frames_of(12))
    for every, looks in ((1, 12), (5, 3), (50, 1)):
        predictor.looks.clear()
        results = list(predictor.track(path, every=every, smooth=False))
        assert [result.frame for result in results] == list(range(12))
        assert [result.ids for result in results] == [[1]] * 12
        assert len(predictor.looks) == looks
        for n, result in enumerate(results):
            expected = [(x + 4 * n, y) for x, y in POINTS]
            np.testing.assert_allclose(result[0].keypoints, expected, atol=4)
    assert results[3].seconds == pytest.approx(3 / 12.5, abs=1e-3)


def test_who_appears_later_is_found_at_the_next_look(predictor):
    dark = np.zeros((120, 400, 3), np.uint8)
    shown = [dark] * 4 + frames_of(8)
    results = list(predictor.track(shown, every=5))
    assert [len(result) for result in results] == [0] * 5 + [1] * 7
    left = list(predictor.track(frames_of(3) + [dark] * 4, every=2))
    assert [result.ids for result in left] == [[1]] * 3 + [[]] * 4


def test_given_boxes_stay(predictor):
    results = list(predictor.track(frames_of(3, step=1), boxes=[20, 10, 150, 100]))
    assert [result[0].box.tolist() for result in results] == [[20, 10, 150, 100]] * 3
    assert [result.ids for result in results] == [[1]] * 3 and not predictor.looks


@pytest.mark.parametrize("every", [0, -1, 2.5, True])
def test_every_is_a_number_of_frames(predictor, every):
    with pytest.raises(UserError, match="positive number of frames"):
        predictor.track([], every=every)


def test_following_ends_where_nobody_wants_more(predictor):
    asked = []

    def endless():
        while True:
            asked.append(1)
            yield from frames_of(1)

    results = predictor.track(endless())
    assert next(results).ids == [1]
    results.close()
    assert len(asked) <= 3


class Damaged:
    """A capture of ten frames of which some cannot be decoded, with times of a variable rate."""

    times = (0, 40, 60, 100, 180, 200, 240, 300, 340, 400)
    lost = (3, 4, 9)

    def __init__(self, source):
        self.at, self.released = -1, False

    def isOpened(self):
        return True

    def get(self, what):
        return {
            cv2.CAP_PROP_FPS: 25.0,
            cv2.CAP_PROP_FRAME_HEIGHT: 120.0,
            cv2.CAP_PROP_FRAME_WIDTH: 400.0,
            cv2.CAP_PROP_FRAME_COUNT: 10.0,
            cv2.CAP_PROP_POS_MSEC: float(self.times[min(self.at, 9)]),
        }[what]

    def read(self):
        self.at += 1
        if self.at > 9 or self.at in self.lost:
            return False, None
        return True, np.full((40, 60, 3), self.at, np.uint8)

    def release(self):
        self.released = True


def test_a_damaged_frame_does_not_end_a_video(predictor, tmp_path, monkeypatch):
    (tmp_path / "film.mp4").write_bytes(b"-")
    monkeypatch.setattr(cv2, "VideoCapture", Damaged)
    pictures = list(open_pictures(tmp_path / "film.mp4"))
    # The last is missing at the end, where the container's count may be wrong.
    assert [picture.frame for picture in pictures] == list(range(9))
    assert [isinstance(picture.source, DataError) for picture in pictures] == [
        frame in (3, 4) for frame in range(9)
    ]
    times = [picture.seconds for picture in pictures]
    np.testing.assert_allclose(times, np.array(Damaged.times[:9]) / 1000)
    results = list(predictor.track(tmp_path / "film.mp4", on_error="keep"))
    assert [result.error is None for result in results] == [n not in (3, 4) for n in range(9)]
    with pytest.raises(DataError, match="frame 3 of"):
        list(predictor.track(tmp_path / "film.mp4"))


def test_a_file_with_damaged_bytes(predictor, tmp_path):
    path = tmp_path / "film.avi"
    film(path, frames_of(10))
    data = bytearray(path.read_bytes())
    start = len(data) // 2
    data[start : start + 900] = bytes(900)
    path.write_bytes(data)
    results = list(predictor.track(path, on_error="keep"))
    assert results[-1].frame == 9 and len(results) == 10
    assert sum(result.error is None for result in results) >= 8


def test_lost_frames_keep_their_place(predictor, tmp_path, monkeypatch):
    (tmp_path / "film.mp4").write_bytes(b"-")
    with monkeypatch.context() as patch:
        patch.setattr(cv2, "VideoCapture", Damaged)
        results = list(predictor.stream(tmp_path / "film.mp4", on_error="keep"))
    with VideoWriter(tmp_path, "out", "film.mp4", PERSON, 25.0) as writer:
        for result in results:
            writer.add(result)
    document = json.loads((tmp_path / "out.json").read_text())
    assert [frame["frame"] for frame in document["frames"]] == list(range(9))
    assert [frame.get("lost", False) for frame in document["frames"]] == [
        n in (3, 4) for n in range(9)
    ]
    assert document["frames"][4]["seconds"] == 0.18
    written = cv2.VideoCapture(str(tmp_path / "out.mp4"))
    assert written.get(cv2.CAP_PROP_FRAME_COUNT) == 9


@pytest.mark.parametrize("size", [(64, 48), (63, 47)])
def test_h264_where_the_encoder_is_there(tmp_path, size):
    if encoding.find_ffmpeg() is None:
        pytest.skip("no ffmpeg on this machine")
    encoder = encoding.open_encoder(tmp_path / "a.mp4", size, 12.5)
    for value in range(6):
        encoder.write(np.full((size[1], size[0], 3), 40 * value, np.uint8))
    encoder.close()
    encoder.close()  # once more is nothing
    found = cv2.VideoCapture(str(tmp_path / "a.mp4"))
    codec = int(found.get(cv2.CAP_PROP_FOURCC)).to_bytes(4, "little")
    assert encoder.codec == encoding.H264 and codec in (b"h264", b"avc1")
    assert found.get(cv2.CAP_PROP_FRAME_COUNT) == 6
    assert found.get(cv2.CAP_PROP_FPS) == pytest.approx(12.5)
    assert (found.get(cv2.CAP_PROP_FRAME_WIDTH), found.get(cv2.CAP_PROP_FRAME_HEIGHT)) == (64, 48)


def test_without_an_encoder_it_is_said(tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "find_ffmpeg", lambda: None)
    encoder = encoding.open_encoder(tmp_path / "a.mp4", (64, 48), 25)
    encoder.write(np.zeros((48, 64, 3), np.uint8))
    encoder.close()
    assert encoder.codec == encoding.MPEG4 and (tmp_path / "a.mp4").stat().st_size > 0


def test_an_ffmpeg_that_cannot(tmp_path, monkeypatch):
    """A program without the encoder, and a folder that is not there."""
    broken = tmp_path / "ffmpeg"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    monkeypatch.setattr(encoding, "find_ffmpeg", lambda: str(broken))
    assert encoding.open_encoder(tmp_path / "a.mp4", (64, 48), 25).codec == encoding.MPEG4
    monkeypatch.undo()
    if encoding.find_ffmpeg() is None:
        pytest.skip("no ffmpeg on this machine")
    encoder = encoding.FfmpegEncoder(encoding.find_ffmpeg(), tmp_path / "no/a.mp4", (64, 48), 25)
    with pytest.raises(UserError, match="ffmpeg cannot write a video of 64x48"):
        for _ in range(100):
            encoder.write(np.zeros((48, 64, 3), np.uint8))
        encoder.close()


def test_frames_of_too_many_pixels(tmp_path):
    path = film(tmp_path / "film.avi", frames_of(3))
    content = bytearray((tmp_path / "film.avi").read_bytes())
    at, frames = content.find(b"strf") + 12, 0  # where the container says them
    content[at : at + 8] = (9000).to_bytes(4, "little") + (8000).to_bytes(4, "little")
    at = content.find(b"\xff\xc0")  # where each frame does
    while at >= 0:
        content[at + 5 : at + 9] = (8000).to_bytes(2, "big") + (9000).to_bytes(2, "big")
        frames, at = frames + 1, content.find(b"\xff\xc0", at + 4)
    assert frames == 3
    (tmp_path / "film.avi").write_bytes(content)
    with pytest.raises(DataError, match="at most 50,000,000 pixels.*film.avi with 9000×8000"):
        open_pictures(path)
