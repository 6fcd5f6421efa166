"""Generated figures with exact joints, so that everything runs on a machine without data.

`series` makes pictures, joints and records of them; `pose` poses a figure, `drawing`, `head` and
`pen` draw it, `scene` is what is behind and before it. Weights are trained on these very pixels.
"""

from typing import TYPE_CHECKING

from keras_hourglass.faces import lazy

if TYPE_CHECKING:
    from keras_hourglass.data.figures.series import (
        DEFAULT_SIZE,
        PREFIX,
        joints,
        render,
        render_named,
        synthetic_records,
        write_dataset,
    )

_SERIES = (
    "DEFAULT_SIZE",
    "PREFIX",
    "joints",
    "render",
    "render_named",
    "synthetic_records",
    "write_dataset",
)
__getattr__, __dir__, __all__ = lazy(__name__, dict.fromkeys(_SERIES, "series"))
