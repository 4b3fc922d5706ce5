"""Drawn boxes and Segmind: which answer belongs to which box, and paid calls asked one by one."""

import time
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from segpipe.detection import (
    NO_EVIDENCE,
    Detection,
    SegmentationResult,
    Thresholds,
    Usage,
)
from segpipe.prompt import Mode, Point, Prompt
from segpipe.segmenters.sam3.segmind.segmind_request import (
    ask_for_boxes,
    check_prompt,
    stray_points,
)
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.boxes import Box, box_ious, to_array
from segpipe.vision.image import RgbImage
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


class BoxByBox(WrappedSegmenter):
    """Wraps a segmenter and asks it for what Segmind takes one call for, and no more at once.

    Around a cache, each paid answer is so kept by itself: when the call for the third box fails, a
    retry pays for the third box, not for all. Everything but ``inside_box`` with points goes
    through as it is.

    Args:
        inner: The segmenter that is asked, one part after the other.
    """

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8; detections are in the boxes' order.

        Raises what the inner segmenter raises; the prompt is checked before the first call.
        """
        height, width, _ = image.shape
        check_prompt(prompt, width=width, height=height)
        parts = _parts(prompt)
        if len(parts) == 1:
            return await self._inner.segment(image, prompt, thresholds)
        started = time.perf_counter()
        results = [await self._inner.segment(image, part, thresholds) for part in parts]
        found: dict[Box, Detection] = {}
        for part, result in zip(parts, results, strict=True):
            found |= zip(part.boxes, result.detections, strict=True)
        return SegmentationResult.of_one_pass(
            tuple(found[box] for box in prompt.boxes),
            image,
            self.id,
            started,
            usage=sum((result.usage for result in results), Usage()),
            notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        )

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """Those of all parts together."""
        parts = _parts(prompt)
        return sum([await self._inner.paid_calls(image, part, thresholds) for part in parts])


def _parts(prompt: Prompt) -> list[Prompt]:
    """One prompt for each call; a point in no box is in the first, whose answer notes it."""
    if prompt.mode is not Mode.INSIDE_BOX:
        return [prompt]
    questions = ask_for_boxes(prompt.boxes, prompt.points)
    parts = [replace(prompt, boxes=one.boxes, points=one.points) for one in questions]
    parts[0] = replace(parts[0], points=parts[0].points + stray_points(prompt))
    return parts
