"""A segmenter that asks nobody: to see which answers are kept."""

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.prompt import Prompt
from segpipe.segmenters.segmenter import Segmenter, WrappedSegmenter
from segpipe.vision.image import RgbImage


class NotKeptError(Exception):
    """An answer would have to be asked for."""


class AsksNobody(WrappedSegmenter):
    """Stands in the place of a segmenter inside its cache: what is not kept raises NotKeptError.

    Args:
        inner: The segmenter; it is asked for its revision alone.
    """

    def __init__(self, inner: Segmenter) -> None:
        self._inner = inner
        self.not_kept = 0
        """How many answers were not kept."""

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        """Count the answer as one that is not kept, and raise NotKeptError."""
        self.not_kept += 1
        raise NotKeptError
