"""The segmenter protocol."""

from typing import Protocol

from segpipe.detection import SegmentationResult
from segpipe.prompt import Prompt
from segpipe.vision.image import RgbImage


class Segmenter(Protocol):
    """Finds items in an image.

    An implementation never changes the image that it is given. It raises
    :class:`~segpipe.errors.UnsupportedPromptError` for a prompt it cannot follow, and
    :class:`~segpipe.errors.SegmenterError` when it fails; "nothing found" is a result
    without detections, never an error. With ``inside_box`` there is one detection for each box,
    in their order, of score :data:`NO_EVIDENCE` where nothing was found. Several ``segment``
    calls may be under way at once.
    """

    @property
    def id(self) -> str:
        """Its name, as recorded in results; a wrapper's composes: ``recursive(classical)``."""
        ...

    @property
    def concurrency(self) -> int:
        """How many calls at the same time keep it busy, 1 or more."""
        ...

    async def segment(self, image: RgbImage, prompt: Prompt) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8."""
        ...

    async def aclose(self) -> None:
        """Let go of connections and models; the segmenter is not used any more."""
        ...
