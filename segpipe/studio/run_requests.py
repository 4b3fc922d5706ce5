"""Starts runs of deals: once for each request, in batches, all with one generation of settings.

A request has an id, which its page made. The runs carry it in a tag: a second click finds them and
starts nothing. The first run is launched at once, so that there is something to look at; the others
follow in the background.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import dagster as dg

from segpipe.cli.instance import add_partitions
from segpipe.flow.saved_settings import read_saved
from segpipe.pipeline.chosen_settings import SETTINGS_TAG
from segpipe.pipeline.interrupts import note_cancel
from segpipe.pipeline.jobs import everything_job_name, only_stale
from segpipe.pipeline.partitions import DEALS, REQUEST_TAG, contiguous_batches, run_tags
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.studio.dagster_gateway import DagsterGateway
from segpipe.studio.dagster_questions import DagsterQuestions
from segpipe.threads import finish_in_thread
from segpipe.web.problems import BAD_REQUEST, RefusedError

ASKED_BY_TAG = "segpipe/asked_by"
"""The tag with who asked for a run."""
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunRequest:
    """Which deals are to be run.

    Attributes:
        id: Of the request; any text that no other request has.
        mode: The mode.
        deals: The deals.
        anew: Whether to do again what is up to date, too.
        by: Who asks.
    """

    id: str
    mode: Mode
    deals: tuple[str, ...]
    anew: bool
    by: str


@dataclass(frozen=True, slots=True)
class Started:
    """What became of a request.

    Attributes:
        run_id: Its first run.
        is_new: Whether it was started now, not before.
        generation: Of the saved settings that all of its runs use.
    """

    run_id: str
    is_new: bool
    generation: int


class RunRequests:
    """Starts and ends runs through Dagster.

    Args:
        store: The deals, and the saved settings.
        gateway: Dagster.
    """

    def __init__(self, store: DealStore, gateway: DagsterGateway) -> None:
        self._store = store
        self._gateway = gateway
        self._questions = DagsterQuestions(gateway)
        self._one = asyncio.Lock()
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._unwanted: set[str] = set()
        self.fault: str | None = None
        """What the last request met after its first run."""

    async def start(self, request: RunRequest) -> Started:
        """Start the runs of a request, unless that has been done.

        Raises:
            RefusedError: There is no deal in it (400), or Dagster is not there (503).
            SavedSettingsError: The saved settings cannot be used.
        """
        async with self._one:
            if before := await finish_in_thread(self._find, request.id):
                return before
            batches, generation = await finish_in_thread(self._prepare, request)
            if not batches:
                said = (
                    "there is no deal to run: nothing is asked of them, or a run has them already"
                )
                raise RefusedError(BAD_REQUEST, "NothingToDo", said)
            tags = {
                SETTINGS_TAG: str(generation),
                REQUEST_TAG: request.id,
                ASKED_BY_TAG: request.by,
            }
            config = _config(request, generation)
            run_id = await self._launch(request.mode, batches[0], config, tags)
            self.fault = None
            if batches[1:]:
                rest = self._launch_all(request, batches[1:], config, tags)
                task = self._under_way[request.id] = asyncio.create_task(rest)
                task.add_done_callback(lambda _: self._under_way.pop(request.id, None))
            return Started(run_id, True, generation)

    async def end(self, run: dg.DagsterRun, *, whole_request: bool = False) -> int:
        """End a run; or all of its request, those that were not launched yet, too.

        One whose process cannot be told, as it starts or says nothing, is taken for ended: its step
        finds that noted should it come so far.

        Raises:
            RefusedError: Dagster is not there (503) or cannot end it (409).
        """
        asked = run.tags.get(REQUEST_TAG) if whole_request else None
        if asked is None:
            await self._end(run)
            return 1
        await self._launch_no_more(asked)
        runs = await finish_in_thread(self._unfinished, asked)
        for each in runs[::-1]:  # those that wait first, or they would begin
            await self._end(each)
        return len(runs)

    async def _end(self, run: dg.DagsterRun) -> None:
        if not run.is_finished:
            await finish_in_thread(note_cancel, self._gateway.instance(), run.run_id)
        can_be_told = run.status is dg.DagsterRunStatus.STARTED
        await self._questions.end(run.run_id, at_once=not can_be_told)

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[None]:
        """Get to know Dagster in the background; at the end nothing more is launched."""
        prepares = self._gateway.has_pages
        tasks = [asyncio.create_task(self._questions.prepare())] if prepares else []
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            for request_id in list(self._under_way):
                await self._launch_no_more(request_id)

    async def _launch_no_more(self, request_id: str) -> None:
        """Wait for the launch of a request that is under way: half a launch is a run for ever."""
        if task := self._under_way.get(request_id):
            self._unwanted.add(request_id)
            await asyncio.gather(task, return_exceptions=True)
            self._unwanted.discard(request_id)

    def _find(self, request_id: str) -> Started | None:
        filters = dg.RunsFilter(tags={REQUEST_TAG: request_id})
        for run in self._gateway.instance().get_runs(filters, limit=1, ascending=True):
            return Started(run.run_id, False, int(run.tags[SETTINGS_TAG]))
        return None

    def _unfinished(self, request_id: str) -> list[dg.DagsterRun]:
        filters = dg.RunsFilter(tags={REQUEST_TAG: request_id})
        runs = self._gateway.instance().get_runs(filters, ascending=True)
        return [run for run in runs if not run.is_finished]

    def _prepare(self, request: RunRequest) -> tuple[list[tuple[str, ...]], int]:
        """The batches of a request, each for a run, and the generation of its settings."""
        generation = read_saved(self._store).generation
        instance = self._gateway.instance()
        add_partitions(instance, list(request.deals))
        order = instance.get_dynamic_partitions(DEALS.name or "")
        return list(contiguous_batches(order, frozenset(request.deals))), generation

    async def _launch(
        self,
        mode: Mode,
        batch: tuple[str, ...],
        config: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> str:
        job = everything_job_name(mode)
        return await self._questions.launch(job, config, {**run_tags(mode, batch), **tags})

    async def _launch_all(
        self,
        request: RunRequest,
        batches: Iterable[tuple[str, ...]],
        config: Mapping[str, Any],
        tags: Mapping[str, str],
    ) -> None:
        left = list(batches)
        try:
            while left and request.id not in self._unwanted:
                await self._launch(request.mode, left[0], config, tags)
                left.pop(0)
        except RefusedError as error:
            deals = sum(map(len, left))
            self.fault = (
                f"{deals} deals of a request were not started: {error.problem.detail}; process "
                "them again"
            )
            _log.error("%s", self.fault)


def _config(request: RunRequest, generation: int) -> Mapping[str, Any]:
    if request.anew:
        return {}
    # As 'segpipe run': before anything was saved, other settings are somebody's choice.
    return only_stale(request.mode, replace_other_settings=generation > 0)
