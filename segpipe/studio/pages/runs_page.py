"""Runs: which there are, how far they are by photo, why they failed; and to end them."""

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Query, Request
from fastapi.responses import RedirectResponse, Response

from segpipe.pipeline.log_progress import Stand
from segpipe.studio.dagster_gateway import PATH as DAGSTER_PATH
from segpipe.studio.deal_status import Tone
from segpipe.studio.page_templates import Link, NavigationEntry, mode_of
from segpipe.studio.processing import cancel_run, existing_run
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving

NAVIGATION = (NavigationEntry("Runs", "/runs", "runs", key="r"),)
STAND_TONES = {
    Stand.UNDER_WAY: Tone.CHANGED,
    Stand.DONE: Tone.GOOD,
    Stand.SKIPPED: Tone.REST,
    Stand.FAILED: Tone.BAD,
}
_SEE_OTHER = 303
_RUNS_OF_A_PAGE = 50
_MAX_ID_CHARS = 64

router = APIRouter(include_in_schema=False)


@router.get("/runs")
def show(
    request: Request,
    studio: Serving,
    before: Annotated[str | None, Query(max_length=_MAX_ID_CHARS)] = None,
) -> Response:
    """The list: what is under way, and what is over, the last first."""
    over = studio.runs.finished(limit=_RUNS_OF_A_PAGE + 1, before=before)
    return studio.pages.draw(
        request,
        "runs.html",
        runs=() if before else studio.runs.unfinished(),
        over=over[:_RUNS_OF_A_PAGE],
        following=over[_RUNS_OF_A_PAGE - 1].id if len(over) > _RUNS_OF_A_PAGE else None,
    )


@router.get("/runs/{run_id}")
def show_run(request: Request, studio: Serving, run_id: str) -> Response:
    """One run with its deals."""
    run = existing_run(studio, run_id)
    told = {each.deal: each for each in run.progress}
    of_request = [each for each in studio.runs.unfinished() if run.request == each.request != ""]
    return studio.pages.draw(
        request,
        "run.html",
        run=run,
        told=told,
        deals=tuple(dict.fromkeys((*run.deals, *told))),
        failed=[each for each in run.progress if each.stand is Stand.FAILED],
        of_request=of_request,
        tones=STAND_TONES,
        dagster=f"{DAGSTER_PATH}/runs/{run.id}" if studio.dagster.has_pages else None,
    )


@router.post("/runs/{run_id}/cancel", dependencies=[Depends(needs(Role.REVIEWER))])
async def cancel(
    request: Request,
    studio: Serving,
    person: Asking,
    run_id: str,
    whole_request: Annotated[bool, Form()] = False,
) -> Response:
    """End it; what it has promoted stays."""
    await cancel_run(studio, person, run_id, whole_request=whole_request)
    return RedirectResponse(Link(mode_of(request))("/runs/{}", run_id), _SEE_OTHER)
