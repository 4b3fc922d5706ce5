"""The assets of a mode: one multi-asset, so that a photo is decoded once for all of them."""

import asyncio
import contextlib
from collections.abc import Iterator
from functools import partial

import dagster as dg
from dagster._core.definitions.source_asset import SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION

from segpipe.errors import DealFailedError, SegpipeError, describe
from segpipe.flow.checks import CheckSettings
from segpipe.flow.deal import DealOutcome, DealTask
from segpipe.flow.run_deal import current_outcome, is_retryable, process_in_run, record_finds
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.tools import Tools
from segpipe.pipeline.asset_specs import build_specs
from segpipe.pipeline.chosen_settings import (
    BACKFILL_TAG,
    build_tools,
    request_of_tags,
    settings_of_launched_run,
)
from segpipe.pipeline.deal_checks import check_stages
from segpipe.pipeline.deal_order import DealOrder, retried_runs
from segpipe.pipeline.interrupts import (
    interrupts_end_the_step,
    is_cancelled,
    run_until_interrupted,
)
from segpipe.pipeline.log_progress import LogProgress
from segpipe.pipeline.options import RunOptions
from segpipe.pipeline.partitions import (
    DEALS,
    configured_deals_per_run,
    tag_run,
)
from segpipe.pipeline.recording import (
    asset_key,
    is_recorded,
    nothing_to_do,
    record_outcome,
)
from segpipe.pipeline.resources import (
    DealStoreResource,
    RefinerResource,
    SegmenterResource,
)
from segpipe.progress import DealSkipped, Tell
from segpipe.prompt import Mode
from segpipe.store.store import DealStore

SEGMENTER_POOL = "segmenter"
"""The concurrency pool that bounds how many runs use a segmenter at once."""

RETRY_POLICY = dg.RetryPolicy(
    max_retries=2, delay=10, backoff=dg.Backoff.EXPONENTIAL, jitter=dg.Jitter.PLUS_MINUS
)
"""For faults that may pass; bad input is never retried."""

# Makes Dagster add no events of its own to an output: ours, deal by deal, say more and stay the
# latest. Outputs themselves wake the steps downstream.
_RECORDED = {SYSTEM_METADATA_KEY_SOURCE_ASSET_OBSERVATION: True}


def build_family(
    mode: Mode,
    *,
    retry_policy: dg.RetryPolicy = RETRY_POLICY,
    deals_per_run: int | None = None,
) -> dg.AssetsDefinition:
    """Build the assets of a mode, partitioned by deal and subsettable.

    Args:
        mode: The mode; it is the prefix of the keys and the group in the UI.
        retry_policy: For faults that may pass.
        deals_per_run: How many deals of a backfill one run handles, at most 250; None: as
            ``SEGPIPE_DEALS_PER_RUN`` says, else 25.
    """

    @dg.multi_asset(
        name=mode.value,
        specs=build_specs(mode),
        can_subset=True,
        partitions_def=DEALS,
        backfill_policy=dg.BackfillPolicy.multi_run(configured_deals_per_run(deals_per_run)),
        retry_policy=retry_policy,
        pool=SEGMENTER_POOL,
    )
    def family(
        context: dg.AssetExecutionContext,
        config: RunOptions,
        store: DealStoreResource,
        segmenter: SegmenterResource,
        refiner: RefinerResource,
        progress: dg.ResourceParam[Tell],
    ) -> Iterator[dg.MaterializeResult[None]]:
        tag_run(context.instance, context.run, mode, context.partition_keys)
        order = DealOrder.of_run(context)
        opened = store.open()
        settings = settings_of_launched_run(context, mode, opened, segmenter, refiner, config)
        tools = build_tools(segmenter, refiner, settings, store.kept_data)
        stages = frozenset(key.path[-1] for key in context.selected_asset_keys)
        retried = retried_runs(context)

        is_unwanted = partial(is_cancelled, context.instance, context.run.run_id)

        failures: list[DealFailedError] = []
        with (
            interrupts_end_the_step(),
            LogProgress(context.log, progress) as tell,
            _event_loop(tools) as runner,
            order,
        ):
            for deal in order.begun(context.partition_keys):
                task = DealTask(
                    deal=deal,
                    run_id=context.run.run_id,
                    attempt=context.retry_number,
                    mode=mode,
                    stages=stages,
                    skip_up_to_date=config.skip_up_to_date,
                    keep_other_settings=config.keep_other_settings,
                    request=request_of_tags(context.run.tags),
                )
                try:
                    order.refuse_a_killer(opened, task)
                    work = process_in_run(opened, task, tools, tell, goes_on_with=retried)
                    outcome = run_until_interrupted(runner, work, is_unwanted)
                    if outcome and is_recorded(outcome, context.instance):
                        tell(DealSkipped(deal, "this run has done it before"))
                    elif outcome:
                        _tell(context, outcome, opened, settings.stages.checks)
                    elif BACKFILL_TAG in context.run.tags:
                        _tell_again(context, task, opened)
                    if outcome:
                        record_finds(opened, outcome, tools, tell)
                except DealFailedError as failure:
                    failures.append(failure)

        if failures:
            raise _step_failure(failures, deals=len(context.partition_keys))
        for stage in STAGES.in_order(stages):
            yield dg.MaterializeResult(asset_key=asset_key(mode, stage.name), metadata=_RECORDED)

    return family


def _tell_again(context: dg.AssetExecutionContext, task: DealTask, store: DealStore) -> None:
    """Tell of a deal that was left alone: a backfill takes what no run tells of for failed."""
    told: frozenset[str] = frozenset()
    with contextlib.suppress(SegpipeError):  # the next run of the deal tells of it
        if outcome := current_outcome(store, task):
            for event in record_outcome(outcome, store, context.instance):
                context.log_event(event)
            told = task.stages
    for stage in STAGES.in_order(task.stages - told):
        context.log_event(nothing_to_do(task.mode, stage, task.deal))


def _tell(
    context: dg.AssetExecutionContext, outcome: DealOutcome, store: DealStore, checks: CheckSettings
) -> None:
    """Log the events of a promoted deal; each before the next one is made."""
    for event in record_outcome(outcome, store, context.instance):
        context.log_event(event)
    generation = outcome.promotion.commit.generation
    snapshot = store.snapshot(outcome.task.deal, outcome.task.mode, generation)
    for evaluation in check_stages(snapshot, outcome.versions, checks):
        context.log_event(evaluation)


@contextlib.contextmanager
def _event_loop(tools: Tools) -> Iterator[asyncio.Runner]:
    """One event loop for a run: connections and models live as long as it does."""
    with asyncio.Runner() as runner:
        try:
            yield runner
        finally:
            runner.run(tools.segmenter.aclose())


def _step_failure(failures: list[DealFailedError], *, deals: int) -> dg.Failure:
    """One failure that names every bad deal, image and reason."""
    rows = [
        dg.TableRecord(
            {
                "deal": str(failure.deal),
                "image": getattr(error, "image", None) or "",
                "reason": describe(error),
            }
        )
        for failure in failures
        for error in failure.errors
    ]
    return dg.Failure(
        description=f"{len(failures)} of {deals} deals failed; nothing of them was promoted unless "
        "it says so, the others are done.\n" + "\n".join(str(failure) for failure in failures),
        metadata={"failed_deals": dg.MetadataValue.table(rows)},
        allow_retries=any(is_retryable(failure) for failure in failures),
    )
