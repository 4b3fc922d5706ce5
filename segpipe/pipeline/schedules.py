"""What happens every night, and every hour: each schedule starts a job, and looks into nothing."""

import dagster as dg

from segpipe.pipeline.deal_jobs import FIND_CHANGES_JOB, sweep, unfinished_job_name
from segpipe.pipeline.jobs import OBSERVE_JOB
from segpipe.pipeline.purge import purge
from segpipe.prompt import Mode

FIND_CHANGES_CRON = "0 1 * * *"
UNFINISHED_CRON = "0 2 * * *"
SWEEP_CRON = "0 5 * * *"
PURGE_CRON = "0 6 * * *"
OBSERVE_CRON = "30 * * * *"


def build_unfinished_schedule(mode: Mode) -> dg.ScheduleDefinition:
    """Build the nightly schedule of a mode that has its unfinished deals run."""
    return dg.ScheduleDefinition(
        name=f"nightly_{mode.value}",
        job_name=unfinished_job_name(mode),
        cron_schedule=UNFINISHED_CRON,
        description="Looks for deals whose assets are missing or older than their photos, "
        "prompts or reviews, but not those that were found to be bad and have not changed since, "
        "and backfills them.",
    )


def build_find_changes_schedule() -> dg.ScheduleDefinition:
    """Build the nightly schedule that finds deals of which nobody has told."""
    return dg.ScheduleDefinition(
        name="nightly_find_changes",
        job_name=FIND_CHANGES_JOB,
        cron_schedule=FIND_CHANGES_CRON,
        description="Looks into all deals, and tells the sensors of what is new or changed.",
    )


def build_observe_schedule() -> dg.ScheduleDefinition:
    """Build the hourly schedule that looks at photos, prompts and reviews."""
    return dg.ScheduleDefinition(
        name="hourly_observe_inputs",
        job_name=OBSERVE_JOB,
        cron_schedule=OBSERVE_CRON,
        description="Digests the photos, prompts and reviews of every deal, so that what is out "
        "of date shows by itself.",
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
