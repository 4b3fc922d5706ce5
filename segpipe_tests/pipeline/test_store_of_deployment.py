"""A deployment has one store: run config cannot part stages, IO manager and sweep."""

from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import LocalRoot, RemoteRoot
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.resources import DealStoreResource
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.compatibility.doors import segpipe
from segpipe_tests.deals import make_deal

FIND_ALL = Mode.FIND_ALL


@dg.asset(partitions_def=dg.DynamicPartitionsDefinition(name="deals"), key_prefix="find_all")
def note() -> dict[str, int]:
    return {"noted": 1}


def run(
    store: DealStoreResource,
    instance: dg.DagsterInstance,
    job: str,
    config: dict[str, Any],
    **options: Any,
) -> dg.ExecuteInProcessResult:
    definitions = dg.Definitions.merge(
        build_defs({"store": store}),
        dg.Definitions([note], jobs=[dg.define_asset_job("notes", [note])]),
    )
    if "lot" not in instance.get_dynamic_partitions("deals"):
        instance.add_dynamic_partitions("deals", ["lot"])
    return definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        run_config={"resources": {"store": {"config": config}}, **options},
        tags={} if job == "sweep" else range_tags(["lot"]),
        raise_on_error=False,
    )


def reason(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [e for e in result.all_events if e.is_step_failure]
    failure = event.step_failure_data.user_failure_data
    assert failure
    return failure.description or ""


@pytest.mark.parametrize("job", [everything_job_name(FIND_ALL), "sweep"])
def test_another_root_or_number_in_run_config_is_refused_and_touches_nothing(
    tmp_path: Path, instance: dg.DagsterInstance, job: str
) -> None:
    built = tmp_path / "built"
    for root in (built, tmp_path / "other"):
        make_deal(root, "lot")
    store = DealStoreResource(root=LocalRoot(path=str(built)), keep_commits=7)
    for config in ({"root": {"local": {"path": str(tmp_path / "other")}}}, {"keep_commits": 8}):
        result = run(store, instance, job, config)
        assert not result.success
        assert f"a deployment has one store, here {built} with 7 kept" in reason(result)
        assert [e.event_type_value for e in result.all_events].count("STEP_UP_FOR_RETRY") == 0
    for root in (built, tmp_path / "other"):
        assert DealStore(root).current("lot", FIND_ALL) is None


@pytest.mark.parametrize("job", [everything_job_name(FIND_ALL), "notes"])
def test_values_that_a_store_was_built_with_stay_when_run_config_repeats_one_of_them(
    tmp_path: Path, instance: dg.DagsterInstance, job: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # where the root "data" of the code's default would be made
    built = tmp_path / "built"
    make_deal(built, "lot")
    store = DealStoreResource(root=LocalRoot(path=str(built)), keep_commits=1)
    for _ in range(3):
        assert run(store, instance, job, {"keep_commits": 1}).success
    assert len(DealStore(built).commits("lot", FIND_ALL)) >= 1
    assert not (tmp_path / "data").exists()
    # The sweep keeps what the run keeps.
    options = {"ops": {"sweep_store": {"config": {"min_age_hours": 0.0}}}}
    assert run(store, instance, "sweep", {"keep_commits": 1}, **options).success
    assert len(list(built.glob("deals/lot/commits/find_all/*.json"))) == 1


def test_the_environment_says_where_and_how_many_for_dagster_and_the_commands(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SEGPIPE_ROOT", "memory://goods")
    monkeypatch.setenv("SEGPIPE_KEEP_COMMITS", "3")
    store = (build_defs().resources or {})["store"]
    assert isinstance(store, DealStoreResource)
    assert (store.root, store.keep_commits) == (RemoteRoot(url="memory://goods"), 3)
    monkeypatch.setenv("SEGPIPE_KEEP_COMMITS", "few")
    told = segpipe(tmp_path, "sweep")
    assert told.exit_code == 1
    assert "SEGPIPE_KEEP_COMMITS" in told.stderr
    assert "'few' is no whole number from 1 on" in told.stderr


def test_segpipe_run_with_a_file_of_run_config_says_so_too(tmp_path: Path) -> None:
    make_deal(tmp_path / "data", "lot")
    file = tmp_path / "run.yaml"
    elsewhere = {"local": {"path": str(tmp_path / "other")}}
    file.write_text(yaml.safe_dump({"resources": {"store": {"config": {"root": elsewhere}}}}))
    told = segpipe(tmp_path / "data", "run", "lot", "--config", str(file))
    assert told.exit_code == 1
    assert "takes the data root from --root" in " ".join(told.stderr.split())
