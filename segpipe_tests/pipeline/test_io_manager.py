"""A user's own asset downstream of the crops, through the IO manager."""

from collections.abc import Callable
from pathlib import Path

import dagster as dg
import pyarrow as pa
import pytest

from segpipe.pipeline.io_manager import StoredAsset, StoredAssets
from segpipe.pipeline.partitions import DEALS, range_tags
from segpipe.pipeline.recording import asset_key
from segpipe.prompt import Mode
from segpipe.store.store import DealStore
from segpipe_tests.deals import make_deal
from segpipe_tests.pipeline.dagster_runs import make_defs, run_deals

CROPS = dg.AssetIn(["find_all", "crops"])
MANY = dg.BackfillPolicy.multi_run(25)


@dg.asset(key_prefix="find_all", partitions_def=DEALS, backfill_policy=MANY, ins={"crops": CROPS})
def sizes(crops: StoredAssets) -> dict[str, object]:
    """The size in bytes of each crop of each deal: JSON."""
    return {
        deal: {name: len(stored[name]) for name in stored if name.endswith(".png")}
        for deal, stored in crops.items()
    }


@dg.asset(partitions_def=DEALS, backfill_policy=MANY, ins={"crops": CROPS})
def areas(crops: StoredAssets) -> dict[str, pa.Table]:
    """A table for each deal."""
    return {deal: stored.table("crops.parquet") for deal, stored in crops.items()}


@dg.asset(partitions_def=DEALS, ins={"areas": dg.AssetIn("areas")})
def rows(areas: pa.Table) -> int:
    """Reads a user's own table of one deal."""
    return int(areas.num_rows)


@dg.asset(partitions_def=DEALS, ins={"crops": CROPS})
def first_crop(crops: StoredAsset) -> dict[str, bytes]:
    """Files."""
    name = next(name for name in crops if name.endswith(".png"))
    return {"first.png": crops[name]}


@dg.asset(partitions_def=DEALS, ins={"crops": CROPS})
def not_storable(crops: StoredAsset) -> object:
    return object()


def with_own_assets(root: Path) -> dg.Definitions:
    own = dg.Definitions(
        assets=[sizes, areas, rows, first_crop, not_storable],
        jobs=[
            dg.define_asset_job(name, selection=[key])
            for name, key in (
                ("make_sizes", "find_all/sizes"),
                ("make_areas", "areas"),
                ("make_rows", "rows"),
                ("make_first_crop", "first_crop"),
                ("make_not_storable", "not_storable"),
            )
        ]
        + [
            dg.define_asset_job(
                "all_with_sizes", selection=dg.AssetSelection.key_prefixes("find_all")
            )
        ],
    )
    return dg.Definitions.merge(make_defs(root), own)


@pytest.fixture
def run(tmp_path: Path, instance: dg.DagsterInstance) -> Callable[..., dg.ExecuteInProcessResult]:
    for index, deal in enumerate(("a", "b")):
        make_deal(tmp_path, deal, items=(index + 1,))
    definitions = with_own_assets(tmp_path)
    assert run_deals(definitions, instance, ["a", "b"]).success

    def run(job: str, deals: list[str]) -> dg.ExecuteInProcessResult:
        return definitions.resolve_job_def(job).execute_in_process(
            instance=instance, tags=range_tags(deals), raise_on_error=False
        )

    return run


@pytest.mark.parametrize("deals", [["a"], ["a", "b"]])
def test_a_downstream_asset_reads_crops_and_is_promoted_beside_them(
    tmp_path: Path, run: Callable[..., dg.ExecuteInProcessResult], deals: list[str]
) -> None:
    assert run("make_sizes", deals).success

    for deal in deals:
        snapshot = DealStore(tmp_path).current(deal, Mode.FIND_ALL)
        assert snapshot is not None
        assert snapshot.has("sizes")
        assert snapshot.has("crops")
        assert snapshot.read("sizes", "value.json").startswith(b'{"crops/a/0000.png":')
        crops = snapshot.version("crops").name
        assert snapshot.manifest("sizes").made_from == {"crops": crops}


def test_tables_of_users_come_back_as_tables(
    tmp_path: Path, run: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    assert run("make_areas", ["a", "b"]).success
    result = run("make_rows", ["b"])
    assert result.success
    snapshot = DealStore(tmp_path).current("b", "custom")
    assert snapshot is not None
    assert snapshot.read("rows", "value.json") == b"2"


def test_files_of_users_are_stored_as_they_are(
    tmp_path: Path, run: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    assert run("make_first_crop", ["a"]).success
    store = DealStore(tmp_path)
    own, made = store.current("a", "custom"), store.current("a", Mode.FIND_ALL)
    assert own is not None
    assert made is not None
    assert own.read("first_crop", "first.png") == made.read("crops", "crops/a/0000.png")


def test_a_value_that_cannot_be_stored_is_refused_and_nothing_is_promoted(
    tmp_path: Path, run: Callable[..., dg.ExecuteInProcessResult]
) -> None:
    result = run("make_not_storable", ["a"])
    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "return a pyarrow.Table" in event.step_failure_data.error_display_string
    assert DealStore(tmp_path).current("a", "custom") is None


def test_one_deal_cannot_be_asked_of_a_run_of_many(
    run: Callable[..., dg.ExecuteInProcessResult],
) -> None:
    result = run("make_first_crop", ["a", "b"])
    assert not result.success
    (event,) = [e for e in result.all_events if e.event_type_value == "STEP_FAILURE"]
    assert "annotate the input as StoredAssets" in event.step_failure_data.error_display_string


def test_a_run_of_everything_wakes_the_downstream_asset(
    tmp_path: Path, instance: dg.DagsterInstance
) -> None:
    for deal in ("a", "b"):
        make_deal(tmp_path, deal)
    definitions = with_own_assets(tmp_path)
    instance.add_dynamic_partitions("deals", ["a", "b"])
    result = definitions.resolve_job_def("all_with_sizes").execute_in_process(
        instance=instance, tags=range_tags(["a", "b"])
    )
    assert result.success
    # What Dagster adds to outputs by itself must not cover what was recorded deal by deal.
    records = instance.fetch_materializations(asset_key(Mode.FIND_ALL, "crops"), limit=9)
    recorded = [record.asset_materialization for record in records.records]
    assert [event.metadata["generation"].value for event in recorded if event] == [1, 1]
    snapshot = DealStore(tmp_path).current("b", Mode.FIND_ALL)
    assert snapshot is not None
    assert snapshot.has("sizes")
