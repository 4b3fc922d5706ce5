"""A folder of entries: shared by processes, never half-written, bounded in size."""

import contextlib
import os
import stat
import threading
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import AsyncFileLock, FileLock, Timeout

from segpipe.segmenters.kept_data import AnswerFiles

_ENTRY, _LOCK, _TEMPORARY = ".entry", ".lock", ".tmp"
_SHARD_CHARS = 2
_FILE_MODE = 0o666  # less the process's umask

_SCAN_SHARE = 1 / 16
"""Part of the size that a process may write before it looks again at what others wrote."""
_KEEP_SHARE = 0.9
"""Part of the size that is left after making room, so that room is not made at every write."""

_ABANDONED_S = 3600.0
"""A temporary file this old is nobody's: writing one takes seconds."""
_LOCK_PATIENCE_S = 900.0
"""Longest wait for another process that asks the same; one that is killed lets go at once."""


class _Entry(NamedTuple):
    used_ns: int
    size: int
    path: Path


class CacheFolder(AnswerFiles):
    """Keeps bytes under keys.

    Entries are replaced whole (a synced temporary file, then a rename), so that a reader or a
    killed writer never leaves half of one. A read marks its entry as used; when the folder grows
    past its size, those used longest ago go. Each process adds up what it writes and looks over
    the folder only now and then, so several that write at once may pass the size, each by a
    sixteenth. Methods block; call them in a worker thread.

    Args:
        path: The folder; made when the first entry is written. Entries lie in 256 folders by the
            first two digits of their keys.
        max_bytes: The size of all entries together, at most.
    """

    def __init__(self, path: Path, max_bytes: int) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._until_scan = 0
        self._counting = threading.Lock()

    def read(self, key: str) -> bytes | None:
        """The entry of a key, now the one used last; None when there is none.

        Raises:
            OSError: The folder cannot be read.
        """
        # NONBLOCK: a FIFO in the place of an entry would keep us waiting for ever.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            descriptor = os.open(self._file(key, _ENTRY), flags)
        except (FileNotFoundError, NotADirectoryError):
            return None
        with os.fdopen(descriptor, "rb") as file:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode) or status.st_size > self._max_bytes:
                return None
            with contextlib.suppress(OSError):  # one who may only read still has the answer
                os.utime(descriptor)
            return file.read()

    def write(self, key: str, data: bytes) -> None:
        """Put or replace the entry of a key, and make room when there is too much.

        An entry larger than the whole folder may be is not kept.

        Raises:
            OSError: The folder cannot be written, or the disk is full; an entry that was there
                is still there.
        """
        if len(data) > self._max_bytes:
            return
        target = self._file(key, _ENTRY)
        temporary = target.with_name(f"{uuid.uuid4().hex}{_TEMPORARY}")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            _write_synced(temporary, data)
            temporary.replace(target)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        with self._counting:
            self._until_scan -= len(data)
            if self._until_scan < 0:
                self._make_room()

    @contextlib.asynccontextmanager
    async def locked(self, key: str) -> AsyncIterator[None]:
        """Keep other processes, and other users of this folder, from the same key.

        A kernel's lock, gone with the process that holds it. One who has waited a quarter of an
        hour goes on without it.

        Raises:
            OSError: The folder cannot be written, or its file system has no locks.
        """
        path = self._file(key, _LOCK)
        # A soft lock, filelock's answer to a file system without locks, would outlive its holder.
        lock = AsyncFileLock(path, timeout=_LOCK_PATIENCE_S, fallback_to_soft=False)
        try:
            await lock.acquire()
        except Timeout:
            yield
            return
        try:
            yield
        finally:
            # Before the lock is let go: who waits for it sees that the file has no name any more,
            # and starts over with a new one.
            with contextlib.suppress(OSError):
                path.unlink()
            with contextlib.suppress(OSError):
                await lock.release()

    def _file(self, key: str, suffix: str) -> Path:
        return self._path / key[:_SHARD_CHARS] / f"{key[_SHARD_CHARS:]}{suffix}"

    def _make_room(self) -> None:
        """Remove the entries used longest ago, and what killed processes left behind."""
        entries: list[_Entry] = []
        for path, status in self._files():
            if path.suffix == _ENTRY:
                entries.append(_Entry(status.st_mtime_ns, status.st_size, path))
            elif time.time() - status.st_mtime > _ABANDONED_S:
                _remove_leftover(path)
        size = sum(entry.size for entry in entries)
        if size > self._max_bytes:
            for entry in sorted(entries):
                if size <= _KEEP_SHARE * self._max_bytes:
                    break
                _remove_unless_used(entry)
                size -= entry.size
        free = self._max_bytes - size
        self._until_scan = max(0, min(free, int(_SCAN_SHARE * self._max_bytes)))

    def _files(self) -> Iterator[tuple[Path, os.stat_result]]:
        """The files of the folder that are ours by their names."""
        for path in self._path.glob("??/*"):
            if path.suffix in {_ENTRY, _LOCK, _TEMPORARY}:
                with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                    status = path.lstat()
                    if stat.S_ISREG(status.st_mode):
                        yield path, status


def _write_synced(path: Path, data: bytes) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
    with os.fdopen(os.open(path, flags, _FILE_MODE), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _remove_unless_used(entry: _Entry) -> None:
    """Remove an entry, but not one that was read or replaced since it was listed."""
    with contextlib.suppress(OSError):
        if entry.path.lstat().st_mtime_ns == entry.used_ns:
            entry.path.unlink()


def _remove_leftover(path: Path) -> None:
    with contextlib.suppress(OSError, Timeout):
        if path.suffix == _LOCK:
            with FileLock(path, timeout=0, fallback_to_soft=False):
                path.unlink()
        else:
            path.unlink()
