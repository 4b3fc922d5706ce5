"""The refiner by HQ-SAM: loads the model once, and keeps one thread in it at a time."""

import asyncio
from collections.abc import Sequence
from threading import Lock
from typing import TYPE_CHECKING

from segpipe.errors import CheckpointError
from segpipe.refiners.base import OnStep, Refinement, no_report
from segpipe.refiners.hq_sam.config import HqSamConfig
from segpipe.refiners.iterative.loop import refine_masks
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

if TYPE_CHECKING:
    from segpipe.refiners.hq_sam.model import HqSamModel


class HqSamRefiner:
    """Sharpens masks by HQ-SAM; the weights are loaded when the first masks come.

    Its model sees one image at a time; further calls wait for it.
    """

    id = "hq_sam"

    def __init__(self, config: HqSamConfig) -> None:
        self._config = config
        self._model: HqSamModel | None = None
        self._one_at_a_time = Lock()

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep | None = None
    ) -> tuple[Refinement, ...]:
        """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8; a step is a question.

        Raises:
            InputError: A mask belongs to an image of another size.
            CheckpointError: The weights are missing, damaged, pickles or of another model, or
                what runs them is not installed.
            ConfigError: There is no such device, or a repository is not pinned.
            RefinerError: The model failed, or ran out of memory.
        """
        return await asyncio.to_thread(self._refine, image, masks, on_step or no_report)

    def _refine(
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep
    ) -> tuple[Refinement, ...]:
        if not masks:
            return ()
        with self._one_at_a_time:
            if self._model is None:
                self._model = _load(self._config)
            return refine_masks(image, masks, self._model, self._config, on_step)


def _load(config: HqSamConfig) -> "HqSamModel":
    try:
        from segpipe.refiners.hq_sam.model import HqSamModel  # noqa: PLC0415
    # A torchvision that was built for another torch raises RuntimeError.
    except (ImportError, RuntimeError) as error:
        raise CheckpointError(
            f"HQ-SAM cannot run here ({error}); install segpipe[local], and remove torchvision "
            "unless it was built for the torch beside it: nothing needs it here",
            field="kind",
        ) from error
    return HqSamModel.load(config)
