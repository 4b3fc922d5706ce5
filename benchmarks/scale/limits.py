"""What was asked beside what was measured."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import psutil
from rich.table import Table

from segpipe_tests.pipeline.postgres_server import PostgresServer


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the table: at most ``limit``, in ``unit``."""

    what: str
    limit: float
    measured: float
    unit: str

    @property
    def holds(self) -> bool:
        return self.measured <= self.limit


def table(figures: list[Figure], title: str) -> Table:
    drawn = Table("", title=title, title_justify="left")
    for heading in ("at most", "measured", ""):
        drawn.add_column(heading, justify="right")
    for figure in figures:
        drawn.add_row(
            figure.what,
            f"{figure.limit:g} {figure.unit}" if math.isfinite(figure.limit) else "",
            f"{figure.measured:.3g} {figure.unit}",
            "" if figure.holds else "more",
        )
    return drawn


@dataclass(slots=True)
class Taken:
    """What something took: on the clock, and on processors, the database's server included."""

    wall: float = 0.0
    cpu: float = 0.0
    server_cpu: float = field(default=0.0)


@contextmanager
def taking(server: PostgresServer) -> Iterator[Taken]:
    """Measure what is done inside."""
    taken = Taken()
    wall, cpu, server_cpu = time.perf_counter(), time.process_time(), _cpu_of(server)
    yield taken
    taken.wall = time.perf_counter() - wall
    taken.server_cpu = _cpu_of(server) - server_cpu
    taken.cpu = time.process_time() - cpu + taken.server_cpu


def _cpu_of(server: PostgresServer) -> float:
    """Seconds on processors of a server: its processes, and those that have ended."""
    first = psutil.Process(server.pid)
    own = first.cpu_times()
    seconds = own.user + own.system + own.children_user + own.children_system
    for child in first.children(recursive=True):
        times = child.cpu_times()
        seconds += times.user + times.system
    return float(seconds)
