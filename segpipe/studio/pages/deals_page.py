"""The list of deals: how each stands in both modes, filters, pages, and a place to drop photos."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response
from pydantic import BeforeValidator

from segpipe.studio.deal_list import DealQuery, Order
from segpipe.studio.deal_status import Tone
from segpipe.studio.page_templates import Link, NavigationEntry, mode_of
from segpipe.studio.studio_state import Serving

NAVIGATION = (NavigationEntry("Deals", "/deals", "deals", key="d"),)
ORDERS = {
    Order.NAME: "Name",
    Order.LAST_RUN: "Last run",
    Order.PHOTOS: "Photos",
    Order.ITEMS: "Items",
}
TONES = {
    Tone.GOOD: "Up to date",
    Tone.CHANGED: "Needs a run",
    Tone.BAD: "Failed",
    Tone.REST: "Not made, or at rest",
}
_MAX_SEARCH_CHARS = 200
_EMPTY_IS_NONE = BeforeValidator(lambda value: value or None)

router = APIRouter(include_in_schema=False)


@router.get("/deals")
def show(
    request: Request,
    studio: Serving,
    search: Annotated[str, Query(max_length=_MAX_SEARCH_CHARS)] = "",
    tone: Annotated[Tone | None, _EMPTY_IS_NONE] = None,
    order: Order = Order.NAME,
    descending: bool = False,
    after: Annotated[str, Query(max_length=_MAX_SEARCH_CHARS)] = "",
) -> Response:
    """A page of the list."""
    query = DealQuery(
        search=search.strip(),
        mode=mode_of(request),
        tone=tone,
        order=order,
        descending=descending,
        after=after or None,
    )
    return studio.pages.draw(
        request,
        "deals.html",
        page=studio.deals.page(query),
        costs=studio.costs.known(),
        query=query,
        order_given=order if order is not Order.NAME else "",
        orders=ORDERS,
        tones=TONES,
    )


@router.get("/deals/random")
def show_any(request: Request, studio: Serving) -> Response:
    """One deal, by chance."""
    link, deals = Link(mode_of(request)), studio.store.deals()
    return RedirectResponse(link("/deals/{}", secrets.choice(deals)) if deals else link("/deals"))
