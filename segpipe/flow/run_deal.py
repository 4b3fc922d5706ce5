"""One deal among the many of a run: not twice, and what it found and its failure on record."""

import errno
import logging
from dataclasses import replace

from segpipe.errors import (
    DealFailedError,
    DealNotFoundError,
    FindsNotRecordedError,
    InputError,
    KnownFailureError,
    SegpipeError,
    StoreError,
)
from segpipe.flow.deal import DealOutcome, DealTask, process_deal
from segpipe.flow.deal_inputs import InputsMark, current_inputs
from segpipe.flow.deal_state import State, Todo
from segpipe.flow.finds import write_finds
from segpipe.flow.stages.refinement import REFINEMENT
from segpipe.flow.stages.review import REVIEW
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.flow.todo import nothing_to_ask, run_of_unrecorded_finds, todo_of
from segpipe.flow.tools import Tools
from segpipe.progress import DealFailed, DealSkipped, DealWanted, Tell
from segpipe.prompt import Mode
from segpipe.store.failures import Failure, FailureItem
from segpipe.store.manifests import utc_now
from segpipe.store.store import DealStore, Promotion, Snapshot

_LASTING_OS_ERRORS = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENAMETOOLONG}
)

_log = logging.getLogger(__name__)


async def process_in_run(
    store: DealStore,
    task: DealTask,
    tools: Tools,
    tell: Tell,
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
        tell: Told of what becomes of the deal.
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
    if todo := _todo(store, task, tools):
        if todo.state is State.KNOWN_BAD and (known := _known_failure(store, task)):
            raise known
        if todo.state is State.FINDS_NOT_RECORDED:
            run_id = run_of_unrecorded_finds(store, task.deal, task.mode)
            return _promoted_by(store, task, frozenset({run_id})) if run_id else None
        task = replace(task, stages=task.stages & todo.stages)
        if not task.stages:
            tell(DealSkipped(task.deal, todo.reason))
            return None
        tell(DealWanted(task.deal, todo.reason))
    try:
        return await process_deal(store, task, tools, tell)
    except DealFailedError as failure:
        record_failure(store, task, failure)
        raise


def record_finds(store: DealStore, outcome: DealOutcome, tools: Tools, tell: Tell) -> None:
    """Put what ``find_all`` found in a promoted deal among its prompts, if settings say so.

    Raises:
        FindsNotRecordedError: It could not be written; that is on record, and another run of the
            deal makes up for it.
    """
    task = outcome.task
    is_new = {REFINEMENT.name, REVIEW.name} & outcome.versions.keys()
    if not (task.mode is Mode.FIND_ALL and is_new and tools.settings.stages.prompts.record_found):
        return
    try:
        write_finds(store, task.deal)
        if run_of_unrecorded_finds(store, task.deal, task.mode):
            store.forget_failure(task.deal, task.mode)
    except SegpipeError as error:
        failure = FindsNotRecordedError(task.deal, [error.at(deal=task.deal)])
        # By the run that found them: this one may only have tried to make up for it.
        made_by = outcome.promotion.commit.version(REFINEMENT.name)
        run_id = made_by.run_id if made_by else task.run_id
        record_failure(store, replace(task, run_id=run_id), failure)
        tell(DealFailed(task.deal, failure.message))
        raise failure from error


def is_retryable(error: BaseException) -> bool:
    """Whether the same work may succeed later with nothing changed by hand.

    A deal is worth another try only when every one of its errors is.
    """
    if isinstance(error, DealFailedError):
        return all(is_retryable(reason) for reason in error.errors)
    if type(error) is StoreError and isinstance(error.__cause__, OSError):
        return is_retryable(error.__cause__)  # what the storage said decides
    if isinstance(error, SegpipeError):
        return error.retryable
    return isinstance(error, OSError) and error.errno not in _LASTING_OS_ERRORS


def _todo(store: DealStore, task: DealTask, tools: Tools) -> Todo | None:
    """What of the deal is to be done; None when the task is, whatever there is."""
    if task.skip_up_to_date:
        replaces = not task.keep_other_settings
        return todo_of(store, task.deal, task.mode, tools.settings, replace_other_settings=replaces)
    asks = any(stage.reads_prompts for stage in STAGES.in_order(task.stages))
    return nothing_to_ask(store, task.deal, task.mode) if asks else None


def _promoted_by(store: DealStore, task: DealTask, runs: frozenset[str]) -> DealOutcome | None:
    """What these runs promoted, if a kept commit of theirs has every stage of the task."""
    for commit in reversed(store.commits(task.deal, task.mode)):
        snapshot = store.snapshot(task.deal, task.mode, commit.generation)
        outcome = _outcome_of(snapshot, task)
        made = outcome.versions.values() if outcome else ()
        if outcome and all(version.run_id in runs for version in made):
            return outcome
    return None


def current_outcome(store: DealStore, task: DealTask) -> DealOutcome | None:
    """What is current of a deal, as if the task had just made it; None when a stage is missing.

    Raises:
        CorruptVersionError: The commit or a manifest is damaged.
    """
    snapshot = store.current(task.deal, task.mode)
    return _outcome_of(snapshot, task) if snapshot else None


def _outcome_of(snapshot: Snapshot, task: DealTask) -> DealOutcome | None:
    """The stages of a task in one generation; None when it has not all of them.

    What an earlier release promoted may lack those that a later one added.
    """
    versions = {name: snapshot.version(name) for name in task.stages if snapshot.has(name)}
    needed = {stage.name for stage in STAGES.in_order(task.stages) if not stage.is_later}
    if not versions or needed - versions.keys():
        return None
    summary = snapshot.manifest(next(iter(versions))).info.summary
    if summary is None:  # no manifest of a stage lacks it
        return None
    return DealOutcome(task, Promotion(snapshot.commit, ()), versions, summary)


def _known_failure(
    store: DealStore, task: DealTask, runs: frozenset[str] | None = None
) -> DealFailedError | None:
    """The failure on record that no retry cures, if it is one of these runs'."""
    failure = store.last_failure(task.deal, task.mode)
    if failure is None or failure.retryable or (runs and failure.run_id not in runs):
        return None
    errors = [
        KnownFailureError(f"{item.error}: {item.message}", image=item.image)
        for item in failure.errors
    ]
    return DealFailedError(task.deal, errors)


def record_failure(store: DealStore, task: DealTask, failure: DealFailedError) -> None:
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
        reviews_version=inputs.reviews,
        # Free space, another upstream or a mended bug may help; the same bad photos never do.
        retryable=not any(isinstance(error, InputError) for error in failure.errors),
        errors=tuple(items),
    )
    try:
        store.record_failure(task.deal, task.mode, record)
    except SegpipeError as error:
        _log.warning("the failure of deal %r is not on record: %s", task.deal, error)
