"""Prompts that take several paid calls, asked call by call."""

import time
from dataclasses import replace

from segpipe.detection import Detection, PassStats, SegmentationResult, Thresholds, Usage
from segpipe.prompt import Mode, Prompt
from segpipe.segmenters.sam3.segmind.question import ask_for_boxes, check_prompt, stray_points
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.boxes import Box
from segpipe.vision.image import RgbImage


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
        count, elapsed_ms = len(prompt.boxes), (time.perf_counter() - started) * 1000
        return SegmentationResult(
            detections=tuple(found[box] for box in prompt.boxes),
            image_width=width,
            image_height=height,
            segmenter_id=self.id,
            elapsed_ms=elapsed_ms,
            pass_stats=(PassStats(found=count, new=count, elapsed_ms=elapsed_ms),),
            usage=sum((result.usage for result in results), Usage()),
            notes=tuple(dict.fromkeys(note for result in results for note in result.notes)),
        )


def _parts(prompt: Prompt) -> list[Prompt]:
    """One prompt for each call; a point in no box is in the first, whose answer notes it."""
    if prompt.mode is not Mode.INSIDE_BOX:
        return [prompt]
    questions = ask_for_boxes(prompt.boxes, prompt.points)
    parts = [replace(prompt, boxes=one.boxes, points=one.points) for one in questions]
    parts[0] = replace(parts[0], points=parts[0].points + stray_points(prompt))
    return parts
