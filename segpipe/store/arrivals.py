"""The log of arrivals: an empty file for each time that something was put into a deal.

``arrivals/<day>/<time>-<deal>``, in UTC by the clock of who writes it, once the photos are there.
Names are in the order of time, so who waits for deals lists what comes after the place that they
have read to, and never all deals. Whoever puts photos into a bucket or folder by other means than
segpipe writes such a file too: ``arrivals/2026-01-31/142501.5-spring-lot``.
"""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from segpipe.store import layout
from segpipe.store.ids import check_deal_id, is_id
from segpipe.store.storage import Kind, Storage, store_errors

KEPT_DAYS = 30
"""How long the log is kept."""
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_NAME = re.compile(r"\d{6}(?:\.\d+)?-(.+)")


class Arrival(NamedTuple):
    """One file of the log.

    Attributes:
        place: Its name in the log; later ones are greater.
        deal: The deal that it tells of; "" where its name is none of the log.
    """

    place: str
    deal: str


class Arrivals:
    """The log of one data root.

    >>> from segpipe.store.data_root import DataRoot
    >>> log = Arrivals(DataRoot.parse("memory://arrivals").storage())
    >>> first = log.put("lot-7", at=1769869501.5)
    >>> log.put("lot-8", at=1769869502), [arrival.deal for arrival in log.after(first, 10)]
    ('2026-01-31/142502.000000-lot-8', ['lot-8'])

    Args:
        storage: The data root.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def put(self, deal: str, at: float | None = None) -> str:
        """Tell that something of a deal has come in; the place of that in the log.

        Args:
            deal: The deal.
            at: When, seconds since 1970; now by default.

        Raises:
            StoreError: It cannot be written.
        """
        moment = datetime.now(UTC) if at is None else datetime.fromtimestamp(at, UTC)
        place = f"{place_at(moment.timestamp())}-{check_deal_id(deal)}"
        with store_errors(deal):
            self._storage.replace(f"{layout.ARRIVALS}/{place}", b"")
        return place

    def after(self, place: str, limit: int) -> list[Arrival]:
        """What came after a place, in order.

        Args:
            place: What was read last; "" for all that are kept.
            limit: Arrivals at most.

        Raises:
            StoreError: The log cannot be listed.
        """
        found: list[Arrival] = []
        with store_errors():
            for day in self._days(place):
                last = place.partition("/")[2] if place.startswith(day) else ""
                folder = f"{layout.ARRIVALS}/{day}"
                for name in self._storage.names_after(folder, last, limit - len(found)):
                    named = _NAME.fullmatch(name)
                    deal = named[1] if named and is_id(named[1]) else ""
                    found.append(Arrival(f"{day}/{name}", deal))
                if len(found) >= limit:
                    break
        return found

    def forget(self, before: float) -> int:
        """Remove the days before a time, seconds since 1970; how many files that were."""
        first = datetime.fromtimestamp(before, UTC).date().isoformat()
        removed = 0
        with store_errors():
            for day in self._kept_days():
                if day < first:
                    folder = f"{layout.ARRIVALS}/{day}"
                    for entry in self._storage.list(folder):
                        self._storage.remove(f"{folder}/{entry.name}")
                        removed += 1
                    self._storage.remove_folder(folder)
        return removed

    def _days(self, place: str) -> Iterator[str]:
        """The days in which something after a place may be: to list them would cost a request."""
        if not place:
            yield from self._kept_days()
            return
        day = date.fromisoformat(place.partition("/")[0])
        # Somebody's clock may be in the next day already.
        last = datetime.now(UTC).date() + timedelta(days=1)
        while day <= last:
            yield day.isoformat()
            day += timedelta(days=1)

    def _kept_days(self) -> list[str]:
        entries = self._storage.list(layout.ARRIVALS)
        days = (each.name for each in entries if each.kind is Kind.FOLDER)
        return sorted(day for day in days if _DAY.fullmatch(day))


def place_at(moment: float) -> str:
    """Where the log is at a time, seconds since 1970: what came before is less, and later greater.

    >>> place_at(1769869501.5)
    '2026-01-31/142501.500000'
    """
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d/%H%M%S.%f")
