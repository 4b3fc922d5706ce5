"""The items of a photo as somebody sees them who decides about them."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from cachetools import LRUCache

from segpipe.errors import DealNotFoundError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.results import DealResults
from segpipe.flow.stages.refinement import REFINEMENT, RefinedImage
from segpipe.flow.stages.reviewed_items import (
    ReviewedImage,
    ReviewSettings,
    review_image,
    shown_mask,
)
from segpipe.flow.stages.segmentation import SEGMENTATION, SegmentedImage
from segpipe.prompt import Mode
from segpipe.store.reviews import ImageReview, MaskRuns
from segpipe.store.snapshot import Snapshot
from segpipe.store.store import DealStore
from segpipe.studio.review_order import QueuedItem
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import mask_digest

_KEPT_ITEMS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class SeenPhoto:
    """What a run found in a photo.

    Attributes:
        segmented: Its raw detections.
        refined: Its survivors.
        masks: The mask of each survivor, as it is seen, by its digest.
        detections: Which survivor has which mask.
    """

    segmented: SegmentedImage
    refined: RefinedImage
    masks: dict[str, Mask]
    detections: dict[int, str]

    def reviewed(self, review: ImageReview) -> ReviewedImage:
        """How each item stands by a review."""
        return review_image(self.segmented, self.refined, review, ReviewSettings())


@dataclass(frozen=True, slots=True)
class ItemInReview:
    """An item, and how it stands.

    Attributes:
        key: What a decision about it is about.
        detection: Its number in the photo.
        box: ``xyxy``, pixels of the upright photo.
        path: Its outline as SVG path data relative to the box, 0 to 1; "" where there is none.
        score: The segmenter's confidence, 0 to 1.
        label: What it is, when that is known.
        state: How it stands.
        is_refined: Whether the refiner's mask is the one that is used.
    """

    key: str
    detection: int
    box: Box
    path: str
    score: float
    label: str | None
    state: ReviewState
    is_refined: bool


@dataclass(frozen=True, slots=True)
class MasksOfItem:
    """The masks of an item, from which and to which somebody mends it.

    Attributes:
        now: The one that goes on now: a person's, where there is one.
        coarse: The segmenter's.
        refined: The refiner's, where it was accepted.
    """

    now: MaskRuns | None
    coarse: MaskRuns | None
    refined: MaskRuns | None


class PhotoReviews:
    """Reads the items of photos; what was read last is kept, as each decision asks for it.

    Args:
        store: The deals.
    """

    def __init__(self, store: DealStore) -> None:
        self._store = store
        self._seen: LRUCache[tuple[str, str, str, str], SeenPhoto] = LRUCache(
            _KEPT_ITEMS, getsizeof=lambda photo: 1 + len(photo.refined.items)
        )

    def seen(self, deal: str, mode: Mode, image: str) -> tuple[int, SeenPhoto | None]:
        """The current generation, 0 when there is none, and what it found in a photo."""
        snapshot = self._snapshot(deal, mode)
        if snapshot is None:
            return 0, None
        kept = self._seen.get(self._key(snapshot, image))
        if kept is None:
            with DealResults(deal, snapshot, [SEGMENTATION, REFINEMENT]) as results:
                kept = self._read(results, snapshot, image) if image in results.images() else None
        return snapshot.generation, kept

    def items(self, deal: str, mode: Mode, image: str) -> tuple[int, list[ItemInReview]]:
        """The current generation, 0 when there is none, and the items of a photo."""
        generation, seen = self.seen(deal, mode, image)
        review = self._store.reviews.of_image(deal, mode, image)
        return generation, list(items_in(seen, review)) if seen else []

    def masks(self, deal: str, mode: Mode, image: str, key: str) -> MasksOfItem:
        """The masks of an item.

        Raises:
            DealNotFoundError: There is no such item, or no longer.
        """
        _, seen = self.seen(deal, mode, image)
        review = self._store.reviews.of_image(deal, mode, image)
        decision = review.decision(key)
        drawn = decision.mask if decision else None
        mask = seen.masks.get(key) if seen else None
        if drawn is None and mask is None:
            raise DealNotFoundError(
                "the item is not there any more: another run has found others; load the page again",
                deal=deal,
                image=image,
            )
        survivors = seen.refined.items if seen else ()
        of_key = next(
            (one for one in survivors if seen and seen.detections.get(one.detection) == key), None
        )
        return MasksOfItem(
            now=drawn or _runs(mask),
            coarse=_runs(of_key.coarse) if of_key else None,
            refined=_runs(of_key.refined) if of_key else None,
        )

    def queue(self, deal: str, mode: Mode) -> tuple[int, list[QueuedItem]]:
        """The current generation, 0 when there is none, and all items of a deal in their order."""
        snapshot = self._snapshot(deal, mode)
        if snapshot is None:
            return 0, []
        reviews, _ = self._store.reviews.look(deal, mode)
        queue: list[QueuedItem] = []
        with DealResults(deal, snapshot, [SEGMENTATION, REFINEMENT]) as results:
            for image in results.images():
                key = self._key(snapshot, image)
                seen = self._seen.get(key) or self._read(results, snapshot, image)
                review = reviews.get(image) or ImageReview(image=image, mode=mode)
                queue += [
                    QueuedItem(
                        image=image,
                        key=item.key,
                        detection=item.detection,
                        box=item.box,
                        score=item.score,
                        label=item.label,
                        state=item.state,
                        is_refined=item.is_refined,
                    )
                    for item in items_in(seen, review)
                ]
        return snapshot.generation, queue

    def _snapshot(self, deal: str, mode: Mode) -> Snapshot | None:
        snapshot = self._store.current(deal, mode)
        return snapshot if snapshot and snapshot.has(REFINEMENT.name) else None

    def _read(self, results: DealResults, snapshot: Snapshot, image: str) -> SeenPhoto:
        photo = results.photo(image)
        segmented, refined = photo.of(SEGMENTATION), photo.of(REFINEMENT)
        size = segmented.result.image_width, segmented.result.image_height
        shown = {
            item.detection: shown_mask(item.mask, item.box, *size)
            for item in refined.items
            if item.detection not in segmented.missing
        }
        detections = {detection: mask_digest(mask) for detection, mask in shown.items()}
        masks = {detections[detection]: mask for detection, mask in shown.items()}
        seen = SeenPhoto(segmented, refined, masks, detections)
        self._seen[self._key(snapshot, image)] = seen
        return seen

    def _key(self, snapshot: Snapshot, image: str) -> tuple[str, str, str, str]:
        return snapshot.deal, snapshot.mode, snapshot.version(REFINEMENT.name).name, image


def keys_of(items: Iterable[ItemInReview], states: frozenset[ReviewState]) -> list[str]:
    """The keys of the items that stand in one of these ways, each once."""
    return list(dict.fromkeys(item.key for item in items if item.state in states))


def items_in(seen: SeenPhoto, review: ImageReview) -> Iterator[ItemInReview]:
    """The items of a photo, and how each stands by a review."""
    refined = {item.detection: item.refined is not None for item in seen.refined.items}
    reviewed = seen.reviewed(review)
    for item in reviewed.items:
        if item.missing is not None:
            continue
        yield ItemInReview(
            key=reviewed.key(item) if item.is_drawn else seen.detections[item.detection],
            detection=item.detection,
            box=item.box,
            path=item.svg_path,
            score=item.score,
            label=item.label,
            state=item.state,
            is_refined=refined.get(item.detection, False),
        )


def _runs(mask: Mask | None) -> MaskRuns | None:
    return None if mask is None or mask.is_empty else MaskRuns.of(mask)
