"""The memory that a task takes, measured in a process of its own."""

from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

_STATUS = Path("/proc/self/status")
_CLEAR_REFS = Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
_KIB_PER_MIB = 1024


@dataclass(frozen=True, slots=True)
class Memory:
    """Resident memory of a process, MiB: before a task, and at most while it ran."""

    before: float
    peak: float

    @property
    def task(self) -> float:
        """What the task took, MiB."""
        return self.peak - self.before


def measure_memory(prepare: Callable[[], Callable[[], object]]) -> Memory:
    """Run a task in a fresh process, on Linux.

    Args:
        prepare: Gives the task; what it imports and makes counts as memory before the task.
    """
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as processes:
        return processes.submit(_measure, prepare).result()


def _measure(prepare: Callable[[], Callable[[], object]]) -> Memory:
    task = prepare()
    # https://man7.org/linux/man-pages/man5/proc_pid_clear_refs.5.html: forget the peak so far.
    _CLEAR_REFS.write_text(_RESET_PEAK)
    before = _resident("VmRSS")
    task()
    return Memory(before, _resident("VmHWM"))


def _resident(field: str) -> float:
    for line in _STATUS.read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) / _KIB_PER_MIB
    raise LookupError(f"{_STATUS} has no {field}")
