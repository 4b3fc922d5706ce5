"""Runs use what somebody saved, unless their config tells otherwise; one generation for all."""

import time
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus, PartitionBackfill

from segpipe.flow.saved_settings import SavedSettings, reset, save
from segpipe.flow.setting_fields import with_texts
from segpipe.pipeline.chosen_settings import SETTINGS_TAG
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import everything_job_name
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.recording import asset_key
from segpipe.pipeline.resources import DealStoreResource
from segpipe.prompt import Mode
from segpipe.segmenters.classical import ClassicalConfig
from segpipe.store.store import DealStore
from segpipe_tests.deals import current, make_deal
from segpipe_tests.pipeline.test_sensors import tick

FIND_ALL = Mode.FIND_ALL


@pytest.fixture
def store(tmp_path: Path, instance: dg.DagsterInstance) -> DealStore:
    """Two deals, known to Dagster."""
    for deal in ("a", "b"):
        make_deal(tmp_path, deal, (1,))
    instance.add_dynamic_partitions("deals", ["a", "b"])
    return DealStore(tmp_path)


def saved(store: DealStore, **texts: str) -> int:
    """Save the defaults but for some; two underscores stand for a dot."""
    values = {name.replace("__", "."): text for name, text in texts.items()}
    return save(store, with_texts(SavedSettings(), {"refiner": "none", **values})).generation


