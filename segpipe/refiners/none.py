"""The refiner that refines nothing."""

from collections.abc import Sequence
from typing import Literal

from segpipe.refiners.refiner import OnStep, Refinement
from segpipe.settings import Settings
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask


class NoneConfig(Settings):
    """Use the coarse masks as they are."""

    kind: Literal["none"] = "none"


class NoneRefiner:
    """Gives back every coarse mask as it came."""

    id = "none"

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep | None = None
    ) -> tuple[Refinement, ...]:
        """Keep the coarse masks of one image."""
        return tuple(Refinement(mask, accepted=False, reason="refiner is none") for mask in masks)
