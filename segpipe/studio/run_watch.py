"""What runs there are and how far each is: looked up once for all who look at the pages.

Runs go on in other processes, perhaps on other machines. They tell Dagster's event log of each
photo (:mod:`segpipe.pipeline.log_progress`), and here the log is read on from where it was read to.
"""

import asyncio
import logging
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

import dagster as dg
from dagster._core.storage.dagster_run import NOT_FINISHED_STATUSES

from segpipe.pipeline.chosen_settings import SETTINGS_TAG
from segpipe.pipeline.log_progress import DealProgress, RunProgress
from segpipe.pipeline.partitions import MODE_TAG, REQUEST_TAG, deals_of_tags
from segpipe.pipeline.under_way import modes_of_tags, places_of_deals, runs_under_way
from segpipe.prompt import Mode
from segpipe.studio.dagster_gateway import DagsterGateway
from segpipe.studio.deal_status import Tone
from segpipe.studio.run_requests import ASKED_BY_TAG
from segpipe.threads import finish_in_thread

_PAUSE_S = 0.5
_SHARE_OF_TIME = 0.2  # of one core, for looking
_FRESH_S = 0.4
_LINES_AT_ONCE = 1000
_KEPT_LOGS = 64
_log = logging.getLogger(__name__)
_MODES = [*Mode, ", ".join(Mode), ", ".join(reversed(Mode))]

