"""The assets of a mode in real Dagster runs."""

import asyncio
import json
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus

from segpipe.detection import SegmentationResult, Thresholds
from segpipe.flow.deal import DealTask, process_deal
from segpipe.flow.run_deal import process_in_run
from segpipe.flow.stages.stage_registry import STAGES
from segpipe.pipeline.defs import build_defs
from segpipe.pipeline.options import LocalRoot
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.quality_asset import DRIFT_CHECK
from segpipe.pipeline.recording import asset_key, record_outcome
from segpipe.pipeline.resources import DealStoreResource
from segpipe.progress import DealDone, Event, tell_nobody
from segpipe.prompt import Mode, Prompt
from segpipe.store.store import DealStore
from segpipe.vision.image import RgbImage
from segpipe_tests.deals import make_deal, make_tools, put_photos
from segpipe_tests.goods import BrightSegmenter, goods_photo
from segpipe_tests.pipeline.dagster_runs import FixedSegmenter, make_defs, run_deals

FIND_ALL = Mode.FIND_ALL
_SchemaValue = dg.TableSchemaMetadataValue


def materializations(
    instance: dg.DagsterInstance, stage: str = "crops"
) -> dict[str, dg.AssetMaterialization]:
    """The latest materialisation of each deal."""
    records = instance.fetch_materializations(asset_key(FIND_ALL, stage), limit=1000).records
    latest: dict[str, dg.AssetMaterialization] = {}
    for record in records:
        assert record.asset_materialization is not None
        latest.setdefault(record.partition_key or "", record.asset_materialization)
    return latest


def failure_of(result: dg.ExecuteInProcessResult) -> str:
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    user_failure = event.step_failure_data.user_failure_data
    assert user_failure is not None
    return user_failure.description or ""


def promoted(store: DealStore, deal: str) -> bool:
    return store.current(deal, FIND_ALL) is not None


