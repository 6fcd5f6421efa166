"""Videos that end before their announced end, or never begin."""

import logging
import subprocess
import sys

import numpy as np
import pytest

from keras_hourglass.errors import DataError
from keras_hourglass.prediction import pictures


class Capture:
    """An opened video of so many frames."""

    def __init__(self, frames):
        self.left = frames

    def read(self):
        self.left -= 1
        return self.left >= 0, np.zeros((48, 64, 3), np.uint8)

    def get(self, _):
        return 0.0

    def release(self):
        pass


def frames(there, announced):
    return list(pictures._frames(Capture(there), "v.mkv", 10.0, announced))


@pytest.mark.parametrize("there, announced", [(20, 20), (20, None), (18, 20), (1, 2)])
def test_a_whole_video_says_nothing(caplog, there, announced):
    """The announced number is often an estimate."""
    assert len(frames(there, announced)) == there and not caplog.records


def test_a_video_that_was_cut_says_so(caplog):
    with caplog.at_level(logging.WARNING, "keras_hourglass"):
        assert len(frames(8, 20)) == 8
    [record] = caplog.records
    assert "v.mkv ends after 8 of 20 announced frames" in record.getMessage()


@pytest.mark.parametrize("announced", [None, 20])
def test_a_video_without_frames_is_refused(announced):
    with pytest.raises(DataError, match="v.mkv, which has none"):
        frames(0, announced)


NO_VIDEOS = {
    "text.mp4": b"no video",
    "head.mp4": b"\0\0\0\x18ftypmp42\0\0\0\0mp42isom\0\0\0\x08free",
    "zeros.webm": bytes(5000),
    "cut.mkv": b"\x1a\x45\xdf\xa3\x01\0\0\0\0\0\0\x23",
    "cut.avi": b"RIFF\xff\xff\xff\x7fAVI LIST\x1b[31m",
    "empty.mkv": b"",
}


def test_what_is_no_video_is_one_line(tmp_path):
    """Whatever FFmpeg and OpenCV would print themselves, bytes of the file among it."""
    for name, content in NO_VIDEOS.items():
        (tmp_path / name).write_bytes(content)
    code = """
import os, sys
import cv2
from keras_hourglass.errors import UserError
from keras_hourglass.prediction.pictures import open_pictures
before = dict(os.environ)
for name in sys.argv[1:]:
    try:
        open_pictures(name)
    except UserError as error:
        print(error)
assert dict(os.environ) == before
"""
    paths = [str(tmp_path / name) for name in NO_VIDEOS]
    done = subprocess.run(
        [sys.executable, "-c", code, *paths], capture_output=True, text=True, errors="replace"
    )
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert len(lines) == len(NO_VIDEOS)
    for line, path in zip(lines, paths, strict=True):
        assert line.startswith(f"The video cannot be opened. Received: {path!r}")
