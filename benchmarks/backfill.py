"""A backfill of 200 small deals by the real daemon: ``python -m benchmarks.backfill``.

The daemon runs in processes of its own with the checkout's ``dagster.yaml``, the default segmenter
and the default refiner. The backfill is handed over as the UI does it, and is timed from there to
its end, the pauses in which the daemon looks for work included. Beside it the same deals go through
the same work called as plain functions, in one process: no events, no checks, no database.
"""

import asyncio
import tempfile
import time
from pathlib import Path

from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.photos import jpeg
from benchmarks.timing import Seconds, timed
from segpipe.flow.deal import DealTask, process_deal
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe.scenes import make_scene
from segpipe.store import layout
from segpipe.store.store import DealStore
from segpipe_tests.deals import default_tools
from segpipe_tests.pipeline.deployment import Deployment, is_backfill_over, request_backfill

DEAL_COUNT, PHOTOS = 200, 2
PHOTO_SIZE_PX = (400, 300)
DIFFERENT_PHOTOS = 10
START_LIMIT_S, BACKFILL_LIMIT_S = 120.0, 1800.0

MODE = Mode.FIND_ALL
BACKFILL = "benchmark"


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
    tools = default_tools()

    async def process_all() -> None:
        for deal in deals:
            await process_deal(store, DealTask(deal, "functions", mode=MODE), tools)

    return timed(lambda: asyncio.run(process_all()))


# The daemon


def time_daemon(home: Path) -> Seconds:
    """A backfill of every deal, with an instance in a folder that stands for a checkout."""
    deployment = Deployment(home)
    deals = make_deals(deployment.root)
    with deployment.running_daemon(), deployment.open_instance() as instance:
        instance.add_dynamic_partitions(DEALS.name or "", deals)
        deployment.wait_until(lambda: bool(instance.get_daemon_statuses()), START_LIMIT_S)
        wall, cpu = time.perf_counter(), deployment.cpu_seconds()
        request_backfill(instance, BACKFILL, deals)
        deployment.wait_until(lambda: is_backfill_over(instance, BACKFILL), BACKFILL_LIMIT_S)
        taken = Seconds(time.perf_counter() - wall, deployment.cpu_seconds() - cpu)
        done = instance.get_materialized_partitions(asset_key(MODE, "crops"))
    if missing := set(deals) - done:
        raise RuntimeError(f"{len(missing)} deals were not materialised")
    return taken


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
