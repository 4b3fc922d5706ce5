"""Many deals on a real PostgreSQL: ``python -m benchmarks.scale [--deals N] [PART …]``.

The server, the daemon and the webserver are real and on this machine. Each part has a database of
its own: ``recording``, ``planning``, ``backfilling``, ``looking`` and ``queueing``.
"""

import argparse
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from benchmarks.scale.limits import Figure, table
from benchmarks.scale.pages import backfilling, looking, new_folder, queueing
from benchmarks.scale.state import planning, recording
from segpipe_tests.pipeline.postgres_server import PostgresServer, running_postgres

DEALS, RUNS = 100_000, 30
PARTS = ("recording", "planning", "looking", "backfilling", "queueing")


def measure(part: str, folder: Path, server: PostgresServer, deals: int, runs: int) -> list[Figure]:
    """The figures of one part."""
    if part == "recording":
        return recording(folder, server)
    if part == "queueing":
        return queueing(folder, server, runs)
    parts = {"planning": planning, "backfilling": backfilling, "looking": looking}
    return parts[part](folder, server, deals)


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale")
    parser.add_argument("part", nargs="*", help=f"all when none is named: {', '.join(PARTS)}")
    parser.add_argument("--deals", type=int, default=DEALS, help=f"how many, {DEALS:,} if not said")
    parser.add_argument("--runs", type=int, default=RUNS, help=f"in the queue, {RUNS} if not said")
    given = parser.parse_args()
    parts = given.part or list(PARTS)
    if unknown := set(parts).difference(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    figures: list[Figure] = []
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        running_postgres() as server,
    ):
        for part in parts:
            figures += measure(part, new_folder(Path(folder)), server, given.deals, given.runs)
    Console(width=100).print(table(figures, f"{given.deals:,} deals on PostgreSQL"))
    return int(not all(figure.holds for figure in figures))


if __name__ == "__main__":
    sys.exit(main())