def run(
    store: DealStore,
    instance: dg.DagsterInstance,
    deal: str = "a",
    *,
    config: dict[str, Any] | None = None,
    tags: dict[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    resource = DealStoreResource(root=LocalRoot(path=store.root.place))
    job = build_defs({"store": resource}).resolve_job_def(everything_job_name(FIND_ALL))
    return job.execute_in_process(
        instance=instance,
        tags=range_tags([deal]) | (tags or {}),
        run_config=config,
        raise_on_error=False,
    )


def padding(store: DealStore, deal: str = "a") -> Any:
    settings = current(store, deal).manifest("crops").info.settings
    assert settings
    return settings["padding_px"]


def tag(instance: dg.DagsterInstance, result: dg.ExecuteInProcessResult) -> str | None:
    found = instance.get_run_by_id(result.run_id)
    assert found
    return found.tags.get(SETTINGS_TAG)


def only(mode_config: dict[str, Any]) -> dict[str, Any]:
    return {"ops": {"find_all": {"config": mode_config}}}


def test_a_run_that_is_told_nothing_uses_what_is_saved_and_records_which(
    store: DealStore, instance: dg.DagsterInstance
) -> None:
    before = run(store, instance)
    assert tag(instance, before) == "0"
    first = current(store, "a").manifest("crops").info
    assert first.settings_generation is None

    saved(store, crops__padding_px="4", segmenter__min_score="0.4")
    result = run(store, instance)
    assert tag(instance, result) == "1"
    snapshot = current(store, "a")
    assert padding(store) == 4
    assert snapshot.manifest("segmentation").info.settings == (
        ClassicalConfig(min_score=0.4).identity()
    )
    assert snapshot.manifest("refinement").info.producer == "none"
    assert snapshot.manifest("crops").info.settings_generation == 1
    latest = instance.get_latest_materialization_event(asset_key(FIND_ALL, "crops"))
    assert latest
    assert latest.asset_materialization
    assert latest.asset_materialization.metadata["settings_generation"].value == 1
    logged = [record.user_message for record in instance.all_logs(result.run_id)]
    assert any("generation 1 of the saved ones" in text for text in logged)

    reset(store)
    assert tag(instance, run(store, instance)) == "2"
    assert current(store, "a").manifest("crops").info.settings == first.settings


def test_what_run_config_tells_comes_before_what_is_saved(
    store: DealStore, instance: dg.DagsterInstance
) -> None:
    saved(store, crops__padding_px="4", crops__jpeg_quality="70", segmenter__min_score="0.4")
    config = {
        **only({"crops": {"padding_px": 0, "format": "JPG"}}),
        "resources": {
            "segmenter": {"config": {"backend": {"classical": {"min_score": 0.6}}}},
            "refiner": {"config": {"backend": {"saved": {}}}},
        },
    }
    assert run(store, instance, config=config).success
    snapshot = current(store, "a")
    crops = snapshot.manifest("crops").info.settings
    assert crops
    assert (crops["padding_px"], crops["format"], crops["jpeg_quality"]) == (0, "jpg", 70)
    assert snapshot.manifest("segmentation").info.settings == (
        ClassicalConfig(min_score=0.6).identity()
    )
    assert snapshot.manifest("refinement").info.producer == "none"

    assert run(store, instance, config=only({"base": {"defaults": {}}})).success
    assert padding(store) == 0
    assert current(store, "a").manifest("refinement").info.producer == "none"


def test_an_older_generation_can_be_named_and_two_cannot(
    store: DealStore, instance: dg.DagsterInstance
) -> None:
    saved(store, crops__padding_px="4")
    saved(store, crops__padding_px="9")
    older = only({"base": {"saved": {"generation": 1}}})
    assert tag(instance, run(store, instance, config=older)) == "1"
    assert padding(store) == 4
    two = {**older, "resources": {"refiner": {"config": {"backend": {"saved": {"generation": 2}}}}}}
    failed = run(store, instance, config=two)
    assert not failed.success
    assert "one generation" in str(failed.all_events)


def test_settings_that_cannot_be_used_fail_the_run_and_name_field_and_generation(
    store: DealStore, instance: dg.DagsterInstance
) -> None:
    saved(store)
    path = Path(store.root.place) / "settings" / "0000000001.json"
    path.write_text(path.read_text().replace('"none"', '"nothing"'))
    result = run(store, instance)
    assert not result.success
    (failure,) = [event for event in result.all_events if event.is_step_failure]
    said = str(failure.step_failure_data.user_failure_data)
    for part in ("generation 1", "refiner", "segpipe settings restore"):
        assert part in said
    assert store.current("a", FIND_ALL) is None


def test_the_runs_of_a_backfill_use_what_was_current_when_it_began(
    store: DealStore, instance: dg.DagsterInstance
) -> None:
    saved(store, crops__padding_px="4")
    time.sleep(0.01)
    began = time.time()
    instance.add_backfill(
        PartitionBackfill(
            backfill_id="all",
            status=BulkActionStatus.REQUESTED,
            from_failure=False,
            tags={},
            backfill_timestamp=began,
        )
    )
    saved(store, crops__padding_px="9")
    tags = {"dagster/backfill": "all"}
    assert tag(instance, run(store, instance, "a", tags=tags)) == "1"
    assert tag(instance, run(store, instance, "b", tags=tags)) == "1"
    assert (padding(store, "a"), padding(store, "b")) == (4, 4)
    assert tag(instance, run(store, instance)) == "2"


def test_a_retry_keeps_the_generation_and_a_run_started_again_by_hand_takes_the_current_one(
    store: DealStore, instance: dg.DagsterInstance
) -> None:
    saved(store, crops__padding_px="4")
    first = run(store, instance)
    saved(store, crops__padding_px="9")
    again = {"dagster/parent_run_id": first.run_id, SETTINGS_TAG: "1"}
    retry = run(store, instance, tags={**again, "dagster/retry_number": "1"})
    assert (tag(instance, retry), padding(store)) == ("1", 4)
    assert (tag(instance, run(store, instance, tags=again)), padding(store)) == ("2", 9)


def test_sensors_request_one_generation_and_replace_nothing_for_settings_alone(
    store: DealStore, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    run(store, instance, "a")
    saved(store, crops__padding_px="4")
    result, _ = tick(tmp_path, instance)
    assert isinstance(result, dg.SensorResult)
    requests = result.run_requests or []
    assert [request.tags[SETTINGS_TAG] for request in requests] == ["1"]
    assert [request.tags["segpipe/deals"] for request in requests] == ["b"]
    saved(store, crops__padding_px="9")
    done = run(
        store, instance, "b", config=dict(requests[0].run_config), tags=dict(requests[0].tags)
    )
    assert (tag(instance, done), padding(store, "b")) == ("1", 4)
