"""Videos that end before their announced end, or never begin."""

import logging

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
