"""Dagster's own processes on PostgreSQL: its pages, its backfills, its queue."""

import tempfile
import time
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.scale.limits import Figure
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.partitions import DEALS, DEALS_PER_RUN_VARIABLE
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals
from segpipe_tests.pipeline.deployment import Deployment, is_backfill_over, request_backfill
from segpipe_tests.pipeline.postgres_server import PostgresServer

KEYS = DEALS.name or ""
MODE = Mode.FIND_ALL
STAGE_NAMES = [stage.name for stage in STAGES.in_order(STAGES.names)]
STATEMENT_LIMIT_MS = 15_000

LAUNCH = """
mutation launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""
PAGE = """
query page($key: AssetKeyInput!) {
  assetNodeOrError(assetKey: $key) {
    __typename
    ... on AssetNode {
      partitionStats { numMaterialized numPartitions numFailed numMaterializing }
      assetPartitionStatuses {
        ... on DefaultPartitionStatuses { materializedPartitions failedPartitions }
      }
      assetMaterializations(limit: 100) { timestamp partition }
    }
  }
}
"""
STATISTICS = """
{ assetNodes { id partitionStats { numMaterialized numPartitions numFailed numMaterializing } } }
"""


def backfilling(folder: Path, server: PostgresServer, count: int) -> list[Figure]:
    """A backfill of a twentieth of the deals from Dagster's page, until all its runs wait."""
    wanted, in_run = max(count // 20, 1), 100
    deals = [f"deal-{number:06d}" for number in range(count)]
    url = server.new_database()
    deployment = Deployment(
        folder,
        postgres_url=url,
        environment={
            DEALS_PER_RUN_VARIABLE: str(in_run),
            "DAGSTER_ASSET_BACKFILL_RUN_CHUNK_SIZE": "100",
        },
        max_concurrent_runs=0,
    )
    runs = -(-wanted // in_run)
    with deployment.open_instance() as instance:
        instance.add_dynamic_partitions(KEYS, deals)
        with (
            deployment.running_webserver() as webserver,
            deployment.running_daemon("--log-level", "warning"),
        ):
            deployment.wait_until(lambda: bool(instance.get_daemon_statuses()), 120)
            started = time.perf_counter()
            params = {
                "assetSelection": [{"path": asset_key(MODE, name).path} for name in STAGE_NAMES],
                "partitionNames": deals[count // 2 :][:wanted],
                "title": "benchmark",
            }
            answer = webserver.ask(LAUNCH, params=params)["launchPartitionBackfill"]
            if answer["__typename"] != "LaunchBackfillSuccess":
                raise RuntimeError(str(answer))
            tags = {"dagster/backfill": answer["backfillId"]}
            deployment.wait_until(
                lambda: instance.get_runs_count(dg.RunsFilter(tags=tags)) >= runs, 900
            )
            wall = time.perf_counter() - started
    with server.session(url.rpartition("/")[2]) as statements:
        statements.execute("select max(octet_length(body)) from bulk_actions")
        (row,) = statements.fetchall()
    return [
        Figure(f"backfill of {wanted:,} of {count:,} deals: all {runs} runs wait", 240, wall, "s"),
        Figure("  its body in bulk_actions", 4, int(row[0]) / 1e6, "MB"),
        Figure("  the daemon's log", 5, deployment.log_bytes() / 1e6, "MB"),
    ]


def looking(folder: Path, server: PostgresServer, count: int) -> list[Figure]:
    """Dagster's page of an asset, and its statistics, when every deal has been through all."""
    url = server.new_database()
    deployment = Deployment(folder, postgres_url=url)
    with deployment.open_instance() as instance:
        put_photos(deployment.root, "template", {"a.png": goods_photo(3)})
        if not run_deals(make_defs(deployment.root), instance, ["template"]).success:
            raise RuntimeError("the template was not made")
        deals = [f"deal-{number:06d}" for number in range(count)]
        instance.add_dynamic_partitions(KEYS, deals)
        rows = _copy_materializations(server, url, count)
    arguments = ("--db-statement-timeout", str(STATEMENT_LIMIT_MS))
    slowest: dict[str, float] = {"page": 0.0, "statistics": 0.0}
    with deployment.running_webserver(*arguments) as webserver:
        for name in STAGE_NAMES[:2]:
            key = {"path": asset_key(MODE, name).path}
            started = time.perf_counter()
            node: Any = webserver.ask(PAGE, key=key)["assetNodeOrError"]
            slowest["page"] = max(slowest["page"], time.perf_counter() - started)
            if node["partitionStats"]["numMaterialized"] != count + 1:
                raise RuntimeError(str(node["partitionStats"]))
        started = time.perf_counter()
        webserver.ask(STATISTICS)
        slowest["statistics"] = time.perf_counter() - started
    return [
        Figure(f"page of an asset, {rows:,} materialisations", 10, slowest["page"], "s"),
        Figure("  statistics of all assets", 10, slowest["statistics"], "s"),
    ]


def _copy_materializations(server: PostgresServer, url: str, count: int) -> int:
    """One row for each asset and deal, as the one of the template but for its deal."""
    copy = """
    insert into event_logs
      (run_id, event, dagster_event_type, timestamp, step_key, asset_key, partition)
    select run_id, replace(event, '"template"', '"deal-' || lpad(n::text, 6, '0') || '"'),
      dagster_event_type, timestamp, step_key, asset_key, 'deal-' || lpad(n::text, 6, '0')
    from event_logs, generate_series(0, %s) as n
    where dagster_event_type = 'ASSET_MATERIALIZATION' and partition = 'template'
    """
    tuning = Path(__file__).parents[2] / "deploy" / "tuning.sql"
    with server.session(url.rpartition("/")[2]) as statements:
        statements.execute(copy, [count - 1])
        rows = statements.rowcount
        for statement in tuning.read_text(encoding="utf-8").split(";"):
            if statement.strip():
                statements.execute(statement)
        statements.execute("vacuum analyze event_logs")
    return rows


def queueing(folder: Path, server: PostgresServer, runs: int) -> list[Figure]:
    """Runs of one deal each, many more than the pool has places."""
    deployment = Deployment(
        folder,
        postgres_url=server.new_database(),
        environment={DEALS_PER_RUN_VARIABLE: "1"},
        quick=True,
    )
    deals = [f"deal-{number:02d}" for number in range(runs)]
    for deal in deals:
        put_photos(deployment.root, deal, {"a.png": goods_photo(3)})
    most = 0
    started = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.STARTING])
    with deployment.running_daemon(), deployment.open_instance() as instance:
        instance.add_dynamic_partitions(KEYS, deals)
        request_backfill(instance, "queue", deals)

        def is_over() -> bool:
            nonlocal most
            most = max(most, instance.get_runs_count(started))
            return is_backfill_over(instance, "queue")

        deployment.wait_until(is_over, 60.0 * runs)
        ended = [run.status for run in instance.get_runs()]
    failed = sum(status is not dg.DagsterRunStatus.SUCCESS for status in ended)
    return [
        Figure(f"{len(ended)} runs, 2 places in the pool: under way at once", 2, most, "runs"),
        Figure("  failed", 0, failed, "runs"),
    ]


def new_folder(parent: Path) -> Path:
    """An empty folder."""
    return Path(tempfile.mkdtemp(dir=parent))
