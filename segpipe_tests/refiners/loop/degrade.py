"""Ways in which a coarse mask is wrong, each in proportion to the item, and how wrong it is."""

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from segpipe.scenes.painted_fields import FullMask, Rng
from segpipe_tests.scenes import iou

_SHARE = 0.08
"""How far an edge is off, as a part of the square root of the item's area."""
_BAND_PX = 4


def _reach_px(mask: FullMask) -> int:
    return max(2, round(_SHARE * float(np.sqrt(np.count_nonzero(mask)))))


def _disc(radius_px: int) -> NDArray[np.uint8]:
    size = 2 * radius_px + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size)), np.uint8)


def eroded(rng: Rng, mask: FullMask) -> FullMask:
    return cv2.erode(mask.astype(np.uint8), _disc(_reach_px(mask))) > 0


def dilated(rng: Rng, mask: FullMask) -> FullMask:
    return cv2.dilate(mask.astype(np.uint8), _disc(_reach_px(mask))) > 0


def shifted(rng: Rng, mask: FullMask) -> FullMask:
    angle = float(rng.uniform(0, 2 * np.pi))
    reach = 1.5 * _reach_px(mask)
    move = np.array([[1, 0, reach * np.cos(angle)], [0, 1, reach * np.sin(angle)]])
    height, width = mask.shape
    return cv2.warpAffine(mask.astype(np.uint8), move, (width, height), flags=cv2.INTER_NEAREST) > 0


def holed(rng: Rng, mask: FullMask) -> FullMask:
    bits = mask.astype(np.uint8)
    rows, columns = np.nonzero(mask)
    for place in rng.choice(len(rows), 4, replace=False):
        cv2.circle(bits, (int(columns[place]), int(rows[place])), _reach_px(mask), (0,), cv2.FILLED)
    return bits > 0


def jagged(rng: Rng, mask: FullMask) -> FullMask:
    cell_px = 2 * _reach_px(mask)
    height, width = mask.shape
    noise = rng.standard_normal((height // cell_px + 1, width // cell_px + 1)).astype(np.float32)
    waves = cv2.resize(noise, (width, height), interpolation=cv2.INTER_NEAREST)
    bits = mask.astype(np.uint8)
    inside, outside = (cv2.distanceTransform(one, cv2.DIST_L2, 5) for one in (bits, 1 - bits))
    return inside - outside + _reach_px(mask) * waves > 0


DEGRADATIONS: dict[str, Callable[[Rng, FullMask], FullMask]] = {
    "eroded": eroded,
    "dilated": dilated,
    "shifted": shifted,
    "holed": holed,
    "jagged": jagged,
}


def boundary_iou(a: FullMask, b: FullMask) -> float:
    """IoU of the bands along the inner edges of two masks.

    B. Cheng and others: "Boundary IoU", CVPR 2021, https://arxiv.org/abs/2103.16562
    """
    band_a, band_b = _band(a), _band(b)
    return iou(band_a, band_b)


def _band(mask: FullMask) -> FullMask:
    core = cv2.erode(mask.astype(np.uint8), _disc(_BAND_PX), borderValue=0)
    band: FullMask = mask & (core == 0)
    return band
