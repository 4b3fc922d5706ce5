"""What happens every night."""

from collections.abc import Iterator

import dagster as dg

from segpipe.flow.todo import in_words, todo_of
from segpipe.pipeline.chosen_settings import settings_of_run, settings_tag
from segpipe.pipeline.jobs import OBSERVE_JOB, everything_job_name, only_stale, sweep
from segpipe.pipeline.partitions import DEALS, REQUEST_TAG, contiguous_batches, run_tags
from segpipe.pipeline.purge import purge
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
)
from segpipe.prompt import Mode

UNFINISHED_CRON = "0 2 * * *"
SWEEP_CRON = "0 5 * * *"
PURGE_CRON = "0 6 * * *"
OBSERVE_CRON = "30 * * * *"


def build_unfinished_schedule(mode: Mode) -> dg.ScheduleDefinition:
    """Build the nightly schedule of a mode that runs its unfinished deals."""

    @dg.schedule(
        name=f"nightly_{mode.value}",
        job_name=everything_job_name(mode),
        cron_schedule=UNFINISHED_CRON,
        description="Runs the deals whose assets are missing or older than their photos or "
        "prompts, but not those that were found to be bad and have not changed since.",
    )
    def nightly(
        context: dg.ScheduleEvaluationContext,
        store: DealStoreResource,
        segmenter: SegmenterResource,
        refiner: RefinerResource,
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        opened = store.open()
        order = context.instance.get_dynamic_partitions(DEALS.name or "")
        existing = frozenset(opened.deals())
        settings = settings_of_run(opened, segmenter, refiner)
        todos = {deal: todo_of(opened, deal, mode, settings) for deal in order if deal in existing}
        for said in in_words(todos):
            context.log.info(said)
        wanted = frozenset(deal for deal, todo in todos.items() if todo.needs_run)
        if not wanted:
            yield dg.SkipReason(", ".join(in_words(todos)) or "there are no deals")
        for batch in contiguous_batches(order, wanted):
            night = context.scheduled_execution_time.isoformat()
            yield dg.RunRequest(
                run_key=f"{night} {batch[0]}",
                run_config=only_stale(mode),
                tags=run_tags(mode, batch) | settings_tag(settings) | {REQUEST_TAG: night},
            )

    return nightly


def build_observe_schedule() -> dg.ScheduleDefinition:
    """Build the hourly schedule that looks at photos and prompts."""
    return dg.ScheduleDefinition(
        name="hourly_observe_inputs",
        job_name=OBSERVE_JOB,
        cron_schedule=OBSERVE_CRON,
        description="Digests the photos and prompts of every deal, so that what is out of date "
        "shows by itself.",
    )


def build_sweep_schedule() -> dg.ScheduleDefinition:
    """Build the nightly schedule of the sweep."""
    return dg.ScheduleDefinition(
        name="nightly_sweep",
        job=sweep,
        cron_schedule=SWEEP_CRON,
        description="Removes what killed runs left and generations beyond the kept ones.",
    )


def build_purge_schedule() -> dg.ScheduleDefinition:
    """Build the nightly schedule of the purge."""
    return dg.ScheduleDefinition(
        name="nightly_purge",
        job=purge,
        cron_schedule=PURGE_CRON,
        description="Removes what Dagster wrote about how runs went that ended a month ago.",
    )
