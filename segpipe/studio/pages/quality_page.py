"""How good the results of deals are over time, and whether the last ones differ."""

from fastapi import APIRouter, Depends, Request
from fastapi.responses import RedirectResponse, Response

from segpipe.flow.drift import find_drift
from segpipe.flow.quality import measure_new, read_quality
from segpipe.studio.page_templates import Link, NavigationEntry, mode_of
from segpipe.studio.quality_charts import HEIGHT, WIDTH, charts_of
from segpipe.studio.roles import Asking, Role, needs
from segpipe.studio.studio_state import Serving

NAVIGATION = (NavigationEntry("Quality", "/quality", "quality", key="q"),)
_MAX_SHOWN = 400
_MAX_LISTED = 50

router = APIRouter(include_in_schema=False)


@router.get("/quality")
def show(request: Request, studio: Serving) -> Response:
    """Every number over time, and the last deals in a table."""
    rows = read_quality(studio.store, mode_of(request))
    drifts = find_drift(rows)
    return studio.pages.draw(
        request,
        "quality.html",
        charts=charts_of(rows[-_MAX_SHOWN:], drifts),
        rows=rows[: -_MAX_LISTED - 1 : -1],
        count=len(rows),
        drifts=drifts,
        width=WIDTH,
        height=HEIGHT,
    )


@router.post("/quality", dependencies=[Depends(needs(Role.REVIEWER))])
def measure(request: Request, studio: Serving, person: Asking) -> Response:
    """Measure what is new, and show it."""
    mode = mode_of(request)
    measured = measure_new(studio.store, mode)
    studio.audit.note(person, "measured quality", mode=mode.value, deals=measured)
    return RedirectResponse(Link(mode)("/quality"), status_code=303)
