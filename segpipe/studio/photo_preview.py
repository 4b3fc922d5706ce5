"""What the segmenter would answer to what is drawn on a photo, before any run: nothing is written.

The stages are those of a run, with the saved settings. One photo is worked on at a time, and the
last segmenter is kept with its weights.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from segpipe.detection import NO_EVIDENCE
from segpipe.errors import SavedSettingsError
from segpipe.flow.mode_prompts import ModePrompts, read_prompts_version
from segpipe.flow.photo import LoadedPhoto, load_photo
from segpipe.flow.saved_settings import Saved, read_saved, within_budget
from segpipe.flow.stages.dedup import dedup_image
from segpipe.flow.stages.refinement import items_found, refine_image
from segpipe.flow.stages.segmentation import segment_image
from segpipe.prompt import Mode, Point, require_points
from segpipe.refiners.build_refiner import build_refiner
from segpipe.segmenters.build_segmenter import RecursiveConfig, Sam3Config, build_segmenter
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.segmenters.segmenter import Segmenter
from segpipe.settings import Settings
from segpipe.store.store import DealStore, Photo
from segpipe.studio.photo_facts import FoundOutline
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.contour import mask_to_path
from segpipe.web.problems import FullError

_MAX_WAITING = 4
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be found.

    Attributes:
        items: The items, as a run would keep them.
        segmenter: Its id.
        notes: What of the prompt is not used, and what is to be known of the answer.
        elapsed_ms: From the photo to the outlines.
        generation: Of the saved settings.
    """

    items: tuple[FoundOutline, ...]
    segmenter: str
    notes: tuple[str, ...]
    elapsed_ms: float
    generation: int


def is_paid(segmenter: Settings) -> bool:
    """Whether a segmenter of these settings takes money for an answer."""
    if isinstance(segmenter, RecursiveConfig):
        return is_paid(segmenter.inner)
    return isinstance(segmenter, Sam3Config) and isinstance(segmenter.backend, SegmindConfig)


class PhotoPreview:
    """Asks the segmenter of the saved settings about photos of deals.

    Args:
        store: The deals.
    """

    def __init__(self, store: DealStore) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._segmenter: Segmenter | None = None
        self._built_from: Settings | None = None

    async def saved(self) -> Saved:
        """The settings that the next preview has; raises SavedSettingsError."""
        return await asyncio.to_thread(read_saved, self._store)

    def may_cost(self) -> bool:
        """Whether the next preview is paid for; settings that cannot be read cost nothing."""
        try:
            return is_paid(read_saved(self._store).settings.segmenter)
        except SavedSettingsError:
            return False

    async def preview(self, deal: str, photo: Photo, mode: Mode, saved: Saved) -> Preview:
        """What a run would find in a photo now.

        Raises:
            PromptError: What is drawn makes no sense, or the segmenter cannot follow it.
            SegmenterError: It failed.
            PhotoError: The photo cannot be decoded.
            RefusedError: Others wait already (503).
        """
        async with self._asking(saved) as segmenter:
            start = perf_counter()
            settings = saved.settings.of_run(saved.generation)
            loaded = await self._load(deal, photo, saved)
            prompts = await asyncio.to_thread(self._prompts, deal, mode)
            asked = prompts.ask(
                photo.image,
                width=loaded.info.width,
                height=loaded.info.height,
                settings=settings.stages.prompts,
                default_texts=segmenter.default_texts,
            )
            segmented = await segment_image(loaded.decoded, segmenter, asked)
            deduped = await finish_in_thread(dedup_image, segmented, saved.settings.dedup)
            picture = await finish_in_thread(with_backdrop, loaded.decoded)
            refiner = build_refiner(saved.settings.refiner)
            refined = await refine_image(picture, segmented, deduped, refiner)
            found = segmented.result.detections
            items = tuple(
                FoundOutline(
                    box=(item.box.x1, item.box.y1, item.box.x2, item.box.y2),
                    path=item.svg_path,
                    score=found[item.detection].score,
                    label=found[item.detection].label,
                )
                for item in items_found(segmented, refined)
            )
            elapsed_ms = (perf_counter() - start) * 1000
            return Preview(items, segmenter.id, segmented.warnings, elapsed_ms, saved.generation)

    async def candidates(
        self, deal: str, photo: Photo, points: Sequence[Point], saved: Saved
    ) -> tuple[FoundOutline, ...]:
        """Three readings of what some points mean, the best first; those with nothing are left out.

        Raises:
            PromptError: No point is positive, or one lies outside the photo.
            UnsupportedPromptError: The segmenter knows no points.
            SegmenterError: It failed.
        """
        async with self._asking(saved) as segmenter:
            loaded = await self._load(deal, photo, saved)
            placed = require_points(points, loaded.info.width, loaded.info.height)
            picture = await finish_in_thread(with_backdrop, loaded.decoded)
            readings = await segmenter.candidates(picture, placed)
        found = []
        for reading in readings:
            if (box := reading.mask.box) and reading.score > NO_EVIDENCE:
                path = await finish_in_thread(mask_to_path, reading.mask)
                corners = (box.x1, box.y1, box.x2, box.y2)
                found.append(FoundOutline(corners, path, reading.score, None))
        return tuple(found)

    async def aclose(self) -> None:
        """Close the segmenter."""
        if self._segmenter:
            await self._segmenter.aclose()

    @asynccontextmanager
    async def _asking(self, saved: Saved) -> AsyncIterator[Segmenter]:
        if self._waiting >= _MAX_WAITING:
            raise FullError("other previews are being made", retry_after_s=_RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._turn:
                yield await self._ready(saved)
        finally:
            self._waiting -= 1

    async def _ready(self, saved: Saved) -> Segmenter:
        settings = within_budget(saved.settings.segmenter, saved.settings.budget)
        if self._segmenter is None or self._built_from != settings:
            await self.aclose()
            self._segmenter, self._built_from = build_segmenter(settings), settings
        return self._segmenter

    async def _load(self, deal: str, photo: Photo, saved: Saved) -> LoadedPhoto:
        return await load_photo(self._store, deal, photo, saved.settings.photos)

    def _prompts(self, deal: str, mode: Mode) -> ModePrompts:
        prompts = self._store.prompts
        version = read_prompts_version(self._store, deal, mode)
        return ModePrompts(mode, version, prompts.of_deal(deal), prompts.images(deal))
