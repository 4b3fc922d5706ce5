"""One deal: its photos, cut-outs, report and history, as they are current in a mode."""

from enum import StrEnum
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BeforeValidator

from segpipe.flow.stages.crops import CROPS
from segpipe.prompt import Mode
from segpipe.segmenters.sam3.segmind.ledger_costs import read_costs
from segpipe.segmenters.sam3.segmind.segmind_settings import LEDGER_FOLDER
from segpipe.studio.costs import costs_of
from segpipe.studio.deal_contents import CropPage, DealContents, read_contents, read_crops_page
from segpipe.studio.deal_history import read_history, read_shown, roll_back
from segpipe.studio.page_templates import Link, mode_of
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving, Studio

_SEE_OTHER = 303
_CROPS_OF_A_PAGE = 60
_PHOTOS_OF_A_PAGE = 60
_MAX_NUMBER = 9_999_999_999
Number = Annotated[int, Form(ge=1, le=_MAX_NUMBER)]
_EMPTY_IS_NONE = BeforeValidator(lambda value: value or None)
Chosen = Annotated[int | None, _EMPTY_IS_NONE, Query(ge=1, le=_MAX_NUMBER)]
Start = Annotated[int, Query(ge=0, le=_MAX_NUMBER)]


class Tab(StrEnum):
    """The parts of the page."""

    PHOTOS = "photos"
    CROPS = "crops"
    REPORT = "report"
    HISTORY = "history"
    COSTS = "costs"


TABS = {
    Tab.PHOTOS: "Photos",
    Tab.CROPS: "Crops",
    Tab.REPORT: "Report",
    Tab.HISTORY: "History",
    Tab.COSTS: "Costs",
}

router = APIRouter(include_in_schema=False)


@router.get("/deals/{deal}")
def show(
    request: Request,
    studio: Serving,
    deal: str,
    tab: Tab = Tab.PHOTOS,
    start: Start = 0,
    rolled_back: Chosen = None,
    left: Chosen = None,
    right: Chosen = None,
) -> Response:
    """The page with one of its parts."""
    status = studio.status.existing(deal)
    mode = mode_of(request)
    contents = read_contents(studio.store, status.deal, mode)
    return studio.pages.draw(
        request,
        "deal.html",
        deal=status,
        status=status.of(mode),
        contents=contents,
        tab=tab,
        tabs=TABS,
        rolled_back=rolled_back,
        **_of_tab(studio, status.deal, mode, contents, tab, start),
        **_beside(studio, status.deal, mode, left, right),
    )


@router.post("/deals/{deal}/rollback", dependencies=[Depends(needs(Role.ADMIN))])
def roll_deal_back(
    studio: Serving,
    person: Asking,
    deal: str,
    mode: Annotated[Mode, Form()],
    generation: Number,
    seen: Number,
) -> Response:
    """Make an older generation current again; the page then offers to undo it."""
    roll_back(studio, person, deal, mode, generation, seen=seen)
    place = Link(mode)("/deals/{}", deal, tab=Tab.HISTORY, rolled_back=seen)
    return RedirectResponse(place, _SEE_OTHER)


def _beside(
    studio: Studio, deal: str, mode: Mode, left: int | None, right: int | None
) -> dict[str, Any]:
    """Two generations that are shown side by side."""
    chosen = (left, right) if left and right else None
    found = [read_shown(studio.store, deal, mode, number) for number in chosen or ()]
    return {"beside": found, "images": list(dict.fromkeys(i for one in found for i in one.images))}


def _of_tab(
    studio: Studio, deal: str, mode: Mode, contents: DealContents, tab: Tab, start: int
) -> dict[str, Any]:
    match tab:
        case Tab.PHOTOS:
            end = start + _PHOTOS_OF_A_PAGE
            return {
                "photos": contents.photos[start:end],
                "following": end if end < len(contents.photos) else None,
            }
        case Tab.CROPS:
            snapshot = contents.snapshot
            has_crops = snapshot is not None and snapshot.has(CROPS.name)
            crops = CropPage((), 0, None)
            if snapshot is not None and has_crops:
                crops = read_crops_page(snapshot, start=start, size=_CROPS_OF_A_PAGE)
            return {"crops": crops}
        case Tab.HISTORY:
            return {"history": read_history(studio.store, deal, mode)}
        case Tab.COSTS:
            spent = read_costs(studio.data.ledgers(LEDGER_FOLDER))
            return {"costs": costs_of(cost for cost in spent if cost.deal == deal)}
        case Tab.REPORT:
            return {}
