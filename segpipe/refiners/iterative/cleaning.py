"""Small flaws of a mask: holes, islands and cracks."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.vision.mask import Bitmap

_NEIGHBOURS = np.ones((3, 3), np.uint8)
_INSIDE_CONNECTIVITY = 8
_OUTSIDE_CONNECTIVITY = 4  # the usual complement, so that a diagonal line still bounds a hole


def clean(bits: Bitmap, max_flaw_ratio: float) -> Bitmap:
    """A bitmap without its small islands, cracks and holes, (h, w), a new array.

    What is small is measured by the object, not by the image: at 12 MP a thousandth of the image
    is the handle of a mug. Cracks are what a 3 x 3 closing fills.

    Args:
        bits: The object; what lies beyond its edges counts as outside.
        max_flaw_ratio: Islands and holes with fewer pixels than this part of the object go. The
            largest island always stays.
    """
    limit_px = max_flaw_ratio * int(np.count_nonzero(bits))
    closed = _closed(_without_islands(bits, limit_px))
    # Last, because a closing may bridge a crack into a hole.
    return _without_holes(closed, limit_px)


def _closed(bits: Bitmap) -> Bitmap:
    # Framed, because OpenCV would join the object to an edge that it nearly reaches.
    framed = cv2.morphologyEx(np.pad(bits, 1), cv2.MORPH_CLOSE, _NEIGHBOURS)
    return np.asarray(framed[1:-1, 1:-1], np.uint8)


def _without_islands(bits: Bitmap, limit_px: float) -> Bitmap:
    if _is_simple(bits):
        return bits
    component, area = _components(bits, _INSIDE_CONNECTIVITY)
    stays = area >= limit_px
    stays[0] = False  # label 0 is the background
    if len(area) > 1:
        stays[1 + np.argmax(area[1:])] = True
    kept: Bitmap = stays.astype(np.uint8)[component]
    return kept


def _without_holes(bits: Bitmap, limit_px: float) -> Bitmap:
    if _is_simple(bits):
        return bits
    # A frame joins all that reaches the edge, which is no hole.
    outside = np.pad(1 - bits, 1, constant_values=1)
    component, area = _components(outside, _OUTSIDE_CONNECTIVITY)
    is_filled = area < limit_px
    is_filled[0] = True  # label 0 is the object itself
    is_filled[component[0, 0]] = False
    filled: Bitmap = is_filled.astype(np.uint8)[component[1:-1, 1:-1]]
    return filled


def _is_simple(bits: Bitmap) -> bool:
    """Whether it is one island without a hole, as most are; this is soon seen from its outlines."""
    outlines, _ = cv2.findContours(bits, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    return len(outlines) <= 1


def _components(bits: Bitmap, connectivity: int) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """The component that each pixel belongs to, (h, w), and the pixels of each component."""
    _, component, stats, _ = cv2.connectedComponentsWithStats(bits, connectivity=connectivity)
    return np.asarray(component, np.int32), np.asarray(stats[:, cv2.CC_STAT_AREA], np.int32)
