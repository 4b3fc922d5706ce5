"""What paid calls have cost, by day, deal and run, and what a run may spend."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from segpipe.segmenters.sam3.segmind.ledger_costs import read_costs
from segpipe.segmenters.sam3.segmind.segmind_settings import LEDGER_FOLDER
from segpipe.studio.costs import costs_of
from segpipe.studio.current_settings import current_settings
from segpipe.studio.page_templates import NavigationEntry
from segpipe.studio.studio_state import Serving

NAVIGATION = (NavigationEntry("Costs", "/costs", "costs", key="c"),)
_MAX_RUN_CHARS = 64

router = APIRouter(include_in_schema=False)


@router.get("/costs")
def show(
    request: Request,
    studio: Serving,
    run: Annotated[str, Query(max_length=_MAX_RUN_CHARS)] = "",
) -> Response:
    """Of all runs, or of one."""
    spent = read_costs(studio.data.ledgers(LEDGER_FOLDER))
    if run:
        spent = [cost for cost in spent if cost.run_id == run]
    return studio.pages.draw(
        request,
        "costs.html",
        costs=costs_of(spent),
        run=run,
        budget=current_settings(studio.store).saved.settings.budget,
    )
