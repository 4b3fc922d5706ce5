"""What processing deals would take: photos to ask about, paid calls, credits, time.

Whether the answer for a photo is kept is known only once the photo is decoded. So of many photos a
sample is looked at, and the rest is taken to be like it.
"""

import logging
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from segpipe.errors import SegpipeError
from segpipe.flow.photo import load_photo
from segpipe.flow.saved_settings import SavedSettings, read_saved
from segpipe.flow.stages.report import REPORT
from segpipe.flow.try_photo import prompt_of_deal
from segpipe.prompt import Mode
from segpipe.segmenters.build_segmenter import (
    AnySegmenterConfig,
    RecursiveConfig,
    Sam3Config,
    build_kept_only,
    innermost,
)
from segpipe.segmenters.kept_data import KeptData
from segpipe.segmenters.sam3.local import LocalConfig
from segpipe.segmenters.sam3.segmind import SegmindConfig
from segpipe.segmenters.sam3.segmind.ledger_costs import read_costs
from segpipe.segmenters.segmenter import Segmenter
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore
from segpipe.studio.deal_status import DealStatus
from segpipe.threads import finish_in_thread

_SAMPLE = 16
_DEALS_TIMED = 25
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Estimate:
    """What processing deals would take.

    Attributes:
        deals: The deals.
        photos: Their photos.
        asked: Those in which items are looked for anew.
        not_kept: How many of these no kept answer is for; None where nobody can tell.
        is_sampled: Whether that is inferred from a sample.
        paid_calls: Calls that are paid for; None where the segmenter is free.
        credits: What they may cost.
        seconds: Work on the photos, by what those of other deals took; None before there are any.
        is_more: Whether further passes may ask for more.
        unknown: Why something could not be told; "" where all could.
        max_credits: What one run may spend; 0 is no limit.
        max_calls: The paid calls that one run may make; 0 is no limit.
    """

    deals: int
    photos: int
    asked: int
    not_kept: int | None = None
    is_sampled: bool = False
    paid_calls: int | None = None
    credits: float | None = None
    seconds: float | None = None
    is_more: bool = False
    unknown: str = ""
    max_credits: float = 0
    max_calls: int = 0


@dataclass(frozen=True, slots=True)
class _Sample:
    """Of some photos: how many there were, those without an answer, and the calls they need."""

    photos: int
    not_kept: int
    calls: int


async def estimate_of(
    store: DealStore,
    data: KeptData,
    mode: Mode,
    deals: Sequence[DealStatus],
    *,
    anew: bool = False,
) -> Estimate:
    """What processing deals with the saved settings would take.

    Args:
        store: The deals and the saved settings.
        data: Where answers and accounts are kept.
        mode: The mode.
        deals: The deals, and how they stand.
        anew: Whether all is made again that is up to date.

    Raises:
        SavedSettingsError: The saved settings cannot be used.
        StoreError: The account of paid calls cannot be read.
    """
    settings = (await finish_in_thread(read_saved, store)).settings
    asking = [deal for deal in deals if anew or deal.of(mode).asks_segmenter]
    facts: dict[str, Any] = {
        "deals": len(deals),
        "photos": sum(deal.photos for deal in deals),
        "asked": sum(deal.photos for deal in asking),
        "seconds": await finish_in_thread(_seconds, store, mode, deals),
        "max_credits": settings.budget.max_cost_per_run,
        "max_calls": settings.budget.max_paid_calls_per_run,
    }
    chosen = settings.segmenter
    segmenter = innermost(chosen)
    if not isinstance(segmenter, Sam3Config) or isinstance(segmenter.backend, LocalConfig):
        return Estimate(**facts)
    facts["is_more"] = mode is Mode.FIND_ALL and _looks_again(chosen)
    try:
        photos = await finish_in_thread(_some_photos, store, asking)
        sample = await _look(store, data, mode, settings, chosen, photos)
    except SegpipeError as error:
        return Estimate(**facts, unknown=error.message)
    share = facts["asked"] / sample.photos if sample.photos else 0
    calls = round(sample.calls * share)
    facts |= {"not_kept": round(sample.not_kept * share), "is_sampled": share > 1}
    if isinstance(segmenter.backend, SegmindConfig):
        price = await finish_in_thread(_price, data, segmenter.backend)
        facts |= {"paid_calls": calls, "credits": calls * price}
    return Estimate(**facts)


