"""What the store asks of the place that holds its files, and what its failures mean.

Keys are POSIX paths relative to the data root. Only implementations of :class:`Storage` touch
bytes, so one of them stands for everything that can be lost, and a test can replace it.
"""

import contextlib
import errno
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol

from segpipe.errors import SegpipeError, StoreError

TEMPORARY_PREFIX = ".segpipe-"
TEMPORARY_SUFFIX = ".tmp"
_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NOT_WRITABLE = frozenset({errno.EROFS, errno.EACCES, errno.EPERM})


class Kind(Enum):
    """What a key names, links followed."""

    FILE = auto()
    FOLDER = auto()
    BROKEN_LINK = auto()
    ESCAPING_LINK = auto()
    """A link that leaves the data root; nothing behind it is looked at."""
    SPECIAL = auto()
    """A FIFO, a socket or a device; never opened."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One name in a folder.

    Attributes:
        name: Its last part, or its path relative to the folder that was walked.
        kind: What it names.
        size: Bytes; 0 unless it is a file.
        modified_ns: When its content last changed, nanoseconds since 1970; 0 when unknown.
        changed_ns: When anything about it last changed, by the clock of the place that holds it:
            unlike ``modified_ns``, nobody can set it back. The same where only one is known.
    """

    name: str
    kind: Kind
    size: int = 0
    modified_ns: int = 0
    changed_ns: int = 0


class NewFile(Protocol):
    """A file under creation; exactly one of ``finish`` and ``abandon`` ends it."""

    def write(self, data: bytes | memoryview) -> None:
        """Append."""
        ...

    def finish(self) -> None:
        """Close, and return once the bytes would survive a power cut. Any thread may call it."""
        ...

    def abandon(self) -> None:
        """Close, caring for nothing; what was written may stay."""
        ...


class Storage(Protocol):
    """A tree of files. Failures are OSErrors; the store gives them their meaning."""

    settles: ClassVar[bool]
    """Whether a write that failed never happens later: a lost request to an object store may."""

    keeps_empty_folders: ClassVar[bool]
    """Whether there are folders that hold nothing, and so may be what a failure left behind."""

    prefers_few_files: ClassVar[bool]
    """Whether each file costs a request to make and to read, so that few large ones are better."""

    local_root: Path | None = None
    """The folder of this machine that it is, where links can be made; None for any other place."""

    def entry(self, key: str) -> Entry | None:
        """What a key names; None when it names nothing."""
        ...

    def is_folder(self, key: str) -> bool:
        """Whether a key names a folder of the root, or a link to one."""
        ...

    def leaves_root(self, key: str) -> bool:
        """Whether a key names a link out of the root; nothing behind it is ever looked at."""
        ...

    def list(self, key: str) -> list[Entry]:
        """What a folder holds, in no order; nothing when there is no such folder."""
        ...

    def names_after(self, key: str, after: str, limit: int) -> Sequence[str]:
        """The names in a folder of files that are greater than one, in order, so many at most."""
        ...

    def walk(self, key: str) -> Iterator[Entry]:
        """Everything below a folder, children before their folder.

        Names are relative to it. Links are not followed: whatever they lead to, they are special.
        """
        ...

    def open(self, key: str) -> BinaryIO:
        """Open a file of the store to read; it can seek."""
        ...

    def read(self, key: str) -> bytes:
        """A whole file of the store."""
        ...

    def read_range(self, key: str, offset: int, length: int) -> bytes:
        """A part of a file of the store, in one step; less of it where the file ends."""
        ...

    def read_input(self, key: str) -> tuple[bytes, Entry]:
        """A whole file that somebody else put there, and its entry as it was after reading.

        Links out of the root are not followed and special files not opened: the bytes are then
        empty, and the entry's kind says why.
        """
        ...

    def create(self, key: str) -> NewFile:
        """Begin a new file, and its folders; FileExistsError when it exists."""
        ...

    def sync_folders(self, keys: Iterable[str]) -> None:
        """Make the names in these folders, and the folders themselves, survive a power cut."""
        ...

    def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
        """Make a durable file at once, whole; FileExistsError when the name is taken.

        Of all who try at the same time exactly one succeeds, and nobody ever sees a part.
        """
        ...

    def replace(self, key: str, data: bytes) -> None:
        """Make a durable file at once, whole, in place of any that is there."""
        ...

    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        """Make a durable file at once, whole, if what is there is what was expected; else False.

        Of all who swap the same bytes at the same time exactly one succeeds, unless all of them
        put the same in their place. None expects that there is no file.
        """
        ...

    def refresh(self, keys: Collection[str]) -> None:
        """Make files look newly written, where that can be; FileNotFoundError when one is gone."""
        ...

    def remove(self, key: str) -> None:
        """Remove a file; FileNotFoundError when it is gone."""
        ...

    def remove_folder(self, key: str) -> bool:
        """Remove a folder if it is there and empty; tell whether it was."""
        ...


def is_temporary(name: str) -> bool:
    """Whether a name is one that a storage gives to a file until it is whole."""
    return name.startswith(TEMPORARY_PREFIX) and name.endswith(TEMPORARY_SUFFIX)


@contextlib.contextmanager
def store_errors(deal: str | None = None) -> Iterator[None]:
    """Raise OSErrors as StoreErrors, and fill in the deal of every error that lacks it."""
    try:
        yield
    except SegpipeError as error:
        error.at(deal=deal)
        raise
    except OSError as error:
        raise StoreError(_explain(error), deal=deal) from error


def _explain(error: OSError) -> str:
    """What to do about it; without the path, which says more about the machine than the fault."""
    if error.errno in _NO_SPACE:
        return "no space left on the data root; free some, then run again: nothing current changed"
    if error.errno in _NOT_WRITABLE:
        return "the data root is read-only, or not permitted to this user; grant it write access"
    reason = os.strerror(error.errno) if error.errno else str(error) or type(error).__name__
    return f"the data root failed: {reason}"
