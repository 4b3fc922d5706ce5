"""Removes what Dagster wrote about runs that ended long ago, and that nobody asks for any more.

What a deal was made of and by stays: materialisations, observations, evaluations of checks and
failures. What goes is how a run went: that assets were planned, that steps and engines started and
ended, and log lines. It is most of the rows; a backfill of 100,000 deals writes millions.
"""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import sqlalchemy as db
from dagster._core.storage.dagster_run import FINISHED_STATUSES
from dagster._core.storage.event_log import SqlEventLogStorage, SqlEventLogStorageTable
from pydantic import Field

KEEP_DAYS = 30.0

PURGED_EVENTS = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED,
        dg.DagsterEventType.ENGINE_EVENT,
        dg.DagsterEventType.HANDLED_OUTPUT,
        dg.DagsterEventType.LOADED_INPUT,
        dg.DagsterEventType.LOGS_CAPTURED,
        dg.DagsterEventType.RESOURCE_INIT_STARTED,
        dg.DagsterEventType.RESOURCE_INIT_SUCCESS,
        dg.DagsterEventType.STEP_INPUT,
        dg.DagsterEventType.STEP_OUTPUT,
        dg.DagsterEventType.STEP_RESTARTED,
        dg.DagsterEventType.STEP_START,
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_UP_FOR_RETRY,
        dg.DagsterEventType.STEP_WORKER_STARTED,
        dg.DagsterEventType.STEP_WORKER_STARTING,
    }
)
"""What goes, besides log lines."""

_RUNS_AT_ONCE = 100
_PLACE = "segpipe/purged_to"


class PurgeOptions(dg.Config):
    """What a purge may remove."""

    keep_days: float = Field(
        default=KEEP_DAYS, ge=0, description="Runs that were made later are left as they are."
    )


def purge_events(instance: dg.DagsterInstance, before: datetime) -> tuple[int, int]:
    """Remove how runs went that were made before a time and have ended.

    It goes from the oldest run on and remembers how far it came: the next one goes on there, also
    after one that was killed.

    Args:
        instance: Where they are.
        before: The time, with its zone.

    Returns:
        How many runs it went through, and how many rows it removed.
    """
    events = instance.event_log_storage
    if not isinstance(events, SqlEventLogStorage):
        raise TypeError(f"{type(events).__name__} is no database that can be purged")
    table = SqlEventLogStorageTable.c
    goes = db.or_(
        table.dagster_event_type.is_(None),
        table.dagster_event_type.in_(sorted(event.value for event in PURGED_EVENTS)),
    )
    runs = rows = 0
    for batch in _old_runs(instance, before):
        for record in batch:
            run_id = record.dagster_run.run_id
            statement = SqlEventLogStorageTable.delete().where(table.run_id == run_id, goes)
            with events.run_connection(run_id) as connection:
                rows += connection.execute(statement).rowcount
            # Where runs have files of their own, those of assets are in one for all, too.
            with events.index_connection() as connection:
                rows += connection.execute(statement).rowcount
        runs += len(batch)
    return runs, rows


def _old_runs(instance: dg.DagsterInstance, before: datetime) -> Iterator[list[dg.RunRecord]]:
    """The runs that have ended, oldest first, from the place that was reached before."""
    cursors = instance.run_storage
    said = cursors.get_cursor_values({_PLACE}).get(_PLACE)
    place = datetime.fromisoformat(said) if said else None
    while True:
        filters = dg.RunsFilter(
            statuses=FINISHED_STATUSES, created_after=place, created_before=before
        )
        batch = list(
            instance.get_run_records(
                filters, limit=_RUNS_AT_ONCE, order_by="create_timestamp", ascending=True
            )
        )
        if not batch:
            return
        yield batch
        place = batch[-1].create_timestamp
        cursors.set_cursor_values({_PLACE: place.isoformat()})


@dg.op
def purge_old_events(context: dg.OpExecutionContext, config: PurgeOptions) -> None:
    """Remove how old runs went."""
    before = datetime.now(UTC) - timedelta(days=config.keep_days)
    runs, rows = purge_events(context.instance, before)
    context.log.info("%d events of %d runs are removed", rows, runs)
    context.add_output_metadata({"runs": runs, "removed_events": rows})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Remove plans, steps, engine events and log lines of runs that ended long ago; "
    "what deals were made of stays.",
)
def purge() -> None:
    """One step, from the oldest run on."""
    purge_old_events()
