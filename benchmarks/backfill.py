"""A backfill of 200 small deals by the real daemon: ``python -m benchmarks.backfill``.

The daemon runs in processes of its own with the checkout's ``dagster.yaml``, the default segmenter
and the default refiner. The backfill is handed over as the UI does it, and is timed from there to
its end, the pauses in which the daemon looks for work included. Beside it the same deals go through
the same work called as plain functions, in one process: no events, no checks, no database.
"""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill
from dagster._core.instance.ref import InstanceRef
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.photos import jpeg
from benchmarks.timing import Seconds, timed
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.settings import FlowSettings
from segpipe.flow.stages import Stage
from segpipe.flow.tools import build_tools
from segpipe.pipeline.defs import ROOT_VARIABLE, build_defs
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import RefinerResource, SegmenterResource
from segpipe.segmenters.prompt import Mode
from segpipe.store import layout
from segpipe.store.store import DealStore
from segpipe_tests.scenes import make_scene

DEAL_COUNT, PHOTOS = 200, 2
PHOTO_SIZE_PX = (400, 300)
DIFFERENT_PHOTOS = 10
START_LIMIT_S, BACKFILL_LIMIT_S, STOP_LIMIT_S = 120.0, 1800.0, 30.0
POLL_S = 1.0
LOG_CHARACTERS = 4000

PROJECT = Path(__file__).parents[1]
MODE = Mode.FIND_ALL
BACKFILL = "benchmark"
UNDER_WAY = {BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING}


def make_deals(root: Path) -> list[str]:
    """Deals of photos of goods on a table, taken in turn from a few different ones."""
    width, height = PHOTO_SIZE_PX
    scenes = (make_scene(seed, width=width, height=height) for seed in range(DIFFERENT_PHOTOS))
    photos = [jpeg(Image.fromarray(scene.image)) for scene in scenes]
    deals = [f"deal-{number:03d}" for number in range(DEAL_COUNT)]
    for number, deal in enumerate(deals):
        images = root / layout.images_key(deal)
        images.mkdir(parents=True)
        for index in range(PHOTOS):
            photo = photos[(PHOTOS * number + index) % DIFFERENT_PHOTOS]
            (images / f"{index}.jpg").write_bytes(photo)
    return deals


# Plain functions


def time_functions(root: Path) -> Seconds:
    """Every deal in turn, in this process."""
    deals, store = make_deals(root), DealStore(root)
    tools = build_tools(SegmenterResource().backend, RefinerResource().backend, FlowSettings())

    async def process_all() -> None:
        for deal in deals:
            await process_deal(store, DealTask(deal, "functions", mode=MODE), tools)

    return timed(lambda: asyncio.run(process_all()))


# The daemon


def time_daemon(home: Path) -> Seconds:
    """A backfill of every deal, with an instance in a folder that stands for a checkout."""
    root = home / "data"
    deals = make_deals(root)
    for name in ("dagster.yaml", "workspace.yaml"):
        shutil.copy(PROJECT / name, home)
    with contextlib.ExitStack() as stack:
        # The paths in dagster.yaml are relative to the checkout.
        stack.enter_context(contextlib.chdir(home))
        # Before the daemon, so that not both of them make the tables.
        reference = InstanceRef.from_dir(str(home))
        instance = stack.enter_context(dg.DagsterInstance.from_ref(reference))
        instance.add_dynamic_partitions(DEALS.name or "", deals)
        daemon = stack.enter_context(running_daemon(home))
        daemon.wait_until(lambda: bool(instance.get_daemon_statuses()), START_LIMIT_S)
        wall, cpu = time.perf_counter(), daemon.cpu_seconds()
        instance.add_backfill(backfill_of(deals, instance))
        daemon.wait_until(lambda: is_over(instance), BACKFILL_LIMIT_S)
        taken = Seconds(time.perf_counter() - wall, daemon.cpu_seconds() - cpu)
        done = instance.get_materialized_partitions(asset_key(MODE, Stage.CROPS))
    if missing := set(deals) - done:
        raise RuntimeError(f"{len(missing)} deals were not materialised")
    return taken


def backfill_of(deals: list[str], instance: dg.DagsterInstance) -> PartitionBackfill:
    return PartitionBackfill.from_asset_partitions(
        backfill_id=BACKFILL,
        asset_graph=build_defs().resolve_asset_graph(),
        partition_names=deals,
        asset_selection=[asset_key(MODE, stage) for stage in Stage],
        backfill_timestamp=time.time(),
        tags={},
        dynamic_partitions_store=instance,
        all_partitions=False,
        title=None,
        description=None,
        run_config=None,
    )


def is_over(instance: dg.DagsterInstance) -> bool:
    backfill = instance.get_backfill(BACKFILL)
    return backfill is not None and backfill.status not in UNDER_WAY


@dataclass(frozen=True, slots=True)
class Daemon:
    """The daemon and all that it starts: a session of processes."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_until(self, is_so: Callable[[], bool], limit_s: float) -> None:
        """Look again and again; raise RuntimeError when the daemon ends or the time is over."""
        deadline = time.monotonic() + limit_s
        while not is_so():
            if self.process.poll() is not None or time.monotonic() > deadline:
                log = self.log.read_text(errors="replace")[-LOG_CHARACTERS:]
                raise RuntimeError(f"nothing came of it in {limit_s:g} s; the log ends:\n{log}")
            time.sleep(POLL_S)

    def cpu_seconds(self) -> float:
        """What its processes have used up, and those that they have waited for."""
        ticks = 0
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                # https://man7.org/linux/man-pages/man5/proc_pid_stat.5.html: from state on.
                fields = (process / "stat").read_text().rpartition(")")[2].split()
                if int(fields[3]) == self.process.pid:
                    ticks += sum(map(int, fields[11:15]))
        return ticks / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def running_daemon(home: Path) -> Iterator[Daemon]:
    environment = os.environ | {
        "DAGSTER_HOME": str(home),
        ROOT_VARIABLE: str(home / "data"),
        "PYTHONPATH": os.pathsep.join([str(PROJECT), os.environ.get("PYTHONPATH", "")]),
    }
    command = [sys.executable, "-m", "dagster._daemon", "run", "-w", "workspace.yaml"]
    log_file = home / "daemon.log"
    with log_file.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=home, env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        yield Daemon(process, log_file)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(STOP_LIMIT_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def table(times: dict[str, Seconds]) -> Table:
    title = f"{DEAL_COUNT} deals of {PHOTOS} photos, {PHOTO_SIZE_PX[0]} x {PHOTO_SIZE_PX[1]}"
    made = Table("", title=title, title_justify="left")
    functions = next(iter(times.values()))
    for heading in ("s in all", "s a deal", "ratio", "s of CPU a deal", "ratio"):
        made.add_column(heading, justify="right")
    for name, taken in times.items():
        made.add_row(
            name,
            f"{taken.wall:.0f}",
            f"{taken.wall / DEAL_COUNT:.3f}",
            f"{taken.wall / functions.wall:.1f}",
            f"{taken.cpu / DEAL_COUNT:.3f}",
            f"{taken.cpu / functions.cpu:.1f}",
        )
    return made


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        functions, daemon = Path(folder) / "functions", Path(folder) / "daemon"
        daemon.mkdir()
        times = {
            "plain functions": time_functions(functions),
            "backfill by the daemon": time_daemon(daemon),
        }
    Console().print(table(times))


if __name__ == "__main__":
    main()
