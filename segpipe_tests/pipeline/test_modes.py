"""The two modes in Dagster: families, staleness, sensors and schedules of their own."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.jobs import only_stale
from segpipe.pipeline.recording import asset_key, prompts_key
from segpipe.pipeline.sensors import build_new_deals_sensor
from segpipe.prompt import Mode
from segpipe.vision.boxes import Box
from segpipe_tests.deals import make_deal
from segpipe_tests.drawing import EMPTY, FIRST, SECOND, boxed, draw
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.pipeline.dagster_runs import make_defs, night, run_deals
from segpipe_tests.pipeline.test_sensors import ranges, tick

FIND_ALL, INSIDE_BOX = Mode.FIND_ALL, Mode.INSIDE_BOX
SENSORS = {mode: build_new_deals_sensor(mode, settle_s=0.0) for mode in Mode}


def stale(definitions: dg.Definitions, instance: dg.DagsterInstance, mode: Mode) -> list[str]:
    resolver = CachingStaleStatusResolver(
        instance, definitions.resolve_asset_graph(), loading_context=LoadingContextForTest(instance)
    )
    usual = [stage.name for stage in STAGES.in_order(STAGES.names)]
    status = {stage: resolver.get_status(asset_key(mode, stage), "a") for stage in usual}
    return [stage for stage in usual if status[stage] != StaleStatus.FRESH]


@pytest.mark.parametrize("mode", Mode)
def test_each_mode_is_a_family_with_its_own_group_jobs_sensor_and_night(mode: Mode) -> None:
    definitions = build_defs()
    graph = definitions.resolve_asset_graph()
    for stage in STAGES:
        node = graph.get(asset_key(mode, stage))
        assert (node.group_name, node.key.path) == (mode.value, [mode.value, stage])
        parents = {key.path[0] for key in node.parent_keys}
        assert parents <= {mode.value, "deal_photos"}
    assert graph.get(prompts_key(mode)).group_name == mode.value
    for job in ("everything", "after_segmentation"):
        keys = definitions.resolve_job_def(f"{mode}_{job}").asset_layer.selected_asset_keys
        assert {key.path[0] for key in keys} == {mode.value}
    jobs = {
        each.name: each.job_name
        for each in (*(definitions.sensors or ()), *(definitions.schedules or ()))
        if isinstance(each, dg.SensorDefinition | dg.ScheduleDefinition)
        and not isinstance(each, dg.RunStatusSensorDefinition)
    }
    assert jobs[{FIND_ALL: "new_deals", INSIDE_BOX: "new_boxes"}[mode]] == f"{mode}_everything"
    assert jobs[f"nightly_{mode}"] == f"{mode}_unfinished"


def test_one_mode_does_a_deal_that_failed_in_the_other(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    draw(store, "a", boxed("one", FIRST), boxed("none", EMPTY), deal="a")
    make_deal(tmp_path, "b")
    draw(store, "a", boxed("far", Box(0.0, 0.0, 999.0, 9.0)), deal="b")
    make_deal(tmp_path, "boxless")
    definitions = make_defs(tmp_path)

    boxes = run_deals(definitions, instance, ["a", "b", "boxless"], mode=INSIDE_BOX)
    everything = run_deals(definitions, instance, ["a", "b"], mode=FIND_ALL)

    assert (boxes.success, everything.success) == (False, True)
    assert [store.current("b", mode) is None for mode in (INSIDE_BOX, FIND_ALL)] == [True, False]
    crops = instance.get_materialized_partitions(asset_key(INSIDE_BOX, "crops"))
    assert crops == {"a"}
    failure = store.last_failure("b", INSIDE_BOX)
    assert failure
    assert "'far'" in failure.errors[0].message
    assert store.last_failure("boxless", INSIDE_BOX) is None


def test_a_changed_box_makes_its_mode_stale_in_dagster_and_no_other(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    draw(store, "a", boxed("one", FIRST), deal="a")
    definitions = make_defs(tmp_path)
    for mode in Mode:
        run_deals(definitions, instance, ["a"], mode=mode)
        assert stale(definitions, instance, mode) == []

    draw(store, "a", boxed("two", SECOND), deal="a")
    observe = definitions.resolve_job_def("observe_inputs")
    assert observe.execute_in_process(instance=instance, partition_key="a").success

    assert "segmentation" in stale(definitions, instance, INSIDE_BOX)
    assert stale(definitions, instance, FIND_ALL) == []


def test_the_sensor_of_boxes_wants_only_deals_that_have_some(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    store = make_deal(tmp_path, "b")
    draw(store, "a", boxed("one", FIRST), deal="b")
    result, _ = tick(tmp_path, instance, sensor=SENSORS[INSIDE_BOX])
    assert ranges(result) == [("b", "b")]
    assert isinstance(result, dg.SensorResult)
    run_config = (result.run_requests or [])[0].run_config
    assert run_config == only_stale(INSIDE_BOX)


@pytest.mark.parametrize("mode", Mode)
def test_the_sensor_sees_a_changed_prompt_of_its_mode(
    tmp_path: Path, instance: dg.DagsterInstance, mode: Mode
) -> None:
    store = make_deal(tmp_path, "a")
    draw(store, "a", boxed("one", FIRST), deal="a")
    run_deals(make_defs(tmp_path), instance, ["a"], mode=mode)
    result, cursor = tick(tmp_path, instance, sensor=SENSORS[mode])
    assert isinstance(result, dg.SkipReason)  # what the run found is no reason for another

    draw(store, "b", boxed("two", SECOND), deal="a")
    result, cursor = tick(tmp_path, instance, cursor, sensor=SENSORS[mode])
    assert isinstance(result, dg.SensorResult) == (mode is INSIDE_BOX)

    store.prompts.edit_deal("a", lambda own: own.model_copy(update={"text": "ring"}))
    result, _ = tick(tmp_path, instance, cursor, sensor=SENSORS[mode])
    assert isinstance(result, dg.SensorResult)
    assert ranges(result) == [("a", "a")]


def test_the_nights_of_the_modes_want_what_each_lacks(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    make_deal(tmp_path, "b")
    draw(store, "a", boxed("one", FIRST), deal="a")
    definitions = make_defs(tmp_path)
    run_deals(definitions, instance, ["a", "b"], mode=FIND_ALL)
    assert night(tmp_path, instance, FIND_ALL) == []
    assert night(tmp_path, instance, INSIDE_BOX) == ["a"]


def test_finds_that_cannot_be_written_are_told_and_the_results_are_recorded_all_the_same(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    make_deal(tmp_path, "b")
    file = tmp_path / "deals" / "a" / "prompts" / "a.json"

    class Meddling(BrightSegmenter):
        async def segment(self, image, prompt, thresholds=None):  # type: ignore[no-untyped-def]
            file.parent.mkdir(exist_ok=True)
            file.write_text("{")
            return await super().segment(image, prompt)

    definitions = make_defs(tmp_path, Meddling)
    result = run_deals(definitions, instance, ["a", "b"])

    assert not result.success
    assert instance.get_materialized_partitions(asset_key(FIND_ALL, "crops")) == {"a", "b"}
    (event,) = [event for event in result.all_events if event.is_step_failure]
    assert event.step_failure_data.user_failure_data
    said = event.step_failure_data.user_failure_data.description or ""
    assert "1 of 2 deals failed" in said
    assert "deal 'a': its results are promoted" in said
    assert "prompts/a.json" in said

    file.write_text('{"image": "a"}')
    config = {"skip_up_to_date": True}
    assert run_deals(make_defs(tmp_path), instance, ["a", "b"], config=config).success
    assert len(store.prompts.of_image("a", "a").annotations) == 2
    assert store.last_failure("a", FIND_ALL) is None


def test_the_sensors_leave_alone_what_was_rolled_back_or_found_to_be_bad(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a", items=(2,))
    definitions = make_defs(tmp_path)
    run_deals(definitions, instance, ["a"])
    (first,) = store.commits("a", FIND_ALL)
    store.prompts.edit_deal("a", lambda own: own.model_copy(update={"text": "ring"}))
    draw(store, "a", boxed("far", Box(0.0, 0.0, 999.0, 9.0)), deal="a")
    run_deals(definitions, instance, ["a"])
    run_deals(definitions, instance, ["a"], mode=INSIDE_BOX)
    store.rollback("a", FIND_ALL, first.generation)

    for sensor in SENSORS.values():
        result, _ = tick(tmp_path, instance, sensor=sensor)
        assert isinstance(result, dg.SkipReason)

    store.prompts.edit_deal("a", lambda own: own.model_copy(update={"text": "coin"}))
    draw(store, "a", boxed("one", FIRST), deal="a")
    for sensor in SENSORS.values():
        result, _ = tick(tmp_path, instance, sensor=sensor)
        assert isinstance(result, dg.SensorResult)
