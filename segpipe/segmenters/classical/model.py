"""The classical segmenter as a model that a service can hold."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from importlib import metadata
from threading import Event
from typing import TypeVar

from segpipe.detection import Candidate, PassStats, SegmentationResult, Thresholds
from segpipe.digests import settings_digest
from segpipe.prompt import Mode, Point, Prompt
from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.item_at_points import at_points
from segpipe.segmenters.classical.segmenter import ClassicalSegmenter, opencv_errors
from segpipe.vision.image import RgbImage

R = TypeVar("R")

_DIGEST_DIGITS = 12
_THREADS = 4


class ClassicalModel:
    """Answers prompts by OpenCV alone: a whole service can be tried without weights.

    Args:
        config: Settings of the classical segmenter.
        threads: Answers that are computed at once, 1 or more; the others wait.
    """

    id = "classical"
    device = "cpu"

    def __init__(self, config: ClassicalConfig | None = None, *, threads: int = _THREADS) -> None:
        self._config = config or ClassicalConfig()
        self._segmenter = ClassicalSegmenter(self._config)
        # Threads of its own: those of the event loop have other work, such as to decode photos.
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=self.id)

    @property
    def revision(self) -> str:
        """The version of segpipe and a digest of the settings."""
        digest = settings_digest(self._config.identity())
        return f"{metadata.version('segpipe')}-{digest[:_DIGEST_DIGITS]}"

    async def find(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8, as :class:`ClassicalSegmenter` does.

        The thresholds apply to what was looked for in the whole image. What somebody pointed at
        or drew a box around is answered whatever its score; and there is no mask threshold, since
        its masks have no probabilities.
        """

        def compute(is_wanted: Callable[[], bool]) -> SegmentationResult:
            return self._segmenter.compute(image, prompt, is_wanted=is_wanted)

        result = await self._in_thread(compute)
        if prompt.mode is Mode.INSIDE_BOX or prompt.points:
            return result
        kept = tuple(one for one in result.detections if one.score >= thresholds.score)
        kept = kept[: thresholds.max_masks]
        stats = PassStats(found=len(kept), new=len(kept), elapsed_ms=result.elapsed_ms)
        return replace(result, detections=kept, pass_stats=(stats,))

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, the best score first.

        Raises:
            PromptError: No point is positive, or one lies outside the image.
            SegmenterError: OpenCV failed.
        """

        def grow(is_wanted: Callable[[], bool]) -> tuple[Candidate, Candidate, Candidate]:
            with opencv_errors(image):
                return at_points(image, points, self._config, is_wanted=is_wanted)

        return await self._in_thread(grow)

    async def aclose(self) -> None:
        """Compute what is waiting, then end the threads."""
        await asyncio.to_thread(self._threads.shutdown)

    async def _in_thread(self, compute: Callable[[Callable[[], bool]], R]) -> R:
        """What a thread computes; cancelled once it really does so no more."""
        has_left = Event()
        job = self._threads.submit(compute, lambda: not has_left.is_set())
        answer = asyncio.wrap_future(job)
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            has_left.set()
            job.cancel()  # has an effect while it waits for a thread
            await asyncio.gather(answer, return_exceptions=True)
            raise
