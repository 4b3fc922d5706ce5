"""The list of all deals: searched, filtered, sorted, and a page of it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from segpipe.prompt import Mode
from segpipe.studio.deal_status import DealStatus, StatusReader, Tone


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
    """

    deals: Sequence[DealStatus]
    total: int
    following: str | None


_KEYS: dict[Order, Callable[[DealStatus, Mode], object]] = {
    Order.NAME: lambda status, _: status.deal,
    Order.LAST_RUN: lambda status, _: status.last_run_at.timestamp() if status.last_run_at else 0.0,
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

    def page(self, query: DealQuery) -> DealPage:
        """A page of the deals that are wanted."""
        names = self._reader.store.deals()
        if query.search:
            wanted = query.search.casefold()
            names = [name for name in names if wanted in name.casefold()]
        if query.needs_all:
            names = self._sorted(names, query)
        elif query.descending:
            names = names[::-1]
        start = names.index(query.after) + 1 if query.after in names else 0
        shown = names[start : start + query.size]
        is_last = start + query.size >= len(names)
        return DealPage(
            deals=self._reader.statuses(shown),
            total=len(names),
            following=None if is_last or not shown else shown[-1],
        )

    def _sorted(self, names: list[str], query: DealQuery) -> list[str]:
        found = self._reader.statuses(names)
        if query.tone:
            found = [each for each in found if each.of(query.mode).tone is query.tone]
        key = _KEYS[query.order]
        found.sort(key=lambda each: key(each, query.mode), reverse=query.descending)  # type: ignore[arg-type,return-value]
        return [each.deal for each in found]
