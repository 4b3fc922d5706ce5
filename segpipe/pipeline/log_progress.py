"""Progress as lines in the run's log, and what such lines tell whoever reads them."""

import ast
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

import dagster as dg

from segpipe.progress import (
    DealDone,
    DealFailed,
    DealSkipped,
    DealStarted,
    DealWanted,
    Event,
    PhotoDone,
    Tell,
)

QUIET_S = 1.5
"""How long a run says nothing of a photo that is done, at most."""


class LogProgress:
    """Logs the deals of a run, and how many photos are done: at once, or a moment later.

    Use it as a context manager: what is still to be said is left unsaid at the end.

    Args:
        log: The run's log.
        also: Who else is told.
        quiet_s: How far apart lines about photos are at least, seconds.
    """

    def __init__(self, log: dg.DagsterLogManager, also: Tell, *, quiet_s: float = QUIET_S) -> None:
        self._log = log
        self._also = also
        self._quiet_s = quiet_s
        self._lock = threading.Lock()
        self._deal = ""
        self._photos = 0
        self._done = 0
        self._spoke_at = 0.0
        self._late: threading.Timer | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._be_silent()

    def __call__(self, event: Event) -> None:
        """Say what is worth a line."""
        with self._lock:
            if isinstance(event, PhotoDone):
                self._done += 1
                self._say_or_wait()
            else:
                self._be_silent()
        match event:
            case DealWanted(deal, reason):
                self._log.info("deal %r: %s", deal, reason)
            case DealStarted(deal, photos):
                self._deal, self._photos, self._done, self._spoke_at = deal, photos, 0, 0.0
                self._log.info("deal %r: %d photos", deal, photos)
            case DealDone(deal, counts):
                self._log.info(
                    "deal %r: promoted; %d photos, %d detections, %d survivors, %d crops",
                    deal,
                    counts.images,
                    counts.detections,
                    counts.survivors,
                    counts.crops,
                )
            case DealSkipped(deal, reason):
                self._log.info("deal %r: nothing to do: %s", deal, reason)
            case DealFailed(deal, reason):
                self._log.error("deal %r: failed: %s", deal, reason)
        self._also(event)

    def _say_or_wait(self) -> None:
        wait = self._spoke_at + self._quiet_s - time.monotonic()
        if wait <= 0:
            self._say()
        elif self._late is None:
            self._late = threading.Timer(wait, self._say_late)
            self._late.daemon = True
            self._late.start()

    def _say_late(self) -> None:
        with self._lock:
            if self._late is threading.current_thread():
                self._say()

    def _say(self) -> None:
        self._be_silent()
        self._spoke_at = time.monotonic()
        self._log.info("deal %r: %d of %d photos", self._deal, self._done, self._photos)

    def _be_silent(self) -> None:
        if self._late:
            self._late.cancel()
            self._late = None


class Stand(StrEnum):
    """How far a run is with a deal; the words are for people."""

    UNDER_WAY = "under way"
    DONE = "done"
    SKIPPED = "nothing to do"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class DealProgress:
    """How far a run is with a deal, as its log says.

    Attributes:
        deal: The deal.
        stand: How far.
        done: Photos that are done.
        photos: How many it has; 0 before the run has counted them.
        note: Why it is worked on, is not, or failed; or what was found.
    """

    deal: str
    stand: Stand = Stand.UNDER_WAY
    done: int = 0
    photos: int = 0
    note: str = ""

    @property
    def is_settled(self) -> bool:
        """Whether the run is done with it, in whatever way."""
        return self.stand is not Stand.UNDER_WAY


_LINE = re.compile(r"deal ('(?:[^'\\]|\\.)*'|\"(?:[^\"\\]|\\.)*\"): (.*)", re.DOTALL)
_Change = Callable[[DealProgress, re.Match[str]], DealProgress]
_CHANGES: tuple[tuple[re.Pattern[str], _Change], ...] = (
    (
        re.compile(r"(\d+) photos"),
        lambda now, said: DealProgress(now.deal, photos=int(said[1]), note=now.note),
    ),
    (
        re.compile(r"(\d+) of (\d+) photos"),
        lambda now, said: replace(now, done=int(said[1]), photos=int(said[2])),
    ),
    (
        re.compile(r"promoted; (.*)"),
        lambda now, said: replace(now, stand=Stand.DONE, done=now.photos, note=said[1]),
    ),
    (
        re.compile(r"nothing to do: (.*)", re.DOTALL),
        # Another attempt of the run has nothing to do for what it has done before.
        lambda now, said: (
            now if now.stand is Stand.DONE else replace(now, stand=Stand.SKIPPED, note=said[1])
        ),
    ),
    (
        re.compile(r"failed: (.*)", re.DOTALL),
        lambda now, said: replace(now, stand=Stand.FAILED, note=said[1]),
    ),
    (re.compile(r"(.*)", re.DOTALL), lambda now, said: DealProgress(now.deal, note=said[1])),
)


class RunProgress:
    """How far a run is with each of its deals, from the lines of its log.

    >>> progress = RunProgress()
    >>> for line in ("deal 'lot-7': its photos changed", "deal 'lot-7': 12 photos",
    ...              "deal 'lot-7': 5 of 12 photos", "something else"):
    ...     progress.hear(line)
    >>> [(each.deal, each.stand.value, each.done, each.photos) for each in progress.deals]
    [('lot-7', 'under way', 5, 12)]
    """

    def __init__(self) -> None:
        self._deals: dict[str, DealProgress] = {}

    @property
    def deals(self) -> tuple[DealProgress, ...]:
        """The deals that the log tells of, in its order."""
        return tuple(self._deals.values())

    def hear(self, line: str) -> None:
        """Take a line of the log; most are about something else."""
        found = _LINE.fullmatch(line)
        if not found:
            return
        deal, said = str(ast.literal_eval(found[1])), found[2]
        now = self._deals.get(deal, DealProgress(deal))
        for pattern, change in _CHANGES:
            if match := pattern.fullmatch(said):
                self._deals[deal] = change(now, match)
                return
