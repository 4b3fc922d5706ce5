"""Which detections answer a prompt: one for each box, or one for some points."""

from collections.abc import Sequence

import numpy as np

from segpipe.detection import NO_EVIDENCE, Detection
from segpipe.prompt import Point
from segpipe.vision.boxes import Box, box_ious, to_array
from segpipe.vision.mask import Mask

_LEAST_IOU = 0.1  # less, and a mask only touches the box


def match_boxes(boxes: Sequence[Box], detections: Sequence[Detection]) -> dict[Box, Detection]:
    """The detection of each box whose own box overlaps it most; none is given twice.

    Pairs are made from the highest IoU downward. A box without a detection of IoU .1 or more is
    left out.
    """
    overlaps = box_ious(to_array(boxes), to_array([one.box for one in detections]))
    matched: dict[Box, Detection] = {}
    taken = set[int]()
    for pair in np.argsort(-overlaps, axis=None, kind="stable"):
        row, column = divmod(int(pair), len(detections))
        if overlaps[row, column] < _LEAST_IOU:
            break
        if boxes[row] not in matched and column not in taken:
            matched[boxes[row]] = detections[column]
            taken.add(column)
    return matched


def box_itself(box: Box, *, width: int, height: int) -> Detection:
    """The answer for a box in which nothing was found: its own rectangle, with score 0."""
    mask = Mask.from_box(box, image_width=width, image_height=height)
    return Detection(Box(*map(float, mask.window)), NO_EVIDENCE, mask=mask)


def one_item(detections: Sequence[Detection], points: Sequence[Point]) -> tuple[Detection, ...]:
    """The one detection that holds most positive points and fewest negative ones, or none.

    Of several, the one with the best score.
    """
    best = max(detections, key=lambda one: (_agreement(one, points), one.score), default=None)
    return () if best is None else (best,)


def _agreement(detection: Detection, points: Sequence[Point]) -> int:
    return sum((1 if point.positive else -1) * _holds(detection.mask, point) for point in points)


def _holds(mask: Mask | None, point: Point) -> bool:
    x, y = int(point.x), int(point.y)
    return mask is not None and bool(mask.crop_to(x, y, x + 1, y + 1).any())
