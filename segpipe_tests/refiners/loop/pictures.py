"""One small picture with two items, their masks, and bitmaps for hypothesis."""

import cv2
import numpy as np
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Bitmap, Mask

WIDTH, HEIGHT = 200, 150


def picture() -> RgbImage:
    coarse = np.random.default_rng(0).integers(0, 256, (6, 8, 3), np.uint8)
    smooth = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_CUBIC)
    return np.asarray(smooth, np.uint8)


def disc(x: int, y: int, radius: int) -> Mask:
    full = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(full, (x, y), radius, (1,), cv2.FILLED)
    return Mask.from_full(full)


def box(x1: int, y1: int, x2: int, y2: int) -> Mask:
    return Mask(x1, y1, np.ones((y2 - y1, x2 - x1), np.uint8), WIDTH, HEIGHT)


def two_masks() -> tuple[Mask, Mask]:
    """One with background in its box, and one without."""
    return disc(60, 60, 30), box(120, 80, 170, 120)


any_bitmap: st.SearchStrategy[Bitmap] = arrays(
    np.uint8,
    st.tuples(st.integers(1, 24), st.integers(1, 24)),
    elements=st.integers(0, 1),
)
"""Any pixels, empty and full included."""

bitmap = any_bitmap.filter(lambda bits: bool(bits.any()))
"""Any pixels, at least one of them inside."""
