"""What people decide about items: the queue, a photo's items, changes that merge, leases."""

from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Response
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from segpipe.errors import ReviewConflictError
from segpipe.flow.stages.reviewed_items import OPEN
from segpipe.prompt import Mode
from segpipe.store.manifests import utc_now
from segpipe.store.reviews import ImageReview, Verdict
from segpipe.store.reviews.review_operations import (
    MAX_OPERATIONS,
    Decide,
    Decided,
    Operation,
    apply_operations,
)
from segpipe.studio.photo_reviews import ItemInReview, MasksOfItem, items_in, keys_of
from segpipe.studio.pictures import photo_tag
from segpipe.studio.review_leases import LEASE_S, Item
from segpipe.studio.review_order import QueuedItem, ReviewOrder, in_order
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving
from segpipe.wire.inference import Problem

router = APIRouter(prefix="/api/deals/{deal}", tags=["reviews"])

PATH = r"/api/deals/[^/]+/photos/[^/]+/review"
MAX_BODY_BYTES = 20_000_000
"""Of changes of a review: all masks of a photo of many items."""
_CHANGED, _NOT_MODIFIED = 412, 304
_MAX_HEADER_CHARS = 200
_MAX_LEASED = 100
_MAX_TAB_CHARS = 64
_Tag = Annotated[str | None, Header(max_length=_MAX_HEADER_CHARS)]
_reviewer = [Depends(needs(Role.REVIEWER))]


class QueuedPhoto(BaseModel):
    """A photo of the queue.

    Attributes:
        name: Its file name.
        tag: Of its content, for addresses of its pictures.
        width: Of the upright photo, pixels.
        height: Of the upright photo, pixels.
    """

    name: str
    tag: str
    width: int
    height: int


class ReviewQueue(BaseModel):
    """What there is to look at in a deal.

    Attributes:
        generation: The one that is current; 0 when none is.
        total: Items of the deal, of which a sample has a part.
        items: In the order that was asked for.
        photos: Their photos, by image id.
    """

    generation: int
    total: int
    items: tuple[QueuedItem, ...]
    photos: dict[str, QueuedPhoto]


class PhotoInReview(BaseModel):
    """A photo's items, and what was decided about them.

    Attributes:
        generation: The one that is current; 0 when none is.
        items: In the order of their detections.
        document: What was decided, with its tag.
    """

    generation: int
    items: tuple[ItemInReview, ...]
    document: dict[str, Any]


class ReviewChanges(BaseModel):
    """What one person decided about a photo, in order."""

    model_config = ConfigDict(extra="forbid")

    operations: Annotated[tuple[Operation, ...], Field(max_length=MAX_OPERATIONS)]


class AcceptRest(BaseModel):
    """Accept all that nobody has decided about; of all photos, or of some."""

    model_config = ConfigDict(extra="forbid")

    images: tuple[str, ...] | None = None


class Accepted(BaseModel):
    """What was accepted, by image id: the keys of the items."""

    photos: dict[str, tuple[str, ...]]


class LeasedItem(BaseModel):
    """An item that somebody is about to look at."""

    model_config = ConfigDict(extra="forbid")

    image: Annotated[str, Field(max_length=255)]
    key: Annotated[str, Field(max_length=64)]


class WantedLeases(BaseModel):
    """What a browser tab is about to show, in place of what it had before."""

    model_config = ConfigDict(extra="forbid")

    tab: Annotated[str, Field(min_length=1, max_length=_MAX_TAB_CHARS)]
    items: Annotated[tuple[LeasedItem, ...], Field(max_length=_MAX_LEASED)]


class HeldItem(LeasedItem):
    """An item that somebody else looks at."""

    person: str


class HeldLeases(BaseModel):
    """What others look at, and for how many seconds the rest is one's own."""

    held: tuple[HeldItem, ...]
    for_s: float


@router.get("/review/queue")
def read_queue(
    studio: Serving,
    deal: str,
    mode: Mode = Mode.FIND_ALL,
    order: ReviewOrder = ReviewOrder.UNCERTAIN,
    percent: Annotated[float, Query(gt=0, le=100)] = 100,
    seed: int = 0,
) -> ReviewQueue:
    """The items of a deal, in an order, without their masks."""
    generation, items = studio.reviews.queue(deal, mode)
    chosen = in_order(items, order, percent=percent, seed=seed)
    images = {item.image for item in chosen}
    photos = {}
    for photo in studio.store.photos(deal):
        if photo.image in images:
            width, height = studio.photos.size(deal, photo)
            photos[photo.image] = QueuedPhoto(
                name=photo.name, tag=photo_tag(photo), width=width, height=height
            )
    # A photo that was removed since it was segmented has no picture to decide by.
    there = tuple(item for item in chosen if item.image in photos)
    return ReviewQueue(generation=generation, total=len(items), items=there, photos=photos)


@router.put("/review/leases", dependencies=_reviewer)
def lease_items(
    studio: Serving, person: Asking, deal: str, wanted: WantedLeases, mode: Mode = Mode.FIND_ALL
) -> HeldLeases:
    """Say which items one is about to look at, so that nobody else is shown them for a while."""
    items: list[Item] = [(deal, mode.value, one.image, one.key) for one in wanted.items]
    taken = studio.leases.take(wanted.tab, person.name, items)
    held = tuple(
        HeldItem(image=one[2], key=one[3], person=taken[one]) for one in items if one in taken
    )
    return HeldLeases(held=held, for_s=LEASE_S)


