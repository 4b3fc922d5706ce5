"""Answers and accounts in the object store that holds the deals: all machines share them.

The names are those that a local data root has, so that a folder of answers can be copied into a
bucket. Of an account that is more than one object, as nothing can be appended to an object:
``ledger/<run>/0000000001.jsonl`` and so on. Its last one is swapped for itself with one line more,
which fails when somebody else was first; a full one is never changed again.
"""

import posixpath
import random
import threading
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

from cachetools import LRUCache

from segpipe.errors import ConfigError, StoreError
from segpipe.segmenters.kept_data import (
    Account,
    AnswerFiles,
    CallLines,
    KeptData,
    Ledgers,
    Line,
)
from segpipe.segmenters.local_data import LocalData
from segpipe.store.data_root import DataRoot
from segpipe.store.lease import LeaseTimes, held_lease
from segpipe.store.storage import Entry, Storage, store_errors

_ENTRY, _LOCK, _LINES = ".entry", ".lock", ".jsonl"
_SHARD_CHARS = 2
_SCAN_SHARE = 1 / 16
"""Of the size that all entries may have: after so much was written, they are looked over once."""
_KEEP_SHARE = 0.9
_ABANDONED_S = 86_400.0
"""A lock this old is nobody's, by whichever clock."""
_PART_BYTES = 64 * 1024
_PART_DIGITS = 10
_READERS = 16
_REMEMBERED_BYTES = 32_000_000
_CLOCKS_DIFFER_S = 3600.0


def kept_data(root: DataRoot, storage: Storage | None = None) -> KeptData:
    """Where answers and accounts are kept beside the deals of a data root.

    Args:
        root: The data root.
        storage: Its files; by default they are opened here.
    """
    if root.is_local:
        return LocalData(Path(root.place))
    return SharedData(root, storage or root.storage())


class SharedData(KeptData):
    """What is kept in an object store; folders that begin with ``/`` are on this machine.

    Args:
        root: The data root.
        storage: Its files.
        times: Of the locks of answers.
    """

    def __init__(self, root: DataRoot, storage: Storage, times: LeaseTimes | None = None) -> None:
        self._root = root
        self._storage = storage
        self._times = times or LeaseTimes()

    def answers(self, folder: str, max_bytes: int) -> AnswerFiles:
        """Answers below the data root."""
        if folder.startswith("/"):
            return LocalData().answers(folder, max_bytes)
        return SharedAnswers(self._storage, _key(folder), max_bytes, self._times)

    def ledgers(self, folder: str) -> Ledgers:
        """Accounts below the data root."""
        if folder.startswith("/"):
            return LocalData().ledgers(folder)
        return SharedLedgers(self._storage, _key(folder), self._root.at(_key(folder)))


