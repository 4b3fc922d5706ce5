"""Who looks at which items at the moment, so that two reviewers do not meet."""

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

LEASE_S = 60.0
"""How long somebody has an item who does not say so again."""

Item = tuple[str, str, str, str]
"""Deal, mode, image id, and what a decision about the item is about."""


@dataclass(frozen=True, slots=True)
class Lease:
    """What one browser tab has.

    Attributes:
        person: Whose it is, for people.
        items: Which items.
        until: When it ends, on the clock of the leases.
    """

    person: str
    items: frozenset[Item]
    until: float


class ReviewLeases:
    """Leases in memory: they hold for as long as the studio runs, and nothing depends on them.

    Two who decide about the same item all the same are told by the document, as its swap refuses
    the second.

    Args:
        clock: Seconds that only go on.

    >>> leases = ReviewLeases()
    >>> mine = ("lot", "find_all", "a", "k1")
    >>> leases.take("tab-1", "ann", [mine])
    {}
    >>> leases.take("tab-2", "bob", [mine])
    {('lot', 'find_all', 'a', 'k1'): 'ann'}
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._leases: dict[str, Lease] = {}

    def take(self, tab: str, person: str, items: Iterable[Item]) -> dict[Item, str]:
        """Let a tab have these items alone, in place of those that it had.

        Args:
            tab: Which one: a name that it made up.
            person: Whose it is.
            items: What it is about to show; none gives all back.

        Returns:
            Those of them that another tab has, and whose it is.
        """
        wanted = frozenset(items)
        with self._lock:
            now = self._clock()
            self._leases = {
                name: lease
                for name, lease in self._leases.items()
                if lease.until > now and name != tab
            }
            taken = {
                item: lease.person
                for lease in self._leases.values()
                for item in lease.items & wanted
            }
            free = wanted - taken.keys()
            if free:
                self._leases[tab] = Lease(person, free, now + LEASE_S)
        return taken
