"""Runs for programs and for the pages' own modules: start, watch, end."""

import asyncio
import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, Field

from segpipe.prompt import Mode
from segpipe.store.ids import MAX_ID_BYTES
from segpipe.studio.processing import (
    MAX_DEALS,
    REQUEST_ID_PATTERN,
    Scope,
    cancel_run,
    existing_run,
    start,
)
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.run_watch import WatchedRun
from segpipe.studio.studio_state import Serving
from segpipe.web.event_stream import EventStream

PATH = "/api/runs"
MAX_BODY_BYTES = MAX_DEALS * (3 * MAX_ID_BYTES + 4) + 1_000
"""Of a request that names as many deals as one may, by the longest names in escaped letters."""
EVENTS = "/events"
LISTEN_S = 600.0
_HEARTBEAT_S = 15.0
router = APIRouter(prefix=PATH, tags=["runs"])

RunId = Annotated[str, Path(description="Dagster's id of the run.")]


class Wanted(BaseModel):
    """Which deals to run; a request that was made before starts nothing."""

    mode: Mode
    scope: Scope = Scope.SELECTED
    deals: Annotated[
        list[Annotated[str, Field(max_length=MAX_ID_BYTES)]], Field(max_length=MAX_DEALS)
    ] = []
    anew: bool = False
    request_id: Annotated[str, Field(pattern=f"^{REQUEST_ID_PATTERN}$")] | None = None


class StartedRuns(BaseModel):
    """The first run of a request, and the generation of settings that all its runs use."""

    run_id: str
    is_new: bool
    settings_generation: int


class DealOfRun(BaseModel):
    """How far a run is with a deal."""

    deal: str
    stand: str
    photos_done: int
    photos: int
    note: str


class RunFacts(BaseModel):
    """A run, and how far it is."""

    run_id: str
    status: str
    is_over: bool
    modes: list[Mode]
    deals: list[str]
    settings_generation: int | None
    asked_by: str
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: list[DealOfRun]


class Ended(BaseModel):
    """How many runs were ended."""

    runs: int


@router.post(
    "",
    summary="Run deals",
    status_code=202,
    dependencies=[Depends(needs(Role.REVIEWER))],
)
async def start_runs(studio: Serving, person: Asking, wanted: Wanted) -> StartedRuns:
    """In batches, all with the settings that are saved now."""
    request_id = wanted.request_id or uuid.uuid4().hex
    started = await start(
        studio, person, request_id, wanted.mode, wanted.scope, wanted.deals, anew=wanted.anew
    )
    return StartedRuns(
        run_id=started.run_id, is_new=started.is_new, settings_generation=started.generation
    )


@router.get("", summary="The runs that wait or are under way")
def list_runs(studio: Serving) -> list[RunFacts]:
    """With how far they are, the first to begin first."""
    return [_facts(run) for run in studio.runs.unfinished()]


@router.get(
    EVENTS,
    summary="An event whenever a run has come further",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}}},
)
async def tell_of_runs(studio: Serving) -> Response:
    """Server-sent: ``progress`` at each change; ``final`` after ten minutes, to connect anew."""

    async def follow(tell: Callable[[int], None]) -> bytes:
        end = time.monotonic() + LISTEN_S
        async with studio.runs.listening() as news:
            while (left := end - time.monotonic()) > 0:
                try:
                    version = await asyncio.wait_for(news.next(), left)
                except TimeoutError:
                    break
                if version is None:
                    break
                tell(version)
        return b"{}"

    return EventStream(
        follow,
        lambda version: json.dumps({"version": version}).encode(),
        lambda _: None,
        timeout_s=2 * LISTEN_S,
        heartbeat_s=_HEARTBEAT_S,
    )


@router.get("/{run_id}", summary="One run")
def show_run(studio: Serving, run_id: RunId) -> RunFacts:
    """How far it is with each of its deals."""
    return _facts(existing_run(studio, run_id))


@router.post("/{run_id}/cancel", summary="End a run", dependencies=[Depends(needs(Role.REVIEWER))])
async def cancel(
    studio: Serving, person: Asking, run_id: RunId, whole_request: bool = False
) -> Ended:
    """What it has promoted stays. With ``whole_request`` all runs of its request end."""
    return Ended(runs=await cancel_run(studio, person, run_id, whole_request=whole_request))


def _facts(run: WatchedRun) -> RunFacts:
    return RunFacts(
        run_id=run.id,
        status=run.status,
        is_over=run.is_over,
        modes=list(run.modes),
        deals=list(run.deals),
        settings_generation=run.generation,
        asked_by=run.asked_by,
        created_at=run.created_at,
        started_at=run.started_at,
        ended_at=run.ended_at,
        progress=[
            DealOfRun(
                deal=each.deal,
                stand=str(each.stand),
                photos_done=each.done,
                photos=each.photos,
                note=each.note,
            )
            for each in run.progress
        ],
    )
