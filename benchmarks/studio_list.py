"""The studio's list of 10,000 deals: ``python -m benchmarks.studio_list``.

A tenth of the deals wait for their first run, and the others are promoted; each has two photos. A
page comes over a real socket from a real studio, once all deals have been read. What it is held
against is what nobody can leave out: the names of the deals, listed.
"""

import asyncio
import hashlib
import os
import tempfile
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from benchmarks.timing import median_times
from segpipe.flow.deal import DealTask, process_deal
from segpipe.store import layout
from segpipe.store.store import DealStore
from segpipe.studio.deal_status import StatusReader
from segpipe_tests.deals import default_tools, put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.studio.running_studio import RunningStudio, running_studio, wait_until

DEAL_COUNT, PAGE, ROUNDS = 10_000, 50, 9
NEW_OF = 10
PAGE_LIMIT_S, STATUS_LIMIT_S = 0.3, 0.05
READ_LIMIT_S = 300.0
TEMPLATE = "lot-00000"


def make_deals(root: Path) -> None:
    """One deal by a real run; the others as it is, under names of the same length."""
    put_photos(root, TEMPLATE, {"a.png": goods_photo(3), "b.png": goods_photo(4)})
    asyncio.run(process_deal(DealStore(root), DealTask(TEMPLATE, "run-1"), default_tools()))
    deal = root / layout.deal_key(TEMPLATE)
    images = sorted((deal / layout.IMAGES).iterdir())
    manifests = {path: path.read_bytes() for path in deal.glob("runs/**/manifest.json")}
    (commit,) = (deal / "commits").glob("*/*.json")
    committed = commit.read_bytes()
    for number in range(1, DEAL_COUNT):
        other = root / layout.deal_key(f"lot-{number:05d}")
        (other / layout.IMAGES).mkdir(parents=True)
        for image in images:
            os.link(image, other / layout.IMAGES / image.name)
        if number % NEW_OF == 0:
            continue
        text = committed
        for path, data in manifests.items():
            copy = other / path.relative_to(deal)
            copy.parent.mkdir(parents=True)
            renamed = data.replace(TEMPLATE.encode(), other.name.encode())
            copy.write_bytes(renamed)
            text = text.replace(_digest(data), _digest(renamed))
        place = other / commit.relative_to(deal)
        place.parent.mkdir(parents=True)
        place.write_bytes(text.replace(TEMPLATE.encode(), other.name.encode()))


def _digest(data: bytes) -> bytes:
    return hashlib.sha256(data).hexdigest().encode()


def compare(studio: RunningStudio) -> Table:
    store, reader = studio.store, StatusReader(studio.store)
    names = store.deals()
    with studio.client() as client:

        def page(**query: object) -> httpx.Response:
            answer = client.get("/deals", params={name: str(one) for name, one in query.items()})
            assert answer.status_code == 200
            return answer

        wait_until(
            lambda: "Needs a run <span>" in page().text.replace("\n", ""), patience_s=READ_LIMIT_S
        )
        times = median_times(
            {
                "listing the names alone": store.deals,
                f"status of {PAGE} deals": lambda: reader.statuses(names[1 : PAGE + 1]),
                "a page": page,
                "a page of a search": lambda: page(search="77"),
                "the page after 5,000 deals": lambda: page(after=names[5_000]),
                "a page by status": lambda: page(tone="rest"),
                "a page by last run": lambda: page(order="last_run", descending=True),
            },
            rounds=ROUNDS,
        )
    floor = times["listing the names alone"].cpu
    title = f"{DEAL_COUNT:,} deals of 2 photos, all read before; medians of {ROUNDS}"
    table = Table("", title=title, title_justify="left")
    for heading in ("ms", "ms of CPU", "x the names alone", "CPU of the limit"):
        table.add_column(heading, justify="right")
    for name, taken in times.items():
        limit = STATUS_LIMIT_S if name.startswith("status") else PAGE_LIMIT_S
        taken_ms = (f"{taken.wall * 1000:.0f}", f"{taken.cpu * 1000:.0f}")
        table.add_row(name, *taken_ms, f"{taken.cpu / floor:.2f}", f"{taken.cpu / limit:.0%}")
    return table


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        make_deals(root)
        with running_studio(root) as studio:
            Console().print(compare(studio))


if __name__ == "__main__":
    main()
