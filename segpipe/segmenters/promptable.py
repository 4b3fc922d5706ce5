"""Models that answer single prompts with thresholds of their own: what a service is built on."""

from collections.abc import Sequence
from typing import Protocol

from segpipe.detection import Candidate, SegmentationResult, Thresholds
from segpipe.prompt import Point, Prompt
from segpipe.vision.image import RgbImage


class PromptableModel(Protocol):
    """A loaded model. Calls may be under way at once; cancelling one drops its work."""

    @property
    def id(self) -> str:
        """Its name, as results carry it."""
        ...

    @property
    def revision(self) -> str:
        """What names its weights: another value may mean other answers."""
        ...

    @property
    def device(self) -> str:
        """Where it computes: ``cpu``, ``cuda:0``, ``mps``."""
        ...

    async def find(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds
    ) -> SegmentationResult:
        """Segment one upright RGB image, (h, w, 3) uint8; errors as a Segmenter's."""
        ...

    async def candidates(
        self, image: RgbImage, points: Sequence[Point]
    ) -> tuple[Candidate, Candidate, Candidate]:
        """Three readings of what the points mean, taken together, the best score first."""
        ...

    async def aclose(self) -> None:
        """Let go of the model."""
        ...
