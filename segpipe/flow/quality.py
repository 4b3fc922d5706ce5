"""How good what a run made of a deal is, in numbers that can be compared over time."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from math import sqrt
from typing import Any

import numpy as np
import pyarrow as pa

from segpipe.errors import SegpipeError
from segpipe.flow.results import DealResults
from segpipe.flow.stages.dedup import DEDUP
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.flow.stages.stage import PhotoResults
from segpipe.prompt import Mode
from segpipe.store.reviews.review_documents import Decision, MaskRuns, Verdict
from segpipe.store.store import DealStore
from segpipe.vision.mask import iou

_DEALS_PER_PART = 200
_PERCENTILES = (10, 50, 90)
_STAGES = (SEGMENTATION, DEDUP, REFINEMENT)


def _tell_nobody(_deal: str, _reason: str) -> None:
    """For those who do not want to know."""


@dataclass(frozen=True, slots=True)
class DealQuality:
    """What one generation of a deal and mode is like; None where there is nothing to measure.

    Attributes:
        deal: The deal.
        generation: The generation.
        made_at: When it was made, UTC.
        settings_generation: That of the saved settings that it was made with; None for others.
        segmenter: The id of what found the items.
        refiner: The id of what sharpened their masks.
        photos: How many photos the deal has.
        items: How many survivors.
        items_per_photo: Survivors a photo.
        empty_ratio: The part of the photos in which nothing was found, 0 to 1.
        rejected_ratio: The part of the raw detections that dedup rejected, 0 to 1.
        score_p10: The score below which a tenth of the survivors are, 0 to 1.
        score_p50: The median score.
        score_p90: The score above which a tenth of them are.
        accepted_ratio: The part of the masks for which the refiner's were taken, 0 to 1.
        refined_iou: The mean IoU of coarse and refined masks, where both are.
        item_size: The median square root of a mask's part of its photo, 0 to 1.
        reviewed: How many items people have decided about.
        reject_reasons: How many of them they rejected, by the reason.
        edit_iou: The mean IoU of the masks that they drew with those that they saw.
        seconds_per_photo: What the run took a photo.
        cost_per_photo: The credits that it paid a photo.
    """

    deal: str
    generation: int
    made_at: datetime
    settings_generation: int | None
    segmenter: str
    refiner: str
    photos: int
    items: int
    items_per_photo: float | None
    empty_ratio: float | None
    rejected_ratio: float | None
    score_p10: float | None
    score_p50: float | None
    score_p90: float | None
    accepted_ratio: float | None
    refined_iou: float | None
    item_size: float | None
    reviewed: int
    reject_reasons: dict[str, int]
    edit_iou: float | None
    seconds_per_photo: float | None
    cost_per_photo: float | None


_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    int: pa.int64(),
    int | None: pa.int64(),
    float | None: pa.float64(),
    datetime: pa.timestamp("us", tz="UTC"),
    dict[str, int]: pa.map_(pa.string(), pa.int64()),
}
QUALITY_SCHEMA = pa.schema([(field.name, _TYPES[field.type]) for field in fields(DealQuality)])
"""One row a generation of a deal: the fields of :class:`DealQuality`."""


def read_quality(store: DealStore, mode: Mode) -> list[DealQuality]:
    """What was measured of a mode, in the order in which it was made; each generation once.

    Raises:
        StoreError: The table cannot be read.
    """
    rows = store.quality.read(mode, QUALITY_SCHEMA).to_pylist(maps_as_pydicts="strict")
    found = {(row["deal"], row["generation"]): DealQuality(**row) for row in rows}
    return sorted(found.values(), key=lambda row: (row.made_at, row.deal))


def measure_new(
    store: DealStore, mode: Mode, tell_unmeasured: Callable[[str, str], None] = _tell_nobody
) -> int:
    """Measure the deals whose current generation was not, and keep the numbers.

    Rows are written as it goes on: who is killed, or measures at the same time, loses nothing.

    Args:
        store: The deals.
        mode: The mode.
        tell_unmeasured: Told the deal and the reason, where a deal cannot be measured; the others
            are.

    Returns:
        How many deals were measured.

    Raises:
        StoreError: The deals or the table cannot be read.
    """
    measured: dict[str, int] = {}
    for row in read_quality(store, mode):
        measured[row.deal] = max(row.generation, measured.get(row.deal, 0))

    def measure(deal: str) -> DealQuality | SegpipeError | None:
        try:
            snapshot = store.current(deal, mode)
            is_new = snapshot is not None and snapshot.generation > measured.get(deal, 0)
            return measure_deal(store, deal, mode) if is_new else None
        except SegpipeError as error:
            return error

    deals, count = store.deals(), 0
    for start in range(0, len(deals), _DEALS_PER_PART):
        chunk = deals[start : start + _DEALS_PER_PART]
        found = list(store.folders.map(measure, chunk))
        for deal, result in zip(chunk, found, strict=True):
            if isinstance(result, SegpipeError):
                tell_unmeasured(deal, result.message)
        rows = [result for result in found if isinstance(result, DealQuality)]
        if rows:
            table = pa.Table.from_pylist([asdict(row) for row in rows], QUALITY_SCHEMA)
            store.quality.append(mode, table)
        count += len(rows)
    return count


def measure_deal(store: DealStore, deal: str, mode: Mode) -> DealQuality:
    """Measure what is current of a deal and mode, from the promoted files alone.

    Raises:
        NotPromotedError: Nothing is current, or not down to refinement.
        StaleUpstreamError: What is current does not belong together: a run mends it.
        CorruptVersionError: Files are damaged.
    """
    with DealResults.current(store, deal, mode, _STAGES) as results:
        sums = _Sums()
        for photo in results:
            sums.add(photo)
        snapshot = results.snapshot
        made = snapshot.manifest(SEGMENTATION.name)
        summary = made.info.summary
        reviews = store.reviews.images(deal, mode)
        decisions = [each for review in reviews.values() for each in review.decisions]
        photos = len(results)
        low, middle, high = _percentiles(sums.scores)
        return DealQuality(
            deal=deal,
            generation=results.generation,
            made_at=snapshot.commit.created_at,
            settings_generation=made.info.settings_generation,
            segmenter=results.producers[SEGMENTATION.name],
            refiner=results.producers[REFINEMENT.name],
            photos=photos,
            items=len(sums.scores),
            items_per_photo=_ratio(len(sums.scores), photos),
            empty_ratio=_ratio(sums.empty, photos),
            rejected_ratio=_ratio(sums.rejected, sums.raw),
            score_p10=low,
            score_p50=middle,
            score_p90=high,
            accepted_ratio=_ratio(sums.accepted, sums.with_mask),
            refined_iou=_mean(sums.refined_ious),
            item_size=float(np.median(sums.sizes)) if sums.sizes else None,
            reviewed=sum(decision.seen is not None for decision in decisions),
            reject_reasons=dict(Counter(_reasons(decisions))),
            edit_iou=_mean([*_edit_ious(decisions)]),
            seconds_per_photo=_ratio(sum(summary.seconds.values()), photos) if summary else None,
            cost_per_photo=_ratio(summary.usage.cost, photos) if summary else None,
        )


class _Sums:
    """What is summed over the photos of a deal."""

    def __init__(self) -> None:
        self.raw = self.rejected = self.empty = self.with_mask = self.accepted = 0
        self.scores: list[float] = []
        self.sizes: list[float] = []
        self.refined_ious: list[float] = []

    def add(self, photo: PhotoResults) -> None:
        """Take what the stages have given of a photo."""
        found = photo.of(SEGMENTATION).result.detections
        kept = photo.of(DEDUP).kept
        self.raw += len(found)
        self.rejected += len(found) - len(kept)
        self.empty += not kept
        self.scores += [found[index].score for index in kept]
        pixels = photo.photo.width * photo.photo.height
        for item in photo.of(REFINEMENT).items:
            if item.mask is None:
                continue
            self.with_mask += 1
            self.accepted += item.refined is not None
            self.sizes.append(sqrt(item.mask.area / pixels))
            if item.refined is not None and item.coarse is not None:
                self.refined_ious.append(iou(item.coarse, item.refined))


def _reasons(decisions: Iterable[Decision]) -> Iterator[str]:
    for decision in decisions:
        if decision.verdict is Verdict.REJECT:
            yield decision.reason or "none"


def _edit_ious(decisions: Iterable[Decision]) -> Iterator[float]:
    """How like the masks that people drew are to those that they saw."""
    for decision in decisions:
        if decision.verdict is Verdict.EDIT and decision.mask and decision.seen_mask:
            width, height = _size_of(decision.mask, decision.seen_mask)
            drawn, seen = (
                runs.to_mask(width, height) for runs in (decision.mask, decision.seen_mask)
            )
            yield iou(drawn, seen)


def _size_of(*masks: MaskRuns) -> tuple[int, int]:
    """Width and height of a photo that has these masks."""
    return (
        max(runs.x + runs.size[1] for runs in masks),
        max(runs.y + runs.size[0] for runs in masks),
    )


def _percentiles(values: Sequence[float]) -> tuple[float | None, ...]:
    if not values:
        return (None,) * len(_PERCENTILES)
    return tuple(np.percentile(values, _PERCENTILES).tolist())


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _ratio(part: float, whole: int) -> float | None:
    return part / whole if whole else None
