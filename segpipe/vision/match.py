"""Which masks of two answers show the same items, and how alike two masks are at their edges."""

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from segpipe.vision.boxes import box_ious, to_array
from segpipe.vision.mask import Mask, iou

SAME_ITEM_IOU = 0.5
"""Two masks of at least this IoU show the same item, as COCO's matching has it."""
BOUNDARY_RATIO = 0.02
"""How wide the edge is that boundary IoU looks at, as a part of the photo's diagonal."""


class MatchedPair(NamedTuple):
    """Two masks that show the same item.

    Attributes:
        a: The position of the first.
        b: The position of the second.
        iou: Of the two, from the least to 1.
    """

    a: int
    b: int
    iou: float


def match_masks(
    a: Sequence[Mask], b: Sequence[Mask], *, min_iou: float = SAME_ITEM_IOU
) -> list[MatchedPair]:
    """The pairs that show the same item, by the largest sum of IoUs; each mask is in one at most.

    >>> from segpipe.vision.boxes import Box
    >>> one = Mask.from_box(Box(0, 0, 10, 10), image_width=40, image_height=20)
    >>> like = Mask.from_box(Box(0, 0, 10, 8), image_width=40, image_height=20)
    >>> other = Mask.from_box(Box(20, 0, 30, 10), image_width=40, image_height=20)
    >>> match_masks([one, other], [like])
    [MatchedPair(a=0, b=0, iou=0.8)]

    Args:
        a: Masks of a photo.
        b: Others of the same photo.
        min_iou: What a pair has at least, 0 to 1.
    """
    # Half a second, which no other command has to wait for.
    from scipy.optimize import linear_sum_assignment  # noqa: PLC0415

    boxes_a, boxes_b = ({at: mask.box for at, mask in enumerate(m) if mask.box} for m in (a, b))
    if not boxes_a or not boxes_b:
        return []
    near = box_ious(to_array([*boxes_a.values()]), to_array([*boxes_b.values()]))
    places_a, places_b = [*boxes_a], [*boxes_b]
    overlaps = np.zeros_like(near)
    for row, column in np.argwhere(near > 0):
        overlap = iou(a[places_a[row]], b[places_b[column]])
        if overlap >= min_iou:
            overlaps[row, column] = overlap
    rows, columns = linear_sum_assignment(overlaps, maximize=True)
    return [
        MatchedPair(places_a[row], places_b[column], float(overlaps[row, column]))
        for row, column in zip(rows, columns, strict=True)
        if overlaps[row, column] > 0
    ]


def boundary_iou(a: Mask, b: Mask) -> float:
    """The IoU of the inner edges of two masks: it sees what the IoU of large items hides.

    From Cheng and others, "Boundary IoU" (CVPR 2021): of each mask only the pixels that are at most
    2 % of the photo's diagonal away from its edge.

    >>> from segpipe.vision.boxes import Box
    >>> one = Mask.from_box(Box(10, 10, 90, 90), image_width=100, image_height=100)
    >>> boundary_iou(one, one)
    1.0

    Raises:
        ConfigError: The masks are not of one photo's size.
    """
    diagonal = float(np.hypot(a.image_width, a.image_height))
    width = max(1, round(BOUNDARY_RATIO * diagonal))
    return iou(_edge(a, width), _edge(b, width))


def _edge(mask: Mask, width: int) -> Mask:
    """The pixels of a mask that are at most so far from its edge; the photo's border is one."""
    padded = cv2.copyMakeBorder(mask.bits, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    inner = cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width)[1:-1, 1:-1]
    edge = np.asarray(mask.bits - inner, np.uint8)
    return Mask(mask.x, mask.y, edge, mask.image_width, mask.image_height)
