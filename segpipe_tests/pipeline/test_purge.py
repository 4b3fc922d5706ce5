"""The purge removes how old runs went, and nothing that says what a deal was made of."""

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from segpipe.pipeline.purge import purge, purge_events
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe_tests.deals import make_deal
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals
from segpipe_tests.pipeline.postgres_server import PostgresServer
from segpipe_tests.pipeline.test_pooled_postgres import open_pooled

KEPT = {
    "ASSET_MATERIALIZATION",
    "ASSET_OBSERVATION",
    "ASSET_CHECK_EVALUATION",
    "PIPELINE_START",
    "PIPELINE_STARTING",
    "PIPELINE_SUCCESS",
}
CROPS = asset_key(Mode.FIND_ALL, "crops")


@pytest.fixture(params=["files", "postgresql"])
def state(
    request: pytest.FixtureRequest,
    postgres: PostgresServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[dg.DagsterInstance]:
    if request.param == "postgresql":
        monkeypatch.setenv("SEGPIPE_POSTGRES_URL", postgres.new_database())
    with open_pooled(tmp_path / "home") as instance:
        yield instance


def events_of(instance: dg.DagsterInstance, run_id: str) -> Counter[str]:
    logged = [entry.dagster_event for entry in instance.all_logs(run_id)]
    return Counter(event.event_type_value if event else "a line" for event in logged)


def test_what_deals_were_made_of_stays_and_how_their_runs_went_goes(
    tmp_path: Path, state: dg.DagsterInstance
) -> None:
    for deal in ("a", "b", "new"):
        make_deal(tmp_path / "data", deal)
    definitions = make_defs(tmp_path / "data")
    old = [run_deals(definitions, state, [deal]).run_id for deal in ("a", "b")]
    before = {run_id: events_of(state, run_id) for run_id in old}
    limit = datetime.now(UTC)
    new = run_deals(definitions, state, ["new"]).run_id
    untouched = events_of(state, new)

    runs, rows = purge_events(state, limit)

    assert runs == 2
    for run_id in old:
        left = events_of(state, run_id)
        assert set(left) <= KEPT
        assert left == Counter({kind: n for kind, n in before[run_id].items() if kind in KEPT})
        assert sum(left.values()) < sum(before[run_id].values())
    assert rows >= sum(sum(counts.values()) for counts in before.values()) - sum(
        sum(events_of(state, run_id).values()) for run_id in old
    )
    assert events_of(state, new) == untouched
    assert state.get_materialized_partitions(CROPS) == {"a", "b", "new"}
    graph = definitions.resolve_asset_graph()
    statuses = CachingStaleStatusResolver(
        state, graph, loading_context=LoadingContextForTest(state)
    )
    assert statuses.get_status(CROPS, "a") is StaleStatus.FRESH
    assert purge_events(state, limit) == (0, 0)  # it goes on where it stopped


def test_the_job_keeps_what_is_younger_than_it_is_told(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    run_id = run_deals(make_defs(tmp_path), instance, ["a"]).run_id
    before = events_of(instance, run_id)
    assert purge.execute_in_process(instance=instance).success
    assert events_of(instance, run_id) == before
    config = {"ops": {"purge_old_events": {"config": {"keep_days": 0.0}}}}
    assert purge.execute_in_process(instance=instance, run_config=config).success
    assert set(events_of(instance, run_id)) <= KEPT
