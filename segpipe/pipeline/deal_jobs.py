"""Jobs that look into every deal: many at once where that takes requests, and each can go on.

No sensor or schedule does so itself, as Dagster gives them a minute; a schedule starts such a job.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph
from dagster._core.execution.backfill import PartitionBackfill

from segpipe.flow.deal_state import Todo, in_words
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.todo import todo_of
from segpipe.pipeline.chosen_settings import settings_of_run, settings_tag
from segpipe.pipeline.family import build_family
from segpipe.pipeline.jobs import only_stale
from segpipe.pipeline.look_for_deals import CLOCKS_DIFFER_S, gone_deals
from segpipe.pipeline.partitions import DEALS, MODE_TAG, REQUEST_TAG
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
)
from segpipe.prompt import Mode
from segpipe.store.arrivals import KEPT_DAYS
from segpipe.store.job_progress import JobProgress
from segpipe.store.store import DealStore
from segpipe.store.sweep import SweepReport

SECONDS_PER_HOUR = 3600.0
_SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
FIND_CHANGES_JOB = "find_changes"
# Dagster keeps all that a backfill is for in one row, and reads it at each step.
_MAX_IN_BACKFILL = 5000
_RETRIES = dg.RetryPolicy(max_retries=2, delay=30)


def unfinished_job_name(mode: Mode) -> str:
    """The name of the job that has the unfinished deals of a mode run."""
    return f"{mode.value}_unfinished"


def build_unfinished_job(mode: Mode) -> dg.JobDefinition:
    """The job of a mode that looks which deals are unfinished, and asks for a backfill of them."""
    description = (
        "Looks into all deals, and backfills those whose assets are missing or older than their "
        "photos or prompts, but not those that were found to be bad and have not changed since."
    )

    @dg.op(name=f"look_for_unfinished_{mode.value}", retry_policy=_RETRIES)
    def look(
        context: dg.OpExecutionContext,
        store: DealStoreResource,
        segmenter: SegmenterResource,
        refiner: RefinerResource,
    ) -> None:
        opened = store.open()
        settings = settings_of_run(opened, segmenter, refiner)
        known = context.instance.get_dynamic_partitions(DEALS.name or "")
        existing = frozenset(opened.folders.names(frozenset(known)))
        progress = _progress(opened, unfinished_job_name(mode))
        todos: dict[str, Todo] = {}

        def todo(deal: str) -> Todo:
            return todo_of(opened, deal, mode, settings)

        for chunk in progress.chunks([deal for deal in known if deal in existing]):
            found = dict(zip(chunk, opened.folders.map(todo, chunk), strict=True))
            progress.found.extend(deal for deal in chunk if found[deal].needs_run)
            todos |= found
        for said in in_words(todos) or ["there are no deals"]:
            context.log.info(said)
        wanted = list(dict.fromkeys(progress.found))
        night = f"{mode.value}-{progress.began_at * 1000:.0f}"
        tags = {REQUEST_TAG: night, **settings_tag(settings)}
        for start in range(0, len(wanted), _MAX_IN_BACKFILL):
            part = wanted[start : start + _MAX_IN_BACKFILL]
            _backfill(context.instance, f"{night}-{start}", mode, part, tags)
        progress.finish()
        context.add_output_metadata({"deals": len(todos), "requested": len(wanted)})

    @dg.job(
        name=unfinished_job_name(mode),
        executor_def=dg.in_process_executor,
        tags={MODE_TAG: mode.value},
        description=description,
    )
    def unfinished() -> None:
        look()

    return unfinished


def _backfill(
    instance: dg.DagsterInstance,
    name: str,
    mode: Mode,
    deals: Sequence[str],
    tags: Mapping[str, str],
) -> None:
    """Ask for the usual assets of deals, once for each name."""
    if instance.get_backfill(name):
        return
    graph = AssetGraph.from_assets([build_family(mode)])
    instance.add_backfill(
        PartitionBackfill.from_asset_partitions(
            backfill_id=name,
            asset_graph=graph,
            partition_names=list(deals),
            asset_selection=[asset_key(mode, s.name) for s in STAGES.in_order(STAGES.names)],
            backfill_timestamp=time.time(),
            tags={MODE_TAG: mode.value, **tags},
            dynamic_partitions_store=instance,
            all_partitions=False,
            title=f"Unfinished deals, {mode.value}",
            description=None,
            run_config=only_stale(mode),
        )
    )


class SweepOptions(dg.Config):
    """What a sweep may remove."""

    min_age_hours: float = 24.0
    """Files of a run that ended without a word are kept at least this long."""


@dg.op(retry_policy=_RETRIES)
def sweep_store(
    context: dg.OpExecutionContext, config: SweepOptions, store: DealStoreResource
) -> None:
    """Remove what killed runs left behind and generations beyond the kept ones."""
    opened = store.open()
    progress = _progress(opened, "sweep")
    for chunk in progress.chunks(opened.deals()):
        report = opened.sweep(chunk, min_age_s=config.min_age_hours * SECONDS_PER_HOUR)
        numbers = asdict(report)
        progress.found.extend(numbers.pop("skipped"))
        for field, number in numbers.items():
            progress.counts[field] = progress.counts.get(field, 0) + number
    swept = SweepReport(**progress.counts, skipped=tuple(progress.found))
    forgotten = opened.arrivals.forget(progress.began_at - KEPT_DAYS * _SECONDS_PER_DAY)
    progress.finish()
    context.log.info("swept: %s; %d arrivals forgotten", swept, forgotten)
    context.add_output_metadata({**asdict(swept), "skipped": list(swept.skipped)})


@dg.job(
    executor_def=dg.in_process_executor,
    description="Remove what killed runs left behind and generations beyond the kept ones.",
)
def sweep() -> None:
    """One step, over every deal."""
    sweep_store()


@dg.op(retry_policy=_RETRIES)
def tell_of_changes(context: dg.OpExecutionContext, store: DealStoreResource) -> None:
    """Write into the log of arrivals what nobody has told of."""
    opened, name = store.open(), DEALS.name or ""
    order = context.instance.get_dynamic_partitions(name)
    known = frozenset(order)
    progress = _progress(opened, FIND_CHANGES_JOB)
    since = (progress.previous_began_at or progress.began_at) - CLOCKS_DIFFER_S
    names = opened.folders.names(known)
    for chunk in progress.chunks(names):
        changed = [
            scanned.deal
            for scanned in opened.folders.scan(chunk)
            if scanned.photos and (scanned.deal not in known or scanned.changed_at >= since)
        ]
        list(opened.folders.map(opened.arrivals.put, changed))
        progress.found.extend(changed)
    gone = sorted(known.difference(names)) if names else []
    for deal in gone_deals(opened, gone, context.instance, asking_run=context.run_id):
        context.instance.delete_dynamic_partition(name, deal)
    progress.finish()
    context.log.info("%d of %d deals are new or changed", len(progress.found), len(names))
    context.add_output_metadata({"deals": len(names), "changed": len(progress.found)})


@dg.job(
    name=FIND_CHANGES_JOB,
    executor_def=dg.in_process_executor,
    description="Looks into all deals, and tells the sensors of those that are new or changed "
    "though nobody has told: where photos came by other means than segpipe, and no arrival.",
)
def find_changes() -> None:
    """One step, over every deal."""
    tell_of_changes()


def _progress(store: DealStore, name: str) -> JobProgress:
    return JobProgress(store.root.storage(), name)
