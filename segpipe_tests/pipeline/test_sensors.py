"""The sensor and the schedules, evaluated against a real instance and real folders."""

import datetime as dt
import os
import shutil
from pathlib import Path

import dagster as dg

from segpipe.pipeline.jobs import OBSERVE_JOB
from segpipe.pipeline.partitions import range_tags, run_tags
from segpipe.pipeline.recording import PHOTOS_KEY
from segpipe.pipeline.sensors import build_new_deals_sensor
from segpipe.prompt import Mode
from segpipe_tests.deals import make_deal, put_photos
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.pipeline.dagster_runs import make_defs, night, run_deals

SENSOR = build_new_deals_sensor(Mode.FIND_ALL, settle_s=0.0, max_deals=100)


def tick(
    root: Path,
    instance: dg.DagsterInstance,
    cursor: str | None = None,
    sensor: dg.SensorDefinition = SENSOR,
) -> tuple[dg.SensorResult | dg.SkipReason, str | None]:
    definitions = make_defs(root)
    with dg.build_sensor_context(
        instance=instance,
        cursor=cursor,
        resources=definitions.resources,
        definitions=definitions,
    ) as context:
        result = sensor(context)
        assert isinstance(result, dg.SensorResult | dg.SkipReason)
        if isinstance(result, dg.SensorResult):
            for request in result.dynamic_partitions_requests or []:
                if isinstance(request, dg.AddDynamicPartitionsRequest):
                    instance.add_dynamic_partitions("deals", request.partition_keys)
                else:
                    for key in request.partition_keys:
                        instance.delete_dynamic_partition("deals", key)
            return result, result.cursor
        return result, context.cursor


def ranges(result: dg.SensorResult | dg.SkipReason) -> list[tuple[str, str]]:
    assert isinstance(result, dg.SensorResult)
    tags = [request.tags for request in result.run_requests or []]
    return [
        (t["dagster/asset_partition_range_start"], t["dagster/asset_partition_range_end"])
        for t in tags
    ]


