"""What a person does to records of finds among the prompts counts: removed is rejected."""

from collections.abc import Collection, Sequence
from typing import Self

from segpipe.errors import PromptConflictError
from segpipe.flow.apply_review import ReviewState
from segpipe.flow.finds import found_by_annotation, record_of_find
from segpipe.flow.results import DealResults
from segpipe.flow.review_now import PhotoNow, decide, photo_now
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.reviewed_items import ReviewedItem
from segpipe.flow.stages.segmentation import SEGMENTATION
from segpipe.prompt import Mode
from segpipe.store.prompts import Annotation, ImagePrompts, Source
from segpipe.store.reviews import ImageReview, RejectReason, Verdict
from segpipe.store.reviews.review_operations import Decided
from segpipe.store.store import DealStore


def found_among(prompts: ImagePrompts, ids: Collection[str]) -> list[str]:
    """Those of some annotations that are records of what a run has found."""
    return [
        each.id
        for each in prompts.annotations
        if each.id in ids and each.source is Source.MODEL and each.mode is Mode.FIND_ALL
    ]


def remove_finds(store: DealStore, deal: str, image: str, ids: Collection[str], *, by: str) -> None:
    """Reject the finds that some records are about, and take the records out of the prompts.

    The rejection is bound to the mask, so the find does not come back with another run.

    Args:
        store: The deals.
        deal: The deal.
        image: The image id.
        ids: The ids of the records.
        by: Who removes them.

    Raises:
        PromptConflictError: Another run has promoted meanwhile, and its finds are others.
        NotPromotedError: Nothing is current.
    """
    with _CurrentFinds(store, deal, image) as finds:
        numbers = {name: finds.number(name) for name in ids}
        gone = [name for name, number in numbers.items() if number is None]
        if finds.photo is None or gone:
            raise PromptConflictError(
                f"another run has found other items meanwhile than {', '.join(gone or ids)}: look "
                "at the photo as it is now",
                deal=deal,
                image=image,
            )
        rejected = Decided(verdict=Verdict.REJECT, reason=RejectReason.NOT_AN_ITEM)
        wanted = [number for number in numbers.values() if number is not None]
        decide(store, deal, finds.photo, wanted, rejected, by=by)
    store.prompts.edit_image(deal, image, lambda now: _without(now, ids))


def bring_back_finds(store: DealStore, deal: str, image: str, ids: Collection[str]) -> list[str]:
    """Take back that records were removed; those that these ids are of, and that were."""
    if not store.current(deal, Mode.FIND_ALL):
        return []
    with _CurrentFinds(store, deal, image) as finds:
        back = {name: item for name in ids if (item := finds.rejected(name))}
        if back:
            keys = {item.decision for item in back.values()}
            store.reviews.edit(deal, Mode.FIND_ALL, image, lambda now: _undecided(now, keys))
            records = [
                record_of_find(finds.results.snapshot, item.detection, item.box)
                for item in back.values()
            ]
            store.prompts.edit_image(deal, image, lambda now: _with(now, records))
    return list(back)


class _CurrentFinds:
    """What is current of a photo in ``find_all``; a context manager."""

    def __init__(self, store: DealStore, deal: str, image: str) -> None:
        stages = (SEGMENTATION, REFINEMENT)
        self.results = DealResults.current(store, deal, Mode.FIND_ALL, stages)
        self.photo: PhotoNow | None = None
        if image in self.results.images():
            review = store.reviews.of_image(deal, Mode.FIND_ALL, image)
            self.photo = photo_now(self.results, image, review)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.results.close()

    def number(self, record: str) -> int | None:
        """The item that a record is about; None when there is none any more."""
        item = self._item(record)
        return item.detection if item else None

    def rejected(self, record: str) -> ReviewedItem | None:
        """The same, if somebody rejected it."""
        item = self._item(record)
        return item if item and item.state is ReviewState.REJECTED else None

    def _item(self, record: str) -> ReviewedItem | None:
        number = found_by_annotation(self.results.snapshot, record)
        items = self.photo.reviewed.items if self.photo else ()
        return next((item for item in items if item.detection == number), None)


def _undecided(review: ImageReview, keys: Collection[str | None]) -> ImageReview:
    kept = tuple(each for each in review.decisions if each.key not in keys)
    return review.model_copy(update={"decisions": kept})


def _with(prompts: ImagePrompts, records: Sequence[Annotation]) -> ImagePrompts:
    there = {each.id for each in prompts.annotations}
    new = tuple(each for each in records if each.id not in there)
    return prompts.model_copy(update={"annotations": (*prompts.annotations, *new)})


def _without(prompts: ImagePrompts, ids: Collection[str]) -> ImagePrompts:
    kept = tuple(each for each in prompts.annotations if each.id not in ids)
    return prompts.model_copy(update={"annotations": kept})
