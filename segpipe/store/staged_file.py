"""The files of a version while they are written: hashed, and made durable in the background."""

import contextlib
import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from typing_extensions import Buffer

from segpipe.store.manifests import Version
from segpipe.store.storage import NewFile, store_errors

_BUFFER_BYTES = 256 * 1024
# Syncing waits for the disk, not the processor; the disk takes several at once.
_SYNC_THREADS = 8
# Each file that waits to be synced holds a descriptor; a process has 1024 by default.
_MAX_UNSYNCED_FILES = 64


class Written(NamedTuple):
    """What went into a file."""

    size: int
    sha256: str


class HashedFile(io.RawIOBase):
    """Writes through to a new file; knows the size and sha256 of what went through.

    Args:
        file: The file under creation.
        deal: The deal, for errors.
    """

    def __init__(self, file: NewFile, deal: str) -> None:
        super().__init__()
        self.size = 0
        self._file = file
        self._deal = deal
        self._hash = hashlib.sha256()
        self._is_dropped = False

    @property
    def sha256(self) -> str:
        """64 hex digits."""
        return self._hash.hexdigest()

    def writable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Bytes written."""
        return self.size

    def write(self, data: Buffer, /) -> int:
        """Append; raises StoreError when the storage cannot take it."""
        view = memoryview(data).cast("B")
        if not self._is_dropped:
            with store_errors(self._deal):
                self._file.write(view)
            self._hash.update(view)
        self.size += len(view)
        return len(view)

    def finish(self) -> None:
        """Make the file durable."""
        self._file.finish()

    def drop(self) -> None:
        """Give the file up; what is still buffered above goes nowhere."""
        self._is_dropped = True
        self._file.abandon()


@contextlib.contextmanager
def buffered(file: HashedFile) -> Iterator[BinaryIO]:
    """The file to write to; closed at the end, or dropped when the block fails."""
    buffer = io.BufferedWriter(file, _BUFFER_BYTES)
    try:
        yield buffer
        buffer.close()
    except BaseException:
        file.drop()
        buffer.close()
        raise


def write_whole(file: HashedFile, data: bytes) -> None:
    """Write all of a file and make it durable; drop it when that fails."""
    try:
        file.write(data)
    except BaseException:
        file.drop()
        raise
    file.finish()


@dataclass(slots=True)
class StagedAsset:
    """What there is of an asset's version: its folder, and its files by name."""

    folder: str
    files: dict[str, Written | None] = field(default_factory=dict)  # None: not yet whole
    under_way: set[Future[None]] = field(default_factory=set)
    version: Version | None = None

    def take(self, name: str, file: HashedFile) -> None:
        """Keep of a file, of which there may be a million, no more than its manifest says."""
        self.files[name] = Written(file.size, file.sha256)


class BackgroundWriter:
    """Writes and syncs files in threads, so that the work goes on meanwhile."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="segpipe-sync")
        self._failure: BaseException | None = None
        self._slots = threading.BoundedSemaphore(_MAX_UNSYNCED_FILES)

    def submit(self, task: Callable[[], None]) -> Future[None]:
        """Call ``task`` soon; waits while too many are under way."""
        self._slots.acquire()
        return self._threads.submit(self._run, task)

    def track(self, under_way: set[Future[None]], task: Callable[[], None]) -> None:
        """Do something in the background; what went well is forgotten at once."""

        def forget(done: Future[None]) -> None:
            if done.exception() is None:
                under_way.discard(done)

        future = self.submit(task)
        under_way.add(future)
        future.add_done_callback(forget)

    def close(self) -> None:
        """Wait for everything that was submitted, failed or not."""
        self._threads.shutdown()

    def raise_failure(self) -> None:
        """Raise what went wrong with a file, if anything did: the others need not be begun."""
        if self._failure:
            raise self._failure

    def _run(self, task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            self._failure = error
            raise
        finally:
            self._slots.release()


def wait_for(under_way: set[Future[None]]) -> None:
    """Wait for what is still under way; raises what went wrong with any of it."""
    for future in list(under_way):
        future.result()
