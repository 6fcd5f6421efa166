"""Data sets that fail in a worker process, which has to import them."""

import os
import pathlib
import signal

from keras_hourglass.data.pipeline import PoseDataset
from keras_hourglass.errors import RecipeError

_HOME = "KERAS_HOURGLASS_TEST_HOME"


def at_home():
    """Say that this process is the one that trains."""
    os.environ[_HOME] = str(os.getpid())


def away():
    return os.environ[_HOME] != str(os.getpid())


class Deadly(PoseDataset):
    """Step 1 kills the process that prepares it: as often as there are lives in a file."""

    def __init__(self, *arguments, lives, **options):
        super().__init__(*arguments, **options)
        self.lives = pathlib.Path(lives)

    def batch(self, step, epoch=0):
        left = int(self.lives.read_text())
        if step == 1 and away() and left:
            self.lives.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().batch(step, epoch)


class TwoPartError(RecipeError):
    """Cannot be made again from its message alone."""

    def __init__(self, rule, value):
        super().__init__(f"{rule}. Received: {value}.")


class Refusing(PoseDataset):
    """Each step fails in a way of its own."""

    def batch(self, step, epoch=0):
        if step == 0:
            raise RecipeError("data.train: no good. Received: this.")
        if step == 1:
            raise TwoPartError("A rule", "a value")
        if step == 2:
            raise KeyError("a defect")
        return super().batch(step, epoch)
