"""The sensors that see new and changed deals, one for each mode."""

import time
from collections.abc import Mapping, Sequence

import dagster as dg

from segpipe.digests import settings_digest
from segpipe.errors import SegpipeError
from segpipe.flow.deal_state import Todo, in_words
from segpipe.flow.run_settings import RunSettings
from segpipe.flow.todo import todo_of
from segpipe.pipeline.chosen_settings import settings_of_run, settings_tag
from segpipe.pipeline.jobs import everything_job_name, only_stale
from segpipe.pipeline.look_for_deals import gone_deals, look_for_deals
from segpipe.pipeline.new_deals import Decision, decide, parse_cursor
from segpipe.pipeline.partitions import DEALS, REQUEST_TAG, contiguous_batches, run_tags
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
)
from segpipe.prompt import Mode
from segpipe.store.deal_folders import ScannedDeal
from segpipe.store.store import DealStore

SETTLE_S = 30.0
"""How long the photos of a deal must be still before it is taken to be whole."""

INTERVAL_S = 30
"""How often the sensor looks."""

MAX_DEALS_PER_TICK = 500

_NAMES = {Mode.FIND_ALL: "new_deals", Mode.INSIDE_BOX: "new_boxes"}
_SEES = {
    Mode.FIND_ALL: "new and changed deals",
    Mode.INSIDE_BOX: "deals with boxes that are new or changed, or whose photos are",
}


def build_new_deals_sensor(
    mode: Mode,
    *,
    settle_s: float = SETTLE_S,
    interval_s: int = INTERVAL_S,
    max_deals: int = MAX_DEALS_PER_TICK,
) -> dg.SensorDefinition:
    """Build the sensor of a mode: it adds partitions and requests runs for deals that are ready.

    Args:
        mode: The mode whose assets are requested.
        settle_s: How long a deal without a ``_COMPLETE`` marker must be still, seconds.
        interval_s: Seconds between two looks.
        max_deals: Deals requested by one look at most; the others follow.
    """

    @dg.sensor(
        name=_NAMES[mode],
        job_name=everything_job_name(mode),
        minimum_interval_seconds=interval_s,
        description=f"Requests runs for {_SEES[mode]}, once they are marked _COMPLETE or still for "
        f"{settle_s:g} s.",
    )
    def new_deals(
        context: dg.SensorEvaluationContext,
        store: DealStoreResource,
        segmenter: SegmenterResource,
        refiner: RefinerResource,
    ) -> dg.SensorResult | dg.SkipReason:
        opened, now = store.open(), time.time()
        settings = settings_of_run(opened, segmenter, refiner)
        cursor = parse_cursor(context.cursor)
        try:
            look = look_for_deals(opened, context.instance, cursor, limit=max_deals)
        except SegpipeError as error:
            # An empty listing would read as "no deals"; the cursor stays and the next tick retries.
            return dg.SkipReason(f"the deals cannot be listed: {error}")
        decision = decide(
            look.deals,
            look.cursor,
            known=look.known,
            arrived=look.arrived,
            now=now,
            settle_s=settle_s,
            limit=max_deals,
        )

        for deal, fault in decision.faults.items():
            context.log.warning("deal %r cannot be listed, looking again: %s", deal, fault)
        todos = _todos(opened, decision.ready, mode, settings)
        for said in in_words(todos):
            context.log.info(said)
        wanted = [deal for deal in decision.ready if todos[deal.deal].needs_run]
        new = [deal.deal for deal in decision.ready if deal.deal not in look.known]
        gone = gone_deals(opened, look.gone, context.instance) if mode is Mode.FIND_ALL else []
        text = decision.cursor.model_dump_json()
        if not (wanted or new or gone):
            context.update_cursor(text)
            return dg.SkipReason(_describe(decision, todos))
        order = new
        if not {deal.deal for deal in wanted}.issubset(new):
            order = [*context.instance.get_dynamic_partitions(DEALS.name or ""), *new]
        return dg.SensorResult(
            run_requests=requests_of(
                mode,
                order,
                {deal.deal: deal.state for deal in wanted},
                settings_tag(settings),
            ),
            dynamic_partitions_requests=[
                *([DEALS.build_add_request(new)] if new else []),
                *([DEALS.build_delete_request(gone)] if gone else []),
            ],
            cursor=text,
        )

    return new_deals


def _todos(
    store: DealStore, ready: Sequence[ScannedDeal], mode: Mode, settings: RunSettings
) -> dict[str, Todo]:
    versions = {deal.deal: deal.version for deal in ready}

    def look(deal: str) -> Todo:
        return todo_of(store, deal, mode, settings, photos_fingerprint=versions[deal])

    return dict(zip(versions, store.folders.map(look, versions), strict=True))


def requests_of(
    mode: Mode, order: Sequence[str], versions: Mapping[str, str], tags: Mapping[str, str]
) -> list[dg.RunRequest]:
    """The runs for some deals, batch by batch, of each of which one is made at most.

    Args:
        mode: The mode.
        order: Partitions, in their order; all of them unless all that are wanted are new.
        versions: The deals that are wanted, with what tells their present state from any other.
        tags: The tags of the runs, beside their own.
    """
    request = settings_digest({**versions, "": mode.value})
    return [
        dg.RunRequest(
            # A key is used once for ever, so it has to carry what the deals contain.
            run_key=settings_digest({deal: versions[deal] for deal in batch} | {"": mode.value}),
            run_config=only_stale(mode),
            tags={**run_tags(mode, batch), REQUEST_TAG: request, **tags},
        )
        for batch in contiguous_batches(order, versions)
    ]


def _describe(decision: Decision, todos: Mapping[str, Todo]) -> str:
    parts = [
        *in_words(todos),
        *(
            f"{count} {what}"
            for count, what in (
                (decision.settling, "deals are still changing"),
                (decision.postponed, "deals follow later"),
                (len(decision.faults), "deals cannot be listed"),
            )
            if count
        ),
    ]
    return ", ".join(parts) or "no new or changed deals"
