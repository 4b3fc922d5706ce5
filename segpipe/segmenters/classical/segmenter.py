"""The classical segmenter."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2

from segpipe.detection import Detection, PassStats, SegmentationResult
from segpipe.errors import SegmenterError
from segpipe.prompt import Mode, Prompt, Supports
from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.exemplar_search import find_like
from segpipe.segmenters.classical.item_at_points import always, at_points
from segpipe.segmenters.classical.item_in_box import inside_box
from segpipe.segmenters.classical.item_search import find_all
from segpipe.vision.image import RgbImage

_SUPPORTS = Supports(texts=0, points_in_boxes=False)


class ClassicalSegmenter:
    """Finds goods on a fairly even background, and the item in a drawn box, by OpenCV alone.

    Deterministic, without weights. It knows shapes, colours and textures but no words: a text
    prompt is refused.
    """

    id = "classical"
    concurrency = 2

    def __init__(self, config: ClassicalConfig | None = None) -> None:
        self._config = config or ClassicalConfig()

    async def segment(self, image: RgbImage, prompt: Prompt) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8, in a worker thread.

        Raises what :meth:`compute` raises.
        """
        return await asyncio.to_thread(self.compute, image, prompt)

    async def aclose(self) -> None:
        """There is nothing to let go of."""

    def compute(
        self, image: RgbImage, prompt: Prompt, *, is_wanted: Callable[[], bool] = always
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8, in this thread.

        With ``find_all`` the best score comes first, points mean one item, grown around the
        positive ones, and exemplars mean the items that look like them; with ``inside_box`` there
        is one detection for each box, in the order of the boxes.

        Args:
            image: The picture.
            prompt: What to look for.
            is_wanted: Whether somebody still waits for the answer; asked at every point, box
                and exemplar.

        Raises:
            UnsupportedPromptError: The prompt has text, or points beside boxes or exemplars.
            SegmenterError: OpenCV failed, or nobody waits any more.
            PromptError: Something lies outside the image, or two exemplars contradict each other.
        """
        prompt.require(
            _SUPPORTS,
            by="the classical segmenter",
            instead="use one of the SAM3 backends (segmind, internal, local)",
        )
        started = time.perf_counter()
        height, width = image.shape[:2]
        detections = self._detect(image, prompt.for_image(width, height), is_wanted)
        elapsed_ms = (time.perf_counter() - started) * 1000
        count = len(detections)
        return SegmentationResult(
            detections=detections,
            image_width=width,
            image_height=height,
            segmenter_id=self.id,
            elapsed_ms=elapsed_ms,
            pass_stats=(PassStats(found=count, new=count, elapsed_ms=elapsed_ms),),
        )

    def _detect(
        self, image: RgbImage, prompt: Prompt, is_wanted: Callable[[], bool]
    ) -> tuple[Detection, ...]:
        with opencv_errors(image):
            if prompt.mode is Mode.INSIDE_BOX:
                return inside_box(image, prompt.boxes, self._config, is_wanted=is_wanted)
            if prompt.points:
                best, *_ = at_points(image, prompt.points, self._config, is_wanted=is_wanted)
                box = best.mask.box
                return () if box is None else (Detection(box, best.score, mask=best.mask),)
            if prompt.exemplars:
                return find_like(image, prompt.exemplars, self._config, is_wanted=is_wanted)
            return find_all(image, self._config)


@contextmanager
def opencv_errors(image: RgbImage) -> Iterator[None]:
    """Turn what OpenCV raises on an image into a SegmenterError."""
    try:
        yield
    except cv2.error as error:
        raise SegmenterError(f"OpenCV failed on {image.shape} {image.dtype}: {error}") from error
