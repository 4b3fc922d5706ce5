"""A refiner by the loop, around any model: loaded once, and in one thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

from segpipe.refiners.base import OnStep, Refinement, no_report
from segpipe.refiners.iterative.decoder import MaskDecoder
from segpipe.refiners.iterative.loop import refine_masks
from segpipe.refiners.iterative.settings import LoopSettings
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask


class LoopRefiner:
    """Sharpens masks by a model, which is loaded when the first masks come.

    The model sees one image at a time, in a thread of its own: further calls wait for it without
    holding up the threads of others, and one that is cancelled while it waits is left out.

    Args:
        settings: Those of the loop.
        load: Loads the model; it may take seconds.
    """

    id: ClassVar[str]
    """Its name, as recorded in results."""

    def __init__(self, settings: LoopSettings, load: Callable[[], MaskDecoder[Any]]) -> None:
        self._settings = settings
        self._load = load
        self._decoder: MaskDecoder[Any] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self.id)

    async def load(self) -> None:
        """Load the model, unless it is loaded.

        Raises:
            CheckpointError: The weights are missing, damaged, pickles or of another model, or
                what runs them is not installed.
            ConfigError: There is no such device, or a repository is not pinned.
            RefinerError: There is not enough memory.
        """
        await asyncio.get_running_loop().run_in_executor(self._thread, self._loaded)

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep | None = None
    ) -> tuple[Refinement, ...]:
        """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8; a step is a question.

        Raises:
            InputError: A mask belongs to an image of another size.
            CheckpointError: As of :meth:`load`, as is ConfigError.
            RefinerError: The model failed, or ran out of memory.
        """
        if not masks:
            return ()
        work = partial(self._refine, image, masks, on_step or no_report)
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _refine(
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep
    ) -> tuple[Refinement, ...]:
        return refine_masks(image, masks, self._loaded(), self._settings, on_step)

    def _loaded(self) -> MaskDecoder[Any]:
        if self._decoder is None:
            self._decoder = self._load()
        return self._decoder
