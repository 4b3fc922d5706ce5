"""A refiner by the loop, around any model: loaded once, and in one thread."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

from segpipe.refiners.iterative.decoder import MaskDecoder
from segpipe.refiners.iterative.loop import refine_masks
from segpipe.refiners.iterative.settings import LoopSettings
from segpipe.refiners.refiner import OnStep, Refinement, no_report
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask


class LoopRefiner:
    """Sharpens masks by a model, which is loaded when the first masks come.

    The model sees one image at a time, in a thread of its own: further calls wait for it without
    holding up the threads of others. One that is cancelled while it waits is left out, and one that
    is under way ends with its next question.

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
        report = _Report(on_step or no_report)
        work = partial(self._refine, image, masks, report)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, work)
        finally:
            report.is_wanted = False

    def _refine(
        self, image: RgbImage, masks: Sequence[Mask], on_step: OnStep
    ) -> tuple[Refinement, ...]:
        return refine_masks(image, masks, self._loaded(), self._settings, on_step)

    def _loaded(self) -> MaskDecoder[Any]:
        if self._decoder is None:
            self._decoder = self._load()
        return self._decoder


class _Report:
    """Tells of steps for as long as somebody waits for the masks."""

    def __init__(self, on_step: OnStep) -> None:
        self.is_wanted = True
        self._on_step = on_step

    def __call__(self, step: int, steps: int) -> None:
        if not self.is_wanted:
            raise asyncio.CancelledError
        self._on_step(step, steps)
