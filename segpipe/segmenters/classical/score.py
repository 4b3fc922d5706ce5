"""How sure the classical segmenter is of an item."""

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.vision.mask import Bitmap

_HALF_CONTRAST = 10.0  # Delta E at which the contrast counts one half
_DIGITS = 4  # more is rounding noise, and would order equal items by it


def score_item(bits: Bitmap, distance: NDArray[np.float32]) -> float:
    """Contrast times compactness, 0 to 1.

    Contrast is d / (d + 10) for the median colour distance d; compactness is the part of its
    convex hull that the item fills.

    Args:
        bits: The item, (h, w), 0 or 1, at least one pixel.
        distance: Distance of each pixel to the background's colour, (h, w), Delta E.
    """
    inside = bits.astype(np.bool_)
    median = float(np.median(distance[inside]))
    hull = np.zeros_like(bits)
    cv2.fillConvexPoly(hull, cv2.convexHull(cv2.findNonZero(bits)), (1,))
    solidity = np.count_nonzero(inside) / np.count_nonzero(hull)
    return round(float(median / (median + _HALF_CONTRAST) * solidity), _DIGITS)