def test_new_deals_become_partitions_and_one_run(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("b", "a", "c"):
        make_deal(tmp_path, deal)
    result, _ = tick(tmp_path, instance)
    assert instance.get_dynamic_partitions("deals") == ["a", "b", "c"]
    assert ranges(result) == [("a", "c")]


def test_batches_hold_no_more_deals_than_a_run_should(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for index in range(60):
        put_photos(tmp_path, f"lot-{index:02}", {"a.png": b"x"})
    result, _ = tick(tmp_path, instance)
    assert ranges(result) == [("lot-00", "lot-24"), ("lot-25", "lot-49"), ("lot-50", "lot-59")]


def test_a_quiet_folder_is_a_skip_with_a_reason(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    _, cursor = tick(tmp_path, instance)
    result, _ = tick(tmp_path, instance, cursor)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "no new or changed deals"


def test_a_run_key_carries_what_the_deals_contain(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    first, _ = tick(tmp_path, instance)
    again, _ = tick(tmp_path, instance)  # a cursor that was lost
    put_photos(tmp_path, "a", {"new.png": goods_photo(1)})
    changed, _ = tick(tmp_path, instance)
    keys = []
    for result in (first, again, changed):
        assert isinstance(result, dg.SensorResult)
        keys.append([request.run_key for request in result.run_requests or []])
    assert keys[0] == keys[1]
    assert keys[2] != keys[0]


def test_a_deal_that_has_been_through_every_stage_is_not_requested(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    run_deals(make_defs(tmp_path), instance, ["a"])
    result, _ = tick(tmp_path, instance)
    assert isinstance(result, dg.SkipReason)


def test_deals_that_still_change_are_counted(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make_deal(tmp_path, "a")
    patient = build_new_deals_sensor(Mode.FIND_ALL, settle_s=3600.0)
    result, _ = tick(tmp_path, instance, sensor=patient)
    assert isinstance(result, dg.SkipReason)
    assert result.skip_message == "1 deals are still changing"


def test_a_complete_marker_ends_the_wait(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make_deal(tmp_path, "a")
    (tmp_path / "deals" / "a" / "_COMPLETE").touch()
    patient = build_new_deals_sensor(Mode.FIND_ALL, settle_s=3600.0)
    result, _ = tick(tmp_path, instance, sensor=patient)
    assert ranges(result) == [("a", "a")]


def test_a_root_that_cannot_be_listed_is_a_skip_and_keeps_the_cursor(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "deals").write_text("a file where the folder should be")
    result, cursor = tick(tmp_path, instance, '{"seen_to": 5.0}')
    assert isinstance(result, dg.SkipReason)
    assert "cannot be listed" in (result.skip_message or "")
    assert cursor == '{"seen_to": 5.0}'


def test_photos_moved_in_with_old_times_are_seen(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    run_deals(make_defs(tmp_path), instance, ["a"])
    _, cursor = tick(tmp_path, instance)
    aside = tmp_path / "old.png"
    aside.write_bytes(goods_photo(2))
    os.utime(aside, (1_000_000, 1_000_000))
    aside.rename(tmp_path / "deals" / "a" / "images" / "old.png")
    result, _ = tick(tmp_path, instance, cursor)
    assert ranges(result) == [("a", "a")]


def test_a_schedule_looks_into_no_deal_and_starts_one_job(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    (tmp_path / "deals").write_text("a file, so that whoever looks into a deal fails")
    definitions = make_defs(tmp_path)
    jobs = {
        "nightly_find_all": "find_all_unfinished",
        "nightly_inside_box": "inside_box_unfinished",
        "nightly_find_changes": "find_changes",
        "nightly_sweep": "sweep",
    }
    for name, job in jobs.items():
        schedule = definitions.resolve_schedule_def(name)
        moment = dt.datetime(2026, 1, 2, 2, tzinfo=dt.UTC)
        with dg.build_schedule_context(
            instance=instance, scheduled_execution_time=moment
        ) as context:
            (request,) = schedule.evaluate_tick(context).run_requests or []
        assert schedule.job_name == job
        assert request.partition_key is None
        assert definitions.resolve_job_def(job)


def test_the_night_runs_unfinished_deals_but_not_those_known_to_be_bad(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("bad", "done", "missing"):
        make_deal(tmp_path, deal)
    put_photos(tmp_path, "bad", {"x.jpg": b"text"})
    run_deals(make_defs(tmp_path), instance, ["bad", "done"])
    instance.add_dynamic_partitions("deals", ["missing", "gone"])

    assert night(tmp_path, instance) == ["missing"]

    put_photos(tmp_path, "bad", {"x.jpg": goods_photo(1)})
    assert night(tmp_path, instance) == ["bad", "missing"]


def test_the_hourly_run_observes_every_deal_and_skips_those_it_cannot_read(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b", "bad"):
        make_deal(tmp_path, deal)
    damage_photos = tmp_path / "deals" / "bad" / "images"
    shutil.rmtree(damage_photos)
    damage_photos.write_bytes(b"")
    instance.add_dynamic_partitions("deals", ["a", "b", "bad"])
    definitions = make_defs(tmp_path)
    schedule = definitions.resolve_schedule_def("hourly_observe_inputs")
    with dg.build_schedule_context(
        instance=instance, scheduled_execution_time=dt.datetime(2026, 1, 2, 2, tzinfo=dt.UTC)
    ) as context:
        (request,) = schedule.evaluate_tick(context).run_requests or []
    assert request.partition_key is None

    observe = definitions.resolve_job_def(OBSERVE_JOB)
    assert observe.execute_in_process(instance=instance, tags=request.tags).success
    records = instance.fetch_observations(PHOTOS_KEY, limit=10).records
    assert {record.partition_key for record in records} == {"a", "b"}


def test_the_sweep_job_removes_what_a_killed_run_left(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    staging = store.stage("a", Mode.FIND_ALL, run_id="killed")
    staging.__enter__().write("crops", "half.png", b"half")
    leftover = tmp_path / "deals" / "a" / "runs" / "killed.0"
    assert leftover.exists()
    job = make_defs(tmp_path).resolve_job_def("sweep")
    config = {"ops": {"sweep_store": {"config": {"min_age_hours": 0.0}}}}
    assert job.execute_in_process(instance=instance, run_config=config).success
    assert not leftover.exists()


def damage_commit(root: Path, deal: str) -> None:
    (commit,) = root.glob(f"deals/{deal}/commits/find_all/*.json")
    commit.write_bytes(b"{")


def test_a_deal_with_a_damaged_commit_stops_neither_sensor_nor_schedule_for_the_others(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b"):
        make_deal(tmp_path, deal)
    run_deals(make_defs(tmp_path), instance, ["a"])
    damage_commit(tmp_path, "a")
    result, _ = tick(tmp_path, instance)
    assert ranges(result) == [("a", "b")]
    assert night(tmp_path, instance) == ["a", "b"]


def test_photos_that_were_only_touched_are_not_segmented_again(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a")
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    run_deals(definitions, instance, ["a"])
    calls = segmenter.calls
    os.utime(tmp_path / "deals" / "a" / "images" / "a.png")

    result, _ = tick(tmp_path, instance)

    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    job = definitions.resolve_job_def("find_all_everything")
    assert job.execute_in_process(
        instance=instance, tags=request.tags, run_config=request.run_config
    ).success
    assert segmenter.calls == calls


def test_deals_whose_folders_are_gone_are_no_partitions_once_no_run_refers_to_them(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b"):
        make_deal(tmp_path, deal)
    tick(tmp_path, instance)
    shutil.rmtree(tmp_path / "deals" / "b")
    job = make_defs(tmp_path).resolve_job_def("find_all_everything")
    run = instance.create_run_for_job(job, tags=range_tags(["a", "b"]))
    tick(tmp_path, instance)
    assert instance.get_dynamic_partitions("deals") == ["a", "b"]
    instance.report_run_canceled(run)
    tick(tmp_path, instance)
    assert instance.get_dynamic_partitions("deals") == ["a"]
    shutil.rmtree(tmp_path / "deals")  # as if the disk were not there
    tick(tmp_path, instance)
    assert instance.get_dynamic_partitions("deals") == ["a"]


def test_runs_are_tagged_with_their_mode_and_few_deals(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for index in range(6):
        put_photos(tmp_path, f"lot-{index}", {"a.png": b"x"})
    result, _ = tick(tmp_path, instance)
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    assert request.tags["segpipe/mode"] == "find_all"
    assert "segpipe/deals" not in request.tags
    assert run_tags(Mode.INSIDE_BOX, ["a", "b"])["segpipe/deals"] == "a, b"
