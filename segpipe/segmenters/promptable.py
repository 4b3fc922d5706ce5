"""Models that answer single prompts with thresholds of their own: what a service is built on."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from segpipe.detection import SegmentationResult
from segpipe.prompt import Point, Prompt
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What counts as found.

    Attributes:
        score: Detections that score less are left out, 0 to 1.
        mask: Pixels whose probability is above this are in a mask, 0 to 1.
        max_masks: Detections at most, those with the best scores.
    """

    score: float = 0.5
    mask: float = 0.5
    max_masks: int = 100


@dataclass(frozen=True, slots=True, eq=False)
class Candidate:
    """One reading of what some points mean.

    Attributes:
        mask: The pixels; empty when there is nothing to see there.
        score: The model's own estimate of how good the mask is, 0 to 1.
    """

    mask: Mask
    score: float


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
