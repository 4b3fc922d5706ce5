"""Two settings, or two generations, side by side on a sample of photos; nothing is promoted.

A side answers photo by photo as a run would: segmentation, dedup, refinement. What a paid segmenter
answered before is kept, so that it costs nothing again: a comparison that was stopped goes on where
it was. A photo at which a side fails is told and counts for neither.
"""

import random
from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow.compute as pc

from segpipe.errors import SegpipeError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.compare_sides import COMPARED_STAGES, Side, SideAnswer
from segpipe.flow.photo import LoadedPhoto, PhotoSettings, load_photo
from segpipe.flow.results import DealResults
from segpipe.flow.review_now import photo_now
from segpipe.flow.stages.dedup import DEDUP, DEDUP_FILE
from segpipe.prompt import Mode
from segpipe.store.inputs import Photo
from segpipe.store.store import DealStore
from segpipe.threads import finish_in_thread
from segpipe.vision.difference import draw_difference
from segpipe.vision.encode import encode_jpeg
from segpipe.vision.mask import Mask
from segpipe.vision.match import boundary_iou, match_masks

_SIZE_STEPS = (250_000, 1_000_000, 4_000_000)  # bytes of a photo's file
_FEW_ITEMS = 10
_OPEN = frozenset({ReviewState.UNREVIEWED, ReviewState.CHANGED})
_SIDE_PX = 900
_JPEG_QUALITY = 80


class SampledPhoto(NamedTuple):
    """A photo that is compared."""

    deal: str
    photo: Photo


@dataclass(frozen=True, slots=True)
class TruthScore:
    """A side beside what people decided about a photo.

    Attributes:
        matched: Items that both have.
        missed: Items of people that the side has not.
        extra: Items of the side that people have not.
        boundary_iou: The mean over the matched ones; None when there are none.
    """

    matched: int
    missed: int
    extra: int
    boundary_iou: float | None


@dataclass(frozen=True, slots=True, eq=False)
class PhotoComparison:
    """Both sides of one photo.

    Attributes:
        sampled: The photo.
        a: What the one has.
        b: What the other has.
        picture: Where they differ, a JPEG; None where the photo cannot be read.
        matched: The pairs of places that show the same items.
        mean_iou: Of the pairs; None when there are none.
        truth_a: The one beside what people decided; None where they have not about every item.
        truth_b: The other.
    """

    sampled: SampledPhoto
    a: SideAnswer
    b: SideAnswer
    picture: bytes | None = None
    matched: tuple[tuple[int, int], ...] = ()
    mean_iou: float | None = None
    truth_a: TruthScore | None = None
    truth_b: TruthScore | None = None

    @property
    def is_whole(self) -> bool:
        """Whether both sides have answered."""
        return self.a.fault is None and self.b.fault is None

    @property
    def only_a(self) -> int:
        """Items that the other has not."""
        return len(self.a.masks) - len(self.matched)

    @property
    def only_b(self) -> int:
        """Items that the one has not."""
        return len(self.b.masks) - len(self.matched)

    @property
    def disagreement(self) -> float:
        """How much the sides differ: items of one side alone, and what the pairs lack to 1."""
        return self.only_a + self.only_b + len(self.matched) * (1 - (self.mean_iou or 1.0))


def sample_photos(
    store: DealStore,
    mode: Mode,
    count: int,
    *,
    deals: Sequence[str] = (),
    seed: int = 0,
) -> list[SampledPhoto]:
    """Photos by chance, with as large a part of each kind as all photos have.

    Kinds are told by the size of the file, and by how many items the last run found: none, few or
    many, or that there was none.

    Args:
        store: The deals.
        mode: The mode whose results count.
        count: How many at most.
        deals: The deals to take them from; all when none is named.
        seed: Of the choice: the same one chooses the same photos.
    """
    kinds: dict[tuple[int, int], list[SampledPhoto]] = defaultdict(list)
    for deal in deals or store.deals():
        try:
            photos, items = store.photos(deal), _last_items(store, deal, mode)
        except SegpipeError:
            if deals:
                raise
            continue
        for photo in photos:
            size = sum(photo.size >= step for step in _SIZE_STEPS)
            kinds[size, items.get(photo.image, -1)].append(SampledPhoto(deal, photo))
    chance = random.Random(seed)  # noqa: S311 - no secret
    whole = sum(map(len, kinds.values()))
    mixed = [
        ((place + chance.random()) / len(photos), sampled)
        for _, photos in sorted(kinds.items())
        for place, sampled in enumerate(chance.sample(photos, len(photos)))
    ]
    chosen = sorted(mixed, key=lambda each: each[0])[: min(count, whole)]
    return sorted(
        (sampled for _, sampled in chosen), key=lambda each: (each.deal, each.photo.image)
    )


