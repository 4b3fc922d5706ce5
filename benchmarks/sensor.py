"""A look of the sensor at 100,000 deals: ``python -m benchmarks.sensor``.

The first tick finds every deal new and asks for as many as one tick may; the steady one finds that
nothing has come. Both go through Dagster's own context and a real instance, in both modes. Beside
them is the look into every deal, which is left to a job.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import dagster as dg
from rich.console import Console
from rich.table import Table

from benchmarks.timing import median_times
from segpipe.pipeline.look_for_deals import look_for_deals
from segpipe.pipeline.new_deals import Cursor
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.partitions import DEALS
from segpipe.pipeline.resources import DealStoreResource, RefinerResource, SegmenterResource
from segpipe.pipeline.sensors import MAX_DEALS_PER_TICK, build_new_deals_sensor
from segpipe.prompt import Mode
from segpipe.store import layout
from segpipe.store.store import DealStore

DEAL_COUNT, PHOTOS = 100_000, 1
ROUNDS = 3
LIMIT_S = 2.0

SENSORS = {mode: build_new_deals_sensor(mode) for mode in Mode}


def make_deals(root: Path) -> list[str]:
    """Deals of photos that nobody opens, marked complete so that the sensor need not wait."""
    deals = [f"deal-{number:05d}" for number in range(DEAL_COUNT)]
    for deal in deals:
        images = root / layout.images_key(deal)
        prompts = root / layout.prompts_key(deal)
        images.mkdir(parents=True)
        prompts.mkdir()
        for number in range(PHOTOS):
            (images / f"{number}.jpg").touch()
            (prompts / f"{number}.json").write_text(f'{{"image": "{number}"}}', encoding="utf-8")
        (root / f"{layout.deal_key(deal)}/{layout.COMPLETE}").touch()
    return deals


def open_instance(folder: Path) -> dg.DagsterInstance:
    folder.mkdir()
    quiet = {"telemetry": {"enabled": False}}
    return dg.DagsterInstance.local_temp(str(folder), overrides=quiet)


def prepare_tick(
    root: Path, instance: dg.DagsterInstance, cursor: Cursor, mode: Mode
) -> Callable[[], object]:
    """A tick as Dagster does it, up to the requests; they are not followed."""
    resources = {
        "store": DealStoreResource(root=LocalRoot(path=str(root))),
        "segmenter": SegmenterResource(),
        "refiner": RefinerResource(),
    }

    def tick() -> object:
        with dg.build_sensor_context(
            instance=instance, cursor=cursor.model_dump_json(), resources=resources
        ) as context:
            return SENSORS[mode](context)

    return tick


def compare(root: Path, folder: Path) -> Table:
    deals = make_deals(root)
    store = DealStore(root)
    with open_instance(folder / "new") as new, open_instance(folder / "known") as known:
        known.add_dynamic_partitions(DEALS.name or "", deals)
        steady = look_for_deals(store, known, Cursor(), limit=MAX_DEALS_PER_TICK).cursor
        times = median_times(
            {
                "a look into every deal": lambda: list(store.scan()),
                **{f"first tick, {mode}": prepare_tick(root, new, Cursor(), mode) for mode in Mode},
                **{
                    f"steady tick, {mode}": prepare_tick(root, known, steady, mode) for mode in Mode
                },
            },
            rounds=ROUNDS,
        )
    title = f"{DEAL_COUNT} deals of {PHOTOS} photos and prompts: a tick takes at most {LIMIT_S:g} s"
    table = Table("", title=title, title_justify="left")
    for heading in ("s", "of the limit", "s of CPU"):
        table.add_column(heading, justify="right")
    for name, taken in times.items():
        table.add_row(name, f"{taken.wall:.2f}", f"{taken.wall / LIMIT_S:.0%}", f"{taken.cpu:.2f}")
    return table


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder) / "root"
        Console().print(compare(root, Path(folder)))


if __name__ == "__main__":
    main()
