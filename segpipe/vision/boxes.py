"""Boxes: absolute pixels ``xyxy``, float, half-open, in the upright image."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BoxArray = NDArray[np.float64]
"""Shape (n, 4), ``xyxy``."""


class Box(NamedTuple):
    """One box, ``xyxy`` in pixels, half-open: a box of one pixel is (x, y, x + 1, y + 1)."""

    x1: float
    y1: float
    x2: float
    y2: float
