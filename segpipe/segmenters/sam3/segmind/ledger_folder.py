"""Accounts of calls as files of JSON lines in a folder: one a run, only ever appended to."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from segpipe.errors import StoreError
from segpipe.segmenters.kept_data import Account, CallLines, Ledgers, Line

SUFFIX = ".jsonl"
_LOCK = ".lock"
"""One file for all runs of a folder: it is held for as long as a line takes."""


class LedgerFolder(Ledgers):
    """The accounts in a folder of this machine.

    Args:
        folder: Made when it is not there.
    """

    one_at_a_time = True

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def lines(self, run: str) -> "LedgerFile":
        """The file of a run."""
        return LedgerFile(self._folder / f"{run}{SUFFIX}")

    def accounts(self, since: float = 0.0) -> Iterator[Account]:
        """The files that were written to since a time; StoreError where one cannot be read."""
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                if path.stat().st_mtime < since:
                    continue
                yield Account(path.stem, path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as error:
                raise StoreError(f"the ledger {path} cannot be read: {error}") from error


class LedgerFile(CallLines):
    """The account of one run.

    Args:
        path: The file; made by the first turn.
    """

    def __init__(self, path: Path) -> None:
        self.place = str(path)
        self._path = path
        self._read_bytes = 0
        self._file = -1

    @contextmanager
    def turn(self) -> Iterator[list[Line]]:
        """Lock the file against other processes and threads, and read it to its end."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        # A soft lock, for file systems without locks, would outlive its holder.
        with FileLock(self._path.with_name(_LOCK), fallback_to_soft=False):
            self._file = os.open(self._path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                yield self._read_on()
            finally:
                os.close(self._file)

    def append(self, text: bytes) -> bool:
        """Add a line; OSError when the disk is full."""
        data = text + b"\n"
        if os.write(self._file, data) != len(data):
            raise OSError("the disk is full")
        self._read_bytes += len(data)
        return True

    def _read_on(self) -> list[Line]:
        """What was written since, by whomever; closes a line that a full disk cut off."""
        size = os.fstat(self._file).st_size
        if size == self._read_bytes:
            return []
        start = self._read_bytes
        new = os.pread(self._file, size - start, start)
        if not new.endswith(b"\n"):
            os.write(self._file, b"\n")
            new += b"\n"
        self._read_bytes += len(new)
        return [Line(str(start + number), text) for number, text in enumerate(new.splitlines())]
