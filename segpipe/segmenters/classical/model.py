"""The classical segmenter as a model that a service can hold."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata

from segpipe.digests import settings_digest
from segpipe.segmenters.base import PassStats, SegmentationResult
from segpipe.segmenters.classical.at_points import at_points
from segpipe.segmenters.classical.config import ClassicalConfig
from segpipe.segmenters.classical.segmenter import ClassicalSegmenter, opencv_errors
from segpipe.segmenters.prompt import Mode, Point, Prompt
from segpipe.segmenters.promptable import Candidate, Thresholds
from segpipe.vision.image import RgbImage

_DIGEST_DIGITS = 12


class ClassicalModel:
    """Answers prompts by OpenCV alone: a whole service can be tried without weights.

    Args:
        config: Settings of the classical segmenter.
    """

    id = "classical"
    device = "cpu"

    def __init__(self, config: ClassicalConfig | None = None) -> None:
        self._config = config or ClassicalConfig()
        self._segmenter = ClassicalSegmenter(self._config)

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
        result = await self._segmenter.segment(image, prompt)
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

        def grow() -> tuple[Candidate, Candidate, Candidate]:
            with opencv_errors(image):
                return at_points(image, points, self._config)

        return await asyncio.to_thread(grow)

    async def aclose(self) -> None:
        """There is nothing to let go of."""
