"""One deal among the many of a run: not twice, and what it found and its failure on record."""

import logging
from dataclasses import replace

from segpipe.errors import (
    DealFailedError,
    DealNotFoundError,
    FindsNotRecordedError,
    InputError,
    KnownFailureError,
    SegpipeError,
)
from segpipe.flow.deal import DealOutcome, DealTask, process_deal
from segpipe.flow.found import record_found
from segpipe.flow.progress import Progress
from segpipe.flow.report import SHEET_FILE
from segpipe.flow.stages import Stage
from segpipe.flow.staleness import (
    InputsMark,
    current_inputs,
    run_of_unrecorded_finds,
    stale_stages,
)
from segpipe.flow.tools import Tools
from segpipe.prompt import Mode
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
        try:
            if promoted := _promoted_by(store, task, runs):
                return promoted
            known = _known_failure(store, task, runs)
        except SegpipeError as error:  # damage to one deal is no reason to leave the others
            raise DealFailedError(task.deal, [error.at(deal=task.deal)]) from error
        if known:
            raise known
    try:
        if task.skip_up_to_date:
            stale = task.stages & _stale_stages(store, task, tools)
            if not stale and (run_id := run_of_unrecorded_finds(store, task.deal, task.mode)):
                return _promoted_by(store, task, frozenset({run_id}))
            task = replace(task, stages=stale)
        if not task.stages:
            return None
        return await process_deal(store, task, tools, progress)
    except DealFailedError as failure:
        _record(store, task, failure)
        raise


def record_finds(store: DealStore, outcome: DealOutcome, tools: Tools, progress: Progress) -> None:
    """Put what ``find_all`` found in a promoted deal among its prompts, if settings say so.

    Raises:
        FindsNotRecordedError: It could not be written; that is on record, and another run of the
            deal makes up for it.
    """
    task = outcome.task
    is_new = task.mode is Mode.FIND_ALL and Stage.REFINEMENT in outcome.versions
    if not (is_new and tools.settings.prompts.record_found):
        return
    try:
        record_found(store, task.deal)
        if run_of_unrecorded_finds(store, task.deal, task.mode):
            store.forget_failure(task.deal, task.mode)
    except SegpipeError as error:
        failure = FindsNotRecordedError(task.deal, [error.at(deal=task.deal)])
        # By the run that found them: this one may only have tried to make up for it.
        made_by = outcome.versions[Stage.REFINEMENT].run_id
        _record(store, replace(task, run_id=made_by), failure)
        progress.deal_failed(task.deal, failure.message)
        raise failure from error


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
        if len(made) == len(versions) and all(version.run_id in runs for version in made.values()):
            snapshot = store.snapshot(task.deal, task.mode, commit.generation)
            summary = snapshot.manifest(next(iter(made))).info.summary
            if summary is None:  # no manifest of a stage lacks it
                continue
            has_report = snapshot.has(Stage.DEAL_REPORT)
            return DealOutcome(
                task,
                Promotion(commit, ()),
                made,
                summary,
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
    prefix = f"{failure.what}: " if isinstance(failure, FindsNotRecordedError) else ""
    items = [
        FailureItem(
            image=getattr(error, "image", None),
            error=type(error).__name__,
            message=prefix + getattr(error, "message", str(error)),
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
