"""Deals for programs and for the pages' own modules: the list, one deal, its photos, rollback."""

from datetime import datetime
from pathlib import Path as FilePath
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import BaseModel

from segpipe.prompt import Mode
from segpipe.studio.deal_history import roll_back
from segpipe.studio.deal_list import DealQuery, Order
from segpipe.studio.deal_status import DealStatus, ModeStatus, Tone
from segpipe.studio.photo_intake import PhotoRoute, received_photo, take_photos
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving

router = APIRouter(prefix="/api/deals", tags=["deals"])
uploads = APIRouter(route_class=PhotoRoute)

_MAX_PAGE = 200
_MAX_GENERATION = 9_999_999_999
_MAX_CHARS = 200
Deal = Annotated[str, Path(description="The deal.")]


class ModeFacts(BaseModel):
    """How a deal stands in a mode."""

    mode: Mode
    state: str
    tone: Tone
    reason: str
    needs_run: bool
    generation: int | None
    promoted_at: datetime | None
    run_id: str | None
    photos: int
    items: int


class DealFacts(BaseModel):
    """How a deal stands."""

    deal: str
    photos: int
    fault: str | None
    modes: list[ModeFacts]


class DealListing(BaseModel):
    """A page of the list of deals; ``following`` is the ``after`` of the next one."""

    deals: list[DealFacts]
    total: int
    following: str | None


class Added(BaseModel):
    """What became of a photo that was sent."""

    deal: str
    new: list[str]
    same: list[str]
    skipped: list[str]


class Rollback(BaseModel):
    """Which generation shall be current again, and which one was when that was decided."""

    mode: Mode
    generation: Annotated[int, Query(ge=1, le=_MAX_GENERATION)]
    seen: Annotated[int, Query(ge=1, le=_MAX_GENERATION)] | None = None


class RolledBack(BaseModel):
    """The new generation, which names the versions of an older one."""

    deal: str
    mode: Mode
    generation: int
    of: int


@router.get("", summary="A page of the list of deals")
def list_deals(
    studio: Serving,
    search: Annotated[str, Query(max_length=_MAX_CHARS)] = "",
    mode: Mode = Mode.FIND_ALL,
    tone: Tone | None = None,
    order: Order = Order.NAME,
    descending: bool = False,
    after: Annotated[str, Query(max_length=_MAX_CHARS)] = "",
    size: Annotated[int, Query(ge=1, le=_MAX_PAGE)] = 50,
) -> DealListing:
    """Deals, sorted, with how they stand in both modes."""
    query = DealQuery(search, mode, tone, order, descending, after or None, size)
    page = studio.deals.page(query)
    deals = [_facts(status) for status in page.deals]
    return DealListing(deals=deals, total=page.total, following=page.following)


@router.get("/{deal}", summary="How a deal stands")
def show_deal(studio: Serving, deal: Deal) -> DealFacts:
    """One deal, in both modes."""
    return _facts(studio.status.existing(deal))


@router.post(
    "/{deal}/rollback",
    summary="Make an older generation current again",
    dependencies=[Depends(needs(Role.ADMIN))],
)
def roll_deal_back(studio: Serving, person: Asking, deal: Deal, wanted: Rollback) -> RolledBack:
    """All assets of a mode at once; nothing is removed."""
    generation = roll_back(studio, person, deal, wanted.mode, wanted.generation, seen=wanted.seen)
    return RolledBack(deal=deal, mode=wanted.mode, generation=generation, of=wanted.generation)


@uploads.put(
    "/{deal}/photos/{name}",
    summary="Add a photo, whole or not at all",
    dependencies=[Depends(needs(Role.REVIEWER))],
    openapi_extra={
        "requestBody": {
            "content": {"application/octet-stream": {"schema": {"format": "binary"}}},
            "required": True,
        }
    },
)
def add_photo(
    request: Request,
    studio: Serving,
    person: Asking,
    deal: Deal,
    name: Annotated[str, Path(description="The photo's file name.")],
) -> Added:
    """Its bytes are the body. The same photo again is no error; another of that name is."""
    added = take_photos(studio, person, deal, [received_photo(request)])
    skipped = [FilePath(path).name for path in added.skipped]
    return Added(deal=deal, new=list(added.new), same=list(added.same), skipped=skipped)


router.include_router(uploads)


def _facts(status: DealStatus) -> DealFacts:
    return DealFacts(
        deal=status.deal,
        photos=status.photos,
        fault=status.fault,
        modes=[_mode(each) for each in status.modes],
    )


def _mode(status: ModeStatus) -> ModeFacts:
    return ModeFacts(
        mode=status.mode,
        state=str(status.state),
        tone=status.tone,
        reason=status.reason,
        needs_run=status.needs_run,
        generation=status.generation,
        promoted_at=status.promoted_at,
        run_id=status.run_id,
        photos=status.counts.images,
        items=status.counts.crops,
    )
