"""Storage in a local folder: fsync, and a hard link as the step that happens whole or not at all.

https://man7.org/linux/man-pages/man2/link.2.html: link(2) never overwrites, so of all who link to
one name exactly one succeeds. A file system without hard links is refused: creating the name first
and then filling it would show others a half-written file.
"""

import contextlib
import errno
import os
import stat
import uuid
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from heapq import nsmallest
from pathlib import Path
from typing import BinaryIO, ClassVar

from typing_extensions import override

from segpipe.errors import StoreError
from segpipe.store.disk import Disk
from segpipe.store.storage import (
    TEMPORARY_PREFIX,
    TEMPORARY_SUFFIX,
    Entry,
    Kind,
    Storage,
    is_temporary,
)

LOCK_NAME = f"{TEMPORARY_PREFIX}lock"
"""The file, one in each folder where files are swapped, that is locked meanwhile; it stays."""

_NO_HARD_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
# A sweep may remove a folder that it found empty between our making it and our using it.
_CREATE_TRIES = 3


class LocalStorage(Storage):
    """A tree of files in a local folder.

    Args:
        root: The folder; made by the first write.
        disk: What changes it.
    """

    settles: ClassVar[bool] = True
    keeps_empty_folders: ClassVar[bool] = True
    prefers_few_files: ClassVar[bool] = False

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self._root = root.absolute()
        self._disk = disk or Disk()
        self.local_root = self._root

    @override
    def entry(self, key: str) -> Entry | None:
        path = self._root / key
        try:
            return self._entry(path.name, path, path.lstat())
        except (FileNotFoundError, NotADirectoryError):
            return None

    @override
    def is_folder(self, key: str) -> bool:
        found = self.entry(key)
        return found is not None and found.kind is Kind.FOLDER

    @override
    def leaves_root(self, key: str) -> bool:
        found = self.entry(key)
        return found is not None and found.kind is Kind.ESCAPING_LINK

    @override
    def list(self, key: str) -> list[Entry]:
        found = []
        try:
            with os.scandir(self._root / key) as children:
                for child in children:
                    with contextlib.suppress(FileNotFoundError):  # removed since it was listed
                        status = child.stat(follow_symlinks=False)
                        found.append(self._entry(child.name, child.path, status))
        except FileNotFoundError:
            return []
        return found

    @override
    def names_after(self, key: str, after: str, limit: int) -> Sequence[str]:
        try:
            with os.scandir(self._root / key) as children:
                names = [each.name for each in children if each.name > after]
        except FileNotFoundError:
            return []
        return nsmallest(limit, (name for name in names if not is_temporary(name)))

    @override
    def walk(self, key: str) -> Iterator[Entry]:
        for child in self.list(key):
            if (self._root / key / child.name).is_symlink():
                yield replace(child, kind=Kind.SPECIAL)
                continue
            if child.kind is Kind.FOLDER:
                for below in self.walk(f"{key}/{child.name}"):
                    yield replace(below, name=f"{child.name}/{below.name}")
            yield child

    @override
    def open(self, key: str) -> BinaryIO:
        return (self._root / key).open("rb")

    @override
    def read(self, key: str) -> bytes:
        return (self._root / key).read_bytes()

    @override
    def read_range(self, key: str, offset: int, length: int) -> bytes:
        with self.open(key) as file:
            file.seek(offset)
            return file.read(length)

    @override
    def read_input(self, key: str) -> tuple[bytes, Entry]:
        found = self.entry(key)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), key)
        if found.kind is not Kind.FILE:
            return b"", found
        # NOFOLLOW refuses a link that takes the file's place from here on, NONBLOCK keeps a FIFO
        # that does from hanging us.
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        real = (self._root / key).resolve()
        if not real.is_relative_to(self._root.resolve()):
            return b"", Entry(found.name, Kind.ESCAPING_LINK)
        descriptor = os.open(real, flags)
        with os.fdopen(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                return b"", Entry(found.name, Kind.SPECIAL)
            data = file.read()
            status = os.fstat(descriptor)
        return data, Entry(found.name, Kind.FILE, status.st_size, status.st_mtime_ns)

    @override
    def create(self, key: str) -> "_LocalFile":
        return self._create(self._root / key)

    @override
    def sync_folders(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._disk.sync_folder(self._root / key)

    @override
    def put_if_absent(self, key: str, chunks: Iterable[bytes]) -> None:
        target = self._root / key
        with self._temporary(target, chunks) as temporary:
            try:
                self._disk.link(temporary, target)
            except OSError as error:
                if error.errno in _NO_HARD_LINKS:
                    raise StoreError(
                        "the data root is on a file system without hard links, which promotion "
                        "needs; put the data root on another one"
                    ) from error
                raise
        self._sync_up_to_root(target.parent)

    @override
    def replace(self, key: str, data: bytes) -> None:
        target = self._root / key
        with self._temporary(target, [data]) as temporary:
            self._disk.replace(temporary, target)
        self._sync_up_to_root(target.parent)

    @override
    def swap(self, key: str, expected: bytes | None, data: bytes) -> bool:
        folder = (self._root / key).parent
        self._make_folders(folder)
        lock = self._disk.lock(folder / LOCK_NAME)
        try:
            if self._present(key) != expected:
                return False
            if expected is not None:
                self.replace(key, data)
                return True
            try:  # a file that somebody puts there without the lock is not written over
                self.put_if_absent(key, [data])
            except FileExistsError:
                return False
            return True
        finally:
            lock.release()

    @override
    def refresh(self, keys: Collection[str]) -> None:
        for key in keys:
            self._disk.touch(self._root / key)

    @override
    def remove(self, key: str) -> None:
        self._disk.unlink(self._root / key)

    @override
    def remove_folder(self, key: str) -> bool:
        try:
            self._disk.remove_folder(self._root / key)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            if error.errno in {errno.ENOTEMPTY, errno.EEXIST}:
                return False
            raise
        return True

    def _present(self, key: str) -> bytes | Kind | None:
        """The bytes of a file; what it is when it is none, and None when there is nothing."""
        try:
            data, found = self.read_input(key)
        except FileNotFoundError:
            return None
        return data if found.kind is Kind.FILE else found.kind

    @contextlib.contextmanager
    def _temporary(self, target: Path, chunks: Iterable[bytes]) -> Iterator[Path]:
        """A whole, durable file beside the target, gone at the end."""
        path = target.with_name(f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
        file = self._create(path)
        try:
            try:
                for chunk in chunks:
                    file.write(chunk)
            except BaseException:
                file.abandon()
                raise
            file.finish()
            yield path
        finally:
            # Whatever happened to the target has happened; a sweep removes a file that stays here.
            with contextlib.suppress(OSError):
                self._disk.unlink(path)

    def _create(self, path: Path) -> "_LocalFile":
        for _ in range(_CREATE_TRIES):
            self._make_folders(path.parent)
            with contextlib.suppress(FileNotFoundError):
                return _LocalFile(self._disk, self._disk.open_new(path))
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path.name)

    def _make_folders(self, folder: Path) -> None:
        if folder.is_dir():
            return
        self._make_folders(folder.parent)
        with contextlib.suppress(FileExistsError):
            self._disk.make_folder(folder)

    def _sync_up_to_root(self, folder: Path) -> None:
        """Also the folders above: another process may have made them and not yet synced."""
        while folder.is_relative_to(self._root):
            self._disk.sync_folder(folder)
            folder = folder.parent

    def _entry(self, name: str, path: Path | str, status: os.stat_result) -> Entry:
        if stat.S_ISLNK(status.st_mode):
            try:
                real = Path(path).resolve(strict=True)
                status = real.stat()
            except (OSError, RuntimeError):  # RuntimeError: a loop, before Python 3.13
                return Entry(name, Kind.BROKEN_LINK)
            if not real.is_relative_to(self._root.resolve()):
                return Entry(name, Kind.ESCAPING_LINK)
        if stat.S_ISREG(status.st_mode):
            return _at(status, name, Kind.FILE, status.st_size)
        return _at(status, name, Kind.FOLDER if stat.S_ISDIR(status.st_mode) else Kind.SPECIAL)


def _at(status: os.stat_result, name: str, kind: Kind, size: int = 0) -> Entry:
    return Entry(name, kind, size, status.st_mtime_ns, status.st_ctime_ns)


class _LocalFile:
    """A file under creation on a local disk."""

    def __init__(self, disk: Disk, descriptor: int) -> None:
        self._disk = disk
        self._descriptor = descriptor

    def write(self, data: bytes | memoryview) -> None:
        left = memoryview(data)
        while left:
            left = left[self._disk.write(self._descriptor, left) :]

    def finish(self) -> None:
        try:
            self._disk.sync(self._descriptor)
        finally:
            os.close(self._descriptor)

    def abandon(self) -> None:
        os.close(self._descriptor)
