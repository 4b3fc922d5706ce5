"""Runs whose process dies: their places are free at the next look, and their deals are finished."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.launcher import WorkerStatus

from segpipe.pipeline.launcher import MACHINE_TAG, WatchedRunLauncher, is_alive, this_machine
from segpipe.prompt import Mode
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.deployment import Deployment, is_backfill_over, request_backfill
from segpipe_tests.server.running import ToldModel, running

PATIENCE_S = 200.0
POOL = 2

pytestmark = pytest.mark.timeout(600)

STARTED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])
FAILED = dg.RunsFilter(statuses=[dg.DagsterRunStatus.FAILURE])
RETRIED = dg.RunsFilter(tags={"dagster/retry_number": "1"})


@pytest.fixture
def model() -> ToldModel:
    """A model that answers when it is told to."""
    return ToldModel(waits=True)


@pytest.fixture
def held(model: ToldModel) -> Iterator[dict[str, Any]]:
    """Run config of a service over that model."""
    with running(lambda: model) as service:
        backend = {"sam3": {"backend": {"internal": {"url": service.url}}}}
        yield {"resources": {"segmenter": {"config": {"backend": backend}}}}
        model.go.set()


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    return Deployment(tmp_path, quick=True)


def request_held_runs(
    deployment: Deployment, instance: dg.DagsterInstance, config: dict[str, Any]
) -> None:
    """One deal a run, as many as the pool has places; each waits for the model."""
    for index in range(POOL):
        deal = f"lot-{index}"
        put_photos(deployment.root, deal, {"a.png": goods_photo(3)})
        instance.add_dynamic_partitions("deals", [deal])
        request_backfill(instance, deal, [deal], run_config=config)
    deployment.wait_until(lambda: len(deployment.run_workers()) == POOL, PATIENCE_S)


def all_are_over(instance: dg.DagsterInstance) -> bool:
    """Whether the backfills are, and each run that was lost has its other attempt behind it."""
    retried = instance.get_runs(RETRIED)
    is_retried = len(retried) == POOL and all(run.is_finished for run in retried)
    return is_retried and all(is_backfill_over(instance, f"lot-{index}") for index in range(POOL))


def assert_all_were_tried_again_and_done(
    deployment: Deployment, instance: dg.DagsterInstance
) -> None:
    retried = instance.get_runs(RETRIED)
    assert [run.status for run in retried] == [dg.DagsterRunStatus.SUCCESS] * POOL
    assert not instance.get_runs(STARTED)
    for index in range(POOL):
        assert deployment.store().current(f"lot-{index}", Mode.FIND_ALL) is not None


def test_killed_run_workers_free_the_pool_and_their_deals_are_finished(
    deployment: Deployment, model: ToldModel, held: dict[str, Any]
) -> None:
    with deployment.running_daemon(), deployment.open_instance() as instance:
        request_held_runs(deployment, instance, held)
        for pid in deployment.run_workers():
            os.kill(pid, signal.SIGKILL)
        model.go.set()
        deployment.wait_until(lambda: all_are_over(instance), PATIENCE_S)
        assert_all_were_tried_again_and_done(deployment, instance)


def test_a_machine_that_was_lost_with_its_daemon_holds_no_place(
    deployment: Deployment, model: ToldModel, held: dict[str, Any]
) -> None:
    with deployment.running_daemon(), deployment.open_instance() as instance:
        request_held_runs(deployment, instance, held)
        deployment.kill()
        assert len(instance.get_runs(STARTED)) == POOL  # nobody could say that they are dead
    model.go.set()
    with deployment.running_daemon(), deployment.open_instance() as instance:
        back_at = time.time()
        deployment.wait_until(lambda: len(instance.get_runs(FAILED)) == POOL, PATIENCE_S)
        assert time.time() - back_at < 60
        deployment.wait_until(lambda: all_are_over(instance), PATIENCE_S)
        assert_all_were_tried_again_and_done(deployment, instance)


# The parts that a test on one machine cannot reach through the daemon.


def health(
    instance: dg.DagsterInstance, *, tags: dict[str, str], max_silence_s: float = 3600
) -> WorkerStatus:
    """What the launcher says of a run with such tags and one event in its log."""
    run = instance.create_run_for_job(_job, tags=tags)
    instance.report_engine_event("Started", run)
    launcher = WatchedRunLauncher(max_silence_s=max_silence_s)
    launcher.register_instance(instance)
    return launcher.check_run_worker_health(run).status


@dg.job
def _job() -> None:
    """No step."""


def test_a_run_of_the_command_line_is_left_alone(instance: dg.DagsterInstance) -> None:
    assert health(instance, tags={}) is WorkerStatus.RUNNING


def test_a_run_is_dead_when_its_machine_was_started_again(instance: dg.DagsterInstance) -> None:
    before = json.dumps(this_machine() | {"boot": "another"})
    server = json.dumps({"host": "localhost", "socket": "/tmp/x"})
    tags = {MACHINE_TAG: before, ".dagster/grpc_info": server}
    assert health(instance, tags=tags) is WorkerStatus.FAILED


def test_a_run_of_another_machine_is_dead_when_it_has_been_silent_for_long(
    instance: dg.DagsterInstance,
) -> None:
    elsewhere = {MACHINE_TAG: json.dumps(this_machine() | {"host": "elsewhere"})}
    assert health(instance, tags=elsewhere) is WorkerStatus.RUNNING
    assert health(instance, tags=elsewhere, max_silence_s=-1) is WorkerStatus.FAILED
    remote = {
        MACHINE_TAG: json.dumps(this_machine()),
        ".dagster/grpc_info": json.dumps({"host": "code-server", "port": 4000}),
    }
    assert health(instance, tags=remote) is WorkerStatus.RUNNING
    assert health(instance, tags=remote, max_silence_s=-1) is WorkerStatus.FAILED


def test_a_process_is_alive_though_the_clock_was_set_since(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    began, booted_at = time.time(), time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    for jump in (7200, -7200):
        monkeypatch.setattr("segpipe.pipeline.launcher.time.time", lambda jump=jump: began + jump)
        assert is_alive(os.getpid(), started_before=began, booted_at=booted_at)
        assert not is_alive(os.getpid(), started_before=began - 86_400, booted_at=booted_at)
        monkeypatch.undo()


def test_a_number_given_to_a_later_process_is_not_the_process() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    assert is_alive(process.pid, started_before=time.time())
    assert not is_alive(process.pid, started_before=time.time() - 3600)
    process.kill()
    while Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z":
        time.sleep(0.01)
    assert not is_alive(process.pid, started_before=time.time())
    process.communicate()
    assert not is_alive(process.pid, started_before=time.time())
