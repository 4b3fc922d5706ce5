"""What the segmenter would answer to what is drawn on a photo, before any run.

It is asked as a run with the saved settings would ask it, and answers that settings keep are kept,
so that the run pays for none of them again. Nothing is written to a deal. One photo is worked on at
a time, and the last segmenter is kept with its weights.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import perf_counter

from segpipe.detection import NO_EVIDENCE, Candidate
from segpipe.errors import SavedSettingsError, SegpipeError
from segpipe.flow.photo import LoadedPhoto, load_photo
from segpipe.flow.saved_settings import Saved, read_saved, within_budget
from segpipe.flow.try_photo import Trial, prompt_of_deal, trial_run, try_photo
from segpipe.prompt import Mode, Point, require_points
from segpipe.segmenters.build_segmenter import (
    AnySegmenterConfig,
    Sam3Config,
    build_segmenter,
    innermost,
)
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.segmenters.segmenter import Segmenter, call_context
from segpipe.store.reviews import MaskRuns
from segpipe.store.store import DealStore, Photo
from segpipe.studio.photo_facts import FoundOutline
from segpipe.studio.trials import refusal_of_trial
from segpipe.threads import finish_in_thread
from segpipe.vision.backdrop import with_backdrop
from segpipe.vision.contour import masks_to_paths
from segpipe.web.problems import FullError

_MAX_WAITING = 4
_RETRY_AFTER_S = 5


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be found.

    Attributes:
        items: The items that dedup keeps.
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


@dataclass(frozen=True, slots=True)
class Reading(FoundOutline):
    """One reading of what some points mean.

    Attributes:
        mask: Its pixels.
    """

    mask: MaskRuns


def is_paid(segmenter: AnySegmenterConfig) -> bool:
    """Whether a segmenter of these settings takes money for an answer."""
    match innermost(segmenter):
        case Sam3Config(backend=SegmindConfig()):
            return True
        case _:
            return False


class PhotoPreview:
    """Asks the segmenter of the saved settings about photos of deals.

    Every method raises RefusedError: as :func:`~segpipe.studio.trials.refusal_of_trial` says of
    what went wrong, and 503 while others wait.

    Args:
        store: The deals.
        data: Where answers are kept, and the account of paid calls.
    """

    def __init__(self, store: DealStore, data: KeptData) -> None:
        self._store = store
        self._data = data
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._segmenter: Segmenter | None = None
        self._built_from: AnySegmenterConfig | None = None

    def may_cost(self) -> bool:
        """Whether the next answer is paid for; settings that cannot be read cost nothing."""
        try:
            return is_paid(read_saved(self._store).settings.segmenter)
        except SavedSettingsError:
            return False

    async def preview(self, deal: str, photo: Photo, mode: Mode) -> Preview:
        """What the segmenter and dedup of a run would find in a photo now."""
        async with self._asking() as (saved, segmenter):
            start = perf_counter()
            loaded = await self._load(deal, photo, saved)
            asked = await finish_in_thread(
                prompt_of_deal,
                self._store,
                deal,
                photo,
                mode,
                loaded.decoded,
                saved.settings.prompts,
                segmenter.default_texts,
            )
            dedup = saved.settings.dedup
            trial = await try_photo(
                loaded.decoded, segmenter, asked, dedup, deal=deal, image=photo.image
            )
            elapsed_ms = (perf_counter() - start) * 1000
            notes = trial.segmented.warnings
            return Preview(_items(trial), segmenter.id, notes, elapsed_ms, saved.generation)

    async def candidates(
        self, deal: str, photo: Photo, points: Sequence[Point]
    ) -> tuple[Reading, ...]:
        """Three readings of what some points mean, the best first, without those of nothing."""
        async with self._asking() as (saved, segmenter):
            loaded = await self._load(deal, photo, saved)
            placed = require_points(points, loaded.info.width, loaded.info.height)
            picture = await finish_in_thread(with_backdrop, loaded.decoded)
            with call_context(trial_run(), deal, photo.image):
                readings = await segmenter.candidates(picture, placed)
            return await finish_in_thread(_readings, readings)

    async def aclose(self) -> None:
        """Close the segmenter."""
        if self._segmenter:
            await self._segmenter.aclose()

    @asynccontextmanager
    async def _asking(self) -> AsyncIterator[tuple[Saved, Segmenter]]:
        if self._waiting >= _MAX_WAITING:
            raise FullError("other previews are being made", retry_after_s=_RETRY_AFTER_S)
        self._waiting += 1
        try:
            async with self._turn:
                saved = await finish_in_thread(read_saved, self._store)
                yield saved, await self._built(saved)
        except SegpipeError as error:
            raise refusal_of_trial(error) from error
        finally:
            self._waiting -= 1

    async def _built(self, saved: Saved) -> Segmenter:
        settings = within_budget(saved.settings.segmenter, saved.settings.budget)
        if self._segmenter is None or self._built_from != settings:
            await self.aclose()
            self._segmenter = None
            self._segmenter = build_segmenter(settings, self._data)
            self._built_from = settings
        return self._segmenter

    async def _load(self, deal: str, photo: Photo, saved: Saved) -> LoadedPhoto:
        return await load_photo(self._store, deal, photo, saved.settings.photos)


def _items(trial: Trial) -> tuple[FoundOutline, ...]:
    """What stays, without the drawn boxes in which there is nothing."""
    items = []
    for index in trial.kept:
        found, outline = trial.detections[index], trial.outlines[index]
        if index not in trial.segmented.missing:
            box, path = (outline.box, outline.path) if outline else (found.box, "")
            items.append(FoundOutline(box, path, found.score, found.label))
    return tuple(items)


def _readings(candidates: Sequence[Candidate]) -> tuple[Reading, ...]:
    seen = [one for one in candidates if one.score > NO_EVIDENCE and one.mask.box]
    paths = masks_to_paths([one.mask for one in seen])
    return tuple(
        Reading(one.mask.box, path or "", one.score, None, MaskRuns.of(one.mask))
        for one, path in zip(seen, paths, strict=True)
        if one.mask.box
    )
