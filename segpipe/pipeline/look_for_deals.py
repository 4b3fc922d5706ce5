"""Which deals a look of the sensor looks into, so that it costs as much as what is new.

In a folder of few deals that is all of them, so that nobody has to tell of anything. Otherwise it
is what the log of arrivals tells of, what waits, and new folders where the list of names shows them
for little: one call for a thousand deals, and none where the disk says that no folder has come.
What changes besides is for the job that looks into every deal.
"""

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import dagster as dg
from dagster._core.execution.backfill import (
    BULK_ACTION_TERMINAL_STATUSES,
    BulkActionsFilter,
    BulkActionStatus,
)
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from segpipe.pipeline.new_deals import Cursor
from segpipe.pipeline.partitions import DEALS
from segpipe.store.arrivals import place_at
from segpipe.store.deal_folders import ScannedDeal
from segpipe.store.store import DealStore

FEW_DEALS = 1000
"""So many deals of a folder are looked into each time."""
CLOCKS_DIFFER_S = 60.0
"""The clocks of those who write arrivals differ by less."""
_MAX_WAITING = 5000

BACKFILLS_UNDER_WAY = [
    status for status in BulkActionStatus if status not in BULK_ACTION_TERMINAL_STATUSES
]


@dataclass(frozen=True, slots=True)
class Look:
    """What was looked at.

    Attributes:
        deals: The deals, as they were found.
        arrived: Those that the log tells of, or whose folders are new; None when all were looked
            at.
        known: Those of the deals that are partitions already.
        gone: The partitions whose folders are gone, as far as names were listed.
        cursor: What to remember of the log and the folders.
    """

    deals: list[ScannedDeal]
    arrived: frozenset[str] | None
    known: frozenset[str]
    gone: list[str]
    cursor: Cursor


def look_for_deals(
    store: DealStore, instance: dg.DagsterInstance, cursor: Cursor, *, limit: int
) -> Look:
    """Look into deals that may be new or changed.

    Args:
        store: The deals.
        instance: Knows which of them are partitions.
        cursor: What the last look remembered.
        limit: Deals that are new to this look, at most; the others follow.

    Raises:
        StoreError: The deals cannot be listed.
    """
    name, now = DEALS.name or "", time.time()
    room = max(0, min(limit, _MAX_WAITING - len(cursor.waiting)))
    folders_ns = store.folders.changed_ns()
    page = instance.get_paginated_dynamic_partitions(name, limit=FEW_DEALS, ascending=True)
    is_first = not cursor.arrived_to
    has_new_folders = folders_ns is not None and folders_ns != cursor.folders_ns
    if page.has_more and not is_first and not has_new_folders:
        return _arrived(store, instance, cursor, room=room, now=now)

    order = instance.get_dynamic_partitions(name) if page.has_more else list(page.results)
    known = frozenset(order)
    is_few = store.root.is_local and not page.has_more
    names = store.folders.names(known)
    is_few = is_few and len(names) <= FEW_DEALS
    existing = frozenset(store.deals() if is_few else names)
    gone = [deal for deal in order if deal not in existing] if existing else []
    read_to = {"arrived_to": place_at(now - CLOCKS_DIFFER_S), "recent": frozenset()}
    if is_few:
        update = {**read_to, "folders_ns": folders_ns or 0}
        return Look(
            list(store.folders.scan(names)), None, known, gone, cursor.model_copy(update=update)
        )
    new = [deal for deal in names if deal not in known and deal not in cursor.waiting]
    if len(new) <= room:
        seen = {"folders_ns": folders_ns or 0} | (read_to if is_first else {})
        cursor = cursor.model_copy(update=seen)
    look = _arrived(store, instance, cursor, room=room, now=now, new=new[:room], known=known)
    return Look(look.deals, look.arrived, look.known, gone, look.cursor)


def _arrived(
    store: DealStore,
    instance: dg.DagsterInstance,
    cursor: Cursor,
    *,
    room: int,
    now: float,
    new: Collection[str] = (),
    known: frozenset[str] | None = None,
) -> Look:
    """Look into what has arrived since the cursor, what waits, and folders that are new."""
    arrived = frozenset(new)
    if cursor.arrived_to:
        overlap = place_at(now - CLOCKS_DIFFER_S)
        start = min(cursor.arrived_to, overlap)
        log = store.arrivals.after(start, room + len(cursor.recent))
        fresh = [each for each in log if each.place not in cursor.recent][:room]
        arrived |= {each.deal for each in fresh if each.deal}
        places = {*cursor.recent, *(each.place for each in fresh)}
        # What is later than the overlap would be listed again: it is remembered by its name.
        read_to = max([cursor.arrived_to, *(each.place for each in fresh)])
        if len(fresh) < room:
            read_to = max(read_to, overlap)
        floor = min(read_to, overlap)
        cursor = cursor.model_copy(
            update={
                "arrived_to": read_to,
                "recent": frozenset(place for place in places if place > floor),
            }
        )
    looked = sorted(arrived | cursor.waiting)
    if known is None:
        known = frozenset(instance.get_existing_dynamic_partitions(DEALS.name or "", looked))
    return Look(list(store.folders.scan(looked)), arrived, known, [], cursor)


def gone_deals(
    store: DealStore, gone: Sequence[str], instance: dg.DagsterInstance, *, asking_run: str = ""
) -> list[str]:
    """Of the partitions whose folders are gone those to take off: none while one may be in use.

    Args:
        store: The deals.
        gone: The partitions.
        instance: Knows the runs that may use one.
        asking_run: The run that asks, which uses none.
    """
    if not gone:
        return []
    unusable = store.invalid_deals()
    gone = [deal for deal in gone if deal not in unusable]
    unfinished = instance.get_runs(dg.RunsFilter(statuses=NOT_FINISHED_STATUSES), limit=2)
    is_busy = any(run.run_id != asking_run for run in unfinished) or instance.get_backfills(
        filters=BulkActionsFilter(statuses=BACKFILLS_UNDER_WAY), limit=1
    )
    return [] if is_busy else gone
