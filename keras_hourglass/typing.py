"""Types that signatures name, and what only a value tells."""

import numbers
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


def is_number(value: Any) -> bool:
    """Whether a value is one finite real number."""
    return isinstance(value, numbers.Real) and bool(np.isfinite(float(value)))
