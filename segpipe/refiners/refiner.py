"""The refiner protocol and its result."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

OnStep = Callable[[int, int], None]
"""Told after each refining step: which it was, from 1, and how many there are at most.

It may be called from another thread, and not at all by a refiner that has no steps.
"""


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
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep | None = None
    ) -> tuple[Refinement, ...]:
        """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8."""
        ...


def no_report(step: int, steps: int) -> None:
    """An :data:`OnStep` that tells nobody."""
