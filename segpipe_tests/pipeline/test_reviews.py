"""Reviews in Dagster: what they make stale, the sensor that sees them, and deals of before."""

import json
from pathlib import Path

import dagster as dg
import pytest

from segpipe.flow.stages.stage_registry import AnyStage
from segpipe.pipeline.partitions import range_tags
from segpipe.pipeline.recording import asset_key, parents
from segpipe.pipeline.reviewed_deals import build_reviewed_deals_sensor
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe.vision.boxes import Box
from segpipe.vision.mask import Mask
from segpipe_tests.deals import make_deal
from segpipe_tests.goods import BrightSegmenter
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals
from segpipe_tests.pipeline.test_modes import stale
from segpipe_tests.pipeline.test_sensors import ranges, tick
from segpipe_tests.reviews import reject

FIND_ALL = Mode.FIND_ALL
SENSOR = build_reviewed_deals_sensor(FIND_ALL, settle_s=0.0)
BELOW = ["review", "crops", "coco", "deal_report"]


def reject_first(store: DealStore, deal: str = "a") -> None:
    first = Mask.from_box(Box(4, 20, 16, 36), image_width=160, image_height=120)
    decided = (reject(first),)
    store.reviews.edit(
        deal, FIND_ALL, "a", lambda now: now.model_copy(update={"decisions": decided})
    )


def test_a_changed_review_makes_stale_what_stands_below_it_and_calls_no_segmenter(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    store, segmenter = make_deal(tmp_path, "a", (3,)), BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    assert run_deals(definitions, instance, ["a"]).success
    assert run_deals(definitions, instance, ["a"], job="find_all_background").success
    assert stale(definitions, instance, FIND_ALL) == []

    reject_first(store)
    observe = definitions.resolve_job_def("observe_inputs")
    assert observe.execute_in_process(instance=instance, partition_key="a").success
    assert stale(definitions, instance, FIND_ALL) == BELOW

    result, cursor = tick(tmp_path, instance, sensor=SENSOR)
    assert ranges(result) == [("a", "a")]
    assert isinstance(result, dg.SensorResult)
    (request,) = result.run_requests or []
    calls = segmenter.calls
    config = request.run_config["ops"]["find_all"]["config"]
    assert run_deals(definitions, instance, ["a"], config=config).success
    assert segmenter.calls == calls == 1
    assert stale(definitions, instance, FIND_ALL) == []
    quiet, _ = tick(tmp_path, instance, cursor, sensor=SENSOR)
    assert isinstance(quiet, dg.SkipReason)
    event = instance.get_latest_materialization_event(asset_key(FIND_ALL, "review"))
    assert event
    assert event.asset_materialization
    told = {name: value.value for name, value in event.asset_materialization.metadata.items()}
    assert {name: told[f"items/{name}"] for name in ("rejected", "unreviewed", "kept")} == {
        "rejected": 1,
        "unreviewed": 2,
        "kept": 2,
    }


def nearest_of_before(mode: Mode, stage: AnyStage) -> list[dg.AssetKey]:
    """What an earlier release told Dagster that a stage is made from."""
    above = {"crops": "refinement", "coco": "refinement", "deal_report": "crops"}
    name = above.get(stage.name)
    return [asset_key(mode, name)] if name else parents(mode, stage)


@pytest.mark.parametrize("by", ["observe", "backfill"])
def test_a_deal_of_an_earlier_release_is_fresh_once_it_is_observed_or_left_alone(
    tmp_path: Path, instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """Its commit lacks the review, and Dagster was told of none."""
    make_deal(tmp_path, "a", (2,))
    segmenter = BrightSegmenter()
    definitions = make_defs(tmp_path, lambda: segmenter)
    with monkeypatch.context() as patch:
        patch.setattr("segpipe.pipeline.recording.parents", nearest_of_before)
        assert run_deals(definitions, instance, ["a"]).success
    (commit,) = tmp_path.glob("deals/a/commits/find_all/*.json")
    held = json.loads(commit.read_text())
    del held["assets"]["review"]
    for asset in held["assets"].values():
        asset["made_from"].pop("review", None)
    commit.write_text(json.dumps(held))
    assert "crops" in stale(definitions, instance, FIND_ALL)

    if by == "observe":
        observe = definitions.resolve_job_def("observe_inputs")
        for _ in range(2):
            assert observe.execute_in_process(instance=instance, partition_key="a").success
    else:
        tags = {**range_tags(["a"]), "dagster/backfill": "some"}
        config = {"ops": {"find_all": {"config": {"skip_up_to_date": True}}}}
        job = definitions.resolve_job_def("find_all_everything")
        assert job.execute_in_process(instance=instance, tags=tags, run_config=config).success
    assert segmenter.calls == 1
    assert stale(definitions, instance, FIND_ALL) == ["review"], "which is missing, not stale"
    told = instance.fetch_materializations(asset_key(FIND_ALL, "crops"), limit=10).records
    assert len(told) == 2, "once, however often it is observed"
