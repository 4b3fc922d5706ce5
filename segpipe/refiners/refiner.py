"""The refiner protocol, its result, and the refiner that changes nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from segpipe.progress import Tell, tell_nobody
from segpipe.settings import Settings
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

STAGE = "refinement"
"""What :class:`~segpipe.progress.StepDone` events of refiners call their stage."""


@dataclass(frozen=True, slots=True, eq=False)
class Refinement:
    """What became of one coarse mask.

    Attributes:
        mask: The mask to use: the refined one when accepted, else the coarse one.
        accepted: Whether the refiner's mask passed its guards.
        reason: Why the coarse mask stayed; None when accepted.
        iterations: Refining steps done for this mask.
        predicted_iou: The model's own estimate, 0 to 1, when it gives one.
    """

    mask: Mask
    accepted: bool
    reason: str | None = None
    iterations: int = 0
    predicted_iou: float | None = None


class Refiner(Protocol):
    """Sharpens the masks of one image.

    An implementation never changes what it is given, and gives exactly one
    :class:`Refinement` for each mask, in the same order.
    """

    @property
    def id(self) -> str:
        """Its name, as recorded in results."""
        ...

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8.

        Args:
            image: The photo.
            masks: Its coarse masks.
            tell: Is told of each step that is done, by ``StepDone`` events, perhaps from another
                thread; not at all by a refiner that has no steps.
        """
        ...


class NoneConfig(Settings):
    """Use the coarse masks as they are."""

    kind: Literal["none"] = "none"


class NoneRefiner:
    """Gives back every coarse mask as it came."""

    id = "none"

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        """Keep the coarse masks of one image."""
        return tuple(Refinement(mask, accepted=False, reason="refiner is none") for mask in masks)