async def compare(
    store: DealStore,
    mode: Mode,
    photos: Iterable[SampledPhoto],
    a: Side,
    b: Side,
    settings: PhotoSettings,
) -> AsyncGenerator[PhotoComparison, None]:
    """Ask both sides about each photo, one photo in memory at a time.

    Args:
        store: The deals.
        mode: The mode.
        photos: The photos.
        a: The one side.
        b: The other.
        settings: How photos are read.
    """
    for sampled in photos:
        try:
            loaded = await load_photo(store, sampled.deal, sampled.photo, settings)
        except SegpipeError as error:
            failed = SideAnswer(fault=error.message)
            yield PhotoComparison(sampled, failed, failed)
            continue
        answers = [await _answer(side, sampled.deal, loaded) for side in (a, b)]
        truth = await finish_in_thread(_truth, store, sampled, mode)
        yield await finish_in_thread(_compared, sampled, loaded, answers, truth)


async def _answer(side: Side, deal: str, loaded: LoadedPhoto) -> SideAnswer:
    try:
        return await side.answer(deal, loaded)
    except SegpipeError as error:
        return SideAnswer(fault=error.message)


def _compared(
    sampled: SampledPhoto,
    loaded: LoadedPhoto,
    answers: Sequence[SideAnswer],
    truth: Sequence[Mask] | None,
) -> PhotoComparison:
    a, b = answers
    drawn = draw_difference(loaded.decoded.rgb, a.masks, b.masks, max_side_px=_SIDE_PX)
    picture = encode_jpeg(drawn, quality=_JPEG_QUALITY)
    if a.fault or b.fault:
        return PhotoComparison(sampled, a, b, picture)
    pairs = match_masks(a.masks, b.masks)
    scores = [None if truth is None else score_beside(truth, side.masks) for side in (a, b)]
    return PhotoComparison(
        sampled,
        a,
        b,
        picture,
        matched=tuple((pair.a, pair.b) for pair in pairs),
        mean_iou=sum(pair.iou for pair in pairs) / len(pairs) if pairs else None,
        truth_a=scores[0],
        truth_b=scores[1],
    )


def score_beside(truth: Sequence[Mask], masks: Sequence[Mask]) -> TruthScore:
    """How masks stand beside those that people trust, of one photo."""
    pairs = match_masks(truth, masks)
    edges = [boundary_iou(truth[pair.a], masks[pair.b]) for pair in pairs]
    return TruthScore(
        len(pairs),
        missed=len(truth) - len(pairs),
        extra=len(masks) - len(pairs),
        boundary_iou=sum(edges) / len(edges) if edges else None,
    )


def _truth(store: DealStore, sampled: SampledPhoto, mode: Mode) -> list[Mask] | None:
    """The items of a photo about which people decided all; None where they did not."""
    image = sampled.photo.image
    try:
        review = store.reviews.of_image(sampled.deal, mode, image)
        if not review.says_something:
            return None
        with DealResults.current(store, sampled.deal, mode, COMPARED_STAGES) as results:
            items = photo_now(results, image, review).reviewed.items
    except SegpipeError:
        return None
    if not review.done and any(item.state in _OPEN for item in items):
        return None
    return [item.mask for item in items if item.is_kept and item.mask is not None]


def _last_items(store: DealStore, deal: str, mode: Mode) -> dict[str, int]:
    """How many items the last run found in each photo, roughly: 0, 1 for few, 2 for many."""
    snapshot = store.current(deal, mode)
    if snapshot is None or not snapshot.has(DEDUP.name):
        return {}
    with DealResults(deal, snapshot, (DEDUP,)) as results:
        kept = {
            image: pc.sum(results.rows(DEDUP, DEDUP_FILE, image)["kept"]).as_py() or 0
            for image in results.images()
        }
    return {image: (count > 0) + (count > _FEW_ITEMS) for image, count in kept.items()}
