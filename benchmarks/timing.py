"""Times of tasks that take turns, and the table that compares them."""

import statistics
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

from rich.table import Table


class Seconds(NamedTuple):
    """How long something took: on the clock, and on the processors."""

    wall: float
    cpu: float


def timed(task: Callable[[], object]) -> Seconds:
    """The time of one call, all threads of this process counted."""
    wall, cpu = time.perf_counter(), time.process_time()
    task()
    return Seconds(time.perf_counter() - wall, time.process_time() - cpu)


def median_times(tasks: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, Seconds]:
    """Median times of each task over interleaved rounds.

    The tasks take turns, round after round, so that a busy machine slows all of them alike.
    """
    taken: dict[str, list[Seconds]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            taken[name].append(timed(task))
    return {
        name: Seconds(*(statistics.median(column) for column in zip(*times, strict=True)))
        for name, times in taken.items()
    }


def median_seconds(tasks: Mapping[str, Callable[[], object]], *, rounds: int) -> dict[str, float]:
    """Median wall time of each task over interleaved rounds."""
    return {name: taken.wall for name, taken in median_times(tasks, rounds=rounds).items()}


def ratio_table(title: str, times: Mapping[str, Seconds], *, to: str) -> Table:
    """One row a task: its times, and how many times those of one of them they are."""
    table = Table("", title=title, title_justify="left")
    for heading in ("ms", f"x {to}", "ms of CPU", f"x {to}"):
        table.add_column(heading, justify="right")
    for name, taken in times.items():
        table.add_row(
            name,
            f"{1000 * taken.wall:.0f}",
            f"{taken.wall / times[to].wall:.2f}",
            f"{1000 * taken.cpu:.0f}",
            f"{taken.cpu / times[to].cpu:.2f}",
        )
    return table
