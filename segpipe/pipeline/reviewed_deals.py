"""The sensors that see deals of which people have reviewed items, one for each mode."""

import json
import time
from collections.abc import Sequence

import dagster as dg

from segpipe.errors import SegpipeError
from segpipe.flow.deal_state import in_words
from segpipe.flow.todo import todo_of
from segpipe.pipeline.chosen_settings import settings_of_run, settings_tag
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
)
from segpipe.pipeline.sensors import MAX_DEALS_PER_TICK, SETTLE_S, requests_of
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

INTERVAL_S = 60
"""How often the sensor looks."""

_NAMES = {Mode.FIND_ALL: "reviewed_deals", Mode.INSIDE_BOX: "reviewed_boxes"}


def build_reviewed_deals_sensor(
    mode: Mode, *, settle_s: float = SETTLE_S, max_deals: int = MAX_DEALS_PER_TICK
) -> dg.SensorDefinition:
    """Build the sensor of a mode: it requests runs that apply what people decided.

    Such a run makes what stands below the review anew and asks no segmenter. Like all sensors it is
    off until somebody switches it on.

    Args:
        mode: The mode.
        settle_s: How long nobody may have decided anything about a deal, seconds.
        max_deals: Deals requested by one look at most; the others follow.
    """

    @dg.sensor(
        name=_NAMES[mode],
        job_name=everything_job_name(mode),
        minimum_interval_seconds=INTERVAL_S,
        description="Requests runs for deals of whose items people have decided something, once "
        f"nobody has for {settle_s:g} s. They ask no segmenter.",
    )
    def reviewed_deals(
        context: dg.SensorEvaluationContext,
        store: DealStoreResource,
        segmenter: SegmenterResource,
        refiner: RefinerResource,
    ) -> dg.SensorResult | dg.SkipReason:
        opened = store.open()
        seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
        order = context.instance.get_dynamic_partitions(DEALS.name or "")
        try:
            listings = _listings(opened, order, mode)
        except SegpipeError as error:
            return dg.SkipReason(f"the reviews cannot be listed: {error}")
        still = time.time() - settle_s
        changed = [
            deal
            for deal, (digest, changed_at) in listings.items()
            if seen.get(deal) != digest and changed_at <= still
        ][:max_deals]
        settings = settings_of_run(opened, segmenter, refiner)
        todos = {deal: todo_of(opened, deal, mode, settings) for deal in changed}
        for said in in_words(todos):
            context.log.info(said)
        now = {deal: listings[deal][0] for deal in changed}
        wanted = {deal: now[deal] for deal, todo in todos.items() if todo.needs_run}
        kept = {deal: digest for deal, digest in seen.items() if deal in listings}
        cursor = json.dumps(kept | now)
        if not wanted:
            context.update_cursor(cursor)
            return dg.SkipReason(", ".join(in_words(todos)) or "nothing new was reviewed")
        return dg.SensorResult(
            run_requests=requests_of(mode, order, wanted, settings_tag(settings)), cursor=cursor
        )

    return reviewed_deals


def _listings(store: DealStore, deals: Sequence[str], mode: Mode) -> dict[str, tuple[str, float]]:
    """The listing of the reviews of each deal that has some."""
    found = {deal: store.reviews.listing(deal, mode) for deal in deals}
    return {deal: listing for deal, listing in found.items() if listing}
