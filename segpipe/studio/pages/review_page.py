"""Deciding about items: each close up beside its photo, mended where its mask is wrong."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from segpipe.studio.deal_list import DealQuery
from segpipe.studio.page_templates import NavigationEntry, mode_of
from segpipe.studio.processing import MAX_DEALS
from segpipe.studio.review_order import ReviewOrder
from segpipe.studio.roles import Asking, Role
from segpipe.studio.studio_state import Serving

NAVIGATION = (NavigationEntry("Review", "/review", "review", key="v"),)
ORDERS = {
    ReviewOrder.UNCERTAIN: "Uncertain first",
    ReviewOrder.SAMPLE: "A random sample",
    ReviewOrder.DEAL: "Photo by photo",
}
_SAMPLE_PERCENT = 10.0
_SEEDS = 2**31
_MAX_DEAL_CHARS = 200
_MODULES = (
    *("annotate/draw", "annotate/gestures", "annotate/panel", "annotate/prompts"),
    *("annotate/scene", "annotate/surface", "annotate/sync", "annotate/unsaved", "annotate/view"),
    *("annotate/candidates", "mask/bitmap", "mask/mask_editor", "mask/mask_history"),
    *("mask/mask_keys", "mask/mask_layer", "mask/mask_session", "mask/shade", "mask/shapes"),
    *("mask/strokes", "review/ask", "review/close_up", "review/decisions", "review/desk"),
    *(
        "review/interval",
        "review/leases",
        "review/loaded_photos",
        "review/mending",
        "review/photo_pane",
    ),
    *("review/review_keys", "review/sheet"),
)
"""What the page's module imports, and they: fetched at once and not one after the other."""

router = APIRouter(include_in_schema=False)


@router.get("/review")
def show(
    request: Request,
    studio: Serving,
    person: Asking,
    deal: Annotated[list[str] | None, Query(max_length=MAX_DEALS)] = None,
    order: ReviewOrder = ReviewOrder.UNCERTAIN,
    percent: Annotated[float, Query(gt=0, le=100)] = _SAMPLE_PERCENT,
    seed: Annotated[int | None, Query(ge=0, lt=_SEEDS)] = None,
    after: Annotated[str, Query(max_length=_MAX_DEAL_CHARS)] = "",
) -> Response:
    """The items of some deals; without any, a list of deals to choose from."""
    mode = mode_of(request)
    if not deal:
        page = studio.deals.page(DealQuery(mode=mode, after=after or None))
        return studio.pages.draw(request, "review_deals.html", page=page)
    # The same address shows the same sample again.
    drawn = secrets.randbelow(_SEEDS) if seed is None else seed
    facts = {
        "deals": list(dict.fromkeys(deal)),
        "mode": mode.value,
        "choice": {"order": order.value, "percent": percent, "seed": drawn},
        "mayDecide": person.role.covers(Role.REVIEWER),
    }
    return studio.pages.draw(
        request,
        "review.html",
        deals=facts["deals"],
        facts=facts,
        order=order,
        orders=ORDERS,
        percent=percent,
        seed=drawn,
        modules=_MODULES,
    )
