"""One deal among the many of a run: not twice, what it found and its failure on record."""

import logging
from dataclasses import replace

from segpipe.errors import (
    DealFailedError,
    DealNotFoundError,
    InputError,
    KnownFailureError,
    SegpipeError,
)
from segpipe.flow.deal import DealOutcome, DealTask, process_deal
from segpipe.flow.found import record_found
from segpipe.flow.progress import Progress
from segpipe.flow.report import SHEET_FILE, DealSummary
from segpipe.flow.stages import Stage
from segpipe.flow.staleness import InputsMark, current_inputs, stale_stages
from segpipe.flow.tools import Tools
from segpipe.segmenters.prompt import Mode
from segpipe.store.documents import Failure, FailureItem, utc_now
from segpipe.store.store import DealStore, Promotion

_log = logging.getLogger(__name__)


async def process_in_run(
    store: DealStore,
    task: DealTask,
    tools: Tools,
    progress: Progress,
    *,
    goes_on_with: frozenset[str] = frozenset(),
) -> DealOutcome | None:
    """Process what is left to do of a deal; None when that is nothing.

    What an earlier attempt of the run has promoted is not done again: its outcome is read back.
    Nothing is left to do when the task skips what is up to date and everything is.

    Args:
        store: Where the deal lives.
        task: What to do.
        tools: What to do it with.
        progress: Who is told.
        goes_on_with: Runs that this one retries: what they settled is settled, too.

    Raises:
        DealFailedError: The deal failed, now or in an earlier attempt; it is on record, see
            ``DealStore.last_failure``.
    """
    if task.attempt or goes_on_with:
        runs = goes_on_with | {task.run_id}
        if promoted := _promoted_by(store, task, runs):
            _record_found(store, promoted, tools)
            return promoted
        if known := _known_failure(store, task, runs):
            raise known
    try:
        if task.skip_up_to_date:
            task = replace(task, stages=task.stages & _stale_stages(store, task, tools))
        if not task.stages:
            return None
        outcome = await process_deal(store, task, tools, progress)
        _record_found(store, outcome, tools)
    except DealFailedError as failure:
        _record(store, task, failure)
        raise
    return outcome


def _record_found(store: DealStore, outcome: DealOutcome, tools: Tools) -> None:
    """Put what was found among the prompts; once a deal is promoted, a retry does no more."""
    task = outcome.task
    is_new = task.mode is Mode.FIND_ALL and Stage.REFINEMENT in outcome.versions
    if not (is_new and tools.settings.prompts.record_found):
        return
    try:
        generation = outcome.promotion.commit.generation
        record_found(store, store.snapshot(task.deal, task.mode, generation))
    except SegpipeError as error:
        raise DealFailedError(task.deal, [error.at(deal=task.deal)]) from error


def _stale_stages(store: DealStore, task: DealTask, tools: Tools) -> frozenset[Stage]:
    try:
        return stale_stages(store, task.deal, task.mode, tools)
    except SegpipeError:
        return task.stages  # processing the deal says all that is wrong with it


def _promoted_by(store: DealStore, task: DealTask, runs: frozenset[str]) -> DealOutcome | None:
    """What these runs promoted, if a kept commit of theirs has every stage of the task."""
    for commit in reversed(store.commits(task.deal, task.mode)):
        versions = {stage: commit.version(stage) for stage in task.stages}
        made = {stage: version for stage, version in versions.items() if version}
        if len(made) == len(versions) and all(
            version.name.rpartition(".")[0] in runs for version in made.values()
        ):
            snapshot = store.snapshot(task.deal, task.mode, commit.generation)
            has_report = snapshot.has(Stage.DEAL_REPORT)
            return DealOutcome(
                task,
                Promotion(commit, ()),
                made,
                DealSummary.model_validate(snapshot.manifest(next(iter(made))).info["summary"]),
                snapshot.read(Stage.DEAL_REPORT, SHEET_FILE) if has_report else b"",
            )
    return None


def _known_failure(
    store: DealStore, task: DealTask, runs: frozenset[str]
) -> DealFailedError | None:
    failure = store.last_failure(task.deal, task.mode)
    if failure is None or failure.retryable or failure.run_id not in runs:
        return None
    errors = [
        KnownFailureError(f"{item.error}: {item.message}", image=item.image)
        for item in failure.errors
    ]
    return DealFailedError(task.deal, errors)


def _record(store: DealStore, task: DealTask, failure: DealFailedError) -> None:
    """Keep the reasons beside the deal; a full disk must not hide them from the caller."""
    try:
        inputs = current_inputs(store, task.deal, task.mode)
    except DealNotFoundError:
        return  # a record would bring the folder of a deleted deal back
    except SegpipeError:
        inputs = InputsMark("", "")
    items = [
        FailureItem(
            image=getattr(error, "image", None),
            error=type(error).__name__,
            message=getattr(error, "message", str(error)),
        )
        for error in failure.errors
    ]
    record = Failure(
        run_id=task.run_id,
        attempt=task.attempt,
        created_at=utc_now(),
        photos_fingerprint=inputs.photos,
        prompts_version=inputs.prompts,
        # Free space, another upstream or a mended bug may help; the same bad photos never do.
        retryable=not any(isinstance(error, InputError) for error in failure.errors),
        errors=tuple(items),
    )
    try:
        store.record_failure(task.deal, task.mode, record)
    except SegpipeError as error:
        _log.warning("the failure of deal %r is not on record: %s", task.deal, error)
