"""The steps by which a local disk is changed."""

import os
from pathlib import Path

from filelock import BaseFileLock, FileLock

_FILE_MODE = 0o666  # less the process's umask
_LOCK_PATIENCE_S = 60.0
_LOCK_POLL_S = 0.002


class Disk:
    """Changes a local disk; each method is one step that a kill can come before or after."""

    def make_folder(self, path: Path) -> None:
        """Make one folder; its parent exists."""
        path.mkdir()

    def open_new(self, path: Path) -> int:
        """Create a file to write; the descriptor."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _FILE_MODE)

    def write(self, descriptor: int, data: memoryview) -> int:
        """Write what fits; how many bytes did."""
        return os.write(descriptor, data)

    def sync(self, descriptor: int) -> None:
        """Wait until a file's bytes are on the disk."""
        os.fsync(descriptor)

    def sync_folder(self, path: Path) -> None:
        """Wait until a folder's names are on the disk."""
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)

    def link(self, source: Path, target: Path) -> None:
        """Give a file a second name; FileExistsError when the name is taken."""
        target.hardlink_to(source)

    def replace(self, source: Path, target: Path) -> None:
        """Move a file over another."""
        source.replace(target)

    def lock(self, path: Path) -> BaseFileLock:
        """Take a lock that nobody else holds, and that goes with the process; make its file.

        TimeoutError when somebody holds it for a minute.
        """
        # A soft lock, filelock's answer to a file system without locks, would outlive its holder.
        lock = FileLock(path, _LOCK_PATIENCE_S, poll_interval=_LOCK_POLL_S, fallback_to_soft=False)
        lock.acquire()
        return lock

    def touch(self, path: Path) -> None:
        """Set a file's times to now."""
        os.utime(path)

    def unlink(self, path: Path) -> None:
        """Remove a name of a file."""
        path.unlink()

    def remove_folder(self, path: Path) -> None:
        """Remove an empty folder."""
        path.rmdir()