def _looks_again(config: AnySegmenterConfig) -> bool:
    """Whether there is a second pass, of the photo or of each tile."""
    passes = [config, getattr(config, "inner", None)]
    return any(isinstance(each, RecursiveConfig) and each.max_passes > 1 for each in passes)


async def _look(
    store: DealStore,
    data: KeptData,
    mode: Mode,
    settings: SavedSettings,
    config: AnySegmenterConfig,
    photos: Sequence[tuple[str, Photo]],
) -> _Sample:
    """Look for how many questions about some photos no answers are kept."""
    segmenter = build_kept_only(config, data)
    calls = []
    try:
        for deal, photo in photos:
            try:
                calls.append(await _calls(store, mode, settings, segmenter, deal, photo))
            except SegpipeError as error:
                # A photo that cannot be used is for its run to tell of.
                _log.info("not in the estimate: %s %s: %s", deal, photo.name, error)
        return _Sample(len(calls), sum(map(bool, calls)), sum(calls))
    finally:
        await segmenter.aclose()


async def _calls(
    store: DealStore,
    mode: Mode,
    settings: SavedSettings,
    segmenter: Segmenter,
    deal: str,
    photo: Photo,
) -> int:
    decoded = (await load_photo(store, deal, photo, settings.photos)).decoded
    texts = segmenter.default_texts
    asked = await finish_in_thread(
        prompt_of_deal, store, deal, photo, mode, decoded, settings.prompts, texts
    )
    return await segmenter.paid_calls(decoded.rgb, asked.prompt) if asked.prompt else 0


def _some_photos(store: DealStore, deals: Sequence[DealStatus]) -> list[tuple[str, Photo]]:
    """All photos of deals where they are few, else as many as a sample has, evenly spread."""
    ends = list(accumulate(deal.photos for deal in deals))
    total = ends[-1] if ends else 0
    found = []
    for place in range(0, total, max(1, -(-total // _SAMPLE))):
        index = bisect_right(ends, place)
        photos = store.photos(deals[index].deal)
        within = place - (ends[index] - deals[index].photos)
        if within < len(photos):  # some may have gone since they were counted
            found.append((deals[index].deal, photos[within]))
    return found


def _price(data: KeptData, config: SegmindConfig) -> float:
    """What a call has cost so far, in credits; before there was one, what settings say."""
    spent = read_costs(data.ledgers(config.ledger_folder))
    known = sum(cost.calls - cost.unknown for cost in spent)
    return sum(cost.cost for cost in spent) / known if known else config.cost_per_call


def _seconds(store: DealStore, mode: Mode, deals: Sequence[DealStatus]) -> float | None:
    """The work on all photos of deals, by the latest reports of these deals and then of others."""
    seconds, photos, read = 0.0, 0, 0
    named = [deal.deal for deal in deals]
    for deal in dict.fromkeys([*named[:_DEALS_TIMED], *store.deals()[:_DEALS_TIMED]]):
        if read == _DEALS_TIMED:
            break
        try:
            snapshot = store.current(deal, mode)
            if snapshot is None or not snapshot.has(REPORT.name):
                continue
            summary = snapshot.manifest(REPORT.name).info.summary
        except SegpipeError:
            continue  # its status says what is wrong with it
        if summary and summary.counts.images:
            seconds += sum(summary.seconds.values())
            photos += summary.counts.images
            read += 1
    return seconds / photos * sum(deal.photos for deal in deals) if photos else None