class SharedAnswers(AnswerFiles):
    """Answers as objects.

    Where the local folder makes room by removing what was used longest ago, here those go first
    that were written longest ago, as reading leaves no trace.

    Args:
        storage: Where they are.
        folder: The key of their folder.
        max_bytes: The size of all together, about.
        times: Of their locks.
    """

    def __init__(self, storage: Storage, folder: str, max_bytes: int, times: LeaseTimes) -> None:
        self._storage = storage
        self._folder = folder
        self._max_bytes = max_bytes
        self._times = times

    def read(self, key: str) -> bytes | None:
        """The entry of a key; None when there is none."""
        try:
            return self._storage.read(self._file(key, _ENTRY))
        except FileNotFoundError:
            return None

    def write(self, key: str, data: bytes) -> None:
        """Put or replace the entry of a key, and now and then make room."""
        if len(data) > self._max_bytes:
            return
        self._storage.replace(self._file(key, _ENTRY), data)
        # However short processes are, all of them together look as often as they should.
        if random.random() < len(data) / (_SCAN_SHARE * self._max_bytes):  # noqa: S311 - no secret
            self.make_room()

    @asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Keep other processes and machines from the same key."""
        async with held_lease(self._storage, self._file(key, _LOCK), self._times):
            yield

    def make_room(self) -> None:
        """Remove the entries written longest ago while there are too many, and forgotten locks."""
        found = list(self._storage.walk(self._folder))
        entries = [entry for entry in found if entry.name.endswith(_ENTRY)]
        old_ns = (time.time() - _ABANDONED_S) * 1e9
        gone = [e for e in found if e.name.endswith(_LOCK) and e.modified_ns < old_ns]
        size = sum(entry.size for entry in entries)
        if size > self._max_bytes:
            for entry in sorted(entries, key=lambda entry: entry.modified_ns):
                if size <= _KEEP_SHARE * self._max_bytes:
                    break
                gone.append(entry)
                size -= entry.size
        with ThreadPoolExecutor(_READERS) as pool:
            list(pool.map(self._remove, gone))

    def _remove(self, entry: Entry) -> None:
        with suppress(FileNotFoundError):
            self._storage.remove(f"{self._folder}/{entry.name}")

    def _file(self, key: str, suffix: str) -> str:
        return f"{self._folder}/{key[:_SHARD_CHARS]}/{key[_SHARD_CHARS:]}{suffix}"


class SharedLedgers(Ledgers):
    """Accounts as objects.

    Args:
        storage: Where they are.
        folder: The key of their folder.
        place: The URL of it, for people.
    """

    one_at_a_time = False

    def __init__(self, storage: Storage, folder: str, place: str) -> None:
        self._storage = storage
        self._folder = folder
        self._place = place
        # Lines are only ever added, so an object of the same size is the same.
        self._texts: LRUCache[tuple[str, int], str] = LRUCache(_REMEMBERED_BYTES, getsizeof=len)
        self._remembering = threading.Lock()

    def lines(self, run: str) -> "SharedLines":
        """The account of a run."""
        return SharedLines(self._storage, f"{self._folder}/{run}", f"{self._place}/{run}")

    def accounts(self, since: float = 0.0) -> Iterator[Account]:
        """All that were written to since a time; StoreError where one cannot be read."""
        since_ns = (since - _CLOCKS_DIFFER_S) * 1e9
        with store_errors(), ThreadPoolExecutor(_READERS) as pool:
            found = [
                entry
                for entry in self._storage.walk(self._folder)
                if entry.name.endswith(_LINES) and entry.modified_ns >= since_ns
            ]
            found.sort(key=lambda entry: entry.name)
            yield from pool.map(self._account, found)

    def _account(self, entry: Entry) -> Account:
        name, known = entry.name, (entry.name, entry.size)
        with self._remembering:
            text = self._texts.get(known)
        if text is None:
            try:
                text = self._storage.read(f"{self._folder}/{name}").decode()
            except UnicodeDecodeError as error:
                raise StoreError(
                    f"the ledger {self._place}/{name} cannot be read: {error}"
                ) from error
            if len(text) == entry.size:
                with self._remembering:
                    self._texts[known] = text
        return Account(name.partition("/")[0].removesuffix(_LINES), text)


class SharedLines(CallLines):
    """The account of one run.

    Args:
        storage: Where it is.
        folder: The key of its folder.
        place: The URL of that, for people.
    """

    def __init__(self, storage: Storage, folder: str, place: str) -> None:
        self.place = place
        self._storage = storage
        self._folder = folder
        self._part = 1
        self._held = b""
        self._is_behind = True
        self._one = threading.Lock()

    @contextmanager
    def turn(self) -> Iterator[list[Line]]:
        """Keep this process's others away, and read what others were found to have added."""
        with self._one:
            yield self._read_on() if self._is_behind else []

    def append(self, text: bytes) -> bool:
        """Add a line, unless others have added some."""
        if len(self._held) >= _PART_BYTES:
            self._part, self._held = self._part + 1, b""
        longer = self._held + text + b"\n"
        if not self._storage.swap(self._key(self._part), self._held or None, longer):
            self._is_behind = True
            return False
        self._held = longer
        return True

    def _read_on(self) -> list[Line]:
        new: list[Line] = []
        while (data := self._read(self._part)) is not None:
            place = f"{self._part}-{len(self._held)}"
            added = data[len(self._held) :].splitlines()
            new += [Line(f"{place}-{number}", text) for number, text in enumerate(added)]
            self._held = data
            if len(data) < _PART_BYTES:
                break
            self._part, self._held = self._part + 1, b""
        self._is_behind = False
        return new

    def _read(self, part: int) -> bytes | None:
        try:
            return self._storage.read(self._key(part))
        except FileNotFoundError:
            return None

    def _key(self, part: int) -> str:
        return f"{self._folder}/{part:0{_PART_DIGITS}}{_LINES}"


def _key(folder: str) -> str:
    """The key of a folder that settings name."""
    key = posixpath.normpath(folder)
    if key.startswith("..") or key == ".":
        raise ConfigError(f"{folder!r} does not lie below the data root", field="folder")
    return key
