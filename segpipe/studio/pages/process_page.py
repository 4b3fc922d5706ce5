"""What is out of date in a mode and why, and the buttons that have it made."""

import uuid
from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from segpipe.prompt import Mode
from segpipe.studio.current_settings import current_settings
from segpipe.studio.estimates import estimate_of
from segpipe.studio.page_templates import Link, NavigationEntry, mode_of
from segpipe.studio.processing import (
    MAX_DEALS,
    REQUEST_ID_PATTERN,
    Scope,
    chosen_deals,
    overview_of,
    start,
)
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving
from segpipe.threads import finish_in_thread

NAVIGATION = (NavigationEntry("Process", "/process", "process", key="p"),)
_SEE_OTHER = 303
_SHOWN = 50
Named = Annotated[list[str] | None, Query(max_length=MAX_DEALS)]

router = APIRouter(include_in_schema=False)


@router.get("/process")
def show(request: Request, studio: Serving, deal: Named = None) -> Response:
    """The page."""
    mode = mode_of(request)
    overview = overview_of(studio, mode)
    selected = chosen_deals(studio, mode, Scope.SELECTED, deal) if deal else ()
    busy = studio.runs.under_way(mode)
    return studio.pages.draw(
        request,
        "process.html",
        overview=overview,
        todo=[each for each in overview.todo if each.deal not in busy],
        shown=_SHOWN,
        named=deal,
        selected=selected,
        busy=busy,
        runs=studio.runs.unfinished(),
        settings=current_settings(studio.store),
        has_dagster=studio.dagster.has_pages,
        request_ids={scope.value: uuid.uuid4().hex for scope in Scope},
    )


@router.get("/process/estimate")
async def estimate(
    request: Request, studio: Serving, scope: Scope = Scope.CHANGED, deal: Named = None
) -> Response:
    """What processing deals would take."""
    mode = mode_of(request)
    deals = await finish_in_thread(chosen_deals, studio, mode, scope, deal or ())
    found = await estimate_of(studio.store, studio.data, mode, deals, anew=scope is Scope.ALL)
    return studio.pages.draw(request, "estimate.html", estimate=found, scope=scope)


@router.post("/process", dependencies=[Depends(needs(Role.REVIEWER))])
async def process(
    studio: Serving,
    person: Asking,
    request_id: Annotated[str, Form(pattern=REQUEST_ID_PATTERN)],
    mode: Annotated[Mode, Form()],
    scope: Annotated[Scope, Form()],
    deal: Annotated[list[str] | None, Form(max_length=MAX_DEALS)] = None,
    anew: Annotated[bool, Form()] = False,
) -> Response:
    """Start runs, and show the first of them."""
    started = await start(studio, person, request_id, mode, scope, deal or (), anew=anew)
    return RedirectResponse(Link(mode)("/runs/{}", started.run_id), _SEE_OTHER)
