"""What two answers to one photo have in common and what not, drawn into it."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.vision.canvas import reduce_to
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

BOTH, ONLY_A, ONLY_B = (40, 160, 90), (214, 96, 30), (50, 90, 210)
"""Colours of the difference, RGB; hatching tells them apart, too."""
_TINT = 0.5
_HATCH_PX = 6


def draw_difference(
    rgb: RgbImage, a: Sequence[Mask], b: Sequence[Mask], *, max_side_px: int = 1600
) -> RgbImage:
    """What both have, what only the one has (hatched upward) and only the other (downward).

    Args:
        rgb: The upright photo, (h, w, 3) uint8.
        a: Masks of the one.
        b: Masks of the other.
        max_side_px: The longest side of the drawing.
    """
    drawn = reduce_to(rgb, max_side_px).copy()
    height, width = drawn.shape[:2]
    in_a, in_b = (_covered(masks, width, height) for masks in (a, b))
    rows, columns = np.indices((height, width), np.int32)
    upward = (rows + columns) // _HATCH_PX % 2 == 0
    downward = (rows - columns) // _HATCH_PX % 2 == 0
    for where, colour in (
        (in_a & in_b, BOTH),
        (in_a & ~in_b & upward, ONLY_A),
        (in_b & ~in_a & downward, ONLY_B),
    ):
        tint = np.array(colour, np.float32) * _TINT
        drawn[where] = (drawn[where] * (1 - _TINT) + tint).astype(np.uint8)
    return drawn


def _covered(masks: Sequence[Mask], width: int, height: int) -> NDArray[np.bool_]:
    """Where a mask is, in a picture of this size; (h, w) bool."""
    covered = np.zeros((height, width), np.bool_)
    for mask in masks:
        across, down = width / mask.image_width, height / mask.image_height
        x1, y1 = int(mask.x * across), int(mask.y * down)
        rows, columns = mask.bits.shape
        x2 = min(width, max(x1 + 1, round((mask.x + columns) * across)))
        y2 = min(height, max(y1 + 1, round((mask.y + rows) * down)))
        if x2 > x1 and y2 > y1:
            size = (x2 - x1, y2 - y1)
            shown = cv2.resize(mask.bits, size, interpolation=cv2.INTER_NEAREST)
            covered[y1:y2, x1:x2] |= shown > 0
    return covered