_Status = dg.DagsterRunStatus
_WORDS = {
    _Status.QUEUED: ("waits", Tone.REST),
    _Status.NOT_STARTED: ("waits", Tone.REST),
    _Status.STARTING: ("starts", Tone.CHANGED),
    _Status.STARTED: ("under way", Tone.CHANGED),
    _Status.SUCCESS: ("done", Tone.GOOD),
    _Status.FAILURE: ("failed", Tone.BAD),
    _Status.CANCELING: ("is cancelled", Tone.REST),
    _Status.CANCELED: ("cancelled", Tone.REST),
}


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run, as its pages show it.

    Attributes:
        run: Dagster's own.
        deals: The deals that it is for.
        created_at: When it was asked for.
        started_at: When it began.
        ended_at: When it ended.
        progress: How far it is with each deal that its log tells of.
    """

    run: dg.DagsterRun
    deals: tuple[str, ...]
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None
    progress: tuple[DealProgress, ...] = ()

    @property
    def id(self) -> str:
        """Its id."""
        return self.run.run_id

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.run.is_finished

    @property
    def status(self) -> str:
        """How it is, in words."""
        return _WORDS.get(self.run.status, (str(self.run.status.value).lower(), Tone.REST))[0]

    @property
    def tone(self) -> Tone:
        """The colour of its status."""
        return _WORDS.get(self.run.status, ("", Tone.REST))[1]

    @property
    def modes(self) -> tuple[Mode, ...]:
        """The modes of its steps."""
        return modes_of_tags(self.run.tags)

    @property
    def generation(self) -> int | None:
        """Of the saved settings that it uses; None before that is decided, or where all is told."""
        given = self.run.tags.get(SETTINGS_TAG, "")
        return int(given) if given.isdecimal() else None

    @property
    def asked_by(self) -> str:
        """Who asked for it in the studio; "" for others."""
        return self.run.tags.get(ASKED_BY_TAG, "")

    @property
    def request(self) -> str:
        """The request that it is for; "" for others."""
        return self.run.tags.get(REQUEST_TAG, "")

    @property
    def seconds(self) -> float | None:
        """How long it took, or has taken so far."""
        if self.started_at is None:
            return None
        return ((self.ended_at or datetime.now(UTC)) - self.started_at).total_seconds()

    @property
    def settled(self) -> int:
        """The deals that it is done with, in whatever way."""
        return sum(each.is_settled for each in self.progress)

    @property
    def photos(self) -> tuple[int, int]:
        """The photos that are done, and all of the deals that it has begun with."""
        return sum(each.done for each in self.progress), sum(each.photos for each in self.progress)


class RunWatch:
    """Looks at runs.

    Args:
        gateway: Dagster.
        on_settled: Is told of each deal that a run is done with, while somebody looks.
    """

    def __init__(self, gateway: DagsterGateway, on_settled: Callable[[str], None]) -> None:
        self._gateway = gateway
        self._on_settled = on_settled
        self._logs: OrderedDict[str, _Log] = OrderedDict()
        self._lock = threading.Lock()
        self._unfinished: tuple[WatchedRun, ...] = ()
        self._looked_at = 0.0
        self._news = asyncio.Condition()
        self._version = 0
        self._listeners = 0
        self._poller: asyncio.Task[None] | None = None
        self._is_closed = False

    def unfinished(self) -> tuple[WatchedRun, ...]:
        """The runs that wait or are under way, the first to begin first; at most 0.4 s old."""
        with self._lock:
            if time.monotonic() - self._looked_at > _FRESH_S:
                found = tuple(
                    self._watched(each.record, each.deals)
                    for each in runs_under_way(self._gateway.instance())
                )
                for ended in {each.id for each in self._unfinished} - {each.id for each in found}:
                    if ended in self._logs:
                        self._progress(ended)  # for what it has settled last
                self._unfinished = found
                self._looked_at = time.monotonic()
            return self._unfinished

    def under_way(self, mode: Mode) -> dict[str, WatchedRun]:
        """The deals that a run of a mode is about to settle, each with that run."""
        return {
            deal: run
            for run in reversed(self.unfinished())
            if mode in run.modes
            for deal in run.deals
            if not any(each.deal == deal and each.is_settled for each in run.progress)
        }

    def finished(self, *, limit: int, before: str | None = None) -> list[WatchedRun]:
        """The runs of deals that have ended, the last first, without their progress.

        Args:
            limit: At most so many.
            before: Those that were asked for before this one.
        """
        instance = self._gateway.instance()
        over = [status for status in _Status if status not in NOT_FINISHED_STATUSES]
        filters = dg.RunsFilter(statuses=over, tags={MODE_TAG: [str(mode) for mode in _MODES]})
        records = instance.get_run_records(filters, limit=limit, cursor=before)
        places = places_of_deals(instance)
        return [
            _watched(each, deals_of_tags(each.dagster_run.tags, places), ()) for each in records
        ]

    def run(self, run_id: str) -> WatchedRun | None:
        """One run with its progress; None where there is no such run."""
        instance = self._gateway.instance()
        record = instance.get_run_record_by_id(run_id)
        if record is None:
            return None
        deals = deals_of_tags(record.dagster_run.tags, places_of_deals(instance))
        with self._lock:
            return self._watched(record, deals, reads=True)

    @asynccontextmanager
    async def listening(self) -> AsyncIterator["News"]:
        """While somebody listens, runs are looked at; one look serves all."""
        self._listeners += 1
        if self._poller is None:
            self._poller = asyncio.create_task(self._poll())
        try:
            yield News(self)
        finally:
            self._listeners -= 1

    async def wait(self, version: int) -> int | None:
        """Wait for something to change after a version; None when the studio ends."""
        async with self._news:
            await self._news.wait_for(lambda: self._version != version or self._is_closed)
            return None if self._is_closed else self._version

    async def close(self) -> None:
        """Let go of all who listen."""
        async with self._news:
            self._is_closed = True
            self._news.notify_all()
        if self._poller:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)

    async def _poll(self) -> None:
        """Look while somebody listens. What fails once, such as a busy database, is logged."""
        seen: list[object] = []
        try:
            while self._listeners:
                begun = time.monotonic()
                try:
                    found = await finish_in_thread(self.unfinished)
                except Exception:  # noqa: BLE001 - the next look may succeed
                    _log.exception("runs could not be looked at; they are at the next look")
                    found = ()
                now: list[object] = [(each.run, each.progress) for each in found]
                if now != seen:
                    seen = now
                    async with self._news:
                        self._version += 1
                        self._news.notify_all()
                taken = time.monotonic() - begun
                await asyncio.sleep(max(_PAUSE_S, taken / _SHARE_OF_TIME))
        finally:
            self._poller = None

    def _watched(
        self, record: dg.RunRecord, deals: tuple[str, ...], *, reads: bool = False
    ) -> WatchedRun:
        reads = reads or record.dagster_run.status is _Status.STARTED
        return _watched(record, deals, self._progress(record.dagster_run.run_id) if reads else ())

    def _progress(self, run_id: str) -> tuple[DealProgress, ...]:
        log = self._logs.setdefault(run_id, _Log())
        self._logs.move_to_end(run_id)
        while len(self._logs) > _KEPT_LOGS:
            self._logs.popitem(last=False)
        before = {each.deal for each in log.deals if each.is_settled}
        log.read(self._gateway.instance(), run_id)
        for each in log.deals:
            if each.is_settled and each.deal not in before:
                self._on_settled(each.deal)
        return log.deals


class News:
    """Tells one listener that something about runs has changed since it was told last."""

    def __init__(self, watch: RunWatch) -> None:
        self._wait = watch.wait
        self._version = -1

    async def next(self) -> int | None:
        """Wait for the next change, at first for none; None when the studio ends."""
        version = await self._wait(self._version)
        self._version = version if version is not None else self._version
        return version


class _Log:
    """The log of a run, as far as it has been read."""

    def __init__(self) -> None:
        self._progress = RunProgress()
        self._cursor: str | None = None

    @property
    def deals(self) -> tuple[DealProgress, ...]:
        return self._progress.deals

    def read(self, instance: dg.DagsterInstance, run_id: str) -> None:
        read = partial(instance.get_records_for_run, run_id, limit=_LINES_AT_ONCE)
        has_more = True
        while has_more:
            found = read(cursor=self._cursor)
            for record in found.records:
                if record.event_log_entry.dagster_event is None:
                    self._progress.hear(record.event_log_entry.user_message)
            self._cursor, has_more = found.cursor, found.has_more


def _watched(
    record: dg.RunRecord, deals: tuple[str, ...], progress: tuple[DealProgress, ...]
) -> WatchedRun:
    return WatchedRun(
        run=record.dagster_run,
        deals=deals,
        created_at=record.create_timestamp.replace(tzinfo=UTC),
        started_at=_moment(record.start_time),
        ended_at=_moment(record.end_time),
        progress=progress,
    )


def _moment(seconds: float | None) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if seconds else None
