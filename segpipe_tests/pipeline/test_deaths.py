"""Whatever dies while deals are made, all of them are done in the end, and every file is whole.

Small by itself; ``SEGPIPE_TEST_SCALE=20`` kills 20 processes over 40 deals, and so on.
"""

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import psutil
import pytest

from segpipe.pipeline.partitions import DEALS_PER_RUN_VARIABLE
from segpipe.prompt import Mode
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.deployment import Deployment, is_backfill_over, request_backfill
from segpipe_tests.pipeline.postgres_server import PostgresServer
from segpipe_tests.server.running import ToldModel, running

RUNS = int(os.environ.get("SEGPIPE_TEST_SCALE", "3"))
AWAY_S = min(20.0, 2.0 * RUNS)
IN_RUN = 2
PLACES = 2
PATIENCE_S = 300.0 + 30.0 * RUNS  # monitoring takes minutes to see that a machine is lost
BACKFILL = "all"

pytestmark = [pytest.mark.scale, pytest.mark.timeout(int(2 * PATIENCE_S))]

RETRIED = dg.RunsFilter(tags={"dagster/retry_number": "1"})


@pytest.fixture
def deployment(tmp_path: Path, postgres: PostgresServer) -> Deployment:
    return Deployment(
        tmp_path,
        postgres_url=postgres.new_database(),
        quick=True,
        environment={DEALS_PER_RUN_VARIABLE: str(IN_RUN)},
    )


@pytest.fixture
def model() -> ToldModel:
    """A model that answers when it is told to."""
    return ToldModel(waits=True)


@pytest.fixture
def held(model: ToldModel) -> Iterator[dict[str, Any]]:
    """Run config of a service over that model."""
    with running(lambda: model) as service:
        # Who waits for an answer that another has asked for waits long for one who stands still.
        asks = {"backend": {"internal": {"url": service.url}}, "cache": {"enabled": False}}
        backend = {"sam3": asks}
        yield {"resources": {"segmenter": {"config": {"backend": backend}}}}
        model.go.set()


def request_all(
    deployment: Deployment,
    instance: dg.DagsterInstance,
    count: int,
    run_config: dict[str, Any] | None = None,
) -> list[str]:
    """Ask for so many deals."""
    deals = [f"lot-{number:02d}" for number in range(count)]
    for deal in deals:
        put_photos(deployment.root, deal, {"a.png": goods_photo(3), "b.png": goods_photo(2)})
    instance.add_dynamic_partitions("deals", deals)
    request_backfill(instance, BACKFILL, deals, run_config=run_config)
    return deals


def is_over(instance: dg.DagsterInstance, retries: int = 0) -> bool:
    """Whether the backfill is, and so many runs were tried again with success."""
    retried = [run.is_finished for run in instance.get_runs(RETRIED)]
    return is_backfill_over(instance, BACKFILL) and len(retried) >= retries and all(retried)


def assert_all_is_done_and_whole(deployment: Deployment, deals: list[str]) -> None:
    store = deployment.store()
    assert [deal for deal in deals if store.current(deal, Mode.FIND_ALL) is None] == []
    assert [problem for deal in deals for problem in store.verify(deal)] == []


def test_processes_of_runs_that_are_killed_at_any_moment(deployment: Deployment) -> None:
    moments = random.Random(0)
    killed: set[int] = set()
    with deployment.running_daemon(), deployment.open_instance() as instance:
        deals = request_all(deployment, instance, RUNS * IN_RUN)

        def has_killed_enough() -> bool:
            for pid in set(deployment.run_workers(tries=False)) - killed:
                time.sleep(moments.uniform(0, 1))
                if psutil.pid_exists(pid):
                    os.kill(pid, signal.SIGKILL)
                    killed.add(pid)
            return len(killed) >= RUNS or is_over(instance)

        deployment.wait_until(has_killed_enough, PATIENCE_S)
        deployment.wait_until(lambda: is_over(instance), PATIENCE_S)
        statuses = [run.status for run in instance.get_runs(RETRIED)]
    assert killed
    assert set(statuses) == {dg.DagsterRunStatus.SUCCESS}
    assert_all_is_done_and_whole(deployment, deals)


def test_a_process_that_stood_still_is_overtaken_and_comes_back(
    deployment: Deployment, model: ToldModel, held: dict[str, Any]
) -> None:
    with deployment.running_daemon(), deployment.open_instance() as instance:
        deals = request_all(deployment, instance, IN_RUN, held)
        deployment.wait_until(lambda: bool(deployment.run_workers()), PATIENCE_S)
        deployment.wait_until(lambda: bool(model.prompts), PATIENCE_S)
        (pid,) = deployment.run_workers()
        os.kill(pid, signal.SIGSTOP)
        (run,) = instance.get_runs()
        instance.report_run_failed(run, "its machine was taken for lost")
        model.go.set()
        deployment.wait_until(lambda: is_over(instance, retries=1), PATIENCE_S)
        assert_all_is_done_and_whole(deployment, deals)
        zombie = psutil.Process(pid)
        os.kill(pid, signal.SIGCONT)
        deployment.wait_until(
            lambda: not zombie.is_running() or zombie.status() == psutil.STATUS_ZOMBIE, PATIENCE_S
        )
    assert_all_is_done_and_whole(deployment, deals)


def test_a_daemon_that_is_started_again_launches_what_waited(
    deployment: Deployment, model: ToldModel, held: dict[str, Any]
) -> None:
    waiting = dg.RunsFilter(statuses=[dg.DagsterRunStatus.QUEUED])
    with deployment.running_daemon(), deployment.open_instance() as instance:
        deals = request_all(deployment, instance, (RUNS + 2) * IN_RUN, held)
        deployment.wait_until(lambda: instance.get_runs_count(waiting) >= RUNS, PATIENCE_S)
        deployment.wait_until(lambda: bool(deployment.run_workers()), PATIENCE_S)
        under_way = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
        assert instance.get_runs_count(under_way) <= PLACES
        deployment.kill()
    model.go.set()
    with deployment.running_daemon(), deployment.open_instance() as instance:
        deployment.wait_until(lambda: is_over(instance, retries=1), PATIENCE_S)
        assert not instance.get_runs_count(waiting)
    assert_all_is_done_and_whole(deployment, deals)


def test_a_database_that_was_away_while_runs_were_under_way(
    deployment: Deployment, postgres: PostgresServer
) -> None:
    with deployment.running_daemon(), deployment.open_instance() as instance:
        deals = request_all(deployment, instance, RUNS * IN_RUN)
        deployment.wait_until(lambda: bool(deployment.run_workers()), PATIENCE_S)
        postgres.stop()
        time.sleep(AWAY_S)
        postgres.start()
        deployment.wait_until(lambda: is_over(instance), PATIENCE_S)
    assert_all_is_done_and_whole(deployment, deals)