def test_a_run_of_many_deals_promotes_and_records_every_one(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for index, deal in enumerate(("a", "b", "c")):
        store = make_deal(tmp_path, deal, items=(index + 1,))

    result = run_deals(make_defs(tmp_path), instance, ["a", "b", "c"])

    assert result.success
    assert all(promoted(store, deal) for deal in ("a", "b", "c"))
    for stage in STAGES.names:
        recorded = materializations(instance, stage)
        assert set(recorded) == {"a", "b", "c"}
        versions = {(m.tags or {})["dagster/data_version"] for m in recorded.values()}
        assert len(versions) == 3
    counts = {deal: m.metadata["crops"].value for deal, m in materializations(instance).items()}
    assert counts == {"a": 1, "b": 2, "c": 3}


def test_one_model_is_loaded_for_all_deals_of_a_run(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b", "c"):
        make_deal(tmp_path, deal)
    built: list[BrightSegmenter] = []

    def build() -> BrightSegmenter:
        built.append(BrightSegmenter())
        return built[-1]

    assert run_deals(make_defs(tmp_path, build), instance, ["a", "b", "c"]).success
    assert [segmenter.calls for segmenter in built] == [6]


def test_dagster_sees_every_deal_of_a_run_as_fresh_and_a_changed_one_as_stale(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for index, deal in enumerate(("a", "b")):
        make_deal(tmp_path, deal, items=(index + 1,))
    definitions = make_defs(tmp_path)
    run_deals(definitions, instance, ["a", "b"])

    def stale(deal: str) -> list[str]:
        graph = definitions.resolve_asset_graph()
        resolver = CachingStaleStatusResolver(instance, graph, loading_context=_loading(instance))
        keys = {stage: asset_key(FIND_ALL, stage) for stage in STAGES.names}
        return [s for s, key in keys.items() if resolver.get_status(key, deal) != StaleStatus.FRESH]

    assert (stale("a"), stale("b")) == ([], [])
    put_photos(tmp_path, "b", {"new.png": goods_photo(2)})
    observe = definitions.resolve_job_def("observe_inputs")
    assert observe.execute_in_process(instance=instance, partition_key="b").success
    assert stale("a") == []
    assert "segmentation" in stale("b")


def _loading(instance: dg.DagsterInstance) -> Any:
    from dagster._core.loader import LoadingContextForTest

    return LoadingContextForTest(instance)


def test_a_bad_deal_fails_alone_and_is_named_with_every_bad_image(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "bad", "c"):
        store = make_deal(tmp_path, deal)
    bad = {"x.jpg": b"text", "y.png": goods_photo(1)[:99]}
    put_photos(tmp_path, "bad", bad)

    result = run_deals(make_defs(tmp_path), instance, ["a", "bad", "c"])

    assert not result.success
    assert (promoted(store, "a"), promoted(store, "bad"), promoted(store, "c")) == (
        True,
        False,
        True,
    )
    assert set(materializations(instance, "deal_report")) == {"a", "c"}
    description = failure_of(result)
    assert "1 of 3 deals failed" in description
    for said in ("'bad'", "'x.jpg'", "UnsupportedFormatError", "'y.png'", "CorruptImageError"):
        assert said in description
    failure = store.last_failure("bad", FIND_ALL)
    assert failure is not None
    assert [item.image for item in failure.errors] == ["x.jpg", "y.png"]


def test_bad_input_is_never_retried(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make_deal(tmp_path, "bad")
    put_photos(tmp_path, "bad", {"x.jpg": b"text"})
    result = run_deals(make_defs(tmp_path), instance, ["bad"])
    assert [e.event_type_value for e in result.all_events].count("STEP_UP_FOR_RETRY") == 0


class Flaky(BrightSegmenter):
    """Fails as a network does, once for each photo with five goods."""

    failures = 1

    async def segment(
        self, image: RgbImage, prompt: Prompt, thresholds: Thresholds | None = None
    ) -> SegmentationResult:
        result = await super().segment(image, prompt)
        if len(result.detections) == 5 and Flaky.failures:
            Flaky.failures -= 1
            raise ConnectionResetError("the line went dead")
        return result


def test_a_fault_that_passes_is_retried_and_the_retry_skips_what_is_settled(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "good")
    make_deal(tmp_path, "flaky", items=(5,))
    make_deal(tmp_path, "rotten")
    put_photos(tmp_path, "rotten", {"x.jpg": b"text"})
    Flaky.failures = 1
    segmenter = Flaky()

    deals = ["good", "flaky", "rotten"]
    result = run_deals(make_defs(tmp_path, lambda: segmenter), instance, deals)

    events = [event.event_type_value for event in result.all_events]
    assert events.count("STEP_UP_FOR_RETRY") == 1
    assert not result.success  # for the rotten one
    assert "1 of 3 deals failed" in failure_of(result)
    assert "KnownFailureError" in failure_of(result)
    calls_of_good, calls_of_rotten, calls_of_flaky = 2, 2, 2
    assert segmenter.calls == calls_of_good + calls_of_rotten + calls_of_flaky
    assert set(materializations(instance)) == {"good", "flaky"}
    versions = [store.commits(deal, FIND_ALL)[0].assets["crops"].version for deal in deals[:2]]
    assert [version.rpartition(".")[2] for version in versions] == ["0", "1"]


@pytest.mark.parametrize("deals", [["a"], ["a", "b"]])
def test_a_subset_run_works_for_one_deal_and_for_many(
    tmp_path: Path, instance: dg.DagsterInstance, deals: list[str]
) -> None:
    for deal in deals:
        store = make_deal(tmp_path, deal)
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    run_deals(definitions, instance, deals)
    calls = segmenter.calls

    config = {"crops": {"format": "JPG"}}
    result = run_deals(definitions, instance, deals, stages=["crops"], config=config)

    assert result.success
    assert segmenter.calls == calls
    for deal in deals:
        snapshot = store.current(deal, FIND_ALL)
        assert snapshot is not None
        assert snapshot.generation == 2
        assert any(entry.path.endswith(".jpg") for entry in snapshot.files("crops"))
        assert snapshot.version("dedup").name != snapshot.version("crops").name


def test_the_job_after_segmentation_calls_no_segmenter(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    run_deals(definitions, instance, ["a"])
    calls = segmenter.calls

    result = run_deals(definitions, instance, ["a"], job="find_all_after_segmentation")

    assert result.success
    assert segmenter.calls == calls
    snapshot = store.current("a", FIND_ALL)
    assert snapshot is not None
    assert snapshot.generation == 2


def test_what_is_up_to_date_is_skipped_when_asked_to(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a")
    make_deal(tmp_path, "b")
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    skip: dict[str, Any] = {"skip_up_to_date": True}
    run_deals(definitions, instance, ["a", "b"], config=skip)
    calls = segmenter.calls

    put_photos(tmp_path, "b", {"new.png": goods_photo(1)})
    assert run_deals(definitions, instance, ["a", "b"], config=skip).success
    assert segmenter.calls == calls + 3  # the three photos of b

    other = skip | {"dedup": {"iou_threshold": 0.9}}
    assert run_deals(definitions, instance, ["a", "b"], config=other).success
    assert segmenter.calls == calls + 3
    generations = {deal: len(store.commits(deal, FIND_ALL)) for deal in ("a", "b")}
    assert generations == {"a": 2, "b": 3}


def test_checks_are_recorded_for_each_deal_of_a_run(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "full", items=(2,))
    make_deal(tmp_path, "empty", items=(0,))

    run_deals(make_defs(tmp_path), instance, ["full", "empty"])

    found = _evaluations(instance, "segmentation", "has_detections")
    assert {deal: evaluation.passed for deal, evaluation in found.items()} == {
        "full": True,
        "empty": False,
    }
    assert found["empty"].severity == dg.AssetCheckSeverity.WARN
    verified = _evaluations(instance, "deal_report", "manifest_verifies")
    assert {deal: evaluation.passed for deal, evaluation in verified.items()} == {
        "full": True,
        "empty": True,
    }


def _evaluations(
    instance: dg.DagsterInstance, stage: str, name: str
) -> dict[str, dg.AssetCheckEvaluation]:
    key = dg.AssetCheckKey(asset_key(FIND_ALL, stage), name)
    history = instance.event_log_storage.get_asset_check_execution_history(key, limit=100)
    evaluations = [
        record.event.dagster_event.event_specific_data
        for record in history
        if record.event and record.event.dagster_event
    ]
    return {
        evaluation.partition or "": evaluation
        for evaluation in reversed(evaluations)  # the newest comes first
        if isinstance(evaluation, dg.AssetCheckEvaluation)
    }


def test_every_materialisation_has_counts_lineage_schema_and_a_small_preview(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a", items=(2, 3))
    run_deals(make_defs(tmp_path), instance, ["a"])
    for stage in STAGES.names:
        metadata = materializations(instance, stage)["a"].metadata
        assert metadata["detections"].value == 5
        assert metadata["generation"].value == 1
        assert metadata["segmenter"].value == "bright"
        assert len(str(metadata["config_digest"].value)) == 64
        assert ("seconds/segmentation" in metadata) == (stage == "deal_report")
        assert ("pass_stats" in metadata) == (stage == "segmentation")
        assert Path(str(metadata["folder"].value)).is_dir()
        assert ("preview" in metadata) == (stage == "deal_report")
    report = materializations(instance, "deal_report")["a"].metadata
    preview = str(report["preview"].value)
    assert preview.startswith("![contact sheet](data:image/webp;base64,")
    assert len(preview) < 20_000
    assert Path(str(report["contact_sheet"].value)).is_file()
    assert len(list(Path(str(report["photo_previews"].value)).iterdir())) == 2


def test_every_column_of_every_table_is_told_with_a_text_and_how_many_rows_there_are(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a", items=(2, 3))
    definitions = make_defs(tmp_path)
    run_deals(definitions, instance, ["a"])
    graph = definitions.resolve_asset_graph()
    rows = {"segmentation": 5, "dedup": 5, "refinement": 5, "crops": 5}
    for stage in STAGES.in_order(rows):
        metadata = materializations(instance, stage.name)["a"].metadata
        assert metadata["dagster/row_count"].value == rows[stage.name]
        # The asset tells them; the event of a deal would only where its file has others.
        assert not [value for value in metadata.values() if isinstance(value, _SchemaValue)]
        told = graph.get(asset_key(FIND_ALL, stage.name)).metadata
        schemas = [value for value in told.values() if isinstance(value, _SchemaValue)]
        assert len(schemas) == len(stage.tables)
        for value, arrow in zip(schemas[::-1], list(stage.tables.values())[::-1], strict=True):
            columns = value.schema.columns
            expected = {"deal", *arrow.names} - stage.later_columns  # those of a tar
            assert {column.name for column in columns} == expected
            assert [column.name for column in columns if not column.description] == []
            assert next(column.type for column in columns if column.name == "deal") == "string"
    images = materializations(instance, "segmentation")["a"].metadata
    assert images["rows/images.parquet"].value == 2


def test_a_run_that_retries_another_goes_on_where_that_one_stopped(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b"):
        make_deal(tmp_path, deal)
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    first = run_deals(definitions, instance, ["a"])
    calls = segmenter.calls
    instance.add_dynamic_partitions("deals", ["b"])
    job = definitions.resolve_job_def("find_all_everything")
    group = {"dagster/parent_run_id": first.run_id, "dagster/root_run_id": first.run_id}
    span = {
        "dagster/asset_partition_range_start": "a",
        "dagster/asset_partition_range_end": "b",
    }

    retry = job.execute_in_process(
        instance=instance, tags={**group, **span, "dagster/is_resume_retry": "true"}
    )
    assert retry.success
    assert segmenter.calls == calls + 2  # the photos of b

    again = job.execute_in_process(instance=instance, tags={**group, **span})
    assert again.success
    assert segmenter.calls == calls + 6  # re-executing means everything


def test_a_deal_that_a_killed_run_promoted_but_did_not_record_is_recorded_by_the_retry(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b"):
        store = make_deal(tmp_path, deal)
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    first = run_deals(definitions, instance, ["a"])
    instance.add_dynamic_partitions("deals", ["b"])
    asyncio.run(process_deal(store, DealTask("b", first.run_id), make_tools(segmenter)))
    calls = segmenter.calls

    retry = definitions.resolve_job_def("find_all_everything").execute_in_process(
        instance=instance,
        tags={
            "dagster/parent_run_id": first.run_id,
            "dagster/root_run_id": first.run_id,
            "dagster/is_resume_retry": "true",
            **range_tags(["a", "b"]),
        },
    )

    assert retry.success
    assert segmenter.calls == calls
    recorded = materializations(instance)
    assert set(recorded) == {"a", "b"}
    assert recorded["b"].metadata["crops"].value == 5
    assert "preview" in materializations(instance, "deal_report")["b"].metadata
    crops = instance.fetch_materializations(asset_key(FIND_ALL, "crops"), limit=10).records
    assert len(crops) == 2  # a is not recorded a second time


def test_the_segmenter_and_the_refiner_are_chosen_in_run_config(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store = make_deal(tmp_path, "a", items=(2,))
    root = LocalRoot(path=str(tmp_path))
    definitions = build_defs({"store": DealStoreResource(root=root)})
    instance.add_dynamic_partitions("deals", ["a"])
    result = definitions.resolve_job_def("find_all_everything").execute_in_process(
        instance=instance,
        partition_key="a",
        run_config={
            "resources": {
                "segmenter": {
                    "config": {
                        "backend": {"recursive": {"max_passes": 3, "inner": {"classical": {}}}}
                    }
                },
                "refiner": {"config": {"backend": {"none": {}}}},
            }
        },
    )
    assert result.success
    snapshot = store.current("a", FIND_ALL)
    assert snapshot is not None
    manifest = snapshot.manifest("segmentation")
    assert manifest.info.producer == "recursive(classical)"
    assert snapshot.manifest("refinement").info.producer == "none"


def test_the_launchpad_shows_every_setting_with_its_default() -> None:
    job = build_defs().resolve_job_def("find_all_everything")
    fields = job.run_config_schema.config_type.fields  # type: ignore[attr-defined]
    resources = fields["resources"].default_value
    for name in ("segmenter", "refiner"):
        assert resources[name]["config"]["backend"] == {"saved": {"generation": None}}
        choice = fields["resources"].config_type.fields[name].config_type.fields["config"]
        kinds = choice.config_type.fields["backend"].config_type.fields
        assert {"saved", "classical" if name == "segmenter" else "grabcut"} < set(kinds)
    config = fields["ops"].default_value["find_all"]["config"]
    assert config["dedup"]["containment_threshold"] == 0.8
    assert config["crops"]["use_mask_crops"] is True


def test_wrong_settings_are_refused_by_name(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make_deal(tmp_path, "a")
    result = run_deals(
        make_defs(tmp_path), instance, ["a"], config={"dedup": {"iou_threshold": 1.5}}
    )
    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "iou_threshold" in str(event.step_failure_data.error_display_string)


def test_a_pool_bounds_how_many_runs_use_a_segmenter_at_once() -> None:
    job = build_defs().resolve_job_def("find_all_everything")
    assert job.get_node_named("find_all").definition.pools == {"segmenter"}
    settings = yaml.safe_load((Path(__file__).parents[2] / "dagster.yaml").read_text())
    assert settings["concurrency"]["pools"] == {"default_limit": 2, "granularity": "run"}


def test_a_run_of_segmentation_alone_claims_no_counts_of_later_stages(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    make_deal(tmp_path, "a", items=(2,))
    assert run_deals(make_defs(tmp_path), instance, ["a"], stages=["segmentation"]).success
    metadata = materializations(instance, "segmentation")["a"].metadata
    assert metadata["detections"].value == 2
    assert not {"survivors", "rejected", "refined", "crops", "refiner"} & set(metadata)


def test_a_file_damaged_right_after_promotion_fails_checks_and_no_other_deal(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b"):
        make_deal(tmp_path, deal)

    def destroy(event: Event) -> None:
        if isinstance(event, DealDone):
            for path in tmp_path.glob("deals/a/runs/*/find_all/segmentation/detections.parquet"):
                path.write_bytes(b"x")

    definitions = build_defs(
        {
            "store": DealStoreResource(root=LocalRoot(path=str(tmp_path))),
            "segmenter": FixedSegmenter(BrightSegmenter),
            "progress": destroy,
        }
    )
    assert run_deals(definitions, instance, ["a", "b"]).success
    assert set(materializations(instance)) == {"a", "b"}
    found = _evaluations(instance, "segmentation", "masks_inside_image")
    assert {deal: evaluation.passed for deal, evaluation in found.items()} == {
        "a": False,
        "b": True,
    }


def test_a_retry_records_what_a_release_without_prompts_promoted(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store, tools = make_deal(tmp_path, "a"), make_tools(BrightSegmenter())
    asyncio.run(process_deal(store, DealTask("a", "run-1"), tools))
    (commit,) = tmp_path.glob("deals/a/commits/find_all/*.json")
    document = json.loads(commit.read_text())
    del document["assets"]["segmentation"]["made_from"]["deal_prompts"]
    commit.write_text(json.dumps(document))

    retry = process_in_run(store, DealTask("a", "run-1", attempt=1), tools, tell_nobody)
    outcome = asyncio.run(retry)

    assert outcome
    assert len(list(record_outcome(outcome, store, instance))) == 3 + len(STAGES.names)


def test_a_good_run_logs_no_complaint(tmp_path: Path, instance: dg.DagsterInstance) -> None:
    make_deal(tmp_path, "a")
    result = run_deals(make_defs(tmp_path), instance, ["a"])
    lines = [entry.user_message for entry in instance.all_logs(result.run_id)]
    assert [line for line in lines if "did not yield" in line] == []


@pytest.mark.parametrize("deals", [["a"], ["a", "b"]])
def test_checks_can_be_executed_by_themselves(
    tmp_path: Path, instance: dg.DagsterInstance, deals: list[str]
) -> None:
    for deal in ("a", "b"):
        make_deal(tmp_path, deal)
    definitions = make_defs(tmp_path)
    run_deals(definitions, instance, ["a", "b"])
    for path in tmp_path.glob("deals/a/runs/*/find_all/segmentation/detections.parquet"):
        path.write_bytes(b"x")
    keys = definitions.resolve_asset_graph().asset_check_keys
    keys = {key for key in keys if key.asset_key.path[0] == "find_all" and key.name != DRIFT_CHECK}
    selection = dg.AssetSelection.checks(*keys)  # drift is told by measuring, not by itself
    job = dg.Definitions.merge(
        definitions, dg.Definitions(jobs=[dg.define_asset_job("checks", selection=selection)])
    ).resolve_job_def("checks")
    result = job.execute_in_process(instance=instance, tags=range_tags(deals))
    assert result.success
    found = _evaluations(instance, "deal_report", "manifest_verifies")
    assert {deal: found[deal].passed for deal in deals} == {deal: deal == "b" for deal in deals}
    assert _evaluations(instance, "crops", "survivors_have_crops")["a"].passed
