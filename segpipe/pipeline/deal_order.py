"""In which order a run takes its deals: one that killed the process of a run before goes last."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Self

import dagster as dg
from dagster._core.storage.tags import HIDDEN_TAG_PREFIX

from segpipe.errors import DealFailedError, KnownFailureError
from segpipe.flow.deal import DealTask
from segpipe.flow.run_deal import record_failure
from segpipe.store.store import DealStore

BEGUN_TAG = f"{HIDDEN_TAG_PREFIX}segpipe_begun"
"""The deal that a run has begun and not ended; the UI does not show it."""

KILLED_RUNS = 2
"""A deal that was under way when so many runs of a group were killed is not begun again."""

_KILLED = (
    "processes were killed while it was under way, so it is not begun again: its photos may need "
    "more memory than there is, or end the segmenter's process; look into the machine's log, then "
    "run it alone with 'segpipe run'"
)

_ROOT_RUN_TAG = "dagster/root_run_id"
_RETRY_TAGS = ("dagster/retry_number", "dagster/is_resume_retry")


class DealOrder:
    """The order of the deals of a run, and which it has begun: a context around all of them.

    Args:
        instance: Where the run is.
        run: The run.
        killed: How many of the runs that it retries were killed while each deal was under way.
    """

    def __init__(
        self, instance: dg.DagsterInstance, run: dg.DagsterRun, killed: Mapping[str, int]
    ) -> None:
        self._instance = instance
        self._run = run
        self._killed = killed

    @classmethod
    def of_run(cls, context: dg.AssetExecutionContext) -> Self:
        """The order of a run, by what became of those that it retries."""
        group = [run for run in _group(context) if run.run_id != context.run.run_id]
        begun = [run.tags.get(BEGUN_TAG) for run in group if not run.is_success]
        return cls(context.instance, context.run, Counter(filter(None, begun)))

    def __enter__(self) -> Self:
        # A retry is made with the tags of the run that it retries.
        self._note("")
        return self

    def __exit__(self, *_: object) -> None:
        # However the step ends: only a process that was killed leaves its note.
        self._note("")

    def begun(self, deals: Sequence[str]) -> Iterator[str]:
        """The deals one by one, each noted while it is under way."""
        for deal in sorted(deals, key=lambda deal: self._killed.get(deal, 0)):
            self._note(deal)
            yield deal

    def refuse_a_killer(self, store: DealStore, task: DealTask) -> None:
        """Fail a deal that was under way in each of several killed runs, and put that on record.

        Raises:
            DealFailedError: It was; how often is said.
        """
        count = self._killed.get(task.deal, 0)
        if count >= KILLED_RUNS:
            error = KnownFailureError(f"{count} {_KILLED}", deal=task.deal)
            failure = DealFailedError(task.deal, [error])
            record_failure(store, task, failure)
            raise failure

    def _note(self, deal: str) -> None:
        self._instance.add_run_tags(self._run.run_id, {BEGUN_TAG: deal})


def retried_runs(context: dg.AssetExecutionContext) -> frozenset[str]:
    """The runs whose work this run goes on with: those that it retries, not re-executes."""
    return frozenset(run.run_id for run in _group(context))


def _group(context: dg.AssetExecutionContext) -> list[dg.DagsterRun]:
    """A run that is a retry, and those that it retries; none for any other run."""
    if not any(context.run.tags.get(tag) not in {None, "false"} for tag in _RETRY_TAGS):
        return []
    root_id = context.run.tags.get(_ROOT_RUN_TAG)
    if root_id is None:
        return []
    root = context.instance.get_run_by_id(root_id)
    group = context.instance.get_runs(dg.RunsFilter(tags={_ROOT_RUN_TAG: root_id}))
    return [*([root] if root else []), *group]
