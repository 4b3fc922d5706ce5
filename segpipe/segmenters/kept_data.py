"""What segmenters keep beside the deals, so that nothing is paid for twice: answers, and accounts.

On a local disk these are files of one machine; in an object store all machines share them. What is
asked of either is here; :mod:`segpipe.segmenters.local_data` and
:mod:`segpipe.store.shared_data` are the two.
"""

from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from typing import NamedTuple, Protocol


class AnswerFiles(Protocol):
    """Keeps bytes under keys, bounded in size. Methods block, and their failures are OSErrors."""

    def read(self, key: str) -> bytes | None:
        """The entry of a key; None when there is none."""
        ...

    def write(self, key: str, data: bytes) -> None:
        """Put or replace the entry of a key, whole or not at all."""
        ...

    def locked(self, key: str) -> AbstractAsyncContextManager[None]:
        """Keep others, in other processes and on other machines, from the same key.

        The lock of one who was killed is taken over; who has waited too long goes on without it.
        """
        ...


class Line(NamedTuple):
    """A line of an account, without its end; ``place`` tells it from all others of its account."""

    place: str
    text: bytes


class CallLines(Protocol):
    """The account of one run: lines that are only ever added. Failures are OSErrors."""

    place: str
    """Where it is, for people."""

    def turn(self) -> AbstractContextManager[list[Line]]:
        """Keep others away as far as the place can, and give the lines that are new to the caller.

        All lines the first time, then those that others have added.
        """
        ...

    def append(self, text: bytes) -> bool:
        """Add a line, inside a turn, unless others have added some that the caller has not seen."""
        ...


class Account(NamedTuple):
    """A part of an account as text: the name of its run's file, and lines."""

    name: str
    text: str


class Ledgers(Protocol):
    """The accounts of all runs."""

    one_at_a_time: bool
    """Whether a turn at one account keeps away those at all others."""

    def lines(self, run: str) -> CallLines:
        """The account of a run, whose name is safe in a file name; begun with its first line."""
        ...

    def accounts(self, since: float = 0.0) -> Iterator[Account]:
        """All accounts that were written to since a time, seconds since 1970, by name.

        Raises:
            StoreError: One cannot be read.
        """
        ...


class KeptData(Protocol):
    """The place of both."""

    def answers(self, folder: str, max_bytes: int) -> AnswerFiles:
        """Those of a folder: below this place, or anywhere on this machine if it begins with /."""
        ...

    def ledgers(self, folder: str) -> Ledgers:
        """The same for accounts."""
        ...
