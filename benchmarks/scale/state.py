"""Dagster's state in this process: deals recorded, keys registered, runs made."""

import asyncio
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import sqlalchemy as db

from benchmarks.scale.limits import Figure, taking
from segpipe.flow.deal import DealTask, process_deal
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.partitions import DEALS, MAX_DEALS_PER_RUN, range_tags
from segpipe.pipeline.state_storage import POSTGRES_VARIABLE
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_tools, put_photos
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals
from segpipe_tests.pipeline.postgres_server import PostgresServer
from segpipe_tests.pipeline.test_pooled_postgres import open_pooled

KEYS = DEALS.name or ""
RECORDED, PHOTOS = 20, 6
MODE = Mode.FIND_ALL


@contextmanager
def pooled_instance(folder: Path, url: str) -> Iterator[dg.DagsterInstance]:
    """An instance whose state is in a database."""
    os.environ[POSTGRES_VARIABLE] = url
    try:
        with open_pooled(folder) as instance:
            yield instance
    finally:
        del os.environ[POSTGRES_VARIABLE]


def recording(folder: Path, server: PostgresServer) -> list[Figure]:
    """What Dagster takes for a deal beside the same work by plain functions."""
    deals = [f"deal-{number:02d}" for number in range(RECORDED)]
    photo = goods_photo(3)
    roots = {name: folder / name for name in ("dagster", "functions")}
    for root in roots.values():
        for deal in ("warm", *deals):
            put_photos(root, deal, {f"{number}.png": photo for number in range(PHOTOS)})
    url = server.new_database()
    with pooled_instance(folder / "home", url) as instance:
        definitions = make_defs(roots["dagster"])
        instance.add_dynamic_partitions(KEYS, ["warm", *deals])
        run_deals(definitions, instance, ["warm"])
        sessions, before = server.sessions_so_far(url), _bytes_of_events(server, url)
        with taking(server) as dagster:
            run = run_deals(definitions, instance, deals)
        if not run.success:
            raise RuntimeError("the run failed")
        time.sleep(1)  # a server tells of sessions now and then
        sessions = server.sessions_so_far(url) - sessions
        grown = zip(_bytes_of_events(server, url), before, strict=True)
        rows, indexes = ((now - then) / RECORDED / 1000 for now, then in grown)
    tools, store = make_tools(BrightSegmenter()), DealStore(roots["functions"])

    async def process_all() -> None:
        for deal in deals:
            await process_deal(store, DealTask(deal, "functions", mode=MODE), tools)

    with taking(server) as functions:
        asyncio.run(process_all())
    cpu = (dagster.cpu - functions.cpu) / RECORDED
    return [
        Figure(f"connections for {RECORDED} deals after warm-up", 15, sessions, ""),
        Figure("to record a deal, with the server", 0.25, cpu, "CPU s"),
        Figure("events of a deal and mode, on disk", 45, rows, "KB"),
        Figure("  and their indexes", float("inf"), indexes, "KB"),
    ]


def _bytes_of_events(server: PostgresServer, url: str) -> tuple[int, int]:
    with server.session(url.rpartition("/")[2]) as statements:
        statements.execute("select pg_table_size('event_logs'), pg_indexes_size('event_logs')")
        (row,) = statements.fetchall()
    return int(row[0]), int(row[1])


def planning(folder: Path, server: PostgresServer, count: int) -> list[Figure]:
    """Register many deals, then make runs of some of them."""
    deals = [f"deal-{number:06d}" for number in range(count)]
    figures = []
    with pooled_instance(folder / "planning", server.new_database()) as instance:
        with taking(server) as taken:
            instance.add_dynamic_partitions(KEYS, deals)
        figures.append(Figure(f"register {count:,} deals", 8, taken.wall, "s"))
        job = build_defs().resolve_job_def(everything_job_name(MODE))
        instance.create_run_for_job(job, tags=range_tags(deals[:1]))  # what is imported once
        for size, limit in ((25, 2.0), (100, 4.5), (MAX_DEALS_PER_RUN, float("inf"))):
            batch = deals[count // 2 :][:size]
            # One more key, as when another deal came meanwhile.
            instance.add_dynamic_partitions(KEYS, [f"new-{size}"])
            with key_reads() as reads, taking(server) as taken:
                instance.create_run_for_job(
                    job,
                    tags=range_tags(batch),
                    asset_selection=set(job.asset_layer.selected_asset_keys),
                )
            said = f"make a run of {size} deals, {count:,} registered"
            figures.append(Figure(said, limit, taken.cpu, "CPU s"))
            figures.append(Figure("  and read all keys", 2, len(reads), "times"))
    return figures


@contextmanager
def key_reads() -> Iterator[list[str]]:
    """The statements that read all keys."""
    reads: list[str] = []

    def note(*arguments: object) -> None:
        statement = str(arguments[2])
        if "ORDER BY dynamic_partitions.id" in statement:
            reads.append(statement)

    db.event.listen(db.Engine, "before_cursor_execute", note)
    yield reads
    db.event.remove(db.Engine, "before_cursor_execute", note)
