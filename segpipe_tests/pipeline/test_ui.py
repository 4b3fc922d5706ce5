"""What people do in Dagster's pages, as the pages ask for it: the real webserver and daemon."""

import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from segpipe.flow.stages.stage_registry import STAGES
from segpipe.prompt import Mode
from segpipe_tests.deals import put_photos
from segpipe_tests.goods import goods_photo
from segpipe_tests.pipeline.deployment import Deployment, Webserver

PATIENCE_S = 200.0
DEALS = ["lot-1", "lot-2"]
HOME = {"repositoryLocationName": "segpipe", "repositoryName": "__repository__"}

pytestmark = pytest.mark.timeout(600)

RUNS_OF_JOBS = """query($home: RepositorySelector!) { shouldShowNux
  repositoryOrError(repositorySelector: $home) { ... on Repository {
    pipelines { name runs(limit: 9) { runId tags { key value } } } } } }"""
LAUNCH = """mutation($run: ExecutionParams!) { launchPipelineExecution(executionParams: $run) {
    __typename ... on LaunchRunSuccess { run { runId } } } }"""
RUN = """query($id: ID!) { runOrError(runId: $id) { ... on Run { status tags { key value } } } }"""
CHECKS = """query { assetNodeOrError(assetKey: {path: ["find_all", "crops"]}) { ... on AssetNode {
    assetChecksOrError { ... on AssetChecks { checks {
        name canExecuteIndividually
        executionForLatestMaterialization { status runId } } } } } } }"""
BACKFILL = """mutation($all: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $all) {
    __typename ... on LaunchBackfillSuccess { backfillId } } }"""
BACKFILL_STATUS = """query($id: String!) { partitionBackfillOrError(backfillId: $id) {
    ... on PartitionBackfill { status } } }"""

PARTITIONS = """query { assetNodeOrError(assetKey: {path: ["find_all", "crops"]}) {
    ... on AssetNode { assetPartitionStatuses { ... on DefaultPartitionStatuses {
        materializedPartitions failedPartitions unmaterializedPartitions } } } } }"""
START_SENSOR = """mutation($sensor: SensorSelector!) {
    startSensor(sensorSelector: $sensor) { __typename } }"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    """Two deals without a box, which 'segpipe run' has put through find_all."""
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    for deal in DEALS:
        put_photos(deployment.root, deal, {"a.png": goods_photo(3)})
    deployment.segpipe("run")
    return deployment


@pytest.fixture(scope="module")
def webserver(deployment: Deployment) -> Iterator[Webserver]:
    with deployment.running_webserver() as webserver, deployment.running_daemon():
        yield webserver


def tags(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def wait_for_end(
    deployment: Deployment, read_status: Callable[[], str], under_way: set[str]
) -> str:
    deployment.wait_until(lambda: read_status() not in under_way, PATIENCE_S)
    return read_status()


def test_runs_of_the_command_line_stand_under_their_job(webserver: Webserver) -> None:
    told = webserver.ask(RUNS_OF_JOBS, home=HOME)
    runs = {job["name"]: job["runs"] for job in told["repositoryOrError"]["pipelines"]}
    (run,) = runs["find_all_everything"]
    assert tags(run)["segpipe/mode"] == "find_all"
    assert tags(run)["segpipe/deals"] == "lot-1, lot-2"
    assert not told["shouldShowNux"]  # no pop-up


def test_execute_all_on_checks_succeeds_and_is_what_the_page_shows(
    deployment: Deployment, webserver: Webserver
) -> None:
    def checks() -> list[dict[str, Any]]:
        found = webserver.ask(CHECKS)["assetNodeOrError"]["assetChecksOrError"]["checks"]
        assert {check["canExecuteIndividually"] for check in found} == {"CAN_EXECUTE"}
        return list(found)

    crops = {"path": ["find_all", "crops"]}
    chosen = [{"assetKey": crops, "name": check["name"]} for check in checks()]
    job = {"pipelineName": "__ASSET_JOB", "assetSelection": [], "assetCheckSelection": chosen}
    run = {"selector": HOME | job, "mode": "default", "runConfigData": {}}
    run_id = webserver.ask(LAUNCH, run=run)["launchPipelineExecution"]["run"]["runId"]

    def status() -> str:
        return str(webserver.ask(RUN, id=run_id)["runOrError"]["status"])

    under_way = {"NOT_STARTED", "QUEUED", "STARTING", "STARTED"}
    assert wait_for_end(deployment, status, under_way) == "SUCCESS"
    shown = [check["executionForLatestMaterialization"] for check in checks()]
    assert shown == [{"status": "SUCCEEDED", "runId": run_id}] * len(chosen)
    assert tags(webserver.ask(RUN, id=run_id)["runOrError"])["segpipe/mode"] == "find_all"


@pytest.mark.parametrize("skip", [False, True])
def test_materialize_all_over_both_modes_ends_well_though_no_deal_has_a_box(
    deployment: Deployment, webserver: Webserver, skip: bool
) -> None:
    """And so does one that finds everything up to date."""
    config = {"skip_up_to_date": skip}
    run_config = {"ops": {mode.value: {"config": config} for mode in Mode}}
    chosen = {
        "partitionNames": DEALS,
        "assetSelection": [{"path": [mode.value, name]} for mode in Mode for name in STAGES],
        "runConfigData": run_config if skip else {},
    }
    launched = webserver.ask(BACKFILL, all=chosen)["launchPartitionBackfill"]

    def status() -> str:
        told = webserver.ask(BACKFILL_STATUS, id=launched["backfillId"])
        return str(told["partitionBackfillOrError"]["status"])

    assert wait_for_end(deployment, status, {"REQUESTED"}) == "COMPLETED_SUCCESS"
    assert deployment.store().current("lot-1", Mode.INSIDE_BOX) is None


def test_failed_and_missing_never_picks_a_deal_whose_folder_is_gone(
    deployment: Deployment, webserver: Webserver
) -> None:
    def picked() -> set[str]:
        told = webserver.ask(PARTITIONS)["assetNodeOrError"]["assetPartitionStatuses"]
        return {*told["failedPartitions"], *told["unmaterializedPartitions"]}

    put_photos(deployment.root, "gone", {"a.png": b"no photo"})
    with pytest.raises(subprocess.CalledProcessError):
        deployment.segpipe("run", "gone")
    assert picked() == {"gone"}
    shutil.rmtree(deployment.root / "deals" / "gone")
    sensor = HOME | {"sensorName": "new_deals"}
    started = webserver.ask(START_SENSOR, sensor=sensor)
    assert started["startSensor"]["__typename"] == "Sensor"
    deployment.wait_until(lambda: not picked(), PATIENCE_S)
