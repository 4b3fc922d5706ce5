"""A segmenter that asks nobody: to see which answers are kept."""

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.image import RgbImage


class AsksNobody(WrappedSegmenter):
    """Stands in the place of a segmenter inside its cache, for what counts questions.

    Args:
        inner: The segmenter; it is asked for its revision and its paid calls alone.
    """

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Refuse: nobody is asked."""
        raise NotImplementedError("questions are only counted")

    async def paid_calls(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> int:
        """At least one, also where it is free: a cache around it says 0 for what it keeps."""
        return max(1, await self._inner.paid_calls(image, prompt, thresholds))
