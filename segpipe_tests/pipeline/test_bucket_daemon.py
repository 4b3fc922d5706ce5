"""Deals in a real object store, through the real daemon: one setting moves all of it."""

import os
from pathlib import Path

import dagster as dg
import pytest

from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.goods import goods_photo
from segpipe_tests.loopback.s3 import S3Server, use_s3
from segpipe_tests.pipeline.deployment import Deployment

PATIENCE_S = 200.0

pytestmark = pytest.mark.timeout(600)


def test_what_is_added_to_a_bucket_is_found_by_the_sensor_run_and_swept(
    tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_s3(monkeypatch, s3_server.url)
    photo = tmp_path / "a.png"
    photo.write_bytes(goods_photo(3))
    deployment = Deployment(tmp_path, bucket=s3_server.root())
    store = deployment.store()
    with deployment.running_daemon():
        deployment.dagster("sensor", "start", "new_deals", "-w", "workspace.yaml")
        deployment.segpipe("add", "lot", str(photo), "--complete")
        # Another one comes by other means, and its producer tells of it.
        store.root.storage().replace("deals/other/images/a.png", goods_photo(2))
        store.root.storage().replace("deals/other/_COMPLETE", b"")
        store.arrivals.put("other")
        crops = asset_key(Mode.FIND_ALL, "crops")
        with deployment.open_instance() as instance:
            deployment.wait_until(
                lambda: (
                    {"lot", "other"} <= instance.get_materialized_partitions(crops)
                    and all(run.is_success for run in instance.get_runs())
                ),
                PATIENCE_S,
            )
    with deployment.open_instance() as instance:
        statuses = {run.status for run in instance.get_runs()}
    assert statuses == {dg.DagsterRunStatus.SUCCESS}
    for deal, items in (("lot", 3), ("other", 2)):
        snapshot = store.current(deal, Mode.FIND_ALL)
        assert snapshot
        summary = snapshot.manifest("deal_report").info.summary
        assert summary
        assert summary.counts.crops == items
    assert list(store.verify()) == []
    assert not list(deployment.root.rglob("deals")), "nothing of a deal is on this machine"


@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="deals"), key_prefix="find_all")
def note() -> dict[str, int]:
    return {"noted": 1}


def test_the_environment_moves_the_io_manager_the_sweep_and_the_kept_generations(
    tmp_path: Path,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
    instance: dg.DagsterInstance,
) -> None:
    use_s3(monkeypatch, s3_server.url)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SEGPIPE_ROOT", s3_server.root())
    monkeypatch.setenv("SEGPIPE_KEEP_COMMITS", "1")
    own = dg.Definitions([note], jobs=[dg.define_asset_job("notes", [note])])
    definitions = dg.Definitions.merge(build_defs(), own)
    store = DealStore(os.environ["SEGPIPE_ROOT"])
    store.root.storage().replace("deals/lot/images/a.png", goods_photo(1))
    instance.add_dynamic_partitions("deals", ["lot"])
    jobs = ["notes", everything_job_name(Mode.FIND_ALL), "notes"]
    for job in jobs:
        resolved = definitions.resolve_job_def(job)
        assert resolved.execute_in_process(instance=instance, tags=range_tags(["lot"])).success
    current = store.current("lot", Mode.FIND_ALL)
    assert current
    assert (current.generation, current.has("note"), current.has("crops")) == (3, True, True)
    sweep = definitions.resolve_job_def("sweep")
    config = {"ops": {"sweep_store": {"config": {"min_age_hours": 0.0}}}}
    assert sweep.execute_in_process(instance=instance, run_config=config).success
    assert len(store.root.storage().list("deals/lot/commits/find_all")) == 1
    assert list(store.verify()) == []
    assert not (tmp_path / "data").exists()
