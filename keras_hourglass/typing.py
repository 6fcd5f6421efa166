"""Types that signatures name."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

# Taken by functions that make an array of it: nested lists and tuples do as well.
Array = np.ndarray | Sequence
Path = str | os.PathLike
Size = tuple[int, ...]  # height, width

if TYPE_CHECKING:
    # Of a dataclass: given as an `Array`, an array ever after; type checkers have no word for it.
    Column = Any
else:
    Column = np.ndarray
