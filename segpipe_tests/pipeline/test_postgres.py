"""Dagster's own state in a real PostgreSQL, which one environment variable names."""

from pathlib import Path

import dagster as dg
import pytest

from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.deployment import Deployment
from segpipe_tests.pipeline.postgres_server import PostgresServer

PATIENCE_S = 200.0

pytestmark = pytest.mark.timeout(600)


def test_a_deal_goes_through_the_daemon_with_runs_events_and_schedules_in_postgresql(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    deployment = Deployment(tmp_path, postgres_url=postgres.new_database())
    put_photos(deployment.root, "lot", {"a.png": goods_photo(3)})
    store = deployment.store()
    (deployment.root / "deals" / "lot" / "_COMPLETE").touch()

    with deployment.running_daemon():
        deployment.dagster("schedule", "start", "nightly_sweep", "-w", "workspace.yaml")
        deployment.dagster("sensor", "start", "new_deals", "-w", "workspace.yaml")
        with deployment.open_instance() as instance:
            crops = asset_key(Mode.FIND_ALL, "crops")
            deployment.wait_until(
                lambda: (
                    "lot" in instance.get_materialized_partitions(crops)
                    and any(run.is_success for run in instance.get_runs())
                ),
                PATIENCE_S,
            )
            (run,) = instance.get_runs()
            started = {state.instigator_name for state in instance.all_instigator_state()}

    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert started == {"nightly_sweep", "new_deals"}
    assert store.current("lot", Mode.FIND_ALL) is not None
    assert not list(deployment.root.glob("dagster/**/*.db"))  # none of it in SQLite


def test_the_webserver_recovers_from_a_postgresql_that_was_away(
    tmp_path: Path, postgres: PostgresServer
) -> None:
    deployment = Deployment(tmp_path, postgres_url=postgres.new_database())
    with deployment.running_webserver() as webserver:
        postgres.stop()
        try:
            assert not webserver.answers()
        finally:
            postgres.start()
        deployment.wait_for(webserver.answers, 30)
        assert all(webserver.answers() for _ in range(10))
