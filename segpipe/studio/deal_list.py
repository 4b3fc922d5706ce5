"""The list of all deals: searched, filtered, sorted, and a page of it.

How the deals of a page stand is read when it is asked for. To filter or sort by how deals stand,
all of them have to be known: they are kept in memory, read anew in the background while somebody
looks at the list, and at once where the studio itself changes something (:meth:`DealList.forget`).
So a row is always true, while which rows a filter gives may lag behind what others change.
"""

import asyncio
import contextlib
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from segpipe.prompt import Mode
from segpipe.studio.deal_status import DealStatus, StatusReader, Tone

_BATCH = 50
_FEW = 500
_SHORTEST_PAUSE_S = 3.0
_SHARE_OF_TIME = 0.05  # of one core, for reading anew
_IDLE_AFTER_S = 600.0


class Order(StrEnum):
    """How the list is sorted."""

    NAME = "name"
    LAST_RUN = "last_run"
    PHOTOS = "photos"
    ITEMS = "items"


@dataclass(frozen=True, slots=True)
class DealQuery:
    """Which deals are wanted.

    Attributes:
        search: What their names hold, in any case.
        mode: The mode that ``tone`` and ``order`` are about.
        tone: How urgent their state is; None for any.
        order: How they are sorted.
        descending: Whether the other way round.
        after: The deal after which the page begins.
        size: Deals of a page.
    """

    search: str = ""
    mode: Mode = Mode.FIND_ALL
    tone: Tone | None = None
    order: Order = Order.NAME
    descending: bool = False
    after: str | None = None
    size: int = 50

    @property
    def needs_all(self) -> bool:
        """Whether how every deal stands has to be known."""
        return self.tone is not None or self.order is not Order.NAME


@dataclass(frozen=True, slots=True)
class DealPage:
    """A page of the list.

    Attributes:
        deals: The deals.
        total: How many fit in all.
        following: The cursor of the next page; None on the last one.
        tones: How many of those that fit, but for the filter, there are of each tone; None while
            not all are known.
    """

    deals: Sequence[DealStatus]
    total: int
    following: str | None
    tones: Counter[Tone] | None


_KEYS: dict[Order, Callable[[DealStatus, Mode], float]] = {
    Order.NAME: lambda _, __: 0,
    Order.LAST_RUN: lambda status, _: status.last_run_at.timestamp() if status.last_run_at else 0,
    Order.PHOTOS: lambda status, _: status.photos,
    Order.ITEMS: lambda status, mode: status.of(mode).counts.crops,
}


class DealList:
    """Finds pages of deals.

    Args:
        reader: Reads how deals stand.
    """

    def __init__(self, reader: StatusReader) -> None:
        self._reader = reader
        self._known: dict[str, DealStatus] = {}
        self._listed: frozenset[str] = frozenset()
        self._reading = threading.Lock()
        self._used_at = time.monotonic()

    def page(self, query: DealQuery) -> DealPage:
        """A page of the deals that are wanted."""
        self._used_at = time.monotonic()
        names = self._names()
        if query.search:
            wanted = query.search.casefold()
            names = [name for name in names if wanted in name.casefold()]
        if query.needs_all:
            self._read_unknown(names)
        tones = self._tones(names, query.mode)
        names = self._chosen(names, query)
        start = names.index(query.after) + 1 if query.after in names else 0
        shown = names[start : start + query.size]
        is_last = start + query.size >= len(names)
        return DealPage(
            deals=self._read(shown),
            total=len(names),
            following=None if is_last or not shown else shown[-1],
            tones=tones,
        )

    def everything(self) -> list[DealStatus]:
        """How all deals stand: as it is now where they are few, else as it was a little ago."""
        self._used_at = time.monotonic()
        names = self._reader.store.deals()
        if len(names) <= _FEW:
            return self._read(names)
        self._read_unknown(names)
        return [status for name in names if (status := self._known.get(name))]

    def forget(self, deal: str) -> None:
        """Read a deal anew when it is next asked for: something about it has changed."""
        self._known.pop(deal, None)

    def refresh(self) -> None:
        """Read all deals anew."""
        names = self._reader.store.deals()  # with a look into every folder
        self._listed = frozenset(names)
        for gone in self._known.keys() - set(names):
            self.forget(gone)
        for start in range(0, len(names), _BATCH):
            self._read(names[start : start + _BATCH])

    @contextlib.asynccontextmanager
    async def kept_warm(self) -> AsyncIterator[None]:
        """Read all deals in the background, and anew while somebody looks at the list."""
        task = asyncio.create_task(self._keep_warm())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _keep_warm(self) -> None:
        while True:
            begun = time.monotonic()
            if begun - self._used_at < _IDLE_AFTER_S:
                await asyncio.to_thread(self.refresh)
            taken = time.monotonic() - begun
            await asyncio.sleep(max(_SHORTEST_PAUSE_S, taken / _SHARE_OF_TIME))

    def _names(self) -> list[str]:
        names = self._reader.store.deals(self._listed)
        self._listed = frozenset(names)
        return names

    def _read(self, names: list[str]) -> list[DealStatus]:
        found = self._reader.statuses(names)
        self._known.update({status.deal: status for status in found})
        return found

    def _read_unknown(self, names: list[str]) -> None:
        with self._reading:  # whoever else wants all waits for the same reading
            self._read([name for name in names if name not in self._known])

    def _tones(self, names: list[str], mode: Mode) -> Counter[Tone] | None:
        known = [self._known.get(name) for name in names]
        tones = Counter(status.of(mode).tone for status in known if status)
        return tones if tones.total() == len(names) else None

    def _chosen(self, names: list[str], query: DealQuery) -> list[str]:
        """The names that fit, in their order: equal ones by name."""
        if query.needs_all:
            key = _KEYS[query.order]
            found = [status for name in names if (status := self._known.get(name))]
            if query.tone:
                found = [each for each in found if each.of(query.mode).tone is query.tone]
            found.sort(key=lambda each: key(each, query.mode), reverse=query.descending)
            return [each.deal for each in found]
        return names[::-1] if query.descending else names
