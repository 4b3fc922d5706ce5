"""Refiners that ask a promptable model about each mask again and again: HQ-SAM, SAM 3's tracker."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ClassVar

from segpipe.models.faults import imports_of
from segpipe.progress import Tell, tell_nobody
from segpipe.refiners.loop.loop_settings import HqSamConfig, LoopSettings, Sam3TrackerConfig
from segpipe.refiners.loop.mask_decoder import MaskDecoder
from segpipe.refiners.loop.mask_loop import refine_masks
from segpipe.refiners.refiner import Refinement
from segpipe.threads import IsWanted, stoppable_in_thread
from segpipe.vision.image import RgbImage
from segpipe.vision.mask import Mask

_EXTRA = "segpipe[local]"


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

    async def refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell = tell_nobody
    ) -> tuple[Refinement, ...]:
        """Refine the coarse masks of one upright RGB image, (h, w, 3) uint8; a step is a question.

        Raises:
            InputError: A mask belongs to an image of another size.
            CheckpointError: The weights are missing, damaged, pickles or of another model, or
                what runs them is not installed.
            ConfigError: There is no such device, or a repository is not pinned.
            RefinerError: The model failed, or ran out of memory.
        """
        if not masks:
            return ()
        work = partial(self._refine, image, masks, tell)
        return await stoppable_in_thread(work, executor=self._thread)

    def _refine(
        self, image: RgbImage, masks: Sequence[Mask], tell: Tell, is_wanted: IsWanted
    ) -> tuple[Refinement, ...]:
        if self._decoder is None:
            self._decoder = self._load()
        return refine_masks(image, masks, self._decoder, self._settings, tell, is_wanted)


class HqSamRefiner(LoopRefiner):
    """Sharpens masks by HQ-SAM; the weights are loaded when the first masks come."""

    id = "hq_sam"

    def __init__(self, config: HqSamConfig) -> None:
        super().__init__(config, partial(_load_hq_sam, config))


class Sam3TrackerRefiner(LoopRefiner):
    """Sharpens masks by SAM 3's tracker; the weights are loaded when the first masks come."""

    id = "sam3_tracker"

    def __init__(self, config: Sam3TrackerConfig) -> None:
        super().__init__(config, partial(_load_sam3_tracker, config))


def _load_hq_sam(config: HqSamConfig) -> MaskDecoder[Any]:
    with imports_of("HQ-SAM", _EXTRA, field="kind"):
        from segpipe.refiners.loop.hq_sam import HqSamModel  # noqa: PLC0415
    return HqSamModel.load(config)


def _load_sam3_tracker(config: Sam3TrackerConfig) -> MaskDecoder[Any]:
    with imports_of("SAM 3", _EXTRA, field="kind"):
        from segpipe.refiners.loop.sam3_tracker import TrackerModel  # noqa: PLC0415
    return TrackerModel.load(config)
