"""Disks that stop the process, run full, or lose power, at any one of their steps."""

import errno
import os
import shutil
import signal
import threading
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path

from segpipe.store.disk import Disk

STEPS = [name for name in vars(Disk) if not name.startswith("_")]
"""Every system call with which the store changes a disk."""


class SteppedDisk(Disk):
    """Lists its steps; ``take`` decides what becomes of each."""

    def __init__(self) -> None:
        self.steps: list[str] = []
        self._lock = threading.Lock()

    def step(self, name: str, call: Callable[[], object], args: tuple[object, ...]) -> object:
        with self._lock:
            self.steps.append(name)
            number = len(self.steps)
        return self.take(number, name, call, args)

    def take(
        self, number: int, name: str, call: Callable[[], object], args: tuple[object, ...]
    ) -> object:
        return call()


def _stepped(name: str) -> Callable[..., object]:
    real = getattr(Disk, name)

    def method(self: SteppedDisk, *args: object) -> object:
        return self.step(name, lambda: real(self, *args), args)

    return method


for _name in STEPS:
    setattr(SteppedDisk, _name, _stepped(_name))


class Moment(Enum):
    """When the process is killed."""

    BEFORE = auto()
    HALF_WAY = auto()
    """After half of the bytes; for steps that write."""
    AFTER = auto()


class KillingDisk(SteppedDisk):
    """Kills this process at one step, with a real SIGKILL."""

    def __init__(self, at: int, moment: Moment) -> None:
        super().__init__()
        self._at = at
        self._moment = moment

    def take(
        self, number: int, name: str, call: Callable[[], object], args: tuple[object, ...]
    ) -> object:
        if number != self._at:
            return call()
        try:
            if self._moment is Moment.AFTER:
                call()
            elif self._moment is Moment.HALF_WAY:
                descriptor, data = args
                assert isinstance(descriptor, int)
                assert isinstance(data, memoryview)
                os.write(descriptor, data[: len(data) // 2])
        finally:
            os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError("unreachable")


class FailingDisk(SteppedDisk):
    """Fails with one errno from a step on, but for removing: a disk that is full, or read-only."""

    def __init__(self, start: int, code: int = errno.ENOSPC) -> None:
        super().__init__()
        self._start = start
        self._code = code

    def take(
        self, number: int, name: str, call: Callable[[], object], args: tuple[object, ...]
    ) -> object:
        if number >= self._start and name not in {"unlink", "remove_folder"}:
            raise OSError(self._code, os.strerror(self._code), "/secret/path")
        return call()


class LosingDisk(SteppedDisk):
    """Knows after each step what a power cut would leave: only what was synced.

    A file keeps the bytes of its last sync, a folder the names of its last sync; nothing else.
    """

    def __init__(self, root: Path, after_step: Callable[[str, Path], None]) -> None:
        super().__init__()
        self._root = root
        self._after_step = after_step
        self._bytes: dict[int, bytes] = {}
        self._names: dict[int, dict[str, tuple[int, bool]]] = {}
        self._serial = threading.RLock()
        for folder in (root, *root.rglob("*")):
            if folder.is_dir():
                self._keep_folder(folder)
            else:
                self._bytes[folder.stat().st_ino] = folder.read_bytes()

    def take(
        self, number: int, name: str, call: Callable[[], object], args: tuple[object, ...]
    ) -> object:
        with self._serial:
            result = call()
            if name == "open_new":  # the number of a removed file may be given out again
                assert isinstance(result, int)
                self._bytes.pop(os.fstat(result).st_ino, None)
            elif name == "make_folder":
                self._names.pop(Path(str(args[0])).stat().st_ino, None)
            elif name == "sync":
                descriptor = args[0]
                assert isinstance(descriptor, int)
                path = Path(f"/proc/self/fd/{descriptor}")
                self._bytes[os.fstat(descriptor).st_ino] = path.read_bytes()
            elif name == "sync_folder":
                self._keep_folder(Path(str(args[0])))
            survived = self._root.with_name(f"{self._root.name}-survived")
            self._restore(self._root.stat().st_ino, survived)
            self._after_step(f"{number} {name}", survived)
            shutil.rmtree(survived)
        return result

    def _keep_folder(self, folder: Path) -> None:
        with os.scandir(folder) as children:
            names = {child.name: (child.inode(), child.is_dir()) for child in children}
        self._names[folder.stat().st_ino] = names

    def _restore(self, inode: int, to: Path) -> None:
        to.mkdir()
        for name, (child, is_folder) in self._names.get(inode, {}).items():
            if is_folder:
                self._restore(child, to / name)
            else:
                (to / name).write_bytes(self._bytes.get(child, b""))
