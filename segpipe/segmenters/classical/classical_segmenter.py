"""The classical segmenter."""

import asyncio
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from importlib import metadata

import cv2

from segpipe.detection import Candidate, Detection, SegmentationResult, Thresholds
from segpipe.digests import settings_digest
from segpipe.errors import SegmenterError
from segpipe.prompt import Mode, Point, Prompt, Supports
from segpipe.segmenters.classical.classical_settings import ClassicalConfig
from segpipe.segmenters.classical.exemplar_search import find_like
from segpipe.segmenters.classical.item_at_points import at_points
from segpipe.segmenters.classical.item_in_box import inside_box
from segpipe.segmenters.classical.item_search import find_all
from segpipe.segmenters.segmenter import Segmenter
from segpipe.threads import IsWanted, stoppable_in_thread
from segpipe.vision.image import RgbImage

_DIGEST_DIGITS = 12
_SUPPORTS = Supports(texts=0)


class ClassicalSegmenter(Segmenter):
    """Finds goods on a fairly even background, and the item in a drawn box, by OpenCV alone.

    Deterministic, without weights. It knows shapes, colours and textures but no words: a text
    prompt is refused.

    Args:
        config: The settings.
        threads: Answers that are computed at once, 1 or more; the others wait.
    """

    id = "classical"
    device = "cpu"

    def __init__(self, config: ClassicalConfig | None = None, *, threads: int = 2) -> None:
        self._config = config or ClassicalConfig()
        self._concurrency = threads
        # Threads of its own: those of the event loop have other work, such as to decode photos.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=self.id)

    @property
    def concurrency(self) -> int:
        """As many as there are threads."""
        return self._concurrency

    async def revision(self) -> str:
        """The version of segpipe and a digest of the settings."""
        digest = settings_digest(self._config.identity())
        return f"{metadata.version('segpipe')}-{digest[:_DIGEST_DIGITS]}"

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8.

        With ``find_all`` the best score comes first, points mean one item, grown around the
        positive ones, and exemplars mean the items that look like them; with ``inside_box`` there
        is one detection for each box, in the order of the boxes, and points say which of the
        things in their box is meant.

        Thresholds apply to what is looked for in the whole image, beside those of the settings.
        What somebody pointed at or drew a box around is answered whatever its score; and there is
        no mask threshold, since the masks have no probabilities.

        Raises:
            UnsupportedPromptError: The prompt has text, or points beside exemplars.
            SegmenterError: OpenCV failed.
            PromptError: Something lies outside the image, or two exemplars contradict each other.
        """
        prompt.require(
            _SUPPORTS,
            by="the classical segmenter",
            instead="use one of the SAM3 backends (segmind, internal, local)",
        )
        started = time.perf_counter()
        height, width = image.shape[:2]
        prompt = prompt.for_image(width, height)
        detections = await stoppable_in_thread(
            partial(self._detect, image, prompt), executor=self._threads
        )
        if thresholds and prompt.mode is Mode.FIND_ALL and not prompt.points:
            good = [one for one in detections if one.score >= thresholds.score]
            detections = tuple(good[: thresholds.max_masks])
        return SegmentationResult.of_one_pass(
            detections,
            image,
            self.id,
            started,
        )

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, the best score first.

        Raises:
            PromptError: No point is positive, or one lies outside the image.
            SegmenterError: OpenCV failed.
        """

        def grow(is_wanted: IsWanted) -> tuple[Candidate, Candidate, Candidate]:
            with _opencv_errors(image):
                return at_points(image, points, self._config, is_wanted=is_wanted)

        return await stoppable_in_thread(grow, executor=self._threads)

    async def aclose(self) -> None:
        """Compute what is waiting, then end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    def _detect(
        self, image: RgbImage, prompt: Prompt, is_wanted: IsWanted
    ) -> tuple[Detection, ...]:
        with _opencv_errors(image):
            if prompt.mode is Mode.INSIDE_BOX:
                return inside_box(
                    image, prompt.boxes, self._config, points=prompt.points, is_wanted=is_wanted
                )
            if prompt.points:
                best, *_ = at_points(image, prompt.points, self._config, is_wanted=is_wanted)
                box = best.mask.box
                return () if box is None else (Detection(box, best.score, mask=best.mask),)
            if prompt.exemplars:
                return find_like(image, prompt.exemplars, self._config, is_wanted=is_wanted)
            return find_all(image, self._config)


@contextmanager
def _opencv_errors(image: RgbImage) -> Iterator[None]:
    """Turn what OpenCV raises on an image into a SegmenterError."""
    try:
        yield
    except cv2.error as error:
        raise SegmenterError(f"OpenCV failed on {image.shape} {image.dtype}: {error}") from error
