"""The items of a deal as they stand now: what is current, and what people have decided since."""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from segpipe.errors import ReviewError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.results import DealResults
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.reviewed_items import (
    ReviewedImage,
    ReviewedItem,
    ReviewSettings,
    review_image,
)
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.prompt import Mode
from segpipe.store.manifests import utc_now
from segpipe.store.reviews import ImageReview, Verdict
from segpipe.store.reviews.review_operations import (
    Decide,
    Decided,
    Operation,
    SetDone,
    apply_operations,
)
from segpipe.store.store import DealStore
from segpipe.vision.mask import Mask
from segpipe.vision.mask_codecs import mask_digest


@dataclass(frozen=True, slots=True, eq=False)
class PhotoNow:
    """One photo.

    Attributes:
        image: Its image id.
        review: What people decided about it.
        reviewed: Its items, as the next run will have them.
        seen_masks: The masks about which can be decided, by their digest.
    """

    image: str
    review: ImageReview
    reviewed: ReviewedImage
    seen_masks: dict[str, Mask]


def photos_now(store: DealStore, deal: str, mode: Mode) -> Iterator[PhotoNow]:
    """Each photo of a deal, in order, one at a time in memory.

    Raises:
        NotPromotedError: Nothing is current.
        ReviewError: A file of the reviews cannot be used, or has a mask outside its photo.
    """
    reviews = store.reviews.images(deal, mode)
    with DealResults.current(store, deal, mode, [SEGMENTATION, REFINEMENT]) as results:
        for image in results.images():
            yield photo_now(results, image, reviews.get(image) or _nothing(image, mode))


def photo_now(results: DealResults, image: str, review: ImageReview) -> PhotoNow:
    """One of the photos whose segmentation and refinement are read; raises ReviewError."""
    photo = results.photo(image)
    segmented, refined = photo.of(SEGMENTATION), photo.of(REFINEMENT)
    found = review_image(segmented, refined, None, ReviewSettings())
    masks = [item.shown_mask(found.width, found.height) for item in found.found]
    return PhotoNow(
        image=image,
        review=review,
        reviewed=review_image(segmented, refined, review, ReviewSettings()),
        seen_masks={mask_digest(mask): mask for mask in masks},
    )


def _nothing(image: str, mode: Mode) -> ImageReview:
    return ImageReview(image=image, mode=mode)


def decide(
    store: DealStore,
    deal: str,
    photo: PhotoNow,
    numbers: Collection[int],
    decided: Decided,
    *,
    by: str,
    done: bool = False,
) -> ImageReview:
    """Decide the same about some items of a photo, whatever was decided before.

    Args:
        store: The deals.
        deal: The deal.
        photo: The photo as it is now.
        numbers: The items, by their detections, as their crops are named.
        decided: Accept or reject.
        by: Who decides.
        done: Whether the photo is done with that.

    Raises:
        ReviewError: There is no such item.
        ReviewConflictError: Somebody else decided about the same meanwhile.
    """
    items = {item.detection: item for item in photo.reviewed.items if item.missing is None}
    if unknown := sorted(set(numbers) - items.keys()):
        raise ReviewError(
            f"there is no item {unknown[0]} in photo {photo.image!r}; there are: "
            f"{', '.join(map(str, items)) or 'none'}",
            deal=deal,
            image=photo.image,
        )
    operations: list[Operation] = [
        operation
        for number in numbers
        if (operation := _operation(photo, items[number], decided)) is not None
    ]
    operations += [SetDone(to=True)] if done else []

    def change(present: ImageReview) -> ImageReview:
        return apply_operations(
            present,
            operations,
            seen_masks=photo.seen_masks,
            created_by=by,
            created_at=utc_now(),
        )

    return store.reviews.edit(deal, photo.review.mode, photo.image, change)


def _operation(photo: PhotoNow, item: ReviewedItem, decided: Decided) -> Decide | None:
    """What is to be done so that an item stands as was decided; None when it does."""
    key = photo.reviewed.key(item)
    present = photo.review.decision(key)
    was = Decided.of(present) if present else None
    if not item.is_drawn:
        return Decide(key=key, was=was, to=decided)
    if decided.verdict is Verdict.ACCEPT:
        return None  # somebody drew it, and it goes on
    is_added = item.state is ReviewState.ADDED
    return Decide(key=key, was=was, to=None if is_added else decided)