@router.post("/review/accept", dependencies=_reviewer)
def accept_rest(
    studio: Serving, person: Asking, deal: str, rest: AcceptRest, mode: Mode = Mode.FIND_ALL
) -> Accepted:
    """Accept all items about which nobody has decided, as they are now."""
    _, queue = studio.reviews.queue(deal, mode)
    images = {item.image for item in queue}
    wanted = sorted(images if rest.images is None else images.intersection(rest.images))
    accepted = {}
    for image in wanted:
        keys = _accept_open(studio, person.name, deal, mode, image)
        if keys:
            accepted[image] = keys
    count = sum(map(len, accepted.values()))
    if count:
        studio.audit.note(person, "accepted the rest", deal=deal, mode=mode.value, items=count)
    return Accepted(photos=accepted)


@router.get("/photos/{image}/review")
def read_review(
    studio: Serving,
    deal: str,
    image: str,
    mode: Mode = Mode.FIND_ALL,
    if_none_match: _Tag = None,
) -> Response:
    """What was decided about a photo."""
    photo = studio.photos.photo(deal, image)
    return _document(studio.store.reviews.of_image(deal, mode, photo.image), if_none_match)


@router.get("/photos/{image}/review/items")
def read_items(studio: Serving, deal: str, image: str, mode: Mode = Mode.FIND_ALL) -> PhotoInReview:
    """The items of a photo with their outlines, and what was decided."""
    photo = studio.photos.photo(deal, image)
    review = studio.store.reviews.of_image(deal, mode, photo.image)
    generation, items = studio.reviews.items(deal, mode, photo.image)
    return PhotoInReview(
        generation=generation, items=tuple(items), document=review_document(review)
    )


@router.get("/photos/{image}/review/masks/{key}")
def read_masks(
    studio: Serving, deal: str, image: str, key: str, mode: Mode = Mode.FIND_ALL
) -> MasksOfItem:
    """The masks of an item: what goes on now, coarse and refined."""
    photo = studio.photos.photo(deal, image)
    return studio.reviews.masks(deal, mode, photo.image, key)


@router.patch(
    "/photos/{image}/review",
    dependencies=_reviewer,
    responses={_CHANGED: {"model": Problem, "description": "Others decided; it is there, too"}},
)
def change_review(
    studio: Serving,
    person: Asking,
    deal: str,
    image: str,
    changes: ReviewChanges,
    mode: Mode = Mode.FIND_ALL,
    if_match: _Tag = None,
) -> Response:
    """Decide about items of a photo.

    The operations are merged into what is there, all of them or none. Where somebody else decided
    otherwise about the same item than they say was decided, the answer is 412, and has those items
    and the document as it is. With `If-Match` any other state of the document is a 412.
    """
    photo = studio.photos.photo(deal, image)
    width, height = studio.photos.size(deal, photo)
    _, seen = studio.reviews.seen(deal, mode, photo.image)
    merge = partial(
        apply_operations,
        operations=changes.operations,
        seen_masks=seen.masks if seen else {},
        created_by=person.name,
        created_at=utc_now(),
    )

    def change(present: ImageReview) -> ImageReview:
        _require_tag(present, if_match)
        changed = merge(present)
        touched = {each.key for each in changes.operations if isinstance(each, Decide)}
        kept = tuple(each for each in changed.decisions if each.key in touched)
        changed.model_copy(update={"decisions": kept}).require_inside(width, height)
        return changed

    try:
        written = studio.store.reviews.edit(deal, mode, photo.image, change)
    except ReviewConflictError as conflict:
        return _conflict(conflict, studio.store.reviews.of_image(deal, mode, photo.image))
    studio.audit.note(
        person,
        "reviewed items",
        deal=deal,
        mode=mode.value,
        image=photo.image,
        operations=len(changes.operations),
        generation=written.generation,
    )
    return _document(written)


def review_document(review: ImageReview) -> dict[str, Any]:
    """A review as pages get it: as its file says it, with its tag, without the masks seen."""
    said = review.model_dump(
        mode="json", exclude_none=True, exclude={"decisions": {"__all__": {"seen_mask"}}}
    )
    return {"tag": review.tag(), **said}


def _accept_open(studio: Serving, name: str, deal: str, mode: Mode, image: str) -> tuple[str, ...]:
    """Accept what is open in a photo; which items that were."""
    accepted: tuple[str, ...] = ()

    def change(present: ImageReview) -> ImageReview:
        nonlocal accepted
        _, seen = studio.reviews.seen(deal, mode, image)
        keys = keys_of(items_in(seen, present), OPEN) if seen else []
        accepted = tuple(keys)
        operations = [Decide(key=key, was=None, to=Decided(verdict=Verdict.ACCEPT)) for key in keys]
        return apply_operations(
            present,
            operations,
            seen_masks=seen.masks if seen else {},
            created_by=name,
            created_at=utc_now(),
        )

    studio.store.reviews.edit(deal, mode, image, change)
    return accepted


def _document(review: ImageReview, known: str | None = None) -> Response:
    headers = {"ETag": _quoted(review), "Cache-Control": "no-cache"}
    if known == _quoted(review):
        return Response(status_code=_NOT_MODIFIED, headers=headers)
    return JSONResponse(review_document(review), headers=headers)


def _conflict(conflict: ReviewConflictError, present: ImageReview) -> Response:
    problem = Problem(error="ReviewConflict", detail=conflict.message, field=None)
    content = problem.model_dump() | {
        "decisions": list(conflict.decisions),
        "document": review_document(present),
    }
    return JSONResponse(content, _CHANGED, headers={"ETag": _quoted(present)})


def _require_tag(present: ImageReview, wanted: str | None) -> None:
    if wanted not in {None, "*", _quoted(present)}:
        raise ReviewConflictError(
            f"the review is of tag {_quoted(present)}, not {wanted}: read it and decide again"
        )


def _quoted(review: ImageReview) -> str:
    return f'"{review.tag()}"'
